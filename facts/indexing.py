"""How facts are found again by their content."""

from collections.abc import Sequence

from facts.models import FactVersion
from sessions.models import Subject


def index_versions(*, subject: Subject, versions: Sequence[FactVersion]) -> None:
    """Make `versions` findable by keyword at once, by meaning as soon as the indexer has seen them."""
