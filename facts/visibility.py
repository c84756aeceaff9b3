"""What an agent is shown, decided by provenance alone: one rule for versions of facts, one for turns.

Each rule stands here in the forms it is needed in: as a condition of the ORM, and as SQL for the statement that fetches
the candidates of a search. tests/test_facts_sharing.py holds them equal.

An agent is shown what it wrote itself, what the subject said (unless the workspace shares nothing) and what a person
vouches for. What tools and imports brought is shown once a person let it in. Of another agent's sessions it is shown
the subject's own words.
"""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db.models import Exists, OuterRef, Q, TextField
from django.db.models.functions import Cast

from facts.models import FactVersion, Source, Status
from memoryhub.access.models import Workspace
from memoryhub.access.policy import Sharing, WorkspacePolicy, stored_policy
from sessions.models import Turn, TurnRole

LET_IN = (Status.CURRENT, Status.SUPERSEDED, Status.STALE)
"""Statuses of versions that may be given out; what waits for review or was turned down is given to nobody."""
OWN = (Source.AGENT, Source.USER)
"""What an agent may bring in without a person: its own words, and what was said to it."""


def version_shown(alias: str) -> str:
    """The condition on a version as SQL, whatever its status. The parameters are those of `Sight.parameters`."""
    return (
        f"({alias}.approved_at is not null or {alias}.source = any(%(shared)s)"
        f" or {alias}.agent_id = %(agent)s and {alias}.source = any(%(own)s))"
    )


@dataclass(frozen=True, slots=True)
class Sight:
    """Through whose eyes memory is looked at. Without an agent: what an agent would see that wrote nothing itself."""

    agent_id: UUID | None
    sharing: Sharing = Sharing.SAID_BY_SUBJECT
    tool_results: bool = False

    @property
    def shared_sources(self) -> tuple[Source, ...]:
        """Whose versions everybody sees without anybody's approval."""
        return (Source.OPERATOR, Source.USER) if self.sharing == Sharing.SAID_BY_SUBJECT else (Source.OPERATOR,)

    def versions(self, prefix: str = "") -> Q:
        """The condition on versions, whatever their status; `prefix` leads to them, such as `version__`."""
        shown = Q(**{f"{prefix}approved_at__isnull": False}) | Q(**{f"{prefix}source__in": self.shared_sources})
        if self.agent_id is not None:
            shown |= Q(**{f"{prefix}source__in": OWN, f"{prefix}agent_id": self.agent_id})
        return shown & self.facts(f"{prefix}fact__")

    def facts(self, prefix: str = "") -> Q:
        """The condition on facts that are meant for one agent."""
        mine = Q(**{f"{prefix}visible_to__isnull": True})
        return mine | Q(**{f"{prefix}visible_to": self.agent_id}) if self.agent_id is not None else mine

    def shows(self, version: FactVersion) -> bool:
        """The same of a version with its fact loaded, its status included."""
        return (
            version.status in LET_IN
            and version.fact.visible_to_id in (None, self.agent_id)
            and (
                version.approved_at is not None
                or version.source in self.shared_sources
                or (version.source in OWN and version.agent_id is not None and version.agent_id == self.agent_id)
            )
        )

    def parameters(self) -> dict[str, Any]:
        """What `version_shown` wants to know."""
        return {
            "agent": self.agent_id,
            "shared": [source.value for source in self.shared_sources],
            "own": [source.value for source in OWN],
        }

    def told_in(self, version: FactVersion) -> str | None:
        """The caller's id of the session a version was learned in, where that is the agent's own.

        Another agent's is its own affair, and made of words of its own choice.
        """
        session = version.session
        return session.external_id if session is not None and session.agent_id == self.agent_id else None

    def turns(self, prefix: str = "") -> Q:
        """The condition on turns; `prefix` leads to them."""
        mine = Q(**{f"{prefix}session__agent_id": self.agent_id}) if self.agent_id is not None else Q(pk__in=())
        if not self.tool_results:
            mine &= Q(**{f"{prefix}holds_results": False})
        shown = mine
        if self.sharing == Sharing.SAID_BY_SUBJECT:
            shown |= Q(**{f"{prefix}role": TurnRole.USER, f"{prefix}holds_results": False})
        return shown & Q(**{f"{prefix}withheld_at__isnull": True})

    def shows_turn(self, turn: Turn) -> bool:
        """The same of a turn with its session loaded."""
        if turn.withheld_at is not None:
            return False
        if self.agent_id is not None and turn.session.agent_id == self.agent_id:
            return self.tool_results or not turn.holds_results
        return self.sharing == Sharing.SAID_BY_SUBJECT and turn.role == TurnRole.USER and not turn.holds_results


def sight_of(*, agent_id: UUID | None, policy: WorkspacePolicy) -> Sight:
    return Sight(agent_id, policy.sharing, policy.surface_tool_results)


def policy_of(workspace_id: UUID) -> WorkspacePolicy:
    """The workspace's policy as it is now."""
    text = Workspace.objects.annotate(stored=Cast("policy", TextField())).values_list("stored", flat=True)
    return stored_policy(text.get(pk=workspace_id))


def shown_versions(sight: Sight) -> Exists:
    """Whether a fact (the outer query) has a version that may be given out to whom `sight` belongs to."""
    return Exists(FactVersion.objects.filter(sight.versions(), fact=OuterRef("pk"), status__in=LET_IN))
