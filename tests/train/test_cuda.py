"""CUDA against the CPU, and two GPUs against one. Runs where they are."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from mammo_train.engine import train
from mammo_train.runtime import open_runtime
from mammo_train.tracking import read_metrics
from tests.train import test_devices as devices
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


@pytest.mark.skipif(
    torch.cuda.device_count() < 2, reason="one GPU only: NCCL and SyncBatchNorm were NOT tested"
)
@pytest.mark.parametrize(("norm", "later"), [("group", 1e-4), ("batch", 1e-3)])
def test_two_gpus_learn_what_one_does(tmp_path: Path, norm: str, later: float) -> None:
    for count in (1, 2):
        run = {"folder": f"{tmp_path}/{count}", "norm": norm}
        seen = devices.told(devices.start(devices.command("cuda", [run], count)))
        assert seen[0]["world"] == count
    limits = {"first": 1e-5, "gradient": 1e-3, "later": later}
    devices.same(tmp_path / "2", tmp_path / "1", **limits)
