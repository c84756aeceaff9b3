"""Reading the index: every item of a subject scored by meaning and by words, in one round trip.

Nothing is approximated and nothing is cut off: the database hands over the cosine of each vector of the subject and the
postings of the query's lexemes as packed arrays, and what is left to do is arithmetic on them.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import numpy as np
from django.db import connection
from numpy.typing import NDArray
from psycopg import Cursor

from memoryhub.core.search.models import Corpus, Posting, Vector

K1, B = 1.2, 0.5
"""BM25's constants (Robertson and Zaragoza, The Probabilistic Relevance Framework, 2009). With context in each document
its length says little, hence the low `B`."""

Array = NDArray[Any]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Signals:
    """How an item answers a query, each from 0 to 1. An item without a vector of the asked model gets the mean."""

    words: float = 0.0
    """BM25 beside the subject's best item."""
    meaning: float = 0.0
    """Cosine beside the subject's best item."""
    coverage: float = 0.0
    """BM25 beside the most that the query's lexemes could give."""
    closeness: float = 0.0
    """The cosine itself, at least 0."""
    similarity: float | None = None
    """The raw cosine, -1 to 1; None without a vector."""


@dataclass(frozen=True, slots=True)
class Scan:
    """All items of a subject with a vector or a lexeme of the query: BM25, and cosine (NaN without a vector)."""

    keys: NDArray[np.uint64]
    """The last eight bytes of each item's id, sorted: random in every version of UUID that is in use here."""
    ids: Array
    words: Floats
    cosines: Floats
    most_words: float = 1.0
    """The BM25 that an item full of the query's lexemes would approach."""

    @property
    def best_coverage(self) -> float:
        """The best item's BM25 beside the most that there could be, 0..1."""
        return float(self.words.max(initial=0.0) / self.most_words)

    @property
    def best_similarity(self) -> float:
        """The highest cosine, at least 0."""
        return float(self._closeness().max(initial=0.0))

    @property
    def has_meaning(self) -> bool:
        """Whether any item could be compared by meaning."""
        return bool(np.isfinite(self.cosines).any())

    def best(self, limit: int) -> list[UUID]:
        """The `limit` best items by words and meaning together, best first."""
        both = _beside_best(self.words) + _beside_best(self._closeness())
        front = np.argpartition(-both, limit)[:limit] if limit < len(both) else np.arange(len(both))
        # Equal sums in the order of ids: the same query gives the same answer.
        order = front[np.lexsort((self.keys[front], -both[front]))]
        return [UUID(bytes=self.ids[at].tobytes()) for at in order]

    def without(self, items: Collection[UUID]) -> "Scan":
        """The same search as if `items` were not there."""
        keys = np.array([item.int & 0xFFFF_FFFF_FFFF_FFFF for item in items], dtype=np.uint64)
        kept = ~np.isin(self.keys, keys)
        return Scan(self.keys[kept], self.ids[kept], self.words[kept], self.cosines[kept], self.most_words)

    def signals(self, items: Sequence[UUID]) -> list[Signals]:
        """The signals of each of `items`, in their order; nothing but zeros for one that was not found."""
        if not len(self.keys):
            return [Signals() for _ in items]
        closeness = self._closeness()
        rows = np.column_stack(
            [_beside_best(self.words), _beside_best(closeness), self.words / self.most_words, closeness]
        )
        keys = np.array([item.int & 0xFFFF_FFFF_FFFF_FFFF for item in items], dtype=np.uint64)
        places = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        return [
            self._signals_at(rows, at) if self.keys[at] == key else Signals()
            for at, key in zip(places, keys, strict=True)
        ]

    def _signals_at(self, rows: Floats, at: int) -> Signals:
        words, meaning, coverage, closeness = rows[at].tolist()
        similarity = float(self.cosines[at])
        return Signals(words, meaning, coverage, closeness, similarity if np.isfinite(similarity) else None)

    def _closeness(self) -> Floats:
        if not self.has_meaning:
            return np.zeros(len(self.keys))
        return np.maximum(np.nan_to_num(self.cosines, nan=float(np.nanmean(self.cosines))), 0.0)


def _beside_best(values: Floats) -> Floats:
    return values / max(values.max(initial=0.0), 1e-9)


EMPTY = Scan(np.empty(0, np.uint64), np.empty(0, np.dtype("V16")), np.empty(0, np.float64), np.empty(0, np.float64))

_POSTING = np.dtype([("item", "V16"), ("frequency", ">i2"), ("length", ">i4")])
_VECTOR = np.dtype([("item", "V16"), ("cosine", ">f4")])
_CORPUS = np.dtype([("items", ">i4"), ("length", ">i8")])

_WHERE = "workspace_id = %(workspace)s and subject_id = %(subject)s and kind = %(kind)s"
# Records of fixed size, one string of them for each lexeme: a row for each posting would take four times as long.
_POSTINGS = f"""
  select 'corpus', '', int4send(items) || int8send(length) from {Corpus._meta.db_table} where {_WHERE}
  union all
  select 'postings', lexeme, string_agg(uuid_send(item) || int2send(frequency) || int4send(length), ''::bytea)
    from {Posting._meta.db_table} where {_WHERE} and lexeme = any(%(lexemes)s) group by lexeme"""  # noqa: S608 - our own
_VECTORS = f"""
  union all
  select 'vectors', '',
         string_agg(uuid_send(item) || float4send((-(embedding <#> %(vector)s::halfvec))::real), ''::bytea)
    from {Vector._meta.db_table} where {_WHERE} and model = %(model)s"""  # noqa: S608 - our own names


def scan(
    *,
    workspace_id: UUID,
    subject_id: UUID,
    kind: str,
    lexemes: Sequence[str],
    vector: str | None,
    model: str | None,
) -> Scan:
    """Score every item of `kind` that the subject has against the query, by BM25 and by exact cosine.

    `vector` is the query's unit vector as pgvector writes it.
    """
    distinct = list(dict.fromkeys(lexemes))
    values = {
        "workspace": workspace_id,
        "subject": subject_id,
        "kind": kind,
        "lexemes": distinct,
        "model": model,
        "vector": vector,
    }
    connection.ensure_connection()
    # Django's cursors read text alone, in which every byte of a record travels as two digits.
    with connection.wrap_database_errors, Cursor(connection.connection) as cursor:
        rows = cursor.execute(_POSTINGS + _VECTORS if vector is not None else _POSTINGS, values, binary=True).fetchall()
    corpus = _records([sent for part, _, sent in rows if part == "corpus"], _CORPUS)
    vectors = _records([sent for part, _, sent in rows if part == "vectors"], _VECTOR)
    lists = [_records([sent], _POSTING) for part, _, sent in rows if part == "postings"]
    postings = np.concatenate([np.empty(0, _POSTING), *lists])
    words, possible = _bm25(
        df=np.array([len(one) for one in lists], dtype=np.intp),
        frequencies=postings["frequency"].astype(np.float64),
        lengths=postings["length"].astype(np.float64),
        absent=len(distinct) - len(lists),
        items=int(corpus["items"].sum()),
        length=int(corpus["length"].sum()),
    )
    return _joined(
        np.ascontiguousarray(postings["item"]),
        words,
        possible,
        np.ascontiguousarray(vectors["item"]),
        vectors["cosine"].astype(np.float64),
    )


def _joined(hits: Array, words: Floats, possible: float, ids: Array, cosines: Floats) -> Scan:
    """One row an item, of what was found by words (a row a lexeme) and by vectors."""
    both = np.concatenate([ids, hits])
    keys, first, place = np.unique(_keys(both), return_index=True, return_inverse=True)
    if not len(keys):
        return EMPTY
    cosine = np.full(len(keys), np.nan)
    cosine[place[: len(ids)]] = cosines
    score: Floats = np.bincount(place[len(ids) :], weights=words, minlength=len(keys)).astype(np.float64)
    return Scan(keys, both[first], score, cosine, possible or 1.0)


def _bm25(
    *, df: NDArray[np.intp], frequencies: Floats, lengths: Floats, absent: int, items: int, length: int
) -> tuple[Floats, float]:
    """What each posting adds to its item's score, and the most that the query's lexemes could add up to.

    Postings stand lexeme after lexeme, `df` of each; `absent` lexemes of the query stand in no item.
    """
    # Writers that have not committed yet may have counted less than is there.
    items = max(items, int(df.max(initial=0)))
    rarity = np.log1p((items - df + 0.5) / (df + 0.5))
    mean_length = max(length / max(items, 1), 1.0)
    weight = frequencies * (K1 + 1) / (frequencies + K1 * (1 - B + B * lengths / mean_length))
    most = float(rarity.sum()) + absent * float(np.log1p((items + 0.5) / 0.5))
    return np.repeat(rarity, df) * weight, most * (K1 + 1)


def _keys(ids: Array) -> NDArray[np.uint64]:
    return ids.view(">u8").reshape(-1, 2)[:, 1].astype(np.uint64)


def _records(sent: Sequence[bytes | None], record: np.dtype[np.void]) -> Array:
    return np.frombuffer(b"".join(one for one in sent if one), record)
