#!/usr/bin/env python3
"""Make docs/timm-models.md: what the importer makes of every ViT of timm, and of other libraries' ViTs.

Every model is built by its library with two blocks and random weights, saved as a user would have it, and run
by PyTorch on two random images. The importer gets the same files, and the float reference the same 8-bit
pixels.

    cargo build --release -p vitreous-tests --example reference_logits
    .venv/bin/python timm_table.py                    # all, and writes ../../docs/timm-models.md
    .venv/bin/python timm_table.py --only 'deit*'     # prints these, writes nothing

Exit status 1: a model is accepted and wrong, or refused for a reason that it does not have.
"""

import argparse
import fnmatch
import functools
import json
import math
import multiprocessing
import os
import sys
import tempfile
from pathlib import Path

import numpy as np
import timm
import torch
from architectures import features
from importer import IMAGES, NAMES_ONLY, Importer, Truth, judge, judge_bare, with_random_weights
from make_goldens import normalise, random_pixels
from other_libraries import other_models
from page import write_page
from safetensors.torch import save_file
from timm.data import resolve_data_config
from timm.models._hub import save_config_for_hf

PATTERNS = ["vit*", "deit*", "eva*", "beit*"]
DEPTH = 2
WIDEST = 1024  # token width; wider models keep the width of their heads, but get fewer of them
MOST_PATCHES = 1100  # a model of more gets fewer heads too
MOST_CLASSES = 1000


class Pixels:
    """What make_goldens.py asks of a case, to make pixels and to normalise them."""

    def __init__(self, size, channels, mean, std):
        self.image_size, self.channels, self.mean, self.std = size, channels, mean, std


def arguments_of(name):
    """What makes the model small: two blocks, and fewer heads of the same width in a wide one."""
    arguments = {"depth": DEPTH}
    if "sapiens2" in name:  # its list of key and value heads has an entry for each block
        arguments["num_kv_heads"] = 4
    full = build(name, "meta", arguments)
    if full.num_classes > MOST_CLASSES:
        arguments["num_classes"] = MOST_CLASSES
    large = full.embed_dim > WIDEST or full.patch_embed.num_patches > MOST_PATCHES
    if large and not name.startswith("vitamin"):  # its stem asks for the full width
        arguments |= narrower(full)
    return arguments


def build(name, device, arguments):
    with torch.device(device):
        return timm.create_model(name, **arguments)


def with_memory(hollow, name, arguments):
    """The model on the CPU, without the library's slow initialisation where no buffer needs it."""
    if dict(hollow.named_buffers()).keys() - hollow.state_dict().keys():
        return build(name, "cpu", arguments)
    return hollow.to_empty(device="cpu")


def narrower(full):
    block = full.blocks[0]
    heads = next(m.num_heads for m in block.modules() if hasattr(m, "num_heads"))
    width = full.embed_dim // heads
    fewer = max(4, 768 // width // 4 * 4)
    return {"embed_dim": fewer * width, "num_heads": fewer}


def activation_of(model):
    kinds = {"GELU": "geluerf", "GELUTanh": "gelutanh", "ReLU": "relu"}
    mlp = getattr(model.blocks[0], "mlp", None)
    return kinds.get(type(getattr(mlp, "act", None)).__name__, "none of ours")


def settings_of(model, data):
    """What no shape says, in the words of the example `reference_logits`."""
    height, width = data["input_size"][1:]
    squash = data["crop_mode"] == "squash"
    norm = next(m for m in model.modules() if "norm" in type(m).__name__.lower() and hasattr(m, "eps"))
    return {
        "heads": next(m.num_heads for m in model.blocks[0].modules() if hasattr(m, "num_heads")),
        "activation": activation_of(model),
        "eps": norm.eps,
        "pool": {"token": "token", "avg": "mean"}.get(model.global_pool, model.global_pool),
        "mean": data["mean"],
        "std": data["std"],
        "filter": data["interpolation"],
        "crop": "squash" if squash else "center",
    } | ({} if squash else {"resize": math.floor(min(height, width) / data["crop_pct"])})


def truth_of(name, model, rng):
    """The model's pixels, and what is true of it."""
    data = resolve_data_config({}, model=model)
    channels, *size = data["input_size"]
    pixels_of = Pixels(tuple(size), channels, data["mean"], data["std"])
    pixels = random_pixels(pixels_of, rng)
    with torch.no_grad():
        logits = model(normalise(pixels_of, pixels)).numpy()
    assert np.isfinite(logits).all() and logits.shape[0] == IMAGES, name
    codes = sorted(features(model))
    return pixels, Truth(name, codes, logits, settings_of(model, data))


def save_as_timm(model, folder):
    folder.mkdir()
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, folder / "model.safetensors")
    save_config_for_hf(model, folder / "config.json")


@functools.cache
def importer():
    """One for each process."""
    return Importer()


def try_other(index):
    return list(other_models())[index].verdict(importer())


def try_timm(job):
    """Verdicts on the folder, on the bare file under the model's name and on the bare file without a name."""
    seed, name, bare = job
    arguments = arguments_of(name)
    hollow = build(name, "meta", arguments)
    codes = sorted(features(hollow))
    if set(codes) - NAMES_ONLY:
        # A refusal needs no weights.
        answers = ask(name, hollow.to_empty(device="cpu"), None, bare)
        if all("error" in answer for answer in answers):
            truth = Truth(name, codes, None)
            return [judge(truth, answers[0])] + [judge_bare(truth, answer) for answer in answers[1:]]
        hollow = build(name, "meta", arguments)
    model, rng = with_random_weights(with_memory(hollow, name, arguments), seed)
    pixels, truth = truth_of(name, model, rng)
    folder, *files = ask(name, model, pixels, bare)
    if "config" in folder:  # all of it: the same values give the same logits, so the bare files are not run
        truth.settings = folder["config"] | folder["preprocess"] | truth.settings
    unnamed = ["heads", "activation", "eps", "mean", "std", "resize", "filter", "block"]
    return [judge(truth, folder)] + [judge_bare(truth, *pair) for pair in zip(files, [[], unnamed])]


def ask(name, model, pixels, bare):
    """The answers about the folder and, if `bare`, about the weights alone, with the model's name and
    without."""
    no_images = np.zeros((0, 1), dtype=np.uint8)
    if pixels is None:
        pixels = no_images
        for tensor in model.state_dict().values():
            tensor.zero_()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "folder"
        save_as_timm(model, folder)
        answers = [importer().ask(folder, pixels)]
        last = folder / "model.safetensors"
        for stem in [name, "weights"] if bare else []:
            last = last.rename(Path(scratch) / f"{stem}.safetensors")
            answers.append(importer().ask(last, no_images))
    return answers


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="*", help="glob of names; nothing is written")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes")
    parser.add_argument(
        "--no-bare", action="store_true", help="leave out the weights without a configuration"
    )
    parser.add_argument(
        "--page", type=Path, default=Path(__file__).resolve().parents[2] / "docs/timm-models.md"
    )
    parser.add_argument("--dump", type=Path, help="also write every verdict as a line of JSON")
    arguments = parser.parse_args()
    rows, others = [], []
    names = [(seed, name, not arguments.no_bare) for seed, name in enumerate(timm.list_models(PATTERNS))]
    names = [job for job in names if fnmatch.fnmatch(job[1], arguments.only)]
    indices = [
        index for index, model in enumerate(other_models()) if fnmatch.fnmatch(model.name, arguments.only)
    ]
    torch.set_num_threads(1)
    with multiprocessing.Pool(arguments.jobs) as pool:
        for verdict in pool.imap(try_other, indices):
            others.append(verdict)
            show([verdict])
        for verdicts in pool.imap(try_timm, names):
            rows.append(verdicts)
            show(verdicts)
    if arguments.dump:
        everything = [vars(v) for row in rows for v in row] + [vars(v) for v in others]
        arguments.dump.write_text("".join(json.dumps(v) + "\n" for v in everything))
    if arguments.only == "*" and not arguments.no_bare:
        write_page(arguments.page, rows, others)
    bad = {"wrong", "untrue", "crash", "refused although plain"}
    sys.exit(any(verdict.kind in bad for row in [*rows, others] for verdict in row))


def show(verdicts):
    for verdict, given in zip(verdicts, ["config.json", "name", "nothing"]):
        codes = ",".join(verdict.codes) or "plain"
        print(
            f"{verdict.name} [{codes}] {given}: {verdict.kind} {verdict.difference:.1e} {verdict.text}",
            flush=True,
        )


if __name__ == "__main__":
    main()
