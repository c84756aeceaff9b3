"""Working memory: the block for a new message, out of the previous session's turns and the facts that bear on it.

The message is embedded before the transaction opens; all reads and the receipt share one transaction.
"""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal
from uuid import UUID

from django.conf import settings
from django.db.models import Q, QuerySet
from django.utils import timezone

from audit.actors import Actor
from facts.block import RENDERING, Block, BlockFact, BlockTurn, build_block
from facts.extraction.windows import unread_turns
from facts.models import FactType, FactVersion, Recall, RecalledItem, RecallKind, Status
from facts.recall import Item, Receipted, surface
from facts.retrieval.results import FactHit, FactSearch
from facts.retrieval.search import CANDIDATES_SHOWN, Query, loaded, prepare_query, search_facts
from facts.visibility import Sight, sight_of
from memoryhub.access.callers import Caller
from memoryhub.access.models import MemoryMode
from memoryhub.access.policy import WorkspacePolicy
from memoryhub.core.screening import redacted, screen
from memoryhub.core.tenancy import in_workspace
from memoryhub.core.tokens import estimate_tokens
from sessions.exceptions import UnknownSession
from sessions.models import Session, Subject, Turn, TurnRole

TOOLS = {
    MemoryMode.STATELESS: (),
    MemoryMode.EPISODIC: ("search_memory",),
    MemoryMode.FULL: ("search_memory", "list_facts", "mark_fact_stale"),
    MemoryMode.MANAGED: ("search_memory", "list_facts", "mark_fact_stale", "remember", "forget"),
}
"""The memory tools that go with each mode."""


@dataclass(frozen=True)
class MemoryRequest:
    """What an agent asks for before it answers `message`. Thresholds left at None take the deployment's default."""

    user_id: str
    message: str
    session_id: str
    previous_session_id: str | None = None
    top_k: int = 5
    score_threshold: float | None = None
    min_similarity: float | None = None
    recent_turns: int = 6
    token_budget: int = 800
    types: tuple[FactType, ...] = ()
    refresh: Literal["message", "session"] = "message"
    format: Literal["text", "search_results"] = "text"

    @property
    def threshold(self) -> float:
        return settings.SCORE_THRESHOLD if self.score_threshold is None else self.score_threshold

    def as_settings(self) -> dict[str, Any]:
        """What shaped the answer, for the record of it; who and what was asked stand beside it."""
        shaped = asdict(self)
        for key in ("user_id", "message", "session_id"):
            del shaped[key]
        return shaped | {"score_threshold": self.threshold, "types": [str(one) for one in self.types]}


@dataclass(frozen=True)
class WorkingMemory:
    """The answer: the block and everything that stands in it. `recall` is None when the person is not known."""

    block: str = ""
    tokens: int = 0
    facts: tuple[FactHit, ...] = ()
    turns: tuple[Turn, ...] = ()
    candidates: tuple[FactHit, ...] = ()
    omitted: int = 0
    pending_turns: int = 0
    degraded: tuple[str, ...] = ()
    paused: bool = False
    """Nothing is surfaced for this person now: restricted, or surfacing is paused."""
    recall: Receipted | None = None


@dataclass(frozen=True)
class Viewpoint:
    """For whom memory is put together: an agent with its mode, or a person who looks at what that agent would get."""

    workspace_id: UUID
    text_config: str
    actor: Actor
    agent_id: UUID | None
    mode: MemoryMode = MemoryMode.FULL
    kind: RecallKind = RecallKind.WORKING_MEMORY
    policy: WorkspacePolicy = field(kw_only=True)
    """The workspace's, as the request found it."""

    @classmethod
    def of(cls, caller: Caller) -> "Viewpoint":
        return cls(
            workspace_id=caller.workspace_id,
            text_config=caller.text_config,
            actor=caller.actor,
            agent_id=caller.agent_id,
            mode=caller.mode,
            policy=caller.policy,
        )

    def sight(self) -> Sight:
        """What may be shown to this agent."""
        return sight_of(agent_id=self.agent_id, policy=self.policy)

    def as_kept(self, message: str) -> str:
        """`message` as it is kept, and sent to an embedder: without the sensitive data that is not simply allowed."""
        return redacted(message, screen(message, kinds=self.policy.screened_kinds))


def working_memory(*, view: Viewpoint, ask: MemoryRequest) -> WorkingMemory:
    """Put the block together and record that it was surfaced.

    An unknown person is an empty answer and leaves no trace. With `refresh: "session"` the block of the session's
    first call is given again, byte for byte, while everything in it may still be surfaced and the agent's mode and the
    settings are the same.
    Raises UnknownSession when `previous_session_id` names no session of this person.
    """
    started = time.perf_counter()
    ask = replace(ask, message=view.as_kept(ask.message))
    if ask.refresh == "session":
        with in_workspace(view.workspace_id):
            again = _same_block(view, ask, started)
        if again is not None:
            return again
    reads_facts = view.mode in (MemoryMode.FULL, MemoryMode.MANAGED)
    query = prepare_query(ask.message, text_config=view.text_config) if reads_facts else None
    with in_workspace(view.workspace_id):
        subject = _subject(view, ask)
        if subject is None:
            return WorkingMemory(degraded=_degraded(query))
        if not subject.surfaceable:
            return WorkingMemory(paused=True, degraded=_degraded(query))
        sight = view.sight()
        found = _search(subject, query, view, ask, sight) if query is not None else FactSearch()
        previous, turns = _recent_turns(subject, view, ask, sight)
        block, hits = _build(found.hits, previous, turns, view, ask)
        kept = {turn.key for turn in block.turns}
        shown = tuple(turn for turn in turns if turn.id in kept)
        # Counted in the same transaction: the answer says what it could not have known yet.
        pending = unread_turns(subject)
        recall = surface(
            workspace_id=view.workspace_id,
            subject=subject,
            kind=view.kind,
            items=[*(_item(hit) for hit in hits), *(Item(turn=turn) for turn in shown)],
            actor=view.actor,
            agent_id=view.agent_id,
            session_id=ask.session_id,
            message=ask.message,
            settings=_settings(view, ask),
            degraded=_degraded(query),
            block=block.text,
            keep_block=ask.refresh == "session",
            candidates=[_item(hit) for hit in found.candidates],
            elapsed_ms=(time.perf_counter() - started) * 1000,
            audit_data=_audit_data(ask, block),
        )
        return WorkingMemory(
            block=block.text,
            tokens=block.tokens,
            facts=hits,
            turns=shown,
            candidates=found.candidates,
            omitted=block.omitted,
            pending_turns=pending,
            degraded=_degraded(query),
            recall=recall,
        )


def _subject(view: Viewpoint, ask: MemoryRequest) -> Subject | None:
    return Subject.objects.filter(workspace_id=view.workspace_id, external_id=ask.user_id).first()


def _degraded(query: Query | None) -> tuple[str, ...]:
    return tuple(query.degraded) if query is not None else ()


def _search(subject: Subject, query: Query, view: Viewpoint, ask: MemoryRequest, sight: Sight) -> FactSearch:
    """The `top_k` best facts: of each the version that holds and, if it passed too, the latest that it replaced."""
    found = search_facts(
        workspace_id=view.workspace_id,
        subject_id=subject.id,
        query=query,
        top_k=CANDIDATES_SHOWN,
        threshold=ask.threshold,
        min_similarity=ask.min_similarity,
        types=ask.types,
        sight=sight,
    )
    best_facts = list(dict.fromkeys(hit.version.fact_id for hit in found.hits))[: ask.top_k]
    known = {hit.version.id: hit for hit in (*found.candidates, *found.hits)}
    holding = {
        version.fact_id: replace(known.get(version.id, UNSCORED), version=version, told_in=sight.told_in(version))
        for version in _holding(subject, sight, ask, best_facts)
    }
    chosen = []
    past = []
    for fact_id in best_facts:
        # What was replaced is never shown without what replaced it.
        if fact_id in holding:
            chosen.append(holding.pop(fact_id))
            replaced = [hit for hit in found.hits if hit.version.fact_id == fact_id and _is_past(hit)]
            past += sorted(replaced, key=lambda hit: -hit.version.number)[:1]
    # What is left of them is pinned: it enters whatever is asked.
    hits = (*chosen, *loaded(past, sight), *holding.values())
    candidates = loaded(found.candidates, sight) if view.kind == RecallKind.PREVIEW else found.candidates
    return FactSearch(hits=hits, candidates=candidates)


UNSCORED = FactHit(version=FactVersion(), score=0.0, scores={})


def _is_past(hit: FactHit) -> bool:
    return hit.version.status != Status.CURRENT


def _holding(subject: Subject, sight: Sight, ask: MemoryRequest, facts: Sequence[UUID]) -> QuerySet[FactVersion]:
    """The versions that hold now and may be shown: those of `facts`, and the pinned ones."""
    pinned = Q(fact__pinned=True, fact__type__in=ask.types) if ask.types else Q(fact__pinned=True)
    return FactVersion.objects.filter(
        sight.versions(),
        Q(expires_at__isnull=True) | Q(expires_at__gt=timezone.now()),
        Q(fact__in=facts) | pinned,
        fact__subject=subject,
        status=Status.CURRENT,
    ).select_related("fact", "session")


def _recent_turns(
    subject: Subject, view: Viewpoint, ask: MemoryRequest, sight: Sight
) -> tuple[Session | None, list[Turn]]:
    """The last turns, oldest first, of the session before this one: the named one, or this agent's latest."""
    sessions = Session.objects.filter(subject=subject)
    if ask.previous_session_id is not None:
        previous = sessions.filter(external_id=ask.previous_session_id).first()
        if previous is None:
            raise UnknownSession("previous_session_id", "This person has no such session.")
    else:
        if view.agent_id is not None:
            sessions = sessions.filter(agent_id=view.agent_id)
        previous = sessions.exclude(external_id=ask.session_id).order_by("-last_turn_at", "-id").first()
    if previous is None or not ask.recent_turns:
        return previous, []
    spoken = (TurnRole.USER, TurnRole.ASSISTANT)
    latest = (
        previous.turns.filter(sight.turns(), role__in=spoken)
        .exclude(text="")
        .order_by("-index")
        .defer("content", "metadata", "digest")
    )[: ask.recent_turns]
    turns = list(reversed(latest))
    for turn in turns:
        turn.session = previous
    return previous, turns


def _build(
    hits: Sequence[FactHit], previous: Session | None, turns: Sequence[Turn], view: Viewpoint, ask: MemoryRequest
) -> tuple[Block, tuple[FactHit, ...]]:
    """The block, and the hits that are in it, in its order."""
    block = build_block(
        facts=[block_fact(hit.version) for hit in hits],
        turns=[BlockTurn(key=turn.id, role=turn.role, name=turn.name, text=turn.text) for turn in turns],
        turns_at=previous.last_turn_at if previous else None,
        token_budget=ask.token_budget,
        tools=TOOLS[view.mode],
    )
    by_id = {hit.version.id: hit for hit in hits}
    return block, tuple(by_id[fact.key] for fact in block.facts)


def block_fact(version: FactVersion) -> BlockFact:
    """How a version stands in the block."""
    fact = version.fact
    return BlockFact(
        key=version.id,
        fact_key=fact.id,
        handle=fact.handle_text,
        type=fact.type,
        entity=fact.entity,
        attribute=fact.attribute,
        content=version.content,
        confidence=version.confidence,
        status=version.status,
        valid_from=version.valid_from,
        until=None if version.status == Status.CURRENT else max(version.status_at, version.valid_from),
        session_at=version.session.started_at if version.session else None,
        pinned=fact.pinned,
    )


def _same_block(view: Viewpoint, ask: MemoryRequest, started: float) -> WorkingMemory | None:
    """The block that this session was given before, if every item of it may still be surfaced."""
    subject = _subject(view, ask)
    if subject is None or not subject.surfaceable:
        return None
    # The latest: one that could no longer be shown was followed by another, which is kept from then on.
    kept = (
        Recall.objects.filter(
            Q(agent_id=view.agent_id) if view.agent_id else Q(agent__isnull=True),
            subject=subject,
            session_external_id=ask.session_id,
            kind=view.kind,
            settings=_settings(view, ask),
        )
        .exclude(block="")
        .order_by("-at", "-id")
        .first()
    )
    if kept is None:
        return None
    items = list(
        RecalledItem.objects.filter(recall=kept)
        .select_related("version__fact", "version__session", "turn__session")
        .order_by("rank")
    )
    sight = view.sight()
    may = [
        sight.shows(item.version) if item.version else item.turn is not None and sight.shows_turn(item.turn)
        for item in items
    ]
    if not items or not all(may):
        return None
    hits = tuple(
        FactHit(item.version, item.score or 0.0, item.scores, told_in=sight.told_in(item.version))
        for item in items
        if item.version
    )
    turns = tuple(item.turn for item in items if item.turn)
    # An erased item took its row along: then the block no longer holds what it says it holds.
    if len(items) != kept.item_count:
        return None
    block = Block(kept.block, estimate_tokens(kept.block), (), (), 0)
    recall = surface(
        workspace_id=view.workspace_id,
        subject=subject,
        kind=view.kind,
        items=[*(_item(hit) for hit in hits), *(Item(turn=turn) for turn in turns)],
        actor=view.actor,
        agent_id=view.agent_id,
        session_id=ask.session_id,
        message=ask.message,
        settings=_settings(view, ask),
        degraded=kept.degraded,
        block=kept.block,
        elapsed_ms=(time.perf_counter() - started) * 1000,
        audit_data=_audit_data(ask, block) | {"reused": True},
    )
    return WorkingMemory(
        block=kept.block,
        tokens=block.tokens,
        facts=hits,
        turns=turns,
        degraded=tuple(kept.degraded),
        recall=recall,
    )


def _item(hit: FactHit) -> Item:
    return Item(version=hit.version, score=hit.score, scores=hit.scores)


def _settings(view: Viewpoint, ask: MemoryRequest) -> dict[str, Any]:
    """What shaped the answer; a change of the agent's mode changes what it may see and which tools it has."""
    return ask.as_settings() | {"mode": str(view.mode)}


def _audit_data(ask: MemoryRequest, block: Block) -> dict[str, Any]:
    data: dict[str, Any] = {
        "top_k": ask.top_k,
        "score_threshold": ask.threshold,
        "token_budget": ask.token_budget,
        "tokens_estimated": block.tokens,
        "omitted": block.omitted,
        "refresh": ask.refresh,
        "rendering": RENDERING,
    }
    if ask.min_similarity is not None:
        data["min_similarity"] = ask.min_similarity
    return data
