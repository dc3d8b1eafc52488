"""The vision transformer as an ONNX graph, as exporters write it."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from .vit import CLASSES, NORM_EPS

OPSET, IR_VERSION = 20, 9
# A protocol buffer ends at 2 GiB. Larger weights go to a file beside it.
INLINE_BYTES = 1.8e9


class Graph:
    """Nodes and constants. Values are named by their node."""

    def __init__(self, tensors):
        self.tensors, self.nodes, self.constants = tensors, [], {}

    def constant(self, name, value):
        self.constants[name] = numpy_helper.from_array(np.asarray(value, order="C"), name)
        return name

    def node(self, kind, inputs, **attributes):
        output = f"{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    def shaped(self, value, *size):
        return self.node(
            "Reshape", [value, self.constant(f"shape_{len(self.nodes)}", np.array(size, np.int64))]
        )

    def linear(self, value, name):
        product = self.node(
            "MatMul", [value, self.constant(f"{name}.weight", self.tensors[f"{name}.weight"].T)]
        )
        return self.node("Add", [product, self.constant(f"{name}.bias", self.tensors[f"{name}.bias"])])

    def norm(self, value, name):
        gain, offset = (
            self.constant(f"{name}.{part}", self.tensors[f"{name}.{part}"]) for part in ("weight", "bias")
        )
        return self.node("LayerNormalization", [value, gain, offset], axis=-1, epsilon=NORM_EPS)


def attention(graph, value, name, shape):
    qkv = graph.shaped(graph.linear(value, f"{name}.qkv"), 1, shape.tokens, 3, shape.heads, shape.head_dim)
    qkv = graph.node("Transpose", [qkv], perm=[2, 0, 3, 1, 4])
    parts = [graph.constant(f"part_{part}", np.array(part, np.int64)) for part in range(3)]
    q, k, v = (graph.node("Gather", [qkv, part], axis=0) for part in parts)
    scores = graph.node("MatMul", [q, graph.node("Transpose", [k], perm=[0, 1, 3, 2])])
    scores = graph.node("Mul", [scores, graph.constant("scale", np.array(shape.head_dim**-0.5, np.float32))])
    attended = graph.node("MatMul", [graph.node("Softmax", [scores], axis=-1), v])
    attended = graph.shaped(
        graph.node("Transpose", [attended], perm=[0, 2, 1, 3]), 1, shape.tokens, shape.dim
    )
    return graph.linear(attended, f"{name}.proj")


def onnx_model(shape, tensors):
    """Image (1, 3, height, width) to logits (1, 1000)."""
    graph = Graph(tensors)
    image, patch, dim = shape.image, shape.patch, shape.dim
    kernel = graph.constant("patch.weight", tensors["patch_embed.proj.weight"])
    bias = graph.constant("patch.bias", tensors["patch_embed.proj.bias"])
    x = graph.node("Conv", ["image", kernel, bias], strides=[patch, patch], kernel_shape=[patch, patch])
    x = graph.node("Transpose", [graph.shaped(x, 1, dim, shape.tokens - 1)], perm=[0, 2, 1])
    x = graph.node("Concat", [graph.constant("cls", tensors["cls_token"]), x], axis=1)
    x = graph.node("Add", [x, graph.constant("positions", tensors["pos_embed"])])
    for block in range(shape.depth):
        name = f"blocks.{block}"
        x = graph.node("Add", [x, attention(graph, graph.norm(x, f"{name}.norm1"), f"{name}.attn", shape)])
        hidden = graph.node("Gelu", [graph.linear(graph.norm(x, f"{name}.norm2"), f"{name}.mlp.fc1")])
        x = graph.node("Add", [x, graph.linear(hidden, f"{name}.mlp.fc2")])
    first = graph.node(
        "Gather", [graph.norm(x, "norm"), graph.constant("first", np.array(0, np.int64))], axis=1
    )
    logits = graph.linear(first, "head")
    made = helper.make_graph(
        graph.nodes,
        "vit",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, image, image])],
        [helper.make_tensor_value_info(logits, TensorProto.FLOAT, [1, CLASSES])],
        list(graph.constants.values()),
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)


def write_onnx(path, shape, tensors):
    """Writes and checks the file."""
    large = sum(value.nbytes for value in tensors.values()) > INLINE_BYTES
    onnx.save(onnx_model(shape, tensors), path, save_as_external_data=large, location=f"{path.name}.data")
    onnx.checker.check_model(path)
