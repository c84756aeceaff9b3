"""The audit log: rows that are written once, and the salts that make their commitments provable while they last."""

from typing import ClassVar
from uuid import UUID

from django.db import models
from django.db.models import Q

from audit.actors import ActorKind
from audit.integrity import SALT_BYTES, SCHEMA
from memoryhub.core.ids import uuid7

# What happened to the installation itself (sign-ins, new accounts, new workspaces) belongs to no tenant.
INSTALLATION = UUID(int=0)


class Outcome(models.TextChoices):
    OK = "ok", "ok"
    DENIED = "denied", "denied"
    FAILED = "failed", "failed"
    DEGRADED = "degraded", "degraded"


class Entry(models.Model):
    """Who did what to which thing, and how it ended. Never changed, never removed but by pruning a whole prefix.

    Triggers refuse UPDATE, DELETE and TRUNCATE to everybody; the runtime role lacks the rights as well. No foreign
    keys: the ids outlive what they name. Write with `audit.record`, which alone knows the leaf.
    """

    runtime_privileges = ("SELECT", "INSERT")

    id = models.UUIDField(primary_key=True, editable=False, help_text="Version 7, made from `at`: both sort alike.")
    workspace_id = models.UUIDField()
    at = models.DateTimeField()
    actor_kind = models.CharField(max_length=10, choices=[(kind.value, kind.value) for kind in ActorKind])
    actor_id = models.CharField(max_length=64)
    credential = models.CharField(max_length=64, blank=True, default="", help_text="The prefix of the key used.")
    action = models.CharField(max_length=64)
    object_kind = models.CharField(max_length=32, blank=True, default="")
    object_id = models.CharField(max_length=64, blank=True, default="")
    subject_id = models.UUIDField(null=True, blank=True)
    session_id = models.UUIDField(null=True, blank=True)
    request_id = models.CharField(max_length=64, blank=True, default="")
    outcome = models.CharField(max_length=10, choices=Outcome)
    reason = models.CharField(max_length=64, blank=True, default="", help_text="A code.")
    data = models.JSONField(default=dict)
    schema = models.PositiveSmallIntegerField(default=SCHEMA)
    leaf = models.BinaryField(max_length=32)

    class Meta:
        verbose_name_plural = "entries"
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(actor_kind__in=[kind.value for kind in ActorKind]), name="audit_actor_kind_known"
            ),
            models.CheckConstraint(condition=Q(outcome__in=Outcome.values), name="audit_outcome_known"),
            models.CheckConstraint(condition=Q(action__regex=r"^[a-z]+\.[a-z_]+$"), name="audit_action_named"),
            models.CheckConstraint(
                condition=Q(reason="") | Q(reason__regex=r"^[a-z][a-z0-9_.:-]*$"), name="audit_reason_is_a_code"
            ),
        ]
        # All newest first, all led by the workspace that the policy asks for.
        indexes: ClassVar = [
            models.Index(fields=["workspace_id", "-id"], name="audit_newest"),
            models.Index(fields=["workspace_id", "actor_id", "-id"], name="audit_by_actor"),
            models.Index(fields=["workspace_id", "action", "-id"], name="audit_by_action"),
            models.Index(
                fields=["workspace_id", "subject_id", "-id"],
                condition=Q(subject_id__isnull=False),
                name="audit_by_subject",
            ),
            models.Index(
                fields=["workspace_id", "session_id", "-id"],
                condition=Q(session_id__isnull=False),
                name="audit_by_session",
            ),
            models.Index(
                fields=["workspace_id", "object_id", "-id"], condition=~Q(object_id=""), name="audit_by_object"
            ),
            models.Index(
                fields=["workspace_id", "request_id", "-id"], condition=~Q(request_id=""), name="audit_by_request"
            ),
            # What went wrong is rare, and looked for.
            models.Index(fields=["workspace_id", "-id"], condition=~Q(outcome="ok"), name="audit_not_ok"),
        ]

    def __str__(self) -> str:
        return f"{self.action} {self.id}"


class Commitment(models.Model):
    """The salt behind a commitment in an entry. Deleting the row makes the commitment mute for good: that is erasure.

    `label` says what was committed to (`block`, `content`); the digest itself is in the entry's data.
    """

    runtime_privileges = ("SELECT", "INSERT", "DELETE")

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    workspace_id = models.UUIDField()
    entry_id = models.UUIDField()
    subject_id = models.UUIDField(null=True, blank=True)
    label = models.CharField(max_length=32)
    salt = models.BinaryField(max_length=SALT_BYTES)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["entry_id", "label"], name="audit_commitment_once"),
        ]
        indexes: ClassVar = [
            models.Index(fields=["workspace_id", "subject_id"], name="audit_commitment_of_subject"),
        ]

    def __str__(self) -> str:
        return f"{self.label} of {self.entry_id}"


# Models of packages below: Django looks for them here.
from audit.erasure.models import Erasure, ErasureTrace, Tombstone  # noqa: E402, F401
from audit.requests.models import DataRequest, Hold, RequestStep  # noqa: E402, F401
from audit.retention.models import RetentionSweep  # noqa: E402, F401
from audit.sealing.models import (  # noqa: E402, F401
    Checkpoint,
    Handover,
    Pending,
    Prune,
    Sealed,
    SigningKey,
    Verdict,
    Verification,
)
