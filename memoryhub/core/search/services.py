"""Writing the index. Called in the transaction that writes the items, so that the two stand or fall together."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

from django.db import connection
from django.db.models import QuerySet

from memoryhub.core.embedding.service import embedding_model
from memoryhub.core.search.models import Corpus, Indexed, Pending, Posting, Vector

MAX_FREQUENCY = 32_767


@dataclass(frozen=True)
class Document:
    """An item's lexemes, as keyword search will see them: repeats count, order does not."""

    item: UUID
    lexemes: Sequence[str]


def index(*, workspace_id: UUID, subject_id: UUID, kind: str, documents: Sequence[Document]) -> None:
    """Make new items findable: by keyword from this transaction on, by vector once the indexer has been by."""
    if not documents:
        return
    Posting.objects.bulk_create(
        [
            Posting(
                workspace_id=workspace_id,
                subject_id=subject_id,
                kind=kind,
                item=document.item,
                lexeme=lexeme,
                frequency=min(frequency, MAX_FREQUENCY),
                length=len(document.lexemes),
            )
            for document in documents
            for lexeme, frequency in Counter(document.lexemes).items()
        ],
        batch_size=2000,
    )
    lengths = [len(document.lexemes) for document in documents if document.lexemes]
    if lengths:
        _count(workspace_id, subject_id, kind, len(lengths), sum(lengths))
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
    lengths = dict(own.values_list("item", "length").distinct())
    own.delete()
    if lengths:
        _count(workspace_id, subject_id, kind, -len(lengths), -sum(lengths.values()))
    for model in (Vector, Pending):
        rows: QuerySet[Indexed] = model.objects.filter(workspace_id=workspace_id, item__in=wanted)
        rows.delete()


def pending_count(*, workspace_id: UUID, subject_id: UUID, kind: str = "turn") -> int:
    """How many of a subject's items of `kind` are found by keyword only so far."""
    return Pending.objects.filter(workspace_id=workspace_id, subject_id=subject_id, kind=kind).count()


def _count(workspace_id: UUID, subject_id: UUID, kind: str, items: int, length: int) -> None:
    table = Corpus._meta.db_table
    with connection.cursor() as cursor:
        if items < 0:
            cursor.execute(
                f"update {table} set items = items + %s, length = length + %s "  # noqa: S608 - our own table's name
                "where workspace_id = %s and subject_id = %s and kind = %s",
                [items, length, workspace_id, subject_id, kind],
            )
            return
        cursor.execute(
            f"insert into {table} as c (workspace_id, subject_id, kind, items, length) "  # noqa: S608
            "values (%s, %s, %s, %s, %s) on conflict (subject_id, kind) "
            "do update set items = c.items + excluded.items, length = c.length + excluded.length",
            [workspace_id, subject_id, kind, items, length],
        )
