"""Every place that holds a person's data, so that access and erasure can leave none out.

The domain apps lie above this one and register their stores when they load. `unclaimed_models` finds the model that
somebody forgot.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
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


class PersonalDataStore(Protocol):
    """One place with personal data. Every method works inside a transaction of the subject's workspace."""

    name: str
    models: tuple[str, ...]
    """The models whose rows this store answers for, as `app_label.ModelName`."""

    def count(self, subject_id: UUID) -> dict[str, int]:
        """Exactly what `erase` would remove: rows by kind."""
        ...

    def export(self, subject_id: UUID) -> Iterator[dict[str, Any]]:
        """Everything held, one JSON-ready `{"kind": …, "row": {column: value}}` at a time, with flat memory."""
        ...

    def erase(self, subject_id: UUID) -> dict[str, int]:
        """Remove it, and say how many rows by kind. Running it twice is harmless."""
        ...

    def residue(self, subject_id: UUID, canaries: Sequence[str]) -> Iterator[Residue]:
        """What is left, found by other means than `erase` uses: by id and by texts known from before."""
        ...


_stores: dict[str, PersonalDataStore] = {}


def register(store: PersonalDataStore) -> None:
    """Add a store; a second one of the same name is a mistake in an app's `ready`."""
    if store.name in _stores:
        raise ValueError(f"a personal-data store named {store.name} is registered already")
    _stores[store.name] = store


def stores() -> list[PersonalDataStore]:
    """All stores, lowest layer first; erase them in the reverse order, so that what points to a row goes before it."""
    return list(_stores.values())


def models_reaching_subjects() -> set[str]:
    """Labels of the models whose rows belong to a person.

    These are the models with a field `subject` or `subject_id`, those such a field points to, and every model from
    which foreign keys lead to one of them.
    """
    everything = [model for model in apps.get_models(include_auto_created=True) if model._meta.managed]
    reaching: set[type[models.Model]] = set()
    for model in everything:
        for field in model._meta.get_fields():
            if not isinstance(field, models.Field) or "subject" not in {field.name, field.name.removesuffix("_id")}:
                continue
            reaching.add(model)
            if isinstance(field.related_model, type):
                reaching.add(field.related_model)
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
    return {field.related_model for field in model._meta.get_fields() if isinstance(field, models.ForeignKey)}
