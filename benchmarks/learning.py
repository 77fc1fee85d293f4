"""Learn from phantoms and measure on test: `small` from a disk, `smoke` from gs://.

That the same preset learns the same from both, loss by loss, is a test.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from etl.phantoms import write

__all__ = ["main"]

PATIENTS = 60
SEED = 11
ETL = (sys.executable, "-m", "beam_jobs")
TRAIN = (sys.executable, "-m", "mammo_train")
FIGURES = {
    "Dice a lesion film": ("segment", "dice_per_film", ">=", 0.60),
    "false regions a normal film": ("segment", "false_regions_per_normal_film", "<", 1.0),
    "AUROC malignant vs benign": ("classifier", "malignant_vs_benign_auroc", ">=", 0.85),
}
"""What is measured, where it stands in metrics.json, and its bound."""


def main() -> list[str]:
    """Print the table; return the bounds that were missed."""
    from tests.servers import FakeGcs

    missed: list[str] = []
    found: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write(root / "releases", patients=PATIENTS, seed=SEED, traps=False)
        found["disk, small"] = _learn(root, root / "disk", "small", os.environ)
        bucket = FakeGcs()
        try:
            bucket.make_bucket("learning")
            there = {**os.environ, "STORAGE_EMULATOR_HOST": bucket.url}
            found["gs://, smoke"] = _learn(root, "gs://learning/corpus", "smoke", there)
        finally:
            bucket.close()
    print(f"{PATIENTS} phantom patients a release without traps\n")
    print("| shards on, preset | figure | value | 95 % | counted | bound |")
    print("| --- | --- | ---: | --- | --- | --- |")
    for where, metrics in found.items():
        missed += _report(where, metrics)
    seconds = ", ".join(f"{where} {metrics['seconds']:.0f} s" for where, metrics in found.items())
    print(f"\ntraining and evaluation: {seconds}", flush=True)
    return missed


def _learn(
    root: Path, corpus: Path | str, preset: str, environment: Mapping[str, str]
) -> dict[str, Any]:
    """Make the corpus, train both networks on it, and return the metrics of its test split."""
    work = root / f"model-{'gs' if str(corpus).startswith('gs://') else 'disk'}"
    releases = [f"{key}={root / 'releases' / key}" for key in ("cbis_ddsm", "mias")]
    words = [word for release in releases for word in ("--release", release)]
    _run(environment, *ETL, "run", *words, "--output", str(corpus))
    began = time.monotonic()
    place = ("--data", str(corpus), "--work", str(work))
    _run(environment, *TRAIN, "run", *place, "--preset", preset)
    _run(environment, *TRAIN, "evaluate", *place, "--pictures", "0")
    metrics: dict[str, Any] = json.loads((work / "report" / "metrics.json").read_text())
    return {**metrics, "seconds": time.monotonic() - began}


def _run(environment: Mapping[str, str], *command: str) -> None:
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr}")


def _report(where: str, metrics: Mapping[str, Any]) -> list[str]:
    if metrics["split"] != "test":
        return [f"{where}: measured on {metrics['split']}, there was no lesion in test"]
    parts = {"segment": metrics["segment"], "classifier": metrics["classifier"]["true_patches"]}
    missed = []
    for name, (part, key, relation, bound) in FIGURES.items():
        figure = parts[part][key]
        value = figure["value"]
        spread = "-" if figure["low"] is None else f"{figure['low']:.2f}-{figure['high']:.2f}"
        counts = ", ".join(f"{n} {what}" for what, n in figure["counts"].items())
        shown = "-" if value is None else f"{value:.3f}"
        print(f"| {where} | {name} | {shown} | {spread} | {counts} | {relation} {bound} |")
        good = value is not None and (value >= bound if relation == ">=" else value < bound)
        if not good:
            missed.append(f"{where}: {name} is {shown}, the bound is {relation} {bound}")
    return missed
