from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from memoryhub.access.models import Workspace
from memoryhub.access.services import agent_get_or_create
from memoryhub.bootstrap import DEFAULT_WORKSPACE
from memoryhub.core.text import visible_line
from memoryhub.importing.files import (
    MOST_PROBLEMS,
    Counts,
    ImportFailed,
    ImportFile,
    UnknownFormat,
    count,
    import_actor,
    read_file,
    write_file,
)
from memoryhub.importing.formats import FORMATS, NATIVE


class Command(BaseCommand):
    help = (
        "Import conversations and facts (docs/import.md): our own JSON Lines, logs of the Messages API, OpenAI-style "
        "chats, claude.ai's data export, Claude Code's transcripts, mem0's memories. A file is checked first; an "
        "import that was interrupted goes on where it stopped when it is run again. Ends with 1 when something could "
        "not be taken."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path, nargs="+")
        parser.add_argument(
            "--format", choices=[NATIVE, *FORMATS], help="What the files are. Default: told by what is in them."
        )
        parser.add_argument(
            "--user-id", default="", help="Whose the records are that name nobody: your id of the person."
        )
        parser.add_argument(
            "--workspace", default=DEFAULT_WORKSPACE, help="The workspace's slug. Default: %(default)s."
        )
        parser.add_argument(
            "--agent", default="import", help="The agent whose sessions these are. Default: %(default)s."
        )
        parser.add_argument(
            "--approve",
            action="store_true",
            help="You vouch for what the files say. Without it nothing of them is shown to agents before it is "
            "approved: in the console's review, or by running the same files again with --approve.",
        )
        parser.add_argument(
            "--dry-run", action="store_true", help="Check the files and say what they hold; write nothing."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        workspace = Workspace.objects.filter(slug=options["workspace"]).first()
        if workspace is None:
            raise CommandError(f"There is no workspace {options['workspace']!r}.")
        faulty = [str(path) for path in options["file"] if not self._import(path, workspace, options)]
        if faulty:
            raise CommandError(f"Not all of {', '.join(faulty)} could be taken.")

    def _import(self, path: Path, workspace: Workspace, options: dict[str, Any]) -> bool:
        """Whether all of the file could be taken."""
        source = self._read(path, options)
        if source.problems and source.format == NATIVE:
            more = " at least" if len(source.problems) >= MOST_PROBLEMS else ""
            raise CommandError(f"{path} has{more} {len(source.problems)} problems; nothing was written.")
        if options["dry_run"]:
            self.stdout.write(f"{path} ({source.format}) holds {_words(count(source.lines))}. Nothing was written.")
        else:
            self._write(source, workspace, options)
        if source.problems:
            self.stderr.write(f"{path}: {len(source.problems)} records could not be read and were left out.")
        return not source.problems

    def _read(self, path: Path, options: dict[str, Any]) -> ImportFile:
        try:
            source = read_file(path, form=options["format"], user_id=options["user_id"])
        except OSError as error:
            raise CommandError(f"{path} cannot be read: {error.strerror}.") from error
        except UnknownFormat as error:
            known = "; ".join(f"{name}: {form.title}" for name, form in FORMATS.items())
            raise CommandError(f"{path} is of no format that is known. Name it with --format ({known}).") from error
        for problem in source.problems[:MOST_PROBLEMS]:
            self.stderr.write(visible_line(str(problem)))
        if len(source.problems) > MOST_PROBLEMS:
            self.stderr.write(f"… and {len(source.problems) - MOST_PROBLEMS} more.")
        return source

    def _write(self, source: ImportFile, workspace: Workspace, options: dict[str, Any]) -> None:
        actor = import_actor(source)
        agent = agent_get_or_create(workspace_id=workspace.id, name=options["agent"], actor=actor)
        last = source.lines[-1].number if source.lines else 0

        def progress(line: int) -> None:
            self.stderr.write(f"\r{line} of {last}", ending="")
            self.stderr.flush()

        try:
            done = write_file(source, agent=agent, actor=actor, approved=options["approve"], progress=progress)
        except ImportFailed as failed:
            self.stderr.write("")
            raise CommandError(
                f"{visible_line(str(failed.problem))} What stands before it was written; mend it and run this again."
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
