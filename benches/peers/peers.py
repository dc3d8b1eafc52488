#!/usr/bin/env python3
"""Times Vitreous beside other engines on vision transformers of the same shapes and weights, batch 1,
interleaved.

Every engine runs in a process of its own; a round asks each for some runs. README.md in this folder says how
to set it up, what each engine runs and what is equal between them.
"""

import argparse
import json
import platform
import sys
import tempfile
from pathlib import Path

from peerbench.engines import ENGINES, chosen
from peerbench.files import Files, inputs
from peerbench.processes import Peer, Vitreous
from peerbench.report import print_table, result
from peerbench.vit import MODELS

ROOT = Path(__file__).resolve().parent.parent.parent


def arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", choices=MODELS, default="tiny")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=10, help="rounds, each of which runs every engine")
    parser.add_argument("--runs", type=int, default=10, help="runs of an engine in a round")
    parser.add_argument(
        "--engines",
        help=f"separated by commas, or how their names begin (`ort`, `rten-f32`): vitreous, "
        f"{', '.join(ENGINES)}; all are run if this is left out, but for huge only Vitreous",
    )
    parser.add_argument(
        "--vitreous", default=str(ROOT / "target/release/vitreous"), help="the command line tool"
    )
    parser.add_argument("--json", type=Path, help="file for all figures")
    options = parser.parse_args()
    default = "vitreous" if options.model == "huge" else ",".join(["vitreous", *ENGINES])
    names = (options.engines or default).split(",")
    try:
        options.peers = chosen([name for name in names if name != "vitreous"])
    except ValueError as error:
        parser.error(str(error))
    options.with_vitreous = "vitreous" in names
    return options


def note(text):
    print(text, file=sys.stderr, flush=True)


def start(options, files):
    """The engines that load, by name; and why the others do not."""
    shape, running, left_out = MODELS[options.model], {}, {}
    starts = {}
    if options.with_vitreous:
        starts["vitreous"] = lambda: Vitreous(options.vitreous, files, options.threads, shape)
    for name, engine in options.peers.items():
        starts[name] = lambda engine=engine: Peer(engine, files, options.threads, shape.heads)
    for name, begin in starts.items():
        note(f"loading {name}")
        try:
            running[name] = begin()
        except RuntimeError as error:
            left_out[name] = str(error)
            note(f"left out: {name}: {error}")
    return running, left_out


def measure(options, running, left_out):
    """Median and least of each round, by engine, the engines taking turns. One that fails goes from `running`
    to `left_out`.

    Each round begins with another engine, so that none always follows the same one.
    """
    times = {name: [] for name in running}
    for count in range(options.rounds):
        note(f"round {count + 1} of {options.rounds}")
        names = list(running)
        first = count % max(len(names), 1)
        for name in names[first:] + names[:first]:
            try:
                times[name].append(running[name].round(options.runs))
            except (RuntimeError, BrokenPipeError) as error:
                left_out[name] = str(error)
                del running[name]
    return times


def figures(options, running, times, expected):
    results = []
    for name, engine in running.items():
        peer = options.peers.get(name)
        label, precision, version = (
            (peer.label, peer.precision, peer.version()) if peer else ("Vitreous", "int8", "this tree")
        )
        results.append(result(name, label, precision, version, engine, times[name], engine.cosine(expected)))
    return results


def processor():
    """The processor's name, as Linux knows it."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next(
        (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine()
    )


def main():
    options = arguments()
    with tempfile.TemporaryDirectory() as name:
        files = Files(Path(name), options.model)
        expected = inputs(files.folder, options.model)
        running, left_out = start(options, files)
        if not running:
            sys.exit("no engine was left to run")
        times = measure(options, running, left_out)
        results = figures(options, running, times, expected)
        bench = running["vitreous"].report if "vitreous" in running else None
        for engine in running.values():
            engine.end()
    title = (
        f"ViT {options.model}, {options.threads} thread(s), {options.rounds} rounds of {options.runs} runs"
    )
    if bench:
        title += f"; Vitreous on {bench['kernels']}, peak {bench['peak_gmacs']:.0f} GMAC/s per core, {bench['macs'] / 1e6:.0f} M MACs"
    print(title)
    print_table(results, left_out)
    if options.json:
        whole = {
            "model": options.model,
            "threads": options.threads,
            "rounds": options.rounds,
            "runs": options.runs,
            "processor": processor(),
            "vitreous": bench,
            "engines": results,
            "left_out": left_out,
        }
        options.json.write_text(json.dumps(whole, indent=1) + "\n")


if __name__ == "__main__":
    main()
