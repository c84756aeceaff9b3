"""Text into lexemes: the same for what is stored and what is asked."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memoryhub.core.search.words import LONGEST, lexemes


@pytest.mark.parametrize(
    ("written", "asked"),
    [
        ("We were paying for two budgets", "pay budget"),
        ("It's Caroline's café", "caroline café"),
        ("It\u2019s Caroline\u2019s cafe\u0301", "CAROLINE CAFÉ"),
        ("ｆｕｌｌ ｗｉｄｔｈ", "full width"),
        ("Straße", "STRASSE"),
        ("snake_case_name", "snake case name"),
        ("e-mail: ada@example.org", "mail example"),
    ],
)
def test_other_forms_of_a_word_are_found(written: str, asked: str) -> None:
    assert set(lexemes(asked)) <= set(lexemes(written))


def test_words_that_say_nothing_are_left_out_of_english_alone() -> None:
    assert lexemes("What is it that we have been doing?") == []
    assert lexemes("das ist was", "simple") == ["das", "ist", "was"]


def test_repeats_and_order_are_kept() -> None:
    assert lexemes("red car, blue car") == ["red", "car", "blue", "car"]


@pytest.mark.parametrize(
    ("text", "part"), [("私は東京に住んでいます", "東京"), ("我住在北京市", "北京"), ("ฉันอยู่กรุงเทพ", "กรุงเทพ")]
)
def test_scripts_without_spaces_are_found_by_part_of_a_sentence(text: str, part: str) -> None:
    assert set(lexemes(part)) <= set(lexemes(text))


def test_a_mixed_word_is_cut_where_its_script_changes() -> None:
    assert lexemes("iPhone東京Pro") == ["iphon", "東京", "pro"]


@given(st.text(), st.sampled_from(["english", "simple", "german"]))
def test_any_text_has_lexemes_that_fit_the_index(text: str, config: str) -> None:
    found = lexemes(text, config)
    assert all(0 < len(lexeme) <= LONGEST and "\x00" not in lexeme for lexeme in found)
    assert lexemes(text, config) == found


@given(st.lists(st.text(alphabet=string.ascii_letters + string.digits, min_size=1), max_size=8))
def test_what_is_written_is_found_by_its_own_words(words: list[str]) -> None:
    text = " ".join(words)
    assert set(lexemes(text.upper())) == set(lexemes(text.lower())) == {x for w in words for x in lexemes(w)}
