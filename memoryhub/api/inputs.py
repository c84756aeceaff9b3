"""What callers send: shapes and limits of bodies and queries. Unknown fields are refused, so that no typo vanishes."""

from collections.abc import Mapping
from typing import Any

from rest_framework import serializers

from audit.actors import ActorKind
from audit.export import ExportForm
from audit.models import Outcome
from audit.query import LONGEST
from facts.decision import entity_key
from facts.doubts import WAITS_BECAUSE
from facts.extraction.claims import FAILURES
from facts.models import ExtractionState, FactType, Source, Status
from memoryhub.access.tokens import DEFAULT_TTL, LONGEST_TTL, TOKEN_SCOPES
from memoryhub.api.fields import (
    POSTGRES_INT,
    Content,
    ExternalId,
    Flag,
    Metadata,
    Number,
    OneOf,
    PastTimestamp,
    Text,
    Timestamp,
    Uuid,
    Value,
    Whole,
)
from memoryhub.api.paging import MAX_PAGE, PAGE
from sessions.models import TurnRole

MAX_ITEMS = 100
# Taken by the list around the items, which the stubs do not know of.
ITEMS: dict[str, Any] = {"min_length": 1, "max_length": MAX_ITEMS}
MAX_MENTIONS = 50
MESSAGE_CHARACTERS = 32_000
FACT_CHARACTERS = 4_000
NOTE_CHARACTERS = 2_000

STALE_REASONS = (
    "contradicted",
    "outdated",
    "wrong",
    "duplicate",
    "not_about_subject",
    "not_stated",
    "sensitive",
    "other",
)
CORRECTION_REASONS = ("corrected", "contradicted", "outdated", "wrong", "other")
REJECT_REASONS = (
    "wrong",
    "not_stated",
    "not_about_subject",
    "outdated",
    "duplicate",
    "sensitive",
    "suspicious",
    "other",
)
RESTORE_REASONS = ("restored", "corrected", "other")
SUBJECT_REASONS = ("requested", "subject_request", "legal_obligation", "other")
SURFACED_STATUSES = (Status.CURRENT, Status.SUPERSEDED, Status.STALE)
"""What a key may ever see: a version that waits for review, or was turned down, is given to nobody."""


# Docstrings of these classes stand in the API's description.


class Input(serializers.Serializer[Any]):
    # An object with known fields only.

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        if isinstance(data, Mapping):
            unknown = [str(name) for name in data if name not in self.fields]
            if unknown:
                raise serializers.ValidationError({name[:80]: ["There is no such field."] for name in unknown})
        validated: dict[str, Any] = super().to_internal_value(data)
        return validated


# Recording


class TurnIn(Input):
    role = OneOf(TurnRole.choices)
    content = Content(required=False, help_text="May be left out where `tool_result` or `tool_input` is given.")
    turn_index = Whole(
        required=False,
        allow_null=True,
        min_value=0,
        max_value=POSTGRES_INT,
        help_text="Place in the session; without it the turn is appended.",
    )
    id = ExternalId(required=False, allow_null=True, help_text="Your id of the turn: sent again, it is known.")
    name = Text(required=False, allow_blank=True, max_length=256, help_text="Who speaks, when there are several.")
    tool_name = Text(required=False, allow_blank=True, max_length=256)
    tool_input = serializers.JSONField(required=False, allow_null=True)
    tool_result = serializers.JSONField(required=False, allow_null=True)
    timestamp = PastTimestamp(required=False, allow_null=True, help_text="When it was said; else now.")
    metadata = Metadata(required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        carries_tool = attrs.get("tool_result") is not None or attrs.get("tool_input") is not None
        if "content" not in attrs and not carries_tool:
            raise serializers.ValidationError({"content": ["This field is required."]})
        return attrs


class TurnsIn(Input):
    user_id = ExternalId(help_text="Your id of the person.")
    turns = TurnIn(many=True, **ITEMS)
    recall_id = Uuid(
        required=False,
        allow_null=True,
        help_text="The recall behind these turns: what the assistant cites of it is marked.",
    )
    metadata = Metadata(required=False, help_text="About the session; merged into what it has.")


# Surfacing


class WorkingMemoryIn(Input):
    user_id = ExternalId()
    message = Text(max_length=MESSAGE_CHARACTERS, help_text="What the person just wrote.")
    session_id = ExternalId(help_text="Your id of the running session; it need not have turns yet.")
    previous_session_id = ExternalId(
        required=False, allow_null=True, help_text="Whose last turns to show; else the agent's latest other one."
    )
    top_k = Whole(required=False, min_value=1, max_value=50, default=5)
    score_threshold = Number(
        required=False, allow_null=True, min_value=0, max_value=1, help_text="Calibrated score, 0..1; else the hub's."
    )
    min_similarity = Number(
        required=False, allow_null=True, min_value=-1, max_value=1, help_text="Raw cosine of the embedder in use."
    )
    recent_turns = Whole(required=False, min_value=0, max_value=50, default=6)
    token_budget = Whole(required=False, min_value=50, max_value=8000, default=800)
    types = serializers.ListField(child=OneOf(FactType.choices), required=False, max_length=len(FactType.choices))
    refresh = OneOf(
        ("message", "session"),
        required=False,
        default="message",
        help_text="`session`: the same bytes for the whole session, so that a cached prompt stays cached.",
    )
    format = OneOf(
        ("text", "search_results"),
        required=False,
        default="text",
        help_text="`search_results`: also as Messages API search_result blocks, which Claude can cite.",
    )


class SearchIn(Input):
    user_id = ExternalId()
    query = Text(max_length=MESSAGE_CHARACTERS)
    kinds = serializers.ListField(
        child=OneOf(("fact", "turn")), required=False, min_length=1, max_length=2, help_text="Both, if left out."
    )
    top_k = Whole(required=False, min_value=1, max_value=50, default=10)
    score_threshold = Number(required=False, allow_null=True, min_value=0, max_value=1)
    min_similarity = Number(required=False, allow_null=True, min_value=-1, max_value=1)
    types = serializers.ListField(child=OneOf(FactType.choices), required=False, max_length=len(FactType.choices))


class CitedIn(Input):
    fact_ids = serializers.ListField(child=Uuid(), min_length=1, max_length=MAX_ITEMS)


# Facts


class FactContentIn(Input):
    value = Value(required=False, help_text="The number in the sentence, where there is one.")
    unit = Text(required=False, allow_blank=True, max_length=40)
    mentions = serializers.ListField(
        child=Text(max_length=200), required=False, max_length=MAX_MENTIONS, help_text="Names of the entities in it."
    )
    confidence = Number(required=False, min_value=0, max_value=1)


class FactIn(FactContentIn):
    user_id = ExternalId()
    type = OneOf(FactType.choices)
    entity = Text(max_length=200, help_text="What it is about.")
    attribute = Text(
        required=False,
        allow_blank=True,
        max_length=100,
        help_text="Which property of it. Same type, entity and attribute with other content is a newer version.",
    )
    content = Text(max_length=FACT_CHARACTERS, help_text="The fact as one sentence.")
    session_id = ExternalId(required=False, allow_null=True, help_text="With turn_index: the turn that states it.")
    turn_index = Whole(required=False, allow_null=True, min_value=0, max_value=POSTGRES_INT)
    replaces = ExternalId(
        required=False, allow_null=True, help_text="The fact that this one replaces: its id or its handle (F12)."
    )
    coexists = Flag(required=False, default=False, help_text="Both hold: this one and what is known.")
    valid_from = PastTimestamp(
        required=False, allow_null=True, help_text="Since when it holds; else when its turn was said, else now."
    )
    expires_at = Timestamp(required=False, allow_null=True, help_text="After this it is not surfaced any more.")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if (attrs.get("session_id") is None) != (attrs.get("turn_index") is None):
            missing = "session_id" if attrs.get("session_id") is None else "turn_index"
            raise serializers.ValidationError({missing: ["session_id and turn_index go together."]})
        if attrs.get("replaces") is not None and attrs["coexists"]:
            raise serializers.ValidationError({"coexists": ["A fact that replaces another does not coexist with it."]})
        if not entity_key(attrs["entity"]):
            raise serializers.ValidationError({"entity": ["Name what the fact is about."]})
        return attrs


class FactsIn(Input):
    facts = FactIn(many=True, **ITEMS)


class FactCorrectionIn(FactContentIn):
    expected_version = Whole(min_value=1, max_value=POSTGRES_INT, help_text="The version you saw.")
    content = Text(required=False, max_length=FACT_CHARACTERS)
    reason = OneOf(CORRECTION_REASONS, required=False, default="corrected")
    note = Text(required=False, allow_blank=True, max_length=NOTE_CHARACTERS, default="")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if not attrs.keys() & {"content", "value", "unit", "mentions", "confidence"}:
            raise serializers.ValidationError(
                {"content": ["Give at least one of content, value, unit, mentions, confidence."]}
            )
        return attrs


class FactStaleIn(Input):
    reason = OneOf(STALE_REASONS, help_text="A code: it goes into the audit log.")
    note = Text(
        required=False,
        allow_blank=True,
        max_length=NOTE_CHARACTERS,
        default="",
        help_text="In your own words; kept with the fact and erased with it.",
    )
    expected_version = Whole(required=False, allow_null=True, min_value=1, max_value=POSTGRES_INT)


class FactRestoreIn(Input):
    version = Whole(min_value=1, max_value=POSTGRES_INT)
    reason = OneOf(RESTORE_REASONS, required=False, default="restored")
    note = Text(required=False, allow_blank=True, max_length=NOTE_CHARACTERS, default="")
    expected_version = Whole(required=False, allow_null=True, min_value=1, max_value=POSTGRES_INT)


# Review


class ReviewApproveIn(Input):
    content = Text(required=False, max_length=FACT_CHARACTERS, help_text="In your words instead of theirs.")
    value = Value(required=False)
    unit = Text(required=False, allow_blank=True, max_length=40)
    note = Text(required=False, allow_blank=True, max_length=NOTE_CHARACTERS, default="")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        for name in ("value", "unit"):
            if name in attrs and "content" not in attrs:
                raise serializers.ValidationError({name: ["It goes with a content of yours."]})
        return attrs


class ReviewRejectIn(Input):
    reason = OneOf(REJECT_REASONS, help_text="A code: it goes into the audit log.")
    note = Text(required=False, allow_blank=True, max_length=NOTE_CHARACTERS, default="")


# Subjects


class SubjectLookupIn(Input):
    user_id = ExternalId()


class SubjectRestrictIn(Input):
    reason = OneOf(SUBJECT_REASONS, required=False, default="requested")


class SubjectPauseIn(SubjectRestrictIn):
    what = serializers.ListField(
        child=OneOf(("recording", "extraction", "surfacing")), min_length=1, max_length=3, help_text="Which parts."
    )


# Tokens


class SubjectTokenIn(Input):
    user_id = ExternalId(help_text="Whom the token is good for.")
    session_id = ExternalId(
        required=False, allow_null=True, help_text="The only session it may record; left out, any of this person's."
    )
    scopes = serializers.ListField(
        child=OneOf(sorted(scope.value for scope in TOKEN_SCOPES)),
        required=False,
        min_length=1,
        max_length=len(TOKEN_SCOPES),
        help_text="A part of the key's own. Left out: those of turns:write, memory:read and facts:write that it has.",
    )
    ttl = Whole(
        required=False,
        min_value=1,
        max_value=int(LONGEST_TTL.total_seconds()),
        default=int(DEFAULT_TTL.total_seconds()),
        help_text="Seconds. It never outlasts its key.",
    )


# Queries. Their values arrive as strings.


class PageQuery(Input):
    limit = serializers.IntegerField(required=False, min_value=1, max_value=MAX_PAGE, default=PAGE)
    cursor = serializers.RegexField(r"^[A-Za-z0-9_-]{1,200}\Z", required=False, help_text="`next` of the page before.")


class FactQuery(PageQuery):
    user_id = ExternalId(required=False, help_text="Your id of the person. This or subject_id is required.")
    subject_id = Uuid(required=False, help_text="The hub's id of the person.")
    type = OneOf(FactType.choices, required=False)
    entity = Text(required=False, max_length=200, help_text="Compared without case and spacing.")
    status = OneOf(
        [*(status.value for status in SURFACED_STATUSES), "any"], required=False, help_text="Default: current."
    )
    as_of = Timestamp(required=False, help_text="The versions that held at that moment, as known today.")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if ("user_id" in attrs) == ("subject_id" in attrs):
            raise serializers.ValidationError({"user_id": ["Name one person, by user_id or by subject_id."]})
        if "as_of" in attrs and "status" in attrs:
            raise serializers.ValidationError({"status": ["With as_of the status then counts, not the one of now."]})
        return attrs


class ExtractionQuery(PageQuery):
    state = OneOf(ExtractionState.choices, required=False)
    error = OneOf(FAILURES, required=False, help_text="The code of the last failure.")
    session_id = ExternalId(required=False, help_text="Yours.")
    subject_id = Uuid(required=False, help_text="The hub's id of the person.")


class DeadLetterFilterIn(Input):
    error = OneOf(FAILURES, required=False, help_text="The cause.")
    session_id = ExternalId(required=False, help_text="Yours.")
    subject_id = Uuid(required=False, help_text="The hub's id of the person.")
    since = Timestamp(required=False, help_text="Given up from this moment on.")
    before = Timestamp(required=False, help_text="Given up before this moment.")


class DeadLetterQuery(DeadLetterFilterIn, PageQuery):
    pass


class DeadLetterReplayIn(DeadLetterFilterIn):
    ids = serializers.ListField(child=Uuid(), min_length=1, max_length=1_000, required=False)
    all = Flag(required=False, help_text="Every one of them. Instead of the others.")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        named = attrs.keys() - {"all"}
        if bool(named) == bool(attrs.get("all")):
            raise serializers.ValidationError({"all": ["Name which ones, or say `all`: one of the two."]})
        return attrs


class ReviewQuery(PageQuery):
    state = OneOf(
        ("waiting", "unshared", "rejected"),
        required=False,
        default="waiting",
        help_text="`unshared`: current, written by an agent, and shown to that agent alone so far.",
    )
    reason = OneOf(WAITS_BECAUSE, required=False, help_text="Why it waits.")
    source = OneOf(Source.choices, required=False)  # type: ignore[assignment]
    subject_id = Uuid(required=False, help_text="The hub's id of the person.")
    written_with = serializers.RegexField(
        r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}\Z", required=False, help_text="The public prefix of the key."
    )


class AuditFilterQuery(Input):
    action = serializers.RegexField(
        r"^[a-z_.]{1,64}\Z", required=False, help_text="An action, or the beginning of one: `fact.`"
    )
    actor_kind = OneOf([kind.value for kind in ActorKind], required=False)
    actor_id = Text(required=False, max_length=64)
    object_kind = Text(required=False, max_length=32)
    object_id = Text(required=False, max_length=64)
    subject_id = Uuid(required=False)
    session_id = Uuid(required=False, help_text="The hub's id of the session, as entries name it.")
    request_id = Text(required=False, max_length=64)
    outcome = OneOf(Outcome.choices, required=False)
    since = Timestamp(required=False, help_text="From this moment on.")
    until = Timestamp(required=False, help_text="Before this moment.")
    q = Text(
        required=False,
        max_length=LONGEST,
        help_text="A search as in the console: `actor:ada -action:audit. created:2026-01-01..2026-02-01`. Besides the "
        "other parameters. Names in it are looked up: yours for people and sessions, usernames, agents' names.",
    )


class AuditQuery(AuditFilterQuery, PageQuery):
    pass


class AuditExportQuery(AuditFilterQuery):
    format = OneOf([form.value for form in ExportForm], required=False, default=ExportForm.CSV.value)


class BundleQuery(Input):
    subject_id = serializers.UUIDField(required=False, help_text="Only entries about this person.")
    action = serializers.CharField(required=False, max_length=64, help_text="Only this action, or what begins so.")
    since = serializers.DateTimeField(required=False, help_text="Only entries from then on.")
    until = serializers.DateTimeField(required=False, help_text="Only entries before then.")


class SessionPath(Input):
    session_id = ExternalId()
