"""Who is calling: an agent with its key, resolved once a request."""

from dataclasses import dataclass
from uuid import UUID

from audit.actors import Actor
from memoryhub.access.models import MemoryMode


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated agent in its workspace."""

    workspace_id: UUID
    workspace_slug: str
    text_config: str
    agent_id: UUID
    agent_name: str
    mode: MemoryMode
    scopes: frozenset[str]
    key_id: UUID
    key_prefix: str

    @property
    def actor(self) -> Actor:
        return Actor.agent(self.agent_id, credential=self.key_prefix, label=self.agent_name)
