"""The dialogues that extraction is measured on: that they are well made, and a part of them held on a real database."""

from collections import Counter
from dataclasses import replace
from decimal import Decimal

import pytest
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from benchmarks.extraction_quality import (
    NEVER,
    PRECISION,
    Dialogue,
    Event,
    Expected,
    Verdict,
    figures,
    hold,
    judge,
    load_dialogues,
)
from benchmarks.loopback_claude import KEY, LoopbackClaude
from facts.extraction.claude import ClaudeExtractor
from facts.extraction.interface import Extractor
from facts.extraction.patterns import PatternsExtractor
from facts.models import FactType, FactVersion
from memoryhub.access.models import Agent, User, Workspace
from memoryhub.core.tenancy import in_workspace

ALL = load_dialogues()
EVERY = 3
"""Of how many dialogues one is held here; `python -m benchmarks.extraction_quality` holds them all."""


def held(dialogues: list[Dialogue], extractor: Extractor, agent: Agent, settings: Settings) -> list[Verdict]:
    settings.EXTRACTOR = "patterns"
    return [hold(one, extractor, agent) for one in dialogues]


def test_there_are_dialogues_of_every_kind_half_of_them_held_out() -> None:
    kinds = Counter(one.category for one in ALL)
    assert len(ALL) >= 60
    assert len({one.id for one in ALL}) == len(ALL)
    assert {
        "new", "confirm", "supersede", "coexist", "pinned", "echo", "injection", "languages", "negation", "numbers",
        "someone_else", "quote", "hypothetical", "question",
    } <= set(kinds)  # fmt: skip
    assert min(kinds.values()) >= 3
    for category in kinds:
        assert any(one.held_out for one in ALL if one.category == category), category
    assert 0.4 <= sum(one.held_out for one in ALL) / len(ALL) <= 0.6


@pytest.mark.parametrize("dialogue", ALL, ids=lambda one: one.id)
def test_a_dialogue_is_well_made(dialogue: Dialogue) -> None:
    assert dialogue.id.startswith(dialogue.category)
    assert dialogue.sessions
    assert all(
        turn["role"] in ("user", "assistant", "tool") and turn["text"] for turns in dialogue.sessions for turn in turns
    )
    assert dialogue.expect or dialogue.never
    for one in dialogue.expect:
        assert set(one.outcome.split("|")) <= {"added", "confirmed", "superseded", "quarantined"}
        assert one.by in ("all", "better")
        assert one.types <= set(FactType.values)
        assert bool(one.supersedes) == (one.outcome == "superseded")
    if dialogue.category in NEVER:
        assert dialogue.never


def test_patterns_hold_what_they_promise_in_a_part_of_the_dialogues(agent: Agent, settings: Settings) -> None:
    verdicts = held(ALL[::EVERY], PatternsExtractor(), agent, settings)
    told = "\n".join(line for one in verdicts for line in one.as_text())
    found = figures(verdicts)
    assert found.extracted > 20
    assert found.false == 0, told
    assert found.wrong_supersessions == 0, told
    assert found.precision >= PRECISION, told
    assert found.recall_all >= 0.9, told
    assert found.right_decisions == found.found, told


def test_nothing_is_lost_on_the_way_to_claude_and_back(agent: Agent, settings: Settings) -> None:
    # The loopback finds what the patterns find; so must come of it what comes of them.
    dialogues = [one for one in ALL if one.category in ("supersede", "numbers", "echo", "pinned")][::4]
    alone = held(dialogues, PatternsExtractor(), agent, settings)
    again = [_renamed(one) for one in dialogues]
    with LoopbackClaude() as claude:
        asked = ClaudeExtractor(api_key=KEY, base_url=claude.url, provider="anthropic", model="claude-haiku-4-5")
        through = held(again, asked, agent, settings)
        assert len(claude.messages()) >= len(dialogues)
    for one, other in zip(alone, through, strict=True):
        assert one.events == other.events, one.dialogue.id
        assert len(other.raw) >= 1


def _renamed(dialogue: Dialogue) -> Dialogue:
    """The same, with another person."""
    return replace(dialogue, id=f"{dialogue.id}-again")


# How a dialogue is judged.


def event(content: str, *, outcome: str = "added", superseded: str = "", value: Decimal | None = None) -> Event:
    return Event("entity", "team", "cloud_provider", content, value, "", outcome, superseded)


def judged(*events: Event, category: str = "new", expect: tuple[Expected, ...] = (), **more: object) -> Verdict:
    given = {"never": (), "allowed": ()} | more
    return judge(Dialogue("d", category, False, (), (), expect, given["never"], given["allowed"]), events)  # type: ignore[arg-type]


def test_what_is_expected_is_found_and_what_is_not_lowers_precision() -> None:
    verdict = judged(event("Uses AWS"), event("Uses Slack"), expect=(Expected(("aws",)), Expected(("gcp",))))
    assert [one.says for one, _ in verdict.found] == [("aws",)]
    assert [one.says for one in verdict.missed] == [("gcp",)]
    assert [one.content for one in verdict.beside] == ["Uses Slack"]
    assert not verdict.false
    assert (figures([verdict]).precision, figures([verdict]).recall) == (0.5, 0.5)


def test_what_must_never_be_is_a_false_memory_in_any_category() -> None:
    verdict = judged(event("Uses AWS"), expect=(Expected(("aws",)),), never=(("aws",),))
    assert [one.content for one in verdict.false] == ["Uses AWS"]
    assert not verdict.found


def test_where_nothing_is_stated_whatever_is_found_is_a_false_memory() -> None:
    assert judged(event("Uses AWS"), category="question").false
    assert not judged(event("Uses AWS"), category="question", allowed=(("aws",),)).false


def test_the_same_fact_twice_is_one_too_many() -> None:
    verdict = judged(event("Uses AWS"), event("Uses AWS"), expect=(Expected(("aws",)),))
    assert len(verdict.beside) == 1


def test_a_supersession_that_nobody_expected_is_wrong() -> None:
    wrong = event("Uses GCP", outcome="superseded", superseded="Uses Slack")
    expected = Expected(("gcp",), outcome="superseded", supersedes=("aws",))
    verdict = judged(wrong, expect=(expected,))
    assert verdict.wrong_supersessions == [wrong]
    assert verdict.wrong_decisions == [(expected, wrong)]
    right = event("Uses GCP", outcome="superseded", superseded="Uses AWS")
    assert not judged(right, expect=(expected,)).wrong_supersessions


def test_a_number_must_be_right() -> None:
    expected = (Expected(("budget",), value=Decimal(500)),)
    assert judged(event("Budget is $500", value=Decimal("500.00")), expect=expected).found
    assert not judged(event("Budget is $500", value=Decimal(50)), expect=expected).found


def test_words_are_found_at_their_beginning_alone() -> None:
    assert not judged(event("Prefers trains"), never=(("rains",),)).false
    assert judged(event("Prefers trains"), never=(("train",),)).false
    assert judged(event("Eats meat"), never=(("^eats",),)).false
    assert not judged(event("No longer eats meat"), never=(("^eats",),)).false


# What people see of it.


def test_a_facts_page_says_how_it_was_found(
    client: Client, agent: Agent, operator: User, workspace: Workspace, settings: Settings
) -> None:
    [dialogue] = [one for one in ALL if one.id == "new-prefers-metric"]
    client.force_login(operator)
    held([dialogue], PatternsExtractor(), agent, settings)
    with LoopbackClaude() as claude:
        asked = ClaudeExtractor(api_key=KEY, base_url=claude.url, provider="anthropic", model="claude-haiku-4-5")
        held([_renamed(dialogue)], asked, agent, settings)
    with in_workspace(workspace.id):
        by_patterns, by_claude = FactVersion.objects.order_by("created_at")
    pages = [
        client.get(reverse("fact-detail", args=[workspace.slug, version.fact_id])).content.decode()
        for version in (by_patterns, by_claude)
    ]
    assert 'found by patterns, without a model (<span class="mono">patterns-v1</span>)' in pages[0]
    assert 'read by <span class="mono">claude-haiku-4-5-20251001/v1</span>' in pages[1]
