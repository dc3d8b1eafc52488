#!/usr/bin/env python3
"""Make the tables of well-known architectures that the importer asks for what tensor shapes cannot tell.

Every timm model is built on the `meta` device (no weights, no memory), and its modules are asked: how many
heads an attention has, the epsilon of a norm, the class of the activation, the kind of block. Nothing is
guessed from names.

    .venv/bin/python architectures.py           # writes ../../host-tools/src/checkpoint/metadata/{architectures,releases}.tsv

architectures.tsv: tab-separated, sorted by name; lines with `#` are comments; the first other line is the
header.

    name           timm's name of an architecture, with defaults of its first pretrained tag; `name.tag` where another
                   tag's values differ from those of the name alone; or an old name that timm still knows
    status         `plain`: Vitreous computes it. Otherwise what stands in the way: codes of FEATURES, by commas
    heads          attention heads of every block
    depth          number of blocks
    dim            token width
    hidden         hidden units of the MLP
    activation     of the MLP: gelu (erf), gelu_tanh, quick_gelu, relu, silu
    eps            of the layer norms
    global_pool    token, avg, map (attention pooling), empty (all tokens)
    class_token    yes or no; `distilled` where a distillation token stands beside it
    height, width  of the image, in pixels
    patch          side of a patch in pixels
    in_chans       image channels
    num_classes    outputs of the head; 0: no head
    mean, std      of the normalisation of pixels in 0..1, one number per channel, by commas
    interpolation  of the resize before the crop: bicubic, bilinear, ...
    crop_pct       side of the crop divided by the shorter side after the resize
    crop_mode      center, squash (whole image, any aspect) or border
    `-` stands for a value that the architecture does not have, or that differs from block to block.

releases.tsv: the same for weights that were released under other names: file names (without suffix and hash),
the architecture that a training's arguments name, torch hub's names. Columns: name, release, status, heads,
dim, activation, eps, mean, std, interpolation, resize (shorter side, pixels), crop (pixels). `name` and `dim`
together are the key: MoCo-v3 and DINO both have a `vit_small`, with 12 and 6 heads; `release` tells which.
"""

import argparse
from pathlib import Path

import timm
import torch
import torchvision
from timm.models import _registry as registry
from torch import nn

PATTERNS = ["vit*", "deit*", "eva*", "beit*", "flexivit*", "test_vit*", "samvit*"]
CHECKPOINT = Path(__file__).resolve().parents[2] / "host-tools/src/checkpoint/metadata"
COLUMNS = [
    "name",
    "status",
    "heads",
    "depth",
    "dim",
    "hidden",
    "activation",
    "eps",
    "global_pool",
    "class_token",
    "height",
    "width",
    "patch",
    "in_chans",
    "num_classes",
    "mean",
    "std",
    "interpolation",
    "crop_pct",
    "crop_mode",
]
FEATURES = {
    "post_norm": "the norms stand behind attention and MLP, before the addition",
    "relative_positions": "attention adds a bias by relative position",
    "rotary": "queries and keys are rotated by position",
    "no_positions": "no position is added to the patches",
    "register_tokens": "extra learned tokens beside the class token",
    "pre_norm_layer": "a norm stands before the first block (CLIP)",
    "patch_norm": "a norm stands in the patch embedding",
    "hybrid_stem": "convolutions make the patches",
    "parallel_blocks": "attention and MLP, or several of each, run side by side",
    "class_attention": "the last blocks attend from the class token alone",
    "windowed_attention": "attention sees windows of the image",
    "differential_attention": "the difference of two attention maps",
    "gated_attention": "a gate multiplies the output of attention",
    "grouped_query": "several query heads share a key and a value head",
    "qk_norm": "queries and keys are normalised",
    "inner_norm": "a norm stands inside attention or MLP (sub-LN)",
    "rms_norm": "norms do not subtract the mean",
    "swiglu": "a gated MLP with SiLU",
    "geglu": "a gated MLP with GELU",
    "quick_gelu": "x * sigmoid(1.702 x)",
    "silu": "x * sigmoid(x)",
    "attention_pooling": "attention with a learned query pools the tokens",
    "other_pooling": "tokens are pooled by maximum, or the mean takes the class token in, or there is no pooling",
    "head_width": "a head is not dim / heads wide",
    "partial_patches": "the image is no whole number of patches: its last rows and columns are left out",
    "no_final_norm": "computed as a plain ViT is; no norm stands behind the blocks",
    "uneven_blocks": "blocks differ in width or heads",
    "no_proj_bias": "linear layers behind attention and in the MLP have no bias",
    "split_qkv_bias": "computed as a plain ViT; biases of query and value are stored apart (attn.q_bias, attn.v_bias)",
    "split_qkv": "computed as a plain ViT; query, key and value are stored apart (attn.q_proj, k_proj, v_proj)",
    "other": "something else",
}
ACTIVATIONS = {
    "GELU": "gelu",
    "GELUTanh": "gelu_tanh",
    "QuickGELU": "quick_gelu",
    "ReLU": "relu",
    "SiLU": "silu",
}
POST_NORM = {"ResPostBlock", "EvaBlockPostNorm", "ResPostRelPosBlock"}
PARALLEL = {"ParallelScalingBlock", "ParallelThingsBlock", "DiffParallelScalingBlock"}
PLAIN_BLOCKS = {"Block", "EvaBlock", "RelPosBlock"}


def is_there(module, *names):
    """Whether any of these attributes is more than None or an identity."""
    values = [getattr(module, name, None) for name in names]
    return any(v is not None and not isinstance(v, nn.Identity) for v in values)


def only(values):
    """The one value that all have, or `-`."""
    values = set(values)
    return values.pop() if len(values) == 1 else "-"


def last_layer(mlp):
    """The MLP's linear layer from hidden units to the token width."""
    return next(getattr(mlp, name) for name in ("fc2", "w3", "w2", "lin2") if hasattr(mlp, name))


def block_features(block):
    kind, attention, mlp = type(block).__name__, getattr(block, "attn", None), getattr(block, "mlp", None)
    if kind in POST_NORM:
        yield "post_norm"
    elif kind in PARALLEL:
        yield "parallel_blocks"
    elif kind not in PLAIN_BLOCKS:
        yield "other"
    if kind in PARALLEL:
        if is_there(block, "q_norm", "k_norm"):
            yield "qk_norm"
        if "Diff" in kind:
            yield "differential_attention"
        return
    if is_there(attention, "rel_pos", "relative_position_bias_table", "rel_pos_h"):
        yield "relative_positions"
    if getattr(block, "window_size", 0):
        yield "windowed_attention"
    if "Diff" in type(attention).__name__:
        yield "differential_attention"
    if is_there(attention, "gate"):
        yield "gated_attention"
    if getattr(attention, "num_kv_heads", attention.num_heads) != attention.num_heads:
        yield "grouped_query"
    if is_there(attention, "q_norm", "k_norm"):
        yield "qk_norm"
    if is_there(attention, "norm") or is_there(mlp, "norm"):
        yield "inner_norm"
    if attention.proj.in_features != attention.proj.out_features:
        yield "head_width"
    if attention.proj.bias is None or last_layer(mlp).bias is None:
        yield "no_proj_bias"
    if is_there(attention, "q_bias", "v_bias"):
        yield "split_qkv_bias"
    if is_there(attention, "q_proj"):
        yield "split_qkv"
    if type(mlp).__name__ in {"SwiGLU", "GluMlp"}:
        yield "swiglu"
    elif type(mlp).__name__ == "GeGluMlp":
        yield "geglu"
    elif type(mlp).__name__ not in {"Mlp", "RelPosMlp", "MLPBlock"}:
        yield "other"
    elif type(mlp.act).__name__ in {"QuickGELU", "SiLU"}:
        yield ACTIVATIONS[type(mlp.act).__name__]


def features(model):
    """Codes of everything in the model that a plain ViT does not have."""
    found = {code for block in model.blocks for code in block_features(block)}
    if is_there(model, "rope"):
        found.add("rotary")
    if is_there(model, "rel_pos_bias", "shared_rel_pos"):
        found.add("relative_positions")
    if not is_there(model, "pos_embed"):
        found.add("no_positions")
    if getattr(model, "num_reg_tokens", 0) or is_there(model, "reg_token"):
        found.add("register_tokens")
    if is_there(model, "norm_pre"):
        found.add("pre_norm_layer")
    if is_there(model.patch_embed, "norm"):
        found.add("patch_norm")
    patch = model.patch_embed
    if any(side % part for side, part in zip(getattr(patch, "img_size", None) or (), patch.patch_size)):
        found.add("partial_patches")
    if is_there(model.patch_embed, "backbone"):
        found.add("hybrid_stem")
    if is_there(model, "neck"):
        found.add("other")
    if not is_there(model, "norm", "fc_norm", "neck"):
        found.add("no_final_norm")
    if is_there(model, "attn_pool"):
        found.add("attention_pooling")
    elif getattr(model, "global_pool", "") not in ("token", "avg") or getattr(
        model, "pool_include_prefix", False
    ):
        found.add("other_pooling")
    if any("rms" in type(m).__name__.lower() for m in model.modules()):
        found.add("rms_norm")
    return found


def heads_of(block):
    return only(m.num_heads for m in block.modules() if hasattr(m, "num_heads"))


def facts(model):
    """The columns from `status` to `in_chans` of a built model."""
    found = features(model)
    blocks = list(model.blocks)
    mlps = [block.mlp for block in blocks if is_there(block, "mlp")]
    norms = [m for m in model.modules() if "norm" in type(m).__name__.lower() and hasattr(m, "eps")]
    token_norms = [m for m in norms if tuple(getattr(m, "normalized_shape", ())) == (model.embed_dim,)]
    heads = only(heads_of(block) for block in blocks)
    hidden = only(last_layer(m).in_features for m in mlps) if mlps else "-"
    activation = only(ACTIVATIONS.get(type(m.act).__name__, "-") for m in mlps if hasattr(m, "act"))
    if "-" in (heads, hidden) and not found & {"parallel_blocks"}:
        found.add("uneven_blocks")
    patch = model.patch_embed
    sides = getattr(patch, "patch_size", ("-", "-"))
    height, width = getattr(patch, "img_size", None) or (model.pretrained_cfg["input_size"][1:])
    class_token = "yes" if is_there(model, "cls_token") else "no"
    if is_there(model, "dist_token"):
        class_token = "distilled"
    return found, {
        "heads": heads,
        "depth": len(blocks),
        "dim": model.embed_dim,
        "hidden": hidden,
        "activation": activation,
        "eps": only(f"{m.eps:g}" for m in token_norms),
        "global_pool": getattr(model, "global_pool", "") or "-",
        "class_token": class_token,
        "height": height,
        "width": width,
        "patch": sides[0] if sides[0] == sides[1] else f"{sides[0]}x{sides[1]}",
        "in_chans": getattr(model, "in_chans", 3),
    }


def preprocessing(cfg):
    numbers = lambda values: ",".join(f"{v:.10g}" for v in values)
    return {
        "height": cfg.input_size[1],
        "width": cfg.input_size[2],
        "in_chans": cfg.input_size[0],
        "num_classes": cfg.num_classes,
        "mean": numbers(cfg.mean),
        "std": numbers(cfg.std),
        "interpolation": cfg.interpolation,
        "crop_pct": f"{cfg.crop_pct:g}",
        "crop_mode": cfg.crop_mode,
    }


def rows_of(name):
    """The architecture's row, and one for each tag whose values differ."""
    with torch.device("meta"):
        model = timm.create_model(name)
    found, architecture = facts(model)
    assert found <= FEATURES.keys(), found
    architecture["status"] = ",".join(code for code in FEATURES if code in found) or "plain"
    default = timm.get_pretrained_cfg(name, allow_unregistered=False)
    base = architecture | preprocessing(default)
    assert model.num_classes == base["num_classes"], name
    rows = {name: base}
    for tag in registry.list_pretrained(f"{name}.*"):
        row = architecture | preprocessing(timm.get_pretrained_cfg(tag))
        if row != base:
            rows[tag] = row
    return rows


def old_names(rows):
    """Names that timm still takes for others: config.json of older versions and file names have them."""
    found = {}
    for old, new in registry.get_deprecated_models().items():
        row = rows.get(new) or rows.get((new or "").split(".")[0])
        if row is not None and old not in rows:
            found[old] = row
    return found


# --- Releases under other names
# ---------------------------------------------------------------------------------

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
RELEASE_COLUMNS = [
    "name",
    "release",
    "status",
    "heads",
    "dim",
    "activation",
    "eps",
    "mean",
    "std",
    "interpolation",
    "resize",
    "crop",
]
TINY, SMALL, BASE, LARGE, HUGE = (3, 192), (6, 384), (12, 768), (16, 1024), (16, 1280)


def release(names, release, shape, status="plain", resize=256, crop=224, filter="bicubic"):
    """Rows that differ in the name alone. All these releases have GELU, epsilon 1e-6 and ImageNet's
    statistics."""
    heads, dim = shape
    mean, std = (",".join(map(str, values)) for values in IMAGENET)
    for name in names.split():
        yield dict(
            name=name,
            release=release,
            status=status,
            heads=heads,
            dim=dim,
            activation="gelu",
            eps="1e-06",
            mean=mean,
            std=std,
            interpolation=filter,
            resize=resize,
            crop=crop,
        )


def releases():
    # MAE (github.com/facebookresearch/mae): models_mae.py, models_vit.py (partial(nn.LayerNorm, eps=1e-6)),
    # util/datasets.py (ImageNet mean and std, resize 256 bicubic, crop 224). The decoder of pretraining is
    # left out.
    names = "mae_vit_base_patch16 mae_pretrain_vit_base mae_finetuned_vit_base vit_base_patch16"
    yield from release(names, "MAE", BASE)
    names = "mae_vit_large_patch16 mae_pretrain_vit_large mae_finetuned_vit_large vit_large_patch16"
    yield from release(names, "MAE", LARGE)
    names = "mae_vit_huge_patch14 mae_pretrain_vit_huge mae_finetuned_vit_huge vit_huge_patch14"
    yield from release(names, "MAE", HUGE)
    # DINO (github.com/facebookresearch/dino): vision_transformer.py (eps 1e-6; small has 6 heads),
    # eval_linear.py (resize 256 bicubic, crop 224). A training's arguments name vit_tiny, vit_small,
    # vit_base; also iBOT's and MSN's.
    yield from release("vit_tiny deit_tiny", "DINO", TINY)
    names = "vit_small deit_small dino_vits16 dino_vits8 dino_deitsmall16_pretrain dino_deitsmall8_pretrain"
    yield from release(names, "DINO", SMALL)
    yield from release(
        "vit_base dino_vitb16 dino_vitb8 dino_vitbase16_pretrain dino_vitbase8_pretrain", "DINO", BASE
    )
    # DINOv2 (github.com/facebookresearch/dinov2): models/vision_transformer.py (eps 1e-6, LayerScale; giant
    # has SwiGLU and 24 heads), data/transforms.py make_classification_eval_transform (256 bicubic, 224).
    for letter, shape, code in [
        ("s", SMALL, ""),
        ("b", BASE, ""),
        ("l", LARGE, ""),
        ("g", (24, 1536), "swiglu"),
    ]:
        name = f"dinov2_vit{letter}14"
        yield from release(f"{name} {name}_pretrain", "DINOv2", shape, code or "plain")
        registers = ",".join(filter(None, ["register_tokens", code]))
        yield from release(f"{name}_reg {name}_reg4_pretrain", "DINOv2", shape, registers)
        # hub/classifiers.py: the head takes the class token and the mean of the patches, side by side.
        yield from release(f"{name}_lc", "DINOv2", shape, code or "plain")
        yield from release(f"{name}_reg_lc", "DINOv2", shape, registers)
    # MoCo-v3 (github.com/facebookresearch/moco-v3): vits.py: 12 heads at 384, eps 1e-6;
    # main_lincls.py: resize 256 (bilinear, torchvision's default), crop 224. Checkpoints hold `arch`.
    moco = dict(release="MoCo-v3", filter="bilinear")
    yield from release("vit_small vit-s-300ep", shape=(12, 384), **moco)
    yield from release("vit_base vit-b-300ep", shape=(12, 768), **moco)
    yield from release("vit_large", shape=LARGE, **moco)
    yield from release("vit_huge", shape=HUGE, **moco)
    yield from release("vit_conv_small", shape=(12, 384), status="hybrid_stem", **moco)
    yield from release("vit_conv_base", shape=(12, 768), status="hybrid_stem", **moco)
    # Segment Anything (github.com/facebookresearch/segment-anything): windows, relative positions; eps 1e-6.
    code = "relative_positions,windowed_attention,other"
    for name, shape in [("sam_vit_b", BASE), ("sam_vit_l", LARGE), ("sam_vit_h", HUGE)]:
        yield from release(name, "SAM", shape, code, resize=1024, crop=1024, filter="bilinear")
    yield from torchvision_releases()


def torchvision_releases():
    """torchvision's own objects say all of it; eps and heads are read from a model on the meta device."""
    for name in torchvision.models.list_models(module=torchvision.models, include="vit_*"):
        with torch.device("meta"):
            model = torchvision.models.get_model(name)
        block = model.encoder.layers[0]
        heads, eps = block.self_attention.num_heads, f"{block.ln_1.eps:g}"
        assert isinstance(block.mlp[1], nn.GELU) and block.mlp[1].approximate == "none"
        weights = list(torchvision.models.get_model_weights(name))
        for entry, weight in [(name, weights[0])] + [
            (w.url.rsplit("/", 1)[1].rsplit("-", 1)[0], w) for w in weights
        ]:
            transform = weight.transforms()
            row = dict(
                name=entry,
                release="torchvision",
                status="plain",
                heads=heads,
                dim=model.hidden_dim,
                activation="gelu",
                eps=eps,
                mean=",".join(map(str, transform.mean)),
                std=",".join(map(str, transform.std)),
                interpolation=transform.interpolation.value,
                resize=transform.resize_size[0],
                crop=transform.crop_size[0],
            )
            yield row


# --- Writing
# -----------------------------------------------------------------------------------------------------


def write(path, comment, columns, rows):
    lines = [f"# {comment}", "\t".join(columns)]
    lines += ["\t".join(str(row[column]) for column in columns) for row in rows]
    path.write_text("\n".join(lines) + "\n")
    print(f"{path.name}: {len(rows)} rows")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=CHECKPOINT)
    out = parser.parse_args().out
    rows = {}
    for name in timm.list_models(PATTERNS):
        try:
            rows |= rows_of(name)
        except Exception as error:
            raise RuntimeError(f"{name} cannot be built or read") from error
    rows |= old_names(rows)
    made = f"Made by tests/goldens/architectures.py with timm {timm.__version__}"
    rows = [{"name": name} | row for name, row in sorted(rows.items())]
    write(out / "architectures.tsv", f"{made}; what the columns mean is written there.", COLUMNS, rows)
    made = f"Made by tests/goldens/architectures.py with torchvision {torchvision.__version__.split('+')[0]}"
    unique = {tuple(row.values()): row for row in releases()}
    rows = sorted(unique.values(), key=lambda row: (row["name"], row["release"]))
    write(out / "releases.tsv", f"{made}; what the columns mean is written there.", RELEASE_COLUMNS, rows)


if __name__ == "__main__":
    main()
