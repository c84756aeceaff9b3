"""What waits to be sealed, what was, and the checkpoints over it. All of it is written once."""

from typing import ClassVar

from django.db import models
from django.utils import timezone


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
