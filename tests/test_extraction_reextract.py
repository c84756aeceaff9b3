import io
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone
from extraction_work import LineExtractor, contents, converse, fails, planned, read_one, set_pause, windows_of

from audit.actors import Actor
from audit.models import Entry
from facts.decision import Outcome
from facts.extraction.interface import Extracted, Window
from facts.extraction.reextraction import Report, Scope, reextract
from facts.models import ErasedEvidence, Evidence, Extraction, ExtractionDay, Fact, FactVersion
from memoryhub.access.models import Agent
from memoryhub.core.tenancy import in_workspace


class Better(LineExtractor):
    """Reads what the first one read, in other words, and a thing that it missed."""

    def extract(self, window: Window) -> Extracted:
        from dataclasses import replace

        from facts.extraction.interface import ExtractedFact
        from facts.models import FactType

        first = super().extract(window)
        facts = [
            replace(fact, content=fact.content.replace("The customer's", "Their")) if "colour" in fact.content else fact
            for fact in first.facts
        ]
        facts += [
            ExtractedFact(FactType.GOAL, "trip", "Wants to see the sea", turn.index, attribute="place")
            for turn in window.turns
            if "sea" in turn.text
        ]
        return replace(first, facts=tuple(facts), prompt_version="lines2")


@pytest.fixture
def read(agent: Agent, settings: Any) -> Agent:
    """The agent of a conversation that was read."""
    settings.EXTRACTOR = "patterns"
    converse(agent, "My colour is blue", "My city is Ghent", "I long for the sea")
    planned(agent)
    read_one(agent, LineExtractor())
    return agent


def again(agent: Agent, *, apply: bool, extractor: LineExtractor | None = None, **scope: Any) -> Report:
    return reextract(
        workspace_id=agent.workspace_id,
        scope=Scope(**scope),
        extractor=extractor or Better(),
        actor=Actor.command("tests"),
        apply=apply,
        concurrency=1,
    )


def everything(agent: Agent) -> list[Any]:
    with in_workspace(agent.workspace_id):
        return [
            list(model.objects.order_by("pk").values())  # type: ignore[attr-defined]
            for model in (Fact, FactVersion, Evidence, Extraction)
        ]


def test_a_dry_run_tells_what_would_change_and_changes_nothing(read: Agent) -> None:
    before = everything(read)
    report = again(read, apply=False)
    assert [(change.outcome, change.before, change.after) for change in report.changes] == [
        (Outcome.SUPERSEDED, "The customer's colour is blue", "Their colour is blue"),
        (Outcome.CONFIRMED, "The customer's city is Ghent", "The customer's city is Ghent"),
        (Outcome.ADDED, "", "Wants to see the sea"),
    ]
    assert everything(read) == before
    with in_workspace(read.workspace_id):
        [entry] = Entry.objects.filter(actor_id="tests", action__startswith="memory.")
    assert (entry.action, entry.data) == ("memory.viewed", {"what": "reextraction", "turns": 6, "facts": 3})


def test_applying_does_what_the_dry_run_told(read: Agent) -> None:
    told = again(read, apply=False).changes
    done = again(read, apply=True).changes
    assert [(one.outcome, one.handle, one.after) for one in told] == [
        (one.outcome, one.handle, one.after) for one in done
    ]
    assert contents(read.workspace_id) == [
        "The customer's city is Ghent",
        "Their colour is blue",
        "Wants to see the sea",
    ]
    [row] = windows_of(read.workspace_id)
    assert (row.state, row.prompt_version) == ("done", "lines2")
    with in_workspace(read.workspace_id):
        assert Entry.objects.filter(action="memory.reextracted").count() == 1
        assert FactVersion.objects.get(content="Their colour is blue").extracted_by == "claude-haiku-4-5/lines2"


def test_applying_twice_adds_nothing(read: Agent) -> None:
    again(read, apply=True)
    before = everything(read)[:3]
    assert {change.outcome for change in again(read, apply=True).changes} == {Outcome.CONFIRMED}
    assert everything(read)[:3] == before


def test_what_was_said_since_keeps_its_place(read: Agent) -> None:
    converse(read, "My colour is green", session="s2")
    planned(read)
    read_one(read, LineExtractor())
    again(read, apply=True, session="s1")
    current = contents(read.workspace_id)
    assert "The customer's colour is green" in current
    assert not any("blue" in content for content in current)


def test_turns_that_were_never_read_are_read(agent: Agent, settings: Any) -> None:
    settings.EXTRACTOR = "none"
    converse(agent, "My city is Ghent", due=False)
    settings.EXTRACTOR = "patterns"
    assert planned(agent) == []
    assert again(agent, apply=False).counts == {"added": 1}
    assert windows_of(agent.workspace_id) == []
    again(agent, apply=True)
    [row] = windows_of(agent.workspace_id)
    assert (row.state, row.indexes) == ("done", [0, 1])
    converse(agent)
    assert planned(agent) == [[0, 1]]


def test_erased_evidence_and_paused_people_are_left_out(read: Agent) -> None:
    with in_workspace(read.workspace_id):
        row = Extraction.objects.get()
        for turn in row.session.turns.filter(index__in=(0, 4)):
            ErasedEvidence.objects.create(workspace_id=read.workspace_id, subject_id=row.subject_id, turn=turn)
    assert {change.after for change in again(read, apply=True).changes} == {"The customer's city is Ghent"}
    set_pause(read, restricted_at=timezone.now())
    assert again(read, apply=True).windows == 0


def test_a_window_that_fails_is_counted_and_left_as_it_is(read: Agent) -> None:
    before = everything(read)
    report = again(read, apply=True, extractor=Better(fails("refused")))
    assert (report.windows, report.changes, report.failures) == (1, [], {"refused": 1})
    assert everything(read) == before


def test_what_it_takes_is_counted_even_dry(read: Agent) -> None:
    report = again(read, apply=False)
    assert (report.usage.input_tokens, float(report.cost_usd or 0)) == (1_000, 0.0015)
    with in_workspace(read.workspace_id):
        assert ExtractionDay.objects.get().windows == 2


def test_the_scope_is_kept_to(read: Agent) -> None:
    converse(read, "My city is Bruges", session="s2", user="bob")
    planned(read)
    read_one(read, LineExtractor())
    assert again(read, apply=False).windows == 2
    assert again(read, apply=False, session="s2").windows == 1
    assert again(read, apply=False, limit=1).windows == 1
    assert again(read, apply=False, subject_id=windows_of(read.workspace_id)[0].subject_id).windows == 1


def test_the_command_prints_the_difference(agent: Agent, settings: Any) -> None:
    settings.EXTRACTOR = "none"
    converse(agent, "I prefer green paper.", due=False)
    out = io.StringIO()
    call_command("reextract", "--workspace", "acme", "--extractor", "patterns", stdout=out)
    lines = out.getvalue().splitlines()
    assert lines[0].startswith("subject ")
    assert lines[1].split()[:2] == ["add", "F1"]
    assert "green" in lines[1]
    assert lines[-1] == "Nothing was written: say --apply to write it."
    assert contents(agent.workspace_id) == []
    call_command("reextract", "--workspace", "acme", "--extractor", "patterns", "--apply", stdout=out)
    assert len(contents(agent.workspace_id)) == 1


def test_the_command_needs_an_extractor_and_a_workspace(agent: Agent, settings: Any) -> None:
    settings.EXTRACTOR = "none"
    with pytest.raises(CommandError, match="name one"):
        call_command("reextract", "--workspace", "acme")
    with pytest.raises(CommandError, match="no workspace"):
        call_command("reextract", "--workspace", "nowhere")
