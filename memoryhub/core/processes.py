"""Memory of the processes under a parent, for reports (Linux; elsewhere nothing is known)."""

from pathlib import Path


def memory_of_children(parent: int) -> list[tuple[str, float]]:
    """(command, MB) of each process under `parent` and of itself, then the total.

    MB (10^6 bytes) is the proportional set size: pages that several processes share count once altogether.
    """
    children: dict[int, list[int]] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            # The name, in parentheses, may hold anything; the parent's id is the second field after it.
            ppid = int(status.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        children.setdefault(ppid, []).append(int(status.parent.name))
    found, waiting = [], [parent]
    while waiting:
        pid = waiting.pop()
        waiting += reversed(children.get(pid, []))
        megabytes = _proportional_megabytes(pid)
        if megabytes is not None:
            found.append((_command(pid), megabytes))
    return [*found, ("total", sum(megabytes for _, megabytes in found))]


def _proportional_megabytes(pid: int) -> float | None:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("Pss:")), None)


def _command(pid: int) -> str:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").split()
    except OSError:
        return str(pid)
    return " ".join(Path(word).name if "/" in word else word for word in words[:4])[:40]
