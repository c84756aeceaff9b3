"""Importing files: checked whole, written in whole runs, never twice."""

import json
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from hypothesis import given
from hypothesis import strategies as st

from audit.models import Entry
from facts.models import FactVersion
from memoryhub.access.models import Agent, Workspace
from memoryhub.core.search.models import Posting
from memoryhub.core.tenancy import in_workspace
from memoryhub.importing.files import UnknownFormat, read_file
from sessions.models import Session, Turn


def turn(text: str, session: str = "s1", user: str = "robin", **more: object) -> dict[str, object]:
    return {"user_id": user, "session_id": session, "turn": {"role": "user", "content": text, **more}}


def fact(content: str, user: str = "robin", **more: object) -> dict[str, object]:
    known = {"user_id": user, "type": "constraint", "entity": "shipping", "attribute": "origin", "content": content}
    return {"fact": known | more}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "history.jsonl"


def put(file: Path, *lines: dict[str, object]) -> None:
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))


def run(file: Path, workspace: Workspace, **options: object) -> str:
    out = StringIO()
    call_command("import_sessions", str(file), workspace=workspace.slug, stdout=out, stderr=StringIO(), **options)
    return out.getvalue()


def contents(workspace: Workspace) -> tuple[list[str], list[tuple[str, str]]]:
    with in_workspace(workspace.id):
        return (
            list(Turn.objects.order_by("session__external_id", "index").values_list("text", flat=True)),
            list(FactVersion.objects.order_by("created_at").values_list("content", "status")),
        )


def test_turns_and_facts_become_memory(file: Path, workspace: Workspace) -> None:
    put(
        file,
        turn("We ship from Rotterdam.", timestamp="2026-03-02T09:15:00Z"),
        fact("Ships from Rotterdam", session_id="s1", turn_index=0),
        turn("Now from Antwerp.", session="s2"),
        fact("Ships from Antwerp", session_id="s2", turn_index=0),
    )
    assert "2 turns in 2 sessions and 2 facts, of 1 people" in run(file, workspace, approve=True)
    turns, facts = contents(workspace)
    assert turns == ["We ship from Rotterdam.", "Now from Antwerp."]
    assert facts == [("Ships from Rotterdam", "superseded"), ("Ships from Antwerp", "current")]
    with in_workspace(workspace.id):
        assert set(FactVersion.objects.values_list("source", flat=True)) == {"import"}
        assert not Turn.objects.filter(withheld_at__isnull=False).exists()


def test_what_nobody_vouches_for_waits_until_somebody_does(file: Path, workspace: Workspace) -> None:
    put(file, turn("We ship from Rotterdam."), fact("Ships from Rotterdam"), fact("Ships from Antwerp"))
    assert "None of it is shown to agents yet" in run(file, workspace)
    assert contents(workspace)[1] == [("Ships from Rotterdam", "quarantined"), ("Ships from Antwerp", "quarantined")]
    with in_workspace(workspace.id):
        assert list(Turn.objects.values_list("withheld_reason", flat=True)) == ["untrusted_source"]
        assert not Posting.objects.exists()
    assert "let in now: 2 facts and 1 turns" in run(file, workspace, approve=True)
    assert contents(workspace)[1] == [("Ships from Rotterdam", "superseded"), ("Ships from Antwerp", "current")]
    with in_workspace(workspace.id):
        assert not Turn.objects.filter(withheld_at__isnull=False).exists()
        assert Posting.objects.filter(kind="turn").exists() and Posting.objects.filter(kind="fact").exists()
    assert "nothing was written" in run(file, workspace, approve=True)


def test_a_second_run_writes_nothing(file: Path, workspace: Workspace) -> None:
    put(file, turn("one"), turn("two"), fact("Ships from Rotterdam"), fact("Ships from Antwerp"))
    run(file, workspace)
    before = contents(workspace)
    assert "imported before" in run(file, workspace)
    assert contents(workspace) == before


def test_one_bad_line_stops_everything_and_is_named(file: Path, workspace: Workspace) -> None:
    put(file, turn("fine"), turn("bad", role="pope"), fact("x", confidence=7), {"turn": {}, "fact": {}})
    with pytest.raises(CommandError, match="nothing was written"):
        run(file, workspace)
    assert contents(workspace) == ([], [])
    problems = [str(problem) for problem in read_file(file).problems]
    assert [problem.split(": ")[:2] for problem in problems] == [
        ["line 2", "turn.role"],
        ["line 3", "fact.confidence"],
        ["line 4", "A line holds either a turn or a fact."],
    ]


def test_a_dry_run_counts_and_writes_nothing(file: Path, workspace: Workspace) -> None:
    put(file, turn("one"), fact("Ships from Rotterdam"))
    assert "holds 1 turns in 1 sessions and 1 facts" in run(file, workspace, dry_run=True)
    with in_workspace(workspace.id):
        assert not Agent.objects.exists()
        assert not Session.objects.exists()


def test_an_import_that_stopped_goes_on_where_it_stopped(file: Path, workspace: Workspace) -> None:
    """The last line names a turn that is not there until another file brings it."""
    put(
        file,
        turn("one"),
        fact("Ships from Rotterdam"),
        turn("two", session="s2"),
        fact("x", session_id="s9", turn_index=0),
    )
    with pytest.raises(CommandError, match=r"line 4: fact.turn_index"):
        run(file, workspace)
    assert contents(workspace)[0] == ["one", "two"]
    other = file.with_name("other.jsonl")
    put(other, turn("nine", session="s9"))
    run(other, workspace)
    assert "0 turns in 0 sessions and 1 facts" in run(file, workspace)
    assert [content for content, _ in contents(workspace)[1]] == ["Ships from Rotterdam", "x"]


def test_a_conflict_with_what_is_remembered_names_the_line(file: Path, workspace: Workspace) -> None:
    put(file, turn("one"))
    run(file, workspace)
    put(file, turn("other"))
    with pytest.raises(CommandError, match=r"line 1: turns\[0\]"):
        run(file, workspace)
    assert contents(workspace)[0] == ["one"]


def test_every_run_is_in_the_log_without_content(file: Path, workspace: Workspace) -> None:
    put(file, turn("We ship from Rotterdam."))
    run(file, workspace)
    with in_workspace(workspace.id):
        entry = Entry.objects.get(action="memory.imported")
    assert entry.data["lines"] == 1
    assert "Rotterdam" not in str(entry.data)


@given(st.binary(max_size=300))
def test_whatever_the_bytes_reading_names_problems_and_never_fails(
    tmp_path_factory: pytest.TempPathFactory, raw: bytes
) -> None:
    file = tmp_path_factory.mktemp("import") / "any"
    file.write_bytes(raw)
    try:
        source = read_file(file)
    except UnknownFormat:
        return
    assert len(source.problems) + len(source.lines) <= raw.count(b"\n") * 60 + 60
    assert all(problem.place and problem.message for problem in source.problems)
