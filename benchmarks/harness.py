"""What every benchmark needs: a hub (its own, or one that runs), a table, and a last line that says PASS or FAIL."""

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import httpx

from memoryhub.core.postgres import OWNER, EmbeddedPostgres

ROOT = Path(__file__).resolve().parent.parent
STARTS_WITHIN, STOPS_WITHIN, INDEXES_WITHIN = 120.0, 10.0, 1800.0  # seconds


@dataclass(frozen=True)
class Hub:
    """A hub that answers. `data_dir` and `pid` (of `up`) are known only of one's own."""

    url: str
    key: str
    data_dir: Path | None = None
    pid: int | None = None

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}


def add_hub_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--url", help="a hub that runs already; without it one is started in a temporary directory")
    parser.add_argument("--key", help="an API key of that hub")
    parser.add_argument("--small", action="store_true", help="a reduced size, as CI runs it")


@contextlib.contextmanager
def hub(arguments: argparse.Namespace, *, environment: Mapping[str, str] | None = None) -> Iterator[Hub]:
    """The hub that `--url` and `--key` name, or a fresh one of one's own that stops at the end."""
    if arguments.url:
        if not arguments.key:
            sys.exit("--url needs --key")
        yield Hub(arguments.url.rstrip("/"), arguments.key)
        return
    with tempfile.TemporaryDirectory(prefix="memoryhub-") as directory:
        Path(directory).chmod(0o755)  # noqa: S103 - the database server may run as another user
        with own_hub(Path(directory), environment or {}) as own:
            yield own


@contextlib.contextmanager
def own_hub(data_dir: Path, environment: Mapping[str, str]) -> Iterator[Hub]:
    """`manage.py up` on a free port and `data_dir`, in a session of its own, until the block ends."""
    log = data_dir / "up.log"
    command = [sys.executable, "manage.py", "up", "--port", "0", "--no-demo"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=os.environ | {"MEMORYHUB_DATA_DIR": str(data_dir)} | dict(environment),
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            url, key = _announced(process, log)
            yield Hub(url, key, data_dir, process.pid)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOPS_WITHIN)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def owner_dsn(at: Hub) -> str:
    """Where the tables' owner, whom no policy binds, reaches the database of one's own hub."""
    if at.data_dir is None:
        sys.exit("The data directory is not known: this benchmark starts its own hub.")
    return EmbeddedPostgres(at.data_dir).dsn(OWNER)


def join(at: Hub, **environment: str) -> None:
    """Make this process one of the hub's own: its settings, its models, its database as the runtime role."""
    os.environ |= {
        "MEMORYHUB_DATA_DIR": str(at.data_dir),
        "DJANGO_SETTINGS_MODULE": "memoryhub.settings",
        "LOG_LEVEL": "ERROR",
    } | environment
    import django

    django.setup()


def wait_until_indexed(at: Hub, within: float = INDEXES_WITHIN) -> None:
    """Return when nothing waits for its vectors any more; exit when that takes longer than `within` seconds."""
    deadline = time.monotonic() + within
    calm = 0
    # The hub answers from a look that may be two seconds old: two calm answers further apart than that are the truth.
    while calm < 2:
        if time.monotonic() > deadline:
            sys.exit("Things still wait for their vectors; giving up.")
        waiting = httpx.get(f"{at.url}/readyz", timeout=10).json()["parts"]["indexing"]["waiting"]
        calm = calm + 1 if waiting == 0 else 0
        time.sleep(2.5 if calm == 1 else 0.5)


def print_table(titles: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    cells = [list(titles), *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(row[at]) for row in cells) for at in range(len(titles))]
    for number, row in enumerate(cells):
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
        if number == 0:
            print("  ".join("-" * width for width in widths))


def finish(promise_holds: bool, figures: str) -> NoReturn:
    """Print the verdict as the last line and exit with it."""
    print(f"{'PASS' if promise_holds else 'FAIL'} {figures}")
    sys.exit(0 if promise_holds else 1)


def _announced(process: "subprocess.Popen[bytes]", log: Path) -> tuple[str, str]:
    """The address and the first key, as `up` prints them."""
    deadline = time.monotonic() + STARTS_WITHIN
    while time.monotonic() < deadline and process.poll() is None:
        text = log.read_text(errors="replace")
        if "MemoryHub is ready at " in text:
            url = text.split("MemoryHub is ready at ")[1].split()[0].rstrip("/")
            return url, text.split("API key")[1].split()[0]
        time.sleep(0.1)
    sys.exit(f"The hub did not start:\n{log.read_text(errors='replace')[-2000:]}")
