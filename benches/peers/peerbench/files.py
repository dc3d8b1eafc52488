"""Makes the files that engines load: `python -m peerbench.files FILE FOLDER MODEL`, in a process of its own
each.

FOLDER holds what `inputs` wrote: `weights/` (a checkpoint as timm saves it), `image.png`, `image.f32`.
"""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from .vit import MODELS, PIXEL_MEAN, PIXEL_STD, forward, normalised, pixels, weights

CALIBRATION_IMAGES = 4
# What ONNX Runtime computes in int8 with static scales: with all that its tool can quantize it takes longer.
ONNX_STATIC = ["MatMul", "Conv"]
# What LiteRT computes in int8 with static scales: XNNPACK takes no product of two int8 activations and no
# int8 GELU, and statistics of a layer norm do not survive 8 bits with one scale.
LITERT_STATIC = ("FULLY_CONNECTED", "CONV_2D", "RESHAPE", "TRANSPOSE")


def inputs(folder, model):
    """Writes weights and image, and returns the logits that every engine must come near to."""
    from PIL import Image
    from safetensors.numpy import save_file

    shape = MODELS[model]
    tensors, picture = weights(shape), pixels(shape)
    (folder / "weights").mkdir()
    save_file(tensors, folder / "weights" / "model.safetensors")
    preprocessing = {"mean": PIXEL_MEAN, "std": PIXEL_STD, "crop_pct": 1.0, "interpolation": "bicubic"}
    (folder / "weights" / "config.json").write_text(json.dumps({"pretrained_cfg": preprocessing}))
    Image.fromarray(picture).save(folder / "image.png")
    image = normalised(picture)
    (folder / "image.f32").write_bytes(image.astype("<f4").tobytes())
    return forward(shape, tensors, image)


def load_weights(folder):
    from safetensors.numpy import load_file

    return load_file(folder / "weights" / "model.safetensors")


def calibration(model):
    """The image of the run and others like it."""
    return [normalised(pixels(MODELS[model], seed)) for seed in range(1, CALIBRATION_IMAGES + 1)]


def onnx_float(folder, model, path):
    from .onnx_graph import write_onnx

    write_onnx(path, MODELS[model], load_weights(folder))


def onnx_extra():
    """Shape inference does not see through every node."""
    import onnx

    return {"DefaultTensorType": onnx.TensorProto.FLOAT}


def onnx_dynamic(folder, model, path):
    from onnxruntime.quantization import quantize_dynamic

    quantize_dynamic(folder / "float.onnx", path, extra_options=onnx_extra())


def onnx_static(folder, model, path):
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static

    class Reader(CalibrationDataReader):
        images = iter(calibration(model))

        def get_next(self):
            image = next(self.images, None)
            return None if image is None else {"image": image}

    quantize_static(
        folder / "float.onnx",
        path,
        Reader(),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        op_types_to_quantize=ONNX_STATIC,
        extra_options=onnx_extra(),
    )


def openvino_int8(folder, model, path):
    import nncf
    import openvino

    graph = openvino.Core().read_model(folder / "float.onnx")
    images = nncf.Dataset(calibration(model), lambda image: {"image": image})
    quantized = nncf.quantize(
        graph, images, model_type=nncf.ModelType.TRANSFORMER, subset_size=CALIBRATION_IMAGES
    )
    openvino.save_model(quantized, path, compress_to_fp16=False)


def litert_float(folder, model, path):
    from .litert_graph import litert_model

    path.write_bytes(litert_model(MODELS[model], load_weights(folder)))


def litert_dynamic(folder, model, path):
    from ai_edge_quantizer import quantizer, recipe

    made = quantizer.Quantizer(str(folder / "float.tflite"), recipe.dynamic_wi8_afp32()).quantize()
    path.write_bytes(made.quantized_model)


def litert_static(folder, model, path):
    from ai_edge_quantizer import quantizer, recipe

    (everything,) = recipe.static_wi8_ai8()
    chosen = [{**everything, "operation": operation} for operation in LITERT_STATIC]
    maker = quantizer.Quantizer(str(folder / "float.tflite"), chosen)
    images = [{"image": np.ascontiguousarray(image.transpose(0, 2, 3, 1))} for image in calibration(model)]
    path.write_bytes(maker.quantize(maker.calibrate({"serving_default": images})).quantized_model)


# File: the file that it is made from, and its maker.
MAKERS = {
    "float.onnx": (None, onnx_float),
    "dynamic.onnx": ("float.onnx", onnx_dynamic),
    "static.onnx": ("float.onnx", onnx_static),
    "int8.xml": ("float.onnx", openvino_int8),
    "float.tflite": (None, litert_float),
    "dynamic.tflite": ("float.tflite", litert_dynamic),
    "static.tflite": ("float.tflite", litert_static),
}


class Files:
    """The files of one run, each made once, when it is first asked for."""

    def __init__(self, folder, model):
        self.folder, self.model, self.failed = folder, model, {}

    def path(self, name):
        """Where the file is; raises RuntimeError with the reason if it cannot be made."""
        path = self.folder / name
        if name in self.failed:
            raise RuntimeError(self.failed[name])
        if name in MAKERS and not path.exists():
            source = MAKERS[name][0]
            if source:
                self.path(source)
            self.make(name, path)
        return path

    def make(self, name, path):
        command = [sys.executable, "-m", "peerbench.files", name, str(self.folder), self.model]
        done = subprocess.run(command, cwd=Path(__file__).parent.parent, capture_output=True, text=True)
        if done.returncode or not path.exists():
            last = (done.stderr.strip() or "no message").splitlines()[-1]
            self.failed[name] = f"{name} was not made (exit status {done.returncode}): {last}"
            path.unlink(missing_ok=True)
            raise RuntimeError(self.failed[name])


if __name__ == "__main__":
    target, where, which = sys.argv[1:]
    MAKERS[target][1](Path(where), which, Path(where) / target)
