from typing import Any

from django.core.management.base import BaseCommand, CommandError

from audit.actors import Actor
from audit.models import INSTALLATION
from audit.services import record
from memoryhub.core.postgres import PostgresError
from memoryhub.core.tenancy import in_workspace
from memoryhub.storage import PURGING, StorageError, own_server, purge, remove_server_logs


class Command(BaseCommand):
    help = (
        "Remove the bytes of what was erased: rewrite every table, let go of the old write-ahead log, remove the "
        "embedded server's log. In a maintenance window: an embedded hub has to be stopped; on your own Postgres each "
        "table is locked while it is rewritten. Needs as much free space as the largest table takes."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            with own_server(PURGING) as server:
                done = purge(server)
                with in_workspace(INSTALLATION):
                    record(
                        Actor.command("purge_storage"),
                        "storage.purged",
                        workspace_id=INSTALLATION,
                        outcome="ok" if done.complete else "degraded",
                        data={"tables": done.tables, "log_switched": done.log_switched, "statistics": done.statistics},
                    )
            if server is not None:
                remove_server_logs(server)
        except (PostgresError, StorageError) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"{done.tables} tables were rewritten.")
        if server is not None:
            self.stdout.write(
                "The old write-ahead log and the server's log are gone. Of what was erased before now no byte is left "
                "in the files of the database. What a disk keeps of removed files, and backups, are outside of it."
            )
        for left in done.left:
            self.stdout.write(f"Not done: {left}.")
