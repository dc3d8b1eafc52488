"""Small models of transformers, torchvision and torch hub's DINOv2, for timm_table.py."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import timm
import torch
import torchvision
import transformers as hf
from importer import Truth, judge, judge_bare, with_random_weights
from make_goldens import IMAGENET_MEAN, IMAGENET_STD, normalise, random_pixels
from safetensors.torch import save_file

hf.utils.logging.disable_progress_bar()

IMAGENET = (IMAGENET_MEAN, IMAGENET_STD)
HALF = ((0.5,) * 3, (0.5,) * 3)
CLIP = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
SIZE = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 128,
    "image_size": 32,
}
LABELS = {"num_labels": 10}


@dataclass
class Model:
    """One model, how it is saved, and what is true of it."""

    name: str
    library: str
    build: Callable[[], torch.nn.Module]
    save: Callable[[torch.nn.Module, "Model", Path], Path]  # returns what the importer gets
    codes: list = field(default_factory=list)
    run: Callable = lambda model, images: model(images)
    statistics: tuple = IMAGENET  # mean and std
    image_size: tuple = (32, 32)
    bare: bool = False  # no configuration: values may be assumed, if they are named
    settings: dict = field(default_factory=dict)

    def verdict(self, importer):
        model, rng = with_random_weights(self.build(), 0)
        self.channels = 3
        self.mean, self.std = self.statistics
        pixels = random_pixels(self, rng)
        images = normalise(self, pixels)
        with torch.no_grad():
            output = None if self.codes else output_of(self.run(model, images))
        output = np.zeros((2, 1)) if output is None else output.numpy()
        with tempfile.TemporaryDirectory() as scratch:
            answer = importer.ask(self.save(model, self, Path(scratch)), pixels)
        judgement = judge_bare if self.bare else judge
        settings = self.settings | {"mean": self.mean, "std": self.std}
        verdict = judgement(Truth(self.name, self.codes, output, settings), answer)
        verdict.library = self.library
        return verdict


def output_of(output):
    """Logits, or the class token of a model without a head."""
    if torch.is_tensor(output):
        return output
    return output.logits if hasattr(output, "logits") else output.last_hidden_state[:, 0]


# --- transformers
# ------------------------------------------------------------------------------------------------


def save_pretrained(model, case, scratch):
    folder = scratch / "model"
    model.save_pretrained(folder)
    height, width = case.image_size
    size = {"height": height, "width": width}
    processor = hf.ViTImageProcessor(size=size, image_mean=list(case.mean), image_std=list(case.std))
    processor.save_pretrained(folder)
    return folder


def transformers_model(name, config, codes="", statistics=HALF, run=None, **options):
    """`name`: the model's class; `config`: its configuration's class; `codes`: by commas."""
    options = (SIZE if "depths" not in options else {"image_size": 32}) | options
    if "Classification" in name:
        options = LABELS | options
    size = options.get("image_size")
    case = Model(
        name=name + options.pop("remark", ""),
        library="transformers",
        build=lambda: getattr(hf, name)(getattr(hf, config)(**options)),
        save=save_pretrained,
        codes=codes.split(",") if codes else [],
        statistics=statistics,
        image_size=(size, size) if isinstance(size, int) else (32, 32),
    )
    if run is not None:
        case.run = run
    return case


def transformers_models():
    make = transformers_model
    patch8 = {"patch_size": 8}
    classify, config = "ViTForImageClassification", "ViTConfig"
    yield make(classify, config, **patch8)
    for act in ["gelu_new", "gelu_pytorch_tanh", "gelu_fast", "gelu_python", "relu"]:
        yield make(classify, config, hidden_act=act, remark=f" ({act})", **patch8)
    for act, code in [("quick_gelu", "quick_gelu"), ("silu", "silu"), ("swish", "silu")]:
        yield make(classify, config, code, hidden_act=act, remark=f" ({act})", **patch8)
    yield make(classify, config, qkv_bias=False, remark=" (no qkv bias)", **patch8)
    yield make(classify, config, layer_norm_eps=1e-3, remark=" (eps 1e-3)", **patch8)
    yield make("ViTModel", config, **patch8)
    # Decoders are left out, with a warning: what is left is the encoder.
    encoder = lambda part: lambda model, images: getattr(model, part)(images)
    yield make("ViTForMaskedImageModeling", config, run=encoder("vit"), encoder_stride=8, **patch8)
    yield make("DeiTForImageClassification", "DeiTConfig", statistics=IMAGENET, **patch8)
    yield make("DeiTForImageClassificationWithTeacher", "DeiTConfig", statistics=IMAGENET, **patch8)
    yield make("DeiTModel", "DeiTConfig", statistics=IMAGENET, **patch8)
    dinov2 = dict(statistics=IMAGENET, mlp_ratio=2, **patch8)
    # Its head takes the class token and the mean of the patches, side by side.
    yield make("Dinov2ForImageClassification", "Dinov2Config", **dinov2)
    yield make("Dinov2Model", "Dinov2Config", **dinov2)
    yield make("Dinov2Model", "Dinov2Config", "swiglu", use_swiglu_ffn=True, remark=" (SwiGLU)", **dinov2)
    yield make("Dinov2WithRegistersModel", "Dinov2WithRegistersConfig", "register_tokens", **dinov2)
    yield make("DINOv3ViTModel", "DINOv3ViTConfig", "rotary,register_tokens", statistics=IMAGENET, **patch8)
    yield make("ViTMAEModel", "ViTMAEConfig", statistics=IMAGENET, mask_ratio=0.0, **patch8)
    mae = dict(
        decoder_hidden_size=32, decoder_num_hidden_layers=1, decoder_num_attention_heads=2, mask_ratio=0.0
    )
    mae |= dict(decoder_intermediate_size=64, statistics=IMAGENET, run=encoder("vit"))
    yield make("ViTMAEForPreTraining", "ViTMAEConfig", **mae, **patch8)
    yield make("ViTMSNForImageClassification", "ViTMSNConfig", statistics=IMAGENET, **patch8)
    yield make("ViTMSNModel", "ViTMSNConfig", statistics=IMAGENET, **patch8)
    yield make("IJepaForImageClassification", "IJepaConfig", statistics=IMAGENET, **patch8)
    mean_of_tokens = lambda model, images: model(images).last_hidden_state.mean(1)
    yield make("IJepaModel", "IJepaConfig", statistics=IMAGENET, run=mean_of_tokens, **patch8)
    relative = "relative_positions"
    positions = dict(use_relative_position_bias=True)
    yield make("BeitForImageClassification", "BeitConfig", f"{relative},no_positions", **positions, **patch8)
    yield make(
        "BeitModel",
        "BeitConfig",
        f"{relative},no_positions",
        use_shared_relative_position_bias=True,
        **patch8,
    )
    absolute = dict(
        use_absolute_position_embeddings=True, use_relative_position_bias=False, layer_scale_init_value=0.1
    )
    remark = " (absolute positions)"
    yield make(
        "BeitForImageClassification", "BeitConfig", use_mean_pooling=True, remark=remark, **absolute, **patch8
    )
    data2vec = f"{relative},no_positions"
    name = "Data2VecVisionForImageClassification"
    yield make(name, "Data2VecVisionConfig", data2vec, use_relative_position_bias=True, **patch8)
    yield make(
        "CLIPVisionModel", "CLIPVisionConfig", "clip,pre_norm_layer,quick_gelu", statistics=CLIP, **patch8
    )
    yield make(
        "CLIPVisionModel",
        "CLIPVisionConfig",
        "clip,pre_norm_layer",
        hidden_act="gelu",
        remark=" (gelu)",
        **patch8,
    )
    yield make(
        "CLIPVisionModelWithProjection", "CLIPVisionConfig", "clip,pre_norm_layer,quick_gelu", **patch8
    )
    yield make("SiglipVisionModel", "SiglipVisionConfig", "clip,attention_pooling", **patch8)
    detection = dict(image_size=[32, 32], num_detection_tokens=5)
    yield make("YolosForObjectDetection", "YolosConfig", "detection", **detection, **patch8)
    yield make(
        "VivitForVideoClassification", "VivitConfig", "video,quick_gelu", num_frames=4, tubelet_size=[2, 8, 8]
    )
    yield make("VideoMAEForVideoClassification", "VideoMAEConfig", "video", num_frames=4, **patch8)
    dense = dict(backbone_out_indices=[0, 0, 1, 1], neck_hidden_sizes=[8] * 4, fusion_hidden_size=8)
    yield make("DPTForDepthEstimation", "DPTConfig", "dense", **dense, **patch8)
    swin = dict(embed_dim=16, depths=[1, 1], num_heads=[2, 2], window_size=2, patch_size=4)
    yield make(
        "SwinForImageClassification",
        "SwinConfig",
        "other_family,relative_positions,windowed_attention",
        **swin,
    )
    levit = dict(hidden_sizes=[16] * 3, num_attention_heads=[2] * 3, depths=[1] * 3, key_dim=[8] * 3)
    yield make(
        "LevitForImageClassification", "LevitConfig", "other_family,hybrid_stem", image_size=64, **levit
    )


# --- torchvision
# -------------------------------------------------------------------------------------------------


def torchvision_model(name, heads=None, suffix=".pth", remark="", wrap=None):
    """The published width and heads, with two layers; `heads` replaces the classifier as people do to
    fine-tune."""
    shapes = {
        "vit_b_16": (16, 12, 768, 3072),
        "vit_b_32": (32, 12, 768, 3072),
        "vit_l_16": (16, 16, 1024, 4096),
    }
    patch, attention_heads, dim, hidden = shapes[name]

    def build():
        model = torchvision.models.VisionTransformer(64, patch, 2, attention_heads, dim, hidden)
        if heads is not None:
            model.heads = heads(dim)
        return model

    def save(model, _case, scratch):
        tensors = {k: v.contiguous() for k, v in model.state_dict().items()}
        path = scratch / f"{name}{suffix}"
        if suffix == ".safetensors":
            save_file(tensors, path)
        else:
            torch.save(wrap(tensors) if wrap else tensors, path)
        return path

    settings = {"heads": attention_heads, "eps": 1e-6, "activation": "geluerf"}
    return Model(name + remark, "torchvision", build, save, image_size=(64, 64), bare=True, settings=settings)


def torchvision_models():
    nn = torch.nn
    make = torchvision_model
    for name in ["vit_b_16", "vit_b_32", "vit_l_16"]:
        yield make(name)
    yield make("vit_b_16", suffix=".safetensors", remark=" (safetensors)")
    yield make("vit_b_16", lambda dim: nn.Linear(dim, 10), remark=" (heads = Linear)")
    yield make(
        "vit_b_16", lambda dim: nn.Sequential(nn.Linear(dim, 10)), remark=" (heads = Sequential(Linear))"
    )
    dropout = lambda dim: nn.Sequential(nn.Dropout(0.1), nn.Linear(dim, 10))
    yield make("vit_b_16", dropout, remark=" (heads = Sequential(Dropout, Linear))")
    yield make("vit_b_16", lambda dim: nn.Identity(), remark=" (heads = Identity)")
    yield make("vit_b_16", wrap=lambda tensors: {"model": tensors, "epoch": 3}, remark=" (model and epoch)")
    for remark, layers in [
        ("LayerNorm, Linear", lambda dim: [nn.LayerNorm(dim), nn.Linear(dim, 10)]),
        ("Linear, ReLU, Linear", lambda dim: [nn.Linear(dim, 32), nn.ReLU(), nn.Linear(32, 10)]),
    ]:
        case = make(
            "vit_b_16", lambda dim, layers=layers: nn.Sequential(*layers(dim)), remark=f" (heads = {remark})"
        )
        case.codes = ["head"]
        yield case


# --- DINOv2 as torch hub and its training give it
# ------------------------------------------------------------------


def dinov2_model(name, remark="", rename=None, wrap=None, codes=()):
    """timm's model under the release's names, which are timm's and a mask token."""

    def build():
        return timm.create_model(f"vit_small_patch14_{name}", depth=2, img_size=56)

    def save(model, _case, scratch):
        tensors = dict(model.state_dict())
        tensors["mask_token"] = torch.zeros(1, model.embed_dim)
        if "reg_token" in tensors:
            tensors["register_tokens"] = tensors.pop("reg_token")
        tensors = {(rename or str)(k): v for k, v in tensors.items()}
        path = scratch / "dinov2_vits14_pretrain.pth"
        torch.save(wrap(tensors) if wrap else tensors, path)
        return path

    settings = {"heads": 6, "eps": 1e-6, "activation": "geluerf", "pool": "token"}
    return Model(
        f"dinov2_vits14{remark}",
        "DINOv2",
        build,
        save,
        list(codes),
        image_size=(56, 56),
        bare=True,
        settings=settings,
    )


def dinov2_models():
    chunked = lambda name: name.replace("blocks.0.", "blocks.0.0.").replace("blocks.1.", "blocks.0.1.")
    several = lambda name: name.replace("blocks.0.", "blocks.0.0.").replace("blocks.1.", "blocks.1.1.")
    yield dinov2_model("dinov2")
    yield dinov2_model("dinov2", " (one chunk of blocks)", chunked)
    yield dinov2_model("dinov2", " (two chunks of blocks)", several)
    teacher = lambda tensors: {"teacher": {f"backbone.{k}": v for k, v in tensors.items()}}
    yield dinov2_model("dinov2", " (teacher.backbone)", chunked, teacher)
    yield dinov2_model("reg4_dinov2", " (registers)", codes=["register_tokens"])


def other_models():
    yield from transformers_models()
    yield from torchvision_models()
    yield from dinov2_models()
