from argparse import ArgumentParser
from pathlib import Path
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError

from audit.actors import Actor
from memoryhub.access.models import Workspace
from memoryhub.bootstrap import DEFAULT_WORKSPACE
from memoryhub.core.tenancy import in_workspace
from memoryhub.portability import export_write
from sessions.models import Subject


class Command(BaseCommand):
    help = (
        "Write everything about a person into a ZIP: JSON, CSV and a page to be read offline. It holds their memory in "
        "clear: hand it over safely and remove it. Its SHA-256 is printed and stands in the audit log."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        whom = parser.add_mutually_exclusive_group(required=True)
        whom.add_argument("--subject", type=UUID, help="The person, by the hub's id.")
        whom.add_argument("--user-id", help="The person, by the caller's id.")
        parser.add_argument("--to", type=Path, required=True, help="The file to write.")
        parser.add_argument(
            "--workspace", default=DEFAULT_WORKSPACE, help="The workspace's slug. Default: %(default)s."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        workspace = Workspace.objects.filter(slug=options["workspace"]).first()
        if workspace is None:
            raise CommandError(f"There is no workspace {options['workspace']!r}.")
        named = {"pk": options["subject"]} if options["subject"] else {"external_id": options["user_id"]}
        with in_workspace(workspace.id):
            subject = Subject.objects.filter(workspace=workspace, **named).first()
            if subject is None:
                raise CommandError("There is no such person.")
            try:
                done = export_write(subject=subject, target=options["to"], actor=Actor.command("export_subject"))
            except OSError as error:
                raise CommandError(str(error)) from error
        self.stdout.write(f"{done.rows} rows, {done.bytes} bytes, SHA-256 {done.digest}")
