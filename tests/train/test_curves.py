"""``mammo-train curves``: runs over one another, grouped by what they began with."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mammo_train.cli import main
from mammo_train.curves import overlay_curves, validations
from mammo_train.tracking import FIXED
from schemas.errors import UsageError

METRICS = ("dice", "false_regions")


def a_run(work: Path, begins: str | None, dice: dict[int, float], stage: str = "segment") -> Path:
    """Write what a stage leaves: metrics.csv, and a checkpoint's state.json that names a start."""
    folder = work / "stages" / stage
    folder.mkdir(parents=True)
    with (folder / "metrics.csv").open("w", newline="") as file:
        sink = csv.DictWriter(file, [*FIXED, *METRICS])
        sink.writeheader()
        for step, value in dice.items():
            sink.writerow({"step": step, "epoch": 0, "kind": "train", "loss": 1.0})
            row = {"step": step, "epoch": 0, "kind": "val", "dice": value, "false_regions": "nan"}
            sink.writerow(row)
    if begins is not None:
        state = folder / "checkpoints" / "step-00000010" / "state.json"
        state.parent.mkdir(parents=True)
        state.write_text(json.dumps({"fingerprint": {"initial_weights": begins}}))
    return work


def colours(path: Path) -> set[tuple[int, ...]]:
    """Give the colours of at least ten pixels that are no grey."""
    pixels = np.asarray(Image.open(path).convert("RGB")).reshape(-1, 3)
    found, count = np.unique(
        pixels[np.ptp(pixels.astype(int), axis=1) > 60], axis=0, return_counts=True
    )
    return {tuple(c) for c in found[count >= 10].tolist()}


def test_what_was_no_number_is_no_point(tmp_path: Path) -> None:
    run = a_run(tmp_path / "a", None, {10: 0.1, 20: float("nan"), 30: 0.4})
    found = validations(run / "stages" / "segment" / "metrics.csv")
    assert found == {"dice": {10: 0.1, 30: 0.4}, "false_regions": {}}
    assert validations(tmp_path / "none.csv") == {}


def test_each_run_is_said_with_its_start_and_its_best(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fresh = a_run(tmp_path / "fresh", "scratch", {10: 0.1, 20: 0.3})
    fed = a_run(tmp_path / "fed", "pretrain-autoencoder 0a1b", {10: 0.5, 20: 0.4})
    output = tmp_path / "new" / "both.png"
    assert main(["curves", str(fresh), str(fed), "--output", str(output)]) == 0
    said = capsys.readouterr().out
    assert f"{fresh}: from scratch, best dice 0.300 at step 20" in said
    assert f"{fed}: after pretrain-autoencoder, best dice 0.500 at step 10" in said
    assert {(31, 119, 180), (255, 127, 14)} <= colours(output)  # one colour a kind of start


def test_runs_that_began_alike_share_a_colour(tmp_path: Path) -> None:
    works = [
        a_run(tmp_path / f"{seed}", f"pretrain-encoder {seed}", {10: 0.1 * seed, 20: 0.2 * seed})
        for seed in (1, 2, 3)
    ]
    overlay_curves(works, tmp_path / "one.png")
    assert (31, 119, 180) in colours(tmp_path / "one.png")
    assert (255, 127, 14) not in colours(tmp_path / "one.png")


def test_runs_without_first_weights_go_by_their_folder(tmp_path: Path) -> None:
    work = a_run(tmp_path / "mine", None, {10: 0.7}, "pretrain-classifier")
    said = overlay_curves([work], tmp_path / "c.png", stage="pretrain-classifier")
    assert said == [f"{work}: mine, best dice 0.700 at step 10"]


def test_a_run_without_validation_is_refused(tmp_path: Path) -> None:
    run = a_run(tmp_path / "a", "scratch", {})
    with pytest.raises(UsageError, match="holds no validation of segment"):
        overlay_curves([run], tmp_path / "c.png")
    assert not (tmp_path / "c.png").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "curves needs run directories"),
        (["a", "--stage", "segmnt"], "did you mean segment?"),
        (["a"], "name run directories in which that stage has been validated"),
    ],
)
def test_wrong_calls_end_with_a_sentence(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["curves", *words]) == 2
    assert said in capsys.readouterr().err


def test_help_shows_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["curves", "--help"]) == 0
    assert "Example: mammo-train curves" in capsys.readouterr().out
