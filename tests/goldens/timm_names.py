#!/usr/bin/env python3
"""Make timm_names.json: tensor names and shapes of small timm models, with their configuration, for
timm_names.rs.

Whether a model is refused, and why, depends on names, shapes and configuration alone, so no weights are kept.

    .venv/bin/python timm_names.py
"""

import json
import tempfile
from pathlib import Path

import timm
import torch
from architectures import FEATURES, features
from timm.models._hub import save_config_for_hf

SIZE = {"depth": 1, "embed_dim": 24, "num_heads": 2, "num_classes": 3}
# (name, arguments): one for each feature that a ViT of timm may have beside the plain ones.
MODELS = [
    ("deit3_small_patch16_224", {}),
    ("deit_tiny_distilled_patch16_224", {}),
    ("vit_base_patch16_gap_224", {}),
    ("vit_base_patch32_siglip_gap_256", {}),
    ("vit_medium_patch16_gap_256", {}),
    ("vit_small_patch14_dinov2", {}),
    ("eva_giant_patch14_224", {}),
    ("vit_base_patch16_rpn_224", {}),
    ("vit_relpos_base_patch16_224", {}),
    ("vit_relpos_base_patch16_rpn_224", {}),
    ("beit_base_patch16_224", {}),
    ("beit3_base_patch16_224", {}),
    ("vit_base_patch16_rope_224", {}),
    ("vit_base_patch16_rope_ape_224", {}),
    ("vit_small_patch16_dinov3", {}),
    ("eva02_tiny_patch14_224", {}),
    ("vit_small_patch14_reg4_dinov2", {}),
    ("vit_giant_patch14_dinov2", {}),
    ("vit_base_patch32_clip_224", {}),
    ("vit_base_patch32_clip_quickgelu_224", {}),
    ("vit_tiny_patch16_224", {"act_layer": "quick_gelu"}),
    ("vit_tiny_patch16_224", {"act_layer": "silu"}),
    ("vit_tiny_patch16_224", {"qk_norm": True}),
    ("vit_tiny_patch16_224", {"scale_attn_norm": True}),
    ("vit_tiny_patch16_224", {"class_token": False, "global_pool": "max"}),
    ("vit_base_patch16_siglip_224", {}),
    ("vit_small_patch16_18x2_224", {}),
    ("vit_base_patch16_xp_224", {}),
    ("vit_tiny_r_s16_p8_224", {}),
    ("samvit_base_patch16", {"img_size": 64}),
]


def entry(name, arguments):
    with torch.device("meta"):
        model = timm.create_model(name, **SIZE, **arguments)
    with tempfile.TemporaryDirectory() as folder:
        save_config_for_hf(model, Path(folder) / "config.json")
        config = json.loads((Path(folder) / "config.json").read_text())
    # The rest of it says where the weights were published.
    kept = ["mean", "std", "input_size", "interpolation", "crop_pct", "crop_mode", "num_classes", "tag"]
    config["pretrained_cfg"] = {
        key: config["pretrained_cfg"][key] for key in kept if key in config["pretrained_cfg"]
    }
    found = features(model)
    tensors = {
        name: list(tensor.shape) for name, tensor in model.state_dict().items() if "num_batches" not in name
    }
    return {"features": [code for code in FEATURES if code in found], "config": config, "tensors": tensors}


def main():
    entries = [json.dumps(entry(*model), separators=(",", ":")) for model in MODELS]
    path = Path(__file__).with_name("timm_names.json")
    path.write_text("[\n" + ",\n".join(entries) + "\n]\n")
    print(f"{path.name}: {len(entries)} models, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
