"""A tenth of the labels, with and without pre-training on all films: validation Dice over steps.

One corpus of phantoms. Each arm and seed has a run directory of its own; all arms learn from the
labels of the same patients for the same number of steps. Pre-training is done for each seed
again, so its spread is in the figures. `pretraining.png` in the current folder has the curves.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from benchmarks.trained import command, core_minutes, phantom_corpus
from mammo_train.curves import overlay_curves, validations

__all__ = ["main", "measure"]

PATIENTS = {"cbis_ddsm": 110, "mias": 110}
SEED = 11
SEEDS = (1, 2, 3)
SHARE = "0.1"
LEVEL = 0.5  # Dice
ARMS = {
    "from scratch": "segment",
    "autoencoder": "pretrain-autoencoder,segment",
    "encoder and autoencoder": "pretrain-encoder,pretrain-autoencoder,segment",
}
"""What is trained, one stage after the other."""
RECIPE = (
    "--preset", "smoke", "--label-share", SHARE,
    "--segment.base-channels", "8", "--segment.tile-height", "96", "--segment.tile-width", "96",
    "--segment.epochs", "16", "--segment.validate-every", "2", "--segment.log-every", "20",
    "--pretrain-encoder.epochs", "10", "--pretrain-encoder.validate-every", "5",
    "--pretrain-encoder.probe-films", "0",
    "--pretrain-autoencoder.epochs", "9", "--pretrain-autoencoder.validate-every", "3",
)  # fmt: skip
Curve = Mapping[int, float]


def main() -> list[str]:
    """Print the table and draw the curves; return the bounds that were missed."""
    with tempfile.TemporaryDirectory() as folder:
        return measure(Path(folder), Path("pretraining.png"))


def measure(root: Path, picture: Path, seeds: Sequence[int] = SEEDS) -> list[str]:
    """Train all arms in `root`; stopped, it goes on in the same folder."""
    began, corpus = core_minutes(), str(root / "corpus")
    if not (root / "corpus" / "LATEST").is_file():
        phantom_corpus(root, PATIENTS, SEED, corpus)
    there = {"OMP_NUM_THREADS": "1", **os.environ}
    works: dict[str, list[Path]] = {arm: [] for arm in ARMS}
    for seed in seeds:
        for arm, stages in ARMS.items():
            work = root / f"{arm.replace(' ', '-')}-{seed}"
            place = ("--data", corpus, "--work", str(work), "--workers", "0")
            words = ("--stages", stages, "--seed", str(seed), *RECIPE)
            command("mammo_train", "run", *place, *words, environment=there)
            works[arm].append(work)
    overlay_curves([work for arm in works.values() for work in arm], picture)
    print(f"recipe: {' '.join(RECIPE)}\n")
    bests = {arm: _row(arm, [_dice(work) for work in runs]) for arm, runs in works.items()}
    print(f"\n{core_minutes() - began:.0f} core minutes; curves in {picture}")
    return [
        f"{arm}: best Dice {bests[arm]:.3f}, from scratch {bests['from scratch']:.3f}"
        for arm in ARMS
        if bests[arm] < bests["from scratch"]
    ]


def _dice(work: Path) -> Curve:
    return validations(work / "stages" / "segment" / "metrics.csv")["dice"]


def _row(arm: str, curves: Sequence[Curve]) -> float:
    """Print an arm's row, under the head where it is the first, and give its mean best Dice."""
    if arm == next(iter(ARMS)):
        steps = ", ".join(str(step) for step in curves[0])
        print(f"Dice of validation films at steps {steps}; mean (lowest to highest) of the seeds\n")
        print(f"| first weights | best | mean of the curve | first step with {LEVEL} |")
        print("| --- | ---: | ---: | ---: |")
    best = [max(curve.values()) for curve in curves]
    means = [float(np.mean(list(curve.values()))) for curve in curves]
    first = [min((s for s, v in curve.items() if v >= LEVEL), default=None) for curve in curves]
    said = ", ".join("never" if step is None else str(step) for step in first)
    print(f"| {arm} | {_spread(best)} | {_spread(means)} | {said} |", flush=True)
    return float(np.mean(best))


def _spread(values: Sequence[float]) -> str:
    return f"{np.mean(values):.3f} ({min(values):.3f} to {max(values):.3f})"
