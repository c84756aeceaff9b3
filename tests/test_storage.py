"""Bytes: purging, backing up and putting back, with the embedded server of a data directory of its own."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from memoryhub.core.postgres import OWNER, EmbeddedPostgres

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
CANARY = "purge-canary-48151623"

PLANT = f"""
from memoryhub.storage import own_server
from django.core.management import call_command
with own_server():
    call_command("migrate", database="owner", interactive=False, verbosity=0)
    from memoryhub.bootstrap import bootstrap
    bootstrap(demo=False)
    from memory_samples import say, learn
    from memoryhub.access.models import Agent, Workspace
    from memoryhub.core.tenancy import in_workspace
    workspace = Workspace.objects.get()
    with in_workspace(workspace.id):
        agent = Agent.objects.get(name="assistant")
    for number in range(40):
        said = say(agent, f"My boat {{number}} is called {CANARY}.", session=f"s{{number}}", user="erin@example.org")
        learn(agent, f"Boat {{number}} is called {CANARY}", user="erin@example.org", turn=said.turns[0])
    say(agent, "Somebody else.", session="other", user="bob@example.org")
"""
ERASE = """
from memoryhub.storage import own_server
from django.core.management import call_command
with own_server():
    call_command("erase_subject", "--user-id", "erin@example.org", "--apply")
"""


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """Not in pytest's own directory, which the server's unprivileged user may not enter."""
    place = Path(tempfile.mkdtemp(prefix="mh-bytes-"))
    place.chmod(0o755)  # noqa: S103
    yield place / "data"
    shutil.rmtree(place)


def manage(data_dir: Path, *command: str) -> str:
    environment = os.environ | {
        "MEMORYHUB_DATA_DIR": str(data_dir),
        "EMBEDDER": "none",
        "LOG_LEVEL": "ERROR",
        "PYTHONPATH": str(ROOT / "tests"),
    }
    done = subprocess.run(  # noqa: S603
        [sys.executable, "manage.py", *command], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def files_with(data_dir: Path, text: str) -> list[str]:
    home = EmbeddedPostgres(data_dir).home
    found = (path for path in {*data_dir.rglob("*"), *home.rglob("*")} if path.is_file())
    return sorted(path.name for path in found if text.encode() in path.read_bytes())


def people(data_dir: Path) -> list[str]:
    import psycopg

    with EmbeddedPostgres(data_dir).running() as server, psycopg.connect(server.dsn(OWNER)) as connection:
        rows = connection.execute("select external_id from memory_sessions_subject order by 1").fetchall()
        return [row[0] for row in rows]


def test_erased_bytes_go_and_a_backup_brings_nobody_back(data_dir: Path) -> None:
    manage(data_dir, "shell", "--no-imports", "-c", PLANT)
    copy = data_dir.parent / "copy.dump"
    assert "holds the database" in manage(data_dir, "backup", str(copy))
    assert copy.stat().st_mode & 0o077 == 0
    manage(data_dir, "shell", "--no-imports", "-c", ERASE)
    assert files_with(data_dir, CANARY), "nothing was left to purge: the test proves nothing"

    told = manage(data_dir, "purge_storage")
    assert "no byte is left" in told and "Not done" not in told
    assert files_with(data_dir, CANARY) == []
    assert files_with(data_dir, "bob@example.org")

    restored = manage(data_dir, "restore", str(copy))
    assert "1 erasures that it knew nothing of were carried out again" in restored
    assert people(data_dir) == ["bob@example.org"]


def test_a_ledger_goes_along_to_another_host(data_dir: Path) -> None:
    manage(data_dir, "shell", "--no-imports", "-c", PLANT)
    copy = data_dir.parent / "copy.dump"
    manage(data_dir, "backup", str(copy))
    manage(data_dir, "shell", "--no-imports", "-c", ERASE)
    other = data_dir.with_name("other")
    restored = manage(other, "restore", str(copy), "--ledger", str(data_dir / "erasure_ledger.jsonl"))
    assert "1 erasures were taken over" in restored
    assert people(other) == ["bob@example.org"]


def test_purging_waits_until_the_hub_is_stopped(data_dir: Path) -> None:
    with EmbeddedPostgres(data_dir).running():
        done = subprocess.run(
            [sys.executable, "manage.py", "purge_storage"],
            cwd=ROOT,
            env=os.environ | {"MEMORYHUB_DATA_DIR": str(data_dir)},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert "is using" in done.stderr
