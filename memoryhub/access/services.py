"""Writing access: workspaces, people, agents and keys. Each function checks, writes and records in one transaction."""

import secrets
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from audit.actors import Actor
from audit.services import record
from memoryhub.access.models import (
    DEFAULT_SCOPES,
    Agent,
    ApiKey,
    Membership,
    MemoryMode,
    Role,
    Scope,
    User,
    Workspace,
    new_key_secret,
)
from memoryhub.core.tenancy import in_workspace


@dataclass(frozen=True)
class NewKey:
    """A key just made. `secret` is the whole key: shown once, kept nowhere."""

    key: ApiKey
    secret: str


def workspace_create(*, slug: str, name: str, actor: Actor, text_config: str = "english") -> Workspace:
    workspace = Workspace(slug=slug, name=name, text_config=text_config)
    workspace.full_clean()
    with transaction.atomic():
        workspace.save(force_insert=True)
        with in_workspace(workspace.id):
            record(actor, "workspace.created", workspace, workspace_id=workspace.id)
    return workspace


def agent_get_or_create(*, workspace_id: UUID, name: str, actor: Actor, mode: MemoryMode | None = None) -> Agent:
    """The agent called `name`, made (by default in mode `full`) when new. An existing agent keeps its mode."""
    with in_workspace(workspace_id):
        agent = Agent.objects.filter(workspace_id=workspace_id, name=name).first()
        if agent is None:
            agent = Agent(workspace_id=workspace_id, name=name, mode=mode or MemoryMode.FULL)
            agent.full_clean()
            agent.save(force_insert=True)
            record(actor, "agent.created", agent, data={"mode": agent.mode})
    return agent


def key_create(
    *,
    agent: Agent,
    actor: Actor,
    scopes: Collection[Scope] = DEFAULT_SCOPES,
    expires_at: datetime | None = None,
    rate_per_minute: int | None = None,
) -> NewKey:
    """A new key of `agent`, in effect at once."""
    prefix, secret, digest = new_key_secret()
    with in_workspace(agent.workspace_id):
        key = ApiKey.objects.create(
            workspace_id=agent.workspace_id,
            agent=agent,
            prefix=prefix,
            digest=digest,
            scopes=sorted(scopes),
            expires_at=expires_at,
            rate_per_minute=rate_per_minute,
        )
        data = {"agent_id": agent.id, "scopes": list(key.scopes), "mode": agent.mode}
        record(actor, "key.created", ("api_key", key.id), workspace_id=agent.workspace_id, data=data)
    return NewKey(key, secret)


def key_revoke(*, key: ApiKey, actor: Actor) -> ApiKey:
    """The key is refused from the next request on, in every process. Revoking twice changes nothing."""
    with in_workspace(key.workspace_id):
        revoked = ApiKey.objects.filter(pk=key.pk, revoked_at__isnull=True).update(revoked_at=timezone.now())
        if revoked:
            data = {"agent_id": key.agent_id}
            record(actor, "key.revoked", ("api_key", key.id), workspace_id=key.workspace_id, data=data)
        key.refresh_from_db()
    return key


def member_add(*, workspace: Workspace, user: User, role: Role, actor: Actor) -> Membership:
    """Give a person a role; someone who has one already keeps it."""
    with in_workspace(workspace.id):
        member, created = Membership.objects.get_or_create(workspace=workspace, user=user, defaults={"role": role})
        if created:
            record(actor, "member.added", member, data={"role": member.role, "user_id": user.id})
    return member


def user_create(
    *, username: str, actor: Actor, workspace: Workspace, role: Role, password: str = ""
) -> tuple[User, str]:
    """A person who can sign in, with a role in `workspace`; returns the password, generated when none is given."""
    password = password or new_password()
    with transaction.atomic():
        user = User.objects.create_user(username=username, password=password)
        with in_workspace(workspace.id):
            record(actor, "user.created", ("user", user.id), workspace_id=workspace.id, data={"superuser": False})
        member_add(workspace=workspace, user=user, role=role, actor=actor)
    return user, password


def password_reset(*, user: User, workspace_ids: Collection[UUID], actor: Actor) -> str:
    """Replace a person's password by a generated one, which is returned; recorded in each of their workspaces."""
    password = new_password()
    with transaction.atomic():
        user.set_password(password)
        user.save(update_fields=["password"])
        for workspace_id in workspace_ids:
            with in_workspace(workspace_id):
                record(actor, "user.password_reset", ("user", user.id), workspace_id=workspace_id)
    return password


def new_password() -> str:
    """Eighteen characters, over 100 bits, without look-alikes."""
    alphabet = "abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789"
    return "-".join("".join(secrets.choice(alphabet) for _ in range(6)) for _ in range(3))
