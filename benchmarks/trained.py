"""What the benchmarks of learning share: a corpus of phantoms, a trained run, the rows it wrote.

Every step is skipped where its result is there, so a benchmark that was stopped goes on in the
same folder.
"""

from __future__ import annotations

import csv
import json
import os
import resource
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from etl.phantoms import write
from mammo_train.evaluation.metrics import Estimate, estimate_auroc
from mammo_train.evaluation.regions import FilmFindings

__all__ = [
    "Row",
    "command",
    "core_minutes",
    "film_auroc",
    "findings",
    "phantom_corpus",
    "report",
    "rows",
]

Row = dict[str, str]


def command(module: str, *words: str, environment: Mapping[str, str] | None = None) -> None:
    """Run ``python -m module words`` to its end; `SystemExit` with its words where it fails."""
    line = (sys.executable, "-m", module, *words)
    done = subprocess.run(line, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(line)} ended with {done.returncode}:\n{done.stderr}")


def phantom_corpus(
    root: Path,
    patients: Mapping[str, int],
    seed: int,
    corpus: str,
    environment: Mapping[str, str] | None = None,
) -> None:
    """Write phantom releases without oddities under `root/releases`, and make them one corpus.

    Parameters
    ----------
    patients
        Of each release, by its key.
    corpus
        Folder or ``gs://``.
    """
    words: list[str] = []
    for key, count in patients.items():
        folder = root / "releases" / key
        if not folder.with_suffix(".truth.json").is_file():
            write(root / "releases", [key], patients=count, seed=seed, traps=False)
        words += ["--release", f"{key}={folder}"]
    command("beam_jobs", "run", *words, "--output", corpus, environment=environment)


def report(
    corpus: str, work: Path, *options: str, environment: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Train in `work`, measure once on the test films, and return what ``metrics.json`` says.

    On one core, unless OMP_NUM_THREADS says otherwise.
    """
    found = work / "report" / "metrics.json"
    if not found.is_file():
        there = {"OMP_NUM_THREADS": "1", **(environment or os.environ)}
        place = ("--data", corpus, "--work", str(work), "--workers", "0")
        command("mammo_train", "run", *place, *options, environment=there)
        command("mammo_train", "evaluate", *place, "--pictures", "0", environment=there)
    metrics: dict[str, Any] = json.loads(found.read_text(encoding="utf-8"))
    if metrics["split"] != "test":
        raise SystemExit(f"{work}: measured on {metrics['split']}, there was no lesion in test")
    return metrics


def core_minutes() -> float:
    """Give the processor time of the commands that have ended, in minutes; other work adds none."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (used.ru_utime + used.ru_stime) / 60


def rows(path: Path) -> list[Row]:
    """Read ``films.csv`` or ``patches.csv``."""
    with path.open(newline="", encoding="utf-8") as source:
        return list(csv.DictReader(source))


def findings(row: Row) -> FilmFindings:
    """Give what the U-Net found on the film of a row, for the free-response curve."""
    lesions = tuple(float(word) for word in row["lesion_scores"].split())
    false = tuple(float(word) for word in row["false_scores"].split())
    return FilmFindings(row["patient_id"], row["source"], lesions, false, True, not lesions)


def film_auroc(films: Sequence[Row]) -> Estimate:
    """Give malignant against the rest; unknown pathology and BI-RADS categories count nowhere."""
    judged = [
        row for row in films if row["pathology"] != "unknown" and row["label_basis"] != "birads"
    ]
    truth = [row["pathology"] == "malignant" for row in judged]
    scores = [float(row["score"]) for row in judged]
    return estimate_auroc(truth, scores, [row["patient_id"] for row in judged])
