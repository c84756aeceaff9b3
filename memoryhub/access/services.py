"""Writing access: workspaces, people, agents and keys. Each function checks, writes and records in one transaction."""

import json
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from audit.actors import Actor
from audit.services import record
from memoryhub.access.callers import Caller
from memoryhub.access.errors import KeyNotLive, NotYourScope, PolicyMoved, StillRotating
from memoryhub.access.models import (
    DEFAULT_SCOPES,
    Agent,
    ApiKey,
    MemoryMode,
    Scope,
    Workspace,
    new_key_secret,
)
from memoryhub.access.policy import WorkspacePolicy, differences, stored_policy
from memoryhub.access.tokens import (
    DEFAULT_TTL,
    LONGEST_TTL,
    TOKEN_SCOPES,
    SubjectToken,
    new_token,
    session_digest,
    write_token,
)
from memoryhub.core.tenancy import in_workspace

DEFAULT_OVERLAP = timedelta(hours=24)
LONGEST_OVERLAP = timedelta(days=30)
MOST_PER_MINUTE = 10_000_000
REVOKE_REASONS = ("requested", "compromised", "no_longer_needed", "rotated", "other")


@dataclass(frozen=True)
class NewKey:
    """A key just made. `secret` is the whole key: shown once, kept nowhere."""

    key: ApiKey
    secret: str


@dataclass(frozen=True)
class NewToken:
    """A subject token just made. `secret` is what its holder sends; it is kept nowhere."""

    token: SubjectToken
    secret: str

    @property
    def scopes(self) -> list[Scope]:
        return sorted(self.token.scopes)


def workspace_create(
    *, slug: str, name: str, actor: Actor, text_config: str = "english", is_demo: bool = False
) -> Workspace:
    workspace = Workspace(slug=slug, name=name, text_config=text_config, is_demo=is_demo)
    workspace.full_clean()
    with transaction.atomic():
        workspace.save(force_insert=True)
        with in_workspace(workspace.id):
            record(actor, "workspace.created", workspace, workspace_id=workspace.id)
    return workspace


def workspace_change(
    *, workspace: Workspace, policy: WorkspacePolicy, actor: Actor, seen: WorkspacePolicy | None = None
) -> list[str]:
    """Replace the workspace's settings; returns the names of those that changed. Effective with the next request.

    Raises PolicyMoved when they are no longer those in `seen`, which the change was decided on.
    """
    with in_workspace(workspace.id):
        locked = Workspace.objects.select_for_update().get(pk=workspace.pk)
        before = stored_policy(json.dumps(locked.policy))
        if seen is not None and seen != before:
            raise PolicyMoved("The settings were changed after you opened them.")
        changed = [name for name in WorkspacePolicy.model_fields if getattr(before, name) != getattr(policy, name)]
        if changed:
            # What a newer version of the hub beside this one may have stored stays.
            unknown = {name: value for name, value in locked.policy.items() if name not in WorkspacePolicy.model_fields}
            locked.policy = unknown | differences(policy)
            locked.save(update_fields=["policy"])
            record(actor, "workspace.changed", locked, workspace_id=locked.id, data={"fields": changed})
    workspace.policy = locked.policy
    return changed


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


def agent_change(*, agent: Agent, mode: MemoryMode, actor: Actor) -> Agent:
    """Give an agent another memory mode, from its next request on. Its subject tokens end. Twice changes nothing."""
    with in_workspace(agent.workspace_id):
        agent = Agent.objects.select_for_update().get(pk=agent.pk)
        if agent.mode != mode:
            agent.mode = mode
            agent.save(update_fields=["mode"])
            record(actor, "agent.changed", agent, data={"mode": mode.value, "fields": ["mode"]})
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
    with in_workspace(agent.workspace_id):
        return _key_make(
            agent=agent, actor=actor, scopes=scopes, expires_at=expires_at, rate_per_minute=rate_per_minute
        )


def key_rotate(
    *, key: ApiKey, actor: Actor, overlap: timedelta = DEFAULT_OVERLAP, expires_at: datetime | None = None
) -> NewKey:
    """A new key with the scopes and limits of `key`, which expires after `overlap`, or earlier if it was to.

    The new one expires at `expires_at`; left out, it lasts as long as the old one was made to last.
    An agent may have many keys, of different scopes; of each, at most two are live: the old one and the new. Raises
    StillRotating while that is so, KeyNotLive for a key that is revoked or expired.
    """
    now = timezone.now()
    if not timedelta(0) <= overlap <= LONGEST_OVERLAP:
        raise ValueError(f"an overlap is at most {LONGEST_OVERLAP.days} days")
    with in_workspace(key.workspace_id):
        # Locked: two rotations at once would leave three live keys.
        locked = ApiKey.objects.select_for_update(of=("self",)).select_related("agent").get(pk=key.pk)
        if locked.state(now) != "live":
            raise KeyNotLive(f"This key is {locked.state(now)}: make a new one.")
        if any(one.state(now) == "live" for one in _neighbours(locked)):
            raise StillRotating(
                "This key is being rotated already: wait until the old key expires, or revoke one of the two."
            )
        if expires_at is None and locked.expires_at is not None:
            expires_at = now + (locked.expires_at - locked.created_at)
        new = _key_make(
            agent=locked.agent,
            actor=actor,
            scopes=[Scope(scope) for scope in locked.scopes],
            expires_at=expires_at,
            rate_per_minute=locked.rate_per_minute,
            replaces=locked,
        )
        ends = now + overlap
        locked.expires_at = min(ends, locked.expires_at) if locked.expires_at else ends
        locked.save(update_fields=["expires_at"])
        record(
            actor,
            "key.rotated",
            ("api_key", locked.id),
            workspace_id=locked.workspace_id,
            reason="rotated",
            data={"agent_id": locked.agent_id, "replaced_by": new.key.id, "expires_at": locked.expires_at},
        )
    return new


def key_revoke(*, key: ApiKey, actor: Actor, reason: str = "requested") -> ApiKey:
    """The key, and every token made with it, is refused from the next request on, in every process.

    Revoking twice changes nothing.
    """
    with in_workspace(key.workspace_id):
        revoked = ApiKey.objects.filter(pk=key.pk, revoked_at__isnull=True).update(revoked_at=timezone.now())
        if revoked:
            data = {"agent_id": key.agent_id}
            record(actor, "key.revoked", ("api_key", key.id), workspace_id=key.workspace_id, reason=reason, data=data)
        key.refresh_from_db(fields=["revoked_at"])
    return key


def token_create(
    *,
    caller: Caller,
    subject_id: UUID,
    scopes: Collection[Scope] | None = None,
    ttl: timedelta = DEFAULT_TTL,
    session_id: str | None = None,
) -> NewToken:
    """A token of the caller's key that is good for one person, and with `session_id` for one session of theirs.

    `scopes` is by default what the key has of the usual ones. The token ends with its key at the latest. Raises
    NotYourScope for a scope that the key lacks or that no token may have.
    """
    if not timedelta(0) < ttl <= LONGEST_TTL:
        raise ValueError(f"a token lasts at most {LONGEST_TTL}")
    mine = {Scope(scope) for scope in caller.scopes}
    wanted = mine.intersection(DEFAULT_SCOPES, TOKEN_SCOPES) if scopes is None else set(scopes)
    for scope in sorted(wanted):
        if scope not in TOKEN_SCOPES:
            raise NotYourScope(f"No token may have the scope {scope.value}.")
        if scope not in mine:
            raise NotYourScope(f"This key lacks the scope {scope.value}.")
    if not wanted:
        raise NotYourScope("This key has no scope that a token may have.")
    ends = timezone.now() + ttl
    token = new_token(
        key_id=caller.key_id,
        subject_id=subject_id,
        mode=caller.mode,
        scopes=wanted,
        expires_at=min(ends, caller.key_expires_at) if caller.key_expires_at else ends,
        session=session_digest(session_id) if session_id is not None else "",
    )
    with in_workspace(caller.workspace_id):
        record(
            caller.actor,
            "token.created",
            ("subject_token", token.id),
            workspace_id=caller.workspace_id,
            subject=subject_id,
            data={
                "agent_id": caller.agent_id,
                "scopes": sorted(token.scopes),
                "expires_at": token.expires_at,
                "mode": token.mode.value,
                "session": bool(token.session),
            },
        )
    return NewToken(token, write_token(token))


def _key_make(
    *,
    agent: Agent,
    actor: Actor,
    scopes: Collection[Scope],
    expires_at: datetime | None,
    rate_per_minute: int | None,
    replaces: ApiKey | None = None,
) -> NewKey:
    prefix, secret, digest = new_key_secret()
    key = ApiKey.objects.create(
        workspace_id=agent.workspace_id,
        agent=agent,
        prefix=prefix,
        digest=digest,
        scopes=sorted(scopes),
        expires_at=expires_at,
        rate_per_minute=rate_per_minute,
        replaces=replaces,
    )
    data = {
        "agent_id": agent.id,
        "scopes": list(key.scopes),
        "mode": agent.mode,
        "expires_at": expires_at,
        "replaces": replaces.id if replaces else None,
    }
    record(actor, "key.created", ("api_key", key.id), workspace_id=agent.workspace_id, data=data)
    return NewKey(key, secret)


def _neighbours(key: ApiKey) -> list[ApiKey]:
    """The key that this one was made in place of, and those that were made in place of it."""
    return list(ApiKey.objects.filter(Q(replaces=key) | Q(pk=key.replaces_id)))
