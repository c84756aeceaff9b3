"""The indexer's work: claim what waits, embed it outside any transaction, write the vectors."""

from datetime import timedelta
from uuid import UUID

from django.db.models import Q
from django.utils import timezone
from pgvector import HalfVector

from memoryhub.core.embedding import embed_documents, get_embedder
from memoryhub.core.search.models import Pending, Vector
from memoryhub.core.search.texts import Text, texts_of
from memoryhub.core.tenancy import in_workspace

BATCH = 32
LEASE = timedelta(seconds=120)
LONGEST_TEXT = 6_000  # characters; every model cuts earlier or charges for more


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
        texts: list[Text] = []
        for kind in sorted({row.kind for row in claimed}):
            texts += texts_of(kind, workspace_id, [row.item for row in claimed if row.kind == kind])
    try:
        vectors = embed_documents([text.text[:LONGEST_TEXT] for text in texts])
    except BaseException:
        with in_workspace(workspace_id):
            Pending.objects.filter(pk__in=[row.pk for row in claimed]).update(claimed_until=None)
        raise
    with in_workspace(workspace_id):
        waiting = {
            row.item: row for row in Pending.objects.select_for_update().filter(pk__in=[row.pk for row in claimed])
        }
        Vector.objects.bulk_create(
            [
                Vector(
                    workspace_id=workspace_id,
                    subject_id=waiting[text.item].subject_id,
                    kind=waiting[text.item].kind,
                    item=text.item,
                    view=text.view,
                    piece=text.piece,
                    model=embedder.model,
                    embedding=HalfVector(vector),
                )
                for text, vector in zip(texts, vectors, strict=True)
                if text.item in waiting
            ],
            ignore_conflicts=True,
        )
        Pending.objects.filter(pk__in=[row.pk for row in waiting.values()]).delete()
    return len(claimed)
