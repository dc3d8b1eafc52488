"""The vision transformer as a TensorFlow Lite file: written tensor by tensor with the schema classes of
ai-edge-litert."""

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from .vit import CLASSES, NORM_EPS

OPERATORS = schema.BuiltinOperator
TYPES = {np.dtype(np.float32): schema.TensorType.FLOAT32, np.dtype(np.int32): schema.TensorType.INT32}
# Above this operator the old 8-bit field of an operator's code overflows.
LAST_OLD_CODE = 127


class Graph:
    """A subgraph that grows operator by operator. Tensors are their indices."""

    def __init__(self):
        self.tensors, self.operators, self.codes = [], [], []
        self.buffers = [schema.BufferT()]  # buffer 0 is the empty one, by convention
        self.shapes, self.names = [], {}

    def tensor(self, name, size, kind=schema.TensorType.FLOAT32, buffer=0):
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.type, tensor.buffer = name.encode(), list(size), kind, buffer
        self.tensors.append(tensor)
        self.shapes.append(tuple(size))
        return len(self.tensors) - 1

    def constant(self, name, value):
        """A tensor with data; the same name is the same tensor."""
        if name not in self.names:
            value = np.ascontiguousarray(value)
            buffer = schema.BufferT()
            buffer.data = value.reshape(-1).view(np.uint8)
            self.buffers.append(buffer)
            self.names[name] = self.tensor(name, value.shape, TYPES[value.dtype], len(self.buffers) - 1)
        return self.names[name]

    def code(self, kind):
        if kind not in self.codes:
            self.codes.append(kind)
        return self.codes.index(kind)

    def node(self, kind, inputs, size, options=None, **fields):
        """Adds an operator named as in BuiltinOperator, with its options, and returns its output."""
        operator = schema.OperatorT()
        operator.opcodeIndex = self.code(getattr(OPERATORS, kind))
        if options:
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, options)
            operator.builtinOptions = getattr(schema, f"{options}T")()
            for field, value in fields.items():
                setattr(operator.builtinOptions, field, value)
        output = self.tensor(f"{kind.lower()}_{len(self.operators)}", size)
        operator.inputs, operator.outputs = list(inputs), [output]
        self.operators.append(operator)
        return output

    def elementwise(self, kind, left, right):
        options = {"ADD": "AddOptions", "SUB": "SubOptions", "MUL": "MulOptions"}[kind]
        return self.node(
            kind, [left, right], np.broadcast_shapes(self.shapes[left], self.shapes[right]), options
        )

    def reshape(self, value, *size):
        shape = self.constant(f"shape_{size}", np.array(size, np.int32))
        return self.node("RESHAPE", [value, shape], size, "ReshapeOptions", newShape=list(size))

    def transpose(self, value, *order):
        size = [self.shapes[value][axis] for axis in order]
        return self.node(
            "TRANSPOSE",
            [value, self.constant(f"order_{order}", np.array(order, np.int32))],
            size,
            "TransposeOptions",
        )

    def slice(self, value, begin, size):
        parts = [self.constant(f"slice_{part}", np.array(part, np.int32)) for part in (begin, size)]
        return self.node("SLICE", [value, *parts], size, "SliceOptions")

    def fully_connected(self, value, name, weight, bias):
        size = (*self.shapes[value][:-1], weight.shape[0])
        inputs = [value, self.constant(f"{name}.weight", weight), self.constant(f"{name}.bias", bias)]
        return self.node("FULLY_CONNECTED", inputs, size, "FullyConnectedOptions", keepNumDims=True)

    def layer_norm(self, value, name, gain, offset):
        """TensorFlow Lite has no such operator: mean, variance and the affine part one by one, as converters
        do it."""
        last = self.constant("last_axis", np.array([-1], np.int32))
        size = (*self.shapes[value][:-1], 1)
        mean = self.node("MEAN", [value, last], size, "ReducerOptions", keepDims=True)
        square = self.node(
            "SQUARED_DIFFERENCE", [value, mean], self.shapes[value], "SquaredDifferenceOptions"
        )
        variance = self.node("MEAN", [square, last], size, "ReducerOptions", keepDims=True)
        raised = self.elementwise(
            "ADD", variance, self.constant("eps", np.full((1, 1, 1), NORM_EPS, np.float32))
        )
        scaled = self.elementwise(
            "MUL", self.elementwise("SUB", value, mean), self.node("RSQRT", [raised], size)
        )
        gained = self.elementwise("MUL", scaled, self.constant(f"{name}.weight", gain))
        return self.elementwise("ADD", gained, self.constant(f"{name}.bias", offset))

    def serialized(self, inputs, outputs):
        """The file's bytes, with a signature, which the quantizer's calibration needs."""
        graph = schema.SubGraphT()
        graph.tensors, graph.operators, graph.inputs, graph.outputs, graph.name = (
            self.tensors,
            self.operators,
            inputs,
            outputs,
            b"main",
        )
        signature = schema.SignatureDefT()
        signature.signatureKey, signature.subgraphIndex = b"serving_default", 0
        signature.inputs, signature.outputs = (
            [tensor_map(name, index) for name, index in zip(names, indices)]
            for names, indices in (([b"image"], inputs), ([b"logits"], outputs))
        )
        model = schema.ModelT()
        model.version, model.description = 3, b"vision transformer"
        model.subgraphs, model.buffers, model.signatureDefs, model.operatorCodes = (
            [graph],
            self.buffers,
            [signature],
            [],
        )
        for kind in self.codes:
            code = schema.OperatorCodeT()
            code.builtinCode, code.deprecatedBuiltinCode, code.version = kind, min(kind, LAST_OLD_CODE), 1
            model.operatorCodes.append(code)
        builder = flatbuffers.Builder(
            sum(0 if b.data is None else b.data.size + 64 for b in self.buffers) + (1 << 20)
        )
        builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
        return bytes(builder.Output())


def tensor_map(name, index):
    entry = schema.TensorMapT()
    entry.name, entry.tensorIndex = name, index
    return entry


def attention(graph, value, name, shape, tensors):
    """Queries, keys and values by a layer each: so no five-dimensional transpose is needed, which costs
    LiteRT time."""
    weights = tensors[f"{name}.qkv.weight"].reshape(3, shape.dim, shape.dim)
    biases = tensors[f"{name}.qkv.bias"].reshape(3, shape.dim)
    heads = []
    for part, weight, bias in zip("qkv", weights, biases):
        # The scores' scale goes into the queries' layer.
        factor = np.float32(shape.head_dim**-0.5 if part == "q" else 1)
        made = graph.fully_connected(value, f"{name}.{part}", weight * factor, bias * factor)
        made = graph.reshape(made, 1, shape.tokens, shape.heads, shape.head_dim)
        heads.append(graph.transpose(made, 0, 2, 1, 3))
    q, k, v = heads
    size = (1, shape.heads, shape.tokens)
    scores = graph.node("BATCH_MATMUL", [q, k], (*size, shape.tokens), "BatchMatMulOptions", adjY=True)
    shares = graph.node("SOFTMAX", [scores], (*size, shape.tokens), "SoftmaxOptions", beta=1.0)
    attended = graph.node("BATCH_MATMUL", [shares, v], (*size, shape.head_dim), "BatchMatMulOptions")
    return graph.reshape(graph.transpose(attended, 0, 2, 1, 3), 1, shape.tokens, shape.dim)


def litert_model(shape, tensors):
    """Bytes of the f32 model: image (1, height, width, 3) to logits (1, 1000)."""
    graph = Graph()
    side, dim = shape.image // shape.patch, shape.dim

    def linear(value, name):
        return graph.fully_connected(value, name, tensors[f"{name}.weight"], tensors[f"{name}.bias"])

    def norm(value, name):
        return graph.layer_norm(value, name, tensors[f"{name}.weight"], tensors[f"{name}.bias"])

    image = graph.tensor("image", (1, shape.image, shape.image, 3))
    kernel = graph.constant("patch.weight", tensors["patch_embed.proj.weight"].transpose(0, 2, 3, 1))
    bias = graph.constant("patch.bias", tensors["patch_embed.proj.bias"])
    x = graph.node(
        "CONV_2D",
        [image, kernel, bias],
        (1, side, side, dim),
        "Conv2DOptions",
        padding=schema.Padding.VALID,
        strideH=shape.patch,
        strideW=shape.patch,
    )
    x = graph.reshape(x, 1, side * side, dim)
    x = graph.node(
        "CONCATENATION",
        [graph.constant("cls", tensors["cls_token"]), x],
        (1, shape.tokens, dim),
        "ConcatenationOptions",
        axis=1,
    )
    x = graph.elementwise("ADD", x, graph.constant("positions", tensors["pos_embed"]))
    for block in range(shape.depth):
        name = f"blocks.{block}"
        attended = attention(graph, norm(x, f"{name}.norm1"), f"{name}.attn", shape, tensors)
        x = graph.elementwise("ADD", x, linear(attended, f"{name}.attn.proj"))
        hidden = linear(norm(x, f"{name}.norm2"), f"{name}.mlp.fc1")
        hidden = graph.node("GELU", [hidden], graph.shapes[hidden], "GeluOptions", approximate=False)
        x = graph.elementwise("ADD", x, linear(hidden, f"{name}.mlp.fc2"))
    first = graph.slice(x, (0, 0, 0), (1, 1, dim))
    logits = graph.reshape(linear(norm(first, "norm"), "head"), 1, CLASSES)
    return graph.serialized([image], [logits])
