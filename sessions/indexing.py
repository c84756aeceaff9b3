"""How turns are found again by their content."""

from collections.abc import Sequence

from sessions.models import Session, Subject, Turn


def index_turns(*, subject: Subject, session: Session, turns: Sequence[Turn]) -> None:
    """Make `turns` findable by keyword at once, by meaning as soon as the indexer has seen them."""
