from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from audit.actors import Actor
from audit.services import record
from memoryhub.access.models import Workspace
from memoryhub.core.embedding.service import embedding_model
from memoryhub.core.search.indexing import queue_missing
from memoryhub.core.tenancy import in_workspace


class Command(BaseCommand):
    help = (
        "After a change of embedder: let everything that has no vector of the present model wait for the indexer. "
        "Until its turn comes an item is found by its words."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--workspace", help="One workspace's slug. Default: all of them.")

    def handle(self, *args: Any, workspace: str | None, **options: Any) -> None:
        model = embedding_model()
        if model is None:
            raise CommandError("EMBEDDER=none makes no vectors.")
        workspaces = Workspace.objects.filter(slug=workspace) if workspace else Workspace.objects.all()
        if workspace and not workspaces:
            raise CommandError(f"There is no workspace {workspace!r}.")
        for one in workspaces:
            with in_workspace(one.id):
                waiting = queue_missing(one.id, model)
                data = {"embedder": model, "rows": waiting}
                record(Actor.command("reembed"), "memory.reindexed", one, workspace_id=one.id, data=data)
            self.stdout.write(f"{one.slug}: {waiting} items wait for vectors of {model}.")
