"""Engines at work: one process each, asked for rounds of runs, and its memory."""

import json
import os
import subprocess
import time

import numpy as np

from .engines import PEERS
from .memory import status_kib

# The variables by which thread pools of the engines' libraries are told; the engines that take a number get
# it as well.
THREAD_VARIABLES = ("OMP_NUM_THREADS", "RAYON_NUM_THREADS", "RTEN_NUM_THREADS", "OPENBLAS_NUM_THREADS")
POLL_SECONDS = 0.002


def summary(milliseconds):
    """Median and least."""
    return float(np.median(milliseconds)), min(milliseconds)


class Peer:
    """An engine in its own process. What fails raises RuntimeError with the reason."""

    def __init__(self, engine, files, threads, heads):
        self.engine = engine
        self.log = open(files.folder / f"{engine.label}.log", "w+")
        command = engine.command(files.path(engine.file), files.folder / "image.f32", threads, heads)
        environment = {**os.environ, **{name: str(threads) for name in THREAD_VARIABLES}}
        self.process = subprocess.Popen(
            command,
            cwd=PEERS,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
            bufsize=1,
        )
        loaded = self.reply()
        self.base_kib, self.logits = loaded["base_kib"], np.array(loaded["logits"])

    def reply(self):
        line = self.process.stdout.readline()
        if not line:
            self.log.seek(0)
            last = (self.log.read().strip() or "no message").splitlines()[-1]
            raise RuntimeError(f"its process ended with status {self.process.wait()}: {last}")
        answer = json.loads(line)
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer

    def cosine(self, expected):
        return cosine(self.logits, expected)

    def round(self, runs):
        self.process.stdin.write(f"run {runs}\n")
        return summary(self.reply()["milliseconds"])

    def peak_kib(self):
        return status_kib("VmHWM", self.process.pid)

    def end(self):
        self.process.stdin.close()
        self.process.wait()
        self.log.close()


class Vitreous:
    """The command line tool: a process per round."""

    def __init__(self, tool, files, threads, shape):
        self.tool, self.folder, self.threads = tool, files.folder, threads
        self.model = files.folder / "model.vtr"
        self.base_kib, self.report = 0, None
        self.call(
            "convert",
            files.folder / "weights",
            "--output",
            self.model,
            "--heads",
            shape.heads,
            "--image-size",
            f"{shape.image}x{shape.image}",
            "--for",
            "x86-64",
        )

    def command(self, *arguments):
        return [self.tool, *map(str, arguments)]

    def call(self, *arguments):
        try:
            done = subprocess.run(self.command(*arguments), capture_output=True, text=True)
        except FileNotFoundError:
            raise RuntimeError(f"there is no {self.tool}: build it, or name it by --vitreous") from None
        if done.returncode:
            raise RuntimeError(f"vitreous {arguments[0]}: {done.stderr.strip()}")
        return done.stdout

    def bench(self, runs):
        return "bench", self.model, "--threads", self.threads, "--runs", runs, "--json"

    def cosine(self, expected):
        """Over the 20 best classes, which are all that the tool tells."""
        answer = json.loads(
            self.call(
                "run", self.model, self.folder / "image.png", "--top", 20, "--threads", self.threads, "--json"
            )
        )
        best = answer["images"][0]["predictions"]
        return cosine(np.array([one["logit"] for one in best]), expected[[one["class"] for one in best]])

    def round(self, runs):
        self.report = json.loads(self.call(*self.bench(runs)))
        return self.report["median"], self.report["least"]

    def peak_kib(self):
        """Of a bench of its own, looked at while it runs: a process that has ended no longer says."""
        process = subprocess.Popen(
            self.command(*self.bench(5)), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        peak = 0
        while process.poll() is None:
            peak = status_kib("VmHWM", process.pid) or peak
            time.sleep(POLL_SECONDS)
        return peak

    def end(self):
        pass


def cosine(left, right):
    return float(left @ right / (np.linalg.norm(left) * np.linalg.norm(right)))
