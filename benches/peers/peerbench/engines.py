"""The engines: what each is called, which file it loads, and which program runs it."""

import importlib.metadata
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

PEERS = Path(__file__).resolve().parent.parent
RUST = PEERS / "rust"


@dataclass(frozen=True)
class Engine:
    """`precision` is f32 or int8; `program` is a kind of `worker.py`, or a package of `rust/` without its
    prefix."""

    label: str
    precision: str
    file: str
    program: str
    package: str

    def version(self):
        if self.in_rust:
            return locked_versions().get(self.package, "unknown")
        return importlib.metadata.version(self.package)

    @property
    def in_rust(self):
        return self.program in ("rten", "tract", "candle", "burn")

    def command(self, path, image, threads, heads):
        """Command line of its process; raises RuntimeError with the reason if there is no program."""
        if self.in_rust:
            return [str(rust_program(self.program)), str(path), str(image), str(threads), str(heads)]
        return [sys.executable, "-m", "peerbench.worker", self.program, str(path), str(image), str(threads)]


CHECKPOINT = "weights/model.safetensors"
ENGINES = {
    "ort-int8-dynamic": Engine(
        "ONNX Runtime int8 dynamic", "int8", "dynamic.onnx", "onnxruntime", "onnxruntime"
    ),
    "ort-int8-static": Engine(
        "ONNX Runtime int8 static", "int8", "static.onnx", "onnxruntime", "onnxruntime"
    ),
    "openvino-int8": Engine("OpenVINO int8", "int8", "int8.xml", "openvino", "openvino"),
    "litert-int8-dynamic": Engine(
        "LiteRT int8 dynamic", "int8", "dynamic.tflite", "litert", "ai-edge-litert"
    ),
    "litert-int8-static": Engine("LiteRT int8 static", "int8", "static.tflite", "litert", "ai-edge-litert"),
    "rten-int8": Engine("rten int8", "int8", "dynamic.onnx", "rten", "rten"),
    "tract-int8": Engine("tract int8", "int8", "dynamic.onnx", "tract", "tract-onnx"),
    "ort-f32": Engine("ONNX Runtime f32", "f32", "float.onnx", "onnxruntime", "onnxruntime"),
    "openvino-f32": Engine("OpenVINO f32", "f32", "float.onnx", "openvino", "openvino"),
    "litert-f32": Engine("LiteRT f32", "f32", "float.tflite", "litert", "ai-edge-litert"),
    "rten-f32": Engine("rten f32", "f32", "float.onnx", "rten", "rten"),
    "tract-f32": Engine("tract f32", "f32", "float.onnx", "tract", "tract-onnx"),
    "candle-f32": Engine("candle f32", "f32", CHECKPOINT, "candle", "candle-core"),
    "burn-f32": Engine("burn f32", "f32", CHECKPOINT, "burn", "burn"),
}


def chosen(names):
    """Engines whose name is, or begins with, one of these: `ort` is all of ONNX Runtime. Raises ValueError
    for an unknown one."""
    picked = {}
    for name in names:
        found = {key: engine for key, engine in ENGINES.items() if key == name or key.startswith(f"{name}-")}
        if not found:
            raise ValueError(
                f"no engine {name!r}; there are vitreous, {', '.join(ENGINES)}, "
                "or the beginning of one of them"
            )
        picked.update(found)
    return {key: engine for key, engine in ENGINES.items() if key in picked}


@cache
def locked_versions():
    packages = tomllib.loads((RUST / "Cargo.lock").read_text())["package"]
    return {package["name"]: package["version"] for package in packages}


@cache
def built(program):
    """Builds a program of `rust/`, unless it is built already: None, or why not."""
    command = ["cargo", "build", "--release", "--locked", "--package", f"peer-{program}"]
    try:
        done = subprocess.run(command, cwd=RUST, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    except FileNotFoundError:
        return "there is no cargo"
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if line.startswith("error")]
        return f"peer-{program} was not built: {errors[0] if errors else done.stderr.strip()[-200:]}"
    return None


def rust_program(program):
    reason = built(program)
    if reason:
        raise RuntimeError(reason)
    return RUST / "target" / "release" / f"peer-{program}"
