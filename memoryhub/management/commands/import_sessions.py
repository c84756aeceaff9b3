from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from memoryhub.access.models import Workspace
from memoryhub.access.services import agent_get_or_create
from memoryhub.bootstrap import DEFAULT_WORKSPACE
from memoryhub.core.text import visible_line
from memoryhub.importing import MOST_PROBLEMS, Counts, ImportFailed, count, import_actor, read_file, write_file


class Command(BaseCommand):
    help = (
        "Import sessions and facts from a JSON Lines file (docs/import.md). The whole file is checked first; an import "
        "that was interrupted goes on where it stopped when it is run again."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path)
        parser.add_argument(
            "--workspace", default=DEFAULT_WORKSPACE, help="The workspace's slug. Default: %(default)s."
        )
        parser.add_argument(
            "--agent", default="import", help="The agent whose sessions these are. Default: %(default)s."
        )
        parser.add_argument(
            "--approve",
            action="store_true",
            help="You vouch for what the file says. Without it nothing of the file is shown to agents before it is "
            "approved: in the console's review, or by running the same file again with --approve.",
        )
        parser.add_argument(
            "--dry-run", action="store_true", help="Check the file and say what it holds; write nothing."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        workspace = Workspace.objects.filter(slug=options["workspace"]).first()
        if workspace is None:
            raise CommandError(f"There is no workspace {options['workspace']!r}.")
        try:
            source = read_file(options["file"])
        except OSError as error:
            raise CommandError(f"{options['file']} cannot be read: {error.strerror}.") from error
        if source.problems:
            for problem in source.problems:
                self.stderr.write(visible_line(str(problem)))
            more = " at least" if len(source.problems) >= MOST_PROBLEMS else ""
            raise CommandError(f"{options['file']} has{more} {len(source.problems)} problems; nothing was written.")
        if options["dry_run"]:
            self.stdout.write(f"{options['file']} holds {_words(count(source.lines))}. Nothing was written.")
            return
        actor = import_actor(source)
        agent = agent_get_or_create(workspace_id=workspace.id, name=options["agent"], actor=actor)
        last = source.lines[-1].number if source.lines else 0

        def progress(line: int) -> None:
            self.stderr.write(f"\r{line} of {last} lines", ending="")
            self.stderr.flush()

        try:
            done = write_file(source, agent=agent, actor=actor, approved=options["approve"], progress=progress)
        except ImportFailed as failed:
            self.stderr.write("")
            raise CommandError(
                f"{visible_line(str(failed.problem))} What stands before this line's session was written; "
                "mend the line and run it again."
            ) from failed
        if done.lines:
            self.stderr.write("")
            self.stdout.write(f"Imported {_words(done)}; {done.duplicates} turns were known already.")
            if not options["approve"]:
                self.stdout.write("None of it is shown to agents yet: review it, or run this again with --approve.")
        elif any(done.let_in):
            facts, turns = done.let_in
            self.stdout.write(f"Imported before; let in now: {facts} facts and {turns} turns.")
        else:
            self.stdout.write("Everything in this file was imported before; nothing was written.")


def _words(counts: Counts) -> str:
    return (
        f"{counts.turns} turns in {len(counts.sessions)} sessions and {counts.facts} facts, "
        f"of {len(counts.subjects)} people"
    )
