"""Semantic memory: facts with their history, what was surfaced of them, and the work of extracting them."""

from typing import ClassVar

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.db.models import Q
from django.utils import timezone

from memoryhub.access.models import Agent, Workspace
from memoryhub.core.ids import uuid7
from sessions.models import Session, Subject, Turn


class FactType(models.TextChoices):
    PREFERENCE = "preference", "preference"
    DECISION = "decision", "decision"
    CONSTRAINT = "constraint", "constraint"
    GOAL = "goal", "goal"
    ENTITY = "entity", "entity"


class Source(models.TextChoices):
    """Who vouches for a version. Set by the server, never by a client or a model."""

    USER = "user", "said by the subject"
    AGENT = "agent", "written by an agent"
    OPERATOR = "operator", "entered by a person"
    TOOL = "tool", "from a tool's result"
    IMPORT = "import", "imported"


class Status(models.TextChoices):
    CURRENT = "current", "current"
    SUPERSEDED = "superseded", "superseded"
    STALE = "stale", "stale"
    QUARANTINED = "quarantined", "quarantined"
    REJECTED = "rejected", "rejected"


class Fact(models.Model):
    """One thing known about a subject. What was believed when is in its versions."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="+")
    subject = models.ForeignKey(Subject, on_delete=models.CASCADE, related_name="facts")
    type = models.CharField(max_length=12, choices=FactType)
    entity = models.CharField(max_length=200, help_text="What it is about, as first written.")
    entity_key = models.CharField(max_length=200, help_text="The entity, case folded, white space collapsed.")
    attribute = models.CharField(max_length=100, blank=True, default="", help_text="Normalised: lower snake case.")
    handle = models.PositiveIntegerField(help_text="Shown as F12; counted per subject.")
    pinned = models.BooleanField(default=False)
    visible_to = models.ForeignKey(
        Agent, null=True, blank=True, on_delete=models.PROTECT, related_name="+", help_text="Empty: every agent."
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["subject", "handle"], name="fact_handle_once"),
            models.CheckConstraint(condition=Q(type__in=FactType.values), name="fact_type_known"),
            models.CheckConstraint(condition=~Q(entity_key=""), name="fact_entity_given"),
        ]
        indexes: ClassVar = [
            models.Index(fields=["subject", "type", "entity_key", "attribute"], name="fact_identity"),
            models.Index(fields=["workspace", "-id"], name="fact_newest"),
            models.Index(fields=["workspace", "entity_key"], name="fact_about"),
        ]

    def __str__(self) -> str:
        return str(self.id)

    @property
    def handle_text(self) -> str:
        return f"F{self.handle}"


class FactVersion(models.Model):
    """What was believed. A trigger keeps every column but `status` as it was written."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="+")
    fact = models.ForeignKey(Fact, on_delete=models.CASCADE, related_name="versions")
    number = models.PositiveIntegerField()
    content = models.TextField()
    value = models.DecimalField(max_digits=30, decimal_places=10, null=True, blank=True)
    unit = models.CharField(max_length=40, blank=True, default="")
    mentions = ArrayField(models.CharField(max_length=200), default=list, blank=True)
    confidence = models.FloatField(default=1.0)
    source = models.CharField(max_length=10, choices=Source)
    agent = models.ForeignKey(Agent, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    session = models.ForeignKey(Session, null=True, blank=True, on_delete=models.SET_NULL, related_name="learned")
    extracted_by = models.CharField(max_length=120, blank=True, default="", help_text="Model and prompt version.")
    valid_from = models.DateTimeField()
    expires_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    status = models.CharField(max_length=12, choices=Status, default=Status.CURRENT, help_text="As of now.")
    status_at = models.DateTimeField(default=timezone.now, help_text="Since when the status holds.")
    written_with = models.CharField(max_length=64, blank=True, default="", help_text="The credential's public prefix.")
    special_category = models.CharField(
        max_length=32, blank=True, default="", help_text="Of GDPR art. 9, as labelled by who stated it; else empty."
    )
    findings = models.JSONField(
        default=list, blank=True, help_text="Why it waits for review: codes with places in the content, never values."
    )
    approved_at = models.DateTimeField(null=True, blank=True, help_text="When a person let it in for every agent.")

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["fact", "number"], name="fact_version_number_once"),
            models.UniqueConstraint(fields=["fact"], condition=Q(status="current"), name="fact_one_current_version"),
            models.CheckConstraint(condition=Q(confidence__range=(0, 1)), name="fact_version_confidence_in_range"),
            models.CheckConstraint(condition=Q(source__in=Source.values), name="fact_version_source_known"),
            models.CheckConstraint(condition=Q(status__in=Status.values), name="fact_version_status_known"),
            models.CheckConstraint(condition=~Q(content=""), name="fact_version_content_given"),
            models.CheckConstraint(condition=Q(number__gte=1), name="fact_version_number_from_one"),
        ]
        indexes: ClassVar = [
            GinIndex(fields=["mentions"], name="fact_version_mentions"),
            models.Index(fields=["workspace", "-id"], condition=Q(status="quarantined"), name="fact_version_waiting"),
            models.Index(fields=["workspace", "status", "-id"], name="fact_version_newest"),
            models.Index(
                fields=["workspace", "written_with"], condition=~Q(written_with=""), name="fact_version_written_with"
            ),
            models.Index(fields=["session"], condition=Q(session__isnull=False), name="fact_version_of_session"),
        ]

    def __str__(self) -> str:
        return f"{self.fact_id} v{self.number}"


class EvidenceKind(models.TextChoices):
    STATES = "states", "states"
    CONFIRMS = "confirms", "confirms"


class Evidence(models.Model):
    """A turn that states or confirms a version."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="+")
    version = models.ForeignKey(FactVersion, on_delete=models.CASCADE, related_name="evidence")
    turn = models.ForeignKey(Turn, on_delete=models.CASCADE, related_name="evidence")
    kind = models.CharField(max_length=8, choices=EvidenceKind)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["version", "turn"], name="evidence_once"),
            models.CheckConstraint(condition=Q(kind__in=EvidenceKind.values), name="evidence_kind_known"),
        ]

    def __str__(self) -> str:
        return f"{self.turn_id} {self.kind} {self.version_id}"


class RemovedEvidence(models.Model):
    """That a turn stated or confirmed a version, after retention removed the turn: when, and a keyed digest of it."""

    runtime_privileges = ("SELECT", "INSERT", "DELETE")

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="+")
    version = models.ForeignKey(FactVersion, on_delete=models.CASCADE, related_name="removed_evidence")
    kind = models.CharField(max_length=8, choices=EvidenceKind)
    said_at = models.DateTimeField(help_text="When it was said.")
    digest = models.BinaryField(max_length=32, help_text="Of the turn's digest, by the key of erasures.")
    removed_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["version", "digest"], name="removed_evidence_once"),
            models.CheckConstraint(condition=Q(kind__in=EvidenceKind.values), name="removed_evidence_kind_known"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.version_id}"


class FactTransition(models.Model):
    """A change of a version's status: the history behind `FactVersion.status`. Written once."""

    runtime_privileges = ("SELECT", "INSERT", "DELETE")

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="+")
    version = models.ForeignKey(FactVersion, on_delete=models.CASCADE, related_name="transitions")
    from_status = models.CharField(max_length=12, blank=True, default="", choices=Status)
    to_status = models.CharField(max_length=12, choices=Status)
    actor_kind = models.CharField(max_length=10)
    actor_id = models.CharField(max_length=64)
    reason = models.CharField(max_length=40, help_text="A code.")
    note = models.TextField(blank=True, default="", help_text="A person's own words; erased with the subject.")
    written_with = models.CharField(max_length=64, blank=True, default="", help_text="The credential's public prefix.")
    superseded_by = models.UUIDField(null=True, blank=True, help_text="The version that took its place.")
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(to_status__in=Status.values), name="transition_status_known"),
        ]

    def __str__(self) -> str:
        return f"{self.version_id} {self.from_status}->{self.to_status}"


class FactTally(models.Model):
    """How many versions an agent brought in about a subject in a day (UTC). Counted under the subject's lock."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="+")
    subject = models.ForeignKey(Subject, on_delete=models.CASCADE, related_name="+")
    agent = models.ForeignKey(Agent, on_delete=models.CASCADE, related_name="+")
    day = models.DateField()
    versions = models.PositiveIntegerField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["subject", "agent", "day"], name="fact_tally_once"),
        ]

    def __str__(self) -> str:
        return f"{self.subject_id} {self.day} {self.versions}"


class ExtractionState(models.TextChoices):
    DUE = "due", "due"
    RUNNING = "running", "running"
    DONE = "done", "done"
    FAILED = "failed", "failed, will be tried again"
    DEAD = "dead", "dead letter"


OPEN_STATES = (ExtractionState.DUE, ExtractionState.RUNNING, ExtractionState.FAILED)
"""States of a window that somebody will still read."""


class Extraction(models.Model):
    """One window of turns to extract facts from. The dead letters are its dead rows.

    `indexes` names its turns one by one, so that a turn which arrives late, between those of a window that was read,
    belongs to a window of its own.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="+")
    subject = models.ForeignKey(Subject, on_delete=models.CASCADE, related_name="extractions")
    session = models.ForeignKey(Session, on_delete=models.CASCADE, related_name="extractions")
    first_index = models.PositiveIntegerField()
    last_index = models.PositiveIntegerField()
    indexes = ArrayField(models.PositiveIntegerField(), default=list)
    state = models.CharField(max_length=8, choices=ExtractionState, default=ExtractionState.DUE)
    attempts = models.PositiveIntegerField(default=0, help_text="Counted, and committed, before the work.")
    deaths = models.PositiveIntegerField(default=0, help_text="Attempts during which the worker ended.")
    error = models.CharField(max_length=60, blank=True, default="", help_text="A code.")
    lease = models.UUIDField(null=True, blank=True, help_text="Who holds it may write the result.")
    leased_by = models.CharField(max_length=100, blank=True, default="")
    leased_until = models.DateTimeField(null=True, blank=True)
    batch = models.ForeignKey(
        "facts.ExtractionBatch", null=True, blank=True, on_delete=models.SET_NULL, related_name="windows"
    )
    known_handles = ArrayField(models.PositiveIntegerField(), default=list, help_text="Facts the batch was told of.")
    replay = models.UUIDField(null=True, blank=True, help_text="The replay that last put it back into the queue.")
    model = models.CharField(max_length=120, blank=True, default="")
    prompt_version = models.CharField(max_length=40, blank=True, default="")
    request_id = models.CharField(max_length=100, blank=True, default="", help_text="The provider's, of the last call.")
    input_tokens = models.PositiveIntegerField(default=0)
    output_tokens = models.PositiveIntegerField(default=0)
    cache_read_tokens = models.PositiveIntegerField(default=0)
    cache_write_tokens = models.PositiveIntegerField(default=0)
    cost_usd = models.DecimalField(
        max_digits=12, decimal_places=6, null=True, default=0, help_text="Empty when no price is known."
    )
    counts = models.JSONField(default=dict, help_text="What became of the facts: how many were added, confirmed, …")
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    next_attempt_at = models.DateTimeField(default=timezone.now)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["session", "first_index"], name="extraction_window_once"),
            models.CheckConstraint(condition=Q(state__in=ExtractionState.values), name="extraction_state_known"),
            models.CheckConstraint(
                condition=Q(last_index__gte=models.F("first_index")), name="extraction_window_in_order"
            ),
        ]
        indexes: ClassVar = [
            models.Index(
                fields=["workspace", "next_attempt_at"], condition=Q(state__in=OPEN_STATES), name="extraction_claim"
            ),
            models.Index(fields=["subject", "id"], condition=Q(state__in=OPEN_STATES), name="extraction_in_order"),
            models.Index(
                fields=["workspace"], condition=Q(state__in=OPEN_STATES, deaths__gte=1), name="extraction_suspect"
            ),
            models.Index(fields=["workspace", "-id"], condition=Q(state=ExtractionState.DEAD), name="extraction_dead"),
            models.Index(fields=["workspace", "-id"], name="extraction_newest"),
        ]

    def __str__(self) -> str:
        return f"{self.session_id} {self.first_index}-{self.last_index}"

    @property
    def tokens(self) -> int:
        return self.input_tokens + self.output_tokens + self.cache_read_tokens + self.cache_write_tokens


class BatchState(models.TextChoices):
    CREATING = "creating", "being created at the provider"
    SUBMITTED = "submitted", "submitted"
    APPLIED = "applied", "applied, to be deleted at the provider"
    DELETED = "deleted", "applied and deleted at the provider"
    LOST = "lost", "never reached the provider"


class ExtractionBatch(models.Model):
    """Windows that were sent together, at half the price. Holds no content."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="+")
    provider_id = models.CharField(max_length=100, blank=True, default="")
    state = models.CharField(max_length=9, choices=BatchState, default=BatchState.CREATING)
    size = models.PositiveIntegerField()
    leased_until = models.DateTimeField(null=True, blank=True, help_text="One worker at a time looks after a batch.")
    looked_at = models.DateTimeField(null=True, blank=True, help_text="When the provider was last asked about it.")
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    submitted_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(state__in=BatchState.values), name="extraction_batch_state_known"),
        ]
        indexes: ClassVar = [
            models.Index(
                fields=["workspace"],
                condition=~Q(state__in=(BatchState.DELETED, BatchState.LOST)),
                name="extraction_batch_open",
            ),
        ]

    def __str__(self) -> str:
        return str(self.id)


class ExtractionDay(models.Model):
    """What extraction took in a workspace on one day (UTC). Counted with each attempt; outlives who it was about.

    A day has several rows to be added up, so that workers which finish at the same time do not wait for each other.
    """

    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="+")
    day = models.DateField()
    model = models.CharField(max_length=120)
    batched = models.BooleanField(default=False)
    shard = models.PositiveSmallIntegerField(default=0, help_text="By the connection that counts.")
    windows = models.PositiveIntegerField(default=0, help_text="Read for facts.")
    failures = models.PositiveIntegerField(default=0, help_text="Attempts that failed.")
    input_tokens = models.PositiveBigIntegerField(default=0)
    output_tokens = models.PositiveBigIntegerField(default=0)
    cache_read_tokens = models.PositiveBigIntegerField(default=0)
    cache_write_tokens = models.PositiveBigIntegerField(default=0)
    cost_usd = models.DecimalField(
        max_digits=14, decimal_places=6, null=True, default=0, help_text="Empty when no price is known."
    )

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["workspace", "day", "model", "batched", "shard"], name="extraction_day_once"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.day} {self.model}"


class ExtractorState(models.Model):
    """The circuit breaker of an extractor's provider, shared by every worker of every process. Knows no workspace."""

    name = models.CharField(primary_key=True, max_length=40)
    failures = models.PositiveIntegerField(default=0, help_text="In a row, while closed.")
    open_until = models.DateTimeField(null=True, blank=True, help_text="Empty while closed.")
    probe = models.UUIDField(null=True, blank=True, help_text="Who may ask whether it is back.")
    probe_by = models.CharField(max_length=100, blank=True, default="", help_text="The worker that asks.")
    probe_until = models.DateTimeField(null=True, blank=True)
    blocked = models.CharField(max_length=40, blank=True, default="", help_text="A code: a person has to act.")
    error = models.CharField(max_length=40, blank=True, default="", help_text="The last failure's code.")
    changed_at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return self.name


class ErasedEvidence(models.Model):
    """A turn that a fact was erased of: nothing is derived from it again, however a model would word it now."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="+")
    subject = models.ForeignKey(Subject, on_delete=models.CASCADE, related_name="+")
    turn = models.OneToOneField(Turn, on_delete=models.CASCADE, related_name="erased_evidence")
    at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return str(self.turn_id)


class RecallKind(models.TextChoices):
    WORKING_MEMORY = "working_memory", "working memory"
    SEARCH = "search", "search"
    FACTS = "facts", "facts"
    PREVIEW = "preview", "preview"
    REVIEW = "review", "review"


class Recall(models.Model):
    """One surfacing: what was asked, with which settings, and (in its items) what was returned."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="+")
    subject = models.ForeignKey(Subject, null=True, on_delete=models.CASCADE, related_name="recalls")
    session = models.ForeignKey(Session, null=True, blank=True, on_delete=models.SET_NULL, related_name="recalls")
    session_external_id = models.CharField(
        max_length=256, blank=True, default="", help_text="As the caller named it: it may not have a turn yet."
    )
    agent = models.ForeignKey(Agent, null=True, blank=True, on_delete=models.PROTECT, related_name="recalls")
    kind = models.CharField(max_length=16, choices=RecallKind)
    message = models.TextField(blank=True, default="")
    settings = models.JSONField(default=dict)
    degraded = ArrayField(models.CharField(max_length=40), default=list)
    block = models.TextField(blank=True, default="", help_text='Kept for `refresh: "session"` only.')
    block_hash = models.BinaryField(max_length=32, null=True)
    item_count = models.PositiveSmallIntegerField(default=0, help_text="How many were surfaced; erasure removes rows.")
    candidates = models.JSONField(default=list, help_text="The best 50 that were considered, with their scores.")
    elapsed_ms = models.FloatField(default=0)
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(kind__in=RecallKind.values), name="recall_kind_known"),
        ]
        indexes: ClassVar = [
            models.Index(fields=["workspace", "-at"], name="recall_newest"),
            models.Index(fields=["workspace", "kind", "-at"], name="recall_newest_of_kind"),
            models.Index(fields=["workspace", "-at"], condition=~Q(degraded=[]), name="recall_degraded"),
            models.Index(fields=["subject", "-at"], name="recall_newest_of_subject"),
            models.Index(fields=["subject", "session_external_id", "-at"], name="recall_newest_of_session"),
            models.Index(
                fields=["subject", "session_external_id"],
                condition=~Q(block=""),
                name="recall_session_block",
            ),
        ]

    def __str__(self) -> str:
        return str(self.id)


class RecalledItem(models.Model):
    """One thing that was surfaced: a fact version or a turn."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="+")
    recall = models.ForeignKey(Recall, on_delete=models.CASCADE, related_name="items")
    version = models.ForeignKey(FactVersion, null=True, blank=True, on_delete=models.CASCADE, related_name="recalled")
    turn = models.ForeignKey(Turn, null=True, blank=True, on_delete=models.CASCADE, related_name="recalled")
    rank = models.PositiveSmallIntegerField()
    score = models.FloatField(null=True)
    scores = models.JSONField(default=dict)
    status = models.CharField(max_length=12, blank=True, default="", help_text="The version's status then.")
    cited_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["recall", "rank"], name="recalled_item_rank_once"),
            models.CheckConstraint(
                condition=Q(version__isnull=False, turn__isnull=True) | Q(version__isnull=True, turn__isnull=False),
                name="recalled_item_is_one_thing",
            ),
        ]
        indexes: ClassVar = [
            models.Index(
                fields=["workspace", "cited_at"], condition=Q(cited_at__isnull=False), name="recalled_item_cited"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.recall_id} #{self.rank}"
