"""What an embedder is."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from memoryhub.core.degradation import Unavailable

Vectors = NDArray[np.float32]

MAX_DIMENSIONS = 1024


class EmbedderUnavailable(Unavailable):
    """The embedder gave no usable vectors: `timeout`, `unreachable`, `http_503`, `broken_answer`, `breaker_open`…"""


class Embedder(Protocol):
    """Turns texts into unit vectors. `model` is stored with each vector: vectors of two models are never compared."""

    name: str
    model: str
    dimensions: int

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Vectors of shape (len(texts), dimensions), float32, of length 1. Raises EmbedderUnavailable."""
        ...


def normalised(vectors: Vectors) -> Vectors:
    """`vectors` scaled to length 1. Raises EmbedderUnavailable for vectors that are no direction (zero, NaN)."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not np.all(np.isfinite(lengths)) or np.any(lengths == 0):
        raise EmbedderUnavailable("broken_answer")
    return (vectors / lengths).astype(np.float32)
