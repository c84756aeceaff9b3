"""The index: vectors and postings of items, by kind. What an item is only the apps above know.

Nothing here has a foreign key: items live in tables of other apps, which remove what they indexed.
"""

from typing import ClassVar

from django.db import models
from django.utils import timezone
from pgvector.django import HalfVectorField


class Indexed(models.Model):
    """Where a row of the index belongs."""

    workspace_id = models.UUIDField()
    subject_id = models.UUIDField()
    kind = models.CharField(max_length=8)
    item = models.UUIDField()

    class Meta:
        abstract = True


class Vector(Indexed):
    """What an item means: the mean of the unit vectors of its text's pieces. Of any dimension up to 1,024."""

    model = models.CharField(max_length=80)
    embedding = HalfVectorField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["item", "model"], name="search_vector_once"),
        ]
        # The covering index that every search scans is made in the migration: Django cannot name its workspace-first
        # order together with INCLUDE of a halfvec.

    def __str__(self) -> str:
        return f"{self.item} by {self.model}"


class Posting(Indexed):
    """How often a lexeme stands in the text of an item, and how long that text is, in lexemes."""

    lexeme = models.CharField(max_length=64)
    frequency = models.PositiveSmallIntegerField()
    length = models.PositiveIntegerField()

    class Meta:
        indexes: ClassVar = [models.Index(fields=["item"], name="search_posting_of_item")]

    def __str__(self) -> str:
        return f"{self.lexeme} in {self.item}"


class Corpus(models.Model):
    """How many items of a kind a subject has and how long they are together: BM25's statistics, kept as written."""

    workspace_id = models.UUIDField()
    subject_id = models.UUIDField()
    kind = models.CharField(max_length=8)
    items = models.PositiveIntegerField()
    length = models.PositiveBigIntegerField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["subject_id", "kind"], name="search_corpus_once"),
        ]

    def __str__(self) -> str:
        return f"{self.subject_id} {self.kind}"


class Pending(Indexed):
    """An item that waits for its vectors. Keyword search finds it already."""

    since = models.DateTimeField(default=timezone.now)
    claimed_until = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["item"], name="search_pending_once")]
        indexes: ClassVar = [
            models.Index(fields=["workspace_id", "id"], name="search_pending_order"),
            models.Index(fields=["subject_id"], name="search_pending_of_subject"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.item}"
