"""How well the right turn, and the right fact, is found: labelled conversations through the running REST API.

    python -m benchmarks.retrieval --set EVALUATION.json [--set …] [--url URL --key KEY]

Reads evaluation sets as published (LoCoMo) or in the plain shape (benchmarks/evaluation.py), records every turn and
fact over HTTP, waits until nothing waits for its vectors, asks every question, and prints recall@5 and recall@10 by
category: the share of a question's evidence among the first k hits. Beside it stands what vectors alone find with the
same embedder, computed here: the cosine of the question with `speaker: turn` (and with `entity: fact`).

Promise: turns of the LoCoMo kind recall@5 ≥ 0.62 and recall@10 ≥ 0.70; on every other kind, and on facts, no worse than
vectors alone.
"""

import argparse
import functools
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from benchmarks.evaluation import EvaluationSubject, EvaluationTurn, Question, read_sets, recall
from benchmarks.harness import add_hub_arguments, finish, hub, print_table, wait_until_indexed
from memoryhub.core.embedding.minilm import MiniLMEmbedder

FLOOR = {"locomo": (0.62, 0.70)}
BATCH = 50
SMALL_QUESTIONS = 40
Recall = tuple[float, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", dest="sets", type=Path, action="append", required=True, help="an evaluation file")
    add_hub_arguments(parser)
    arguments = parser.parse_args()
    subjects = read_sets(arguments.sets)
    if arguments.small:
        subjects = [subjects[0]]
    with hub(arguments) as at, httpx.Client(base_url=at.url, headers=at.headers, timeout=60) as client:
        began = time.perf_counter()
        handles = {subject.user_id: load(client, subject) for subject in subjects}
        written = time.perf_counter() - began
        wait_until_indexed(at)
        turns = sum(len(turns) for subject in subjects for _, turns in subject.sessions)
        print(
            f"{turns} turns written in {written:.1f} s, findable by meaning after {time.perf_counter() - began:.1f} s"
        )
        figures: dict[tuple[str, str], list[Recall]] = defaultdict(list)
        baseline: dict[tuple[str, str], list[Recall]] = defaultdict(list)
        times: list[float] = []
        for subject in subjects:
            ask(client, subject, handles[subject.user_id], figures, baseline, times, small=arguments.small)
    conclude(figures, baseline, times)


def load(client: httpx.Client, subject: EvaluationSubject) -> tuple[dict[str, str], dict[str, tuple[str, ...]]]:
    """Record a subject's turns and facts; returns turn id → evidence key and fact id → evidence keys."""
    keys: dict[str, str] = {}
    places: dict[str, tuple[str, int]] = {}
    for session_id, turns in subject.sessions:
        for start in range(0, len(turns), BATCH):
            sent = turns[start : start + BATCH]
            body = {"user_id": subject.user_id, "turns": [as_turn(turn) for turn in sent]}
            answer = posted(client, f"/api/v1/sessions/{session_id}/turns", body)
            for turn, recorded in zip(sent, answer["turns"], strict=True):
                keys[recorded["id"]] = turn.key
                places[turn.key] = (session_id, recorded["turn_index"])
    facts: dict[str, tuple[str, ...]] = {}
    for start in range(0, len(subject.facts), BATCH):
        stated = subject.facts[start : start + BATCH]
        items: list[dict[str, Any]] = []
        for fact in stated:
            item: dict[str, Any] = {
                "user_id": subject.user_id,
                "type": "entity",
                "entity": fact.entity,
                "content": fact.content,
            }
            if fact.evidence:
                item["session_id"], item["turn_index"] = places[fact.evidence[0]]
            items.append(item)
        answer = posted(client, "/api/v1/facts", {"facts": items})
        for fact, written in zip(stated, answer["facts"], strict=True):
            facts[written["fact_id"]] = (*facts.get(written["fact_id"], ()), *fact.evidence)
    return keys, facts


def as_turn(turn: EvaluationTurn) -> dict[str, Any]:
    return {
        "role": turn.role,
        "name": turn.name,
        "content": turn.text,
        "id": turn.key,
        "timestamp": turn.at.isoformat(),
    }


def ask(
    client: httpx.Client,
    subject: EvaluationSubject,
    handles: tuple[dict[str, str], dict[str, tuple[str, ...]]],
    figures: dict[tuple[str, str], list[Recall]],
    baseline: dict[tuple[str, str], list[Recall]],
    times: list[float],
    *,
    small: bool,
) -> None:
    """Ask every question of the subject and note what was found, by category, beside what vectors alone find."""
    keys, facts = handles
    questions = subject.questions[:SMALL_QUESTIONS] if small else subject.questions
    turns_by_vector = by_vector(
        [(turn.key, f"{speaker(turn)}: {turn.text}") for _, ts in subject.sessions for turn in ts]
    )
    facts_by_vector = by_vector([(str(at), f"{fact.entity}: {fact.content}") for at, fact in enumerate(subject.facts)])
    for question in questions:
        for kind, evidence_of in (
            ("turn", lambda hit: (keys[hit["id"]],)),
            ("fact", lambda hit: facts[hit["id"]]),
        ):
            if kind == "fact" and not subject.facts:
                continue
            body = {"user_id": subject.user_id, "query": question.text, "kinds": [kind], "top_k": 10}
            began = time.perf_counter()
            answer = posted(client, "/api/v1/search", body)
            times.append((time.perf_counter() - began) * 1000)
            found = [evidence_of(hit) for hit in answer["hits"]]
            note(figures, subject, question, kind, found)
        note(baseline, subject, question, "turn", [(key,) for key in turns_by_vector(question.text)])
        if subject.facts:
            near = facts_by_vector(question.text)
            note(baseline, subject, question, "fact", [subject.facts[int(at)].evidence for at in near])


def note(
    into: dict[tuple[str, str], list[Recall]],
    subject: EvaluationSubject,
    question: Question,
    kind: str,
    found: Sequence[tuple[str, ...]],
) -> None:
    at5, at10 = (
        recall([key for keys in found[:k] for key in keys], question.evidence, len(question.evidence) * 1000)
        for k in (5, 10)
    )
    for category in (question.category, "all"):
        into[f"{subject.kind} {kind}s", category].append((at5, at10))


def by_vector(texts: Sequence[tuple[str, str]]) -> Callable[[str], list[str]]:
    """The ten nearest of `texts` (key, text) by cosine alone, with the hub's default embedder."""
    embedder = minilm()
    if not texts:
        return lambda question: []
    matrix = embedder.embed([text for _, text in texts], timeout=600)

    def nearest(question: str) -> list[str]:
        similarity = matrix @ embedder.embed([question], timeout=60)[0]
        return [texts[at][0] for at in np.argsort(-similarity)[:10]]

    return nearest


@functools.cache
def minilm() -> MiniLMEmbedder:
    return MiniLMEmbedder()


def speaker(turn: EvaluationTurn) -> str:
    return turn.name or turn.role.capitalize()


def posted(client: httpx.Client, path: str, body: dict[str, Any]) -> dict[str, Any]:
    response = client.post(path, json=body)
    if response.is_error:
        raise SystemExit(f"POST {path}: {response.status_code} {response.text[:500]}")
    answer: dict[str, Any] = response.json()
    return answer


def conclude(
    figures: dict[tuple[str, str], list[Recall]],
    baseline: dict[tuple[str, str], list[Recall]],
    times: list[float],
) -> None:
    rows = []
    failed = []
    summary = []
    for name, category in sorted(figures):
        ours = mean(figures[name, category])
        alone = mean(baseline[name, category])
        rows.append((name, category, len(figures[name, category]), *map(places3, (*ours, *alone))))
        if category == "all":
            summary.append(f"{name} {ours[0]:.3f}/{ours[1]:.3f} (vectors alone {alone[0]:.3f}/{alone[1]:.3f})")
            failed += list(shortfalls(name, ours, alone))
    print_table(
        ("searched", "category", "questions", "recall@5", "recall@10", "vectors @5", "vectors @10"),
        rows,
    )
    quantiles = statistics.quantiles(times, n=100)
    summary.append(f"search p50 {quantiles[49]:.1f} ms p95 {quantiles[94]:.1f} ms")
    finish(not failed, "; ".join(failed + summary))


def shortfalls(name: str, ours: Recall, alone: Recall) -> Iterator[str]:
    kind, what = name.split()
    floor = FLOOR.get(kind) if what == "turns" else None
    for place, reached, wanted in zip(("@5", "@10"), ours, floor or alone, strict=True):
        if reached < wanted:
            yield f"{name} recall{place} {reached:.3f} is under {wanted:.3f}"


def mean(values: Sequence[Recall]) -> Recall:
    return statistics.fmean(one[0] for one in values), statistics.fmean(one[1] for one in values)


def places3(value: float) -> str:
    return f"{value:.3f}"


if __name__ == "__main__":
    main()
