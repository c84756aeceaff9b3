from argparse import ArgumentParser, ArgumentTypeError
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from audit.actors import Actor
from audit.models import INSTALLATION
from audit.sealing.keys import KeyUnusable
from audit.sealing.pruning import BATCH, NotTheOwner, Plan, prune, prune_plan
from facts.visibility import policy_of
from memoryhub.access.models import Workspace
from memoryhub.core.tenancy import in_workspace


def _day(text: str) -> datetime:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is no day: write it as 2026-01-31") from None
    return datetime.combine(day, time.min, UTC)


def _count(text: str) -> int:
    if not text.isdigit() or not 0 < int(text) <= 10_000_000:
        raise ArgumentTypeError(f"{text!r} is not a number from 1 to 10,000,000")
    return int(text)


class Command(BaseCommand):
    help = (
        "Show which entries of the audit log are older than their workspace keeps them; with --yes remove them, as the "
        "owner of the tables. Whole checkpoints go, from the first entry on, up to the first entry about somebody "
        "under a legal hold. Leaf hashes and checkpoints stay, and a signed record is left: verify_audit and every "
        "bundle say PRUNED_OK. A run that was killed is carried on by the next one."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--workspace", help="Only this workspace, by its slug. Default: all of them.")
        parser.add_argument(
            "--before",
            type=_day,
            metavar="DAY",
            help="Entries of before this day (UTC) may go, in the installation's own log too. Default: what each "
            "workspace's retention says.",
        )
        parser.add_argument("--yes", action="store_true", help="Remove them. It cannot be taken back.")
        parser.add_argument(
            "--batch",
            type=_count,
            default=BATCH,
            metavar="N",
            help="About so many entries go in one transaction, during which nobody else can write to the log. "
            "Default: %(default)s.",
        )

    def handle(self, *args: Any, workspace: str | None, before: datetime | None, **options: Any) -> None:
        chosen = Workspace.objects.order_by("slug")
        if workspace:
            chosen = chosen.filter(slug=workspace)
            if not chosen:
                raise CommandError(f"There is no workspace {workspace!r}.")
        logs = [(one.slug, one.pk, before or _kept_from(one.pk)) for one in chosen]
        if before and not workspace:
            logs.append(("the installation", INSTALLATION, before))
        for name, workspace_id, until in logs:
            if until is None:
                self.stdout.write(f"{name}: keeps its log for good.")
                continue
            with in_workspace(workspace_id):
                plan = prune_plan(workspace_id=workspace_id, before=until)
            self.stdout.write(f"{name}: {_says(plan, until)}")
            if options["yes"]:
                try:
                    removed = prune(
                        workspace_id=workspace_id,
                        before=until,
                        actor=Actor.command("prune_audit"),
                        batch=options["batch"],
                    )
                except (NotTheOwner, KeyUnusable) as error:
                    raise CommandError(str(error)) from error
                self.stdout.write(f"{name}: removed {removed} entries.")
        if not options["yes"]:
            self.stderr.write("Nothing was removed: run it again with --yes.")


def _kept_from(workspace_id: UUID) -> datetime | None:
    with in_workspace(workspace_id):
        days = policy_of(workspace_id).keep_audit_days
    return None if days is None else timezone.now() - timedelta(days=days)


def _says(plan: Plan, until: datetime) -> str:
    held = f" A legal hold keeps {plan.held} more." if plan.held else ""
    if not plan.entries or plan.oldest is None or plan.newest is None:
        return f"nothing to remove of before {until:%Y-%m-%d}.{held}"
    return (
        f"{plan.entries} entries can go, from {plan.oldest:%Y-%m-%d} to {plan.newest:%Y-%m-%d}, up to checkpoint "
        f"{plan.number}.{held}"
    )
