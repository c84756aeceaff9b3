from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from memoryhub.core.postgres import EmbeddedPostgres, PostgresError
from memoryhub.storage import StorageError, dump, own_server


class Command(BaseCommand):
    help = (
        "Write all of the database into FILE, which holds people's memory in clear: keep it as safe as that. "
        "Works while the hub runs. Keep copies of erasure_ledger.jsonl and erasure_key of the data directory apart "
        "from it: it is older than what is erased after it, and `restore` needs the ledger to know that."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path, help="Where to; an existing file is replaced once the new one is whole.")

    def handle(self, *args: Any, **options: Any) -> None:
        target: Path = options["file"].absolute()
        try:
            running = EmbeddedPostgres(settings.DATA_DIR) if settings.EMBEDDED_DATABASE else None
            if running is None or running.ready():
                dump(running, target)
            else:
                with own_server() as server:
                    dump(server, target)
        except (PostgresError, StorageError, OSError) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"{target} holds the database ({target.stat().st_size:,} bytes).")
