"""Features into scores: pure, bounded, and each feature pulling in its direction."""

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from facts.retrieval.ranking import (
    NEARBY_TURNS,
    FactTraits,
    Level,
    Score,
    TurnTraits,
    asks_when,
    best,
    coefficients,
    decay,
    fact_features,
    fact_scores,
    first_person,
    phrase_share,
    share_of,
    tells_time,
    turn_features,
    turn_scores,
)
from facts.retrieval.search import names, numbers
from memoryhub.core.search.query import Signals
from memoryhub.core.search.words import lexemes

share = st.floats(0, 1)
signals = st.builds(Signals, share, share, share, share, st.none() | st.floats(-1, 1))
facts = st.builds(
    FactTraits,
    *(signals, st.none() | signals, st.booleans(), share, share, share, share, share, share, share, share),
    superseded_days=st.none() | st.floats(-1e4, 1e5),
)
turns = st.builds(
    TurnTraits,
    signals=signals,
    group=st.sampled_from([UUID(int=1), UUID(int=2)]),
    index=st.integers(0, 30),
    is_user=st.booleans(),
    named=st.booleans(),
    words=st.integers(0, 5000),
    asks=st.booleans(),
    answers=st.booleans(),
    tells_time=st.booleans(),
    phrase=share,
)
levels = st.builds(Level, share, share)
LEVEL = Level(0.5, 0.5)
FACT = FactTraits(
    signals=Signals(0.5, 0.5, 0.3, 0.4, 0.4),
    source=Signals(0.5, 0.5, 0.2, 0.3, None),
    tells_time=False,
    phrase=0.0,
    entity=0.0,
    entity_share=0.1,
    attribute=0.0,
    mention=0.0,
    type=0.0,
    number=0.0,
    confidence=0.9,
    superseded_days=None,
)
TURN = TurnTraits(
    signals=Signals(0.5, 0.5, 0.3, 0.4, 0.4),
    group=UUID(int=1),
    index=10,
    is_user=True,
    named=False,
    words=40,
    asks=False,
    answers=False,
    tells_time=False,
    phrase=0.0,
)


def as_map(traits: Sequence[Any]) -> dict[UUID, Any]:
    return {UUID(int=at): one for at, one in enumerate(traits)}


def of_fact(traits: FactTraits, *, when: bool = False, with_vectors: bool = True) -> float:
    only = as_map([traits])
    scores = fact_scores(fact_features(only, when=when), only, level=LEVEL, with_vectors=with_vectors)
    return scores[UUID(int=0)].value


def of_turn(
    traits: TurnTraits, *others: TurnTraits, when: bool = False, own: bool = False, with_vectors: bool = True
) -> float:
    features = turn_features(as_map([traits, *others]), when=when, own=own)
    return turn_scores(features, level=LEVEL, with_vectors=with_vectors)[UUID(int=0)].value


def holds_together(score: Score) -> None:
    assert 0 <= score.value <= 1
    assert all(0 <= part <= 1 for part in score.parts.values())
    if score.parts:
        assert sum(score.parts.values()) == pytest.approx(score.value)
    assert set(score.parts) <= {"semantic", "keyword", "exact", "context"}


@given(st.lists(facts, max_size=5), levels, st.booleans(), st.booleans())
def test_the_score_of_a_fact_is_a_share_and_its_parts_add_up(
    traits: list[FactTraits], level: Level, when: bool, with_vectors: bool
) -> None:
    of = as_map(traits)
    features = fact_features(of, when=when)
    assert all(0 <= value <= 1 for one in features.values() for value in one.values())
    for score in fact_scores(features, of, level=level, with_vectors=with_vectors).values():
        holds_together(score)


@given(st.lists(turns, max_size=5), levels, st.booleans(), st.booleans(), st.booleans())
def test_the_score_of_a_turn_is_a_share_and_its_parts_add_up(
    traits: list[TurnTraits], level: Level, when: bool, own: bool, with_vectors: bool
) -> None:
    features = turn_features(as_map(traits), when=when, own=own)
    assert all(0 <= value <= 1 for one in features.values() for value in one.values())
    for score in turn_scores(features, level=level, with_vectors=with_vectors).values():
        holds_together(score)


@given(
    st.sampled_from(["coverage", "closeness"]),
    st.sampled_from(["signals", "source"]),
    st.booleans(),
    share,
    share,
)
def test_more_words_and_closer_meaning_never_lower_a_fact(
    signal: str, where: str, with_vectors: bool, one: float, other: float
) -> None:
    low, high = sorted((one, other))
    base = getattr(FACT, where)
    lower = replace(FACT, **{where: replace(base, **{signal: low})})
    higher = replace(FACT, **{where: replace(base, **{signal: high})})
    assert of_fact(lower, with_vectors=with_vectors) <= of_fact(higher, with_vectors=with_vectors)


@pytest.mark.parametrize("name", ["phrase", "entity", "attribute", "mention", "type", "number"])
@pytest.mark.parametrize("with_vectors", [True, False])
def test_each_exact_match_raises_a_fact(name: str, with_vectors: bool) -> None:
    full: dict[str, Any] = {name: 1.0}
    matched = replace(FACT, **full)
    assert of_fact(matched, with_vectors=with_vectors) > of_fact(FACT, with_vectors=with_vectors)


def test_a_name_that_everything_is_about_tells_nothing() -> None:
    rare, common = (replace(FACT, entity=1.0, entity_share=share) for share in (0.05, 1.0))
    assert of_fact(rare) > of_fact(common) == of_fact(FACT)


def test_a_fact_that_no_turn_states_stands_for_itself() -> None:
    itself = replace(FACT, source=FACT.signals)
    assert of_fact(replace(FACT, source=None)) == of_fact(itself)


def test_a_fact_that_tells_a_time_answers_when() -> None:
    told = replace(FACT, tells_time=True)
    assert of_fact(told, when=True) > of_fact(FACT, when=True)
    assert of_fact(told) == of_fact(FACT)


@given(facts, st.floats(0, 3650), st.floats(0, 3650))
def test_a_superseded_version_loses_with_time(traits: FactTraits, one: float, other: float) -> None:
    recent, old = sorted((one, other))
    scores = [of_fact(replace(traits, superseded_days=days)) for days in (None, recent, old)]
    assert scores == sorted(scores, reverse=True)


def test_a_superseded_version_keeps_nine_tenths_each_thirty_days() -> None:
    assert of_fact(replace(FACT, superseded_days=30.0)) == pytest.approx(0.9 * of_fact(FACT))
    assert of_fact(replace(FACT, superseded_days=60.0)) == pytest.approx(0.81 * of_fact(FACT))
    assert decay(None) == decay(0.0) == decay(-5.0) == 1.0


@given(facts, share, share)
def test_less_confidence_never_raises_a_fact(traits: FactTraits, one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert of_fact(replace(traits, confidence=low)) <= of_fact(replace(traits, confidence=high))


@pytest.mark.parametrize("changed", [{"phrase": 1.0}, {"signals": Signals(1.0, 0.5)}, {"signals": Signals(0.5, 1.0)}])
def test_words_meaning_and_phrase_raise_a_turn(changed: dict[str, Any]) -> None:
    assert of_turn(replace(TURN, **changed)) > of_turn(TURN)


def test_a_good_turn_lifts_those_around_it_in_its_session() -> None:
    good = replace(TURN, signals=Signals(1.0, 1.0))
    alone = of_turn(TURN)
    assert of_turn(TURN, replace(good, index=TURN.index + NEARBY_TURNS)) > alone
    assert of_turn(TURN, replace(good, index=TURN.index + NEARBY_TURNS + 1)) == alone
    assert of_turn(TURN, replace(good, index=TURN.index + 1, group=UUID(int=2))) == alone


def test_a_query_that_names_a_speaker_asks_for_their_turns() -> None:
    other = replace(TURN, index=25)
    assert of_turn(replace(TURN, named=True), other) > of_turn(TURN, other)
    # Once somebody is named, "I" no longer tells whose turns are meant.
    assert of_turn(TURN, replace(other, named=True), own=True) == of_turn(TURN, replace(other, named=True))


def test_a_query_in_the_first_person_asks_for_what_the_person_said() -> None:
    assert of_turn(TURN, own=True) > of_turn(TURN)
    assistant = replace(TURN, is_user=False)
    assert of_turn(assistant, own=True) == of_turn(assistant)


@pytest.mark.parametrize("kind", ["turns", "facts", "turns_words_only", "facts_words_only"])
def test_every_coefficient_belongs_to_a_feature_that_is_computed(kind: str) -> None:
    features = (
        turn_features(as_map([TURN]), when=True, own=True)
        if kind.startswith("turns")
        else fact_features(as_map([FACT]), when=True)
    )
    known = {*features[UUID(int=0)], "bias", "level_similarity", "level_coverage"}
    assert set(coefficients(kind)) <= known
    assert {"bias", "level_similarity", "level_coverage"} <= set(coefficients(kind))
    assert ("meaning" in coefficients(kind)) is not kind.endswith("words_only")


@given(st.dictionaries(st.integers(0, 50).map(lambda at: UUID(int=at)), share), st.integers(0, 60))
def test_the_best_come_first_and_ties_are_settled(values: dict[UUID, float], top_k: int) -> None:
    scores = {item: Score(value, {}) for item, value in values.items()}
    ranked = best(scores, top_k)
    assert len(ranked) == min(top_k, len(scores))
    assert [(-score.value, item) for item, score in ranked] == sorted((-v, i) for i, v in values.items())[:top_k]
    assert best(dict(reversed(scores.items())), top_k) == ranked


@pytest.mark.parametrize(
    ("query", "asks"),
    [
        ("When did we move?", True),
        ("What year was that?", True),
        ("How many weeks are left?", True),
        ("How long did it take?", True),
        ("What is the budget?", False),
        ("Tell me whenever it suits", False),
    ],
)
def test_a_question_for_a_time_is_recognised(query: str, asks: bool) -> None:
    assert asks_when(query) is asks


@pytest.mark.parametrize(
    ("text", "tells"),
    [
        ("We moved last week", True),
        ("due 3rd of May", True),
        ("in 2023", True),
        ("costs 500 euros", False),
        ("", False),
    ],
)
def test_a_told_time_is_recognised(text: str, tells: bool) -> None:
    assert tells_time(text) is tells


@given(st.lists(st.sampled_from(["red", "car", "blue", "house"]), max_size=6), st.text(max_size=60))
def test_a_phrase_is_a_share(query: list[str], text: str) -> None:
    assert 0 <= phrase_share(query, text, "english") <= 1


@pytest.mark.parametrize(
    ("query", "text", "expected"),
    [
        ("support group", "I went to the support group today", 1.0),
        ("support group", "the group gives support", 0.0),
        ("running shoes store", "He runs. New running shoes!", 0.5),
        ("happy stories", "a happiness story", 1.0),
        ("support", "support", 0.0),
    ],
)
def test_words_side_by_side_make_a_phrase(query: str, text: str, expected: float) -> None:
    assert phrase_share(lexemes(query), text, "english") == pytest.approx(expected)


@given(st.lists(st.text("abcdeyi ", max_size=8), min_size=2, max_size=4))
def test_skipping_texts_without_the_words_misses_no_phrase(words: list[str]) -> None:
    """The shortcut before stemming may not change what is found where the stems are beginnings of the words."""
    text = " ".join(words)
    query = lexemes(text)
    assume(len(query) > 1 and all(stem in text for stem in query))
    assert phrase_share(query, text, "english") == 1.0


def test_names_are_compared_without_case_and_possessive() -> None:
    assert names("Caroline\u2019s and MEL's plans") == {"caroline", "and", "mel", "plans"}
    assert first_person(names("What's my plan?"))
    assert not first_person(names("What does Ada plan?"))


def test_numbers_are_compared_by_value() -> None:
    assert {Decimal("1200.5"), Decimal(500)} <= numbers("1,200.50 of 500 euros")
    # Written the other way round as well: who asks does not say which.
    assert Decimal("1200.5") in numbers("1.200,50")
    assert numbers("none") == frozenset()


def test_a_name_matches_by_its_share() -> None:
    asked = frozenset(lexemes("which cloud provider do we use"))
    assert share_of(lexemes("cloud provider"), asked) == 1.0
    assert share_of(lexemes("cloud budget"), asked) == 0.5
    assert share_of([], asked) == 0.0
