from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from audit.actors import Actor
from memoryhub.access.selectors import key_by_prefix
from memoryhub.access.services import REVOKE_REASONS, key_revoke


class Command(BaseCommand):
    help = "Revoke an API key, and every token made with it: refused from the next request on, in every process."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("prefix", help="The key's public prefix: mh_ and eight digits.")
        parser.add_argument("--reason", choices=REVOKE_REASONS, default="requested", help="Default: %(default)s.")

    def handle(self, *args: Any, prefix: str, reason: str, **options: Any) -> None:
        key = key_by_prefix(prefix)
        if key is None:
            raise CommandError(f"There is no key {prefix!r}.")
        if key.revoked_at:
            raise CommandError(f"{prefix} was revoked at {key.revoked_at.isoformat()}.")
        key = key_revoke(key=key, actor=Actor.command("revoke_api_key"), reason=reason)
        self.stdout.write(f"{prefix} of agent {key.agent.name} was revoked at {key.revoked_at:%Y-%m-%dT%H:%M:%S.%fZ}")
