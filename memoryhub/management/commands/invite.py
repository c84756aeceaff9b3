from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.core.validators import validate_email
from django.forms import ValidationError
from django.urls import reverse

from audit.actors import Actor
from memoryhub.access.models import Role, Workspace
from memoryhub.access.people import invitation_create
from memoryhub.bootstrap import DEFAULT_WORKSPACE


class Command(BaseCommand):
    help = "Invite somebody to a workspace and print the link, which works once and for seven days."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--workspace", default=DEFAULT_WORKSPACE, help="Its short name. Default: %(default)s.")
        parser.add_argument("--role", choices=Role.values, default=Role.VIEWER.value, help="Default: %(default)s.")
        parser.add_argument("--email", default="", help="Needed for somebody who signs in through single sign-on.")
        parser.add_argument(
            "--url", default="http://localhost:8000", help="Where people reach the hub. Default: %(default)s."
        )

    def handle(self, *args: Any, workspace: str, role: str, email: str, url: str, **options: Any) -> None:
        found = Workspace.objects.filter(slug=workspace).first()
        if found is None:
            raise CommandError(f"There is no workspace called {workspace}.")
        try:
            if email:
                validate_email(email)
        except ValidationError:
            raise CommandError(f"{email} is not an e-mail address.") from None
        made = invitation_create(workspace=found, role=Role(role), email=email, actor=Actor.command("invite"))
        self.stdout.write(url.rstrip("/") + reverse("invitation", args=[made.token]))
