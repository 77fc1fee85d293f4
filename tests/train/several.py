"""Trains the tiny stage as a program, for tests of several devices or processes.

``python -m tests.train.several DEVICE RUNS``: RUNS is a JSON list of options, each with a
``folder``. The first process prints as its last line what it saw of each run.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

import mammo_train.tracking as tracking
from mammo_train.engine import train
from mammo_train.errors import Stopped
from mammo_train.runtime import open_runtime
from tests.train.tiny import TinyStage

Batch = dict[str, torch.Tensor]


class Numbered(TinyStage):
    """Remembers the rows that it gave; the last of each batch may be padding.

    The `padded` last films of a batch are its first ones again, with weight 0.
    """

    def __init__(self, *, padded: int = 0, **options: Any) -> None:
        super().__init__(**options)
        self.padded, self.rows = padded, []  # type: ignore[var-annotated]

    def batches(self, epoch: int, start: int, part: tuple[int, int] = (0, 1)) -> Iterator[Batch]:
        for index, batch in enumerate(super().batches(epoch, start), start):
            rows = torch.arange(len(batch["weight"]))
            real = len(rows) - self.padded
            batch["image"] = batch["image"][rows % real]
            batch["weight"][real:] = 0
            mine = {name: value[part[0] :: part[1]] for name, value in batch.items()}
            # Given is trained: the loop asks for no batch before it is done with the last.
            self.rows.append([100 * epoch + 10 * index + int(r) for r in rows[part[0] :: part[1]]])
            yield mine


def main() -> int:
    """Train each run and print its rows, and for xla the counters at each reading of losses."""
    torch.set_num_threads(1)
    device, told, counts = sys.argv[1], [], {}  # type: ignore[var-annotated]
    if device == "xla":
        _count(counts)
    for options in json.loads(sys.argv[2]):
        counts.clear()
        runtime = open_runtime(device, "fp32")  # type: ignore[arg-type]
        folder, stage = Path(options.pop("folder")), Numbered(**options)
        try:
            train(stage, runtime, folder, bar=False)
        except Stopped as stopped:
            print(stopped)
        seen = {"devices": runtime.devices, "world": runtime.world, "counts": dict(counts)}
        told.append({**seen, "rows": stage.rows})
    if runtime.first:
        print(json.dumps(told))
    return 0


def _count(counts: dict[int, Any]) -> None:
    from mammo_train.runtime.xla import counters

    plain = tracking.Tracker.train

    def noted(self: Any, step: int, *rest: Any) -> None:
        counts[step] = counters()
        plain(self, step, *rest)

    tracking.Tracker.train = noted  # type: ignore[method-assign]


if __name__ == "__main__":
    sys.exit(main())
