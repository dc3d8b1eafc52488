#!/usr/bin/env python3
"""Times Vitreous beside ONNX Runtime and OpenVINO on ViTs of the same shapes, one thread or more, interleaved.

    python3 -m venv venv && venv/bin/pip install -r benches/peers/requirements.txt
    cargo build --release -p vitreous-tools
    venv/bin/python benches/peers/peers.py --model tiny --threads 1

Weights are random: time does not depend on them. Every engine runs the same graph: patch embedding, pre-norm blocks with GELU
(erf), class token, classifier of 1000 classes, batch 1. Prints medians and minima in milliseconds, and ratios to Vitreous.
"""

import argparse
import json
import os
import struct
import subprocess
import tempfile
import time
from pathlib import Path

MODELS = {  # image, patch, dim, depth, heads, hidden
    "mini": (32, 4, 96, 6, 3, 192),
    "tiny": (224, 16, 192, 12, 3, 768),
    "small": (224, 16, 384, 12, 6, 1536),
    "base": (224, 16, 768, 12, 12, 3072),
}
CLASSES = 1000


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=MODELS, default="tiny")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=10, help="rounds, each of which runs every engine")
    parser.add_argument("--runs", type=int, default=10, help="runs of an engine in a round")
    parser.add_argument("--vitreous", default="target/release/vitreous", help="the command line tool")
    return parser.parse_args()


def weights(shape):
    """Random float weights by timm's names."""
    import numpy as np

    image, patch, dim, depth, _, hidden = shape
    generator = np.random.default_rng(0)
    tokens = (image // patch) ** 2 + 1

    def normal(*size):
        return (generator.standard_normal(size) * (0.5 / max(size[-1], 1) ** 0.5)).astype(np.float32)

    tensors = {
        "cls_token": normal(1, 1, dim),
        "pos_embed": normal(1, tokens, dim),
        "patch_embed.proj.weight": normal(dim, 3, patch, patch),
        "patch_embed.proj.bias": normal(dim),
    }
    for block in range(depth):
        for name, size in [
            ("norm1.weight", (dim,)), ("norm1.bias", (dim,)),
            ("attn.qkv.weight", (3 * dim, dim)), ("attn.qkv.bias", (3 * dim,)),
            ("attn.proj.weight", (dim, dim)), ("attn.proj.bias", (dim,)),
            ("norm2.weight", (dim,)), ("norm2.bias", (dim,)),
            ("mlp.fc1.weight", (hidden, dim)), ("mlp.fc1.bias", (hidden,)),
            ("mlp.fc2.weight", (dim, hidden)), ("mlp.fc2.bias", (dim,)),
        ]:
            value = np.ones(size, np.float32) if name in ("norm1.weight", "norm2.weight") else normal(*size)
            tensors[f"blocks.{block}.{name}"] = value
    tensors.update({
        "norm.weight": np.ones(dim, np.float32), "norm.bias": normal(dim),
        "head.weight": normal(CLASSES, dim), "head.bias": normal(CLASSES),
    })
    return tensors


def onnx_model(shape, tensors):
    """The graph as an exporter writes it."""
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    image, patch, dim, depth, heads, _ = shape
    tokens, width = (image // patch) ** 2 + 1, dim // heads
    nodes, constants = [], {}

    def constant(name, value):
        constants[name] = numpy_helper.from_array(np.asarray(value, order="C"), name)
        return name

    def node(kind, inputs, **attributes):
        output = f"{kind}_{len(nodes)}"
        nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    def shaped(value, *size):
        return node("Reshape", [value, constant(f"shape_{len(nodes)}", np.array(size, np.int64))])

    def linear(value, name):
        product = node("MatMul", [value, constant(f"{name}.weight", tensors[f"{name}.weight"].T)])
        return node("Add", [product, constant(f"{name}.bias", tensors[f"{name}.bias"])])

    def norm(value, name):
        gain, offset = (constant(f"{name}.{part}", tensors[f"{name}.{part}"]) for part in ("weight", "bias"))
        return node("LayerNormalization", [value, gain, offset], axis=-1, epsilon=1e-6)

    kernel = constant("patch.weight", tensors["patch_embed.proj.weight"])
    bias = constant("patch.bias", tensors["patch_embed.proj.bias"])
    x = node("Conv", ["image", kernel, bias], strides=[patch, patch], kernel_shape=[patch, patch])
    x = node("Transpose", [shaped(x, 1, dim, tokens - 1)], perm=[0, 2, 1])
    x = node("Concat", [constant("cls", tensors["cls_token"]), x], axis=1)
    x = node("Add", [x, constant("positions", tensors["pos_embed"])])
    for block in range(depth):
        name = f"blocks.{block}"
        qkv = shaped(linear(norm(x, f"{name}.norm1"), f"{name}.attn.qkv"), 1, tokens, 3, heads, width)
        qkv = node("Transpose", [qkv], perm=[2, 0, 3, 1, 4])
        q, k, v = (node("Gather", [qkv, constant(f"part_{part}", np.array(part, np.int64))], axis=0) for part in range(3))
        scores = node("MatMul", [q, node("Transpose", [k], perm=[0, 1, 3, 2])])
        scores = node("Mul", [scores, constant("scale", np.array(width ** -0.5, np.float32))])
        attended = node("MatMul", [node("Softmax", [scores], axis=-1), v])
        attended = shaped(node("Transpose", [attended], perm=[0, 2, 1, 3]), 1, tokens, dim)
        x = node("Add", [x, linear(attended, f"{name}.attn.proj")])
        hidden = linear(norm(x, f"{name}.norm2"), f"{name}.mlp.fc1")
        x = node("Add", [x, linear(node("Gelu", [hidden]), f"{name}.mlp.fc2")])
    first = node("Gather", [norm(x, "norm"), constant("first", np.array(0, np.int64))], axis=1)
    logits = linear(first, "head")
    graph = helper.make_graph(
        nodes, "vit",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, image, image])],
        [helper.make_tensor_value_info(logits, TensorProto.FLOAT, [1, CLASSES])],
        list(constants.values()),
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    onnx.checker.check_model(model)
    return model


def write_safetensors(path, tensors):
    """The format is a length, a JSON header and the data; no package is needed for that."""
    header, start, chunks = {}, 0, []
    for name, value in tensors.items():
        data = value.tobytes()
        header[name] = {"dtype": "F32", "shape": list(value.shape), "data_offsets": [start, start + len(data)]}
        start += len(data)
        chunks.append(data)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(chunks))


def onnx_runtime(path, threads, image):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {"image": image})


def openvino(model, threads, image):
    import openvino

    compiled = openvino.Core().compile_model(
        model, "CPU", {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY",
                       "INFERENCE_PRECISION_HINT": "f32"})
    request = compiled.create_infer_request()
    return lambda: request.infer({"image": image})


def peers(folder, shape, threads):
    """Engines by name: a function that runs one image."""
    import numpy as np
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_dynamic, quantize_static

    side = shape[0]
    image = np.random.default_rng(1).standard_normal((1, 3, side, side)).astype(np.float32)
    float_path, dynamic_path, static_path = (folder / f"{name}.onnx" for name in ("float", "dynamic", "static"))
    onnx.save(onnx_model(shape, weights(shape)), float_path)

    class Reader(CalibrationDataReader):
        left = 4

        def get_next(self):
            self.left -= 1
            return {"image": image} if self.left >= 0 else None

    # Shape inference does not see through every node.
    extra = {"DefaultTensorType": onnx.TensorProto.FLOAT}
    quantize_dynamic(float_path, dynamic_path, extra_options=extra)
    quantize_static(float_path, static_path, Reader(), quant_format=QuantFormat.QDQ, per_channel=True, extra_options=extra)
    engines = {
        "ONNX Runtime f32": onnx_runtime(float_path, threads, image),
        "ONNX Runtime int8 dynamic": onnx_runtime(dynamic_path, threads, image),
        "ONNX Runtime int8 static": onnx_runtime(static_path, threads, image),
    }
    try:
        import nncf
        import openvino as ov

        model = ov.Core().read_model(float_path)
        engines["OpenVINO f32"] = openvino(model, threads, image)
        quantized = nncf.quantize(model, nncf.Dataset([image] * 4, lambda x: {"image": x}),
                                  model_type=nncf.ModelType.TRANSFORMER, subset_size=4)
        engines["OpenVINO int8"] = openvino(quantized, threads, image)
    except ImportError as error:
        print(f"left out: OpenVINO ({error})")
    return engines


def vitreous_times(tool, model, threads, runs):
    """Milliseconds of a process's runs: median and least."""
    command = [tool, "bench", str(model), "--threads", str(threads), "--runs", str(runs), "--json"]
    report = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return report


def main():
    options = arguments()
    shape = MODELS[options.model]
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_safetensors(folder / "model.safetensors", weights(shape))
        subprocess.run([options.vitreous, "convert", str(folder / "model.safetensors"), "--output",
                        str(folder / "model.vtr"), "--heads", str(shape[4]), "--image-size", f"{shape[0]}x{shape[0]}",
                        "--for", "x86-64"], check=True, capture_output=True)
        engines = peers(folder, shape, options.threads)
        times = {name: [] for name in ["Vitreous", *engines]}
        for run in engines.values():
            run()
        for _ in range(options.rounds):
            report = vitreous_times(options.vitreous, folder / "model.vtr", options.threads, options.runs)
            times["Vitreous"].append((report["median"], report["least"]))
            for name, run in engines.items():
                round_times = []
                for _ in range(options.runs):
                    start = time.perf_counter()
                    run()
                    round_times.append((time.perf_counter() - start) * 1e3)
                times[name].append((sorted(round_times)[len(round_times) // 2], min(round_times)))
    print(f"ViT {options.model}, {options.threads} thread(s); Vitreous on {report['kernels']}, "
          f"peak {report['peak_gmacs']:.0f} GMAC/s per core, {report['macs'] / 1e6:.0f} M MACs")
    print(f"{'':28}{'median ms':>10}{'least ms':>10}{'least / Vitreous':>18}")
    best = min(least for _, least in times["Vitreous"])
    for name, rounds in times.items():
        medians = sorted(median for median, _ in rounds)
        least = min(least for _, least in rounds)
        print(f"{name:28}{medians[len(medians) // 2]:10.3f}{least:10.3f}{least / best:18.2f}")


if __name__ == "__main__":
    main()
