"""Reading the index: the raw features of a query's best candidates inside one subject, in one round trip."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from django.db import connection
from pgvector import HalfVector

from memoryhub.core.embedding import Vectors
from memoryhub.core.search.models import Corpus, Posting, Vector

K1, B = 1.2, 0.75
"""BM25's constants (Robertson and Zaragoza, The Probabilistic Relevance Framework, 2009)."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """An item's raw features: cosine by view (the best piece), -1..1, and BM25 by view, from 0 up.

    `coverage` is the share of the query's weight (idf) whose lexemes stand in the item, 0..1, by view. A view is
    missing where the item has no vector of the asked model, or no lexeme of the query.
    """

    item: UUID
    cosines: Mapping[str, float]
    words: Mapping[str, float]
    coverage: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Candidates:
    """The best items by vectors and words together, with the range of each feature over all of the subject's items."""

    items: Sequence[Candidate]
    ranges: Mapping[str, tuple[float, float]]
    """`cosine:<view>` and `words:<view>` → (lowest, highest)."""


def candidates(
    *,
    workspace_id: UUID,
    subject_id: UUID,
    kind: str,
    lexemes: Sequence[str],
    vector: Vectors | None,
    model: str | None,
    vector_views: Sequence[str],
    word_views: Sequence[str],
    limit: int = 300,
) -> Candidates:
    """Score every item of the subject by its exact cosine in each vector view and BM25 in each word view.

    The scan is exact: no approximate index can lose an item. Returned are the `limit` best by the sum of the first
    vector view and the first word view, each scaled to 0..1 over the subject.
    """
    vector_views = tuple(vector_views) if vector is not None else ()
    if not vector_views and not lexemes:
        return Candidates((), {})
    columns = [*(f"cosine:{view}" for view in vector_views), *(f"words:{view}" for view in word_views)]
    sql, parameters = _statement(vector_views, tuple(word_views))
    values = {
        "workspace": workspace_id,
        "subject": subject_id,
        "kind": kind,
        "lexemes": list(dict.fromkeys(lexemes)),
        "model": model or "",
        "vector": HalfVector(vector).to_text() if vector is not None else None,
        "asked": len(set(lexemes)),
        "limit": limit,
    } | parameters
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        rows = cursor.fetchall()
    split = len(vector_views)
    width = len(columns) + len(word_views)
    items = [
        Candidate(
            item=row[0],
            cosines={view: row[1 + at] for at, view in enumerate(vector_views) if row[1 + at] is not None},
            words={view: row[1 + split + at] for at, view in enumerate(word_views) if row[1 + split + at]},
            coverage={
                view: row[1 + len(columns) + at] for at, view in enumerate(word_views) if row[1 + len(columns) + at]
            },
        )
        for row in rows
    ]
    ranges = {}
    if rows:
        extremes = rows[0][1 + width :]
        for at, column in enumerate(columns):
            low, high = extremes[2 * at], extremes[2 * at + 1]
            if low is not None and high is not None:
                ranges[column] = (low, high)
    return Candidates(items, ranges)


def _statement(vector_views: tuple[str, ...], word_views: tuple[str, ...]) -> tuple[str, dict[str, str]]:
    parameters = {f"v{at}": view for at, view in enumerate(vector_views)}
    parameters |= {f"w{at}": view for at, view in enumerate(word_views)}
    columns = [*parameters]
    coverages = [f"c{at}" for at in range(len(word_views))]
    vectors = ", ".join(
        f"max(similarity) filter (where view = %(v{at})s)::float8 as v{at}" for at in range(len(vector_views))
    )
    words = ", ".join(
        f"sum(score) filter (where view = %(w{at})s)::float8 as w{at}, "
        f"(sum(idf / total) filter (where view = %(w{at})s))::float8 as c{at}"
        for at in range(len(word_views))
    )
    listed = ", ".join(f"%({name})s" for name in columns if name.startswith("w"))
    with_vectors = (
        f"""v as materialized (
          select item, {vectors} from (
            select item, view, 1 - (embedding <=> %(vector)s::halfvec) as similarity
            from {Vector._meta.db_table}
            where workspace_id = %(workspace)s and subject_id = %(subject)s and kind = %(kind)s and model = %(model)s
          ) s group by item),"""  # noqa: S608 - our own names alone
        if vector_views
        else ""
    )
    joined = "v full join b using (item)" if vector_views else "b"
    # Absent words score 0 for every item that has any other feature.
    word_columns = ", ".join(f"coalesce(w{at}, 0) as w{at}, c{at}" for at in range(len(word_views)))
    all_columns = ", ".join([*(f"v{at}" for at in range(len(vector_views))), word_columns])
    extremes = ", ".join(f"min({name}) as {name}_low, max({name}) as {name}_high" for name in columns)
    extreme_names = ", ".join(f"e.{name}_low, e.{name}_high" for name in columns)
    firsts = [name for name in ("v0", "w0") if name in columns]
    order = " + ".join(f"coalesce((j.{n} - e.{n}_low) / nullif(e.{n}_high - e.{n}_low, 0), 0)" for n in firsts)
    sql = f"""
      with {with_vectors}
      p as materialized (
        select item, view, lexeme, frequency, length, count(*) over (partition by view, lexeme) as df
        from {Posting._meta.db_table}
        where workspace_id = %(workspace)s and subject_id = %(subject)s and kind = %(kind)s
          and lexeme = any(%(lexemes)s) and view in ({listed})),
      c as materialized (
        select view, items, length from {Corpus._meta.db_table}
        where workspace_id = %(workspace)s and subject_id = %(subject)s and kind = %(kind)s and items > 0),
      t as materialized (
        select d.view, d.lexeme, ln(1 + (greatest(c.items, d.df) - d.df + 0.5) / (d.df + 0.5)) as idf
        from (select distinct view, lexeme, df from p) d join c using (view)),
      g as (
        select t.view, sum(t.idf) + (%(asked)s - count(*)) * ln(1 + (min(c.items) + 0.5) / 0.5) as total
        from t join c using (view) group by t.view),
      b as (
        select item, {words} from (
          select p.item, p.view, t.idf, g.total,
            t.idf * p.frequency * {K1 + 1}
              / (p.frequency + {K1} * ({1 - B} + {B} * p.length / greatest(c.length::float8 / c.items, 1))) as score
          from p join t using (view, lexeme) join c using (view) join g using (view)
        ) s group by item),
      j as materialized (select item, {all_columns} from {joined}),
      e as (select {extremes} from j)
      select j.item, {", ".join(f"j.{name}" for name in [*columns, *coverages])}, {extreme_names}
      from j, e order by {order} desc, j.item limit %(limit)s"""  # noqa: S608 - built from our own names alone
    return sql, parameters
