"""What is printed, and what is written as JSON."""

import numpy as np

# Cosine with the float logits below which a graph counts as broken.
LEAST_COSINE = {"f32": 0.9999, "int8": 0.95}


def result(name, label, precision, version, engine, rounds, cosine):
    """One engine's figures: times in milliseconds, memory in KiB."""
    medians, leasts = zip(*rounds)
    return {
        "name": name,
        "label": label,
        "precision": precision,
        "version": version,
        "median_ms": float(np.median(medians)),
        "least_ms": min(leasts),
        "round_medians_ms": medians,
        "round_leasts_ms": leasts,
        "peak_kib": engine.peak_kib(),
        "base_kib": engine.base_kib,
        "cosine": cosine,
        "sound": cosine >= LEAST_COSINE[precision],
    }


def print_table(results, left_out):
    """Vitreous first, then the peers as they are listed."""
    own = next((each for each in results if each["name"] == "vitreous"), None)
    print(
        f"{'':27}{'median ms':>11}{'least ms':>10}{'/ Vitreous by median, least':>29}"
        f"{'peak MB':>9}{'of it model':>13}{'cosine':>9}  version"
    )
    for each in results:
        ratio = f"{paired_ratio(each, own):.2f} {each['least_ms'] / own['least_ms']:9.2f}" if own else "-"
        peak, model = each["peak_kib"] / 1024, (each["peak_kib"] - each["base_kib"]) / 1024
        note = "" if each["sound"] else "  WRONG: far from the float logits"
        print(
            f"{each['label']:27}{each['median_ms']:11.3f}{each['least_ms']:10.3f}{ratio:>29}"
            f"{peak:9.1f}{model:13.1f}{each['cosine']:9.5f}  {each['version']}{note}"
        )
    for name, reason in left_out.items():
        print(f"left out: {name}: {reason}")
    if own:
        print_fastest(results, own)


def paired_ratio(each, own):
    """Times per run in terms of Vitreous's of the same round, the median of all rounds: what else the machine
    does cancels out."""
    return float(np.median(np.divide(each["round_medians_ms"], own["round_medians_ms"])))


def print_fastest(results, own):
    for precision in LEAST_COSINE:
        peers = [
            each for each in results if each["precision"] == precision and each["sound"] and each is not own
        ]
        if peers:
            median = min(peers, key=lambda each: paired_ratio(each, own))
            least = min(peers, key=lambda each: each["least_ms"])
            print(
                f"fastest {precision} peer: by medians {median['label']}, {paired_ratio(median, own):.2f} times "
                f"as long as Vitreous; by least times {least['label']}, {least['least_ms'] / own['least_ms']:.2f}"
            )
