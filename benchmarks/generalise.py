"""Train on ten releases, test on the eleventh: the drop, with and without having seen its films.

Three choices. CBIS-DDSM is film, with outlines and biopsies. OMI-DB is digital screening: normal,
benign and malignant by outcome, in boxes. CDD-CESM is the furthest away: half of its pictures are
subtractions, no other release has contrast, and its lesions are outlined where those of the
volumes are boxes.

Arms of each choice: *seen* learns from all eleven by the manifest's split (one run serves the
three choices); *unseen* is ``--test-source KEY``; *unseen, films shown* adds
``--show-test-source``: ``pretrain-autoencoder`` sees the films of KEY too, never their labels.
All arms are measured on the films of KEY in the manifest's test split, so drops compare the same
films; the unseen ones on all films of KEY as well. Pre-training is the U-Net's: the patch
classifier of the two unseen arms is the same.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.trained import (
    Row,
    core_minutes,
    film_auroc,
    findings,
    phantom_corpus,
    report,
    rows,
)
from etl.phantoms import WRITERS
from mammo_train.evaluation.froc import FreeResponse
from mammo_train.evaluation.metrics import Estimate, mean_interval

__all__ = ["main", "measure"]

CHOICES = ("cbis_ddsm", "omi_db", "cdd_cesm")
PATIENTS = dict.fromkeys(WRITERS, 12) | dict.fromkeys(CHOICES, 40)
SEED = 11
LEAST = 0.5  # Dice of the run that has seen all: below it nothing was learnt that could be lost
LABELLED = "segment,pretrain-classifier,classify"
FED = f"pretrain-autoencoder,{LABELLED}"
RECIPE = (
    "--preset", "smoke", "--seed", "1",
    "--segment.epochs", "6", "--segment.validate-every", "2", "--segment.learning-rate", "2e-3",
    "--pretrain-autoencoder.epochs", "8", "--pretrain-autoencoder.validate-every", "4",
    "--pretrain-classifier.epochs", "8", "--pretrain-classifier.validate-every", "2",
    "--classify.epochs", "3", "--classify.films-per-epoch", "128",
    "--classify.validate-every", "1",
)  # fmt: skip
"""One recipe for all arms, fixed on validation films of the run that has seen all."""


@dataclass(frozen=True)
class Figures:
    """What an arm reaches on some films."""

    films: int
    dice: Estimate
    sensitivity: float
    auroc: Estimate


def main() -> list[str]:
    """Print the tables; return the bounds that were missed."""
    with tempfile.TemporaryDirectory() as folder:
        return measure(Path(folder))


def measure(root: Path, choices: Sequence[str] = CHOICES) -> list[str]:
    """Train and measure all arms in `root`; stopped, it goes on in the same folder."""
    began, corpus = core_minutes(), str(root / "corpus")
    if not (root / "corpus" / "LATEST").is_file():
        phantom_corpus(root, PATIENTS, SEED, corpus)
    print(f"recipe: {' '.join(RECIPE)}\n", flush=True)
    metrics = report(corpus, root / "seen", *RECIPE, "--stages", LABELLED)
    learnt = metrics["segment"]["dice_per_film"]["value"]
    print(f"all eleven seen: Dice {learnt:.3f} on all test films\n")
    print("| test source | arm | films | Dice | found at 1 false a film | AUROC films |")
    print("| --- | --- | ---: | ---: | ---: | ---: |", flush=True)
    for key in choices:
        _choice(root, corpus, key)
    print(f"\n{core_minutes() - began:.1f} minutes of one core")
    if learnt < LEAST:
        return [f"generalise: Dice with all sources seen is {learnt:.3f}, the bound is {LEAST}"]
    return []


def _choice(root: Path, corpus: str, key: str) -> None:
    unseen, shown = root / f"unseen-{key}", root / f"shown-{key}"
    held = ("--test-source", key)
    report(corpus, unseen, *RECIPE, "--stages", LABELLED, *held)
    if not shown.is_dir():
        part = Path("stages") / "pretrain-classifier"
        shutil.copytree(unseen / part, shown / part)
    report(corpus, shown, *RECIPE, "--stages", FED, *held, "--show-test-source")
    arms = {
        "seen": _of_source(root / "seen", key),
        "unseen": _of_source(unseen, key),
        "unseen, films shown": _of_source(shown, key),
    }
    same = {row["sample_id"] for row in arms["seen"]}
    on_same = {
        name: [row for row in films if row["sample_id"] in same] for name, films in arms.items()
    }
    for name, films in on_same.items():
        _print(key, name, _figures(films))
    for name in ("unseen", "unseen, films shown"):
        _drop(key, name, on_same["seen"], on_same[name])
    for name in ("unseen", "unseen, films shown"):
        _print(key, f"{name}; all its films", _figures(arms[name]))


def _of_source(work: Path, key: str) -> list[Row]:
    return [row for row in rows(work / "report" / "films.csv") if row["source"] == key]


def _figures(films: Sequence[Row]) -> Figures:
    drawn = [row for row in films if row["dice"]]
    dice = mean_interval(
        [float(row["dice"]) for row in drawn], [row["patient_id"] for row in drawn]
    )
    counted = [findings(row) for row in films if row["counted"] == "1"]
    found = float(FreeResponse(counted).sensitivity((1.0,))[0])
    return Figures(len(films), dice, found, film_auroc(films))


def _drop(key: str, name: str, before: Sequence[Row], after: Sequence[Row]) -> None:
    """Print what is lost; the interval of the Dice is that of the difference, film by film."""
    once, now = _figures(before), _figures(after)
    dice = {row["sample_id"]: row["dice"] for row in after}
    lost = [
        (float(row["dice"]) - float(dice[row["sample_id"]]), row["patient_id"])
        for row in before
        if row["dice"]
    ]
    pair = mean_interval(np.array([value for value, _ in lost]), [who for _, who in lost])
    area = Estimate(_difference(once.auroc.value, now.auroc.value), None, None, {})
    found = once.sensitivity - now.sensitivity
    _print(key, f"drop, {name}", Figures(len(before), pair, found, area))


def _difference(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one - other


def _print(key: str, name: str, figures: Figures) -> None:
    cells = (
        key,
        name,
        str(figures.films),
        _cell(figures.dice),
        f"{figures.sensitivity:.2f}",
        _cell(figures.auroc),
    )
    print(f"| {' | '.join(cells)} |", flush=True)


def _cell(estimate: Estimate) -> str:
    if estimate.value is None:
        return "-"
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:.2f}"
    return f"{estimate.value:.2f} ({estimate.low:.2f} to {estimate.high:.2f})"
