"""Ends the children of a supervisor that can no longer do so itself (it was killed with SIGKILL).

Runs as a process of its own, `python -I -S guard.py`, with nothing but the standard library. The supervisor holds
the other end of standard input and names its children there, a line each:

    + PID SIGNAL LAST    a child that leads its own process group; LAST is 1 for one to stop after the others
    - PID                that child is gone

When the pipe closes, whatever is still named is told to stop, and its group is killed if it does not.
"""

import contextlib
import os
import signal
import sys
import time

GRACE = 3.0  # seconds for children to stop by themselves
LAST_GRACE = 10.0  # seconds for those that stop last: a database writes its checkpoint


def alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def end(children: dict[int, int], grace: float) -> None:
    for pid, number in children.items():
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)
    deadline = time.monotonic() + grace
    while time.monotonic() < deadline and any(alive(pid) for pid in children):
        time.sleep(0.05)
    for pid in children:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)


def main() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    for line in sys.stdin:
        sign, pid, *rest = line.split()
        first.pop(int(pid), None)
        last.pop(int(pid), None)
        if sign == "+":
            (last if rest[1] == "1" else first)[int(pid)] = int(rest[0])
    end(first, GRACE)
    end(last, LAST_GRACE)


if __name__ == "__main__":
    main()
