from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from audit.sealing.keys import KeyUnusable, Purpose, publish, rotate, signer


class Command(BaseCommand):
    help = (
        "Replace the key that signs checkpoints, or receipts, in the data directory. Public keys are kept, so that "
        "what the old one signed can be checked. The hub may run; the next signature is one of the new key."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("purpose", choices=[one.value for one in Purpose])

    def handle(self, *args: Any, purpose: str, **options: Any) -> None:
        try:
            before = signer(Purpose(purpose))
            publish(before, Purpose(purpose))
            fresh = rotate(Purpose(purpose))
        except KeyUnusable as error:
            raise CommandError(str(error)) from error
        publish(fresh, Purpose(purpose))
        self.stdout.write(f"{before.id} signed {purpose} until now; {fresh.id} does from now on. Tell your auditors.")
