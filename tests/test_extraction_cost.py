import io
import re
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone
from extraction_work import LineExtractor, converse, fails, planned, read_one
from hypothesis import given
from hypothesis import strategies as st

from facts.extraction.cost import cost_of, count_day, daily_totals, price_of
from facts.extraction.interface import Usage
from facts.extraction.simulation import Load, Measured, simulate
from facts.models import ExtractionDay
from memoryhub.access.models import Agent, Workspace
from memoryhub.core.tenancy import in_workspace

DAY = date(2026, 11, 1)
TABLE = [
    {
        "model": "claude-a",
        "since": "2026-01-01",
        "input": "1",
        "output": "5",
        "cache_read": "0.1",
        "cache_write": "1.25",
    },
    {
        "model": "claude-a",
        "since": "2026-06-01",
        "input": "2",
        "output": "8",
        "cache_read": "0.2",
        "cache_write": "2.5",
    },
    {
        "model": "claude-a-mini",
        "since": "2026-01-01",
        "input": "3",
        "output": "4",
        "cache_read": "0",
        "cache_write": "0",
    },
]


@pytest.mark.parametrize(
    ("model", "day", "price"),
    [
        ("claude-a", date(2026, 3, 1), "1"),
        ("claude-a", date(2026, 6, 1), "2"),
        ("claude-a-20260101", DAY, "2"),
        ("claude-a@20260101", DAY, "2"),
        ("eu.anthropic.claude-a-20260101-v1:0", DAY, "2"),
        ("claude-a-mini", DAY, "3"),
    ],
)
def test_the_price_is_that_of_the_day_and_the_longest_name(model: str, day: date, price: str) -> None:
    found = price_of(model, day, TABLE)
    assert found is not None
    assert found.input == Decimal(price)


@pytest.mark.parametrize(("model", "day"), [("claude-b", DAY), ("claude-a", date(2025, 12, 31)), ("", DAY)])
def test_without_a_price_the_cost_is_not_known(model: str, day: date) -> None:
    assert price_of(model, day, TABLE) is None
    assert cost_of("claude-unheard-of", Usage(1, 1), day=DAY) is None


def test_the_cost_counts_each_kind_of_token_and_halves_batches() -> None:
    usage = Usage(
        input_tokens=1_000_000, output_tokens=100_000, cache_read_tokens=2_000_000, cache_write_tokens=400_000
    )
    assert cost_of("claude-haiku-4-5", usage, day=DAY) == Decimal("1") + Decimal("0.5") + Decimal("0.2") + Decimal(
        "0.5"
    )
    assert cost_of("claude-haiku-4-5", usage, day=DAY, batched=True) == Decimal("1.1")


def test_what_uses_no_tokens_costs_nothing_whatever_it_is_called() -> None:
    assert cost_of("patterns", Usage(), day=DAY) == 0


@given(st.builds(Usage, *[st.integers(0, 10**7)] * 4), st.builds(Usage, *[st.integers(0, 10**7)] * 4))
def test_costs_add_up(one: Usage, other: Usage) -> None:
    apart = [cost_of("claude-haiku-4-5", usage, day=DAY) for usage in (one, other)]
    together = cost_of("claude-haiku-4-5", one + other, day=DAY)
    assert together is not None
    assert abs(together - sum(cost for cost in apart if cost is not None)) <= Decimal("0.000002")


def test_days_are_totals_of_all_models(workspace: Workspace) -> None:
    at = timezone.now()
    with in_workspace(workspace.id):
        for model, cost, failed, days in (
            ("claude-haiku-4-5", Decimal("0.5"), False, 0),
            ("claude-haiku-4-5", Decimal("0.25"), True, 0),
            ("claude-x", None, False, 0),
            ("claude-haiku-4-5", Decimal("1"), False, 1),
        ):
            count_day(
                workspace_id=workspace.id,
                model=model,
                usage=Usage(10, 1),
                cost=cost,
                batched=False,
                failed=failed,
                at=at - timedelta(days=days),
            )
        today, yesterday = daily_totals(workspace_id=workspace.id, since=at.date() - timedelta(days=5))
        [only_today] = daily_totals(workspace_id=workspace.id, since=at.date())
    assert (today.windows, today.failures, today.tokens, today.cost_usd, today.unpriced) == (
        2,
        1,
        33,
        Decimal("0.75"),
        True,
    )
    assert (yesterday.windows, yesterday.cost_usd, yesterday.unpriced) == (1, Decimal(1), False)
    assert only_today == today


def test_a_failure_without_tokens_counts_and_costs_nothing(agent: Agent, settings: Any) -> None:
    settings.EXTRACTOR = "patterns"
    converse(agent, "My colour is blue")
    planned(agent)
    read_one(agent, LineExtractor(fails("connection_failed")))
    with in_workspace(agent.workspace_id):
        day = ExtractionDay.objects.get()
    assert (day.failures, day.windows, day.cost_usd) == (1, 0, 0)


# Simulation


def simulated(**load: int) -> Any:
    measured = Measured(Usage(input_tokens=4_000, output_tokens=200), "", 5_000, "")
    return simulate(
        Load(**({"users": 3_000, "sessions": 8_000, "turns": 6} | load)),
        measured,
        extractor="claude-haiku-4-5",
        agent_price=Decimal(3),
        embedding_price=Decimal("0.02"),
        day=DAY,
    )


def test_the_bill_adds_up() -> None:
    bill = simulated()
    by_name = {line.name: line.usd for line in bill.memory}
    assert by_name["extraction"] == 8_000 * (Decimal("0.004") + Decimal("0.001"))
    assert by_name["working memory"] == Decimal("19.2")
    assert bill.avoided.usd == 288
    assert bill.avoided.usd - by_name["working memory"] == Decimal("268.80")
    assert bill.net == 288 - sum(by_name.values())


def test_twice_the_sessions_cost_twice_as_much() -> None:
    one, two = simulated(), simulated(sessions=16_000)
    assert [line.usd * 2 for line in one.memory] == [line.usd for line in two.memory]


def simulate_costs(*words: str) -> str:
    out = io.StringIO()
    call_command("simulate_costs", *words, stdout=out)
    return out.getvalue()


def test_the_well_known_case_is_told_with_the_slip_in_it(workspace: Workspace) -> None:
    printed = simulate_costs("--daily-users", "3000", "--sessions", "8000", "--turns", "6")
    assert "= 89,600,000, at $3 a million = $268.80 a day" in printed
    assert "says $0.27" in printed
    assert "a thousand times too small" in printed
    for name in ("extraction", "embeddings", "storage", "working memory", "history replayed", "saved a day"):
        assert re.search(rf"^  {name} +-?[\d,]+\.\d\d USD", printed, re.MULTILINE)
    assert "$0.27" not in simulate_costs("--sessions", "100")


def test_what_was_counted_here_is_what_it_rests_on(workspace: Workspace) -> None:
    assert "estimated from our prompt" in simulate_costs()
    with in_workspace(workspace.id):
        ExtractionDay.objects.create(
            workspace=workspace,
            day=timezone.now().date(),
            model="claude-haiku-4-5",
            windows=200,
            input_tokens=200 * 900,
            output_tokens=200 * 70,
            cache_read_tokens=200 * 5_000,
        )
    printed = simulate_costs()
    assert "the average of 200 windows that were read here" in printed
    assert "windows of 5,900 tokens in and 70 out" in printed


def test_a_model_without_a_price_is_refused(workspace: Workspace) -> None:
    with pytest.raises(CommandError, match="no price"):
        simulate_costs("--model", "claude-unheard-of")
    with pytest.raises(CommandError, match="at least one"):
        simulate_costs("--sessions", "0")
