"""What the apps above tell the indexer: the texts to embed of each item, by kind."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True)
class Text:
    """One text to embed: a view of an item, or a piece of one."""

    item: UUID
    view: str
    text: str
    piece: int = 0


Loader = Callable[[UUID, Sequence[UUID]], list[Text]]
"""(workspace id, item ids) → their texts. Items that are gone are left out."""

_loaders: dict[str, Loader] = {}


def register_texts(kind: str, loader: Loader) -> None:
    """Called by an app when it loads, once for each kind of item it indexes."""
    _loaders[kind] = loader


def texts_of(kind: str, workspace_id: UUID, items: Sequence[UUID]) -> list[Text]:
    return _loaders[kind](workspace_id, items)


def pieces(text: str, words: int = 90) -> list[str]:
    """`text` in pieces of about `words` words; a short rest stays with the piece before it. Never empty."""
    split = text.split()
    if len(split) <= words + words // 3:
        return [" ".join(split)]
    return [" ".join(split[at : at + words]) for at in range(0, len(split), words)]
