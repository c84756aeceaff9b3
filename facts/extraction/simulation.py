"""What memory costs a day, and what it saves: token counts of our own, prices of the table in the settings."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

from django.conf import settings
from django.db import connection
from django.db.models import Sum

from facts.extraction.cost import BATCHED, MILLION, Price, price_of
from facts.extraction.interface import Usage
from facts.models import ExtractionDay
from memoryhub.core.tokens import estimate_tokens

ENOUGH_WINDOWS = 100
"""Windows that were read and counted, from which on their average is taken."""
ENOUGH_TURNS = 5_000
CACHED_FROM = 4_096
"""Tokens that a prompt must have for Claude Haiku 4.5 to cache it; our estimate may be a sixth too high."""
WORDS_A_TURN = 40
FACTS_A_SESSION = 2
ANSWER_TOKENS_A_FACT = 110
TURN_BYTES, FACT_BYTES = 7_000, 9_000
"""On disk with indexes, postings, vectors and audit entries, where the database holds too little to measure it."""
STORAGE_USD = Decimal("0.115")
"""For a GB and month: general purpose SSD of a managed PostgreSQL, list price."""
EMBEDDING_USD = Decimal("0.02")
"""For a million tokens of text-embedding-3-small. The embedder that comes along costs nothing."""
PUBLISHED_USD = Decimal("0.27")
"""What the well-known example says is saved a day."""


@dataclass(frozen=True, slots=True)
class Load:
    """A day of use. `turns` are those of one session."""

    users: int
    sessions: int
    turns: int
    memory_tokens: int = 800
    history_tokens: int = 12_000

    @property
    def avoided_tokens(self) -> int:
        """What is sent less to the agent's model, when each session begins with memory instead of history."""
        return self.sessions * (self.history_tokens - self.memory_tokens)


@dataclass(frozen=True, slots=True)
class Measured:
    """What the figures rest on: tokens of one window, bytes of one turn and fact; and whether they were counted."""

    window: Usage
    window_from: str
    turn_bytes: int
    bytes_from: str


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a day's bill, with how it comes about."""

    name: str
    how: str
    usd: Decimal


@dataclass(frozen=True, slots=True)
class Bill:
    """`memory` is what memory costs; `avoided` what the agent's model is not sent any more."""

    memory: tuple[Line, ...]
    avoided: Line

    @property
    def total(self) -> Decimal:
        return sum((line.usd for line in self.memory), Decimal(0))

    @property
    def net(self) -> Decimal:
        return self.avoided.usd - self.total


def simulate(
    load: Load, measured: Measured, *, extractor: str, agent_price: Decimal, embedding_price: Decimal, day: date
) -> Bill:
    """The bill of one day. Raises ValueError when `extractor` has no price."""
    price = price_of(extractor, day)
    if price is None:
        raise ValueError(f"EXTRACT_PRICES has no price for {extractor!r}.")
    one = _cost(measured.window, price)
    used = measured.window
    sent = used.input_tokens + used.cache_read_tokens + used.cache_write_tokens
    embedded = load.sessions * (load.turns * WORDS_A_TURN * 4 // 3 + FACTS_A_SESSION * 20)
    kept = load.sessions * (load.turns * measured.turn_bytes + FACTS_A_SESSION * FACT_BYTES)
    # What is written today is paid for each month from now on: a month's rent of it is the fair share of today.
    rent = Decimal(kept) / 10**9 * STORAGE_USD
    memory = (
        Line(
            "extraction",
            f"{load.sessions:,} windows of {sent:,} tokens in and {used.output_tokens:,} out, {extractor}",
            one * load.sessions,
        ),
        Line(
            "embeddings", f"{embedded:,} tokens at ${embedding_price} a million", embedded * embedding_price / MILLION
        ),
        Line("storage", f"{kept / 10**6:,.0f} MB more, at ${STORAGE_USD} a GB and month", rent),
        Line(
            "working memory",
            f"{load.sessions:,} sessions that begin with {load.memory_tokens:,} tokens at ${agent_price} a million",
            load.sessions * load.memory_tokens * agent_price / MILLION,
        ),
    )
    avoided = Line(
        "history replayed",
        f"{load.sessions:,} sessions that begin with {load.history_tokens:,} tokens at ${agent_price} a million",
        load.sessions * load.history_tokens * agent_price / MILLION,
    )
    return Bill(memory, avoided)


def batched(bill: Bill) -> Decimal:
    """What extraction costs less when windows are sent in batches."""
    return bill.memory[0].usd * (1 - BATCHED)


def _cost(usage: Usage, price: Price) -> Decimal:
    return (
        usage.input_tokens * price.input
        + usage.output_tokens * price.output
        + usage.cache_read_tokens * price.cache_read
        + usage.cache_write_tokens * price.cache_write
    ) / MILLION


def measure(load: Load, *, workspaces: Sequence[object], today: date) -> Measured:
    """From what this hub counted, where it counted enough; else from our own prompt and estimates."""
    turn_bytes, bytes_from = _bytes_of_a_turn()
    window, window_from = _counted_window(today, workspaces) or (_estimated_window(load), "estimated from our prompt")
    return Measured(window, window_from, turn_bytes, bytes_from)


def _counted_window(today: date, workspaces: Sequence[object]) -> tuple[Usage, str] | None:
    """The average window of the last 30 days."""
    from memoryhub.core.tenancy import in_workspace

    windows = 0
    totals = [0, 0, 0, 0]
    for workspace_id in workspaces:
        with in_workspace(workspace_id):  # type: ignore[arg-type]
            found = ExtractionDay.objects.filter(day__gt=today - timedelta(days=30), output_tokens__gt=0).aggregate(
                windows=Sum("windows"),
                input=Sum("input_tokens"),
                output=Sum("output_tokens"),
                read=Sum("cache_read_tokens"),
                write=Sum("cache_write_tokens"),
            )
        windows += found["windows"] or 0
        for place, name in enumerate(("input", "output", "read", "write")):
            totals[place] += found[name] or 0
    if windows < ENOUGH_WINDOWS:
        return None
    return Usage(*(total // windows for total in totals)), f"the average of {windows:,} windows that were read here"


def _estimated_window(load: Load) -> Usage:
    """One session's window: the prompt, which is cached where it is long enough, and the turns with their frame."""
    from facts.extraction.claude import load_prompt, provider_schema

    prompt = estimate_tokens(load_prompt(settings.EXTRACT_PROMPT)) + estimate_tokens(str(provider_schema()))
    turns = load.turns * (WORDS_A_TURN * 4 // 3 + 45)
    known = 10 * 55
    answer = FACTS_A_SESSION * ANSWER_TOKENS_A_FACT + 10
    if prompt * 5 // 6 >= CACHED_FROM:
        return Usage(input_tokens=turns + known, output_tokens=answer, cache_read_tokens=prompt)
    return Usage(input_tokens=prompt + turns + known, output_tokens=answer)


def _bytes_of_a_turn() -> tuple[int, str]:
    with connection.cursor() as cursor:
        cursor.execute("select greatest(reltuples, 0)::bigint from pg_class where relname = 'memory_sessions_turn'")
        turns = int(cursor.fetchone()[0])
        if turns < ENOUGH_TURNS:
            return TURN_BYTES, "measured by us"
        cursor.execute(
            "select sum(pg_total_relation_size(c.oid))::bigint from pg_class c join pg_namespace n on n.oid ="
            " c.relnamespace where n.nspname = 'public' and c.relkind = 'r'"
        )
        return int(cursor.fetchone()[0]) // turns, f"the database divided by its {turns:,} turns"
