"""`manage.py up` as a person runs it: the whole hub, started, killed and stopped."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import psutil
import psycopg
import pytest

from memoryhub.core.postgres import OWNER, RUNTIME, EmbeddedPostgres
from tests.conftest import own_database

ROOT = Path(__file__).parent.parent
ADDRESS = re.compile(r"ready at (http://127\.0\.0\.1:\d+)/")


def eventually(condition: Callable[[], object], within: float) -> None:
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return ""


class Hub:
    """A running `manage.py up` on a free port."""

    def __init__(self, data_dir: Path, **environment: str) -> None:
        self.data_dir = data_dir
        self.log = data_dir.with_name("up.log")
        self.begun = time.monotonic()
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "manage.py", "up", "--port", "0"],
                cwd=ROOT,
                env={**os.environ, "MEMORYHUB_DATA_DIR": str(data_dir), "EMBEDDER": "none", **environment},
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            eventually(lambda: ADDRESS.search(self.output()) or self.process.poll() is not None, within=90)
            found = ADDRESS.search(self.output())
            assert found, self.output()
            self.url = found[1]
        except BaseException:
            self.process.kill()
            raise

    def output(self) -> str:
        return self.log.read_text()

    def answers(self) -> bool:
        try:
            with urlopen(f"{self.url}/readyz", timeout=5) as answer:  # noqa: S310 - our own server
                return answer.status == 200
        except (URLError, OSError):
            return False

    def everybody(self) -> dict[int, str]:
        """Every process below `up` and what it is."""
        children = psutil.Process(self.process.pid).children(recursive=True)
        return {child.pid: command(child) for child in children}

    def children(self, words: str) -> set[int]:
        """The processes that `up` itself started whose command line has `words`."""
        children = psutil.Process(self.process.pid).children()
        return {child.pid for child in children if words in command(child)}

    def child(self, words: str) -> int:
        [found] = self.children(words)
        return found

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait(timeout=30)


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """A directory that is not there yet, in a place that the database's user can reach."""
    place = Path(tempfile.mkdtemp(prefix="mh-up-"))
    place.chmod(0o755)
    yield place / "data"
    shutil.rmtree(place)


@contextmanager
def running(data_dir: Path, **environment: str) -> Iterator[Hub]:
    hub = Hub(data_dir, **environment)
    try:
        yield hub
    finally:
        hub.stop()


def ends_in_time(hub: Hub, number: signal.Signals) -> None:
    everybody = hub.everybody()
    for part in ("gunicorn", "qcluster", "indexer", "postgres"):
        assert any(part in command for command in everybody.values())
    begun = time.monotonic()
    hub.process.send_signal(number)
    assert hub.process.wait(timeout=10) == 0
    assert time.monotonic() - begun < 5
    assert [command for pid, command in everybody.items() if runs(pid)] == []
    assert hub.output().endswith("Stopped.\n")


def test_a_hub_starts_stops_and_starts_again_with_all_it_had(data_dir: Path) -> None:
    secret = data_dir / "secret_key"
    with running(data_dir) as hub:
        assert hub.answers()
        assert re.search(r"password +\S{20}", hub.output())
        assert re.search(r"API key +mh_\S{40,}", hub.output())
        assert secret.stat().st_mode & 0o077 == 0
        key = secret.read_text()
        ends_in_time(hub, signal.SIGTERM)
    with running(data_dir) as hub:
        assert hub.answers()
        assert "password" not in hub.output()
        assert secret.read_text() == key
        ends_in_time(hub, signal.SIGINT)


@pytest.mark.chaos
def test_what_is_killed_comes_back_and_a_killed_hub_leaves_nothing(data_dir: Path) -> None:
    with running(data_dir) as hub:
        for part in ("gunicorn", "qcluster", "indexer", "bin/postgres"):
            killed = hub.child(part)
            os.kill(killed, signal.SIGKILL)
            eventually(lambda part=part, killed=killed: hub.children(part) - {killed}, within=20)
            eventually(hub.answers, within=30)
        everybody = hub.everybody()
        hub.process.kill()
        hub.process.wait()
    with running(data_dir) as hub:
        assert hub.answers()
        # The guard is the last to go: it waits for those it ends.
        eventually(lambda: not any(runs(pid) for pid in everybody), within=20)


def test_a_taken_port_is_one_line_and_nothing_is_begun(data_dir: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = subprocess.run(
            [sys.executable, "manage.py", "up", "--port", str(port)],
            cwd=ROOT,
            env={**os.environ, "MEMORYHUB_DATA_DIR": str(data_dir)},
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert f"127.0.0.1:{port}" in done.stderr
    assert "PORT=" in done.stderr
    assert not data_dir.exists()


def test_an_external_database_is_used_when_one_is_named(database_server: EmbeddedPostgres, data_dir: Path) -> None:
    with own_database(database_server, template="template1") as name:
        urls = {
            variable: f"postgres://{role}@/{name}?host={database_server.socket_dir}&port=5432"
            for variable, role in (("DATABASE_URL", RUNTIME), ("DATABASE_OWNER_URL", OWNER))
        }
        with running(data_dir, **urls) as hub:
            assert hub.answers()
            assert not any("bin/postgres" in command for command in hub.everybody().values())
            with psycopg.connect(database_server.dsn(OWNER, name)) as connection:
                slugs = connection.execute("select slug from access_workspace order by slug").fetchall()
                assert slugs == [("default",), ("demo",)]
                # Whatever serves works as the role that row-level security binds.
                others = connection.execute(
                    "select distinct usename from pg_stat_activity"
                    " where datname = current_database() and pid <> pg_backend_pid()"
                )
                assert others.fetchall() == [(RUNTIME,)]
            serving = [
                pid for pid, command in hub.everybody().items() if "manage.py" in command or "gunicorn" in command
            ]
            assert {psutil.Process(pid).environ().get("DATABASE_OWNER_URL") for pid in serving} == {""}
