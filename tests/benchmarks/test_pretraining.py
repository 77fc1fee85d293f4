"""The benchmark of pre-training reads the curves that runs leave, and says which arm lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import pretraining
from tests.train.test_curves import a_run

DICE = {"segment": 0.4, "pretrain-autoencoder,segment": 0.6}  # the third arm reaches less: 0.2


def pretend(module: str, *words: str, environment: dict[str, str]) -> None:
    """Leave what a run would, a better curve for the second seed."""
    assert module == "mammo_train"
    assert environment["OMP_NUM_THREADS"]
    said = dict(zip(words[1::2], words[2::2], strict=True))
    best = DICE.get(said["--stages"], 0.2) + 0.1 * (said["--seed"] == "2")
    begins = "scratch" if said["--stages"] == "segment" else "pretrain-autoencoder 0a"
    a_run(Path(said["--work"]), begins, {40: best / 2, 80: best})


def test_the_table_has_means_and_spread_and_an_arm_that_lost_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "LATEST").write_text("v-1")
    monkeypatch.setattr(pretraining, "command", pretend)
    picture = tmp_path / "curves.png"
    missed = pretraining.measure(tmp_path, picture, seeds=(1, 2))
    said = capsys.readouterr().out
    assert "at steps 40, 80;" in said
    assert "| from scratch | 0.450 (0.400 to 0.500) | 0.338 (0.300 to 0.375) | never, 80 |" in said
    assert "| autoencoder | 0.650 (0.600 to 0.700) |" in said
    assert "(0.450 to 0.525) | 80, 80 |" in said
    assert missed == ["encoder and autoencoder: best Dice 0.250, from scratch 0.450"]
    assert picture.stat().st_size > 5_000
