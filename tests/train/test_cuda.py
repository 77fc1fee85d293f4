"""CUDA against the CPU: the same stage gives the same losses. Runs where a GPU is."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from mammo_train.engine import train
from mammo_train.runtime import open_runtime
from mammo_train.tracking import read_metrics
from tests.train.tiny import TinyStage

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="no NVIDIA GPU here: the CUDA runtime was NOT tested"
)


def losses(kind: str, precision: str, folder: Path) -> list[float]:
    stage = TinyStage(epochs=3, log_every=4)
    train(stage, open_runtime(kind, precision), folder, bar=False)  # type: ignore[arg-type]
    rows = read_metrics(folder / "metrics.csv")
    return [float(row["loss"]) for row in rows if row["kind"] == "train"]


@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-3), ("bf16", 3e-2)])
def test_losses_are_those_of_the_cpu(tmp_path: Path, precision: str, tolerance: float) -> None:
    cuda = losses("cuda", precision, tmp_path / "cuda")
    cpu = losses("cpu", "fp32", tmp_path / "cpu")
    assert cuda[0] == pytest.approx(cpu[0], rel=tolerance)
    assert cuda == pytest.approx(cpu, rel=10 * tolerance)
