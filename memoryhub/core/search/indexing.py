"""The indexer's work: claim what waits, embed it outside any transaction, write the vectors."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from uuid import UUID

import numpy as np
from django.db import connection
from django.db.models import Q
from django.utils import timezone
from pgvector import HalfVector

from memoryhub.core.embedding import Vectors, embed_documents, get_embedder
from memoryhub.core.search.models import Pending, Posting, Vector
from memoryhub.core.search.texts import texts_of
from memoryhub.core.tenancy import in_workspace

BATCH = 32
LEASE = timedelta(seconds=120)
LONGEST_PIECE = 6_000  # characters; every model cuts earlier or charges for more
MOST_PIECES = 64  # of one item: what is said in the first 6,000 words places it well enough


def index_pending(workspace_id: UUID) -> int:
    """Embed one batch of the workspace's waiting items; returns how many were taken.

    A batch whose embedding fails, or whose process dies, waits for its lease to end and is taken again. Items erased
    meanwhile are not brought back: their waiting rows are gone. Raises EmbedderUnavailable.
    """
    embedder = get_embedder()
    if embedder is None:
        return 0
    with in_workspace(workspace_id):
        now = timezone.now()
        free = Q(claimed_until__isnull=True) | Q(claimed_until__lt=now)
        claimed = list(
            Pending.objects.select_for_update(skip_locked=True)
            .filter(free, workspace_id=workspace_id)
            .order_by("id")[:BATCH]
        )
        if not claimed:
            return 0
        Pending.objects.filter(pk__in=[row.pk for row in claimed]).update(claimed_until=now + LEASE)
        texts: dict[UUID, Sequence[str]] = {}
        for kind in sorted({row.kind for row in claimed}):
            texts |= texts_of(kind, workspace_id, [row.item for row in claimed if row.kind == kind])
    try:
        vectors = embed_items(texts)
    except BaseException:
        with in_workspace(workspace_id):
            Pending.objects.filter(pk__in=[row.pk for row in claimed]).update(claimed_until=None)
        raise
    with in_workspace(workspace_id):
        waiting = Pending.objects.select_for_update().filter(pk__in=[row.pk for row in claimed])
        written = [
            Vector(
                workspace_id=workspace_id,
                subject_id=row.subject_id,
                kind=row.kind,
                item=row.item,
                model=embedder.model,
                embedding=HalfVector(vectors[row.item]),
            )
            for row in waiting
            if row.item in vectors
        ]
        # Vectors of another model are of no use once the current one has seen the item.
        Vector.objects.filter(workspace_id=workspace_id, item__in=[row.item for row in written]).delete()
        Vector.objects.bulk_create(written)
        Pending.objects.filter(pk__in=[row.pk for row in claimed]).delete()
    return len(claimed)


def embed_items(texts: Mapping[UUID, Sequence[str]]) -> dict[UUID, Vectors]:
    """The vector of each item: the mean over its pieces. Raises EmbedderUnavailable."""
    flat = [(item, piece[:LONGEST_PIECE]) for item, of_item in texts.items() for piece in of_item[:MOST_PIECES]]
    if not flat:
        return {}
    found: dict[UUID, list[Vectors]] = {}
    for (item, _), vector in zip(flat, embed_documents([piece for _, piece in flat]), strict=True):
        found.setdefault(item, []).append(vector)
    return {item: np.mean(vectors, axis=0) for item, vectors in found.items()}


def queue_missing(workspace_id: UUID, model: str) -> int:
    """Let every item wait that has no vector of `model` and does not wait already; returns how many."""
    pending, posting, vector = (table._meta.db_table for table in (Pending, Posting, Vector))
    with in_workspace(workspace_id), connection.cursor() as cursor:
        cursor.execute(
            f"insert into {pending} (workspace_id, subject_id, kind, item, since) "  # noqa: S608 - our own names
            "select known.workspace_id, known.subject_id, known.kind, known.item, now() from ("
            f"  select workspace_id, subject_id, kind, item from {posting} where workspace_id = %(workspace)s"
            "   union"
            f"  select workspace_id, subject_id, kind, item from {vector} where workspace_id = %(workspace)s"
            ") known where not exists ("
            f"  select from {vector} v where v.item = known.item and v.model = %(model)s"
            ") on conflict (item) do nothing",
            {"workspace": workspace_id, "model": model},
        )
        return int(cursor.rowcount)


def release_claims(workspace_id: UUID) -> None:
    """Let everything that is claimed be taken again, for an indexer that starts in the place of one that died."""
    with in_workspace(workspace_id):
        Pending.objects.filter(workspace_id=workspace_id, claimed_until__isnull=False).update(claimed_until=None)
