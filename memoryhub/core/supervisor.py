"""Child processes under one parent.

A child that dies is started again; all of them stop within seconds of a signal; and none outlives its parent, not
even a parent that was killed with SIGKILL. Each child leads a session of its own, so that a Ctrl-C in the terminal
reaches the parent alone and a whole group can be ended at once.
"""

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import IO, Self

GUARD = Path(__file__).with_name("guard.py")
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None

FIRST_DELAY = 0.2  # seconds before a child that died is started again
LONGEST_DELAY = 5.0
STEADY = 30.0  # seconds of running after which a child counts as well again
GRACE = 2.0  # seconds a child has to stop before its group is killed
STOP_WITHIN = 3.5  # seconds for everything: the promised five include the exit of this process


class Stopped(BaseException):
    """A signal asked this process to stop while it was not watching its children.

    Not an Exception, as KeyboardInterrupt is not: no handler of ordinary errors may swallow it.
    """


class StartError(Exception):
    """A child could not be started now; starting it again later may work."""


@dataclass(frozen=True)
class Account:
    """An operating system user that a child runs as."""

    name: str
    uid: int
    gid: int


def spawn(
    argv: Sequence[str | os.PathLike[str]],
    *,
    env: Mapping[str, str] | None = None,
    cwd: str | os.PathLike[str] | None = None,
    account: Account | None = None,
    pass_fds: Sequence[int] = (),
    output: int | IO[bytes] | None = None,
    on_parent_death: int = signal.SIGTERM,
) -> subprocess.Popen[bytes]:
    """Start a process that leads its own session and, on Linux, is sent `on_parent_death` when this one dies.

    `account` needs root; the child then has that user's primary group and no other. `output` takes both stdout and
    stderr; without it the child writes where this process writes.
    """
    parent = os.getpid()

    def in_child() -> None:
        # Runs after the change of user, which would clear the setting.
        if LIBC is not None:
            LIBC.prctl(PR_SET_PDEATHSIG, on_parent_death, 0, 0, 0)
            if os.getppid() != parent:
                os._exit(1)

    return subprocess.Popen(  # noqa: S603 - callers give programs of their own
        [os.fspath(argument) for argument in argv],
        env=env,
        cwd=cwd,
        user=account.uid if account else None,
        group=account.gid if account else None,
        extra_groups=[] if account else None,
        pass_fds=pass_fds,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        start_new_session=True,
        preexec_fn=in_child,
    )


@dataclass
class Child:
    """One program to keep running.

    `start` returns its new process (see `spawn`) or raises StartError. A child that died waits, before it is started
    again, until `ready()` is true: what it stands on may have died too. `last` stops it after all others, with all the
    time that is left; `last_resort` is then sent to its leader before its group is killed.
    """

    name: str
    start: Callable[[], subprocess.Popen[bytes]]
    stop_signal: int = signal.SIGTERM
    last: bool = False
    last_resort: int | None = None
    ready: Callable[[], bool] | None = None

    process: subprocess.Popen[bytes] | None = field(default=None, init=False)
    starts: int = field(default=0, init=False)
    started_at: float = field(default=0.0, init=False)
    delay: float = field(default=FIRST_DELAY, init=False)
    due_at: float | None = field(default=None, init=False)


class Supervisor:
    """Runs children inside `with`: on the way in it takes over the stop signals, on the way out it stops them all.

    Must be used from the main thread. SIGTERM, SIGINT and SIGHUP end `watch()`; while it is not watching they raise
    Stopped where the program is.
    """

    def __init__(self, *, log: Callable[[str], None]) -> None:
        self.log = log
        self.children: list[Child] = []
        self.stopping = False
        self._watching = False
        self._guard: subprocess.Popen[bytes] | None = None
        self._handlers: dict[int, object] = {}

    def __enter__(self) -> Self:
        self._wake_read, self._wake_write = os.pipe()
        for end in (self._wake_read, self._wake_write):
            os.set_blocking(end, False)
        self._old_wake = signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            self._handlers[number] = signal.signal(number, self._on_stop)
        # A handler that does nothing: the byte in the pipe is what wakes `watch` up.
        self._handlers[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, lambda number, frame: None)
        self._start_guard()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stopping = True  # a second signal must not interrupt the stopping
        self._stop_all()
        self._end_guard()
        signal.set_wakeup_fd(self._old_wake)
        for number, handler in self._handlers.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        os.close(self._wake_read)
        os.close(self._wake_write)

    def start(self, child: Child) -> None:
        """Start `child` now and keep it running from here on. Raises StartError when the first start fails."""
        self.children.append(child)
        self._start(child)

    def watch(self, until: Callable[[], bool] | None = None, every: float = 0.1) -> bool:
        """Keep the children running until a signal asks to stop (returns False), or until `until()`, asked each
        `every` seconds, is true (returns True)."""
        self._watching = True
        try:
            while not self.stopping:
                if until is not None and until():
                    return True
                self._wait(every if until is not None else None)
                self._reap()
                self._restart_due()
            return False
        finally:
            self._watching = False

    def _on_stop(self, number: int, frame: FrameType | None) -> None:
        if self.stopping:
            return
        self.stopping = True
        if not self._watching:
            raise Stopped

    def _wait(self, longest: float | None) -> None:
        due = [child.due_at for child in self.children if child.due_at is not None]
        limits = [max(0.0, min(due) - time.monotonic())] if due else []
        limits += [longest] if longest is not None else []
        # The second is a backstop only: SIGCHLD and the stop signals end the wait at once.
        select.select([self._wake_read], [], [], min([*limits, 1.0]))
        with contextlib.suppress(BlockingIOError):
            while os.read(self._wake_read, 512):
                pass

    def _start(self, child: Child) -> None:
        child.due_at = None
        child.starts += 1
        child.started_at = time.monotonic()
        process = child.start()
        child.process = process
        self._tell_guard(f"+ {process.pid} {int(child.stop_signal)} {int(child.last)}")

    def _reap(self) -> None:
        for child in self.children:
            process = child.process
            if process is None or process.poll() is None:
                continue
            # What a dead leader leaves behind would work on without it, beside its successor.
            _signal_group(process.pid, signal.SIGKILL)
            self._tell_guard(f"- {process.pid}")
            child.process = None
            if time.monotonic() - child.started_at >= STEADY:
                child.delay = FIRST_DELAY
            self._start_later(child, f"ended ({_exit(process.returncode)})")
        if self._guard is not None and self._guard.poll() is not None:
            self._start_guard()

    def _restart_due(self) -> None:
        for child in self.children:
            if self.stopping or child.due_at is None or child.due_at > time.monotonic():
                continue
            if child.ready is not None and not child.ready():
                child.due_at = time.monotonic() + FIRST_DELAY
                continue
            try:
                self._start(child)
            except (StartError, OSError) as error:
                self._start_later(child, f"could not start: {error}")

    def _start_later(self, child: Child, reason: str) -> None:
        self.log(f"{child.name} {reason}; starting it again in {child.delay:.1f} s")
        child.due_at = time.monotonic() + child.delay
        child.delay = min(child.delay * 2, LONGEST_DELAY)

    def _stop_all(self) -> None:
        deadline = time.monotonic() + STOP_WITHIN
        last = [child for child in reversed(self.children) if child.last]
        others = [child for child in reversed(self.children) if not child.last]
        _stop(others, by=min(deadline, time.monotonic() + GRACE))
        _stop(last, by=deadline - 0.5)
        for child in [*others, *last]:
            if child.process is not None:
                self._tell_guard(f"- {child.process.pid}")

    def _start_guard(self) -> None:
        if self._guard is not None and self._guard.stdin is not None:
            self._guard.stdin.close()
        self._guard = subprocess.Popen(  # noqa: S603 - this interpreter, our file
            [sys.executable, "-I", "-S", str(GUARD)], stdin=subprocess.PIPE, start_new_session=True
        )
        for child in self.children:
            if child.process is not None:
                self._tell_guard(f"+ {child.process.pid} {int(child.stop_signal)} {int(child.last)}")

    def _tell_guard(self, line: str) -> None:
        # A guard that has died is replaced by `_reap`, and the new one is told everything.
        if self._guard is not None and self._guard.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._guard.stdin.write(line.encode() + b"\n")
                self._guard.stdin.flush()

    def _end_guard(self) -> None:
        if self._guard is not None and self._guard.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._guard.stdin.close()
            self._guard.wait()


def _stop(children: Sequence[Child], *, by: float) -> None:
    """Ask all to stop, wait until `by` (monotonic), then end what is left, groups included."""
    running = [(child, child.process) for child in children if child.process is not None]
    for child, process in running:
        _signal(process, child.stop_signal)
    for child, process in running:
        if not _gone(process, by) and child.last_resort is not None:
            _signal(process, child.last_resort)
            _gone(process, time.monotonic() + 0.4)
        _signal_group(process.pid, signal.SIGKILL)
        process.wait()


def _gone(process: subprocess.Popen[bytes], by: float) -> bool:
    try:
        process.wait(timeout=max(0.0, by - time.monotonic()))
    except subprocess.TimeoutExpired:
        return False
    return True


def _signal(process: subprocess.Popen[bytes], number: int) -> None:
    if process.poll() is None:
        process.send_signal(number)


def _signal_group(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _exit(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
