"""Search over a person's memory by an agent: facts and turns in one list, recorded as a recall."""

import time
from dataclasses import dataclass, replace
from typing import Any, Literal

from facts.models import FactType, RecallKind
from facts.recall import Item, Receipted, surface
from facts.retrieval.results import FactHit, TurnHit
from facts.retrieval.search import loaded, prepare_query, search_facts, search_turns
from facts.visibility import Sight
from facts.working_memory import Viewpoint
from memoryhub.core.tenancy import in_workspace
from sessions.models import Subject

Kind = Literal["fact", "turn"]


@dataclass(frozen=True)
class SearchRequest:
    """What is looked for. `types`, `min_similarity` concern facts alone."""

    user_id: str
    query: str
    kinds: tuple[Kind, ...] = ("fact", "turn")
    top_k: int = 10
    score_threshold: float = 0.0
    min_similarity: float | None = None
    types: tuple[FactType, ...] = ()

    def as_settings(self) -> dict[str, Any]:
        return {
            "kinds": list(self.kinds),
            "top_k": self.top_k,
            "score_threshold": self.score_threshold,
            "min_similarity": self.min_similarity,
            "types": [str(one) for one in self.types],
        }


@dataclass(frozen=True)
class Found:
    """Hits of both kinds, best first. `recall` is None when nobody is known by that id."""

    hits: tuple[FactHit | TurnHit, ...] = ()
    degraded: tuple[str, ...] = ()
    paused: bool = False
    recall: Receipted | None = None


def memory_search(*, view: Viewpoint, ask: SearchRequest) -> Found:
    """The `top_k` best of what is asked for. The query is embedded before the transaction opens."""
    started = time.perf_counter()
    ask = replace(ask, query=view.as_kept(ask.query))
    query = prepare_query(ask.query, text_config=view.text_config)
    degraded = tuple(query.degraded)
    with in_workspace(view.workspace_id):
        subject = Subject.objects.filter(workspace_id=view.workspace_id, external_id=ask.user_id).first()
        if subject is None:
            return Found(degraded=degraded)
        if not subject.surfaceable:
            return Found(degraded=degraded, paused=True)
        sight = view.sight()
        hits: list[FactHit | TurnHit] = []
        candidates: list[FactHit] = []
        if "fact" in ask.kinds:
            facts = search_facts(
                workspace_id=view.workspace_id,
                subject_id=subject.id,
                query=query,
                top_k=ask.top_k,
                threshold=ask.score_threshold,
                min_similarity=ask.min_similarity,
                types=ask.types,
                sight=sight,
            )
            hits += loaded(facts.hits, sight)
            candidates += facts.candidates
        if "turn" in ask.kinds:
            turns = search_turns(
                workspace_id=view.workspace_id,
                subject_id=subject.id,
                query=query,
                top_k=ask.top_k,
                sight=sight,
                min_score=ask.score_threshold,
            )
            hits += [replace(hit, told_in=_told_in(hit, sight)) for hit in turns]
        hits.sort(key=lambda hit: -hit.score)
        del hits[ask.top_k :]
        recall = surface(
            workspace_id=view.workspace_id,
            subject=subject,
            kind=RecallKind.SEARCH,
            items=[_item(hit) for hit in hits],
            actor=view.actor,
            agent_id=view.agent_id,
            message=ask.query,
            settings=ask.as_settings(),
            degraded=degraded,
            candidates=[_item(hit) for hit in candidates],
            elapsed_ms=(time.perf_counter() - started) * 1000,
            audit_data={"top_k": ask.top_k, "score_threshold": ask.score_threshold},
        )
        return Found(hits=tuple(hits), degraded=degraded, recall=recall)


def _told_in(hit: TurnHit, sight: Sight) -> str | None:
    session = hit.turn.session
    return session.external_id if session.agent_id == sight.agent_id else None


def _item(hit: FactHit | TurnHit) -> Item:
    if isinstance(hit, TurnHit):
        return Item(turn=hit.turn, score=hit.score, scores=hit.scores)
    return Item(version=hit.version, score=hit.score, scores=hit.scores)
