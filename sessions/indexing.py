"""How turns are found again: by their words, with the speaker and a bounded look back, and by what they mean."""

from collections.abc import Sequence
from uuid import UUID

from memoryhub.access.models import Workspace
from memoryhub.core.search.services import Document, index, remove
from memoryhub.core.search.texts import pieces
from memoryhub.core.search.words import lexemes
from sessions.models import Session, Subject, Turn

KIND = "turn"

LOOK_BACK_WORDS = 60
"""How much of the turn before belongs to a turn: people answer each other, but an assistant's long answer must not
drown what follows it."""


def index_turns(*, subject: Subject, session: Session, turns: Sequence[Turn]) -> None:
    """Make `turns` findable by keyword at once, by meaning as soon as the indexer has seen them."""
    config = Workspace.objects.values_list("text_config", flat=True).get(pk=subject.workspace_id)
    before = _texts_before(session.id, turns)
    index(
        workspace_id=subject.workspace_id,
        subject_id=subject.id,
        kind=KIND,
        documents=[
            Document(turn.id, lexemes(f"{look_back(before[turn.id])} {speaker(turn)}: {turn.text}", config))
            for turn in turns
            if turn.text
        ],
    )


def unindex_turns(*, subject: Subject, turns: Sequence[UUID]) -> None:
    """Take turns, by their ids, out of the index."""
    remove(workspace_id=subject.workspace_id, subject_id=subject.id, kind=KIND, items=turns)


def turn_texts(workspace_id: UUID, ids: Sequence[UUID]) -> dict[UUID, list[str]]:
    """What the indexer embeds of each turn: its text alone, in pieces."""
    turns = Turn.objects.filter(workspace_id=workspace_id, pk__in=ids).values_list("id", "text")
    return {pk: pieces(text) for pk, text in turns}


def speaker(turn: Turn) -> str:
    """Who said it: the name if there is one, else the role."""
    return turn.name or turn.role.capitalize()


def look_back(text: str) -> str:
    return " ".join(text.split()[-LOOK_BACK_WORDS:])


def _texts_before(session_id: UUID, turns: Sequence[Turn]) -> dict[UUID, str]:
    """For each turn of the session, the text of the turn just before it ('' for the first)."""
    wanted = {turn.index - 1 for turn in turns if turn.index}
    found = dict(Turn.objects.filter(session_id=session_id, index__in=wanted).values_list("index", "text"))
    return {turn.id: found.get(turn.index - 1, "") for turn in turns}
