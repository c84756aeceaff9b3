import logging
import os
import signal
import socket
import threading
from typing import Any

import structlog
from django.core.management.base import BaseCommand, CommandParser
from django.db import InterfaceError, OperationalError, close_old_connections, connection

from facts.extraction.extractors import make_extractor
from facts.extraction.worker import REST_SECONDS, Worker

log = structlog.get_logger(__name__)


class Command(BaseCommand):
    help = "Read what was said for facts. Runs until it is stopped; `up` starts EXTRACTOR_WORKERS of it."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--once", action="store_true", help="Stop when nothing is due any more.")
        parser.add_argument(
            "--name", default="", help="A worker of the same name ends the leases this one leaves when it dies."
        )

    def handle(self, *args: Any, once: bool, name: str, **options: Any) -> None:
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        extractor = make_extractor()
        if extractor is None:
            if not once:
                stop.wait()  # `up` would start it again
            return
        worker = Worker(extractor, name=f"{socket.gethostname()}:{name or os.getpid()}"[:100])
        try:
            while not stop.is_set():
                try:
                    busy = worker.step()
                except (OperationalError, InterfaceError) as error:
                    log.warning("extractor.database_unavailable", reason=type(error).__name__)
                    connection.close()
                    stop.wait(1.0)
                    continue
                if not busy:
                    if once:
                        return
                    close_old_connections()
                    stop.wait(REST_SECONDS)
        finally:
            if worker.close():
                # A call to the provider may take minutes, and its answer would be thrown away.
                logging.shutdown()
                os._exit(0)
