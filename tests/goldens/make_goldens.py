#!/usr/bin/env python3
"""Make the golden cases that judge Vitreous's importers, its float reference and its preprocessing.

Every model case is a tiny vision transformer, built by the library that real checkpoints come from (timm,
transformers, torchvision), filled with fixed random weights, saved as that library saves it, and run once in
float32. What a case holds is written in README.md beside this file.

    python -m venv .venv && .venv/bin/pip install -r requirements.txt
    .venv/bin/python make_goldens.py            # writes the folders beside this file
"""

import argparse
import json
import math
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import timm
import torch
import torchvision
from PIL import Image
from safetensors.torch import save_file
from timm.models._hub import save_config_for_hf
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as vision
from transformers import (
    DeiTConfig,
    DeiTForImageClassificationWithTeacher,
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessor,
    ViTModel,
)

IMAGES_PER_CASE = 2
HALF = (0.5, 0.5, 0.5)
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass
class Case:
    """One tiny model: how to build it, what its input is, and where its blocks are."""

    name: str
    build: Callable[[], torch.nn.Module]
    image_size: tuple  # (height, width)
    blocks: Callable[[torch.nn.Module], torch.nn.ModuleList]
    save: Callable[["Case", torch.nn.Module, Path], None]
    heads: int
    channels: int = 3
    mean: tuple = HALF
    std: tuple = HALF
    output: str = "logits"


# --- Weights and inputs
# ----------------------------------------------------------------------------------------


def fill_with_random_weights(model, rng):
    """Random weights under which every part of the model matters.

    The libraries' own initialisation would hide mistakes: zero biases, unit gammas, zero class tokens and
    weights so small that attention is uniform. numpy's generator is used because its stream is fixed across
    versions.
    """
    for name, tensor in model.state_dict().items():
        draw = torch.from_numpy(rng.standard_normal(tuple(tensor.shape), dtype=np.float32))
        is_norm = any(
            part.startswith(("norm", "layernorm", "ln", "fc_norm")) for part in name.split(".")[:-1]
        )
        if name.endswith("bias"):
            value = 0.3 * draw
        elif is_norm:
            value = torch.exp(0.3 * draw)
        elif tensor.dim() >= 2 and name.endswith("weight"):
            # unit-variance outputs for unit-variance inputs, and 1.4 more, so that softmax is far from
            # uniform
            value = 1.4 * draw / math.sqrt(tensor[0].numel())
        else:  # class, distillation and position embeddings, and torchvision's in_proj_weight
            value = (
                1.4 * draw / math.sqrt(tensor.shape[-1]) if name.endswith("in_proj_weight") else 0.6 * draw
            )
        tensor.copy_(value)


def random_pixels(case, rng):
    """u8 images (batch, height, width, channels): smooth waves, an edge and noise, so that patches differ."""
    height, width = case.image_size
    rows = np.arange(height)[None, :, None, None] / height
    columns = np.arange(width)[None, None, :, None] / width
    frequency, phase = rng.uniform(0.5, 3, (2, IMAGES_PER_CASE, 1, 1, case.channels))
    waves = np.sin(2 * np.pi * (frequency * rows + phase)) + np.sin(2 * np.pi * (phase * columns + frequency))
    edge = np.where(rows + columns > 1, 40, -40)
    noise = rng.uniform(-30, 30, (IMAGES_PER_CASE, height, width, case.channels))
    return np.clip(np.round(128 + 45 * waves + edge + noise), 0, 255).astype(np.uint8)


def normalise(case, pixels):
    """(batch, height, width, channels) u8 to (batch, channels, height, width) f32, as ToTensor and Normalize
    do."""
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).to(torch.float32).div(255)
    mean, std = torch.tensor(case.mean)[:, None, None], torch.tensor(case.std)[:, None, None]
    return images.sub(mean).div(std).contiguous()


# --- Running a case
# --------------------------------------------------------------------------------------------


def first_tensor(value):
    return value[0] if isinstance(value, tuple) else value


def run_with_hidden_states(case, model, images):
    """The model's output and the token matrices (batch, tokens, dim) before the first and after every
    block."""
    hidden, hooks = {}, []
    blocks = list(case.blocks(model))

    def keep_input(_module, args):
        hidden["hidden.0"] = first_tensor(args)

    def keep_output(index):
        return lambda _module, _args, output: hidden.__setitem__(f"hidden.{index + 1}", first_tensor(output))

    hooks.append(blocks[0].register_forward_pre_hook(keep_input))
    hooks += [block.register_forward_hook(keep_output(index)) for index, block in enumerate(blocks)]
    output = model(images)
    for hook in hooks:
        hook.remove()
    results = dict(hidden)
    if torch.is_tensor(output):
        results[case.output] = output
    elif hasattr(output, "logits"):
        results["logits"] = output.logits
    else:  # a bare encoder: the normalised tokens, of which the class token is the feature vector
        results["last_hidden_state"] = output.last_hidden_state
        results["features"] = output.last_hidden_state[:, 0]
    if getattr(output, "cls_logits", None) is not None:
        results["cls_logits"] = output.cls_logits
        results["distillation_logits"] = output.distillation_logits
    return results


def make_model_case(case, index, root):
    folder = root / case.name
    folder.mkdir(parents=True)
    rng = np.random.Generator(np.random.PCG64([2024, index]))
    torch.manual_seed(0)
    model = case.build().eval()
    fill_with_random_weights(model, rng)
    pixels = random_pixels(case, rng)
    images = normalise(case, pixels)
    results = run_with_hidden_states(case, model, images)
    results |= {"input": images, "pixels": torch.from_numpy(pixels)}
    check_not_degenerate(case, model, images, results)
    case.save(case, model, folder)
    facts = {"heads": case.heads, "image_size": case.image_size, "mean": case.mean, "std": case.std}
    # one metadata key only: safetensors writes several in no fixed order
    save_file(
        {name: tensor.contiguous() for name, tensor in results.items()},
        folder / "golden.safetensors",
        metadata={"case": json.dumps(facts)},
    )


def check_not_degenerate(case, model, images, results):
    """A golden that a wrong model could pass by chance is worth nothing."""
    output = results.get("logits", results.get("features"))
    assert torch.isfinite(output).all(), case.name
    difference = (output[0] - output[1]).abs().max() / output.abs().max()
    assert difference > 0.1, f"{case.name}: the two images give nearly the same output"
    for name, parameter in model.named_parameters():
        kept = parameter.detach().clone()
        parameter.copy_(
            kept + 0.1 * kept.abs().mean() * torch.linspace(-1, 1, kept.numel()).reshape(kept.shape)
        )
        changed = model(images)
        changed = changed if torch.is_tensor(changed) else getattr(changed, "logits", changed[0][:, 0])
        parameter.copy_(kept)
        moved = (changed - output).abs().max()
        # a bias on the keys shifts all scores of a query alike, so softmax drops it
        assert moved > 1e-4 or name.endswith(("key.bias", "k_proj.bias")), (
            f"{case.name}: {name} has no effect"
        )


# --- Saving as each library does
# -------------------------------------------------------------------------------


def save_timm(case, model, folder):
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, folder / "model.safetensors")
    data = {"input_size": (case.channels, *case.image_size), "mean": case.mean, "std": case.std}
    save_config_for_hf(model, folder / "config.json", data_config=data)


def save_transformers(case, model, folder):
    # save_pretrained writes the tensor names of published checkpoints, which differ from the module names
    model.save_pretrained(folder)
    height, width = case.image_size
    ViTImageProcessor(
        size={"height": height, "width": width}, image_mean=list(case.mean), image_std=list(case.std)
    ).save_pretrained(folder)


def save_torchvision(_case, model, folder):
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, folder / "model.safetensors")


# --- The model cases
# -------------------------------------------------------------------------------------------


def timm_case(
    name, image_size, base="vit_tiny_patch16_224", dim=24, heads=2, patch=8, classes=10, data=None, **options
):
    options.setdefault("mlp_ratio", 2.0)

    def build():
        return timm.create_model(
            base,
            img_size=image_size,
            patch_size=patch,
            embed_dim=dim,
            depth=2,
            num_heads=heads,
            num_classes=classes,
            in_chans=(data or {}).get("channels", 3),
            **options,
        )

    return Case(
        name,
        build,
        image_size,
        blocks=lambda model: model.blocks,
        save=save_timm,
        heads=heads,
        output="logits" if classes else "features",
        **(data or {}),
    )


def transformers_case(
    name, build, config_class=ViTConfig, heads=2, side=24, patch=8, prefix="vit", dim=24, **options
):
    config = config_class(
        hidden_size=dim,
        num_hidden_layers=2,
        num_attention_heads=heads,
        intermediate_size=options.pop("intermediate_size", 2 * dim),
        image_size=side,
        patch_size=patch,
        num_labels=10,
        **options,
    )
    return Case(
        name,
        lambda: build(config),
        (side, side),
        blocks=lambda model: (getattr(model, prefix) if prefix else model).layers,
        save=save_transformers,
        heads=heads,
    )


def torchvision_case(name):
    def build():
        return torchvision.models.VisionTransformer(
            image_size=16, patch_size=4, num_layers=2, num_heads=2, hidden_dim=24, mlp_dim=72, num_classes=10
        )

    return Case(
        name,
        build,
        (16, 16),
        blocks=lambda model: model.encoder.layers,
        save=save_torchvision,
        heads=2,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
    )


def model_cases():
    imagenet = {"mean": IMAGENET_MEAN, "std": IMAGENET_STD}
    small = {"side": 12, "patch": 4}
    grey = {"channels": 1, "mean": (0.5,), "std": (0.25,)}
    return [
        timm_case("timm_token", (24, 24), patch=6, heads=3, mlp_ratio=4.0),
        timm_case("timm_avg_fc_norm", (24, 24), class_token=False, global_pool="avg"),
        timm_case("timm_avg_no_fc_norm", (24, 24), class_token=False, global_pool="avg", fc_norm=False),
        timm_case("timm_avg_class_token", (24, 24), global_pool="avg", data=imagenet),
        timm_case("timm_distilled", (24, 24), base="deit_tiny_distilled_patch16_224", heads=3, data=imagenet),
        timm_case("timm_features", (12, 12), patch=4, classes=0, dim=28),
        timm_case("timm_grey_not_square", (24, 32), patch=(6, 8), data=grey),
        timm_case("timm_relu", (12, 12), patch=4, act_layer="relu", mlp_ratio=3.0),
        timm_case("timm_gelu_tanh", (12, 12), patch=4, act_layer="gelu_tanh"),
        transformers_case("hf_vit", ViTForImageClassification, patch=6, intermediate_size=96),
        transformers_case("hf_vit_gelu_new", ViTForImageClassification, **small, hidden_act="gelu_new"),
        transformers_case(
            "hf_vit_gelu_pytorch_tanh", ViTForImageClassification, **small, hidden_act="gelu_pytorch_tanh"
        ),
        transformers_case(
            "hf_vit_relu", ViTForImageClassification, **small, hidden_act="relu", intermediate_size=60
        ),
        transformers_case(
            "hf_deit_distilled",
            DeiTForImageClassificationWithTeacher,
            config_class=DeiTConfig,
            prefix="deit",
            heads=3,
        ),
        transformers_case("hf_vit_bare", lambda config: ViTModel(config, add_pooling_layer=False), prefix=""),
        torchvision_case("torchvision_vit"),
    ]


# --- Preprocessing
# ---------------------------------------------------------------------------------------------

FILTERS = {
    "bicubic": InterpolationMode.BICUBIC,
    "bilinear": InterpolationMode.BILINEAR,
    "lanczos": InterpolationMode.LANCZOS,
    "box": InterpolationMode.BOX,
}


def synthetic_photo(width, height, seed):
    """Gradients, hard edges, thin lines, saturated areas and noise: what separates one resampler from
    another."""
    rng = np.random.Generator(np.random.PCG64(seed))
    rows, columns = np.mgrid[:height, :width]
    gradient = np.stack(
        [columns * 255 / width, rows * 255 / height, (rows + columns) * 255 / (width + height)], -1
    )
    photo = gradient + rng.normal(0, 12, gradient.shape)
    disc = (rows - 0.4 * height) ** 2 + (columns - 0.6 * width) ** 2 < (0.25 * min(width, height)) ** 2
    photo[disc] = (255, 255, 0)
    photo[(columns // 2 + rows // 2) % 7 == 0] *= 0.25
    photo[height // 2 : height // 2 + 1] = (255, 0, 255)
    photo[:, width // 5 : width // 5 + 4] = (0, 0, 0)
    return Image.fromarray(np.clip(np.round(photo), 0, 255).astype(np.uint8))


def make_preprocess_cases(root):
    folder = root / "preprocess"
    folder.mkdir(parents=True)
    photos = {"landscape": synthetic_photo(97, 61, 1), "portrait": synthetic_photo(45, 80, 2)}
    manifest = []
    for photo_name, photo in photos.items():
        photo.save(folder / f"{photo_name}.png")
        for filter_name, mode in FILTERS.items():
            # one shrinking, one enlarging; crops of either parity exercise the rounding of the crop's offset
            for shorter_side, crop in ((35, 32), (72, 63)):
                resized = vision.resize(photo, shorter_side, interpolation=mode)
                record = {
                    "source": f"{photo_name}.png",
                    "filter": filter_name,
                    "resize_shorter_side": shorter_side,
                    "resized_width": resized.width,
                    "resized_height": resized.height,
                    "center_crop": crop,
                    "expected": f"{photo_name}_{filter_name}_{shorter_side}_{crop}.png",
                }
                vision.center_crop(resized, crop).save(folder / record["expected"])
                manifest.append(record)
        # the transformers processors stretch to the exact size and do not crop
        record = {
            "source": f"{photo_name}.png",
            "filter": "bilinear",
            "resized_width": 32,
            "resized_height": 24,
            "expected": f"{photo_name}_bilinear_stretched.png",
        }
        photo.resize((32, 24), Image.Resampling.BILINEAR).save(folder / record["expected"])
        manifest.append(record)
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parent)
    root = parser.parse_args().out
    # one thread and no approximate kernels, so that a second run on the same machine gives the same bytes
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    torch.set_grad_enabled(False)
    for folder in [root / case.name for case in model_cases()] + [root / "preprocess"]:
        shutil.rmtree(folder, ignore_errors=True)
    for index, case in enumerate(model_cases()):
        make_model_case(case, index, root)
    make_preprocess_cases(root)


if __name__ == "__main__":
    main()
