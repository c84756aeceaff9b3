"""Who is calling: an agent with its key, or with a token made with it, resolved once a request."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from audit.actors import Actor
from memoryhub.access.models import MemoryMode
from memoryhub.access.policy import WorkspacePolicy
from memoryhub.access.tokens import same_session


@dataclass(frozen=True, slots=True)
class Binding:
    """The one person, and where `session` is given the one session, that a subject token is good for.

    `user_id` is the caller's id for the person, read with the request: the token does not carry it.
    """

    token_id: UUID
    subject_id: UUID
    user_id: str
    session: str = ""

    def allows_session(self, session_id: str) -> bool:
        """Whether the token may name the session that callers call `session_id`."""
        return not self.session or same_session(self.session, session_id)


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated agent in its workspace. With `bound`, it holds a token: it is to see one person only."""

    workspace_id: UUID
    workspace_slug: str
    text_config: str
    policy: WorkspacePolicy
    agent_id: UUID
    agent_name: str
    mode: MemoryMode
    scopes: frozenset[str]
    key_id: UUID
    key_prefix: str
    key_expires_at: datetime | None = None
    bound: Binding | None = None

    @property
    def actor(self) -> Actor:
        token = self.bound.token_id if self.bound else None
        return Actor.agent(self.agent_id, credential=self.key_prefix, label=self.agent_name, token=token)

    @property
    def subject_id(self) -> UUID | None:
        """The one person this caller may see; None when it may see everybody in its workspace."""
        return self.bound.subject_id if self.bound else None
