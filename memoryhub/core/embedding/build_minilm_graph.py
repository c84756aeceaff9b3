"""Rebuild minilm.onnx: the architecture of all-MiniLM-L6-v2 (a BERT of 6 layers) without its weights.

    python -m memoryhub.core.embedding.build_minilm_graph

Needs `onnx`, which serving does not. Mean pooling over the attention mask is part of the graph.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from memoryhub.core.embedding.minilm import GRAPH, WEIGHTS, WEIGHTS_SHA256, model_folder, verify

LAYERS, HEADS, HIDDEN = 6, 12, 384
HEAD = HIDDEN // HEADS
OPSET = 20


class Graph:
    """A graph under construction: its nodes, and the tensors they read."""

    def __init__(self, tensors: Mapping[str, Any], start: int) -> None:
        self.nodes: list[NodeProto] = []
        self.initializers: dict[str, TensorProto] = {}
        self._tensors = tensors
        self._start = start

    def node(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    def constant(self, name: str, value: np.ndarray) -> str:
        self.initializers[name] = numpy_helper.from_array(value, name)
        return name

    def weight(self, name: str) -> str:
        """A tensor of the model, by where it lies in the weights' file."""
        tensor = self._tensors[name]
        begin, end = tensor["data_offsets"]
        external = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=tensor["shape"])
        external.data_location = TensorProto.EXTERNAL
        for key, value in (("location", WEIGHTS), ("offset", self._start + begin), ("length", end - begin)):
            external.external_data.add(key=key, value=str(value))
        self.initializers[name] = external
        return name

    def linear(self, source: str, weight: str, output: str) -> str:
        """`source` (rows, in) → (rows, out). Weights are stored as (out, in), and read as they lie there."""
        return self.node(
            "Gemm", [source, self.weight(f"{weight}.weight"), self.weight(f"{weight}.bias")], output, transB=1
        )

    def norm(self, source: str, weight: str, output: str) -> str:
        inputs = [source, self.weight(f"{weight}.weight"), self.weight(f"{weight}.bias")]
        return self.node("LayerNormalization", inputs, output, axis=-1, epsilon=1e-12)


def build(weights: Path) -> ModelProto:
    """The graph: input_ids and attention_mask (batch, tokens) int64 → embedding (batch, 384) float32, not normalised.

    Between the layers all tokens of all texts are the rows of one matrix.
    """
    graph = Graph(*_contents(weights))
    node, constant = graph.node, graph.constant
    zero, one, two = (constant(name, np.array([n], np.int64)) for name, n in (("zero", 0), ("one", 1), ("two", 2)))
    rows = constant("rows", np.array([-1, HIDDEN], np.int64))
    scale = constant("scale", np.array(HEAD**-0.5, np.float32))
    shape = node("Shape", ["input_ids"], "shape")
    length = node("Slice", [shape, one, two], "length")
    split = node("Concat", [shape, constant("heads", np.array([HEADS, HEAD], np.int64))], "split", axis=0)

    words = node("Gather", [graph.weight("embeddings.word_embeddings.weight"), "input_ids"], "words")
    places = node("Slice", [graph.weight("embeddings.position_embeddings.weight"), zero, length], "places")
    kind = node("Slice", [graph.weight("embeddings.token_type_embeddings.weight"), zero, one], "kind")
    summed = node("Add", [words, node("Add", [places, kind], "places+kind")], "words+places+kind")
    hidden = graph.norm(node("Reshape", [summed, rows], "tokens"), "embeddings.LayerNorm", "embedded")

    mask = node("Cast", ["attention_mask"], "mask", to=TensorProto.FLOAT)
    absent = node("Sub", [constant("one.f", np.array(1, np.float32)), mask], "absent")
    low = node("Mul", [absent, constant("lowest", np.array(-1e9, np.float32))], "low")
    bias = node("Unsqueeze", [low, constant("middle", np.array([1, 2], np.int64))], "bias")

    for layer in range(LAYERS):
        at = f"encoder.layer.{layer}"
        heads = {}
        for part, order in (("query", [0, 2, 1, 3]), ("key", [0, 2, 3, 1]), ("value", [0, 2, 1, 3])):
            flat = graph.linear(hidden, f"{at}.attention.self.{part}", f"{layer}/{part}")
            cut = node("Reshape", [flat, split], f"{layer}/{part}/heads")
            heads[part] = node("Transpose", [cut], f"{layer}/{part}/turned", perm=order)
        query = node("Mul", [heads["query"], scale], f"{layer}/query/scaled")
        scores = node("Add", [node("MatMul", [query, heads["key"]], f"{layer}/scores"), bias], f"{layer}/masked")
        attention = node("Softmax", [scores], f"{layer}/attention", axis=-1)
        mixed = node("MatMul", [attention, heads["value"]], f"{layer}/mixed")
        back = node("Transpose", [mixed], f"{layer}/back", perm=[0, 2, 1, 3])
        flat = node("Reshape", [back, rows], f"{layer}/flat")
        attended = graph.linear(flat, f"{at}.attention.output.dense", f"{layer}/attended")
        added = node("Add", [attended, hidden], f"{layer}/attended+hidden")
        hidden = graph.norm(added, f"{at}.attention.output.LayerNorm", f"{layer}/first")
        inner = node("Gelu", [graph.linear(hidden, f"{at}.intermediate.dense", f"{layer}/inner")], f"{layer}/gelu")
        outer = graph.linear(inner, f"{at}.output.dense", f"{layer}/outer")
        added = node("Add", [outer, hidden], f"{layer}/outer+hidden")
        hidden = graph.norm(added, f"{at}.output.LayerNorm", f"{layer}/second")

    texts = node("Concat", [shape, constant("width", np.array([HIDDEN], np.int64))], "texts", axis=0)
    apart = node("Reshape", [hidden, texts], "apart")
    column = node("Unsqueeze", [mask, two], "column")
    total = node("ReduceSum", [node("Mul", [apart, column], "kept"), one], "total", keepdims=0)
    count = node("ReduceSum", [mask, one], "count", keepdims=1)
    node("Div", [total, count], "embedding")

    tokens = ["batch", "tokens"]
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, tokens) for name in ("input_ids", "attention_mask")
    ]
    outputs = [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", HIDDEN])]
    made = helper.make_graph(graph.nodes, "all-MiniLM-L6-v2", inputs, outputs, list(graph.initializers.values()))
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)


def _contents(weights: Path) -> tuple[dict[str, Any], int]:
    """What a safetensors file says it holds, and where the data that its offsets count from begin."""
    with weights.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        return json.loads(file.read(size)), 8 + size


if __name__ == "__main__":
    path = model_folder() / WEIGHTS
    verify(path, WEIGHTS_SHA256)
    GRAPH.write_bytes(build(path).SerializeToString(deterministic=True))
