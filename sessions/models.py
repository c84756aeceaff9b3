"""Episodic memory: whom it is about, in which conversation, and what was said."""

from typing import ClassVar
from uuid import uuid4

from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from memoryhub.access.models import Agent, Workspace
from memoryhub.core.ids import uuid7

NOT_SURFACED = ("restricted_at", "surfacing_paused_at", "held_back_at")
NOT_READ = ("restricted_at", "extraction_paused_at", "recording_paused_at", "held_back_at")


def none_set(columns: tuple[str, ...], prefix: str = "") -> Q:
    """The condition on people, to whom `prefix` leads, that none of these columns holds them back."""
    return Q(**{f"{prefix}{column}__isnull": True for column in columns})


class Subject(models.Model):
    """The person remembered. The id is random and not dated: it outlives erasure as a pseudonym."""

    id = models.UUIDField(primary_key=True, default=uuid4, editable=False)
    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="subjects")
    external_id = models.CharField(max_length=256, help_text="The caller's id for the person: `user_id` in the API.")
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    restricted_at = models.DateTimeField(null=True, blank=True)
    recording_paused_at = models.DateTimeField(null=True, blank=True)
    extraction_paused_at = models.DateTimeField(null=True, blank=True)
    surfacing_paused_at = models.DateTimeField(null=True, blank=True)
    held_back_at = models.DateTimeField(
        null=True, blank=True, help_text="Since a request to erase, or an objection, came in that is not decided yet."
    )
    last_handle = models.PositiveIntegerField(default=0, help_text="The last short handle given to a fact (F12).")

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["workspace", "external_id"], name="subject_external_id_once"),
            models.CheckConstraint(condition=~Q(external_id=""), name="subject_external_id_given"),
        ]
        indexes: ClassVar = [models.Index(fields=["workspace", "-created_at"], name="subject_newest")]

    def __str__(self) -> str:
        return str(self.id)

    @property
    def surfaceable(self) -> bool:
        """Whether anything about this person may reach an agent now."""
        return not any(getattr(self, column) for column in NOT_SURFACED)

    @property
    def readable(self) -> bool:
        """Whether facts may be read out of what this person says now."""
        return not any(getattr(self, column) for column in NOT_READ)


class Session(models.Model):
    """One conversation of an agent with a subject."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="+")
    subject = models.ForeignKey(Subject, on_delete=models.CASCADE, related_name="sessions")
    agent = models.ForeignKey(Agent, on_delete=models.PROTECT, related_name="sessions")
    external_id = models.CharField(max_length=256, help_text="The caller's id for the conversation.")
    metadata = models.JSONField(default=dict, blank=True)
    started_at = models.DateTimeField()
    last_turn_at = models.DateTimeField()
    turn_count = models.PositiveIntegerField(default=0)
    closed_at = models.DateTimeField(null=True, blank=True)
    extract_due_at = models.DateTimeField(null=True, blank=True, help_text="Empty: nothing new to extract from.")
    turns_planned = models.PositiveIntegerField(default=0, help_text="Turns there were when it was last cut up.")

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["workspace", "external_id"], name="session_external_id_once"),
            models.CheckConstraint(condition=~Q(external_id=""), name="session_external_id_given"),
            models.CheckConstraint(condition=Q(last_turn_at__gte=F("started_at")), name="session_ends_after_start"),
        ]
        indexes: ClassVar = [
            models.Index(fields=["subject", "-last_turn_at"], name="session_latest_of_subject"),
            models.Index(
                fields=["workspace", "extract_due_at"],
                condition=Q(extract_due_at__isnull=False),
                name="session_extraction_due",
            ),
            models.Index(
                fields=["subject"], condition=Q(extract_due_at__isnull=False), name="session_extraction_waits"
            ),
        ]

    def __str__(self) -> str:
        return str(self.id)


class TurnRole(models.TextChoices):
    USER = "user", "user"
    ASSISTANT = "assistant", "assistant"
    SYSTEM = "system", "system"
    TOOL = "tool", "tool"


class Turn(models.Model):
    """One message, kept as it was sent. Never changed; removed only by erasure and retention."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="+")
    session = models.ForeignKey(Session, on_delete=models.CASCADE, related_name="turns")
    index = models.PositiveIntegerField()
    client_id = models.CharField(max_length=256, null=True, blank=True)  # noqa: DJ001 - unique only where given
    role = models.CharField(max_length=10, choices=TurnRole)
    name = models.CharField(max_length=256, blank=True, default="")
    content = models.JSONField(help_text="A string, or a list of Messages API content blocks, as sent.")
    text = models.TextField(blank=True, default="", help_text="The readable text of the content, for search.")
    tool_name = models.CharField(max_length=256, blank=True, default="")
    tool_input = models.JSONField(null=True, blank=True)
    tool_result = models.JSONField(null=True, blank=True)
    orphan = models.BooleanField(default=False, help_text="A tool result whose call is nowhere in the session.")
    metadata = models.JSONField(default=dict, blank=True)
    occurred_at = models.DateTimeField()
    recorded_at = models.DateTimeField(default=timezone.now, editable=False)
    digest = models.BinaryField(max_length=32, help_text="SHA-256 of what was kept: tells a retry from a conflict.")
    written_with = models.CharField(max_length=64, blank=True, default="", help_text="The credential's public prefix.")
    holds_results = models.BooleanField(
        default=False, help_text="Holds what tools or searches returned: not, or not only, its speaker's own words."
    )
    findings = models.JSONField(
        default=list, blank=True, help_text="What screening found, as classes and places; never the values."
    )
    withheld_at = models.DateTimeField(null=True, blank=True, help_text="Kept, but never surfaced nor extracted from.")
    withheld_reason = models.CharField(max_length=40, blank=True, default="", help_text="A code.")
    erased_at = models.DateTimeField(null=True, blank=True, help_text="When a statement was taken out of it.")

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["session", "index"], name="turn_index_once"),
            models.UniqueConstraint(fields=["session", "client_id"], name="turn_client_id_once"),
            models.CheckConstraint(condition=Q(role__in=TurnRole.values), name="turn_role_known"),
        ]
        indexes: ClassVar = [
            models.Index(fields=["workspace", "written_with"], condition=~Q(written_with=""), name="turn_written_with"),
        ]

    def __str__(self) -> str:
        return f"{self.session_id}#{self.index}"
