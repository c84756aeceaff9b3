"""Fit the coefficients of the ranking (facts/retrieval/coefficients.json) on labelled questions.

    python benchmarks/fit_ranking.py EVALUATION.json [...] [--write] [--vectors CACHE.npz]

Loads the conversations into a database of its own through the product's services, asks every question through the
product's search for its features, and fits a linear fusion by listwise softmax: the kinds of conversation count alike,
however many questions each has. Prints what leaving each conversation out of the fit gives on it, then the weights
fitted on all. Scores are log odds of relevance, moved so that one threshold means the same: 0.35 keeps over
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
    *("words", "piece", "context", "dated", "session", "named"),
    *("user", "length", "question", "after_question", "when"),
)
FACT_FEATURES = ["sentence", "about", "words", "coverage", "entity"]
VECTOR_FEATURES = {"piece", "context", "dated", "sentence", "about"}
# No labelled set at hand has attributes, mentions, types or amounts; these stand until one does.
PRIOR = {"attribute": 1.5, "mention": 1.0, "type": 0.7, "number": 1.0}
RIDGE = 1e-3
THRESHOLD, KEPT = 0.35, 0.995
"""The default threshold keeps this share of the relevant items that rank among the first five."""
MARGIN = 1.5
"""Log odds added to every score: in a young memory words are rarer signs than in the long ones that are fitted on."""


@dataclass
class Asked:
    """One question: features of each candidate (rows), which are relevant, and of which set and conversation."""

    kind: str
    conversation: str
    features: Array
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
    with temporary_hub():
        turns, facts = collect(subjects, VectorCache(arguments.vectors))
    fitted: dict[str, Any] = {}
    for name, asked, features in (("turns", turns, TURN_FEATURES), ("facts", facts, FACT_FEATURES)):
        for suffix, used in (("", features), ("_words_only", [f for f in features if f not in VECTOR_FEATURES])):
            fitted[name + suffix] = report(name + suffix, asked, features, used)
    fitted |= {"fitted_on": describe(subjects), "fitted_at": datetime.now(UTC).date().isoformat()}
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


def collect(subjects: Sequence[EvaluationSubject], cache: VectorCache) -> tuple[list[Asked], list[Asked]]:
    """Load every subject and gather the features of each question's candidate turns and facts."""
    from audit.actors import Actor
    from memoryhub.access.services import agent_get_or_create, workspace_create

    actor = Actor.command("fit_ranking")
    workspace = workspace_create(slug="evaluation", name="Evaluation", actor=actor)
    agent = agent_get_or_create(workspace_id=workspace.id, name="evaluation", actor=actor)
    turns: list[Asked] = []
    facts: list[Asked] = []
    for subject in subjects:
        load(subject, workspace, agent, actor, cache)
        cache.save()
        ask(subject, workspace, cache, turns, facts)
    return turns, facts


def load(subject: EvaluationSubject, workspace: Any, agent: Any, actor: Any, cache: VectorCache) -> None:
    from pgvector import HalfVector

    from facts.models import FactType, Source
    from facts.services import FactInput, facts_record
    from memoryhub.core.search.models import Pending, Vector
    from memoryhub.core.search.texts import texts_of
    from memoryhub.core.tenancy import in_workspace
    from sessions.content import read_content
    from sessions.models import TurnRole
    from sessions.services import TurnInput, subject_get_or_create, turns_record

    with in_workspace(workspace.id):
        rows = {}
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
            rows |= {turn.client_id: turn for turn in recorded.turns}
        person = subject_get_or_create(workspace_id=workspace.id, external_id=subject.user_id)
        facts_record(
            subject=person,
            facts=[
                FactInput(
                    FactType.ENTITY, fact.entity, fact.content, turn=rows[fact.evidence[0]] if fact.evidence else None
                )
                for fact in subject.facts
            ],
            source=Source.IMPORT,
            actor=actor,
        )
        waiting = list(Pending.objects.filter(workspace_id=workspace.id))
    for kind in ("turn", "fact"):
        items = {row.item: row for row in waiting if row.kind == kind}
        with in_workspace(workspace.id):
            texts = texts_of(kind, workspace.id, list(items))
        vectors = cache.embed([text.text for text in texts]) if texts else []
        with in_workspace(workspace.id):
            Vector.objects.bulk_create(
                Vector(
                    workspace_id=workspace.id,
                    subject_id=items[text.item].subject_id,
                    kind=kind,
                    item=text.item,
                    view=text.view,
                    piece=text.piece,
                    model="minilm:all-MiniLM-L6-v2",
                    embedding=HalfVector(vector),
                )
                for text, vector in zip(texts, vectors, strict=True)
            )
            Pending.objects.filter(workspace_id=workspace.id).filter(kind=kind).delete()


def ask(subject: EvaluationSubject, workspace: Any, cache: VectorCache, turns: list[Asked], facts: list[Asked]) -> None:
    from facts.models import FactVersion
    from facts.retrieval.ranking import fact_features, turn_features
    from facts.retrieval.search import Query, fact_candidates, turn_candidates
    from memoryhub.core.search.words import lexemes
    from memoryhub.core.tenancy import in_workspace
    from sessions.models import Subject, Turn

    vectors = cache.embed([question.text for question in subject.questions])
    cache.save()
    with in_workspace(workspace.id):
        person = Subject.objects.get(external_id=subject.user_id)
        keys = dict(Turn.objects.filter(session__subject=person).values_list("id", "client_id"))
        ids = FactVersion.objects.filter(fact__subject=person).order_by("fact__handle").values_list("id", flat=True)
        stands_for = {pk: set(fact.evidence) for pk, fact in zip(ids, subject.facts, strict=False)}
        for question, vector in zip(subject.questions, vectors, strict=True):
            query = Query(
                question.text,
                workspace.text_config,
                tuple(lexemes(question.text, workspace.text_config)),
                vector,
                "minilm:all-MiniLM-L6-v2",
            )
            where = {"workspace_id": workspace.id, "subject_id": person.id, "query": query}
            found, traits = turn_candidates(**where)
            wanted = set(question.evidence)
            turns.append(
                as_asked(subject, turn_features(found, traits), TURN_FEATURES, lambda item: {keys[item]}, wanted)
            )
            if subject.facts:
                found, _, of_facts = fact_candidates(**where)
                features = fact_features(found, of_facts)
                facts.append(
                    as_asked(subject, features, FACT_FEATURES, lambda item: stands_for.get(item, set()), wanted)
                )


def as_asked(
    subject: EvaluationSubject,
    features: dict[Any, dict[str, float]],
    names: Sequence[str],
    evidence_of: Callable[[Any], set[str]],
    wanted: set[str],
) -> Asked:
    items = sorted(features)
    evidence = [evidence_of(item) for item in items]
    return Asked(
        subject.kind,
        subject.user_id,
        np.array([[features[item][name] for name in names] for item in items]),
        np.array([float(bool(keys & wanted)) for keys in evidence]),
        evidence,
        wanted,
    )


def report(name: str, asked: list[Asked], names: Sequence[str], used: Sequence[str]) -> dict[str, float]:
    """Print the held-out figures and return the weights fitted on everything."""
    columns = [list(names).index(feature) for feature in used]
    conversations = sorted({one.conversation for one in asked})
    held_out: dict[str, list[tuple[float, float]]] = {}
    for conversation in conversations if len(conversations) > 1 else ():
        weights = fit([one for one in asked if one.conversation != conversation], columns)
        for one in asked:
            if one.conversation == conversation:
                scores = one.features[:, columns] @ weights
                held_out.setdefault(one.kind, []).append((at_k(one, scores, 5), at_k(one, scores, 10)))
    for kind, figures in held_out.items():
        at5, at10 = np.mean(figures, axis=0)
        print(f"{name:20} {kind:8} left out: recall@5 {at5:.3f}  recall@10 {at10:.3f}  ({len(figures)} questions)")
    weights = fit(asked, columns)
    slope = calibrate(asked, columns, weights)
    bias = math.log(THRESHOLD / (1 - THRESHOLD)) - slope * kept_above(asked, columns, weights) + MARGIN
    fitted = {feature: round(float(weight * slope), 4) for feature, weight in zip(used, weights, strict=True)}
    if name.startswith("facts"):
        fitted |= PRIOR
    fitted["bias"] = round(bias, 4)
    print(f"{name:20} {fitted}")
    return fitted


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


def kept_above(asked: Sequence[Asked], columns: Sequence[int], weights: Array) -> float:
    """The raw score above which KEPT of the relevant items lie that are among their question's first five."""
    found = []
    for one in asked:
        scores = one.features[:, columns] @ weights
        found += [scores[at] for at in np.argsort(-scores, kind="stable")[:5] if one.relevant[at]]
    return float(np.quantile(found, 1 - KEPT))


def calibrate(asked: Sequence[Asked], columns: Sequence[int], weights: Array) -> float:
    """Platt's slope: how fast the log odds of relevance grow with the score."""
    scores = np.concatenate([one.features[:, columns] @ weights for one in asked])
    labels = np.concatenate([one.relevant for one in asked])

    def loss(parameters: Array) -> tuple[float, Array]:
        margin = parameters[0] * scores + parameters[1]
        probability = 1 / (1 + np.exp(-np.clip(margin, -60, 60)))
        value = float(np.mean(np.logaddexp(0, margin) - labels * margin))
        error = (probability - labels) / len(labels)
        return value, np.array([error @ scores, error.sum()])

    return float(minimise(loss, np.array([1.0, -5.0]))[0])


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
