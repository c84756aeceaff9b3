"""The index: exact, inside one subject, kept in step with what is written and erased."""

import math
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import numpy as np
import pytest
from django.db import connection, connections
from django.utils import timezone
from numpy.typing import NDArray
from pgvector import HalfVector

from memoryhub.access.models import Workspace
from memoryhub.core.ids import uuid7
from memoryhub.core.search.indexing import LEASE, index_pending, release_claims
from memoryhub.core.search.models import Corpus, Pending, Posting, Vector
from memoryhub.core.search.query import K1, B, Scan, scan
from memoryhub.core.search.services import Document, index, pending_count, remove
from memoryhub.core.search.texts import register_texts
from memoryhub.core.tenancy import in_workspace

Rows = NDArray[Any]
MODEL = "test:model"
KIND = "note"
VOCABULARY = [f"word{at}" for at in range(40)]


class Notes:
    """Items of a kind of their own: what the indexer is told of them can be changed under its hands."""

    def __init__(self, workspace_id: UUID) -> None:
        self.workspace_id = workspace_id
        self.subject_id = uuid4()
        self.texts: dict[UUID, list[str]] = {}
        register_texts(KIND, lambda workspace_id, items: {i: self.texts[i] for i in items if i in self.texts})

    def write(self, *texts: str, subject_id: UUID | None = None) -> list[UUID]:
        documents = [Document(uuid7(), text.split()) for text in texts]
        self.texts |= {document.item: [text] for document, text in zip(documents, texts, strict=True)}
        with in_workspace(self.workspace_id):
            index(
                workspace_id=self.workspace_id,
                subject_id=subject_id or self.subject_id,
                kind=KIND,
                documents=documents,
            )
        return [document.item for document in documents]

    def embed(self, items: Sequence[UUID], vectors: Rows, model: str = MODEL, subject_id: UUID | None = None) -> None:
        with in_workspace(self.workspace_id):
            Vector.objects.bulk_create(
                Vector(
                    workspace_id=self.workspace_id,
                    subject_id=subject_id or self.subject_id,
                    kind=KIND,
                    item=item,
                    model=model,
                    embedding=HalfVector(vector),
                )
                for item, vector in zip(items, vectors, strict=True)
            )

    def scan(self, lexemes: Sequence[str] = (), vector: Rows | None = None) -> Scan:
        with in_workspace(self.workspace_id):
            return scan(
                workspace_id=self.workspace_id,
                subject_id=self.subject_id,
                kind=KIND,
                lexemes=lexemes,
                vector=HalfVector(vector).to_text() if vector is not None else None,
                model=MODEL,
            )


@pytest.fixture
def notes(hub_db: str, workspace: Workspace) -> Notes:
    return Notes(workspace.id)


def claim_until(notes: Notes, until: datetime) -> None:
    """As an indexer would that dies right after."""
    with in_workspace(notes.workspace_id):
        Pending.objects.update(claimed_until=until)


def unit(rows: Rows) -> Rows:
    return np.asarray(rows / np.linalg.norm(rows, axis=-1, keepdims=True))


def bm25(documents: Sequence[Sequence[str]], query: Sequence[str]) -> list[float]:
    """Robertson's formula, written as it stands in the book."""
    mean = sum(map(len, documents)) / len(documents)
    scores = []
    for document in documents:
        counts, score = Counter(document), 0.0
        for word in set(query):
            df = sum(word in other for other in documents)
            idf = math.log(1 + (len(documents) - df + 0.5) / (df + 0.5))
            score += idf * counts[word] * (K1 + 1) / (counts[word] + K1 * (1 - B + B * len(document) / mean))
        scores.append(score)
    return scores


def test_every_item_has_its_exact_score_by_words_and_by_meaning(notes: Notes) -> None:
    random = np.random.default_rng(7)
    documents = [list(random.choice(VOCABULARY, size=random.integers(1, 30))) for _ in range(300)]
    items = notes.write(*map(" ".join, documents))
    vectors = unit(random.standard_normal((300, 48)))
    notes.embed(items, vectors)
    notes.write("word1 word2 word2", subject_id=uuid4())  # somebody else's words are not counted
    for _ in range(5):
        asked = list(random.choice(VOCABULARY, size=4))
        vector = unit(random.standard_normal(48))
        found = notes.scan(asked, vector)
        by_item = {UUID(bytes=found.ids[at].tobytes()): at for at in range(len(found.keys))}
        order = [by_item[item] for item in items]
        assert found.words[order] == pytest.approx(bm25(documents, asked), abs=1e-9)
        assert found.cosines[order] == pytest.approx(vectors @ vector, abs=2e-3)  # half precision
        both = found.words / found.words.max() + np.maximum(found.cosines, 0) / found.cosines.max()
        best = found.best(10)
        assert [by_item[item] for item in best] == list(np.argsort(-both, kind="stable")[:10])
        assert all(0 <= value <= 1 for one in found.signals(items) for value in (one.words, one.meaning, one.coverage))


def test_nothing_is_found_of_nobody(notes: Notes) -> None:
    found = notes.scan(["word1"], unit(np.ones(48)))
    assert found.best(10) == []
    assert not found.has_meaning
    assert found.best_similarity == found.best_coverage == 0.0
    assert found.signals([uuid4()])[0].words == 0.0


def test_a_query_without_a_word_is_answered_by_meaning_alone(notes: Notes) -> None:
    items = notes.write("word1", "word2")
    notes.embed(items, unit(np.array([[1.0, 0.0], [1.0, 1.0]])))
    assert notes.scan([], unit(np.array([0.0, 1.0]))).best(2) == [items[1], items[0]]


def test_an_item_is_found_by_its_words_before_it_has_a_vector(notes: Notes) -> None:
    old, new = notes.write("word1 word2", "word3 word4")
    notes.embed([old], unit(np.array([[1.0, 1.0]])))
    found = notes.scan(["word3"], unit(np.array([1.0, 0.0])))
    assert found.best(1) == [new]
    # It is neither helped nor held back by the meaning that nobody knows yet.
    assert [one.similarity is None for one in found.signals([old, new])] == [False, True]
    assert found.signals([new])[0].closeness == pytest.approx(found.signals([old])[0].closeness)


def test_vectors_of_another_model_are_not_compared(notes: Notes) -> None:
    items = notes.write("word1", "word2")
    notes.embed(items, unit(np.ones((2, 3))), model="other:model")
    found = notes.scan(["word2"], unit(np.ones(48)))
    assert found.best(1) == [items[1]]
    assert not found.has_meaning


def test_the_statistics_follow_what_is_written_and_removed(notes: Notes) -> None:
    first = notes.write("word1 word2", "word1 word1 word3")
    notes.embed(first, unit(np.ones((2, 8))))
    with in_workspace(notes.workspace_id):
        assert Corpus.objects.values_list("items", "length").get(subject_id=notes.subject_id) == (2, 5)
        remove(workspace_id=notes.workspace_id, subject_id=notes.subject_id, kind=KIND, items=first[:1])
        assert Corpus.objects.values_list("items", "length").get(subject_id=notes.subject_id) == (1, 3)
        for model in (Posting, Vector, Pending):
            assert set(model.objects.values_list("item", flat=True)) == {first[1]}
    assert notes.scan(["word2"]).best(5) == []
    assert notes.scan(["word1"]).best(5) == [first[1]]


def test_the_indexer_embeds_what_waits(notes: Notes) -> None:
    items = notes.write("a cat sleeps", "the budget grew")
    with in_workspace(notes.workspace_id):
        assert pending_count(workspace_id=notes.workspace_id, subject_id=notes.subject_id, kind=KIND) == 2
    assert index_pending(notes.workspace_id) == 2
    assert index_pending(notes.workspace_id) == 0
    with in_workspace(notes.workspace_id):
        assert set(Vector.objects.values_list("item", flat=True)) == set(items)
        assert pending_count(workspace_id=notes.workspace_id, subject_id=notes.subject_id, kind=KIND) == 0


def test_what_was_erased_while_it_was_embedded_does_not_come_back(notes: Notes) -> None:
    kept, erased = notes.write("a cat sleeps", "the budget grew")
    loader = notes.texts

    def texts(workspace_id: UUID, items: Sequence[UUID]) -> dict[UUID, list[str]]:
        remove(workspace_id=workspace_id, subject_id=notes.subject_id, kind=KIND, items=[erased])
        return {item: loader[item] for item in items}

    register_texts(KIND, texts)
    index_pending(notes.workspace_id)
    with in_workspace(notes.workspace_id):
        assert list(Vector.objects.values_list("item", flat=True)) == [kept]


def test_an_item_that_is_gone_does_not_wait_for_ever(notes: Notes) -> None:
    [item] = notes.write("a cat sleeps")
    del notes.texts[item]
    assert index_pending(notes.workspace_id) == 1
    with in_workspace(notes.workspace_id):
        assert not Pending.objects.exists()


def test_what_a_dead_indexer_claimed_is_taken_again(notes: Notes) -> None:
    notes.write("a cat sleeps")
    claim_until(notes, timezone.now() + LEASE)
    assert index_pending(notes.workspace_id) == 0
    claim_until(notes, timezone.now())
    assert index_pending(notes.workspace_id) == 1
    notes.write("a dog barks")
    claim_until(notes, timezone.now() + LEASE)
    release_claims(notes.workspace_id)
    assert index_pending(notes.workspace_id) == 1


@pytest.mark.parametrize("table", ["search_vector", "search_posting"])
def test_a_search_reads_the_covering_index_alone(notes: Notes, table: str) -> None:
    """As the runtime role, under the policy: a heap fetch for each row costs ten times the scan."""
    random = np.random.default_rng(1)
    for subject_id in [uuid4() for _ in range(20)] + [notes.subject_id]:
        items = notes.write(*(" ".join(random.choice(VOCABULARY, size=10)) for _ in range(100)), subject_id=subject_id)
        notes.embed(items, unit(random.standard_normal((100, 384))), subject_id=subject_id)
    with connections["owner"].cursor() as cursor:
        # The test server commits without waiting for the log; until it is flushed no page counts as visible to all.
        cursor.execute("set synchronous_commit = on")
        cursor.execute(f"comment on table {table} is 'flushed'")
        cursor.execute(f"vacuum analyze {table}")
    columns = {
        "search_vector": ("item, embedding <#> %(vector)s::halfvec", "model = %(model)s"),
        "search_posting": ("item, lexeme, frequency, length", "lexeme = any(%(lexemes)s)"),
    }
    selected, condition = columns[table]
    values: dict[str, Any] = {
        "workspace": notes.workspace_id,
        "subject": notes.subject_id,
        "kind": KIND,
        "model": MODEL,
        "vector": HalfVector(np.ones(384)).to_text(),
        "lexemes": ["word1", "word2"],
    }
    with in_workspace(notes.workspace_id), connection.cursor() as cursor:
        cursor.execute(
            f"explain (analyze, costs off, timing off) select {selected} from {table} "  # noqa: S608
            f"where workspace_id = %(workspace)s and subject_id = %(subject)s and kind = %(kind)s and {condition}",
            values,
        )
        plan = "\n".join(row[0] for row in cursor.fetchall())
    assert "Index Only Scan" in plan, plan
    assert "Heap Fetches: 0" in plan, plan
