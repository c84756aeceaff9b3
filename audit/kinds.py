"""How kinds of things are written in the log and in exports: `fact_version`, `api_key`."""

import re

from django.db.models import Model


def kind_of(model: type[Model]) -> str:
    """The model's name in snake case."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", model.__name__).lower()
