from typing import Any

from allauth.mfa.models import Authenticator
from django.core.management.base import BaseCommand, CommandError, CommandParser

from audit.actors import Actor
from audit.models import INSTALLATION
from audit.services import record
from memoryhub.access.models import User
from memoryhub.core.tenancy import in_workspace


class Command(BaseCommand):
    help = "Take away the second factors and recovery codes of somebody who lost them, and print how many there were."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("username")

    def handle(self, *args: Any, username: str, **options: Any) -> None:
        user = User.objects.filter(username=username).first()
        if user is None:
            raise CommandError(f"There is nobody called {username}.")
        with in_workspace(INSTALLATION):
            found = list(Authenticator.objects.select_for_update().filter(user=user))
            for one in found:
                record(
                    Actor.command("remove_second_factor"),
                    "user.second_factor_removed",
                    user,
                    workspace_id=INSTALLATION,
                    data={"factor": str(one.type)},
                )
                one.delete()
        self.stdout.write(str(len(found)))
