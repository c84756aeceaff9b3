"""What a task, a command or a stream sees that forgot to ask for its own workspace's rows only."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import pytest
from django.apps import apps
from django.db import models
from django.db.models import QuerySet

from memoryhub.core.tenancy import in_workspace

TENANT_MODELS = [
    model
    for model in apps.get_models()
    if any(field.attname == "workspace_id" for field in model._meta.concrete_fields)
]
BY_WORKSPACE = {"workspace", "workspace_id"}


def workspaces_seen(within: str = "") -> dict[str, list[str]]:
    """The workspaces whose rows are found in each table, without any filter; `within` is the workspace worked in."""
    if not within:
        return {model._meta.label: _found(model) for model in TENANT_MODELS}
    with in_workspace(UUID(within)):
        return {model._meta.label: _found(model) for model in TENANT_MODELS}


def _found(model: type[models.Model]) -> list[str]:
    return sorted(str(one) for one in model._base_manager.order_by().values_list("workspace_id", flat=True).distinct())


@contextmanager
def every_filter_by_workspace_forgotten(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As if nobody had ever written `.filter(workspace=…)`: what is left is row-level security."""

    def forgetting(method: Callable[..., Any]) -> Callable[..., Any]:
        def without(self: QuerySet[Any], *args: Any, **kwargs: Any) -> Any:
            return method(self, *args, **{name: value for name, value in kwargs.items() if name not in BY_WORKSPACE})

        return without

    with monkeypatch.context() as patch:
        for name in ("filter", "get", "exclude"):
            patch.setattr(QuerySet, name, forgetting(getattr(QuerySet, name)))
        yield
