"""Both networks learn what the phantoms show, measured on patients that they never saw."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import PROJECT, Once, command, run

pytestmark = pytest.mark.timeout(900)

PATIENTS = 32


def train(*words: object) -> str:
    """Run `mammo-train` in a process of its own; return what it printed, fail where it failed."""
    done = subprocess.run(
        [sys.executable, "-m", "mammo_train", *map(str, words)],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=800,
        env={**os.environ, "COLUMNS": "200"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def report(once: Once) -> Path:
    def learn(out: Path) -> None:
        releases, corpus, work = out / "releases", out / "corpus", out / "model"
        command("phantoms", "--output", releases, "--patients", PATIENTS, "--seed", 5, "--clean")
        run(corpus, releases)
        place = ("--data", corpus, "--work", work)
        common = ("--preset", "smoke", "--workers", 0)
        began = time.perf_counter()
        train("run", *place, *common, "--stages", "segment,pretrain-classifier")
        (out / "seconds").write_text(str(time.perf_counter() - began))
        (out / "said.txt").write_text(train("evaluate", *place, "--output", out / "report"))

    return once("learning", learn)


@pytest.fixture(scope="session")
def metrics(report: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((report / "report" / "metrics.json").read_text())
    assert found["split"] == "test"
    return found


def test_the_unet_finds_the_lesions_of_unseen_patients(metrics: dict[str, Any]) -> None:
    dice = metrics["segment"]["dice_per_film"]
    print(f"Dice a lesion film {dice['value']:.3f} [{dice['low']:.2f}, {dice['high']:.2f}]")
    assert dice["counts"]["films"] >= 15
    assert dice["value"] >= 0.60


def test_the_unet_leaves_normal_films_alone(metrics: dict[str, Any]) -> None:
    false = metrics["segment"]["false_regions_per_normal_film"]
    print(f"false regions a normal film {false['value']:.2f}")
    assert false["value"] < 1


def test_the_classifier_tells_malignant_from_benign(metrics: dict[str, Any]) -> None:
    auroc = metrics["classifier"]["true_patches"]["malignant_vs_benign_auroc"]
    print(
        f"AUROC malignant vs benign {auroc['value']:.3f} [{auroc['low']:.2f}, {auroc['high']:.2f}]"
    )
    assert auroc["value"] >= 0.85


def test_the_pictures_and_the_table_are_there(report: Path) -> None:
    print(f"both stages trained in {float((report / 'seconds').read_text()):.0f} s")
    said = (report / "said.txt").read_text()
    assert "Dice a lesion film" in said
    assert (report / "report" / "samples.png").stat().st_size > 50_000
    for stage in ("segment", "pretrain-classifier"):
        assert (report / "model" / "stages" / stage / "curves.png").stat().st_size > 5_000
