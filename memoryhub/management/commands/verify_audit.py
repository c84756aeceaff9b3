import json
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from audit.models import INSTALLATION
from audit.sealing import anchors
from audit.sealing.log import DatabaseLog
from audit.verify import EXIT, GRAVEST, Report, check, in_words
from memoryhub.access.models import Workspace
from memoryhub.core.tenancy import in_workspace


class Command(BaseCommand):
    help = (
        "Check the audit log in the database: every sealed entry, every checkpoint, and that it holds the last "
        "checkpoint of the file of anchors. Ends with 0 when all is well, else "
        f"with {', '.join(f'{EXIT[one]} ({one})' for one in GRAVEST)}, the gravest of all workspaces."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--workspace", help="The short name of one workspace; else all, and the installation's.")
        parser.add_argument("--all-signatures", action="store_true", help="Every signature, not the newest of a key.")
        parser.add_argument("--json", action="store_true", help="One JSON object a line.")

    def handle(self, *args: Any, workspace: str | None, all_signatures: bool, **options: Any) -> None:
        chosen = Workspace.objects.order_by("slug")
        if workspace:
            chosen = chosen.filter(slug=workspace)
            if not chosen:
                raise CommandError(f"There is no workspace {workspace!r}.")
        named = [(one.slug, one.pk) for one in chosen] + ([] if workspace else [("the installation", INSTALLATION)])
        worst: Report | None = None
        for name, workspace_id in named:
            with in_workspace(workspace_id):
                kept = anchors.last(workspace_id)
                report = check(DatabaseLog(workspace_id), all_signatures=all_signatures, expect=[kept] if kept else [])
            if options["json"]:
                self.stdout.write(json.dumps({"workspace": name, "verdict": report.verdict, "entries": report.entries}))
            else:
                self.stdout.write(f"{name}\n{in_words(report)}")
            if report.exit_code and (worst is None or _graver(report, worst)):
                worst = report
        if worst is not None:
            sys.exit(worst.exit_code)


def _graver(one: Report, other: Report) -> bool:
    return GRAVEST.index(one.verdict) < GRAVEST.index(other.verdict)
