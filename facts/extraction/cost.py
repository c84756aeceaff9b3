"""What extraction costs: tokens as the provider counted them, prices from the dated table in the settings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connection
from django.db.models import Sum

from facts.extraction.interface import Usage
from facts.models import ExtractionDay

MILLION = Decimal(1_000_000)
BATCHED = Decimal("0.5")
"""What Message Batches cost of the ordinary price."""
CENTS = Decimal("0.000001")


@dataclass(frozen=True, slots=True)
class Price:
    """USD for a million tokens of each kind."""

    input: Decimal
    output: Decimal
    cache_read: Decimal
    cache_write: Decimal


def price_of(model: str, day: date, table: Sequence[Mapping[str, Any]] | None = None) -> Price | None:
    """What `model` cost on `day`: the latest line of the table whose name the model's begins with. None if unknown."""
    lines = settings.EXTRACT_PRICES if table is None else table
    # "anthropic.claude-haiku-4-5-20251001-v1:0" on Bedrock, "claude-haiku-4-5@20251001" on Vertex.
    plain = model.rpartition("anthropic.")[2]
    fitting = [line for line in lines if plain.startswith(line["model"]) and date.fromisoformat(line["since"]) <= day]
    if not fitting:
        return None
    line = max(fitting, key=lambda one: (len(one["model"]), one["since"]))
    return Price(*(Decimal(str(line[kind])) for kind in ("input", "output", "cache_read", "cache_write")))


def cost_of(model: str, usage: Usage, *, day: date, batched: bool = False) -> Decimal | None:
    """USD, to a millionth; None when no price is known for the model."""
    if not any((usage.input_tokens, usage.output_tokens, usage.cache_read_tokens, usage.cache_write_tokens)):
        return Decimal(0)
    price = price_of(model, day)
    if price is None:
        return None
    full = (
        usage.input_tokens * price.input
        + usage.output_tokens * price.output
        + usage.cache_read_tokens * price.cache_read
        + usage.cache_write_tokens * price.cache_write
    ) / MILLION
    return (full * BATCHED if batched else full).quantize(CENTS)


def count_day(
    *, workspace_id: UUID, model: str, usage: Usage, cost: Decimal | None, batched: bool, failed: bool, at: datetime
) -> None:
    """Add one attempt to its day, in the caller's transaction. Last in it: rows are shared by many windows."""
    with connection.cursor() as cursor:
        cursor.execute(
            "insert into facts_extractionday as d (workspace_id, day, model, batched, shard, windows, failures,"
            " input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, cost_usd)"
            " values (%s, %s, %s, %s, pg_backend_pid() %% 16, %s, %s, %s, %s, %s, %s, %s)"
            " on conflict (workspace_id, day, model, batched, shard) do update set"
            " windows = d.windows + excluded.windows, failures = d.failures + excluded.failures,"
            " input_tokens = d.input_tokens + excluded.input_tokens,"
            " output_tokens = d.output_tokens + excluded.output_tokens,"
            " cache_read_tokens = d.cache_read_tokens + excluded.cache_read_tokens,"
            " cache_write_tokens = d.cache_write_tokens + excluded.cache_write_tokens,"
            " cost_usd = d.cost_usd + excluded.cost_usd",
            [
                workspace_id,
                at.astimezone(UTC).date(),
                model,
                batched,
                0 if failed else 1,
                1 if failed else 0,
                usage.input_tokens,
                usage.output_tokens,
                usage.cache_read_tokens,
                usage.cache_write_tokens,
                cost,
            ],
        )


@dataclass(frozen=True, slots=True)
class DayTotal:
    """One day of a workspace, all models together. `cost_usd` leaves out what has no price; `unpriced` says so."""

    day: date
    windows: int
    failures: int
    tokens: int
    cost_usd: Decimal
    unpriced: bool


def daily_totals(*, workspace_id: UUID, since: date) -> list[DayTotal]:
    """The days from `since` on that anything was extracted on, newest first."""
    rows = (
        ExtractionDay.objects.filter(workspace_id=workspace_id, day__gte=since)
        .values("day")
        .annotate(
            windows=Sum("windows"),
            failures=Sum("failures"),
            tokens=Sum("input_tokens") + Sum("output_tokens") + Sum("cache_read_tokens") + Sum("cache_write_tokens"),
            cost=Sum("cost_usd"),
        )
        .order_by("-day")
    )
    unpriced = set(
        ExtractionDay.objects.filter(workspace_id=workspace_id, day__gte=since, cost_usd__isnull=True).values_list(
            "day", flat=True
        )
    )
    return [
        DayTotal(
            row["day"],
            row["windows"],
            row["failures"],
            row["tokens"],
            row["cost"] or Decimal(0),
            row["day"] in unpriced,
        )
        for row in rows
    ]


def today_and_before(days: int, *, now: datetime) -> date:
    """The first of the last `days` days, today included."""
    return now.astimezone(UTC).date() - timedelta(days=days - 1)
