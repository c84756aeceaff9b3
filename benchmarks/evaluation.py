"""Evaluation sets as they are published, read into one shape: subjects with sessions, facts and questions.

Known shapes: LoCoMo (a list of samples with `conversation` and `qa`) and the plain one (a list of `{user, sessions,
questions}`). Neither set is part of this repository.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

UNANSWERABLE = 5  # LoCoMo's category of adversarial questions


@dataclass(frozen=True)
class EvaluationTurn:
    key: str
    role: str
    name: str
    text: str
    at: datetime


@dataclass(frozen=True)
class EvaluationFact:
    entity: str
    content: str
    evidence: tuple[str, ...]
    at: datetime


@dataclass(frozen=True)
class Question:
    text: str
    category: str
    evidence: tuple[str, ...]


@dataclass(frozen=True)
class EvaluationSubject:
    """`kind` is the set's name; questions without evidence are left out of `questions` and kept as `unanswerable`."""

    kind: str
    user_id: str
    sessions: tuple[tuple[str, tuple[EvaluationTurn, ...]], ...]
    questions: tuple[Question, ...]
    facts: tuple[EvaluationFact, ...] = ()
    unanswerable: tuple[str, ...] = field(default=())


def read_sets(paths: Sequence[Path]) -> list[EvaluationSubject]:
    """Read files of either shape, told apart by what they hold."""
    subjects = []
    for path in paths:
        for sample in json.loads(path.read_text(encoding="utf-8")):
            subjects.append(_locomo(sample) if "conversation" in sample else _plain(sample))
    return subjects


def recall(found: Sequence[str], evidence: Sequence[str], k: int) -> float:
    """The share of the evidence in the first `k` found."""
    return len(set(found[:k]) & set(evidence)) / len(set(evidence))


def _locomo(sample: dict[str, Any]) -> EvaluationSubject:
    conversation = sample["conversation"]
    numbers = sorted(int(key.removeprefix("session_")) for key in conversation if re.fullmatch(r"session_\d+", key))
    sessions = []
    facts = []
    keys: set[str] = set()
    for number in numbers:
        began = datetime.strptime(conversation[f"session_{number}_date_time"], "%I:%M %p on %d %B, %Y")
        began = began.replace(tzinfo=UTC)
        turns = []
        for position, turn in enumerate(conversation[f"session_{number}"]):
            text = turn.get("text", "")
            if turn.get("blip_caption"):
                text = f"{text} [shares a photo: {turn['blip_caption']}]".strip()
            role = "user" if turn["speaker"] == conversation["speaker_a"] else "assistant"
            at = began + timedelta(seconds=30 * position)
            turns.append(EvaluationTurn(turn["dia_id"], role, turn["speaker"], text, at))
        keys |= {turn.key for turn in turns}
        sessions.append((f"{sample['sample_id']}-{number}", tuple(turns)))
    for number in numbers:
        at = sessions[numbers.index(number)][1][0].at
        observed = sample.get("observation", {}).get(f"session_{number}_observation", {})
        for speaker, said in observed.items():
            for content, evidence in said:
                facts.append(EvaluationFact(speaker, content, _dialogue_ids(evidence, keys), at))
    questions = []
    for question in sample["qa"]:
        if question["category"] == UNANSWERABLE:
            continue
        evidence = _dialogue_ids(question.get("evidence", []), keys)
        if evidence:
            questions.append(Question(question["question"], str(question["category"]), evidence))
    return EvaluationSubject("locomo", sample["sample_id"], tuple(sessions), tuple(questions), tuple(facts))


def _dialogue_ids(evidence: Any, known: set[str]) -> tuple[str, ...]:
    """Evidence as written, such as `D8:6; D9:17` or `D:11:26`, as the ids of turns that exist."""
    found = (f"D{int(session)}:{int(turn)}" for session, turn in re.findall(r"D:?(\d+):(\d+)", str(evidence)))
    return tuple(dict.fromkeys(key for key in found if key in known))


def _plain(sample: dict[str, Any]) -> EvaluationSubject:
    sessions = []
    for session in sample["sessions"]:
        turns = [
            EvaluationTurn(
                str(turn["key"]),
                turn["role"],
                turn.get("name") or "",
                turn["content"],
                datetime.fromisoformat(turn["timestamp"].replace("Z", "+00:00"))
                if turn.get("timestamp")
                else datetime(2024, 1, 1, tzinfo=UTC),
            )
            for turn in session["turns"]
        ]
        sessions.append((session["id"], tuple(turns)))
    questions = [Question(one["q"], one["category"], tuple(map(str, one["evidence"]))) for one in sample["questions"]]
    return EvaluationSubject(
        "plain",
        sample["user"],
        tuple(sessions),
        tuple(question for question in questions if question.evidence),
        unanswerable=tuple(question.text for question in questions if not question.evidence),
    )
