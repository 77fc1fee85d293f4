"""The product's loader as a contender: selection, draws, batch plan, checked reads, resume."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

import schemas
from benchmarks.loader_contenders import BATCH, SHAPE, Tensors, shrink
from mammo_train.data.dataset import DrawDataset, Loader
from mammo_train.data.draws import BatchPlan, Draw, segment_draws
from mammo_train.data.selection import build_selections

__all__ = ["Ours"]

SEED = 7


class Shrink:
    """The benchmark's transform in the product's words."""

    def needs_mask(self, draw: Draw) -> bool:
        """Read no mask."""
        return False

    def __call__(
        self, draw: Draw, image: npt.NDArray[np.uint16], mask: npt.NDArray[np.uint8] | None
    ) -> dict[str, npt.NDArray[Any]]:
        """Return the small picture (float32, 1 x H x W) and the draw's weight."""
        return {"image": shrink(image), "weight": np.array(draw.weight, dtype=np.float32)}

    def padding(self) -> dict[str, npt.NDArray[Any]]:
        """Return zeros of weight 0."""
        return {"image": np.zeros((1, *SHAPE), np.float32), "weight": np.array(0, np.float32)}


class _Undecoded(DrawDataset):
    """Reads and checks payloads as training does, and returns their sizes."""

    def _batch(self, draws: Sequence[Draw]) -> dict[str, Any]:
        real = [draw for draw in draws if draw.row >= 0]
        read = self.reader.payloads(real, [False] * len(real))
        sizes = torch.tensor(list(map(_size, read)))
        return {"row": torch.tensor([draw.row for draw in real]), "size": sizes}


def _size(payloads: tuple[bytes, bytes | None]) -> int:
    return len(payloads[0])


class Ours:
    """Train films of a corpus, every one once an epoch; `start` is the batch to resume at."""

    def __init__(self, root: str, workers: int, decoded: bool) -> None:
        corpus = schemas.open(root)
        self.films = build_selections(corpus, "pretrain-encoder").train
        self.loader = Loader(corpus.store, Shrink(), workers=workers)
        if not decoded:
            self.loader.dataset = _Undecoded(corpus.store, Shrink())

    def epoch(self, number: int, start: int) -> Iterable[Tensors]:
        """Return the batches of an epoch from batch `start` on."""
        self.loader.plan = BatchPlan(segment_draws(self.films, SEED, number), BATCH)
        self.loader.start = start
        return self.loader
