from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from memoryhub.access.permissions import people_table, scopes_table

TABLES = {"docs/security.md": ("people", people_table), "docs/api.md": ("scopes", scopes_table)}


class Command(BaseCommand):
    help = "Print who may do what, as Markdown; with --write, put it into the documentation of this source tree."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--write", action="store_true", help="replace the tables in docs/")

    def handle(self, *args: Any, **options: Any) -> None:
        for name, (mark, table) in TABLES.items():
            if not options["write"]:
                self.stdout.write(table() + "\n")
                continue
            path = Path(settings.BASE_DIR) / name
            try:
                path.write_text(with_table(path.read_text(), mark, table()))
            except (OSError, ValueError) as error:
                raise CommandError(f"{name}: {error}") from error


def with_table(document: str, mark: str, table: str) -> str:
    """`document` with `table` between its two marks. Raises ValueError where they are missing."""
    begin, end = f"<!-- table: {mark} -->\n", f"\n<!-- end of {mark} -->"
    before, found, rest = document.partition(begin)
    _, ended, after = rest.partition(end)
    if not found or not ended:
        raise ValueError(f"there is no place for the table {mark!r}")
    return f"{before}{begin}{table}{end}{after}"
