"""A Python engine in a process of its own: `python -m peerbench.worker KIND MODEL IMAGE THREADS`.

Speaks the protocol of `rust/worker`: after loading and one run it writes `{"base_kib": …, "logits": […]}`;
for each line `run N` it runs N times and writes `{"milliseconds": […]}`; what goes wrong is `{"error": "…"}`.
"""

import json
import os
import sys
import time

import numpy as np

from .memory import resident_kib


def onnx_runtime(path, image, threads):
    import onnxruntime

    base = resident_kib()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return base, lambda: session.run(None, {"image": image})[0]


def openvino(path, image, threads):
    import openvino

    base = resident_kib()
    core = openvino.Core()
    compiled = core.compile_model(
        core.read_model(path),
        "CPU",
        {
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32",
        },
    )
    request = compiled.create_infer_request()
    return base, lambda: request.infer({"image": image})[0]


def litert(path, image, threads):
    """With the XNNPACK delegate, which ai-edge-litert applies by default."""
    from ai_edge_litert.interpreter import Interpreter

    base = resident_kib()
    interpreter = Interpreter(model_path=path, num_threads=threads)
    interpreter.allocate_tensors()
    (source,), (target,) = interpreter.get_input_details(), interpreter.get_output_details()
    pixels = np.ascontiguousarray(image.transpose(0, 2, 3, 1))

    def run():
        interpreter.set_tensor(source["index"], pixels)
        interpreter.invoke()
        return interpreter.get_tensor(target["index"])

    return base, run


KINDS = {"onnxruntime": onnx_runtime, "openvino": openvino, "litert": litert}


def main():
    # Libraries print what they like; the protocol keeps the real standard output for itself.
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    kind, path, image_path, threads = sys.argv[1:]
    try:
        image = np.fromfile(image_path, "<f4")
        side = round((image.size / 3) ** 0.5)
        base, run = KINDS[kind](path, image.reshape(1, 3, side, side), int(threads))
        print(json.dumps({"base_kib": base, "logits": np.ravel(run()).tolist()}), file=replies)
        for line in sys.stdin:
            times = []
            for _ in range(int(line.removeprefix("run "))):
                start = time.perf_counter()
                run()
                times.append((time.perf_counter() - start) * 1e3)
            print(json.dumps({"milliseconds": times}), file=replies)
    except Exception as error:  # whatever an engine raises goes to the script that waits for this one
        print(json.dumps({"error": f"{type(error).__name__}: {error}"}), file=replies)
        sys.exit(1)


if __name__ == "__main__":
    main()
