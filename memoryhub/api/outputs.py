"""What callers get back. Nothing is in an answer that its serializer does not name; a field without a value is null."""

from decimal import Decimal
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from audit.actors import ActorKind
from audit.models import Entry, Outcome
from audit.services import receipt
from facts.block import TURN_CHARACTERS
from facts.decision import Outcome as WriteOutcome
from facts.doubts import WAITS_BECAUSE
from facts.models import EvidenceKind, Extraction, ExtractionState, FactType, Source, Status
from memoryhub.access.policy import Treatment
from memoryhub.access.tokens import TOKEN_SCOPES
from memoryhub.api.inputs import SURFACED_STATUSES
from memoryhub.core.screening import SENSITIVE
from memoryhub.core.text import one_line
from sessions.models import Turn, TurnRole

STATUSES = [status.value for status in SURFACED_STATUSES]


# Docstrings of these classes stand in the API's description.


class Output(serializers.Serializer[Any]):
    # An object of an answer.
    pass


@extend_schema_field({"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]+)?$", "example": "20000"})
class Amount(serializers.Field[Decimal, Any, str, Any]):
    """A number as a string without trailing zeros: no digit is lost on the way."""

    def to_representation(self, value: Decimal) -> str:
        text = format(value, "f")
        return text.rstrip("0").rstrip(".") if "." in text else text


@extend_schema_field({"type": "number", "format": "double"})
class Score(serializers.Field[float, Any, float, Any]):
    """Four decimals, as the log keeps them."""

    def to_representation(self, value: float) -> float:
        return round(value, 4)


class ErrorDetail(Output):
    code = serializers.CharField(help_text="A word to branch on.")
    message = serializers.CharField(help_text="A sentence for the person who reads it.")
    fields = serializers.DictField(  # type: ignore[assignment]
        child=serializers.ListField(child=serializers.CharField()),
        help_text="What is wrong where, by path: `turns[2].role`.",
    )


class ErrorOut(Output):
    error = ErrorDetail()


# Recording


class FindingOut(Output):
    kind = serializers.ChoiceField(sorted(kind.value for kind in SENSITIVE), help_text="A class; never the value.")
    part = serializers.CharField(help_text="The part of the turn: `content`, `tool_input`, …")
    count = serializers.IntegerField()
    treatment = serializers.ChoiceField(
        [Treatment.REDACT.value, Treatment.QUARANTINE.value],
        help_text="`redact`: replaced by the name of its class. `quarantine`: the turn is kept and shown to nobody.",
    )


class RecordedTurnOut(Output):
    turn_index = serializers.IntegerField(source="index")
    id = serializers.UUIDField(help_text="The hub's id of the turn.")
    client_id = serializers.CharField(allow_null=True, help_text="Yours, where you gave one.")
    findings = FindingOut(many=True, help_text="Sensitive data that was found in it, and what was done with it.")


class ExtractionStateOut(Output):
    state = serializers.ChoiceField(
        ("off", "due", "idle", "paused"),
        help_text="`off`: this hub, or this agent's mode, extracts nothing. `idle`: nothing waits.",
    )
    due_at = serializers.DateTimeField(allow_null=True)


class TurnsOut(Output):
    session_id = serializers.CharField()
    recorded = serializers.IntegerField(help_text="How many were new.")
    duplicates = serializers.IntegerField(help_text="How many were known already, with the same content.")
    paused = serializers.ChoiceField(("recording",), allow_null=True, help_text="Why nothing was kept.")
    turns = RecordedTurnOut(many=True)
    extraction = ExtractionStateOut()


class ClosedOut(Output):
    session_id = serializers.CharField()
    closed_at = serializers.DateTimeField()
    extraction = ExtractionStateOut()


# Surfacing


class FactOut(Output):
    """A version of a fact."""

    # Made from a FactHit.

    fact_id = serializers.UUIDField(source="version.fact_id")
    handle = serializers.CharField(source="version.fact.handle_text", help_text="Short name, counted per person: F12.")
    version = serializers.IntegerField(source="version.number")
    type = serializers.ChoiceField(FactType.choices, source="version.fact.type")
    entity = serializers.CharField(source="version.fact.entity")
    attribute = serializers.CharField(source="version.fact.attribute")
    content = serializers.CharField(source="version.content")
    value = Amount(source="version.value", allow_null=True)
    unit = serializers.CharField(source="version.unit")
    mentions = serializers.ListField(child=serializers.CharField(), source="version.mentions")
    confidence = serializers.FloatField(source="version.confidence")
    source = serializers.ChoiceField(Source.choices, source="version.source", help_text="Who vouches for it.")  # type: ignore[assignment]
    status = serializers.ChoiceField(STATUSES, source="version.status")
    status_at = serializers.DateTimeField(source="version.status_at", help_text="Since when the status holds.")
    session_id = serializers.CharField(
        source="told_in", allow_null=True, help_text="The session it was learned in, if that was one of this agent's."
    )
    valid_from = serializers.DateTimeField(source="version.valid_from")
    expires_at = serializers.DateTimeField(source="version.expires_at", allow_null=True)
    pinned = serializers.BooleanField(source="version.fact.pinned")


class FoundFactOut(FactOut):
    score = Score(help_text="0..1; means the same under any embedder.")
    scores = serializers.DictField(child=Score(), help_text="The parts of the score.")


class ReceiptOut(Output):
    # What stands in every answer that holds memory.

    recall_id = serializers.UUIDField(allow_null=True, help_text="Null when nobody is known by that id.")
    receipt = serializers.CharField(allow_null=True, help_text="Names the audit entry and pins its content.")


class RecentTurnOut(Output):
    id = serializers.UUIDField()
    session_id = serializers.CharField(source="session.external_id")
    turn_index = serializers.IntegerField(source="index")
    role = serializers.ChoiceField(TurnRole.choices)
    name = serializers.CharField()
    text = serializers.SerializerMethodField(help_text=f"On one line, cut at {TURN_CHARACTERS} characters.")
    timestamp = serializers.DateTimeField(source="occurred_at")

    def get_text(self, turn: Turn) -> str:
        return one_line(turn.text, TURN_CHARACTERS)


class SearchResultTextOut(Output):
    type = serializers.ChoiceField(("text",))
    text = serializers.CharField()


class SearchResultCitationsOut(Output):
    enabled = serializers.BooleanField()


class SearchResultOut(Output):
    """A Messages API search_result block."""

    type = serializers.ChoiceField(("search_result",))
    source = serializers.CharField(help_text="`memory://facts/<fact_id>` or `memory://turns/<id>`.")  # type: ignore[assignment]
    title = serializers.CharField()
    content = SearchResultTextOut(many=True)
    citations = SearchResultCitationsOut()


PAUSED_HELP = "`surfacing`: the person is restricted or paused, so nothing is given out."


class WorkingMemoryOut(ReceiptOut):
    block = serializers.CharField(help_text="Ready to stand in the system prompt; empty when there is nothing to say.")
    tokens_estimated = serializers.IntegerField()
    facts = FoundFactOut(many=True, help_text="What stands in the block, in its order.")
    recent_turns = RecentTurnOut(many=True)
    search_results = SearchResultOut(many=True, help_text='Filled with `format: "search_results"`.')
    omitted = serializers.IntegerField(help_text="Facts and turns that did not fit the budget.")
    pending_turns = serializers.IntegerField(help_text="Turns of this person that were not read for facts yet.")
    degraded = serializers.ListField(child=serializers.CharField(), help_text="Parts that failed and were left out.")
    paused = serializers.ChoiceField(("surfacing",), allow_null=True, help_text=PAUSED_HELP)


class HitOut(Output):
    kind = serializers.ChoiceField(("fact", "turn"))
    id = serializers.UUIDField(help_text="Of the fact or the turn.")
    session_id = serializers.CharField(allow_null=True, help_text="Null when it is another agent's.")
    turn_index = serializers.IntegerField(allow_null=True)
    role = serializers.ChoiceField(TurnRole.choices, allow_null=True)
    handle = serializers.CharField(allow_null=True)
    version = serializers.IntegerField(allow_null=True)
    status = serializers.ChoiceField(STATUSES, allow_null=True)
    valid_from = serializers.DateTimeField(help_text="Of a turn: when it was said.")
    content = serializers.CharField()
    score = Score()
    scores = serializers.DictField(child=Score())


class SearchOut(ReceiptOut):
    hits = HitOut(many=True)
    degraded = serializers.ListField(child=serializers.CharField())
    paused = serializers.ChoiceField(("surfacing",), allow_null=True, help_text=PAUSED_HELP)


# Facts

NEXT_HELP = "Send it as `cursor` for the next page; null on the last."


class FactPageOut(ReceiptOut):
    facts = FactOut(many=True)
    next = serializers.CharField(allow_null=True, help_text=NEXT_HELP)
    paused = serializers.ChoiceField(("surfacing",), allow_null=True, help_text=PAUSED_HELP)


class FactDetailOut(ReceiptOut):
    fact = FactOut()


class EvidenceOut(Output):
    kind = serializers.ChoiceField(EvidenceKind.choices)
    turn_id = serializers.UUIDField()
    session_id = serializers.CharField(source="turn.session.external_id")
    turn_index = serializers.IntegerField(source="turn.index")


class TransitionOut(Output):
    from_status = serializers.CharField(help_text="Empty for the first.")
    to_status = serializers.CharField()
    reason = serializers.CharField(help_text="A code.")
    actor_kind = serializers.CharField()
    at = serializers.DateTimeField()


class FactVersionOut(FactOut):
    evidence = EvidenceOut(many=True, source="version.evidence.all", help_text="The turns that state or confirm it.")
    history = TransitionOut(many=True, source="version.transitions.all", help_text="How its status came about.")


class FactVersionPageOut(ReceiptOut):
    versions = FactVersionOut(many=True, help_text="Newest first.")
    next = serializers.CharField(allow_null=True, help_text=NEXT_HELP)


class FactWrittenOut(Output):
    """What became of a fact that was sent."""

    # Made from a Written.

    fact_id = serializers.UUIDField(source="version.fact_id")
    handle = serializers.CharField(source="version.fact.handle_text")
    version = serializers.IntegerField(source="version.number")
    outcome = serializers.ChoiceField([outcome.value for outcome in WriteOutcome])
    reason = serializers.CharField(help_text="A code: why it was placed so.")


class FactsWrittenOut(Output):
    facts = FactWrittenOut(many=True, help_text="In the order sent.")


class FactChangedOut(Output):
    """Where a fact stands after a change. Its content is not repeated: reading is a call of its own, with a receipt."""

    # Made from a FactVersion.

    fact_id = serializers.UUIDField()
    handle = serializers.CharField(source="fact.handle_text")
    version = serializers.IntegerField(source="number")
    status = serializers.ChoiceField(
        Status.choices,
        help_text="`quarantined`: the change waits for a person, and the fact stays as it was. `rejected`: a person "
        "turned the same change down before.",
    )


# Review


class DoubtOut(Output):
    """Why a version waits."""

    code = serializers.ChoiceField(WAITS_BECAUSE)
    kind = serializers.CharField(
        allow_null=True, default=None, help_text="Of what was found in the content, such as `link`; else null."
    )
    start = serializers.IntegerField(allow_null=True, default=None, help_text="Where, in characters.")
    end = serializers.IntegerField(allow_null=True, default=None)


class ReplacedOut(Output):
    """The version that is current now."""

    version = serializers.IntegerField(source="number")
    content = serializers.CharField()
    value = Amount(allow_null=True)
    unit = serializers.CharField()
    source = serializers.ChoiceField(Source.choices)  # type: ignore[assignment]
    pinned = serializers.BooleanField(source="fact.pinned")
    valid_from = serializers.DateTimeField()


class ReviewItemOut(Output):
    """A version that waits for review."""

    id = serializers.UUIDField(source="version.id", help_text="Of the version: stands in paths below `/review`.")
    subject_id = serializers.UUIDField(source="version.fact.subject_id")
    user_id = serializers.CharField(source="version.fact.subject.external_id")
    fact_id = serializers.UUIDField(source="version.fact_id")
    handle = serializers.CharField(source="version.fact.handle_text")
    version = serializers.IntegerField(source="version.number")
    type = serializers.ChoiceField(FactType.choices, source="version.fact.type")
    entity = serializers.CharField(source="version.fact.entity")
    attribute = serializers.CharField(source="version.fact.attribute")
    content = serializers.CharField(source="version.content")
    value = Amount(source="version.value", allow_null=True)
    unit = serializers.CharField(source="version.unit")
    confidence = serializers.FloatField(source="version.confidence")
    source = serializers.ChoiceField(Source.choices, source="version.source")  # type: ignore[assignment]
    special_category = serializers.CharField(source="version.special_category")
    status = serializers.ChoiceField(Status.choices, source="version.status")
    agent_id = serializers.UUIDField(source="version.agent_id", allow_null=True)
    written_with = serializers.CharField(source="version.written_with", help_text="The key's public prefix.")
    created_at = serializers.DateTimeField(source="version.created_at")
    doubts = DoubtOut(many=True, source="version.findings", help_text="Why it waits.")
    marks_stale = serializers.BooleanField(help_text="It asks for the current version to count as no longer true.")
    replaces = ReplacedOut(allow_null=True, help_text="What letting it in would put away.")
    recall_id = serializers.UUIDField()
    receipt = serializers.CharField()


class ReviewPageOut(Output):
    items = ReviewItemOut(many=True, help_text="Oldest first.")
    next = serializers.CharField(allow_null=True, help_text=NEXT_HELP)


# Subjects


class SubjectOut(Output):
    subject_id = serializers.UUIDField(source="id", help_text="The hub's id of the person; stands in paths.")
    user_id = serializers.CharField(source="external_id", help_text="Yours.")
    created_at = serializers.DateTimeField()
    restricted_at = serializers.DateTimeField(allow_null=True)
    recording_paused_at = serializers.DateTimeField(allow_null=True)
    extraction_paused_at = serializers.DateTimeField(allow_null=True)
    surfacing_paused_at = serializers.DateTimeField(allow_null=True)


class SubjectPageOut(Output):
    subjects = SubjectOut(many=True, help_text="Newest first.")
    next = serializers.CharField(allow_null=True, help_text=NEXT_HELP)


class SubjectDetailOut(SubjectOut):
    sessions = serializers.IntegerField()
    turns = serializers.IntegerField()
    facts = serializers.IntegerField()


# Tokens


class SubjectTokenOut(Output):
    # Made from a NewToken.

    token = serializers.CharField(source="secret", help_text="Send it as a key is sent. It is not shown again.")
    token_id = serializers.UUIDField(source="token.id", help_text="Stands in the log of what is done with it.")
    subject_id = serializers.UUIDField(source="token.subject_id")
    scopes = serializers.ListField(child=serializers.ChoiceField(sorted(scope.value for scope in TOKEN_SCOPES)))
    expires_at = serializers.DateTimeField(source="token.expires_at")


# Extraction


class ExtractionOut(Output):
    """One window of turns, read for facts once. Holds no content."""

    extraction_id = serializers.UUIDField(source="id")
    session_id = serializers.CharField(source="session.external_id", help_text="Yours.")
    subject_id = serializers.UUIDField(help_text="The hub's id of the person.")
    first_index = serializers.IntegerField(help_text="Of the window's first turn.")
    last_index = serializers.IntegerField()
    turns = serializers.SerializerMethodField(help_text="How many; a turn that came late has a window of its own.")
    state = serializers.ChoiceField(ExtractionState.choices)
    attempts = serializers.IntegerField()
    error = serializers.CharField(help_text="The code of the last failure; empty after success.")
    counts = serializers.DictField(
        child=serializers.IntegerField(), help_text="What became of the facts: how many were added, confirmed, …"
    )
    extracted_by = serializers.SerializerMethodField(help_text="The model, and the version of its prompt.")
    input_tokens = serializers.IntegerField()
    output_tokens = serializers.IntegerField()
    cache_read_tokens = serializers.IntegerField()
    cache_write_tokens = serializers.IntegerField()
    cost_usd = serializers.FloatField(allow_null=True, help_text="Null when no price is known for the model.")
    provider_request_id = serializers.CharField(source="request_id", help_text="For the provider's support.")
    created_at = serializers.DateTimeField()
    next_attempt_at = serializers.SerializerMethodField(help_text="Null when none follows.")
    finished_at = serializers.DateTimeField(allow_null=True)

    def get_turns(self, row: Extraction) -> int:
        return len(row.indexes)

    def get_extracted_by(self, row: Extraction) -> str:
        return f"{row.model}/{row.prompt_version}" if row.prompt_version else row.model

    @extend_schema_field(serializers.DateTimeField(allow_null=True))
    def get_next_attempt_at(self, row: Extraction) -> str | None:
        waits = row.state in (ExtractionState.DUE, ExtractionState.FAILED)
        return serializers.DateTimeField().to_representation(row.next_attempt_at) if waits else None


class ExtractionPageOut(Output):
    extractions = ExtractionOut(many=True, help_text="Newest first.")
    next = serializers.CharField(allow_null=True, help_text=NEXT_HELP)


class ReplayedOut(Output):
    replay_id = serializers.UUIDField(source="id", help_text="Its progress is under /replays/<replay_id>.")
    windows = serializers.IntegerField(help_text="How many wait again.")


class ReplayProgressOut(Output):
    windows = serializers.IntegerField()
    done = serializers.IntegerField()
    dead = serializers.IntegerField(help_text="Given up on again.")
    waiting = serializers.IntegerField()


# Audit


class ActorOut(Output):
    kind = serializers.ChoiceField([kind.value for kind in ActorKind])
    id = serializers.CharField()
    credential = serializers.CharField(help_text="The public prefix of the key used.")


class ObjectOut(Output):
    kind = serializers.CharField()
    id = serializers.CharField()


class EntryOut(Output):
    """One entry of the audit log."""

    id = serializers.UUIDField()
    at = serializers.DateTimeField()
    actor = serializers.SerializerMethodField()
    action = serializers.CharField()
    object = serializers.SerializerMethodField()
    subject_id = serializers.UUIDField(allow_null=True)
    session_id = serializers.UUIDField(allow_null=True)
    request_id = serializers.CharField()
    outcome = serializers.ChoiceField(Outcome.choices)
    reason = serializers.CharField(help_text="A code.")
    data = serializers.DictField(help_text="Ids, numbers, codes and digests; never content.")  # type: ignore[assignment]
    schema = serializers.IntegerField()
    receipt = serializers.SerializerMethodField(help_text="What the caller of a surfacing was given.")

    @extend_schema_field(ActorOut)
    def get_actor(self, entry: Entry) -> dict[str, str]:
        return {"kind": entry.actor_kind, "id": entry.actor_id, "credential": entry.credential}

    @extend_schema_field(ObjectOut)
    def get_object(self, entry: Entry) -> dict[str, str]:
        return {"kind": entry.object_kind, "id": entry.object_id}

    def get_receipt(self, entry: Entry) -> str:
        return receipt(entry)


class EntryPageOut(Output):
    entries = EntryOut(many=True, help_text="Newest first.")
    next = serializers.CharField(allow_null=True, help_text=NEXT_HELP)


class CheckpointOut(Output):
    """A checkpoint: all fields but the signature are what is signed, as sorted compact JSON."""

    form = serializers.CharField()
    workspace = serializers.CharField()
    number = serializers.IntegerField()
    size = serializers.IntegerField(help_text="Entries that it covers, from the first.")
    root = serializers.CharField(help_text="Of the Merkle tree over their leaves.")  # type: ignore[assignment]
    previous = serializers.CharField(help_text="Hash of the checkpoint before it.")
    marks = serializers.CharField()
    sum = serializers.CharField()
    at = serializers.CharField()
    key = serializers.CharField(help_text="Id of the key that signed.")
    signature = serializers.CharField(help_text="Ed25519, hexadecimal.")


class ProofOut(Output):
    state = serializers.ChoiceField(["sealed", "pending"])
    position = serializers.IntegerField(allow_null=True)
    path = serializers.ListField(child=serializers.CharField(), help_text="Hashes from the leaf up to the root.")
    checkpoint = CheckpointOut(allow_null=True)
    pruned = serializers.BooleanField(
        help_text="The entry itself was removed when the log's time for it was over; its leaf stands."
    )
