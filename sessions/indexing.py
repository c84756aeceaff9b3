"""How turns are found again: by their words with a bounded look back, and by vectors of what they say and when."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from memoryhub.access.models import Workspace
from memoryhub.core.search.services import Document, index
from memoryhub.core.search.texts import Text, pieces
from memoryhub.core.search.words import lexemes
from sessions.models import Session, Subject, Turn

KIND = "turn"
# Views. In each but PIECE a turn is seen together with what gives it its meaning.
CONTEXT, PIECE, DATED = "context", "piece", "dated"

LOOK_BACK_WORDS = 60
"""How much of the turn before belongs to a turn: people answer each other, but an assistant's long answer must not
drown what follows it."""
BODY_WORDS = 200


def index_turns(*, subject: Subject, session: Session, turns: Sequence[Turn]) -> None:
    """Make `turns` findable by keyword at once, by meaning as soon as the indexer has seen them."""
    config = Workspace.objects.values_list("text_config", flat=True).get(pk=subject.workspace_id)
    before = _texts_before(session.id, turns)
    index(
        workspace_id=subject.workspace_id,
        subject_id=subject.id,
        kind=KIND,
        documents=[
            Document(turn.id, {CONTEXT: lexemes(f"{look_back(before[turn.id])} {turn.text}", config)})
            for turn in turns
            if turn.text
        ],
    )


def turn_texts(workspace_id: UUID, ids: Sequence[UUID]) -> list[Text]:
    """What the indexer embeds of each turn."""
    turns = list(
        Turn.objects.filter(workspace_id=workspace_id, pk__in=ids).only(
            "id", "session_id", "index", "role", "name", "text", "occurred_at"
        )
    )
    before: dict[UUID, str] = {}
    for session_id in {turn.session_id for turn in turns}:
        before |= _texts_before(session_id, [turn for turn in turns if turn.session_id == session_id])
    texts = []
    for turn in turns:
        body = " ".join(turn.text.split()[:BODY_WORDS])
        back = look_back(before[turn.id])
        texts += [Text(turn.id, PIECE, text, at) for at, text in enumerate(pieces(turn.text))]
        texts.append(Text(turn.id, CONTEXT, f"{back}\n{body}" if back else body))
        texts.append(Text(turn.id, DATED, f"{spoken_date(turn.occurred_at)}, {speaker(turn)}: {body}"))
    return texts


def speaker(turn: Turn) -> str:
    """Who said it: the name if there is one, else the role."""
    return turn.name or turn.role.capitalize()


def spoken_date(at: datetime) -> str:
    return at.strftime("%d %B %Y")


def look_back(text: str) -> str:
    return " ".join(text.split()[-LOOK_BACK_WORDS:])


def _texts_before(session_id: UUID, turns: Sequence[Turn]) -> dict[UUID, str]:
    """For each turn of the session, the text of the turn just before it ('' for the first)."""
    wanted = {turn.index - 1 for turn in turns if turn.index}
    found = dict(Turn.objects.filter(session_id=session_id, index__in=wanted).values_list("index", "text"))
    return {turn.id: found.get(turn.index - 1, "") for turn in turns}
