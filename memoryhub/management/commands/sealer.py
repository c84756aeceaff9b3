import signal
import threading
import time
from typing import Any

import structlog
from django.core.management.base import BaseCommand, CommandParser
from django.db import IntegrityError, InterfaceError, OperationalError, close_old_connections, connection

from audit.models import INSTALLATION
from audit.sealing.handover import hand_over, places
from audit.sealing.services import LogForked, seal, seal_all, waiting
from memoryhub.access.models import Workspace

log = structlog.get_logger(__name__)

REST_SECONDS = 0.25
IDLE_SECONDS = 60.0
"""How often it looks for workspaces in which nothing happened."""
AFTER_FORK_SECONDS = 60.0
HAND_OVER_SECONDS = 1.0
"""How often it looks whether a place outside lacks checkpoints."""


class Command(BaseCommand):
    help = (
        "Seal the audit log: places in the Merkle tree, signed checkpoints. Runs until it is stopped; `up` starts it."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--once", action="store_true", help="Seal what waits now, and stop.")

    def handle(self, *args: Any, once: bool, **options: Any) -> None:
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        if places() and not once:
            # Beside the sealing, which waits for no folder and no command.
            threading.Thread(target=hand_over_until, args=[stop], name="anchors", daemon=True).start()
        looked = 0.0
        given_up: dict[Any, float] = {}
        while not stop.is_set():
            idle = once or time.monotonic() - looked >= IDLE_SECONDS
            sealed = 0
            try:
                for workspace_id in waiting(idle=idle):
                    if given_up.get(workspace_id, 0.0) > time.monotonic():
                        continue
                    try:
                        sealed += seal_all(workspace_id) if once else seal(workspace_id).sealed
                    except LogForked as error:
                        log.error("sealer.refuses", workspace=str(workspace_id), reason=str(error))
                        given_up[workspace_id] = time.monotonic() + AFTER_FORK_SECONDS
            except (OperationalError, InterfaceError) as error:
                log.warning("sealer.database_unavailable", reason=type(error).__name__)
                connection.close()
                stop.wait(1.0)
                continue
            except OSError as error:
                # The checkpoint stands in the database; the file of anchors lacks it.
                log.error("sealer.file_unwritable", reason=type(error).__name__)
                stop.wait(1.0)
            except IntegrityError:
                # Somebody without the lock was faster: look again.
                log.warning("sealer.overtaken")
            if idle:
                looked = time.monotonic()
            if once:
                hand_over_all()
                return
            if not sealed:
                close_old_connections()
                stop.wait(REST_SECONDS)


def hand_over_until(stop: threading.Event) -> None:
    """Give the places outside what they lack, until told to stop."""
    while not stop.wait(HAND_OVER_SECONDS):
        try:
            hand_over_all()
        except (OperationalError, InterfaceError) as error:
            log.warning("sealer.database_unavailable", reason=type(error).__name__)
            connection.close()


def hand_over_all() -> None:
    if places():
        for workspace_id in [*Workspace.objects.values_list("pk", flat=True), INSTALLATION]:
            hand_over(workspace_id)
