from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError

from audit.erasure import ledger
from audit.erasure.models import ErasureState
from audit.erasure.services import ledger_replay
from memoryhub.core.postgres import PostgresError
from memoryhub.storage import StorageError, own_server, put_back


class Command(BaseCommand):
    help = (
        "Replace the database by the backup in FILE, then erase again what the ledger names as erased since. The hub "
        "has to be stopped; your own Postgres has to be empty. On another host, give the ledger of the hub that the "
        "backup is of: without it nobody knows what was erased after it was made."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path, help="What `backup` wrote.")
        parser.add_argument("--ledger", type=Path, help="Another hub's erasure_ledger.jsonl, to be taken over.")

    def handle(self, *args: Any, **options: Any) -> None:
        if not options["file"].is_file():
            raise CommandError(f"There is no file {options['file']}.")
        try:
            if options["ledger"]:
                taken = ledger.take_over(options["ledger"])
                self.stdout.write(f"{taken} erasures were taken over from {options['ledger']}.")
            with own_server() as server:
                put_back(server, options["file"])
                call_command("migrate", database="owner", interactive=False, verbosity=0)
                again = ledger_replay()
        except (PostgresError, StorageError, ledger.LedgerUnreadable, OSError) as error:
            raise CommandError(str(error)) from error
        left = [one for one in again if one.state != ErasureState.COMPLETED]
        self.stdout.write(f"The backup is back. {len(again)} erasures that it knew nothing of were carried out again.")
        if left:
            raise CommandError(f"{len(left)} of them left something: look at them before the hub serves.")
