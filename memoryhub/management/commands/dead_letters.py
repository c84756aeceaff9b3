import time
from datetime import datetime
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils.dateparse import parse_datetime

from audit.actors import Actor
from facts.extraction.claims import FAILURES
from facts.extraction.replay import AT_ONCE, DeadLetterFilter, dead_letters_replay, replay_progress
from memoryhub.access.models import Workspace
from memoryhub.core.tenancy import in_workspace
from memoryhub.core.text import visible_line


class Command(BaseCommand):
    help = "List the windows of turns that were given up on, or let them be read again. Shows no content."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("what", choices=["list", "replay"], nargs="?", default="list")
        parser.add_argument("--workspace", default="default", help="its slug (default)")
        parser.add_argument("--error", choices=FAILURES, metavar="CAUSE", default="", help="only those of this cause")
        parser.add_argument("--session", default="", help="only those of this session, by the caller's id")
        parser.add_argument(
            "--id", type=UUID, action="append", default=[], dest="ids", help="only this one; repeatable"
        )
        parser.add_argument("--since", type=_moment, help="given up from this moment on, such as 2026-03-01T09:00Z")
        parser.add_argument("--before", type=_moment, help="given up before this moment")
        parser.add_argument("--all", action="store_true", help="replay: every one of them")
        parser.add_argument("--wait", type=float, default=0.0, metavar="SECONDS", help="replay: tell how it went on")

    def handle(self, *args: Any, what: str, **options: Any) -> None:
        workspace = Workspace.objects.filter(slug=options["workspace"]).first()
        if workspace is None:
            raise CommandError(f"There is no workspace {options['workspace']!r}.")
        which = DeadLetterFilter(
            error=options["error"],
            session=options["session"],
            since=options["since"],
            before=options["before"],
            ids=tuple(options["ids"]),
        )
        if what == "list":
            self.list(workspace, which)
        else:
            if (which == DeadLetterFilter()) != options["all"]:
                raise CommandError("Name which ones, or say --all: one of the two.")
            self.replay(workspace, which, options["wait"])

    def list(self, workspace: Workspace, which: DeadLetterFilter) -> None:
        with in_workspace(workspace.id):
            rows = list(which.of(workspace.id).select_related("session").order_by("-finished_at", "-id")[:AT_ONCE])
            total = which.of(workspace.id).count()
        for row in rows:
            at = f"{row.finished_at:%Y-%m-%d %H:%M}" if row.finished_at else ""
            window = f"{row.first_index}-{row.last_index}"
            session = visible_line(row.session.external_id)
            self.stdout.write(f"{row.id}  {at:<16}  {row.error:<22} {row.attempts} attempts  {window:>9} of {session}")
        self.stdout.write(f"{total} dead letter{'' if total == 1 else 's'}")

    def replay(self, workspace: Workspace, which: DeadLetterFilter, wait: float) -> None:
        replayed = dead_letters_replay(workspace_id=workspace.id, which=which, actor=Actor.command("dead_letters"))
        self.stdout.write(f"{replayed.windows} wait to be read again")
        deadline = time.monotonic() + wait
        while wait and replayed.windows:
            with in_workspace(workspace.id):
                progress = replay_progress(workspace_id=workspace.id, replay=replayed.id)
            self.stdout.write(f"done {progress.done}, dead again {progress.dead}, waiting {progress.waiting}")
            if not progress.waiting or time.monotonic() >= deadline:
                return
            time.sleep(min(2.0, max(deadline - time.monotonic(), 0.0)))


def _moment(text: str) -> datetime:
    at = parse_datetime(text)
    if at is None or at.tzinfo is None:
        raise ValueError(f"{text!r} is no moment with a time zone")
    return at
