from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from audit.actors import Actor
from memoryhub.access.errors import AccessError
from memoryhub.access.selectors import key_by_prefix
from memoryhub.access.services import DEFAULT_OVERLAP, LONGEST_OVERLAP, key_rotate

HOUR = timedelta(hours=1)


class Command(BaseCommand):
    help = (
        "Make a new API key in place of one, with the same scopes and limits, and print the new key alone. "
        "It is shown only once. The old key works until the overlap ends."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("prefix", help="The public prefix of the key to replace: mh_ and eight digits.")
        parser.add_argument(
            "--overlap-hours",
            type=float,
            default=DEFAULT_OVERLAP / HOUR,
            help="Hours for which both keys work; 0 ends the old one at once. Default: %(default)g.",
        )
        parser.add_argument(
            "--expires-in-days",
            type=int,
            help="Days until the new key expires. Default: as long as the old one was made to last.",
        )

    def handle(self, *args: Any, prefix: str, **options: Any) -> None:
        hours, days = options["overlap_hours"], options["expires_in_days"]
        if not 0 <= hours <= LONGEST_OVERLAP / HOUR:
            raise CommandError(f"--overlap-hours is a number from 0 to {LONGEST_OVERLAP / HOUR:g}.")
        if days is not None and days < 1:
            raise CommandError("--expires-in-days is a number of days from 1 on.")
        key = key_by_prefix(prefix)
        if key is None:
            raise CommandError(f"There is no key {prefix!r}.")
        expires_at = timezone.now() + timedelta(days=days) if days else None
        actor = Actor.command("rotate_api_key")
        try:
            new = key_rotate(key=key, actor=actor, overlap=timedelta(hours=hours), expires_at=expires_at)
        except AccessError as refused:
            raise CommandError(refused.message) from None
        self.stdout.write(new.secret)
