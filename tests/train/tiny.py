"""A stage of a few milliseconds a step, for tests of the loop: discs on noise, made from a seed.

Run as a program it trains in a process that a test may kill.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mammo_train.config import SegmentConfig
from mammo_train.engine import train
from mammo_train.errors import Stopped
from mammo_train.losses import segmentation_loss
from mammo_train.models.unet import UNet
from mammo_train.runtime import Batch, Runtime
from mammo_train.runtime.cpu import CpuRuntime

SIDE, BATCHES, BATCH = 32, 8, 4


def discs(seed: int, count: int = BATCH, side: int = SIDE) -> Batch:
    """Images (N, 1, S, S) of noise with a bright disc, and its mask."""
    made = torch.Generator().manual_seed(seed)
    centre = torch.randint(8, side - 8, (count, 2), generator=made)
    grid = torch.arange(side)
    far = (grid[None, :, None] - centre[:, 0, None, None]) ** 2
    far = far + (grid[None, None, :] - centre[:, 1, None, None]) ** 2
    target = (far <= 25).float()[:, None]
    image = torch.rand((count, 1, side, side), generator=made) * 0.5 + target * 0.5
    return {"image": image, "target": target, "weight": torch.ones(count)}


class TinyStage:
    """Eight batches an epoch, three epochs."""

    name = "tiny"
    metric = "dice"
    metrics = ("dice",)

    def __init__(
        self,
        *,
        seed: int = 1,
        selection: str = "discs",
        pause: float = 0.0,
        poison: int | None = None,
        **options: Any,
    ) -> None:
        plain: dict[str, Any] = {
            "epochs": 3,
            "batch_size": BATCH,
            "base_channels": 8,
            "levels": 3,
            "checkpoint_every": 3,
            "log_every": 1,
            "learning_rate": 3e-3,
            "validate_every": 2,
        }
        self.config = SegmentConfig(**{**plain, **options})
        self.seed, self.selection, self.pause, self.poison = seed, selection, pause, poison

    def fingerprint(self) -> Mapping[str, Any]:
        return {"selection": self.selection}

    def build(self) -> nn.Module:
        config = self.config
        return UNet(config.base_channels, config.levels, norm=config.norm)

    def example(self) -> Tensor:
        return discs(0)["image"]

    def steps(self, epoch: int) -> int:
        return BATCHES

    def batches(self, epoch: int, start: int, part: tuple[int, int] = (0, 1)) -> Iterable[Batch]:
        for index in range(start, BATCHES):
            time.sleep(self.pause)
            batch = discs(1000 * self.seed + 100 * epoch + index)
            if self.poison == index:
                batch["image"] = batch["image"] * float("nan")
            yield {name: value[part[0] :: part[1]] for name, value in batch.items()}

    def loss(self, model: nn.Module, batch: Batch, runtime: Runtime) -> Tensor:
        with runtime.autocast():
            logits = model(batch["image"])
        logits, target, weight = map(runtime.gather, (logits, batch["target"], batch["weight"]))
        return segmentation_loss(logits, target, weight)

    def validate(self, model: nn.Module, runtime: Runtime) -> Mapping[str, float]:
        assert not model.training
        batch = runtime.put(discs(7))
        with torch.no_grad():  # GroupNorm fails on xla in inference mode
            found = runtime.host(model(batch["image"])) > 0
        truth = discs(7)["target"] == 1
        return {"dice": float(2 * (found & truth).sum() / (found.sum() + truth.sum()))}


def main() -> int:
    """Train in the folder argv[1], waiting argv[2] seconds before each batch."""
    torch.set_num_threads(1)
    try:
        stage = TinyStage(pause=float(sys.argv[2]))
        train(stage, CpuRuntime("fp32"), Path(sys.argv[1]), bar=False)
    except Stopped:
        return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
