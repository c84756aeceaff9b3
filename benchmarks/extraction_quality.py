"""How well facts are taken out of conversations: precision, recall, false memories, wrong supersessions.

Each dialogue of benchmarks/data/dialogues is recorded, cut into windows, read and written by the product's own code, on
a database of its own, and what is remembered then is compared with what a person expects there. `patterns` always runs;
Claude when a key is set. Half of the dialogues were held back while the patterns were written.

    python -m benchmarks.extraction_quality [--raw DIRECTORY] [--only CATEGORY]
"""

import argparse
import json
import os
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.harness import finish, print_table
from memoryhub.core.postgres import EmbeddedPostgres

if TYPE_CHECKING:
    from facts.extraction.interface import Extracted, Extractor, Window
    from facts.models import FactVersion
    from memoryhub.access.models import Agent
    from sessions.models import Subject

DIALOGUES = Path(__file__).parent / "data" / "dialogues"
NEVER = frozenset({"echo", "injection", "someone_else", "quote", "hypothetical", "question"})
"""Categories in which whatever is found and not expected is a false memory."""
PRECISION = 0.95
BEFORE = "before"
"""What was known before a dialogue was taken from turns too, and says this as its extractor."""


@dataclass(frozen=True)
class Expected:
    """One thing that must come of a dialogue. Each of `says` (alternatives by |) is in entity, attribute or content.

    `by` is "all" for what every extractor has to find, "better" for what a better one than patterns finds.
    """

    says: tuple[str, ...]
    outcome: str = "added"
    types: frozenset[str] = frozenset()
    supersedes: tuple[str, ...] = ()
    value: Decimal | None = None
    unit: str | None = None
    by: str = "all"


@dataclass(frozen=True)
class Dialogue:
    """`sessions` are held one after the other, each read before the next begins."""

    id: str
    category: str
    held_out: bool
    sessions: tuple[tuple[Mapping[str, Any], ...], ...]
    known: tuple[Mapping[str, Any], ...]
    expect: tuple[Expected, ...]
    never: tuple[tuple[str, ...], ...]
    allowed: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Event:
    """What became of one statement that was extracted: `outcome` is added, confirmed, superseded or quarantined."""

    type: str
    entity: str
    attribute: str
    content: str
    value: Decimal | None
    unit: str
    outcome: str
    superseded: str = ""

    @property
    def told(self) -> str:
        return f"{self.entity} {self.attribute.replace('_', ' ')} {self.content}".casefold()


@dataclass
class Verdict:
    """A dialogue judged. Facts are named by their contents."""

    dialogue: Dialogue
    events: list[Event]
    found: list[tuple[Expected, Event]] = field(default_factory=list)
    missed: list[Expected] = field(default_factory=list)
    beside: list[Event] = field(default_factory=list)
    false: list[Event] = field(default_factory=list)
    wrong_supersessions: list[Event] = field(default_factory=list)
    wrong_decisions: list[tuple[Expected, Event]] = field(default_factory=list)
    raw: list[dict[str, Any]] = field(default_factory=list)

    def as_text(self) -> list[str]:
        where = f"{self.dialogue.id}{' (held out)' if self.dialogue.held_out else ''}"
        lines = [f"{where}: missed {' + '.join(one.says)}" for one in self.missed if one.by == "all"]
        lines += [f"{where}: FALSE {one.content!r}" for one in self.false]
        lines += [f"{where}: not expected {one.content!r}" for one in self.beside if one not in self.false]
        lines += [
            f"{where}: WRONGLY superseded {one.superseded!r} by {one.content!r}" for one in self.wrong_supersessions
        ]
        lines += [f"{where}: {two.content!r} was {two.outcome}, not {one.outcome}" for one, two in self.wrong_decisions]
        return lines


def load_dialogues(directory: Path = DIALOGUES) -> list[Dialogue]:
    """Every dialogue of the directory. Raises KeyError or TypeError for one that is not well formed."""
    return [
        _dialogue(one)
        for path in sorted(directory.glob("*.json"))
        for one in json.loads(path.read_text(encoding="utf-8"))
    ]


def _dialogue(one: Mapping[str, Any]) -> Dialogue:
    return Dialogue(
        id=one["id"],
        category=one["category"],
        held_out=one["held_out"],
        sessions=tuple(tuple(session) for session in one["sessions"]),
        known=tuple(one.get("known", ())),
        expect=tuple(
            Expected(
                says=tuple(expected["says"]),
                outcome=expected["outcome"],
                types=frozenset(expected.get("types", ())),
                supersedes=tuple(expected.get("supersedes", ())),
                value=Decimal(expected["value"]) if "value" in expected else None,
                unit=expected.get("unit"),
                by=expected["by"],
            )
            for expected in one["expect"]
        ),
        never=tuple(tuple(says) for says in one.get("never", ())),
        allowed=tuple(tuple(says) for says in one.get("allowed", ())),
    )


class Kept:
    """An extractor that keeps what the one it asks answers."""

    def __init__(self, asked: "Extractor") -> None:
        self.asked = asked
        self.name = asked.name
        self.answers: list[Extracted] = []

    def problem(self) -> str:
        return self.asked.problem()

    def extract(self, window: "Window") -> "Extracted":
        answer = self.asked.extract(window)
        self.answers.append(answer)
        return answer


def hold(dialogue: Dialogue, extractor: "Extractor", agent: "Agent") -> Verdict:
    """Hold the dialogue with a person of its own, in a workspace without others; judge what is remembered of it."""
    from memoryhub.core.tenancy import in_workspace
    from sessions.models import Subject

    kept = Kept(extractor)
    events: list[Event] = []
    if dialogue.known:
        _remember(dialogue, agent)
    for number, session in enumerate(dialogue.sessions):
        with in_workspace(agent.workspace_id):
            before = _snapshot(Subject.objects.filter(external_id=dialogue.id).first())
        _record(dialogue, f"{dialogue.id}-{number}", session, agent)
        _extract(agent, kept)
        with in_workspace(agent.workspace_id):
            events += _events(Subject.objects.get(external_id=dialogue.id), before)
    verdict = judge(dialogue, events)
    verdict.raw = [
        {
            "model": answer.extracted_by,
            "request_id": answer.request_id,
            "usage": asdict(answer.usage),
            "dropped": dict(answer.dropped),
            "facts": [asdict(fact) for fact in answer.facts],
            "answer": answer.raw,
        }
        for answer in kept.answers
    ]
    return verdict


def judge(dialogue: Dialogue, events: Sequence[Event]) -> Verdict:
    """Compare what came of a dialogue with what is expected. Each expectation is met by one event at most."""
    verdict = Verdict(dialogue, list(events))
    open_ones = list(dialogue.expect)
    for event in events:
        never = any(_all_said(says, event) for says in dialogue.never) and event.outcome != "confirmed"
        fitting = [] if never else [one for one in open_ones if _fits(one, event)]
        best = min(
            fitting, key=lambda one: (event.outcome not in one.outcome.split("|"), one.by != "all"), default=None
        )
        if best is not None:
            open_ones.remove(best)
            verdict.found.append((best, event))
            right = event.outcome in best.outcome.split("|") and all(
                _said(one, event.superseded) for one in best.supersedes
            )
            if not right:
                verdict.wrong_decisions.append((best, event))
        elif never or not any(_all_said(says, event) for says in dialogue.allowed):
            verdict.beside.append(event)
            if never or dialogue.category in NEVER:
                verdict.false.append(event)
        if event.superseded and not (best is not None and best.supersedes and _right(best, event)):
            verdict.wrong_supersessions.append(event)
    verdict.missed = open_ones
    return verdict


def _right(expected: Expected, event: Event) -> bool:
    """Whether the decision was the one expected, about the fact expected."""
    return event.outcome in expected.outcome.split("|") and all(
        _said(one, event.superseded) for one in expected.supersedes
    )


def _fits(expected: Expected, event: Event) -> bool:
    return (
        _all_said(expected.says, event)
        and (not expected.types or event.type in expected.types)
        and (expected.value is None or event.value == expected.value)
        and (expected.unit is None or event.unit == expected.unit)
    )


def _all_said(says: Sequence[str], event: Event) -> bool:
    return all(_said(one, event.told, event.content) for one in says)


def _said(says: str, text: str, content: str = "") -> bool:
    """Whether one of the alternatives begins a word of `text`; one that begins with ^, the content."""
    return any(
        (content or text).casefold().startswith(one[1:])
        if one.startswith("^")
        else re.search(rf"(?<!\w){re.escape(one)}", text.casefold())
        for one in says.casefold().split("|")
    )


def _remember(dialogue: Dialogue, agent: "Agent") -> None:
    """What was known before: said by the person yesterday, unless a person entered it."""
    from django.utils import timezone

    from audit.actors import Actor
    from facts.extraction.claims import ACTOR
    from facts.models import FactType, Source
    from facts.services import FactInput, fact_pin, facts_record
    from memoryhub.core.tenancy import in_workspace
    from sessions.content import read_content
    from sessions.models import Subject, TurnRole
    from sessions.services import TurnInput, turns_record

    yesterday = timezone.now() - timedelta(days=1)
    people = Actor.command("extraction_quality")
    with in_workspace(agent.workspace_id):
        recorded = turns_record(
            workspace_id=agent.workspace_id,
            agent_id=agent.id,
            session_id=f"{dialogue.id}-{BEFORE}",
            user_id=dialogue.id,
            turns=[
                TurnInput(TurnRole.USER, read_content(one["content"]), occurred_at=yesterday) for one in dialogue.known
            ],
            actor=Actor.agent(agent.id),
            extract=False,
        )
        subject = Subject.objects.get(external_id=dialogue.id)
        for one, turn in zip(dialogue.known, recorded.turns, strict=True):
            entered = one.get("source") == "operator"
            [written] = facts_record(
                subject=subject,
                facts=[
                    FactInput(
                        type=FactType(one["type"]),
                        entity=one["entity"],
                        attribute=one["attribute"],
                        content=one["content"],
                        value=Decimal(one["value"]) if "value" in one else None,
                        unit=one.get("unit", ""),
                        turn=None if entered else turn,
                        valid_from=yesterday,
                    )
                ],
                actor=people if entered else ACTOR,
                source=Source.OPERATOR if entered else Source.AGENT,
                agent_id=None if entered else agent.id,
                extracted_by="" if entered else BEFORE,
                approved=entered,
            )
            if one.get("pinned"):
                fact_pin(fact=written.version.fact, pinned=True, actor=people)


def _record(dialogue: Dialogue, session_id: str, turns: Iterable[Mapping[str, Any]], agent: "Agent") -> None:
    from audit.actors import Actor
    from memoryhub.core.tenancy import in_workspace
    from sessions.content import read_content
    from sessions.models import TurnRole
    from sessions.services import TurnInput, session_close, turns_record

    with in_workspace(agent.workspace_id):
        given: dict[str, Any] = {
            "workspace_id": agent.workspace_id,
            "agent_id": agent.id,
            "session_id": session_id,
            "actor": Actor.agent(agent.id),
        }
        turns_record(
            user_id=dialogue.id,
            turns=[
                TurnInput(TurnRole(one["role"]), read_content(one["text"]), tool_name=one.get("tool_name", ""))
                for one in turns
            ],
            **given,
        )
        session_close(**given)


def _extract(agent: "Agent", extractor: "Extractor") -> None:
    """Cut what is new into windows and read them, as a worker does, until nothing is left."""
    from facts.extraction.breaker import enter
    from facts.extraction.claims import claim_windows
    from facts.extraction.pipeline import work_on
    from facts.extraction.windows import plan_windows

    plan_windows(agent.workspace_id)
    while claims := claim_windows(agent.workspace_id, worker="quality", most=1):
        for claim in claims:
            leave = enter(extractor.name)
            if leave is None:
                sys.exit("The extractor's provider is being left alone after failures: try again later.")
            ended = work_on(claim, extractor, leave)
            if ended != "done":
                sys.exit(f"A window could not be read: {ended}")


def _snapshot(subject: "Subject | None") -> set[Any]:
    """What is there of a person: versions and the evidence that confirms them."""
    from facts.models import Evidence, FactVersion

    if subject is None:
        return set()
    return {
        *FactVersion.objects.filter(fact__subject=subject).values_list("id", flat=True),
        *Evidence.objects.filter(version__fact__subject=subject).values_list("id", flat=True),
    }


def _events(subject: "Subject", before: set[Any]) -> list[Event]:
    """What came since, in the order it was written."""
    from facts.models import Evidence, EvidenceKind, FactVersion

    versions = list(
        FactVersion.objects.filter(fact__subject=subject).select_related("fact").order_by("created_at", "id")
    )
    confirmed = Evidence.objects.filter(version__fact__subject=subject, kind=EvidenceKind.CONFIRMS).exclude(
        id__in=before
    )
    return [
        *(_event(one, versions) for one in versions if one.id not in before),
        *(
            _event(one.version, (), "confirmed")
            for one in confirmed.select_related("version__fact").order_by("created_at")
        ),
    ]


def _event(version: "FactVersion", versions: Sequence["FactVersion"], outcome: str = "") -> Event:
    superseded = ""
    if not outcome:
        first = version.transitions.order_by("at", "id").first()
        outcome = "added" if first is None or first.to_status == "current" else str(first.to_status)
        former = [one for one in versions if one.fact_id == version.fact_id and one.number < version.number]
        ended = [one for one in former if one.status in ("superseded", "stale")]
        if outcome == "added" and ended:
            outcome, superseded = "superseded", ended[-1].content
    return Event(
        type=version.fact.type,
        entity=version.fact.entity,
        attribute=version.fact.attribute,
        content=version.content,
        value=version.value,
        unit=version.unit,
        outcome=outcome,
        superseded=superseded,
    )


@dataclass(frozen=True)
class Figures:
    """Of some dialogues. Recall is of everything expected; `recall_all` of what every extractor has to find."""

    dialogues: int
    extracted: int
    expected: int
    found: int
    wanted: int
    found_wanted: int
    beside: int
    false: int
    wrong_supersessions: int
    right_decisions: int

    @property
    def precision(self) -> float:
        return 1 - self.beside / self.extracted if self.extracted else 1.0

    @property
    def recall(self) -> float:
        return self.found / self.expected if self.expected else 1.0

    @property
    def recall_all(self) -> float:
        return self.found_wanted / self.wanted if self.wanted else 1.0

    def row(self, name: str) -> list[object]:
        return [
            name,
            self.dialogues,
            self.extracted,
            f"{self.precision:.3f}",
            f"{self.found}/{self.expected}",
            f"{self.recall:.3f}",
            f"{self.recall_all:.3f}",
            self.false,
            self.wrong_supersessions,
            f"{self.right_decisions}/{self.found}",
        ]


TITLES = (
    "dialogues", "number", "facts", "precision", "found", "recall", "recall*", "false memories", "wrong superseded",
    "right decisions",
)  # fmt: skip


def figures(verdicts: Sequence[Verdict]) -> Figures:
    return Figures(
        dialogues=len(verdicts),
        extracted=sum(len(one.events) for one in verdicts),
        expected=sum(len(one.dialogue.expect) for one in verdicts),
        found=sum(len(one.found) for one in verdicts),
        wanted=sum(expected.by == "all" for one in verdicts for expected in one.dialogue.expect),
        found_wanted=sum(expected.by == "all" for one in verdicts for expected, _ in one.found),
        beside=sum(len(one.beside) for one in verdicts),
        false=sum(len(one.false) for one in verdicts),
        wrong_supersessions=sum(len(one.wrong_supersessions) for one in verdicts),
        right_decisions=sum(len(one.found) - len(one.wrong_decisions) for one in verdicts),
    )


def report(name: str, verdicts: Sequence[Verdict]) -> Figures:
    """Print the figures of an extractor, by category and for both halves; returns those of all."""
    categories = Counter(one.dialogue.category for one in verdicts)
    rows = [
        figures([one for one in verdicts if one.dialogue.category == category]).row(category) for category in categories
    ]
    for title, held_out in (("those written for", False), ("held out", True)):
        rows.append(figures([one for one in verdicts if one.dialogue.held_out == held_out]).row(title))
    whole = figures(verdicts)
    print(f"\n{name}")
    print_table(TITLES, [*rows, whole.row("all")])
    print("recall* counts only what every extractor has to find.")
    for line in (line for verdict in verdicts for line in verdict.as_text()):
        print(f"  {line}")
    return whole


def keep_raw(directory: Path, name: str, verdicts: Sequence[Verdict]) -> None:
    """One file a dialogue: what was answered, what became of it, and what was missed."""
    place = directory / name
    place.mkdir(parents=True, exist_ok=True)
    for one in verdicts:
        told = {
            "events": [asdict(event) for event in one.events],
            "missed": [expected.says for expected in one.missed],
            "remarks": one.as_text(),
            "answers": one.raw,
        }
        text = json.dumps(told, ensure_ascii=False, indent=2, default=str)
        (place / f"{one.dialogue.id}.json").write_text(text + "\n", encoding="utf-8")


def hold_all(dialogues: Sequence[Dialogue], extractor: "Extractor", *, at_once: int) -> list[Verdict]:
    """Each in a workspace of its own, several at once where the extractor waits for a network."""
    from django.db import connections

    from audit.actors import Actor
    from memoryhub.access.services import agent_get_or_create, workspace_create

    actor = Actor.command("extraction_quality")

    def one(numbered: tuple[int, Dialogue]) -> Verdict:
        number, dialogue = numbered
        try:
            workspace = workspace_create(slug=f"{extractor.name}-{number}", name=dialogue.id, actor=actor)
            return hold(dialogue, extractor, agent_get_or_create(workspace_id=workspace.id, name="talker", actor=actor))
        finally:
            connections.close_all()

    with ThreadPoolExecutor(at_once) as pool:
        return list(pool.map(one, enumerate(dialogues)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dialogues", type=Path, default=DIALOGUES, help="a directory of dialogues")
    parser.add_argument("--only", help="one category")
    parser.add_argument("--raw", type=Path, help="a directory for the answers as they came, one file a dialogue")
    parser.add_argument("--small", action="store_true", help="every fourth dialogue")
    arguments = parser.parse_args()
    dialogues = [one for one in load_dialogues(arguments.dialogues) if arguments.only in (None, one.category)]
    dialogues = dialogues[::4] if arguments.small else dialogues
    if not dialogues:
        sys.exit("There are no such dialogues.")
    with tempfile.TemporaryDirectory(prefix="memoryhub-") as directory:
        Path(directory).chmod(0o755)  # noqa: S103 - the database server may run as another user
        os.environ |= {
            "MEMORYHUB_DATA_DIR": directory,
            "DJANGO_SETTINGS_MODULE": "memoryhub.settings",
            "LOG_LEVEL": "ERROR",
        }
        os.environ.setdefault("EXTRACTOR", "patterns")
        import django

        django.setup()
        from django.core.management import call_command

        with EmbeddedPostgres(Path(directory)).running():
            call_command("migrate", database="owner", verbosity=0)
            promise, told = _measure(dialogues, arguments.raw)
    finish(promise, told)


def _measure(dialogues: Sequence[Dialogue], raw: Path | None) -> tuple[bool, str]:
    from facts.extraction.claude import ClaudeExtractor
    from facts.extraction.patterns import PatternsExtractor

    verdicts = hold_all(dialogues, PatternsExtractor(), at_once=1)
    patterns = report("patterns", verdicts)
    if raw:
        keep_raw(raw, "patterns", verdicts)
    told = (
        f"patterns: precision {patterns.precision:.3f} (promised {PRECISION}), recall {patterns.recall:.3f}, "
        f"false memories {patterns.false}, wrong supersessions {patterns.wrong_supersessions}, "
        f"{patterns.dialogues} dialogues"
    )
    claude = ClaudeExtractor()
    if claude.problem():
        print("\nClaude was not asked: no key is set (ANTHROPIC_API_KEY).")
    else:
        verdicts = hold_all(dialogues, claude, at_once=8)
        found = report(claude.model, verdicts)
        if raw:
            keep_raw(raw, "claude", verdicts)
        told += (
            f"; {claude.model}: precision {found.precision:.3f}, recall {found.recall:.3f}, "
            f"false memories {found.false}, wrong supersessions {found.wrong_supersessions}"
        )
    return patterns.precision >= PRECISION and patterns.false == 0, told


if __name__ == "__main__":
    main()
