"""What changed between two versions, and which sentence of a turn says a fact."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memoryhub.console.diff import COMPARED, Run, word_diff
from memoryhub.console.sentences import quote

TEXTS = st.text(alphabet="ab 1.,\n\u202e\u05e9", max_size=60)


def test_a_change_is_told_word_by_word() -> None:
    assert word_diff("Budget is 300 EUR a month", "Budget is 500 EUR a month") == (
        Run("same", "Budget is "),
        Run("gone", "300"),
        Run("new", "500"),
        Run("same", " EUR a month"),
    )


def test_words_replaced_in_a_row_are_one_replacement() -> None:
    assert word_diff("We run on old iron here", "We run on new steel here") == (
        Run("same", "We run on "),
        Run("gone", "old iron"),
        Run("new", "new steel"),
        Run("same", " here"),
    )


@given(TEXTS, TEXTS)
def test_either_text_can_be_read_out_of_the_difference(before: str, after: str) -> None:
    runs = word_diff(before, after)
    assert "".join(run.text for run in runs if run.kind != "new") == before
    assert "".join(run.text for run in runs if run.kind != "gone") == after
    assert all(run.text for run in runs)


def test_two_long_texts_without_anything_in_common_take_no_longer_than_reading_them() -> None:
    before, after = ("a " * (COMPARED * 40)), ("b " * (COMPARED * 40))
    assert [run.kind for run in word_diff(before, after)] == ["gone", "new", "same"]


@pytest.mark.parametrize(
    ("said", "about", "sentence"),
    [
        (
            "Hello. We talked about it at home. My budget is 500 EUR a month. Does that work?",
            ("Budget is 500 EUR a month", "budget"),
            "My budget is 500 EUR a month.",
        ),
        ("It costs 12.5 now. It was 13 then.", ("Costs 12.5",), "It costs 12.5 now."),
        ("She preferred tea\nand coffee at work", ("Prefers tea",), "She preferred tea"),
        ("我喜欢绿茶。我住在柏林。", ("我住在柏林",), "我住在柏林。"),
    ],
)
def test_the_sentence_that_says_it_is_found(said: str, about: tuple[str, ...], sentence: str) -> None:
    found = quote(said, about)
    assert found.said.strip() == sentence
    assert found.before + found.said + found.after == said


def test_where_nothing_is_shared_the_beginning_is_shown_without_a_mark() -> None:
    found = quote("Nothing of that sort. " * 100, ("Budget is 500 EUR",))
    assert (found.said, found.cut_after) == ("", True)
    assert found.before.startswith("Nothing of that sort.")


@given(st.text(max_size=400), st.text(max_size=60))
def test_a_quote_is_always_a_part_of_the_turn(text: str, about: str) -> None:
    found = quote(text, (about,))
    assert found.before + found.said + found.after in text


def test_a_turn_of_a_hundred_thousand_characters_is_searched_to_its_end() -> None:
    found = quote("So it goes on and on. " * 4600 + "The colour is teal.", ("Colour is teal",))
    assert found.said == "The colour is teal." and found.cut_before
