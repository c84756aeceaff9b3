from typing import ClassVar

from django.db import models
from django.db.models import Q
from django.utils import timezone

from memoryhub.core.ids import uuid7


class RetentionSweep(models.Model):
    """One sweep of one kind of thing in a workspace. Counts only; committed with each batch that it removes."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    workspace_id = models.UUIDField()
    kind = models.CharField(max_length=20)
    before = models.DateTimeField(help_text="What is older than this was removed.")
    items = models.PositiveIntegerField(default=0, help_text="Things of the kind that were removed.")
    rows = models.PositiveIntegerField(default=0, help_text="Rows removed or changed, with what hangs on them.")
    held = models.PositiveIntegerField(default=0, help_text="Things that a legal hold kept.")
    started_at = models.DateTimeField(default=timezone.now, editable=False)
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["workspace_id", "kind"],
                condition=Q(ended_at__isnull=True),
                name="retention_one_of_a_kind",
            ),
        ]
        indexes: ClassVar = [models.Index(fields=["workspace_id", "kind", "-id"], name="retention_newest")]

    def __str__(self) -> str:
        return f"{self.kind} {self.started_at:%Y-%m-%d}"
