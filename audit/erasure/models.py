"""Erasures: what was to go, how far that is, and what keeps it gone."""

from typing import ClassVar

from django.db import models
from django.db.models import Q
from django.utils import timezone

from memoryhub.core.ids import uuid7


class ErasureKind(models.TextChoices):
    SUBJECT = "subject", "everything about a person"
    SESSION = "session", "one session"
    PERIOD = "period", "a period of time"
    FACT = "fact", "one fact"


class ErasureState(models.TextChoices):
    QUEUED = "queued", "queued"
    RUNNING = "running", "running"
    VERIFYING = "verifying", "being verified"
    COMPLETED = "completed", "completed"
    PARTIAL = "partial", "partial: something is left"


OPEN_ERASURES = (ErasureState.QUEUED, ErasureState.RUNNING, ErasureState.VERIFYING)


class Erasure(models.Model):
    """One erasure and, when it has ended, its certificate. Ids, codes and numbers only: it outlives what it erased."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    workspace_id = models.UUIDField()
    subject_id = models.UUIDField(help_text="The pseudonym that stays in the audit log.")
    kind = models.CharField(max_length=8, choices=ErasureKind)
    target = models.UUIDField(null=True, blank=True, help_text="The session or the fact.")
    since = models.DateTimeField(null=True, blank=True)
    until = models.DateTimeField(null=True, blank=True)
    statement = models.CharField(max_length=4, blank=True, default="", help_text="Of a fact: span or turn.")
    state = models.CharField(max_length=9, choices=ErasureState, default=ErasureState.QUEUED)
    reason = models.CharField(max_length=40, help_text="A code.")
    request_id = models.UUIDField(null=True, blank=True, help_text="The person's request that asked for it.")
    actor_kind = models.CharField(max_length=10)
    actor_id = models.CharField(max_length=64)
    planned = models.JSONField(default=dict, help_text="What was found when it began: rows by store and kind.")
    erased = models.JSONField(default=dict, help_text="What went, over all attempts: rows by store and kind.")
    failed = models.JSONField(default=dict, help_text="Stores whose last attempt failed, with a code.")
    recipients = models.JSONField(default=list, help_text="Who was given something of it, outside.")
    residue = models.JSONField(default=list, help_text="What the verification found left: places and ids.")
    verification = models.JSONField(default=dict, help_text="What was looked at, and how.")
    attempts = models.PositiveIntegerField(default=0)
    leased_until = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    sealed_at = models.DateTimeField(null=True, blank=True, help_text="From here on nothing of it is served.")
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(kind__in=ErasureKind.values), name="erasure_kind_known"),
            models.CheckConstraint(condition=Q(state__in=ErasureState.values), name="erasure_state_known"),
        ]
        indexes: ClassVar = [
            models.Index(fields=["workspace_id", "-id"], name="erasure_newest"),
            models.Index(fields=["workspace_id", "subject_id"], name="erasure_of_subject"),
            models.Index(fields=["workspace_id"], condition=Q(state__in=OPEN_ERASURES), name="erasure_open"),
        ]

    def __str__(self) -> str:
        return str(self.id)


class ErasureTrace(models.Model):
    """What an erasure needs while it runs: the ids of what goes, and texts by which what is left would show.

    It goes when the erasure is verified.
    """

    erasure = models.OneToOneField(Erasure, primary_key=True, on_delete=models.CASCADE, related_name="trace")
    workspace_id = models.UUIDField()
    part = models.JSONField(default=dict)
    ids = models.BinaryField(help_text="UUIDs, 16 bytes each.")
    texts = models.JSONField(default=list)

    def __str__(self) -> str:
        return str(self.erasure_id)


class Tombstone(models.Model):
    """A keyed digest of what was erased: a late or repeated write of it is recognised, and refused."""

    runtime_privileges = ("SELECT", "INSERT", "DELETE")

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    workspace_id = models.UUIDField()
    erasure_id = models.UUIDField()
    digest = models.BinaryField(max_length=32)
    key_id = models.CharField(max_length=16, help_text="Which key the digest was made with.")
    since = models.DateTimeField(null=True, blank=True, help_text="What is dated from then on; empty: ever.")
    until = models.DateTimeField(null=True, blank=True, help_text="What is dated before; empty: ever.")

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["workspace_id", "digest", "erasure_id"], name="tombstone_once"),
        ]

    def __str__(self) -> str:
        return str(self.id)
