from decimal import Decimal
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from facts.extraction.cost import price_of
from facts.extraction.simulation import EMBEDDING_USD, PUBLISHED_USD, Line, Load, batched, measure, simulate
from memoryhub.access.models import Workspace


class Command(BaseCommand):
    help = (
        "What a day of memory costs, and what it saves against replaying the history: from the tokens this hub counted "
        "(or estimates, where it counted too few) and the price table in the settings."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--daily-users", type=int, default=3_000)
        parser.add_argument("--sessions", type=int, default=8_000, help="a day, of all users (8000)")
        parser.add_argument("--turns", type=int, default=6, help="of one session (6)")
        parser.add_argument("--memory-tokens", type=int, default=800, help="of working memory (800)")
        parser.add_argument("--history-tokens", type=int, default=12_000, help="of history without it (12000)")
        parser.add_argument("--model", default="", help="that extracts (EXTRACT_MODEL, else claude-haiku-4-5)")
        parser.add_argument("--agent-price", type=Decimal, default=Decimal(3), help="USD for a million tokens in (3)")
        parser.add_argument("--embedding-price", type=Decimal, help="USD for a million tokens (by EMBEDDER)")

    def handle(self, *args: Any, **options: Any) -> None:
        load = Load(
            users=options["daily_users"],
            sessions=options["sessions"],
            turns=options["turns"],
            memory_tokens=options["memory_tokens"],
            history_tokens=options["history_tokens"],
        )
        if min(load.users, load.sessions, load.turns) < 1:
            raise CommandError("Users, sessions and turns are at least one.")
        embedding = options["embedding_price"]
        if embedding is None:
            embedding = EMBEDDING_USD if settings.EMBEDDER == "openai" else Decimal(0)
        today = timezone.now().date()
        model = options["model"] or settings.EXTRACT_MODEL or "claude-haiku-4-5"
        measured = measure(load, workspaces=list(Workspace.objects.values_list("pk", flat=True)), today=today)
        try:
            bill = simulate(
                load,
                measured,
                extractor=model,
                agent_price=options["agent_price"],
                embedding_price=embedding,
                day=today,
            )
        except ValueError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(
            f"{load.users:,} users, {load.sessions:,} sessions of {load.turns} turns, one day\n"
            f"window: {measured.window_from}; storage: {measured.bytes_from}; prices as of {today}\n"
        )
        for line in bill.memory:
            self._line(line)
        self._line(Line("memory, altogether", f"${bill.total / load.sessions:.5f} a session", bill.total))
        self._line(bill.avoided)
        self._line(Line("saved a day", "history replayed, less memory altogether", bill.net))
        if price_of(model, today) is not None:
            self.stdout.write(f"\nWith EXTRACT_BATCH extraction costs ${batched(bill):,.2f} less.")
        less = load.avoided_tokens
        saving = less * options["agent_price"] / 1_000_000
        self.stdout.write(
            f"\nThe tokens alone: {load.history_tokens:,} - {load.memory_tokens:,} = "
            f"{load.history_tokens - load.memory_tokens:,} fewer a session, times {load.sessions:,} sessions = "
            f"{less:,}, at ${options['agent_price']} a million = ${saving:,.2f} a day."
        )
        if saving == Decimal("268.80"):
            self.stdout.write(
                f"The well-known example with these figures says ${PUBLISHED_USD}: {less / 1_000_000} million tokens "
                "times $3 are $268.80. It is a thousand times too small, as if the price were for a billion tokens; "
                "and it leaves out what memory itself costs, which stands above."
            )

    def _line(self, line: Line) -> None:
        self.stdout.write(f"  {line.name:<20} {line.usd:>12,.2f} USD   {line.how}")
