"""Reading access: agents with their keys, and how much of their limits is used."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

from django.conf import settings
from django.db.models import Prefetch
from django.utils import timezone

from memoryhub.access.models import Agent, ApiKey, KeyUsage, Membership, Workspace, WorkspaceUsage
from memoryhub.core.tenancy import as_person, in_workspace


@dataclass(frozen=True)
class KeyShown:
    """A key as it is shown: what it is, and how it is used. `limit` is that of a minute."""

    key: ApiKey
    state: str
    rotation: Literal["", "old", "new"]
    """Which of the two live keys of a rotation it is."""
    last_used_at: datetime | None
    requests: int
    limit: int

    @property
    def rotating(self) -> bool:
        return bool(self.rotation)


@dataclass(frozen=True)
class AgentShown:
    agent: Agent
    live: list[KeyShown]
    """The newest first."""
    ended: list[KeyShown]


def agents_with_keys(workspace: Workspace) -> list[AgentShown]:
    """The agents of a workspace by name. Three queries, however many there are."""
    now = timezone.now()
    keys = ApiKey.objects.select_related("usage").order_by("-created_at", "-id")
    agents = Agent.objects.filter(workspace=workspace).order_by("name").prefetch_related(Prefetch("api_keys", keys))
    return [_agent_shown(agent, now) for agent in agents]


def key_shown(key: ApiKey) -> KeyShown:
    """One key, read with its agent's others: whether it is being rotated depends on them."""
    keys = list(ApiKey.objects.filter(agent_id=key.agent_id).select_related("usage"))
    return next(_key_shown(one, keys, timezone.now()) for one in keys if one.pk == key.pk)


def requests_of_workspace(workspace: Workspace) -> int:
    """Requests of all its keys in the running minute, counted only where the workspace limits them."""
    usage = WorkspaceUsage.objects.filter(workspace=workspace).first()
    return usage.requests if usage and usage.minute == _minute(timezone.now()) else 0


def key_by_prefix(prefix: str) -> ApiKey | None:
    """The key with this public prefix, whichever workspace it belongs to. For commands: a page knows its workspace."""
    for workspace_id in Workspace.objects.values_list("id", flat=True):
        with in_workspace(workspace_id):
            key = ApiKey.objects.select_related("agent", "workspace").filter(prefix=prefix).first()
        if key:
            return key
    return None


def key_of_workspace(workspace_id: UUID, key_id: UUID) -> ApiKey | None:
    return ApiKey.objects.select_related("agent").filter(workspace_id=workspace_id, pk=key_id).first()


def _agent_shown(agent: Agent, now: datetime) -> AgentShown:
    keys = list(agent.api_keys.all())
    shown = [_key_shown(key, keys, now) for key in keys]
    return AgentShown(
        agent=agent,
        live=[key for key in shown if key.state == "live"],
        ended=[key for key in shown if key.state != "live"],
    )


def _key_shown(key: ApiKey, keys: list[ApiKey], now: datetime) -> KeyShown:
    usage: KeyUsage | None = getattr(key, "usage", None)
    state = key.state(now)
    return KeyShown(
        key=key,
        state=state,
        rotation=_rotation(key, [other for other in keys if other.state(now) == "live"]) if state == "live" else "",
        last_used_at=usage.last_used_at if usage else None,
        requests=usage.requests if usage and usage.minute == _minute(now) else 0,
        limit=settings.THROTTLE_PER_MINUTE if key.rate_per_minute is None else key.rate_per_minute,
    )


def _rotation(key: ApiKey, live: list[ApiKey]) -> Literal["", "old", "new"]:
    if any(other.replaces_id == key.pk for other in live):
        return "old"
    return "new" if any(other.pk == key.replaces_id for other in live) else ""


def _minute(moment: datetime) -> datetime:
    return moment.replace(second=0, microsecond=0)


def memberships_of(user_id: UUID) -> list[Membership]:
    """Everywhere this person may work, by the workspace's name."""
    with as_person(user_id):
        return list(
            Membership.objects.filter(user_id=user_id)
            .select_related("workspace", "user")
            .order_by("workspace__name", "id")
        )
