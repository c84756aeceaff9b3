"""Writing the index. Called in the transaction that writes the items, so that the two stand or fall together."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from django.db import connection
from django.db.models import QuerySet

from memoryhub.core.embedding.service import embedding_model
from memoryhub.core.search.models import Corpus, Indexed, Pending, Posting, Vector

MAX_FREQUENCY = 32_767


@dataclass(frozen=True)
class Document:
    """An item's lexemes by view, as keyword search will see them."""

    item: UUID
    views: Mapping[str, Sequence[str]]


def index(*, workspace_id: UUID, subject_id: UUID, kind: str, documents: Sequence[Document]) -> None:
    """Make new items findable: by keyword from this transaction on, by vector once the indexer has been by."""
    if not documents:
        return
    postings = []
    totals: dict[str, list[int]] = {}
    for document in documents:
        for view, words in document.views.items():
            if not words:
                continue
            total = totals.setdefault(view, [0, 0])
            total[0] += 1
            total[1] += len(words)
            postings += [
                Posting(
                    workspace_id=workspace_id,
                    subject_id=subject_id,
                    kind=kind,
                    item=document.item,
                    view=view,
                    lexeme=lexeme,
                    frequency=min(frequency, MAX_FREQUENCY),
                    length=len(words),
                )
                for lexeme, frequency in Counter(words).items()
            ]
    Posting.objects.bulk_create(postings, batch_size=2000)
    for view, (items, length) in sorted(totals.items()):
        _count(workspace_id, subject_id, kind, view, items, length)
    if embedding_model() is not None:
        Pending.objects.bulk_create(
            [
                Pending(workspace_id=workspace_id, subject_id=subject_id, kind=kind, item=document.item)
                for document in documents
            ],
            ignore_conflicts=True,
        )


def remove(*, workspace_id: UUID, subject_id: UUID, kind: str, items: Iterable[UUID]) -> None:
    """Take items out of the index, whatever state they are in."""
    wanted = list(items)
    own = Posting.objects.filter(workspace_id=workspace_id, subject_id=subject_id, kind=kind, item__in=wanted)
    lengths: dict[str, dict[UUID, int]] = {}
    for item, view, length in own.values_list("item", "view", "length").distinct():
        lengths.setdefault(view, {})[item] = length
    own.delete()
    for view, of_items in sorted(lengths.items()):
        _count(workspace_id, subject_id, kind, view, -len(of_items), -sum(of_items.values()))
    for model in (Vector, Pending):
        rows: QuerySet[Indexed] = model.objects.filter(workspace_id=workspace_id, item__in=wanted)
        rows.delete()


def pending_count(*, workspace_id: UUID, subject_id: UUID, kind: str = "turn") -> int:
    """How many of a subject's items of `kind` are found by keyword only so far."""
    return Pending.objects.filter(workspace_id=workspace_id, subject_id=subject_id, kind=kind).count()


def _count(workspace_id: UUID, subject_id: UUID, kind: str, view: str, items: int, length: int) -> None:
    table = Corpus._meta.db_table
    with connection.cursor() as cursor:
        if items < 0:
            cursor.execute(
                f"update {table} set items = items + %s, length = length + %s "  # noqa: S608 - our own table's name
                "where workspace_id = %s and subject_id = %s and kind = %s and view = %s",
                [items, length, workspace_id, subject_id, kind, view],
            )
            return
        cursor.execute(
            f"insert into {table} as c (workspace_id, subject_id, kind, view, items, length) "  # noqa: S608
            "values (%s, %s, %s, %s, %s, %s) on conflict (subject_id, kind, view) "
            "do update set items = c.items + excluded.items, length = c.length + excluded.length",
            [workspace_id, subject_id, kind, view, items, length],
        )
