"""What waits to be sealed, what was, and the checkpoints over it, all written once; who checked it and found what."""

from typing import ClassVar

from django.db import models
from django.utils import timezone

from audit.actors import ActorKind
from audit.verify import EXIT
from memoryhub.core.ids import uuid7


class Pending(models.Model):
    """An entry that was written and not sealed yet. A trigger of audit_entry writes it, so that no entry is forgotten.

    The sealer takes rows of this queue, never a range of entry ids: a transaction that commits late is found late, and
    found.
    """

    runtime_privileges = ("SELECT", "INSERT", "DELETE")

    entry_id = models.UUIDField(primary_key=True)
    workspace_id = models.UUIDField()
    leaf = models.BinaryField(max_length=32)
    mark = models.BinaryField(max_length=16)
    at_once = models.BooleanField(help_text="Of what is sealed without waiting for more.")

    class Meta:
        db_table = "audit_pending"
        verbose_name_plural = "pending"
        indexes: ClassVar = [models.Index(fields=["workspace_id", "entry_id"], name="audit_pending_of_workspace")]

    def __str__(self) -> str:
        return str(self.entry_id)


class Sealed(models.Model):
    """The place of an entry in its workspace's log."""

    runtime_privileges = ("SELECT", "INSERT")

    entry_id = models.UUIDField(primary_key=True)
    workspace_id = models.UUIDField()
    position = models.BigIntegerField(help_text="From 0, without gaps.")
    leaf = models.BinaryField(max_length=32)
    mark = models.BinaryField(max_length=16, help_text="Tells who knows the subject's id whom it is about.")

    class Meta:
        db_table = "audit_sealed"
        verbose_name_plural = "sealed"
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["workspace_id", "position"], name="audit_position_once"),
        ]
        indexes: ClassVar = [models.Index(fields=["workspace_id", "leaf"], name="audit_sealed_by_leaf")]

    def __str__(self) -> str:
        return f"{self.position}"


class Checkpoint(models.Model):
    """What the log of a workspace held at a moment, signed, and tied to the checkpoint before."""

    runtime_privileges = ("SELECT", "INSERT")

    signature = models.BinaryField(primary_key=True, max_length=64)
    workspace_id = models.UUIDField()
    number = models.BigIntegerField(help_text="From 1, without gaps.")
    size = models.BigIntegerField()
    root = models.BinaryField(max_length=32)
    previous = models.BinaryField(max_length=32)
    marks = models.BinaryField(max_length=32)
    sum = models.BinaryField(max_length=32)
    at = models.DateTimeField(default=timezone.now)
    key = models.CharField(max_length=16)
    peaks = models.BinaryField(
        help_text="The complete subtrees: where the next one goes on. Not signed: they give root."
    )

    class Meta:
        db_table = "audit_checkpoint"
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["workspace_id", "number"], name="audit_checkpoint_number_once"),
        ]

    def __str__(self) -> str:
        return f"{self.number}"


class Prune(models.Model):
    """A signed record: entries up to a checkpoint were removed because the log keeps them no longer.

    Their places and leaves stay, so that receipts and checkpoints of before can be checked as ever. Only the owner of
    the tables can remove entries and write this, which one transaction does.
    """

    runtime_privileges = ("SELECT",)

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    workspace_id = models.UUIDField()
    number = models.BigIntegerField(help_text="The checkpoint up to which.")
    size = models.BigIntegerField(help_text="How many entries it covers, from the first on.")
    checkpoint = models.BinaryField(max_length=32)
    entries = models.BigIntegerField(help_text="How many were removed with this record.")
    at = models.DateTimeField(default=timezone.now)
    key = models.CharField(max_length=16)
    signature = models.BinaryField(max_length=64)

    class Meta:
        db_table = "audit_prune"
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["workspace_id", "size"], name="audit_prune_once"),
        ]

    def __str__(self) -> str:
        return f"{self.size}"


class SigningKey(models.Model):
    """A public key that signs, or did. It belongs to the hub as a whole."""

    runtime_privileges = ("SELECT", "INSERT")

    id = models.CharField(primary_key=True, max_length=16)
    public = models.BinaryField(max_length=32)
    purpose = models.CharField(max_length=12, choices=[("checkpoints", "checkpoints"), ("receipts", "receipts")])
    since = models.DateTimeField(default=timezone.now)

    class Meta:
        db_table = "audit_signingkey"

    def __str__(self) -> str:
        return self.id


class Verification(models.Model):
    """Somebody asked that the log of a workspace be checked, and how far that is. What it found is a `Verdict`."""

    runtime_privileges = ("SELECT", "INSERT", "UPDATE")

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    workspace_id = models.UUIDField()
    actor_kind = models.CharField(max_length=10, choices=[(kind.value, kind.value) for kind in ActorKind])
    actor_id = models.CharField(max_length=64)
    asked_at = models.DateTimeField(default=timezone.now)
    began_at = models.DateTimeField(null=True)
    attempts = models.IntegerField(default=0)
    total = models.BigIntegerField(default=0)
    done = models.BigIntegerField(default=0)
    ended_at = models.DateTimeField(null=True, help_text="Without a verdict of the same id: it was given up.")

    class Meta:
        db_table = "audit_verification"
        indexes: ClassVar = [models.Index(fields=["workspace_id", "-id"], name="audit_verification_latest")]

    def __str__(self) -> str:
        return str(self.id)

    @property
    def percent(self) -> int:
        return min(100 * self.done // self.total, 100) if self.total else 0


class Verdict(models.Model):
    """What a check of a whole log found. Written once, by the check itself; an entry of the log tells of it as well."""

    runtime_privileges = ("SELECT", "INSERT")

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    workspace_id = models.UUIDField()
    at = models.DateTimeField(default=timezone.now)
    actor_kind = models.CharField(max_length=10, choices=[(kind.value, kind.value) for kind in ActorKind])
    actor_id = models.CharField(max_length=64)
    verdict = models.CharField(max_length=20)
    entries = models.BigIntegerField()
    size = models.BigIntegerField()
    checkpoints = models.BigIntegerField()
    root = models.CharField(max_length=64, blank=True)
    found = models.BigIntegerField()
    findings = models.JSONField(default=list, help_text="The first of what is wrong: verdict and place.")
    elapsed_ms = models.BigIntegerField()

    class Meta:
        db_table = "audit_verdict"
        indexes: ClassVar = [models.Index(fields=["workspace_id", "-id"], name="audit_verdict_latest")]

    def __str__(self) -> str:
        return self.verdict

    @property
    def ok(self) -> bool:
        return not EXIT[self.verdict]


class Handover(models.Model):
    """How far the checkpoints of a workspace were handed to a place outside."""

    runtime_privileges = ("SELECT", "INSERT", "UPDATE")

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    workspace_id = models.UUIDField()
    place = models.CharField(max_length=10, choices=[("folder", "folder"), ("command", "command")])
    number = models.BigIntegerField(default=0, help_text="The last checkpoint that was taken.")
    at = models.DateTimeField(null=True, help_text="When it was.")
    failures = models.IntegerField(default=0, help_text="In a row since.")
    failed_at = models.DateTimeField(null=True)
    error = models.CharField(max_length=64, blank=True, help_text="A code, never what the command printed.")

    class Meta:
        db_table = "audit_handover"
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["workspace_id", "place"], name="audit_handover_once"),
        ]

    def __str__(self) -> str:
        return f"{self.place} {self.number}"
