"""Windows to extract from, made of plain words."""

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from uuid import uuid4

from facts.extraction.interface import KnownFact, Window, WindowTurn

MONDAY = datetime(2026, 3, 2, 9, tzinfo=UTC)


def turn(text: str, *, index: int = 0, role: str = "user", tool_name: str = "") -> WindowTurn:
    return WindowTurn(index, role, "", text, MONDAY, tool_name)


def window(
    *said: str | WindowTurn, known: Sequence[KnownFact] = (), context: Sequence[str] = (), first: int = 0
) -> Window:
    """A window of these turns; a bare text is said by the user."""
    turns = [one if isinstance(one, WindowTurn) else turn(one, index=first + at) for at, one in enumerate(said)]
    return Window(
        extraction_id=uuid4(),
        workspace_id=uuid4(),
        subject_id=uuid4(),
        session_external_id="s1",
        turns=tuple(turns),
        context=tuple(turn(text, index=at) for at, text in enumerate(context)),
        known=tuple(known),
    )


def known(
    content: str,
    *,
    handle: str = "F1",
    type: str = "entity",
    entity: str = "team",
    attribute: str = "",
    value: Decimal | None = None,
    unit: str = "",
) -> KnownFact:
    return KnownFact(handle, uuid4(), type, entity, attribute, content, value, unit, MONDAY)
