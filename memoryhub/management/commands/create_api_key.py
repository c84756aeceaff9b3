from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from audit.actors import Actor
from memoryhub.access.models import DEFAULT_SCOPES, MemoryMode, Scope, Workspace
from memoryhub.access.services import MOST_PER_MINUTE, agent_get_or_create, key_create
from memoryhub.bootstrap import DEFAULT_WORKSPACE


class Command(BaseCommand):
    help = "Make an API key for an agent (which is made too, when new) and print the key alone. It is shown only once."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--agent", required=True, help="The agent's name: letters, digits, - and _.")
        parser.add_argument(
            "--workspace", default=DEFAULT_WORKSPACE, help="The workspace's slug. Default: %(default)s."
        )
        parser.add_argument("--mode", choices=MemoryMode.values, help="The memory mode of a new agent. Default: full.")
        parser.add_argument(
            "--scopes",
            nargs="+",
            choices=Scope.values,
            default=list(DEFAULT_SCOPES),
            help="What the key may do. Default: %(default)s.",
        )
        parser.add_argument(
            "--expires-in-days", "--days", dest="days", type=int, help="Days until the key expires. Default: never."
        )
        parser.add_argument(
            "--rate", type=int, help="Requests a minute that the key may make. Default: THROTTLE_PER_MINUTE."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        workspace = Workspace.objects.filter(slug=options["workspace"]).first()
        if workspace is None:
            raise CommandError(f"There is no workspace {options['workspace']!r}.")
        if options["days"] is not None and options["days"] < 1:
            raise CommandError("--expires-in-days is a number of days from 1 on.")
        if options["rate"] is not None and not 1 <= options["rate"] <= MOST_PER_MINUTE:
            raise CommandError(f"--rate is a number of requests from 1 to {MOST_PER_MINUTE}.")
        actor = Actor.command("create_api_key")
        mode = MemoryMode(options["mode"]) if options["mode"] else None
        agent = agent_get_or_create(workspace_id=workspace.id, name=options["agent"], mode=mode, actor=actor)
        if mode is not None and agent.mode != mode:
            raise CommandError(f"Agent {agent.name} exists with mode {agent.mode}.")
        expires = timezone.now() + timedelta(days=options["days"]) if options["days"] else None
        new = key_create(
            agent=agent,
            actor=actor,
            scopes=[Scope(one) for one in options["scopes"]],
            expires_at=expires,
            rate_per_minute=options["rate"],
        )
        self.stdout.write(new.secret)
