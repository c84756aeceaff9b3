"""Every place that holds a person's data, so that access and erasure can leave none out.

The domain apps lie above this one and register their stores when they load. `unclaimed_models` finds the model that
somebody forgot.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from django.apps import apps
from django.db import models


@dataclass(frozen=True, slots=True)
class Residue:
    """Something of an erased person that is still there: in which store, in what, and what gave it away."""

    store: str
    where: str
    id: str
    found_by: str


@dataclass(frozen=True)
class Stone:
    """A digest to be remembered of what was erased, for what is dated in [since, until); without either: ever."""

    digest: bytes
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True)
class Scope:
    """What is to be erased: all of a person, or one session, a period [since, until) or a fact of theirs."""

    subject_id: UUID
    session_id: UUID | None = None
    fact_id: UUID | None = None
    since: datetime | None = None
    until: datetime | None = None
    statement: str = "span"
    """Of a fact: whether the sentence that states it goes (`span`) or the whole `turn`."""

    @property
    def kind(self) -> str:
        if self.session_id:
            return "session"
        if self.fact_id:
            return "fact"
        return "period" if self.since or self.until else "subject"


@dataclass(frozen=True)
class Part:
    """Some of what is stored of a person, item by item, as it was when the erasure began.

    What is named here can be erased again when half of it is gone already: nothing is found through what is erased.
    """

    sessions: frozenset[UUID] = frozenset()
    turns: frozenset[UUID] = frozenset()
    facts: frozenset[UUID] = frozenset()
    versions: frozenset[UUID] = frozenset()
    recalls: frozenset[UUID] = frozenset()
    blanked: frozenset[UUID] = frozenset()
    """Recalls that stay, without the block and the candidates that name what goes."""
    redacted: Mapping[UUID, tuple[str, ...]] = field(default_factory=dict)
    """Turns that stay without these sentences, or without any content where there are none."""
    silent: frozenset[UUID] = frozenset()
    """Turns that stay, and from which nothing is derived again."""

    @property
    def ids(self) -> frozenset[UUID]:
        """Of everything that goes."""
        return self.sessions | self.turns | self.facts | self.versions | self.recalls

    def as_json(self) -> dict[str, Any]:
        named = ("sessions", "turns", "facts", "versions", "recalls", "blanked", "silent")
        return {name: sorted(str(one) for one in getattr(self, name)) for name in named} | {
            "redacted": {str(turn): list(spans) for turn, spans in self.redacted.items()}
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "Part":
        sets = {name: frozenset(UUID(one) for one in ids) for name, ids in stored.items() if name != "redacted"}
        return cls(**sets, redacted={UUID(turn): tuple(spans) for turn, spans in stored["redacted"].items()})


class PersonalDataStore(Protocol):
    """One place with personal data. Every method works inside a transaction of the subject's workspace.

    Without a `part` it is about everything of the person.
    """

    name: str
    models: tuple[str, ...]
    """The models whose rows this store answers for, as `app_label.ModelName`."""

    def count(self, subject_id: UUID, part: Part | None = None, texts: Sequence[str] = ()) -> dict[str, int]:
        """Exactly what `erase` would remove: rows by kind."""
        ...

    def export(self, subject_id: UUID) -> Iterator[dict[str, Any]]:
        """Everything held, one JSON-ready `{"kind": …, "row": {column: value}}` at a time, with flat memory."""
        ...

    def texts(self, subject_id: UUID, part: Part | None = None) -> Iterator[str]:
        """Some of the texts that `erase` would remove, of every kind: what is left of them afterwards is residue."""
        ...

    def erase(self, subject_id: UUID, part: Part | None = None, texts: Sequence[str] = ()) -> dict[str, int]:
        """Remove it, and say how many rows by kind. Running it twice is harmless.

        `texts` serve stores whose rows name nobody: what holds one of them belongs to the person.
        """
        ...

    def residue(self, subject_id: UUID, canaries: Sequence[str]) -> Iterator[Residue]:
        """What is left, found by other means than `erase` uses: by id and by texts known from before."""
        ...


class Memory(Protocol):
    """What only the domain knows about a scope. Every method works inside a transaction of the subject's workspace."""

    def seal(self, scope: Scope) -> bool:
        """Hold off whoever writes; where all of a person goes, nothing is surfaced any more. False: it is not there."""
        ...

    def hold_back(self, subject_id: UUID, *, on: bool) -> bool:
        """Surface nothing about a person from now on, or again. False: there is no such person."""
        ...

    def part_of(self, scope: Scope) -> Part:
        """What the scope consists of now."""
        ...

    def ids(self, scope: Scope, part: Part | None) -> list[UUID]:
        """The ids of everything that goes."""
        ...

    def stones(self, scope: Scope, part: Part | None, at: datetime) -> list[Stone]:
        """By what a late or repeated write of it is recognised."""
        ...

    def names(self, scope: Scope, part: Part | None) -> list[str]:
        """What callers call the person and the sessions that go."""
        ...

    def distinct(self, texts: Sequence[str], scope: Scope, part: Part) -> list[str]:
        """Those of the texts that stand in nothing of the person that stays."""
        ...


_stores: dict[str, PersonalDataStore] = {}
_memory: list[Memory] = []


def register(store: PersonalDataStore) -> None:
    """Add a store; a second one of the same name is a mistake in an app's `ready`."""
    if store.name in _stores:
        raise ValueError(f"a personal-data store named {store.name} is registered already")
    _stores[store.name] = store


def stores() -> list[PersonalDataStore]:
    """All stores, lowest layer first; erase them in the reverse order, so that what points to a row goes before it."""
    return list(_stores.values())


def register_memory(memory: Memory) -> None:
    """Name who knows what a session, a period or a fact consists of: the app on top of the domain."""
    if _memory:
        raise ValueError("the domain's memory is registered already")
    _memory.append(memory)


def memory() -> Memory:
    return _memory[0]


def models_reaching_subjects() -> set[str]:
    """Labels of the models whose rows belong to a person.

    These are the models with a field `subject` or `subject_id`, those such a field points to, and every model from
    which foreign keys lead to one of them.
    """
    everything = [model for model in apps.get_models(include_auto_created=True) if model._meta.managed]
    reaching: set[type[models.Model]] = set()
    for model in everything:
        for field_ in model._meta.get_fields():
            if not isinstance(field_, models.Field) or "subject" not in {field_.name, field_.name.removesuffix("_id")}:
                continue
            reaching.add(model)
            if isinstance(field_.related_model, type):
                reaching.add(field_.related_model)
    grew = True
    while grew:
        grew = False
        for model in everything:
            if model not in reaching and _targets(model) & reaching:
                reaching.add(model)
                grew = True
    return {model._meta.label for model in reaching}


def unclaimed_models() -> set[str]:
    """Models that hold a person's data and that no store answers for. Must be empty."""
    claimed = {label for store in stores() for label in store.models}
    return models_reaching_subjects() - claimed


def _targets(model: type[models.Model]) -> set[Any]:
    return {field_.related_model for field_ in model._meta.get_fields() if isinstance(field_, models.ForeignKey)}
