"""Who gets in: people with roles, and agents with keys."""

import hashlib
import secrets
from datetime import datetime
from typing import ClassVar

from django.contrib.auth.models import AbstractUser
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.utils import timezone

from memoryhub.core.ids import uuid7


class Role(models.TextChoices):
    """What a person may do in a workspace."""

    VIEWER = "viewer", "viewer"
    OPERATOR = "operator", "operator"
    PRIVACY_OFFICER = "privacy_officer", "privacy officer"
    AUDITOR = "auditor", "auditor"
    ADMIN = "admin", "admin"


class MemoryMode(models.TextChoices):
    """What an agent may do with memory; the server enforces it whatever the key's scopes say."""

    STATELESS = "stateless", "stateless: neither reads nor writes"
    EPISODIC = "episodic", "episodic: turns only, no extraction, no facts"
    FULL = "full", "full: all layers, may mark facts stale"
    MANAGED = "managed", "managed: full, and may remember and forget"


class Scope(models.TextChoices):
    """What a key may be used for."""

    TURNS_WRITE = "turns:write", "record turns and close sessions"
    MEMORY_READ = "memory:read", "read working memory, search and facts"
    FACTS_WRITE = "facts:write", "add, correct, mark stale and restore facts"
    AUDIT_READ = "audit:read", "read the audit log"
    SUBJECTS_MANAGE = "subjects:manage", "list, restrict and pause subjects"
    FACTS_REVIEW = "facts:review", "approve and reject facts that wait for review"
    EXTRACTIONS_MANAGE = "extractions:manage", "see extractions, replay dead letters"
    TOKENS_CREATE = "tokens:create", "make short-lived tokens for one person"


DEFAULT_SCOPES = (Scope.TURNS_WRITE, Scope.MEMORY_READ, Scope.FACTS_WRITE, Scope.TOKENS_CREATE)


class User(AbstractUser):
    """A person who signs in to the console."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)


class Workspace(models.Model):
    """A tenant: one product or environment. Not itself under row-level security: it holds no memory."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    slug = models.SlugField(max_length=64, unique=True)
    name = models.CharField(max_length=120)
    text_config = models.CharField(
        max_length=32, default="english", help_text="How words are cut and stemmed for keyword search."
    )
    policy = models.JSONField(default=dict, blank=True, help_text="What differs from the defaults: see policy.py.")
    is_demo = models.BooleanField(default=False, help_text="Holds the demonstration, and can be removed as a whole.")
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    def __str__(self) -> str:
        return self.slug


class Membership(models.Model):
    """A person's role in a workspace."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="memberships")
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=20, choices=Role)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["workspace", "user"], name="membership_once"),
            models.CheckConstraint(condition=Q(role__in=Role.values), name="membership_role_known"),
        ]

    def __str__(self) -> str:
        return f"{self.user_id} {self.role}"


class Invitation(models.Model):
    """A link that makes whoever opens it a member, once. Only a digest of its secret is kept."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="invitations")
    role = models.CharField(max_length=20, choices=Role)
    email = models.EmailField(blank=True, default="", help_text="Whom it was meant for, if that is known.")
    digest = models.BinaryField(max_length=32)
    invited_by = models.CharField(max_length=64, help_text="The actor, as in the audit log.")
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    expires_at = models.DateTimeField()
    accepted_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["digest"], name="invitation_digest_once"),
            models.CheckConstraint(condition=Q(role__in=Role.values), name="invitation_role_known"),
        ]

    def __str__(self) -> str:
        return str(self.id)

    def is_open(self, now: datetime) -> bool:
        """Whether its link still works."""
        return self.accepted_at is None and self.revoked_at is None and self.expires_at > now


class CacheEntry(models.Model):
    """Django's cache, shared by all processes of the hub: counts of failed sign-ins. An unlogged table."""

    cache_key = models.CharField(max_length=255, primary_key=True)
    value = models.TextField()
    expires = models.DateTimeField(db_index=True)

    class Meta:
        db_table = "access_cache"

    def __str__(self) -> str:
        return self.cache_key


class Agent(models.Model):
    """A named Claude agent in a workspace."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="agents")
    name = models.SlugField(max_length=64)
    mode = models.CharField(max_length=10, choices=MemoryMode, default=MemoryMode.FULL)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["workspace", "name"], name="agent_name_once"),
            models.CheckConstraint(condition=Q(mode__in=MemoryMode.values), name="agent_mode_known"),
        ]

    def __str__(self) -> str:
        return self.name


class ApiKey(models.Model):
    """An agent's credential: only a digest of it is kept. 256 random bits need no slow hash."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="api_keys")
    agent = models.ForeignKey(Agent, on_delete=models.CASCADE, related_name="api_keys")
    prefix = models.CharField(max_length=12, unique=True)
    digest = models.BinaryField(max_length=32)
    scopes = ArrayField(models.CharField(max_length=32, choices=Scope))
    rate_per_minute = models.PositiveIntegerField(null=True, blank=True, help_text="Empty: the deployment's default.")
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    replaces = models.ForeignKey(
        "self",
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="successors",
        help_text="The key this one was made in place of, by rotation.",
    )

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(scopes__contained_by=Scope.values), name="api_key_scopes_known"),
        ]

    def __str__(self) -> str:
        return self.prefix

    def state(self, now: datetime) -> str:
        """`live`, `expired` or `revoked`."""
        if self.revoked_at:
            return "revoked"
        return "expired" if self.expires_at and self.expires_at <= now else "live"


class KeyUsage(models.Model):
    """Requests of a key in the running minute, and when it was last used.

    An unlogged table, written by the function that authenticates: the count holds across processes at the price of one
    round trip, and losing it in a crash costs nothing.
    """

    key = models.OneToOneField(ApiKey, on_delete=models.CASCADE, primary_key=True, related_name="usage")
    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="+")
    minute = models.DateTimeField()
    requests = models.PositiveIntegerField()
    last_used_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.key_id} {self.requests}"


class WorkspaceUsage(models.Model):
    """Requests in the running minute of a workspace that limits them; unlogged and counted as `KeyUsage` is.

    A row that all its callers take in turn, so that the limit is exact: a sum over the keys' own counters would not see
    what is being counted beside it. A workspace without a limit has no row to wait for.
    """

    workspace = models.OneToOneField(Workspace, on_delete=models.CASCADE, primary_key=True, related_name="usage")
    minute = models.DateTimeField()
    requests = models.PositiveIntegerField()

    def __str__(self) -> str:
        return f"{self.workspace_id} {self.requests}"


def new_key_secret() -> tuple[str, str, bytes]:
    """A fresh key as (prefix, full key, SHA-256 of the full key). The full key is shown once and never stored."""
    prefix = "mh_" + secrets.token_hex(4)
    key = f"{prefix}_{secrets.token_urlsafe(32)}"
    return prefix, key, key_digest(key)


def key_digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()
