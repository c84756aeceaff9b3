from typing import Any

from django.core.management.base import BaseCommand

from audit.actors import Actor
from audit.models import INSTALLATION, Checkpoint
from audit.sealing import anchors
from audit.sealing.services import as_told, seal_all
from audit.services import record
from audit.verify import hash_of
from memoryhub.access.models import Workspace
from memoryhub.core.tenancy import in_workspace


class Command(BaseCommand):
    help = (
        "After a backup was put back: let the audit log go on where the backup ends. The checkpoints that were signed "
        "later stay in the file of anchors, an entry tells of it, and whoever holds one of them sees TRUNCATED or "
        "FORKED. Without this the sealer refuses to seal on top of a log that lost its end."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        accepted = 0
        for workspace_id in [*Workspace.objects.values_list("pk", flat=True), INSTALLATION]:
            with in_workspace(workspace_id):
                kept = anchors.last(workspace_id)
                last = Checkpoint.objects.filter(workspace_id=workspace_id).order_by("-number").first()
                number = last.number if last else 0
                if kept is None or kept["number"] < number:
                    continue
                if last is not None and kept["number"] == number and hash_of(as_told(last)) == hash_of(kept):
                    continue
                record(
                    Actor.command("accept_restored_log"),
                    "audit.restored",
                    workspace_id=workspace_id,
                    data={"known": kept["number"], "number": number, "digest": hash_of(kept)},
                )
                anchors.accept(workspace_id, number)
            seal_all(workspace_id)
            accepted += 1
        self.stdout.write(f"{accepted} logs go on from what was put back. Tell your auditors.")
