"""Every action the log knows, what it means, and which data its entries may hold.

An action that was ever recorded stays in this table: old entries are read and filtered by it. docs/audit.md shows the
table to auditors; a test keeps the two equal.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from audit.errors import EntryRefused
from audit.shapes import (
    CODE_,
    COUNT,
    DIGEST_,
    FLAG,
    INSTANT,
    NAME_,
    NUMBER,
    UUID_,
    Many,
    OneOf,
    Record,
    Shape,
)
from audit.verify import EXIT as VERDICT_EXITS

VERDICTS = OneOf(tuple(VERDICT_EXITS))
ITEM_KINDS = OneOf(("fact", "turn"))
SCOPES = OneOf(
    (
        "turns:write",
        "memory:read",
        "facts:write",
        "audit:read",
        "subjects:manage",
        "facts:review",
        "extractions:manage",
        "tokens:create",
    )
)
MODES = OneOf(("stateless", "episodic", "full", "managed"))
ROLES = OneOf(("viewer", "operator", "privacy_officer", "auditor", "admin"))
SIGN_IN_METHODS = OneOf(("password", "sso", "passkey"))
FACTORS = OneOf(("totp", "webauthn", "recovery_codes"))
SENSITIVE_KINDS = OneOf(("payment_card", "iban", "national_id", "secret", "phone", "email"))
FACT_TYPES = OneOf(("preference", "decision", "constraint", "goal", "entity"))
SOURCES = OneOf(("user", "agent", "operator", "tool", "import"))
STATUSES = OneOf(("current", "superseded", "stale", "quarantined", "rejected"))
RECALL_KINDS = OneOf(("working_memory", "search", "facts", "preview", "review"))
PAUSES = OneOf(("recording", "extraction", "surfacing"))
TURNS = Many(UUID_, most=1_000)

# One thing that left the hub: a fact version or a turn, and why it ranked where it did.
SURFACED_ITEM = Record(
    {
        "kind": ITEM_KINDS,
        "id": UUID_,  # of the fact version or the turn
        "fact_id": UUID_,
        "version": COUNT,
        "rank": COUNT,
        "score": NUMBER,
        "status": STATUSES,
    }
)

SURFACING: Mapping[str, Shape] = {
    "recall_id": UUID_,
    "kind": RECALL_KINDS,
    "items": Many(SURFACED_ITEM),
    "considered": COUNT,
    "omitted": COUNT,
    "degraded": Many(CODE_, most=20),
    "top_k": COUNT,
    "score_threshold": NUMBER,
    "min_similarity": NUMBER,
    "token_budget": COUNT,
    "tokens_estimated": COUNT,
    "refresh": OneOf(("message", "session")),
    "reused": FLAG,
    "embedder": NAME_,
    "rendering": COUNT,
}

VERSION: Mapping[str, Shape] = {
    "fact_id": UUID_,
    "version_id": UUID_,
    "version": COUNT,
    "replaces": COUNT,
    "type": FACT_TYPES,
    "source": SOURCES,
    "status": STATUSES,
    "confidence": NUMBER,
    "turn_ids": TURNS,
    "extraction_id": UUID_,
    "extracted_by": NAME_,
    "agent_id": UUID_,
    "findings": Many(CODE_, most=20),
    "found": Many(SENSITIVE_KINDS, most=20),
}

EXTRACTION: Mapping[str, Shape] = {
    "extraction_id": UUID_,
    "first_index": COUNT,
    "last_index": COUNT,
    "attempts": COUNT,
    "model": NAME_,
    "input_tokens": COUNT,
    "output_tokens": COUNT,
    "added": COUNT,
    "confirmed": COUNT,
    "superseded": COUNT,
    "quarantined": COUNT,
    "backdated": COUNT,
    "discarded": COUNT,
    "elapsed_ms": NUMBER,
    "error": CODE_,
    "windows": COUNT,
    "extraction_ids": Many(UUID_, most=500),
}

# An erasure that ended; its outcome is `failed` when something is left.
ERASED: Mapping[str, Shape] = {"stores": COUNT, "rows": COUNT, "left": COUNT, "certificate": DIGEST_}

IMPORT: Mapping[str, Shape] = {
    "lines": COUNT,
    "subjects": COUNT,
    "sessions": COUNT,
    "turns": COUNT,
    "facts": COUNT,
    "duplicates": COUNT,
    "rejected": COUNT,
}


@dataclass(frozen=True)
class Action:
    """One kind of entry. `commits` names the contents that such an entry may commit to with a salt."""

    name: str
    says: str
    data: Mapping[str, Shape] = field(default_factory=dict)
    commits: tuple[str, ...] = ()


def _table(*actions: Action) -> dict[str, Action]:
    return {action.name: action for action in actions}


ACTIONS: Mapping[str, Action] = _table(
    # What left the hub
    Action("memory.surfaced", "Memory content was returned to an agent.", SURFACING, commits=("block", "message")),
    Action(
        "memory.previewed", "A person looked at what an agent would be given.", SURFACING, commits=("block", "message")
    ),
    Action(
        "memory.cited", "An agent cited items it had been given.", {"recall_id": UUID_, "items": Many(SURFACED_ITEM)}
    ),
    Action(
        "memory.viewed",
        "A person or a command read a subject's content.",
        {"what": CODE_, "turns": COUNT, "facts": COUNT, "recall_id": UUID_},
    ),
    # Episodic memory
    Action("session.started", "A session was opened by its first turns.", {"agent_id": UUID_}),
    Action(
        "session.closed", "A session was closed; what is left is extracted.", {"turns": COUNT, "extractions": COUNT}
    ),
    Action(
        "turns.recorded",
        "Turns were added to a session, or not, because recording is paused.",
        {
            "recorded": COUNT,
            "duplicates": COUNT,
            "orphans": COUNT,
            "first_index": COUNT,
            "last_index": COUNT,
            "characters": COUNT,
            "found": Many(SENSITIVE_KINDS, most=20),
            "withheld": COUNT,
            "turn_ids": TURNS,
            "recall_id": UUID_,
        },
    ),
    # Semantic memory
    Action("fact.added", "Something new is known.", VERSION, commits=("content",)),
    Action("fact.confirmed", "A known fact was stated again: evidence added, no new version.", VERSION),
    Action("fact.superseded", "A newer version replaced the one before.", VERSION, commits=("content",)),
    Action(
        "fact.backdated",
        "Something said before what is current was read late, and joined the history.",
        VERSION,
        commits=("content",),
    ),
    Action("fact.corrected", "A person put a fact right with a new version.", VERSION, commits=("content",)),
    Action("fact.marked_stale", "A version was marked as no longer true.", VERSION),
    Action("fact.restored", "An earlier version became current again.", VERSION),
    Action("fact.quarantined", "A version waits for a person.", VERSION, commits=("content",)),
    Action("fact.approved", "A version was let in, for every agent.", VERSION),
    Action("fact.rejected", "A version was turned down.", VERSION),
    Action("fact.pinned", "A fact is surfaced always.", VERSION),
    Action("fact.unpinned", "A fact is surfaced by its score again.", VERSION),
    Action("fact.erased", "A fact with all its versions was erased.", {"versions": COUNT, "evidence": COUNT, **ERASED}),
    Action("turns.withheld", "Turns are kept, and neither surfaced nor extracted from.", {"turns": COUNT}),
    Action("turns.released", "Withheld turns may be surfaced again.", {"turns": COUNT}),
    Action(
        "memory.rolled_back",
        "What a key or a session wrote was taken back.",
        {
            "key": NAME_,
            "session_id": UUID_,
            "since": INSTANT,
            "until": INSTANT,
            "plan": DIGEST_,
            "rejected": COUNT,
            "restored": COUNT,
            "kept": COUNT,
            "withheld": COUNT,
        },
    ),
    # Extraction
    Action("extraction.done", "A window of turns was read for facts.", EXTRACTION),
    Action("extraction.failed", "An attempt failed; another follows.", EXTRACTION),
    Action("extraction.dead", "A window was given up on: a dead letter.", EXTRACTION),
    Action("extraction.replayed", "Dead letters were put back into the queue.", EXTRACTION),
    Action(
        "memory.reextracted",
        "Stored turns were read for facts again, and what they state was written.",
        {"what": CODE_, "turns": COUNT, "facts": COUNT},
    ),
    # Subjects
    Action("subject.created", "A person was first written about.", commits=("external_id",)),
    Action("subject.looked_up", "A subject was searched by the caller's id for them.", {"found": FLAG}),
    Action("subject.listed", "Subjects were listed with the callers' ids for them.", {"returned": COUNT}),
    Action("subject.viewed", "A subject's record was shown.", {"what": CODE_}),
    Action("subject.restricted", "Kept, but neither surfaced nor extracted from."),
    Action("subject.unrestricted", "The restriction was lifted."),
    Action("subject.paused", "Recording, extraction or surfacing was paused.", {"what": Many(PAUSES, most=3)}),
    Action("subject.resumed", "A pause ended.", {"what": Many(PAUSES, most=3)}),
    Action(
        "subject.exported",
        "A copy of everything about a person was made.",
        {"rows": COUNT, "bytes": COUNT, "digest": DIGEST_},
    ),
    Action("subject.erased", "Everything stored about a person was erased.", ERASED),
    Action("session.erased", "A session was erased, with what was learned from it alone.", ERASED),
    Action("memory.erased", "What a person said in a period was erased, with what was learned from it alone.", ERASED),
    Action(
        "erasure.began",
        "What is to be erased was sealed: it is not served any more, and late writes of it are refused.",
        {"kind": CODE_, "stores": COUNT, "rows": COUNT},
    ),
    Action(
        "erasure.planned",
        "It was counted what an erasure would remove.",
        {"kind": CODE_, "rows": COUNT},
    ),
    Action("erasure.retried", "An erasure that left something was asked to go on.", {"kind": CODE_}),
    Action(
        "content.revealed",
        "A person whose role needs only metadata gave a reason and was shown someone's content for a while.",
        {"minutes": COUNT},
    ),
    # Requests of the people remembered, holds, retention
    Action(
        "request.received",
        "A person's request came in.",
        {"type": CODE_, "state": CODE_, "channel": CODE_, "due_on": NAME_},
    ),
    Action(
        "request.moved",
        "A person's request went on.",
        {"type": CODE_, "step": CODE_, "before": CODE_, "state": CODE_},
    ),
    Action("request.extended", "The time to answer a request was extended.", {"type": CODE_, "due_on": NAME_}),
    Action("request.assigned", "Somebody was made to look after a request.", {"assignee_id": UUID_}),
    Action("request.noted", "Somebody wrote a note on a request."),
    Action("request.viewed", "A request with its notes was read."),
    Action("hold.placed", "A legal hold keeps a person's memory, or a session, from being erased."),
    Action("hold.released", "A legal hold ended."),
    Action(
        "retention.swept",
        "What a workspace keeps no longer was removed.",
        {"kind": CODE_, "items": COUNT, "rows": COUNT, "held": COUNT, "before": INSTANT},
    ),
    # People, agents and keys
    Action("workspace.created", "A tenant was set up."),
    Action("workspace.changed", "Settings of a workspace changed.", {"fields": Many(CODE_, most=50)}),
    Action("agent.created", "An agent was registered.", {"mode": MODES}),
    Action("agent.changed", "An agent's settings changed.", {"mode": MODES, "fields": Many(CODE_, most=50)}),
    Action(
        "key.created",
        "An API key was made.",
        {"agent_id": UUID_, "scopes": Many(SCOPES, most=20), "expires_at": INSTANT, "mode": MODES, "replaces": UUID_},
    ),
    Action(
        "key.rotated",
        "An API key was replaced by a new one; it works until it expires.",
        {"agent_id": UUID_, "replaced_by": UUID_, "expires_at": INSTANT},
    ),
    Action("key.revoked", "An API key stopped working.", {"agent_id": UUID_}),
    Action(
        "token.created",
        "A short-lived token for one person was made with a key.",
        {"agent_id": UUID_, "scopes": Many(SCOPES, most=20), "expires_at": INSTANT, "mode": MODES, "session": FLAG},
    ),
    Action("user.created", "An account was made.", {"superuser": FLAG}),
    Action("user.signed_in", "A person signed in.", {"method": SIGN_IN_METHODS, "second_factor": FLAG}),
    Action("user.sign_in_failed", "A sign-in was refused.", {"attempts": COUNT}),
    Action("user.signed_out", "A person signed out."),
    Action("user.signed_out_everywhere", "A person ended their other sign-ins."),
    Action("user.session_expired", "A sign-in ended because its time was over."),
    Action("user.password_reset", "A password was replaced."),
    Action("user.password_changed", "A person changed their password."),
    Action("user.second_factor_added", "A second factor was set up.", {"factor": FACTORS}),
    Action("user.second_factor_removed", "A second factor was taken away.", {"factor": FACTORS}),
    Action("user.second_factor_failed", "A code or passkey was refused.", {"factor": FACTORS}),
    Action("user.sso_linked", "An account was joined with one of the identity provider."),
    Action("invitation.created", "Somebody was invited.", {"role": ROLES, "expires_at": INSTANT}),
    Action("invitation.accepted", "An invitation was used.", {"role": ROLES}),
    Action("invitation.revoked", "An invitation was taken back."),
    Action("invitation.refused", "A link that does not work, or no longer, was opened."),
    Action("member.added", "A person was given a role in a workspace.", {"role": ROLES, "user_id": UUID_}),
    Action("member.changed", "A person's role changed.", {"role": ROLES, "before": ROLES, "user_id": UUID_}),
    Action("member.removed", "A person left a workspace.", {"role": ROLES, "user_id": UUID_}),
    Action(
        "access.denied",
        "A known credential asked for more than it may.",
        {"scope": SCOPES, "mode": MODES, "role": ROLES, "permission": CODE_, "route": CODE_},
    ),
    # The log and the house itself
    Action("audit.read", "Entries of this log were read.", {"returned": COUNT, "filters": Many(CODE_, most=20)}),
    Action("audit.export_began", "An export of this log began.", {"filters": Many(CODE_, most=20), "form": CODE_}),
    Action("audit.exported", "An export of this log was read to its end.", {"returned": COUNT, "digest": DIGEST_}),
    Action(
        "audit.restored",
        "An older state of the database was put back, and this log goes on from there.",
        {"known": COUNT, "number": COUNT, "digest": DIGEST_},
    ),
    Action(
        "audit.pruned",
        "Entries that this log keeps no longer were removed, up to a checkpoint; a signed record says so.",
        {"number": COUNT, "size": COUNT, "removed": COUNT},
    ),
    Action("audit.verify_began", "Somebody asked that this log be checked.", {"run": UUID_}),
    Action(
        "audit.verified",
        "This log was checked from its first entry to its last.",
        {"run": UUID_, "verdict": VERDICTS, "size": COUNT, "checkpoints": COUNT, "found": COUNT},
    ),
    Action("memory.imported", "A file of sessions and facts was imported.", {**IMPORT, "file": DIGEST_}),
    Action(
        "storage.purged",
        "Tables were rewritten so that no byte of what was erased is left in them.",
        {"tables": COUNT, "log_switched": FLAG, "statistics": FLAG},
    ),
    Action("memory.reindexed", "Search vectors were made anew.", {"embedder": NAME_, "rows": COUNT}),
    Action("demo.loaded", "The demonstration memory was written.", IMPORT),
    Action("demo.removed", "The demonstration memory was removed.", IMPORT),
)


def action_named(name: str) -> Action:
    """Raises EntryRefused for a name that is not in the table."""
    try:
        return ACTIONS[name]
    except KeyError:
        raise EntryRefused(f"{name} is not an action the audit log knows; add it to audit/actions.py") from None


def actions_under(prefix: str) -> list[str]:
    """The known actions that are `prefix` itself or begin with it: `fact.` and `fact.corrected` both work."""
    return [name for name in ACTIONS if name.startswith(prefix)]
