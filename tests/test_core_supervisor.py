"""The supervisor, watched from outside: real processes, really killed."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

# Takes a directory. Keeps three children running: `plain`; `family`, which has a child of its own, as a queue with
# its workers; and `stubborn`, which ignores SIGTERM. Each writes its pids to <name>.<number of start>.
PARENT = """
import sys
from pathlib import Path
from memoryhub.core.supervisor import Child, Supervisor, spawn

directory = Path(sys.argv[1])
SLEEP = "import time; time.sleep(600)"
FAMILY = f"import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', {SLEEP!r}]); note(p.pid); p.wait()"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); note(); {SLEEP}"

def child(name, program, **more):
    starts = iter(range(1, 1000))
    def start():
        path = directory / f"{name}.{next(starts)}"
        note = (
            "import os; from pathlib import Path\\n"
            f"def note(*more): p = Path({str(path)!r} + '.new'); "
            f"p.write_text(' '.join(map(str, [os.getpid(), *more]))); p.rename({str(path)!r})\\n"
        )
        return spawn([sys.executable, "-c", note + program])
    return Child(name, start, **more)

with Supervisor(log=lambda line: print(line, flush=True)) as supervisor:
    supervisor.start(child("plain", f"note(); {SLEEP}", ready=lambda: not (directory / "hold").exists()))
    supervisor.start(child("family", FAMILY))
    supervisor.start(child("stubborn", STUBBORN))
    supervisor.watch()
    print("stopping", flush=True)
"""


def eventually(condition: Callable[[], object], within: float = 10.0) -> None:
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


class Parent:
    """A program with a Supervisor, and what its children wrote about themselves."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(PARENT), str(directory)],
            cwd=Path(__file__).parent.parent,
            stdout=subprocess.PIPE,
            text=True,
        )

    def pids(self, name: str, start: int = 1) -> list[int]:
        path = self.directory / f"{name}.{start}"
        eventually(path.exists)
        return [int(pid) for pid in path.read_text().split()]

    def everybody(self) -> set[int]:
        """All processes under the parent, its guard included."""
        return {child.pid for child in psutil.Process(self.process.pid).children(recursive=True)}


@pytest.fixture
def parent(tmp_path: Path) -> Iterator[Parent]:
    parent = Parent(tmp_path)
    for name in ("plain", "family", "stubborn"):
        parent.pids(name)
    yield parent
    if parent.process.poll() is None:
        left = parent.everybody()
        parent.process.kill()
        for pid in filter(runs, left):
            os.kill(pid, signal.SIGKILL)
    parent.process.communicate()


def test_a_child_that_is_killed_is_started_again(parent: Parent) -> None:
    [first] = parent.pids("plain")
    os.kill(first, signal.SIGKILL)
    [second] = parent.pids("plain", start=2)
    assert runs(second)
    assert second != first


def test_what_a_killed_child_leaves_running_is_ended_before_it_starts_again(parent: Parent) -> None:
    leader, grandchild = parent.pids("family")
    os.kill(leader, signal.SIGKILL)
    parent.pids("family", start=2)
    assert not runs(grandchild)


def test_a_child_waits_for_what_it_stands_on(parent: Parent) -> None:
    hold = parent.directory / "hold"
    hold.touch()
    os.kill(parent.pids("plain")[0], signal.SIGKILL)
    os.kill(parent.pids("family")[0], signal.SIGKILL)
    os.kill(parent.pids("family", start=2)[0], signal.SIGKILL)
    parent.pids("family", start=3)  # twice again by now, and the other not once
    assert not (parent.directory / "plain.2").exists()
    hold.unlink()
    parent.pids("plain", start=2)


def test_a_child_that_keeps_dying_is_started_ever_more_slowly(parent: Parent) -> None:
    begun = time.monotonic()
    for start in range(1, 4):
        os.kill(parent.pids("plain", start)[0], signal.SIGKILL)
    parent.pids("plain", start=4)
    assert time.monotonic() - begun >= 0.2 + 0.4 + 0.8


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_stops_everything_within_five_seconds(parent: Parent, number: signal.Signals) -> None:
    everybody = parent.everybody()
    assert len(everybody) >= 5
    begun = time.monotonic()
    parent.process.send_signal(number)
    output, _ = parent.process.communicate(timeout=10)
    assert time.monotonic() - begun < 5
    assert parent.process.returncode == 0
    assert output.splitlines() == ["stopping"]
    assert not any(runs(pid) for pid in everybody)


def test_nothing_outlives_a_parent_that_was_killed(parent: Parent) -> None:
    everybody = parent.everybody()
    parent.process.kill()
    parent.process.wait()
    eventually(lambda: not any(runs(pid) for pid in everybody), within=8)


def test_a_killed_guard_is_replaced_and_knows_every_child(parent: Parent) -> None:
    def guards() -> list[psutil.Process]:
        children = psutil.Process(parent.process.pid).children()
        return [child for child in children if runs(child.pid) and child.cmdline()[-1].endswith("guard.py")]

    [guard] = guards()
    guard.kill()
    eventually(lambda: [found for found in guards() if found.pid != guard.pid])
    everybody = parent.everybody()
    parent.process.kill()
    parent.process.wait()
    eventually(lambda: not any(runs(pid) for pid in everybody), within=8)
