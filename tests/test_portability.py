"""A person's copy of what is remembered: complete, readable by machines and people, in flat memory."""

import csv
import hashlib
import io
import json
import tracemalloc
import zipfile
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from memory_samples import learn, say, viewpoint

from audit.models import Entry
from facts.working_memory import MemoryRequest, working_memory
from memoryhub.access.models import Agent
from memoryhub.core.tenancy import in_workspace
from memoryhub.portability import FORM
from sessions.models import Turn


@pytest.fixture
def remembered(agent: Agent) -> Agent:
    said = say(agent, "I live in <Rotterdam> & like it.", "=1+1", session="home", user="maria")
    learn(agent, "Lives in <Rotterdam>", user="maria", turn=said.turns[0])
    say(agent, "I live in Bergen.", session="other", user="bob")
    working_memory(view=viewpoint(agent), ask=MemoryRequest("maria", "Where do I live?", "later"))
    return agent


def export(tmp_path: Path, *whom: str) -> zipfile.ZipFile:
    call_command("export_subject", *whom, "--to", str(tmp_path / "copy.zip"), "--workspace", "acme")
    return zipfile.ZipFile(tmp_path / "copy.zip")


def test_the_copy_holds_everything_of_the_person_and_of_nobody_else(remembered: Agent, tmp_path: Path) -> None:
    with export(tmp_path, "--user-id", "maria") as copy:
        told = json.loads(copy.read("export.json"))
        page = copy.read("index.html").decode()
        turns = list(csv.reader(io.StringIO(copy.read("csv/turn.csv").decode())))
        names = set(copy.namelist())
        everything = "".join(copy.read(name).decode() for name in names)
    assert told["form"] == FORM and told["user_id"] == "maria"
    assert [one["who"] for one in told["recipients"]] == [f"agent:{remembered.id}"]
    kinds = {row["kind"] for row in told["rows"]}
    assert {"subject", "session", "turn", "fact", "fact_version", "recall", "audit_entry"} <= kinds
    assert {f"csv/{kind}.csv" for kind in kinds} == names - {"export.json", "index.html"}
    assert "I live in &lt;Rotterdam&gt; &amp; like it." in page and "<Rotterdam>" not in page
    assert "http" not in page
    texts = turns[0].index("text")
    assert [row[texts] for row in turns[1:]] == ["I live in <Rotterdam> & like it.", "'=1+1"]
    assert "Bergen" not in everything and "bob" not in everything


def test_the_copy_is_private_and_its_digest_is_in_the_log(remembered: Agent, tmp_path: Path) -> None:
    export(tmp_path, "--user-id", "maria").close()
    written = (tmp_path / "copy.zip").read_bytes()
    assert (tmp_path / "copy.zip").stat().st_mode & 0o077 == 0
    with in_workspace(remembered.workspace_id):
        entry = Entry.objects.get(action="subject.exported")
    assert entry.data["digest"] == hashlib.sha256(written).hexdigest()
    assert entry.data["bytes"] == len(written)


def test_nobody_unknown_is_exported(remembered: Agent, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="no such person"):
        export(tmp_path, "--user-id", "nobody")
    assert not list(tmp_path.iterdir())


def test_memory_stays_flat_however_much_there_is(remembered: Agent, tmp_path: Path) -> None:
    def peak() -> int:
        tracemalloc.start()
        export(tmp_path, "--user-id", "maria").close()
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak()
    few = peak()
    with in_workspace(remembered.workspace_id):
        session = Turn.objects.filter(session__external_id="home").first().session  # type: ignore[union-attr]
        Turn.objects.bulk_create(
            Turn(
                workspace_id=session.workspace_id, session=session, index=10 + number, role="user",
                content="word " * 200, text="word " * 200, occurred_at=session.started_at, digest=b"0" * 32,
            )
            for number in range(6_000)
        )  # fmt: skip
    # 12 MB of turns: a few hundred rows at a time are in memory.
    assert peak() < few + 6_000_000
