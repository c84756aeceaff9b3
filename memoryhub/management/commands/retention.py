from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from audit.actors import Actor
from facts.visibility import policy_of
from memoryhub.access.models import Workspace
from memoryhub.access.retention import KINDS
from memoryhub.core.tenancy import in_workspace
from memoryhub.retaining import Due, audit_due, preview, workspace_sweep


class Command(BaseCommand):
    help = (
        "Show what has been kept for as long as its workspace keeps it: how many things of each kind would go, the "
        "oldest of them, and how many a legal hold or a running erasure holds back. With --apply they are removed, as "
        "the hub does once a day. Ends with 0 whether or not something was due, with 1 when there is no such workspace."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--workspace", help="Only this workspace, by its slug. Default: all of them.")
        parser.add_argument("--apply", action="store_true", help="Remove them. It cannot be taken back.")

    def handle(self, *args: Any, **options: Any) -> None:
        workspaces = Workspace.objects.order_by("slug")
        if options["workspace"]:
            workspaces = workspaces.filter(slug=options["workspace"])
            if not workspaces:
                raise CommandError(f"There is no workspace {options['workspace']!r}.")
        for workspace in workspaces:
            with in_workspace(workspace.id):
                rules = policy_of(workspace.id)
                due = [
                    *preview(workspace_id=workspace.id, rules=rules),
                    audit_due(workspace_id=workspace.id, rules=rules),
                ]
            self._tell(workspace.slug, due)
            if options["apply"]:
                swept = workspace_sweep(workspace_id=workspace.id, actor=Actor.command("retention"))
                items, rows = sum(one.items for one in swept), sum(one.rows for one in swept)
                self.stdout.write(f"{workspace.slug}: removed {items} things, {rows} rows with what hangs on them.")
        if not options["apply"]:
            self.stderr.write("Nothing was removed: run it again with --apply.")

    def _tell(self, slug: str, due: list[Due]) -> None:
        self.stdout.write(f"{slug:<32} {'days':>6} {'due':>9} {'held back':>9}  oldest")
        for one in due:
            note = "" if KINDS[one.kind].swept else "  (not removed by this)"
            oldest = f"{one.oldest:%Y-%m-%d}" if one.oldest else "-"
            days = "-" if one.days is None else str(one.days)
            self.stdout.write(f"  {KINDS[one.kind].label:<30} {days:>6} {one.items:>9} {one.held:>9}  {oldest}{note}")
