"""Long texts in pieces, and the vector that stands for all of them."""

from uuid import uuid4

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memoryhub.core.embedding import embed_documents
from memoryhub.core.search.indexing import MOST_PIECES, embed_items
from memoryhub.core.search.texts import pieces


@given(st.integers(0, 1000), st.integers(1, 120))
def test_pieces_hold_every_word_once_and_none_is_a_short_rest(count: int, size: int) -> None:
    words = [f"w{at}" for at in range(count)]
    cut = pieces(" ".join(words), size)
    assert " ".join(cut).split() == words
    assert len(cut) >= 1
    if len(cut) > 1:
        assert all(size // 3 < len(piece.split()) <= size + size // 3 for piece in cut)


def test_the_vector_of_a_short_item_is_that_of_its_text() -> None:
    item = uuid4()
    [alone] = embed_documents(["We moved to GCP."])
    assert embed_items({item: ["We moved to GCP."]})[item] == pytest.approx(alone, abs=1e-6)


def test_the_vector_of_a_long_item_is_the_mean_of_its_pieces() -> None:
    first, second = uuid4(), uuid4()
    texts = ["The budget is 500 euros.", "The cat is called Mia.", "It rains."]
    alone = embed_documents(texts)
    found = embed_items({first: texts[:2], second: texts[2:]})
    assert found[first] == pytest.approx(np.mean(alone[:2], axis=0), abs=1e-6)
    assert found[second] == pytest.approx(alone[2], abs=1e-6)


def test_an_endless_item_costs_a_bounded_number_of_pieces() -> None:
    item = uuid4()
    found = embed_items({item: ["yes"] * MOST_PIECES + ["something else entirely"] * 3})
    assert found[item] == pytest.approx(embed_documents(["yes"])[0], abs=1e-5)
