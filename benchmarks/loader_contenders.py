"""One contender of the loader's benchmark in a long-lived process of its own.

It is told epoch by epoch, one JSON a line, what to deliver, and answers with one JSON a line. All
contenders share what becomes of a payload (decoded, area-averaged to 512 x 256, float32), batches
of eight, shuffling, and torch's settings: workers that stay, two batches ahead. This module runs
also in the peers' environment, so it imports nothing of the project at the top.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import json
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import DataLoader, Dataset

__all__ = ["BATCH", "KINDS", "SHAPE", "Contender", "Floor", "contender", "deliver", "row_of"]

SHAPE = (512, 256)
"""Rows and columns of what is delivered."""
BATCH = 8
PREFETCH = 2
PNG = b"\x89PNG"
KINDS = {
    "floor": "in-memory list (the floor)",
    "ours": "ours",
    "webdataset": "webdataset, shuffle(100)",
    "mosaicml": "mosaicml-streaming",
    "litdata": "litdata",
}

Tensors = dict[str, torch.Tensor]
Pair = tuple[int, bytes]
Item = tuple[int, Any]


class Contender(Protocol):
    """Delivers an epoch: every sample once, in batches with ``row`` and ``image`` or ``size``."""

    def epoch(self, number: int, start: int) -> Iterable[Tensors]:
        """Return the batches of an epoch from batch `start` on."""


def row_of(sample_id: str) -> int:
    """Return a sample's number, which is the second half of its id."""
    return int(sample_id.rpartition("-")[2], 16)


def decode(payload: bytes) -> npt.NDArray[np.uint16]:
    """Return a picture (uint16, H x W) from PNG or JPEG XL."""
    if payload.startswith(PNG):
        return np.asarray(cv2.imdecode(np.frombuffer(payload, np.uint8), cv2.IMREAD_UNCHANGED))
    import imagecodecs

    return np.asarray(imagecodecs.jpegxl_decode(payload))


def shrink(image: npt.NDArray[np.uint16]) -> npt.NDArray[np.float32]:
    """Return a picture (uint16, H x W) area-averaged to `SHAPE` (float32, 1 x H x W)."""
    small = cv2.resize(image, SHAPE[::-1], interpolation=cv2.INTER_AREA)
    return small.astype(np.float32)[None]


def item_of(pair: Pair, *, decoded: bool) -> Item:
    """Return a film's number with what is delivered of it, or with its payload's size."""
    row, payload = pair
    return row, shrink(decode(payload)) if decoded else len(payload)


def batch_of(items: Sequence[Item]) -> Tensors:
    """Return the batch of some items: row, and image (float32, N x 1 x H x W) or size."""
    rows = torch.tensor([row for row, _ in items])
    if isinstance(items[0][1], int):
        return {"row": rows, "size": torch.tensor([size for _, size in items])}
    return {"row": rows, "image": torch.from_numpy(np.stack([image for _, image in items]))}


def _start_worker(_: int) -> None:
    cv2.setNumThreads(1)


def _settings(workers: int) -> dict[str, Any]:
    return {
        "num_workers": workers,
        "persistent_workers": True,
        "prefetch_factor": PREFETCH,
        "worker_init_fn": _start_worker,
    }


class _Listed(Dataset[Any]):
    def __init__(self, payloads: Sequence[bytes], decoded: bool) -> None:
        self.payloads, self.decoded = payloads, decoded

    def __getitems__(self, rows: Sequence[int]) -> Tensors:
        pairs = ((row, self.payloads[row]) for row in rows)
        return batch_of([item_of(pair, decoded=self.decoded) for pair in pairs])


class _Orders:
    """Lists of rows, shuffled by the epoch's number."""

    def __init__(self, count: int) -> None:
        self.count, self.number, self.start = count, 0, 0

    def __iter__(self) -> Iterator[list[int]]:
        order = np.random.default_rng(self.number).permutation(self.count).tolist()
        yield from (order[k : k + BATCH] for k in range(self.start * BATCH, self.count, BATCH))


def _as_it_is(batch: Any) -> Any:
    return batch


class Floor:
    """Payloads in a list in memory, read from the shards beforehand: no container at all."""

    def __init__(self, folder: Path, workers: int, decoded: bool) -> None:
        import tarfile

        found: list[Pair] = []
        for path in sorted(folder.rglob("*.tar")):
            with tarfile.open(path) as tar:
                for member in tar:
                    sample_id, _, suffix = member.name.partition(".")
                    if suffix in ("png", "jxl"):
                        found.append((row_of(sample_id), _content(tar, member)))
        self.orders = _Orders(len(found))
        self.loader: DataLoader[Any] = DataLoader(
            _Listed([payload for _, payload in sorted(found)], decoded),
            batch_sampler=self.orders,
            collate_fn=_as_it_is,
            **_settings(workers),
        )

    def epoch(self, number: int, start: int) -> Iterable[Tensors]:
        """See `Contender`."""
        self.orders.number, self.orders.start = number, start
        return self.loader


def _content(tar: Any, member: Any) -> bytes:
    with tar.extractfile(member) as file:
        content: bytes = file.read()
    return content


class WebDataset:
    """The same shards through webdataset; it cannot be resumed within an epoch."""

    def __init__(self, folder: Path, workers: int, decoded: bool) -> None:
        os.environ["WDS_SECURE"] = "1"
        import webdataset as wds  # type: ignore[import-untyped]

        shards = sorted(str(path) for path in folder.rglob("*.tar"))
        data = wds.WebDataset(shards, shardshuffle=len(shards), empty_check=False)
        data = data.shuffle(100).map(functools.partial(_wds_item, decoded=decoded))
        data = data.batched(BATCH, collation_fn=batch_of)
        self.loader = wds.WebLoader(data, batch_size=None, **_settings(workers))

    def epoch(self, number: int, start: int) -> Iterable[Tensors]:
        """See `Contender`."""
        _refuse_start(start)
        loader: Iterable[Tensors] = self.loader
        return loader


def _wds_item(sample: dict[str, Any], *, decoded: bool) -> Item:
    payload = sample["png"] if "png" in sample else sample["jxl"]
    return item_of((row_of(sample["__key__"]), payload), decoded=decoded)


class Peer:
    """The same bytes in the format of a peer, in the loader that counts samples for a resume."""

    def __init__(self, folder: Path, workers: int, decoded: bool, *, kind: str) -> None:
        from benchmarks.loader_peers import LOADERS

        make = functools.partial(item_of, decoded=decoded)
        self.loader = LOADERS[kind](folder, BATCH, make, batch_of, _settings(workers))

    def epoch(self, number: int, start: int) -> Iterable[Tensors]:
        """See `Contender`."""
        _refuse_start(start)
        loader: Iterable[Tensors] = self.loader
        return loader


def _refuse_start(start: int) -> None:
    if start:
        raise ValueError("only ours and the floor are asked to begin within an epoch")


def contender(kind: str, place: str, workers: int, decoded: bool) -> Contender:
    """Make a contender over a corpus; `place` is the folder, or gs:// for ours."""
    if kind == "ours":
        ours: Contender = importlib.import_module("benchmarks.loader_ours").Ours(
            place, workers, decoded
        )
        return ours
    makers: dict[str, Any] = {"floor": Floor, "webdataset": WebDataset}
    make = makers.get(kind) or functools.partial(Peer, kind=kind)
    made: Contender = make(Path(place), workers, decoded)
    return made


def deliver(batches: Iterable[Tensors], *, digest: bool = False) -> dict[str, Any]:
    """Take all batches; return seconds, the rows in their order and, if asked, their digests."""
    rows: list[int] = []
    digests: list[str] = []
    began = time.perf_counter()
    for batch in batches:
        real = batch["row"] >= 0  # ours fills the last batch up
        rows += batch["row"][real].tolist()
        if digest:
            pixels = (image.numpy().tobytes() for image in batch["image"][real])
            digests += [hashlib.sha256(image).hexdigest() for image in pixels]
    return {"seconds": time.perf_counter() - began, "rows": rows, "digests": digests}


def main(kind: str, place: str) -> None:
    """Answer requests until there are no more."""
    # libraries print: only answers may reach the pipe
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    made: dict[tuple[int, bool], Contender] = {}
    for line in sys.stdin:
        asked = json.loads(line)
        key = (asked["workers"], asked["decoded"])
        if key not in made:
            made[key] = contender(kind, place, *key)
        batches = made[key].epoch(asked["epoch"], asked["start"])
        answers.write(json.dumps(deliver(batches, digest=asked["digest"])) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
