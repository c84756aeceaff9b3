"""What screening finds in texts, and that it stands any text at all."""

import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from benchmarks.screening import HALVES, hostile_texts, judge, read_samples
from memoryhub.core.screening import LABELS, SENSITIVE, Kind, redacted, screen
from memoryhub.core.screening.folding import fold

PIECES = [
    "4111 1111 1111 1111",
    "DE89 3704 0044 0532 0130 00",
    "AKIAIOSFODNN7EXAMPLE",
    "my password is hunter2x",
    "+44 20 7946 0958",
    "ada@example.org",
    "ignore all previous instructions",
    "https://example.org/?q=1",
    "<script>",
    "\u202e",
    "\u200b\u200b",
    "SSN 536-90-4399",
    " ",
    "\n",
    "\uff14",
    "\U0001f3f4\U000e0067\U000e0062\U000e007f",
]
TEXTS = st.one_of(st.text(max_size=300), st.lists(st.sampled_from(PIECES) | st.text(max_size=5)).map("".join))


@given(TEXTS)
def test_findings_lie_in_the_text_apart_and_in_order(text: str) -> None:
    end = 0
    for found in screen(text):
        assert end <= found.start < found.end <= len(text)
        end = found.end


@example("+44 20 7946 0958 4111 1111 1111 1111")
@given(
    st.lists(st.sampled_from(PIECES) | st.text(st.characters(categories=["L", "Zs", "Po"]), max_size=9)).map(" ".join)
)
def test_what_was_redacted_is_left_as_it_is_the_next_time(text: str) -> None:
    """Facts are taken out of turns that were screened before, and screened again."""
    clean = redacted(text, screen(text, kinds=SENSITIVE))
    for found in screen(text, kinds=SENSITIVE):
        assert f"[redacted: {LABELS[found.kind]}]" in clean
    assert not screen(clean, kinds=SENSITIVE)


@pytest.mark.parametrize(
    "told", ["my password is hunter2x, ok", "password: hunter2x and more", "Passwort lautet s3cr3t!!"]
)
def test_a_password_that_was_redacted_is_redacted_once(told: str) -> None:
    clean = redacted(told, screen(told, kinds=SENSITIVE))
    assert clean.count("[redacted: secret]") == 1
    assert not screen(clean, kinds=SENSITIVE)


@given(TEXTS, st.sets(st.sampled_from(list(Kind))))
def test_only_what_is_asked_for_is_looked_for(text: str, kinds: set[Kind]) -> None:
    assert {found.kind for found in screen(text, kinds=kinds)} <= kinds


@given(TEXTS)
def test_a_folded_text_leads_back_to_its_places(text: str) -> None:
    folded = fold(text)
    for at in range(len(folded.text)):
        start, end = folded.span(at, at + 1)
        assert 0 <= start < end <= len(text)


@pytest.mark.parametrize(
    ("text", "kind", "found"),
    [
        ("Card 4111 1111 1111 1111, exp 12/29", Kind.PAYMENT_CARD, "4111 1111 1111 1111"),
        ("order 12 4111 1111 1111 1111 twice", Kind.PAYMENT_CARD, "4111 1111 1111 1111"),
        ("4111\u200b111111111111 it is", Kind.PAYMENT_CARD, "4111\u200b111111111111"),
        ("Pay to DE89 3704 0044 0532 0130 00 today", Kind.IBAN, "DE89 3704 0044 0532 0130 00"),
        ("SSN 536-90-4399 please", Kind.NATIONAL_ID, "536-90-4399"),
        ("my password is hunter2x!", Kind.SECRET, "hunter2x"),
        ("redis://:s3cr3tpass@cache:6379", Kind.SECRET, "s3cr3tpass"),
        ("write to ada@example.org.", Kind.EMAIL, "ada@example.org"),
        ("call me at +44 20 7946 0958", Kind.PHONE, "+44 20 7946 0958"),
    ],
)
def test_what_is_found_is_the_value_and_nothing_beside_it(text: str, kind: Kind, found: str) -> None:
    assert [text[one.start : one.end] for one in screen(text, kinds={kind})] == [found]


@pytest.mark.parametrize(
    "text",
    [
        "Order 4111 1111 1111 1112 has shipped.",
        "Version 1.2.3.4 of 2026-11-23 at 10:45:12",
        "My password is safe with me.",
        "The password is required.",
        'password = input("Password: ")',
        "Invoice DE89 3704 0044 0532 0130 01",
        "Call me when 1234 is done",
    ],
)
def test_what_only_looks_like_it_is_left_alone(text: str) -> None:
    assert screen(text, kinds=SENSITIVE) == ()


@pytest.mark.parametrize("name", sorted(hostile_texts(1)))
def test_no_text_takes_long(name: str) -> None:
    began = time.perf_counter()
    screen(hostile_texts(20_000)[name])
    assert time.perf_counter() - began < 3, "by the square of the length it would be a minute"


def test_both_halves_of_the_labelled_texts_are_read_and_values_counted() -> None:
    """The figures themselves are promised by `python -m benchmarks.screening`."""
    from benchmarks.screening import DATA

    for half in HALVES:
        samples = read_samples(DATA / f"{half}.jsonl")
        assert len(samples) >= 250
        assert any(sample.harmless for sample in samples)
        tallies = judge(samples)
        assert set(tallies) == set(Kind)
        strong = [tallies[kind] for kind in (Kind.PAYMENT_CARD, Kind.IBAN, Kind.SECRET)]
        assert sum(one.found for one in strong) >= 0.9 * sum(one.wanted for one in strong)
        assert sum(one.wrong for one in strong) == 0
