"""Trains the tiny stage as a program, for tests of several devices or processes.

``python -m tests.train.several FOLDER DEVICE OPTIONS``, options as JSON; prints as its last line
what it saw, in the first process.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from mammo_train.engine import train
from mammo_train.runtime import Batch, Runtime, open_runtime
from mammo_train.tracking import read_metrics
from tests.train.tiny import TinyStage


class Padded(TinyStage):
    """The last `padded` films of each batch are its first ones again, with weight 0."""

    def __init__(self, *, padded: int = 0, **options: Any) -> None:
        super().__init__(**options)
        self.padded = padded

    def batches(
        self, epoch: int, start: int, part: tuple[int, int] = (0, 1)
    ) -> Iterator[dict[str, torch.Tensor]]:
        for batch in super().batches(epoch, start):
            real = len(batch["weight"]) - self.padded
            batch["image"] = batch["image"][torch.arange(len(batch["weight"])) % real]
            batch["weight"][real:] = 0
            yield {name: value[part[0] :: part[1]] for name, value in batch.items()}


def gradients(options: dict[str, Any], runtime: Runtime) -> list[float]:
    """Give the gradient of the first batch, one number after another."""
    from mammo_train.engine import _backward

    stage = Padded(**options)
    torch.manual_seed(stage.seed)
    model = runtime.prepare(stage.build(), stage.example()).train()
    first: Batch = next(iter(stage.batches(0, 0, (runtime.rank, runtime.world))))
    _backward(stage, runtime, model, first)
    runtime.end_step()
    found = [runtime.host(p.grad).reshape(-1) for p in model.parameters() if p.grad is not None]
    return [float(value) for value in torch.cat(found)]


def main() -> int:
    """Train and print losses, validations, the first gradient and what xla counted."""
    torch.set_num_threads(1)
    folder, device, options = Path(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3])
    runtime = open_runtime(device, "fp32")  # type: ignore[arg-type]
    seen: dict[str, Any] = {"devices": runtime.devices, "world": runtime.world}
    if options.pop("gradients", False):
        seen["gradients"] = gradients(options, runtime)
    counts: dict[int, Any] = {}
    if device == "xla":
        _count(counts)
    train(Padded(**options), runtime, folder, bar=False)
    if runtime.first:
        rows = read_metrics(folder / "metrics.csv")
        seen["losses"] = [float(row["loss"]) for row in rows if row["kind"] == "train"]
        seen["val"] = [float(row["dice"]) for row in rows if row["kind"] == "val"]
        print(json.dumps({**seen, "counts": counts}))
    return 0


def _count(counts: dict[int, Any]) -> None:
    import mammo_train.tracking as tracking
    from mammo_train.runtime.xla import counters

    plain = tracking.Tracker.train

    def noted(self: Any, step: int, *rest: Any) -> None:
        counts[step] = counters()
        plain(self, step, *rest)

    tracking.Tracker.train = noted  # type: ignore[method-assign]


if __name__ == "__main__":
    sys.exit(main())
