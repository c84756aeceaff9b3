"""Conversations to extract from, an extractor that reads them line by line, and the steps of the work one at a time."""

import re
import threading
import time
from collections.abc import Callable, Iterable
from datetime import timedelta
from uuid import UUID

from django.utils import timezone
from memory_samples import say

from facts.extraction.breaker import enter
from facts.extraction.claims import Claim, claim_windows
from facts.extraction.interface import Extracted, ExtractedFact, ExtractionFailed, Usage, Window
from facts.extraction.pipeline import work_on
from facts.extraction.windows import plan_windows
from facts.extraction.worker import Worker
from facts.models import Extraction, FactType, FactVersion
from memoryhub.access.models import Agent
from memoryhub.core.tenancy import in_workspace
from sessions.models import Session, Subject, Turn, TurnRole

STATED = re.compile(r"My (\w+) is (.+)")


class LineExtractor:
    """Takes "My budget is 500 EUR" for a fact about the budget; `behaviour` may fail first, or wait."""

    name = "lines"

    def __init__(self, behaviour: Callable[[Window, int], None] = lambda window, call: None) -> None:
        self.behaviour = behaviour
        self.windows: list[Window] = []
        self.blocked = ""
        self._lock = threading.Lock()

    def problem(self) -> str:
        return self.blocked

    def extract(self, window: Window) -> Extracted:
        with self._lock:
            self.windows.append(window)
            call = len(self.windows)
        self.behaviour(window, call)
        return Extracted(
            facts=tuple(facts_in(window)),
            model="claude-haiku-4-5",
            prompt_version="lines1",
            usage=Usage(input_tokens=1_000, output_tokens=100),
            request_id=f"req_{call}",
        )


def facts_in(window: Window) -> Iterable[ExtractedFact]:
    for turn in window.turns:
        for attribute, value in STATED.findall(turn.text):
            yield ExtractedFact(
                type=FactType.PREFERENCE,
                entity="customer",
                attribute=attribute,
                content=f"The customer's {attribute} is {value}",
                turn_index=turn.index,
            )


def fails(*codes: str, **more: object) -> Callable[[Window, int], None]:
    """Fail with these codes, one a call, and answer from then on."""

    def behaviour(window: Window, call: int) -> None:
        if call <= len(codes):
            raise ExtractionFailed(codes[call - 1], **more)  # type: ignore[arg-type]

    return behaviour


def converse(agent: Agent, *texts: str, session: str = "s1", user: str = "alice", due: bool = True) -> Session:
    """Record what the person says, each time acknowledged by the assistant, and let it be due now."""
    for text in texts:
        say(agent, text, session=session, user=user)
        say(agent, "Noted.", session=session, user=user, role=TurnRole.ASSISTANT)
    with in_workspace(agent.workspace_id):
        if due:
            Session.objects.filter(external_id=session).update(extract_due_at=timezone.now() - timedelta(seconds=1))
        return Session.objects.get(external_id=session)


def planned(agent: Agent) -> list[list[int]]:
    """Plan, and return the turns of each window there is."""
    plan_windows(agent.workspace_id)
    return [row.indexes for row in windows_of(agent.workspace_id)]


def windows_of(workspace_id: UUID) -> list[Extraction]:
    with in_workspace(workspace_id):
        return list(Extraction.objects.order_by("id"))


def window_of(workspace_id: UUID) -> Extraction:
    [row] = windows_of(workspace_id)
    return row


def contents(workspace_id: UUID, **where: object) -> list[str]:
    """What is known and current, sorted."""
    with in_workspace(workspace_id):
        return sorted(FactVersion.objects.filter(**({"status": "current"} | where)).values_list("content", flat=True))


def claim(agent: Agent, *, worker: str = "w1", most: int = 10) -> list[Claim]:
    return claim_windows(agent.workspace_id, worker=worker, most=most)


def read_one(agent: Agent, extractor: LineExtractor) -> str:
    """One attempt at the oldest window that is due; how it ended."""
    make_due(agent.workspace_id)
    [one] = claim(agent, most=1)
    leave = enter(extractor.name)
    assert leave is not None
    return work_on(one, extractor, leave)


def make_due(workspace_id: UUID) -> None:
    """Let what waits for its next attempt be due now."""
    with in_workspace(workspace_id):
        Extraction.objects.filter(state__in=("due", "failed")).update(next_attempt_at=timezone.now())


def end_leases(workspace_id: UUID) -> None:
    """As if the time of every lease had passed: its worker died."""
    with in_workspace(workspace_id):
        Extraction.objects.filter(state="running").update(leased_until=timezone.now() - timedelta(seconds=1))


def withhold(session: Session, index: int) -> None:
    with in_workspace(session.workspace_id):
        Turn.objects.filter(session=session, index=index).update(withheld_at=timezone.now())


def set_pause(agent: Agent, **values: object) -> None:
    with in_workspace(agent.workspace_id):
        Subject.objects.update(**values)


def work_until(worker: Worker, done: Callable[[], bool], *, within: float = 20.0) -> None:
    """Let the worker step until `done()`."""
    deadline = time.monotonic() + within
    while not done():
        assert time.monotonic() < deadline, "the worker does not get there"
        worker.step()
