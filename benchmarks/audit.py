"""The audit over 600,000 fingerprints: time, peak memory, and what it finds of planted copies.

Fingerprints are drawn: smooth random fields in the outline of a breast, as ranks, so that strangers
are about as alike as those of real films (the spectrum is that of MIAS thumbnails). Copies are
cropped anew and have some noise.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from beam_jobs.spool import Spool
from etl.audit import AuditFinding, audit

COUNT = 600_000
COPIES = 600
LIMIT_S, LIMIT_GIB = 600, 4.0
_SIZE, _CHUNK, _MARGIN = 64, 2000, 4

Pictures = npt.NDArray[np.float32]


def main() -> list[str]:
    """Print the table; return the bounds that were missed."""
    rng = np.random.default_rng(0)
    copied = {int(n) for n in rng.choice(COUNT, COPIES, replace=False)}
    names: list[str] = []
    kinds: list[int] = []
    with tempfile.TemporaryDirectory() as folder:
        spool = Spool(Path(folder) / "thumbnails")
        for name, kind, picture in _fingerprints(rng, copied):
            names.append(name)
            kinds.append(kind)
            spool.extend([picture])
        table = _rows(names, kinds)
        peak = _Peak()
        began, used = time.monotonic(), time.process_time()
        with peak:
            found = audit(table, spool)
        seconds, used = time.monotonic() - began, time.process_time() - used
    return _report(seconds, used, peak.gib, found)


def _report(seconds: float, used: float, gib: float, found: list[AuditFinding]) -> list[str]:
    right = sum(item.sample_id == f"{item.duplicate_group}+" for item in found)
    wrong = len(found) - 2 * right
    print("| what | figure | bound |\n| --- | ---: | ---: |")
    print(f"| fingerprints | {COUNT + COPIES:,} | |")
    print(f"| time | {seconds:.0f} s | {LIMIT_S} s |")
    print(f"| core seconds | {used:.0f} | |")
    print(f"| peak memory | {gib:.2f} GiB | {LIMIT_GIB:g} GiB |")
    print(f"| planted copies found | {right} of {COPIES} | |")
    print(f"| strangers in groups | {wrong} | 0 |")
    missed = []
    if seconds > LIMIT_S:
        missed.append(f"the audit took {seconds:.0f} s, more than {LIMIT_S}")
    if gib > LIMIT_GIB:
        missed.append(f"the audit held {gib:.2f} GiB, more than {LIMIT_GIB:g}")
    if wrong:
        missed.append(f"{wrong} strangers were taken for copies")
    return missed


def _rows(names: list[str], kinds: list[int]) -> pa.Table:
    count = len(names)
    sides = np.array(["L", "R"])[np.array(kinds) % 2]
    views = np.array(["CC", "MLO"])[np.array(kinds) // 2]
    return pa.table(
        {
            "sample_id": names,
            "source": ["embed"] * count,
            "modality": ["FFDM"] * count,
            "laterality": sides,
            "view": views,
            "split": ["test" if name.endswith("+") else "train" for name in names],
            "pair_key": pa.nulls(count, pa.string()),
            "pixel_sha256": names,
            "height": pa.array([2000] * count, pa.int32()),
            "width": pa.array([1000] * count, pa.int32()),
        }
    )


def _fingerprints(rng: np.random.Generator, copied: set[int]) -> Iterator[tuple[str, int, bytes]]:
    """Yield name, side and view, thumbnail."""
    for start in range(0, COUNT, _CHUNK):
        fields = _fields(rng, min(_CHUNK, COUNT - start))
        plain = _thumbnails(fields[:, _MARGIN:-_MARGIN, :-_MARGIN])
        for offset, picture in enumerate(plain):
            number = start + offset
            name = f"embed-{number:012x}"
            yield name, number % 4, picture.tobytes()
            if number in copied:
                again = fields[offset : offset + 1, _MARGIN - 1 : 1 - _MARGIN, : 1 - _MARGIN]
                again = again + rng.normal(0, 0.02, again.shape).astype(np.float32)
                yield f"{name}+", number % 4, _thumbnails(_squared(again))[0].tobytes()


def _squared(fields: Pictures) -> Pictures:
    """Return pictures sampled anew to the thumbnail's size."""
    import cv2

    return cv2.resize(fields[0], (_SIZE, _SIZE), interpolation=cv2.INTER_AREA)[None]


def _fields(rng: np.random.Generator, count: int) -> Pictures:
    """Return random textures, of a natural image's spectrum, in a breast's outline."""
    height, width = _SIZE + 2 * _MARGIN, _SIZE + _MARGIN
    waves = 60
    down, right = np.mgrid[:waves, :waves]
    fall = 1 / np.maximum(np.hypot(down, right), 1) ** 1.3
    spectrum = (rng.normal(size=(count, waves, waves)) * fall).astype(np.float32)
    texture = _cosines(height, waves).T @ spectrum @ _cosines(width, waves)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    squeeze = rng.uniform(0.85, 1.0, (count, 1, 1)).astype(np.float32)
    radius = np.hypot((y - height / 2) / (height / 2), x / (width * squeeze))
    tissue = np.clip((1 - radius) * 8, 0, 1)
    return np.asarray((texture / texture.std() + 4) * tissue, np.float32)


def _cosines(size: int, count: int) -> Pictures:
    row, column = np.arange(count)[:, None], np.arange(size)[None, :]
    return np.cos(np.pi * row * (2 * column + 1) / (2 * size)).astype(np.float32)


def _thumbnails(fields: Pictures) -> npt.NDArray[np.uint8]:
    """Return ranks of each picture's cells, 0 to 255."""
    flat = fields.reshape(len(fields), -1)
    order = flat.argsort(axis=1, kind="stable")
    ranks = np.empty_like(order)
    np.put_along_axis(ranks, order, np.arange(flat.shape[1])[None, :], axis=1)
    ranks[flat <= 0] = 0
    return np.asarray(ranks * 255 // (flat.shape[1] - 1), np.uint8).reshape(fields.shape)


class _Peak:
    """Largest resident memory of this process while it is entered, in GiB."""

    gib = 0.0

    def __enter__(self) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def _watch(self) -> None:
        page = resource.getpagesize()
        while not self._stop.wait(0.2):
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            self.gib = max(self.gib, pages * page / 2**30)

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


if __name__ == "__main__":
    sys.exit(bool(main()))
