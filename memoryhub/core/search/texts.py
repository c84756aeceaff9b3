"""What the apps above tell the indexer: the texts to embed of each item, by kind."""

from collections.abc import Callable, Mapping, Sequence
from uuid import UUID

Loader = Callable[[UUID, Sequence[UUID]], Mapping[UUID, Sequence[str]]]
"""(workspace id, item ids) → the pieces of each item's text, at least one. Items that are gone are left out."""

_loaders: dict[str, Loader] = {}


def register_texts(kind: str, loader: Loader) -> None:
    """Called by an app when it loads, once for each kind of item it indexes."""
    _loaders[kind] = loader


def texts_of(kind: str, workspace_id: UUID, items: Sequence[UUID]) -> Mapping[UUID, Sequence[str]]:
    return _loaders[kind](workspace_id, items)


def pieces(text: str, words: int = 90) -> list[str]:
    """`text` in pieces of about `words` words; a short rest stays with the piece before it. Never empty.

    A model reads a few hundred tokens and blurs what is long; the mean of the pieces' vectors keeps all of it.
    """
    split = text.split()
    if len(split) <= words + words // 3:
        return [" ".join(split)]
    cuts = list(range(0, len(split), words))
    if len(split) - cuts[-1] <= words // 3:
        del cuts[-1]
    return [" ".join(split[at:end]) for at, end in zip(cuts, [*cuts[1:], len(split)], strict=True)]
