from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from audit.actors import Actor
from memoryhub.access.models import Membership, User
from memoryhub.access.people import password_reset
from memoryhub.bootstrap import FIRST_ADMINISTRATOR
from memoryhub.core.tenancy import as_person


class Command(BaseCommand):
    help = "Replace a person's password by a generated one and print it."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("username", nargs="?", default=FIRST_ADMINISTRATOR, help="Default: %(default)s.")

    def handle(self, *args: Any, username: str, **options: Any) -> None:
        user = User.objects.filter(username=username).first()
        if user is None:
            raise CommandError(f"There is nobody called {username}.")
        with as_person(user.id):
            workspaces = list(Membership.objects.filter(user=user).values_list("workspace_id", flat=True))
        password = password_reset(user=user, workspace_ids=workspaces, actor=Actor.command("reset_admin_password"))
        self.stdout.write(password)
