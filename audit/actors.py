"""Who did it: named by an id that means nothing outside the hub."""

import re
from dataclasses import dataclass, field
from enum import StrEnum
from uuid import UUID

from audit.errors import EntryRefused

ACTOR_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}\Z")


class ActorKind(StrEnum):
    AGENT = "agent"
    USER = "user"
    SYSTEM = "system"
    COMMAND = "command"


@dataclass(frozen=True, slots=True)
class Actor:
    """An agent, a person, a part of the hub itself, or a management command.

    `credential` tells which key was used (its public prefix), `token` that it was used through a subject token, and
    which; `label` is for showing only and never stored.
    """

    kind: ActorKind
    id: str
    credential: str = ""
    label: str = field(default="", compare=False)
    token: UUID | None = None

    def __post_init__(self) -> None:
        if not ACTOR_ID.match(self.id):
            raise EntryRefused("an actor's id is letters, digits and . _ : - (at most 64)")
        if self.credential and not ACTOR_ID.match(self.credential):
            raise EntryRefused("a credential is named by its prefix")

    @classmethod
    def agent(cls, agent_id: UUID, *, credential: str = "", label: str = "", token: UUID | None = None) -> "Actor":
        return cls(ActorKind.AGENT, str(agent_id), credential, label, token)

    @classmethod
    def user(cls, user_id: UUID, *, label: str = "") -> "Actor":
        return cls(ActorKind.USER, str(user_id), label=label)

    @classmethod
    def system(cls, part: str) -> "Actor":
        """A part of the hub acting on its own: `extraction`, `indexer`, `sign_in`."""
        return cls(ActorKind.SYSTEM, part, label=part)

    @classmethod
    def command(cls, name: str) -> "Actor":
        """A management command, run by someone with a shell on the host."""
        return cls(ActorKind.COMMAND, name, label=name)
