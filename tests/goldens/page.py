"""docs/timm-models.md, from the verdicts of timm_table.py."""

import textwrap
from collections import Counter

import timm
import torchvision
import transformers
from architectures import FEATURES
from importer import NAMES_ONLY

INTRODUCTION = """
# Which ViTs are imported

Every vision transformer of timm {timm} (`timm.list_models` of `vit*`, `deit*`, `eva*` and `beit*`), and those
of transformers {transformers}, torchvision {torchvision} and DINOv2, given to the importer as their libraries
save them. An accepted model gives the logits of PyTorch within 1e-5 of the largest, on the same 8-bit pixels;
heads, epsilon, activation, pooling, mean, standard deviation and resize are compared too. A refused one has
what its message names. `tests/goldens/timm_table.py` makes this page.

Each model has two blocks of its own kind and random weights under which every tensor matters. Models wider
than 1024 or of more than 1100 patches are made narrower, with heads of the same width, and more than 1000
classes become 1000.
"""


def write_page(path, rows, others):
    """`rows`: for each timm model the verdicts with config.json, with the name alone and with neither."""
    saved = [row[0] for row in rows]
    libraries = {name: version_of(name) for name in ("timm", "transformers", "torchvision")}
    lines = [INTRODUCTION.format(**libraries).strip(), "", *counts(rows, others)]
    lines += ["", "## timm, accepted", "", *accepted(saved)]
    lines += ["", "## timm, refused", "", *refused(saved)]
    lines += ["", "## timm, weights without a config.json", "", *bare(rows)]
    lines += ["", "## Other libraries", "", *other_table(others)]
    bad = [v for row in [*rows, others] for v in row if v.kind in BAD]
    if bad:
        lines += ["", "## Not right", ""]
        lines += [f"- `{v.name}` ({', '.join(v.codes) or 'plain'}): {v.kind}: {cell(v.text)}" for v in bad]
    path.write_text("\n".join(lines) + "\n")


BAD = ("wrong", "untrue", "crash", "refused although plain")


def version_of(name):
    return {"timm": timm, "transformers": transformers, "torchvision": torchvision}[name].__version__.split(
        "+"
    )[0]


def cell(text):
    return " ".join(text.replace("|", "\\|").split())


def counts(rows, others):
    yield "| | accepted | refused | wrong | refused for an untrue reason |"
    yield "|---|---|---|---|---|"
    columns = [("timm, with config.json", [row[0] for row in rows])]
    columns.append(("timm, file under the model's name", [row[1] for row in rows]))
    columns.append(("timm, file without a name", [row[2] for row in rows]))
    columns.append(("other libraries", others))
    for label, verdicts in columns:
        kinds = Counter(v.kind for v in verdicts)
        right = kinds["accepted"] + kinds["accepted with a warning"]
        wrong, untrue = kinds["wrong"] + kinds["crash"], kinds["untrue"] + kinds["refused although plain"]
        yield f"| {label} | {right} | {kinds['refused']} | {wrong} | {untrue} |"


def accepted(verdicts):
    yield "| name | largest difference |"
    yield "|---|---|"
    for verdict in verdicts:
        if verdict.kind.startswith("accepted"):
            warned = f" ({cell(verdict.text)}: named in a warning)" if verdict.text else ""
            yield f"| `{verdict.name}` | {verdict.difference:.1e}{warned} |"


def refused(verdicts):
    """By what the models have; the message is the first one's of each group."""
    groups = {}
    for verdict in verdicts:
        if verdict.kind == "refused":
            groups.setdefault(tuple(verdict.codes), []).append(verdict)
    for codes, members in sorted(groups.items(), key=lambda group: -len(group[1])):
        words = [FEATURES[code] for code in codes if code not in NAMES_ONLY] or [
            FEATURES[code] for code in codes
        ]
        yield f"### {', '.join(codes)}"
        yield ""
        yield from textwrap.wrap(f"What they have: {'; '.join(words)}.", 110)
        yield ""
        yield "| name | the importer's reason |"
        yield "|---|---|"
        yield from (f"| `{v.name}` | {reason(v)} |" for v in members)
        yield ""


def reason(verdict):
    """What the message says is wrong; the way out behind it is the same for all."""
    return cell(verdict.text.removeprefix("model.safetensors: ").split("; ")[0])


def bare(rows):
    yield "The same weights as a file `NAME.safetensors`, and as `weights.safetensors`, with nothing beside them. What"
    yield "is accepted is right, or each value that is not is named in a warning. A refusal may ask for an option."
    yield ""
    yield "| name | file under the model's name | file without a name |"
    yield "|---|---|---|"
    for _, named, unnamed in rows:
        if {named.kind, unnamed.kind} != {"refused"}:
            yield f"| `{named.name}` | {short(named)} | {short(unnamed)} |"


def short(verdict):
    return (
        f"{verdict.kind}: {cell(verdict.text)}"
        if verdict.text and verdict.kind != "refused"
        else verdict.kind
    )


def other_table(others):
    yield "| library | model | result | reason, or largest difference |"
    yield "|---|---|---|---|"
    for verdict in others:
        text = reason(verdict) if verdict.kind == "refused" else cell(verdict.text)
        if verdict.kind.startswith("accepted"):
            text = f"{verdict.difference:.1e}" + (f"; named in a warning: {text}" if text else "")
        yield f"| {verdict.library} | {verdict.name} | {verdict.kind} | {text} |"
