"""The importer's answer about a checkpoint, and the judgement on it, for the scripts that make
docs/timm-models.md."""

import json
import os
import re
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from make_goldens import fill_with_random_weights

REPOSITORY = Path(__file__).resolve().parents[2]
PROGRAM = REPOSITORY / "target/release/examples/reference_logits"
TOLERANCE = 1e-5  # of the largest logit
IMAGES = 2

# What a refusal must say about a feature (architectures.py, FEATURES) to be true. A plain ViT has none of
# them.
WORDS = {
    "post_norm": r"post.?norm|norms? (that )?(stands?|comes?|are|is) (behind|after)",
    "relative_positions": r"relative.pos|rel.?pos",
    "rotary": r"rotary|rotat|rope",
    "no_positions": r"(no|without) .{0,20}position|pos_?emb\S* is missing|position embedding",
    "register_tokens": r"register",
    "pre_norm_layer": r"norm\S* (\S+ ){0,8}(before|in front of) the (first )?block",
    "clip": r"CLIP",
    "patch_norm": r"norm.{0,30}patch|patch.{0,30}norm",
    "hybrid_stem": r"hybrid|convolution|stem",
    "parallel_blocks": r"parallel",
    "class_attention": r"class.attention",
    "windowed_attention": r"window",
    "differential_attention": r"differential",
    "gated_attention": r"gate",
    "grouped_query": r"grouped.query|fewer key|key.value heads",
    "qk_norm": r"qk.?norm|normalis.{0,20}(quer|key)|norm.{0,20}(quer|key)|(quer|key).{0,30}norm",
    "inner_norm": r"inner norm|sub.?ln|norm\S* inside|inside (the )?(attention|mlp)",
    "rms_norm": r"rms",
    "swiglu": r"swiglu|gated",
    "geglu": r"geglu|gated",
    "quick_gelu": r"quick.?gelu",
    "silu": r"silu|swish",
    "attention_pooling": r"attention.pool|attn_pool|pooling (head )?by attention",
    "other_pooling": r"global_pool|pool",
    "head_width": r"head.{0,20}wide|head width|width of .{0,10}heads?",
    "uneven_blocks": r"blocks? (differ|of different)|differ.{0,20}block",
    "no_proj_bias": r"bias",
    "partial_patches": r"no whole number",
    "split_qkv_bias": r"[qv]_bias|bias\S* .{0,40}apart",
    "split_qkv": r"q_proj|query, key and value",
    "other": r"windowed|other|unknown architecture",
    # Families beside timm's ViTs.
    "decoder": r"decoder",
    "head": r"head|classifier",
    "dense": r"dense|depth|head\.head",
    "other_family": r"unknown architecture|is none of|not a ViT|no ViT|model_type|architecture",
    "detection": r"detection|model_type|architecture|YOLOS",
    "video": r"video|tubelet|frames|3-?D|five axes",
}
# A model with these alone computes what a plain ViT does.
NAMES_ONLY = {"split_qkv_bias", "split_qkv", "no_final_norm"}


class Importer:
    """The example program `reference_logits`, asked line by line."""

    def __init__(self):
        self.process = None

    def ask(self, checkpoint, pixels):
        """The answer about a checkpoint for u8 `pixels` (batch, height, width, channels)."""
        with tempfile.NamedTemporaryFile(suffix=".raw") as file:
            file.write(pixels.tobytes())
            file.flush()
            if self.process is None or self.process.poll() is not None:
                self.process = subprocess.Popen(
                    [PROGRAM],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                    env=os.environ | {"RAYON_NUM_THREADS": "1"},  # the scripts run several at once
                )
            self.process.stdin.write(f"{checkpoint}\t{file.name}\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        if not line:
            self.process.wait()
            return {"crash": self.process.stderr.read().strip().splitlines()[-3:]}
        answer = json.loads(line)
        if "error" in answer:
            answer["error"] = without_paths(answer["error"], Path(checkpoint))
        return answer


def without_paths(message, checkpoint):
    """A message as it reads for a user: without folders that this script made."""
    message = message.replace(f"{checkpoint.parent}/", "")
    return message.removeprefix(f"{checkpoint.name}/").strip()


@dataclass
class Truth:
    """What a checkpoint really is."""

    name: str
    codes: list  # features that a plain ViT does not have
    logits: np.ndarray  # (images, classes)
    settings: dict = field(default_factory=dict)  # what no shape says, as `reference_logits` prints it


@dataclass
class Verdict:
    """`accepted` and `refused` are right; `wrong`, `untrue` and `crash` must not be."""

    name: str
    kind: str
    codes: list
    text: str  # the reason of a refusal, or what is wrong
    difference: float = float("nan")
    notes: list = field(default_factory=list)


def judge(truth, answer):
    """With the configuration beside the weights: right, or refused for a reason that is true."""
    if "crash" in answer:
        return Verdict(truth.name, "crash", truth.codes, " ".join(answer["crash"]))
    if "error" in answer:
        return judge_refusal(truth, answer["error"])
    difference = relative_difference(answer["logits"], truth.logits)
    wrong = dict(different_settings(truth.settings, answer))
    text = "; ".join(wrong.values())
    if not difference <= TOLERANCE or wrong.keys() - said_by(answer):
        return Verdict(truth.name, "wrong", truth.codes, f"difference {difference:.1e}; {text}", difference)
    kind = "accepted with a warning" if wrong else "accepted"
    return Verdict(truth.name, kind, truth.codes, text, difference, answer["warnings"])


def judge_refusal(truth, error):
    named = [code for code, words in WORDS.items() if re.search(words, error, re.IGNORECASE)]
    real = [code for code in truth.codes if code in named]
    if not set(truth.codes) - NAMES_ONLY:
        return Verdict(truth.name, "refused although plain", truth.codes, error)
    if "incomplete" in error or not real:
        return Verdict(truth.name, "untrue", truth.codes, error)
    return Verdict(truth.name, "refused", truth.codes, error)


# The words of a warning that tells that a value was assumed.
SPOKEN = {
    "heads": r"heads?\b",
    "activation": r"activation|gelu|relu",
    "eps": r"\beps|ε|epsilon",
    "mean": r"mean",
    "std": r"std|standard deviation",
    "resize": r"resize|crop_pct|crop",
    "crop": r"crop|squash|whole image",
    "filter": r"interpolation|bicubic|bilinear|filter",
    "pool": r"pool|averag",
    "block": r"pre-?norm|post-?norm",
}


def said_by(answer):
    """The values that a warning names."""
    spoken = " ".join(answer["warnings"])
    return {key for key, words in SPOKEN.items() if re.search(words, spoken, re.IGNORECASE)}


def judge_bare(truth, answer, silent=()):
    """Without a configuration: every value is right, or named in a warning.

    `silent`: values that nothing says, so that they are to be named in any case.
    """
    if "crash" in answer or "error" in answer:
        verdict = judge(truth, answer)
        asks = re.search(
            r"--(heads|image-size|pool|activation)|in a config.json beside it", answer.get("error", "")
        )
        if verdict.kind in ("refused although plain", "untrue") and asks:
            verdict.kind = "refused"
        return verdict
    said = said_by(answer)
    wrong = dict(different_settings(truth.settings, answer))
    if set(truth.codes) - NAMES_ONLY:
        wrong["block"] = f"it has {', '.join(truth.codes)}"
    difference = relative_difference(answer["logits"], truth.logits) if answer["logits"] else float("nan")
    if difference > TOLERANCE and not wrong:
        wrong["nothing that is known"] = f"difference {difference:.1e}"
    unsaid = [text for key, text in wrong.items() if key not in said]
    unsaid += [f"{key} is assumed without a word" for key in silent if key not in said]
    if unsaid:
        return Verdict(truth.name, "wrong", truth.codes, "; ".join(unsaid), difference)
    kind = "accepted" if not wrong else "accepted with a warning"
    return Verdict(truth.name, kind, truth.codes, "; ".join(wrong.values()), difference, answer["warnings"])


def relative_difference(found, expected):
    found, expected = np.asarray(found, dtype=np.float64), np.asarray(expected, dtype=np.float64)
    if found.shape != expected.shape:
        return float("inf")
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def different_settings(expected, answer):
    """(key, text) of every value that is not what it should be."""
    found = answer["config"] | answer["preprocess"]
    for key, value in expected.items():
        values, others = np.atleast_1d(value), np.atleast_1d(found[key])
        if isinstance(value, str):
            same = value == found[key]
        else:
            same = values.shape == others.shape and np.allclose(values, others, rtol=1e-6, atol=0)
        if not same:
            yield key, f"{key} is {found[key]}, should be {value}"


def with_random_weights(model, seed):
    """The model with weights under which every part matters; running variances of batch norms stay
    positive."""
    rng = np.random.Generator(np.random.PCG64([2026, seed]))
    with torch.no_grad():
        fill_with_random_weights(model, rng)
        for name, tensor in model.state_dict().items():
            if name.endswith("running_var"):
                tensor.abs_().add_(0.5)
    return model.eval(), rng
