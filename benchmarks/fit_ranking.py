"""Fit the coefficients of the ranking (facts/retrieval/coefficients.json) on labelled questions.

    python benchmarks/fit_ranking.py EVALUATION.json [...] [--write] [--vectors CACHE.npz]

Loads the conversations into a database of its own through the product's services, asks every question through the
product's search for its features, and fits a linear fusion by listwise softmax: the kinds of conversation count alike,
however many questions each has. Prints what leaving each conversation out of the fit gives on it, then the weights
fitted on all. Scores are log odds of relevance, moved so that one threshold means the same: 0.35 keeps
99.5 % of the relevant items among the first five, of turns and of facts, with an embedder and without.
"""

import argparse
import contextlib
import hashlib
import json
import math
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.evaluation import EvaluationSubject, read_sets

Array = NDArray[np.float64]

TURN_FEATURES = (
    *("words", "meaning", "nearby", "asked", "when"),
    *("phrase", "substance", "user_long", "asks", "answers"),
)
FACT_FEATURES = ("words", "meaning", "source_words", "source_meaning", "entity", "when", "phrase")
VECTOR_FEATURES = {"meaning", "source_meaning"}
# No labelled set at hand has attributes, mentions, types or amounts; these stand until one does.
PRIOR = {"attribute": 1.5, "mention": 1.0, "type": 0.7, "number": 1.0}
RIDGE = 1e-3
MODEL = "minilm:all-MiniLM-L6-v2"
THRESHOLD, KEPT = 0.35, 0.995
"""The default threshold keeps this share of the relevant items that rank among the first five."""
STRANGE_EVERY = 3
"""Of another subject's questions every third is asked too, as one that nothing in memory answers."""


@dataclass
class Asked:
    """One question: features of each candidate (rows), which are relevant, and of which set and conversation.

    `wanted` is empty for a question that nothing in memory answers.
    """

    kind: str
    conversation: str
    features: Array
    level: tuple[float, float]
    relevant: Array
    evidence: list[set[str]]
    """The evidence keys each candidate stands for."""
    wanted: set[str]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="+", type=Path)
    parser.add_argument("--write", action="store_true", help="replace facts/retrieval/coefficients.json")
    parser.add_argument("--vectors", type=Path, help="keep embeddings in this file between runs")
    arguments = parser.parse_args()
    subjects = read_sets(arguments.sets)
    asked: dict[str, list[Asked]] = {"turns": [], "facts": [], "turns_words_only": [], "facts_words_only": []}
    with temporary_hub():
        collect(subjects, VectorCache(arguments.vectors), asked)
    fitted: dict[str, Any] = {}
    held_out: dict[str, dict[str, list[float]]] = {}
    for name, questions in asked.items():
        features = TURN_FEATURES if name.startswith("turns") else FACT_FEATURES
        used = [f for f in features if f not in VECTOR_FEATURES] if name.endswith("words_only") else features
        fitted[name], held_out[name] = report(name, questions, features, used)
    fitted |= {
        "fitted_on": describe(subjects),
        "fitted_at": datetime.now(UTC).date().isoformat(),
        "recall_at_5_and_10_leaving_each_conversation_out_of_the_fit": held_out,
    }
    if arguments.write:
        from facts.retrieval.ranking import COEFFICIENTS

        COEFFICIENTS.write_text(json.dumps(fitted, indent=2) + "\n", encoding="utf-8")


@contextlib.contextmanager
def temporary_hub() -> Iterator[None]:
    """A migrated database in a temporary directory, and Django set up on it."""
    from memoryhub.core.postgres import EmbeddedPostgres

    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)  # noqa: S103 - the server may run as another user
        os.environ |= {"MEMORYHUB_DATA_DIR": directory, "DJANGO_SETTINGS_MODULE": "memoryhub.settings"}
        server = EmbeddedPostgres(directory)
        with server.running():
            import django
            from django.core.management import call_command
            from django.db import connections

            django.setup()
            call_command("migrate", database="owner", interactive=False, verbosity=0)
            yield
            connections.close_all()


class VectorCache:
    """Embeddings by the text's hash, kept in a file so that a second fit takes a minute."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.known: dict[str, NDArray[np.float32]] = {}
        if path and path.exists():
            with np.load(path) as stored:
                self.known = dict(zip(stored["keys"].tolist(), stored["vectors"].astype(np.float32), strict=True))

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        from memoryhub.core.embedding import embed_documents

        keys = [hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest() for text in texts]
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in self.known}
        if missing:
            self.known |= dict(zip(missing, embed_documents(list(missing.values())), strict=True))
        return np.stack([self.known[key] for key in keys])

    def save(self) -> None:
        if self.path:
            np.savez(self.path, keys=list(self.known), vectors=np.stack(list(self.known.values())).astype(np.float16))


def collect(subjects: Sequence[EvaluationSubject], cache: VectorCache, asked: dict[str, list[Asked]]) -> None:
    """Load every subject and gather the features of each question's candidates, with vectors and without."""
    from audit.actors import Actor
    from memoryhub.access.services import agent_get_or_create, workspace_create

    actor = Actor.command("fit_ranking")
    workspace = workspace_create(slug="evaluation", name="Evaluation", actor=actor)
    agent = agent_get_or_create(workspace_id=workspace.id, name="evaluation", actor=actor)
    for subject, other in zip(subjects, [*subjects[1:], subjects[0]], strict=True):
        load(subject, workspace, agent, actor, cache)
        cache.save()
        # What somebody else's memory answers, this one does not.
        strange = [question.text for question in other.questions[::STRANGE_EVERY]] if other is not subject else []
        ask(subject, workspace, cache, asked, strange)


def load(subject: EvaluationSubject, workspace: Any, agent: Any, actor: Any, cache: VectorCache) -> None:
    from pgvector import HalfVector

    from facts.models import FactType
    from facts.services import FactInput, facts_record
    from memoryhub.core.search.models import Pending, Vector
    from memoryhub.core.search.texts import texts_of
    from memoryhub.core.tenancy import in_workspace
    from sessions.content import read_content
    from sessions.models import TurnRole
    from sessions.services import TurnInput, subject_get_or_create, turns_record

    with in_workspace(workspace.id):
        rows: dict[str, Any] = {}
        for session_id, turns in subject.sessions:
            recorded = turns_record(
                workspace_id=workspace.id,
                agent_id=agent.id,
                session_id=session_id,
                user_id=subject.user_id,
                turns=[
                    TurnInput(
                        TurnRole(turn.role),
                        read_content(turn.text),
                        name=turn.name,
                        client_id=turn.key,
                        occurred_at=turn.at,
                    )
                    for turn in turns
                ],
                actor=actor,
            )
            rows |= {str(turn.client_id): turn for turn in recorded.turns}
        person = subject_get_or_create(workspace_id=workspace.id, external_id=subject.user_id, actor=actor)
        facts_record(
            subject=person,
            facts=[
                FactInput(
                    FactType.ENTITY, fact.entity, fact.content, turn=rows[fact.evidence[0]] if fact.evidence else None
                )
                for fact in subject.facts
            ],
            actor=actor,
            agent_id=agent.id,
        )
        waiting = list(Pending.objects.filter(workspace_id=workspace.id))
    for kind in ("turn", "fact"):
        items = {row.item: row for row in waiting if row.kind == kind}
        with in_workspace(workspace.id):
            texts = texts_of(kind, workspace.id, list(items))
        flat = [(item, piece) for item, of_item in texts.items() for piece in of_item]
        vectors: dict[Any, list[Array]] = {}
        for (item, _), vector in zip(flat, cache.embed([piece for _, piece in flat]) if flat else [], strict=True):
            vectors.setdefault(item, []).append(vector)
        with in_workspace(workspace.id):
            Vector.objects.bulk_create(
                Vector(
                    workspace_id=workspace.id,
                    subject_id=items[item].subject_id,
                    kind=kind,
                    item=item,
                    model=MODEL,
                    embedding=HalfVector(np.mean(of_item, axis=0)),
                )
                for item, of_item in vectors.items()
            )
            Pending.objects.filter(workspace_id=workspace.id).filter(kind=kind).delete()


def ask(
    subject: EvaluationSubject, workspace: Any, cache: VectorCache, asked: dict[str, list[Asked]], strange: list[str]
) -> None:
    from facts.models import FactVersion
    from facts.retrieval import search
    from facts.retrieval.ranking import asks_when, fact_features, turn_features
    from facts.visibility import Sight
    from memoryhub.access.models import Agent
    from memoryhub.core.search.words import lexemes
    from memoryhub.core.tenancy import in_workspace
    from sessions.indexing import KIND
    from sessions.models import Subject, Turn

    questions = [(question.text, set(question.evidence)) for question in subject.questions]
    questions += [(text, set()) for text in (*subject.unanswerable, *strange)]
    vectors = cache.embed([text for text, _ in questions])
    cache.save()
    config = workspace.text_config
    with in_workspace(workspace.id):
        person = Subject.objects.get(external_id=subject.user_id)
        stands_for: dict[Any, set[str]] = {
            pk: {str(key)} for pk, key in Turn.objects.filter(session__subject=person).values_list("id", "client_id")
        }
        ids = FactVersion.objects.filter(fact__subject=person).order_by("fact__handle").values_list("id", flat=True)
        stands_for |= {pk: set(fact.evidence) for pk, fact in zip(ids, subject.facts, strict=False)}

        def note(name: str, found: Any, features: dict[Any, dict[str, float]], wanted: set[str]) -> None:
            names = TURN_FEATURES if name.startswith("turns") else FACT_FEATURES
            items = sorted(features)
            evidence = [stands_for.get(item, set()) for item in items]
            asked[name].append(
                Asked(
                    subject.kind,
                    subject.user_id,
                    np.array([[features[item][one] for one in names] for item in items]),
                    (found.best_similarity, found.best_coverage),
                    np.array([float(bool(keys & wanted)) for keys in evidence]),
                    evidence,
                    wanted,
                )
            )

        where = {"workspace_id": workspace.id, "subject_id": person.id}
        sight = Sight(Agent.objects.values_list("id", flat=True).get(workspace=workspace))
        for (text, wanted), vector in zip(questions, vectors, strict=True):
            when, words = asks_when(text), tuple(lexemes(text, config))
            for suffix, query in (
                ("", search.Query(text, config, words, vector, MODEL)),
                ("_words_only", search.Query(text, config, words, None, None)),
            ):
                found = search.scan_for(query, KIND, **where)
                found, traits = search.turn_traits(found, query, workspace_id=workspace.id, sight=sight)
                if traits:
                    note(f"turns{suffix}", found, turn_features(traits, when=when, own=query.in_first_person), wanted)
                if subject.facts:
                    found, _, of_facts = search.fact_candidates(query=query, sight=sight, **where)
                    if of_facts:
                        note(f"facts{suffix}", found, fact_features(of_facts, when=when), wanted)


def report(
    name: str, asked: list[Asked], names: Sequence[str], used: Sequence[str]
) -> tuple[dict[str, float], dict[str, list[float]]]:
    """Print and return the weights fitted on everything, and recall@5 and @10 by kind where each was left out."""
    columns = [list(names).index(feature) for feature in used]
    conversations = sorted({one.conversation for one in asked})
    held_out: dict[str, list[tuple[float, float]]] = {}
    for conversation in conversations if len(conversations) > 1 else ():
        weights = fit([one for one in asked if one.conversation != conversation], columns)
        for one in asked:
            if one.conversation == conversation and one.wanted:
                scores = one.features[:, columns] @ weights
                held_out.setdefault(one.kind, []).append((at_k(one, scores, 5), at_k(one, scores, 10)))
    means = {}
    for kind, figures in sorted(held_out.items()):
        at5, at10 = np.mean(figures, axis=0)
        means[kind] = [round(float(at5), 3), round(float(at10), 3)]
        print(f"{name:20} {kind:8} left out: recall@5 {at5:.3f}  recall@10 {at10:.3f}  ({len(figures)} questions)")
    weights = fit(asked, columns)
    slope, of_similarity, of_coverage = calibrate(asked, columns, weights)
    log_odds = [
        slope * (one.features[:, columns] @ weights) + of_similarity * one.level[0] + of_coverage * one.level[1]
        for one in asked
    ]
    fitted = {feature: round(float(weight * slope), 4) for feature, weight in zip(used, weights, strict=True)}
    if name.startswith("facts"):
        fitted |= PRIOR
    fitted |= {"level_similarity": round(of_similarity, 4), "level_coverage": round(of_coverage, 4)}
    fitted["bias"] = round(math.log(THRESHOLD / (1 - THRESHOLD)) - kept_above(asked, log_odds), 4)
    print(f"{name:20} {fitted}")
    limit = math.log(THRESHOLD / (1 - THRESHOLD)) - fitted["bias"]
    for what, answered in (("questions", True), ("unanswerable", False)):
        passed = [
            min(5, int((s >= limit).sum()))
            for one, s in zip(asked, log_odds, strict=True)
            if bool(one.wanted) is answered
        ]
        none = sum(not count for count in passed) / max(1, len(passed))
        print(
            f"{name:20} {what}: {np.mean(passed or [0]):.1f} of the first five pass, none in {none:.0%} ({len(passed)})"
        )
    return fitted, means


def fit(asked: Sequence[Asked], columns: Sequence[int]) -> Array:
    """Listwise softmax: minimise the cross entropy between the evidence and the softmax of the scores, by L-BFGS."""
    answered = [one for one in asked if one.relevant.any()]
    count = {kind: sum(one.kind == kind for one in answered) for kind in {one.kind for one in answered}}
    features = np.concatenate([one.features[:, columns] for one in answered])
    segment = np.repeat(np.arange(len(answered)), [len(one.relevant) for one in answered])
    starts = np.concatenate([[0], np.cumsum([len(one.relevant) for one in answered])[:-1]])
    weight = np.array([1 / count[one.kind] / len(count) for one in answered])
    target = np.concatenate([one.relevant / one.relevant.sum() for one in answered]) * weight[segment]

    def loss(weights: Array) -> tuple[float, Array]:
        scores = features @ weights
        highest = np.maximum.reduceat(scores, starts)
        exponents = np.exp(scores - highest[segment])
        sums = np.add.reduceat(exponents, starts)
        value = weight @ (np.log(sums) + highest) - target @ scores + RIDGE * weights @ weights
        gradient = features.T @ (exponents / sums[segment] * weight[segment] - target) + 2 * RIDGE * weights
        return float(value), gradient

    return minimise(loss, np.zeros(len(columns)))


def kept_above(asked: Sequence[Asked], log_odds: Sequence[Array]) -> float:
    """The log odds above which KEPT of the relevant items lie that are among their question's first five."""
    found = []
    for one, scores in zip(asked, log_odds, strict=True):
        found += [scores[at] for at in np.argsort(-scores, kind="stable")[:5] if one.relevant[at]]
    return float(np.quantile(found, 1 - KEPT))


def calibrate(asked: Sequence[Asked], columns: Sequence[int], weights: Array) -> tuple[float, float, float]:
    """How fast the log odds of relevance grow with the score, and with how well the query is answered at all.

    Platt's logistic fit; questions that nothing answers count here. A level never speaks against relevance.
    """
    scores = np.concatenate([one.features[:, columns] @ weights for one in asked])
    levels = np.concatenate([np.tile(one.level, (len(one.relevant), 1)) for one in asked])
    labels = np.concatenate([one.relevant for one in asked])
    count = {kind: sum(len(one.relevant) for one in asked if one.kind == kind) for kind in {one.kind for one in asked}}
    weight = np.concatenate([np.full(len(one.relevant), 1 / count[one.kind] / len(count)) for one in asked])
    inputs = np.column_stack([scores, levels, np.ones(len(scores))])

    def fitted(used: list[int]) -> Array:
        x = inputs[:, used]

        def loss(parameters: Array) -> tuple[float, Array]:
            margin = x @ parameters
            probability = 1 / (1 + np.exp(-np.clip(margin, -60, 60)))
            value = float(weight @ (np.logaddexp(0, margin) - labels * margin))
            return value, x.T @ ((probability - labels) * weight)

        return minimise(loss, np.zeros(len(used)))

    used = [0, 1, 2, 3]
    while True:
        found = dict(zip(used, fitted(used), strict=True))
        against = [at for at in (1, 2) if found.get(at, 0.0) < 0]
        if not against:
            return float(found[0]), float(found.get(1, 0.0)), float(found.get(2, 0.0))
        used.remove(min(against, key=lambda at: found[at]))


def minimise(function: Callable[[Array], tuple[float, Array]], at: Array, steps: int = 300, memory: int = 8) -> Array:
    """L-BFGS with backtracking (Nocedal and Wright, Numerical Optimization, algorithm 7.4)."""
    moves: list[tuple[Array, Array]] = []
    value, gradient = function(at)
    for _ in range(steps):
        direction = gradient.copy()
        used = []
        for move, turn in reversed(moves):
            amount = (move @ direction) / (turn @ move)
            used.append(amount)
            direction -= amount * turn
        if moves:
            direction *= (moves[-1][0] @ moves[-1][1]) / (moves[-1][1] @ moves[-1][1])
        for (move, turn), amount in zip(moves, reversed(used), strict=True):
            direction += move * (amount - (turn @ direction) / (turn @ move))
        step = 1.0
        while True:
            next_value, next_gradient = function(at - step * direction)
            if next_value <= value - 1e-4 * step * (gradient @ direction) or step < 1e-9:
                break
            step /= 2
        move, turn = -step * direction, next_gradient - gradient
        at = at + move
        if turn @ move > 1e-14:
            moves = [*moves[-memory + 1 :], (move, turn)]
        if abs(value - next_value) < 1e-9:
            break
        value, gradient = next_value, next_gradient
    return at


def at_k(one: Asked, scores: Array, k: int) -> float:
    best = np.argsort(-scores, kind="stable")[:k]
    found: set[str] = set().union(*(one.evidence[place] for place in best)) if len(best) else set()
    return len(found & one.wanted) / len(one.wanted)


def describe(subjects: Sequence[EvaluationSubject]) -> dict[str, str]:
    kinds = sorted({subject.kind for subject in subjects})
    return {
        kind: f"{sum(one.kind == kind for one in subjects)} conversations, "
        f"{sum(len(one.questions) for one in subjects if one.kind == kind)} questions"
        for kind in kinds
    }


if __name__ == "__main__":
    main()
