import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser

from audit.actors import Actor
from audit.models import INSTALLATION
from audit.sealing.log import DatabaseLog
from audit.sealing.verifying import expected, verification_ask, verification_run
from audit.verify import EXIT, GRAVEST, UNREADABLE, check, in_words, kept_checkpoint
from memoryhub.access.models import Workspace
from memoryhub.core.tenancy import in_workspace


class Command(BaseCommand):
    help = (
        "Check the audit log in the database: every sealed entry, every checkpoint, and that it holds the last "
        "checkpoint of the file of anchors. Ends with 0 when all is well, else "
        f"with {', '.join(f'{EXIT[one]} ({one})' for one in GRAVEST)}, the gravest of all workspaces; with "
        f"{UNREADABLE} when what it was given cannot be read. Writes nothing but with --record."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--workspace", help="The short name of one workspace; else all, and the installation's.")
        parser.add_argument("--all-signatures", action="store_true", help="Every signature, not the newest of a key.")
        parser.add_argument(
            "--expect",
            action="append",
            default=[],
            metavar="CHECKPOINT",
            help="A checkpoint you kept, as a file whose last line it is, or as SIZE:ROOT with --workspace: TRUNCATED "
            "and FORKED tell that the log does not lead on from it. May be given several times.",
        )
        parser.add_argument("--receipt", action="append", default=[], help="A receipt whose entry must be in the log.")
        parser.add_argument("--trust", action="append", default=[], metavar="KEY", help="The only keys that may sign.")
        parser.add_argument(
            "--record",
            action="store_true",
            help="Keep the verdict for the console and /metrics, as the daily run does; for logs that are too long for "
            "it. Takes no checkpoints, receipts or keys.",
        )
        parser.add_argument("--json", action="store_true", help="One JSON object a line.")

    def handle(self, *args: Any, workspace: str | None, record: bool, **options: Any) -> None:
        chosen = Workspace.objects.order_by("slug")
        if workspace:
            chosen = chosen.filter(slug=workspace)
            if not chosen:
                raise CommandError(f"There is no workspace {workspace!r}.", returncode=UNREADABLE)
        named = [(one.slug, one.pk) for one in chosen] + ([] if workspace else [("the installation", INSTALLATION)])
        kept = _kept(options["expect"], [workspace_id for _, workspace_id in named])
        if record and (kept or options["receipt"] or options["trust"] or options["all_signatures"]):
            raise CommandError("What --record keeps is of the daily run's kind: give it alone.", returncode=UNREADABLE)
        if options["receipt"] and not workspace:
            raise CommandError("A receipt is of one log: say which --workspace.", returncode=UNREADABLE)
        worst = ""
        for name, workspace_id in named:
            if record:
                verdict, entries, words = _recorded(workspace_id)
            else:
                with in_workspace(workspace_id):
                    report = check(
                        DatabaseLog(workspace_id),
                        all_signatures=options["all_signatures"],
                        expect=[*expected(workspace_id), *(one for one in kept if _is_of(one, workspace_id))],
                        receipts=options["receipt"],
                        trust=options["trust"],
                    )
                verdict, entries, words = report.verdict, report.entries, in_words(report)
            if options["json"]:
                self.stdout.write(json.dumps({"workspace": name, "verdict": verdict, "entries": entries}))
            else:
                self.stdout.write(f"{name}\n{words}")
            if EXIT[verdict] and (not worst or GRAVEST.index(verdict) < GRAVEST.index(worst)):
                worst = verdict
        if worst:
            sys.exit(EXIT[worst])


def _kept(given: Sequence[str], logs: Sequence[UUID]) -> list[Mapping[str, Any]]:
    """Each of `given` must be of a log that is checked: one that nobody looks at must not pass for one that holds."""
    try:
        kept = [kept_checkpoint(one) for one in given]
    except (OSError, ValueError, IndexError) as error:
        raise CommandError(f"--expect: {error}", returncode=UNREADABLE) from error
    for one in kept:
        if "workspace" not in one and len(logs) > 1:
            raise CommandError("SIZE:ROOT is of one log: say which --workspace.", returncode=UNREADABLE)
        if not any(_is_of(one, log) for log in logs):
            raise CommandError("--expect: a checkpoint of a log that is not checked here.", returncode=UNREADABLE)
    return kept


def _is_of(checkpoint: Mapping[str, Any], workspace_id: UUID) -> bool:
    return checkpoint.get("workspace", str(workspace_id)) == str(workspace_id)


def _recorded(workspace_id: UUID) -> tuple[str, int, str]:
    with in_workspace(workspace_id):
        run, _ = verification_ask(workspace_id=workspace_id, actor=Actor.command("verify_audit"))
    verdict = verification_run(run.id, workspace_id=workspace_id)
    if verdict is None:
        raise CommandError("The log is being checked by somebody else.", returncode=UNREADABLE)
    words = [
        f"{verdict.verdict}: {verdict.entries} entries read, {verdict.size} sealed",
        f"  root {verdict.root or '-'}",
    ]
    words += [f"  {kind}: {where}" for kind, where in verdict.findings]
    return verdict.verdict, verdict.entries, "\n".join(words)
