"""Rebuild minilm.onnx: the architecture of all-MiniLM-L6-v2 (a BERT of 6 layers) without its weights.

    python -m memoryhub.core.embedding.build_minilm_graph

Needs `onnx`, which serving does not. Mean pooling over the attention mask is part of the graph.
"""

from pathlib import Path

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper
from safetensors import safe_open

from memoryhub.core.embedding.minilm import GRAPH, model_folder

LAYERS, HEADS, HIDDEN = 6, 12, 384
HEAD = HIDDEN // HEADS
OPSET = 20


def build(weights: Path) -> ModelProto:
    """The graph: input_ids and attention_mask (batch, tokens) int64 → embedding (batch, 384) float32, not normalised."""
    nodes = []
    constants = []

    def constant(name: str, value: np.ndarray) -> str:
        constants.append(numpy_helper.from_array(value, name))
        return name

    def node(kind: str, inputs: list[str], output: str, **attributes: object) -> str:
        nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    def linear(source: str, weight: str, output: str) -> str:
        # Linear layers are stored as (out, in).
        turned = node("Transpose", [f"{weight}.weight"], f"{output}/w", perm=[1, 0])
        product = node("MatMul", [source, turned], f"{output}/product")
        return node("Add", [product, f"{weight}.bias"], output)

    def norm(source: str, weight: str, output: str) -> str:
        inputs = [source, f"{weight}.weight", f"{weight}.bias"]
        return node("LayerNormalization", inputs, output, axis=-1, epsilon=1e-12)

    zero, one, two = (constant(name, np.array([n], np.int64)) for name, n in (("zero", 0), ("one", 1), ("two", 2)))
    split = constant("split", np.array([0, 0, HEADS, HEAD], np.int64))
    joined = constant("joined", np.array([0, 0, HIDDEN], np.int64))
    scale = constant("scale", np.array(HEAD**-0.5, np.float32))
    shape = node("Shape", ["input_ids"], "shape")
    length = node("Slice", [shape, one, two, zero], "length")
    words = node("Gather", ["embeddings.word_embeddings.weight", "input_ids"], "words")
    places = node("Slice", ["embeddings.position_embeddings.weight", zero, length, zero], "places")
    kind = node("Slice", ["embeddings.token_type_embeddings.weight", zero, one, zero], "kind")
    summed = node("Add", [node("Add", [words, places], "words+places"), kind], "words+places+kind")
    hidden = norm(summed, "embeddings.LayerNorm", "embedded")
    mask = node("Cast", ["attention_mask"], "mask", to=TensorProto.FLOAT)
    wide = node("Unsqueeze", [mask, constant("axes", np.array([1, 2], np.int64))], "mask/wide")
    absent = node("Sub", [constant("one.f", np.array(1, np.float32)), wide], "mask/absent")
    bias = node("Mul", [absent, constant("lowest", np.array(-1e9, np.float32))], "mask/bias")
    for layer in range(LAYERS):
        at = f"encoder.layer.{layer}"
        heads = {}
        for part, order in (("query", [0, 2, 1, 3]), ("key", [0, 2, 3, 1]), ("value", [0, 2, 1, 3])):
            flat = linear(hidden, f"{at}.attention.self.{part}", f"{layer}/{part}")
            cut = node("Reshape", [flat, split], f"{layer}/{part}/heads")
            heads[part] = node("Transpose", [cut], f"{layer}/{part}/turned", perm=order)
        raw = node("MatMul", [heads["query"], heads["key"]], f"{layer}/scores")
        scores = node("Add", [node("Mul", [raw, scale], f"{layer}/scaled"), bias], f"{layer}/masked")
        weights_ = node("Softmax", [scores], f"{layer}/attention", axis=-1)
        mixed = node("MatMul", [weights_, heads["value"]], f"{layer}/mixed")
        flat = node("Reshape", [node("Transpose", [mixed], f"{layer}/back", perm=[0, 2, 1, 3]), joined], f"{layer}/flat")
        attended = linear(flat, f"{at}.attention.output.dense", f"{layer}/attended")
        hidden = norm(node("Add", [attended, hidden], f"{layer}/a+h"), f"{at}.attention.output.LayerNorm", f"{layer}/n1")
        inner = node("Gelu", [linear(hidden, f"{at}.intermediate.dense", f"{layer}/inner")], f"{layer}/gelu")
        outer = linear(inner, f"{at}.output.dense", f"{layer}/outer")
        hidden = norm(node("Add", [outer, hidden], f"{layer}/o+h"), f"{at}.output.LayerNorm", f"{layer}/n2")
    column = node("Unsqueeze", [mask, constant("last", np.array([-1], np.int64))], "mask/column")
    total = node("ReduceSum", [node("Mul", [hidden, column], "kept"), one], "total", keepdims=0)
    count = node("ReduceSum", [mask, one], "count", keepdims=1)
    node("Div", [total, count], "embedding")

    used = {name for each in nodes for name in each.input}
    with safe_open(weights, framework="np") as tensors:
        for name in sorted(used & set(tensors.keys())):
            external = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=tensors.get_slice(name).get_shape())
            external.data_location = TensorProto.EXTERNAL
            external.external_data.add(key="location", value="weights")
            constants.append(external)
    tokens = ["batch", "tokens"]
    graph = helper.make_graph(
        nodes,
        "all-MiniLM-L6-v2",
        [helper.make_tensor_value_info(name, TensorProto.INT64, tokens) for name in ("input_ids", "attention_mask")],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", HIDDEN])],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)


if __name__ == "__main__":
    model = build(model_folder() / "model.safetensors")
    GRAPH.write_bytes(model.SerializeToString())
