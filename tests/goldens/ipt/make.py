#!/usr/bin/env python3
"""Make the goldens of the restorer: files of weights as torch.save writes them, and what PyTorch makes of
windows.

The network is written here from the paper (Chen et al., arXiv 2012.00364, section 3) and the layout of its
authors' public release, with PyTorch's own layers. Needs torch and safetensors of ../requirements.txt.

    python make.py                          # writes the folders beside this file
    python make.py --full-size FILE.pt      # a random model of the published size, 115 M weights, to measure the import
"""

import argparse
import json
import math
import shutil
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

WINDOWS = 2
RGB_MEAN = (0.4488, 0.4371, 0.4040)
SCALES = {"x2": 2, "x3": 3, "x4": 4}


@dataclass
class Config:
    features: int
    window: int
    patch: int
    heads: int
    hidden: int
    head_hidden: int
    encoder_layers: int
    decoder_layers: int
    tasks: tuple

    @property
    def dim(self):
        return self.features * self.patch**2

    @property
    def tokens(self):
        return (self.window // self.patch) ** 2


# --- The network
# -----------------------------------------------------------------------------------------------


class MeanShift(nn.Conv2d):
    """Adds or subtracts the mean colour of pixels in 0..255."""

    def __init__(self, sign):
        super().__init__(3, 3, kernel_size=1)
        self.weight.data = torch.eye(3).view(3, 3, 1, 1)
        self.bias.data = sign * 255 * torch.tensor(RGB_MEAN)


class ResidualBlock(nn.Module):
    def __init__(self, features):
        super().__init__()
        convolution = lambda: nn.Conv2d(features, features, 5, padding=2)
        self.body = nn.Sequential(convolution(), nn.ReLU(), convolution())

    def forward(self, x):
        return x + self.body(x)


def upsampler(features, scale):
    layers = []
    for factor in {1: [], 2: [2], 3: [3], 4: [2, 2]}[scale]:
        layers += [nn.Conv2d(features, features * factor**2, 3, padding=1), nn.PixelShuffle(factor)]
    return nn.Sequential(*layers)


class Attention(nn.MultiheadAttention):
    def __init__(self, c):
        super().__init__(c.dim, c.heads, bias=False, batch_first=True)

    def attend(self, query, key, value):
        return self(query, key, value, need_weights=False)[0]


class EncoderLayer(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.self_attn = Attention(c)
        self.linear1, self.linear2 = nn.Linear(c.dim, c.hidden), nn.Linear(c.hidden, c.dim)
        self.norm1, self.norm2 = nn.LayerNorm(c.dim), nn.LayerNorm(c.dim)

    def forward(self, x):
        y = self.norm1(x)
        x = x + self.self_attn.attend(y, y, y)
        return x + self.linear2(self.linear1(self.norm2(x)).relu())


class DecoderLayer(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.self_attn, self.multihead_attn = Attention(c), Attention(c)
        self.linear1, self.linear2 = nn.Linear(c.dim, c.hidden), nn.Linear(c.hidden, c.dim)
        self.norm1, self.norm2, self.norm3 = nn.LayerNorm(c.dim), nn.LayerNorm(c.dim), nn.LayerNorm(c.dim)

    def forward(self, x, memory, task_query):
        y = self.norm1(x)
        x = x + self.self_attn.attend(y + task_query, y + task_query, y)
        x = x + self.multihead_attn.attend(self.norm2(x) + task_query, memory, memory)
        return x + self.linear2(self.linear1(self.norm3(x)).relu())


class Layers(nn.Module):
    def __init__(self, layers):
        super().__init__()
        self.layers = nn.ModuleList(layers)


class PositionEncoding(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.pe = nn.Embedding(c.tokens, c.dim)
        self.register_buffer("position_ids", torch.arange(c.tokens).expand((1, -1)))


class Body(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c = c
        self.linear_encoding = nn.Linear(c.dim, c.dim)
        self.position_encoding = PositionEncoding(c)
        self.encoder = Layers(EncoderLayer(c) for _ in range(c.encoder_layers))
        self.decoder = Layers(DecoderLayer(c) for _ in range(c.decoder_layers))
        self.query_embed = nn.Embedding(len(c.tasks), c.tokens * c.dim)
        self.mlp_head = nn.Sequential(
            nn.Linear(c.dim, c.head_hidden), nn.Dropout(0), nn.ReLU(), nn.Linear(c.head_hidden, c.dim)
        )
        self.unfold = nn.Unfold(c.patch, stride=c.patch)
        self.fold = nn.Fold((c.window, c.window), c.patch, stride=c.patch)

    def forward(self, maps, task, keep):
        tokens = self.unfold(maps).transpose(1, 2)
        tokens = self.linear_encoding(tokens) + tokens
        x = tokens + self.position_encoding.pe(self.position_encoding.position_ids)
        for index, layer in enumerate(self.encoder.layers):
            x = keep(f"encoder.{index}", layer(x))
        memory = x
        task_query = self.query_embed.weight[task].view(1, self.c.tokens, self.c.dim)
        for index, layer in enumerate(self.decoder.layers):
            x = keep(f"decoder.{index}", layer(x, memory, task_query))
        x = self.mlp_head(x) + x
        return self.fold(x.transpose(1, 2))


class Ipt(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c = c
        self.sub_mean, self.add_mean = MeanShift(-1), MeanShift(1)
        head = lambda: nn.Sequential(
            nn.Conv2d(3, c.features, 3, padding=1), ResidualBlock(c.features), ResidualBlock(c.features)
        )
        tail = lambda scale: nn.Sequential(
            upsampler(c.features, scale), nn.Conv2d(c.features, 3, 3, padding=1)
        )
        self.head = nn.ModuleList(head() for _ in c.tasks)
        self.body = Body(c)
        self.tail = nn.ModuleList(tail(SCALES.get(task, 1)) for task in c.tasks)

    def forward(self, pixels, task, keep=lambda _name, x: x):
        maps = keep("head", self.head[task](self.sub_mean(pixels)))
        maps = keep("body", self.body(maps, task, keep) + maps)
        return keep("output", self.add_mean(self.tail[task](maps)))


# --- Weights and inputs
# ----------------------------------------------------------------------------------------


def fill_with_random_weights(model, rng):
    """Weights under which every part matters: pixels come down to units in the head, and go up again in the
    tail."""
    for name, parameter in model.named_parameters():
        if "_mean" in name:
            continue
        draw = torch.from_numpy(rng.standard_normal(tuple(parameter.shape), dtype=np.float32))
        if name.endswith("bias"):
            value = 0.3 * draw
        elif ".norm" in name:
            value = torch.exp(0.3 * draw)
        elif ".pe." in name or "query_embed" in name:
            value = 0.7 * draw
        else:
            value = 1.2 * draw / math.sqrt(parameter[0].numel())
        if name.startswith("head") and "body" not in name and name.endswith("weight"):
            value = value / 40
        if name.startswith("tail") and parameter.shape[0] == 3:
            value = value * 12
        parameter.copy_(value)


def random_windows(c, rng):
    """u8 (batch, side, side, 3): waves, an edge and noise."""
    rows, columns = np.mgrid[0 : c.window, 0 : c.window] / c.window
    frequency, phase = rng.uniform(0.5, 3, (2, WINDOWS, 1, 1, 3))
    rows, columns = rows[None, :, :, None], columns[None, :, :, None]
    waves = np.sin(2 * np.pi * (frequency * rows + phase)) + np.sin(2 * np.pi * (phase * columns + frequency))
    edge = np.where(rows + columns > 1, 40, -40)
    noise = rng.uniform(-30, 30, (WINDOWS, c.window, c.window, 3))
    return np.clip(np.round(128 + 45 * waves + edge + noise), 0, 255).astype(np.uint8)


def check_not_degenerate(model, windows):
    """A golden that a wrong model could pass by chance is worth nothing: every weight must show in an
    output."""
    outputs = [model(windows, task) for task in range(len(model.c.tasks))]
    assert all((output[0] - output[1]).abs().max() > 10 for output in outputs)
    for name, parameter in model.named_parameters():
        if "_mean" in name:
            continue
        kept = parameter.detach().clone()
        parameter.copy_(kept + kept.abs().mean() * torch.linspace(-1, 1, kept.numel()).reshape(kept.shape))
        moved = max((model(windows, task) - output).abs().max() for task, output in enumerate(outputs))
        parameter.copy_(kept)
        assert moved > 0.05, f"{name} has no effect: {moved}"


# --- Cases
# -----------------------------------------------------------------------------------------------------

SIX_TASKS = ("x2", "x3", "x4", "denoise30", "denoise50", "derain")


def save_zip(model, path):
    torch.save(model.state_dict(), path)


def save_parallel_and_sequential(model, path):
    """Names of DataParallel, in the format before PyTorch 1.6."""
    state = OrderedDict((f"module.{name}", tensor) for name, tensor in model.state_dict().items())
    torch.save(state, path, _use_new_zipfile_serialization=False)


def save_half_in_training_state(model, path):
    """Half precision, as one entry among others of a training's state."""
    torch.save({"epoch": 7, "state_dict": model.half().state_dict(), "best": 31.5}, path)
    model.float()
    # the import knows the mean colour exactly and takes half precision's for it
    model.sub_mean, model.add_mean = MeanShift(-1), MeanShift(1)


CASES = {
    # name: configuration, how it is saved, tasks whose stages are kept
    "six_tasks": (Config(3, 8, 2, 2, 20, 14, 2, 2, SIX_TASKS), save_zip, ("x2", "denoise30")),
    "patch_3": (
        Config(2, 12, 3, 3, 24, 10, 1, 2, ("denoise30", "derain")),
        save_parallel_and_sequential,
        ("derain",),
    ),
    "one_task": (Config(2, 4, 2, 4, 8, 12, 1, 1, ("x3",)), save_half_in_training_state, ("x3",)),
}


def make_case(name, index, root):
    config, save, staged = CASES[name]
    folder = root / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    rng = np.random.Generator(np.random.PCG64([2025, index]))
    model = Ipt(config).eval()
    fill_with_random_weights(model, rng)
    save(model, folder / f"{name}.pt")
    pixels = torch.from_numpy(random_windows(config, rng))
    windows = pixels.permute(0, 3, 1, 2).float()
    check_not_degenerate(model, windows)
    results = {"pixels": pixels}
    for task, task_name in enumerate(config.tasks):

        def keep(stage, x):
            if stage == "output" or task_name in staged:
                results[f"{task_name}.{stage}"] = x.contiguous()
            return x

        model(windows, task, keep)
    facts = {"heads": config.heads, "window": config.window, "patch": config.patch, "tasks": config.tasks}
    save_file(results, folder / "golden.safetensors", metadata={"case": json.dumps(facts)})


def make_full_size(path):
    """The published size: 48×48 windows, 64 features, 12 heads, hidden 2304, 12 and 12 layers, six tasks."""
    config = Config(64, 48, 3, 12, 2304, 2304, 12, 12, SIX_TASKS)
    model = Ipt(config)
    fill_with_random_weights(model, np.random.Generator(np.random.PCG64(2026)))
    print(f"{sum(parameter.numel() for parameter in model.parameters()):,} weights")
    torch.save(model.state_dict(), path)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parent)
    parser.add_argument("--full-size", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    torch.set_grad_enabled(False)
    if arguments.full_size:
        make_full_size(arguments.full_size)
        return
    for index, name in enumerate(CASES):
        make_case(name, index, arguments.out)


if __name__ == "__main__":
    main()
