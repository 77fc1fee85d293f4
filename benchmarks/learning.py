"""Learn from phantoms and measure on test patients: `small` for three seeds, `smoke` from gs://.

The corpus is the same for all seeds; seeds change first weights, order and augmentation. Films are
scored end to end: the U-Net proposes regions, the classifier judges them. That the same preset
learns the same from a disk and from gs://, loss by loss, is a test.
"""

from __future__ import annotations

import os
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.trained import core_minutes, phantom_corpus, report

__all__ = ["main", "seeds"]

PATIENTS = {"cbis_ddsm": 60, "mias": 60}
SEED = 11
SEEDS = (1, 2, 3)
MINUTES = 25  # of one core, for one seed
STAGES = ("--stages", "segment,pretrain-classifier,classify")


@dataclass(frozen=True)
class Figure:
    """What is measured, where it stands in metrics.json, and its bound."""

    name: str
    path: tuple[str, ...]
    least: float | None = None
    below: float | None = None

    def of(self, metrics: Mapping[str, Any]) -> Mapping[str, Any]:
        """Give value, interval and counts."""
        for key in self.path:
            metrics = metrics[key]
        return metrics

    @property
    def bound(self) -> str:
        """Say the bound."""
        if self.below is not None:
            return f"< {self.below}"
        return "-" if self.least is None else f">= {self.least}"

    def missed(self, where: str, value: float | None) -> list[str]:
        """Say that the bound is missed, or nothing."""
        if value is None:
            return [f"{where}: {self.name} was not measured"]
        low = self.least is not None and value < self.least
        high = self.below is not None and value >= self.below
        if low or high:
            return [f"{where}: {self.name} is {value:.3f}, the bound is {self.bound}"]
        return []


DICE = ("segment", "dice_per_film")
FALSE = ("segment", "false_regions_per_normal_film")
FILMS = ("films", "outcome", "films", "auroc")
TRUE = ("classifier", "true_patches", "malignant_vs_benign_auroc")
PROPOSED = ("classifier", "proposed_regions", "malignant_vs_benign_auroc")
SMALL = (
    Figure("Dice a lesion film", DICE, least=0.75),
    Figure("false regions a normal film", FALSE, below=1.0),
    Figure("AUROC films, malignant vs rest, end to end", FILMS, least=0.95),
    Figure("AUROC patches at true places, malignant vs benign", TRUE, least=0.90),
    Figure("AUROC patches at proposed places, malignant vs benign", PROPOSED),
)
SMOKE = (
    Figure("Dice a lesion film", DICE, least=0.60),
    Figure("false regions a normal film", FALSE, below=1.0),
    Figure("AUROC patches at true places, malignant vs benign", TRUE, least=0.85),
)


def main() -> list[str]:
    """Print the tables; return the bounds that were missed."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        missed = seeds(root, SEEDS)
        missed += _bucket(root)
    return missed


def seeds(root: Path, chosen: Sequence[int]) -> list[str]:
    """Train and measure `small` for each seed in `root`; print the table, return what was missed.

    Stopped, it goes on in the same folder.
    """
    corpus = str(root / "corpus")
    if not (root / "corpus" / "LATEST").is_file():
        phantom_corpus(root, PATIENTS, SEED, corpus)
    found, missed = [], []
    for seed in chosen:
        began = core_minutes()
        options = ("--preset", "small", "--seed", str(seed), *STAGES)
        found.append(report(corpus, root / f"small-{seed}", *options))
        minutes = core_minutes() - began
        print(f"seed {seed}: {minutes:.1f} minutes of one core, the bound is {MINUTES}", flush=True)
        if minutes > MINUTES:
            missed.append(f"small: seed {seed} took {minutes:.1f} minutes, bound {MINUTES}")
    words = " and ".join(f"{count} of {key}" for key, count in PATIENTS.items())
    print(f"\nphantom patients: {words}; preset small; 95 % by patient in brackets\n")
    head = " | ".join(f"seed {seed}" for seed in chosen)
    print(f"| figure, test | {head} | median | bound | counted |")
    print(f"| --- |{' ---: |' * (len(chosen) + 1)} --- | --- |")
    for figure in SMALL:
        missed += _row(figure, [figure.of(metrics) for metrics in found])
    return missed


def _row(figure: Figure, estimates: Sequence[Mapping[str, Any]]) -> list[str]:
    values = [estimate["value"] for estimate in estimates]
    median = None if None in values else statistics.median(values)
    cells = " | ".join(_cell(estimate) for estimate in estimates)
    shown = "-" if median is None else f"{median:.3f}"
    counts = _counts(estimates[0])
    print(f"| {figure.name} | {cells} | {shown} | {figure.bound} | {counts} |")
    return figure.missed("small", median)


def _cell(estimate: Mapping[str, Any]) -> str:
    if estimate["value"] is None:
        return "-"
    if estimate["low"] is None:
        return f"{estimate['value']:.3f}"
    return f"{estimate['value']:.3f} ({estimate['low']:.2f}-{estimate['high']:.2f})"


def _counts(estimate: Mapping[str, Any]) -> str:
    return ", ".join(f"{n} {what}" for what, n in estimate["counts"].items())


def _bucket(root: Path) -> list[str]:
    """Learn with `smoke` from a bucket of the emulator."""
    from tests.servers import FakeGcs

    bucket = FakeGcs()
    try:
        bucket.make_bucket("learning")
        there = {**os.environ, "STORAGE_EMULATOR_HOST": bucket.url}
        corpus, began = "gs://learning/corpus", core_minutes()
        phantom_corpus(root, PATIENTS, SEED, corpus, there)
        metrics = report(corpus, root / "smoke", "--preset", "smoke", environment=there)
    finally:
        bucket.close()
    print(f"\nshards on gs://, preset smoke, {core_minutes() - began:.1f} minutes of one core\n")
    print("| figure, test | value (95 %) | bound | counted |\n| --- | ---: | --- | --- |")
    missed = []
    for figure in SMOKE:
        estimate = figure.of(metrics)
        print(f"| {figure.name} | {_cell(estimate)} | {figure.bound} | {_counts(estimate)} |")
        missed += figure.missed("smoke", estimate["value"])
    return missed
