import signal
import threading
from typing import Any

import structlog
from django.core.management.base import BaseCommand, CommandParser
from django.db import InterfaceError, OperationalError, close_old_connections, connection

from memoryhub.access.models import Workspace
from memoryhub.core.embedding import EmbedderUnavailable
from memoryhub.core.search.indexing import index_pending, release_claims

log = structlog.get_logger(__name__)

REST_SECONDS = 0.2
AFTER_FAILURE_SECONDS = 5.0


class Command(BaseCommand):
    help = "Make the vectors of what was written. Runs until it is stopped; `up` starts it."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--once", action="store_true", help="Stop when nothing waits any more.")

    def handle(self, *args: Any, once: bool, **options: Any) -> None:
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        took_over = False
        while not stop.is_set():
            try:
                workspaces = list(Workspace.objects.values_list("pk", flat=True))
                if not took_over:
                    # One indexer a hub: what another had claimed when it ended need not wait for its lease.
                    for pk in workspaces:
                        release_claims(pk)
                    took_over = True
                taken = sum(index_pending(pk) for pk in workspaces)
            except EmbedderUnavailable as error:
                log.warning("indexer.embedder_unavailable", reason=error.cause)
                stop.wait(AFTER_FAILURE_SECONDS)
                continue
            except (OperationalError, InterfaceError) as error:
                log.warning("indexer.database_unavailable", reason=type(error).__name__)
                connection.close()
                stop.wait(1.0)
                continue
            if not taken:
                if once:
                    return
                close_old_connections()
                stop.wait(REST_SECONDS)
