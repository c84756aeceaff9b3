"""`manage.py up`: the whole hub under one parent."""

import http.client
import os
import secrets
import socket
import subprocess
import sys
import time
from argparse import ArgumentParser
from functools import partial
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import connections

from audit.erasure.ledger import LedgerUnreadable
from audit.erasure.models import ErasureState
from audit.erasure.services import ledger_replay
from memoryhub import desk, erasing, retaining, verifying
from memoryhub.bootstrap import bootstrap
from memoryhub.core.observability import metrics
from memoryhub.core.postgres import EmbeddedPostgres, PostgresError
from memoryhub.core.processes import memory_of_children
from memoryhub.core.supervisor import Child, Stopped, Supervisor, spawn

# What runs beside the web server: the name of the process and its management command.
BACKGROUND = {"worker": ("qcluster",), "indexer": ("indexer",), "sealer": ("sealer",)} | {
    name: ("extractor", "--name", name)
    for name in (f"extractor-{number}" for number in range(1, settings.EXTRACTOR_WORKERS + 1))
}
READY_WITHIN = 60.0  # seconds
HOPELESS = 4  # starts of the web server without an answer

FIRST_START = """\
First start. These are shown once and kept nowhere in clear:

    sign in     {first.username}
    password    {first.password}
    API key     {first.api_key}

A new password: manage.py reset_admin_password.  Another key: manage.py create_api_key --agent NAME.
"""


class Command(BaseCommand):
    help = "Start the database, the web server and the workers, and keep them running until Ctrl-C or SIGTERM."
    # Checked below, after the free port and the reachable database, whose absence explains more.
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--host", default="127.0.0.1", help="address to listen on (127.0.0.1)")
        parser.add_argument("--port", type=int, default=8000, help="port to listen on; 0 picks a free one (8000)")
        parser.add_argument("--workers", type=int, default=settings.WEB_WORKERS, help="web processes (WEB_WORKERS)")
        parser.add_argument("--no-demo", action="store_true", help="leave out the demonstration")
        parser.add_argument("--report-memory", action="store_true", help="print the memory in use when ready")

    def handle(self, *args: Any, **options: Any) -> None:
        listener = reserved(options["host"], options["port"])
        try:
            with Supervisor(log=self.note) as supervisor:
                self.run(supervisor, listener, **options)
        except Stopped:
            pass
        except PostgresError as error:
            raise CommandError(str(error)) from error
        finally:
            listener.close()
        self.note("Stopped.")

    def run(self, supervisor: Supervisor, listener: socket.socket, **options: Any) -> None:
        """Bring everything up in order, then watch it until asked to stop."""
        make_secret_key(settings.DATA_DIR)
        self.check()
        server = EmbeddedPostgres(settings.DATA_DIR) if settings.EMBEDDED_DATABASE else None
        if server is not None:
            supervisor.start(server.child())
            server.wait_ready()
        call_command("migrate", database="owner", interactive=False, verbosity=0)
        self.check(tags=["database"], databases=["default", "owner"])
        first = bootstrap(demo=not options["no_demo"])
        self.keep_erased()
        erasing.schedule_sweep()
        desk.schedule_sweep()
        retaining.schedule_sweep()
        verifying.schedule_sweep()
        connections.close_all()
        metrics.start_afresh(metrics_directory())
        if first is not None:
            self.note(FIRST_START.format(first=first))

        listener.listen(2048)
        web = Child("web", partial(start_web, listener, workers=options["workers"]))
        supervisor.start(web)
        for name, command in BACKGROUND.items():
            # Without the database it would only die again; the web server can at least say what is missing.
            ready = server.ready if server is not None else None
            supervisor.start(Child(name, partial(start_command, name, *command), ready=ready))

        host, port = listener.getsockname()[:2]
        begun = time.monotonic()

        def settled() -> bool:
            return answers(host, port) or web.starts >= HOPELESS or time.monotonic() - begun > READY_WITHIN

        if supervisor.watch(until=settled):
            if web.starts >= HOPELESS:
                raise CommandError("The web server does not start: the reason is above.")
            if not answers(host, port):
                self.note(f"/readyz does not answer with 200 after {READY_WITHIN:.0f} s; it says why. Running on.")
            self.announce(host, port, report_memory=options["report_memory"])
            supervisor.watch()

    def keep_erased(self) -> None:
        """What the ledger says was erased, and an older state of the database brought back, goes before anybody asks.

        What was merely interrupted is finished here too.
        """
        try:
            again = ledger_replay()
        except LedgerUnreadable as error:
            raise CommandError(
                f"The ledger of erasures cannot be read: {error}. Nothing is served before it is known what was "
                "erased: put back a copy of the ledger."
            ) from error
        left = [erasure for erasure in again if erasure.state != ErasureState.COMPLETED]
        if again:
            self.note(f"{len(again)} erasures of the ledger were carried out again, {len(left)} left something.")
        if left:
            raise CommandError(
                "Something that was erased is back and could not be erased again: "
                f"{', '.join(str(erasure.id) for erasure in left[:5])}. `manage.py erase_subject` and the log say more."
            )

    def announce(self, host: str, port: int, *, report_memory: bool) -> None:
        if report_memory:
            for name, megabytes in memory_of_children(os.getpid()):
                self.stdout.write(f"{name:<40} {megabytes:8.1f} MB")
        self.note(f"MemoryHub is ready at http://{f'[{host}]' if ':' in host else host}:{port}/  (Ctrl-C stops it)")

    def note(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()


def reserved(host: str, port: int) -> socket.socket:
    """A socket bound to the address. The web server inherits it: while that restarts, connections wait for it."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except (OSError, OverflowError) as error:
        raise CommandError(f"Cannot listen on {host}:{port}: {error}") from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise CommandError(
            f"Cannot listen on {host}:{port}: {os.strerror(error.errno or 0)}. "
            "Choose another port: make run PORT=8001, or manage.py up --port 8001."
        ) from error
    return listener


def make_secret_key(data_dir: Path) -> None:
    """Keep a secret key in the data directory, unless the environment gives one, and use it in this process too."""
    if os.environ.get("SECRET_KEY"):
        return
    path = data_dir / "secret_key"
    if not path.exists():
        data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        fresh = path.with_name(f"secret_key.{os.getpid()}")
        with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(64) + "\n")
        fresh.rename(path)
    settings.SECRET_KEY = path.read_text().strip()


def start_web(listener: socket.socket, *, workers: int) -> "subprocess.Popen[bytes]":
    arguments = [
        "--config",
        "python:memoryhub.webserver",
        "--bind",
        f"fd://{listener.fileno()}",
        "--workers",
        str(workers),
    ]
    return spawn(
        [sys.executable, "-m", "gunicorn", *arguments, "memoryhub.wsgi"],
        env=environment("web"),
        cwd=settings.BASE_DIR,
        pass_fds=[listener.fileno()],
    )


def start_command(name: str, *command: str) -> "subprocess.Popen[bytes]":
    return spawn([sys.executable, "manage.py", *command], env=environment(name), cwd=settings.BASE_DIR)


def environment(process: str) -> dict[str, str]:
    return {
        # More threads for numpy made it slower; fewer arenas keep the memory of threaded processes down.
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "MALLOC_ARENA_MAX": "2",
        "PYTHONUNBUFFERED": "1",
        metrics.MULTIPROC_DIR: str(metrics_directory()),
        **os.environ,
        # What serves never works as the owner of the tables, and is not told how to reach it.
        "DATABASE_OWNER_URL": "",
        "MEMORYHUB_PROCESS": process,
        "DJANGO_SETTINGS_MODULE": os.environ.get("DJANGO_SETTINGS_MODULE", "memoryhub.settings"),
    }


def metrics_directory() -> Path:
    """Where all processes of this hub count; a directory in memory spares the disk."""
    return Path(os.environ.get(metrics.MULTIPROC_DIR) or settings.DATA_DIR / "metrics")


def answers(host: str, port: int) -> bool:
    """Whether the web server says that it is ready. An answer that is neither yes nor 503 means it cannot be asked
    from here (a public host name, HTTPS only), and counts."""
    anywhere = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - where it is asked # nosec B104
    connection = http.client.HTTPConnection(anywhere.get(host, host), port, timeout=2)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status < 500
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
