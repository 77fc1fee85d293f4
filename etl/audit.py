"""Find images that are in the corpus twice, and patients that thereby stand on two sides.

Equal `pixel_sha256` is one image. For the rest, signatures (`etl.likeness`) propose pairs of one
modality class, side and view, the most alike first, and the texture of the two aligned pictures
decides. Breasts are already cropped and turned to the left edge, so mirrored copies meet.

Samples of one `pair_key` (a film under two ids, the two images of one exposure) belong together by
the release's own word and are not reported.
"""

from __future__ import annotations

import itertools
import math
import os
import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from etl.likeness import alike, in_shape, signatures
from schemas.vocabulary import Modality, QualityFlag

__all__ = ["AUDIT_COLUMNS", "AuditFinding", "AuditSettings", "audit", "audit_summary"]

AUDIT_COLUMNS = (
    "sample_id",
    "source",
    "modality",
    "laterality",
    "view",
    "split",
    "pair_key",
    "pixel_sha256",
    "height",
    "width",
)
"""Columns of the manifest that the audit reads."""

_CLASS = {
    Modality.FFDM: "mammogram",
    Modality.SFM: "mammogram",
    Modality.S2D: "mammogram",
    Modality.CESM_LE: "mammogram",
    Modality.DBT: "tomosynthesis",
    Modality.CESM_SUB: "subtraction",
    Modality.MRI: "magnetic resonance",
}
_ROWS, _COLUMNS = 512, 4096
"""Signatures compared at once: their products stay in a processor's cache."""
_BATCH = 2048

_CALIBRATED = 6_320
"""Pairs that the settings were calibrated on."""

Floats = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class AuditSettings:
    """Thresholds; part of the version's name.

    Parameters
    ----------
    similarity
        Smallest product of two signatures that proposes a pair.
    pairs
        Largest number of proposed pairs that are aligned, the most alike first. Small corpora never
        reach it; in large ones it bounds the time, and less alike pairs are not looked at.
    correlation
        Smallest correlation of two aligned textures that is one image, where 6,320 pairs are
        compared.
    growth
        How fast that bound rises with the number of pairs, because chance finds more alike
        strangers among more of them; see `bound`.

    Notes
    -----
    Calibrated on 160 MIAS films (6,320 pairs of one side). Strangers: similarity 0.31 (median),
    0.55 (10 %), 0.71 (1 %), 0.8 (0.1 %); correlation after alignment 0.60 or less. Growth on drawn
    fingerprints with the spectrum of those films: 0.76 among 18 million pairs. Copies that are
    found: `docs/performance.md`. The audit reports what it finds and proves no absence.
    """

    similarity: float = 0.65
    pairs: int = 50_000
    correlation: float = 0.63
    growth: float = 0.19

    def bound(self, compared: int) -> float:
        """Return the smallest correlation that is one image where so many pairs are compared.

        The largest of n normal deviates grows as sqrt(2 ln n); correlations are made normal by
        Fisher's transform.
        """
        more = max(0.0, _deviate(compared) - _deviate(_CALIBRATED))
        return math.tanh(math.atanh(self.correlation) + self.growth * more)

    def to_dict(self) -> dict[str, Any]:
        """Return the settings for dataset.json."""
        return asdict(self)


def _deviate(count: int) -> float:
    return math.sqrt(2 * math.log(max(count, 2)))


@dataclass(frozen=True, slots=True)
class AuditFinding:
    """What the audit adds to one sample's row."""

    sample_id: str
    duplicate_group: str
    near_duplicate_of: str | None
    flags: tuple[QualityFlag, ...]


def audit(
    rows: pa.Table, thumbnails: Sequence[bytes], settings: AuditSettings | None = None
) -> list[AuditFinding]:
    """Return one finding for each sample that the corpus holds more than once.

    Parameters
    ----------
    rows
        Table with `AUDIT_COLUMNS`, in any order.
    thumbnails
        In the order of the rows, as `etl.fingerprint.thumbnail` wrote them. Each is taken once for
        its signature, and again where a pair is aligned, from several threads: they may lie in a
        file.

    Returns
    -------
    list of AuditFinding
        Sorted by sample_id. The group's name is its first sample_id. A group whose members stand
        on more than one side carries `audit:leak`, on all of them.
    """
    settings = settings or AuditSettings()
    names: list[str] = rows["sample_id"].to_pylist()
    order = sorted(range(len(names)), key=names.__getitem__)
    ordered = rows.select(list(AUDIT_COLUMNS)).take(pa.array(order, pa.int64()))
    groups = _Groups(len(order))
    related = _related(ordered)
    for first, second in _equal_pixels(ordered, related):
        groups.join(first, second)
    for first, second in _near(ordered, related, _Ordered(thumbnails, order), settings):
        groups.join(first, second)
    return list(_findings(ordered, groups))


def audit_summary(findings: Iterable[AuditFinding]) -> dict[str, int]:
    """Return counts: groups, samples in them, samples that leak."""
    listed = list(findings)
    return {
        "groups": len({finding.duplicate_group for finding in listed}),
        "samples": len(listed),
        "leaks": sum(QualityFlag.AUDIT_LEAK in finding.flags for finding in listed),
    }


class _Groups:
    """Disjoint sets; the smallest member represents its set."""

    def __init__(self, size: int) -> None:
        self._parent = list(range(size))

    def find(self, item: int) -> int:
        while self._parent[item] != item:
            self._parent[item] = self._parent[self._parent[item]]
            item = self._parent[item]
        return item

    def join(self, first: int, second: int) -> None:
        low, high = sorted((self.find(first), self.find(second)))
        self._parent[high] = low

    def members(self) -> list[list[int]]:
        sets: dict[int, list[int]] = defaultdict(list)
        for item in range(len(self._parent)):
            sets[self.find(item)].append(item)
        return [members for members in sets.values() if len(members) > 1]


@dataclass(frozen=True, slots=True)
class _Ordered:
    """Thumbnails in the order of sample_id."""

    thumbnails: Sequence[bytes]
    order: Sequence[int]

    def __getitem__(self, index: int) -> bytes:
        return self.thumbnails[self.order[index]]


def _related(rows: pa.Table) -> Indices:
    """Return a number for each pair that a release declares itself, -1 for samples of none."""
    known: dict[tuple[str, str], int] = {}
    pairs = zip(rows["source"].to_pylist(), rows["pair_key"].to_pylist(), strict=True)
    numbers = [known.setdefault((a, b), len(known)) if b else -1 for a, b in pairs]
    return np.array(numbers, np.int64)


def _classes(rows: pa.Table) -> list[str]:
    return [_CLASS[Modality(word)] for word in rows["modality"].to_pylist()]


def _equal_pixels(rows: pa.Table, related: Indices) -> Iterator[tuple[int, int]]:
    seen: dict[tuple[str, str], list[int]] = defaultdict(list)
    keys = zip(_classes(rows), rows["pixel_sha256"].to_pylist(), strict=True)
    for index, key in enumerate(keys):
        for other in seen[key]:
            if related[index] < 0 or related[index] != related[other]:
                yield other, index
        seen[key].append(index)


def _near(
    rows: pa.Table, related: Indices, thumbnails: _Ordered, settings: AuditSettings
) -> Iterator[tuple[int, int]]:
    """Yield confirmed pairs within a modality class whose side and view do not disagree."""
    shapes = list(zip(rows["height"].to_pylist(), rows["width"].to_pylist(), strict=True))
    prints = _prints(thumbnails, shapes)
    best = _Best(settings.similarity, settings.pairs, related)
    with ThreadPoolExecutor(_threads()) as threads:
        compared = 0
        for left, right in _compatible(_buckets(rows)):
            _propose(prints, left, right, best, threads)
            compared += (
                len(left) * (len(right) - 1) // 2 if left is right else len(left) * len(right)
            )
        bound = settings.bound(compared)

        def confirmed(pair: tuple[int, int]) -> bool:
            first, second = (in_shape(thumbnails[one], shapes[one]) for one in pair)
            return alike(first, second) >= bound

        pairs = best.pairs()
        for pair, same in zip(pairs, threads.map(confirmed, pairs), strict=True):
            if same:
                yield pair


def _threads() -> int:
    return min(8, os.cpu_count() or 1)


def _prints(thumbnails: _Ordered, shapes: Sequence[tuple[int, int]]) -> tuple[Floats, Floats]:
    if not shapes:
        return (np.zeros((0, 1), np.float32),) * 2
    parts = []
    for start in range(0, len(shapes), _BATCH):
        batch = range(start, min(start + _BATCH, len(shapes)))
        parts.append(signatures([thumbnails[i] for i in batch], [shapes[i] for i in batch]))
    first, second = zip(*parts, strict=True)
    return np.concatenate(first), np.concatenate(second)


Bucket = tuple[tuple[str, str, str], Indices]


def _buckets(rows: pa.Table) -> list[Bucket]:
    """Return the samples of each modality class, side and view."""
    members: dict[tuple[str, str, str], list[int]] = defaultdict(list)
    columns = (_classes(rows), rows["laterality"].to_pylist(), rows["view"].to_pylist())
    for index, (kind, side, view) in enumerate(zip(*columns, strict=True)):
        members[kind, side or "", view or ""].append(index)
    return [(key, np.array(members[key], np.int64)) for key in sorted(members)]


def _compatible(buckets: Sequence[Bucket]) -> Iterator[tuple[Indices, Indices]]:
    for (a, left), (b, right) in itertools.combinations_with_replacement(buckets, 2):
        agree = all(x == y or not x or not y for x, y in zip(a[1:], b[1:], strict=True))
        if a[0] == b[0] and agree:
            yield left, right


class _Best:
    """The most alike pairs, at most `count` of them: the same ones in whatever order they come."""

    def __init__(self, floor: float, count: int, related: Indices) -> None:
        self.floor = np.float32(floor)
        self._count, self._related = count, related
        self._lock = threading.Lock()
        self._waiting: list[tuple[Floats, Indices, Indices]] = []
        self._size = 0

    def add(self, likeness: Floats, first: Indices, second: Indices) -> None:
        """Take pairs; those that the release declares itself are left out."""
        own = self._related[first]
        kept = (own < 0) | (own != self._related[second])
        low, high = np.minimum(first, second)[kept], np.maximum(first, second)[kept]
        with self._lock:
            self._waiting.append((likeness[kept], low, high))
            self._size += len(low)
            if self._size > 2 * self._count:
                self._cut()

    def _cut(self) -> None:
        parts = zip(*self._waiting, strict=True)
        likeness, first, second = (np.concatenate(part) for part in parts)
        order = np.lexsort((second, first, -likeness))[: self._count]
        self._waiting = [(likeness[order], first[order], second[order])]
        self._size = len(order)
        if self._size == self._count:
            self.floor = max(self.floor, likeness[order[-1]])

    def pairs(self) -> list[tuple[int, int]]:
        """Return the pairs, the most alike first."""
        if not self._size:
            return []
        self._cut()
        _, first, second = self._waiting[0]
        return list(zip(first.tolist(), second.tolist(), strict=True))


def _propose(
    prints: tuple[Floats, Floats],
    left: Indices,
    right: Indices,
    best: _Best,
    threads: ThreadPoolExecutor,
) -> None:
    """Compare all of `left` with all of `right` (each unordered pair once where they are one)."""
    same = left is right
    columns = [own[right] for own in prints]

    def compare(start: int) -> None:
        block = left[start : start + _ROWS]
        rows = [own[block] for own in prints]
        for begin in range(start if same else 0, len(right), _COLUMNS):
            part = slice(begin, begin + _COLUMNS)
            likeness = rows[0] @ columns[0][part].T
            np.maximum(likeness, rows[1] @ columns[1][part].T, out=likeness)
            if likeness.max() < best.floor:
                continue
            row, column = np.nonzero(likeness >= best.floor)
            if same:
                later = column + begin > row + start
                row, column = row[later], column[later]
            best.add(likeness[row, column], block[row], right[column + begin])

    for _ in threads.map(compare, range(0, len(left), _ROWS)):
        pass


def _findings(rows: pa.Table, groups: _Groups) -> Iterator[AuditFinding]:
    names, sides = rows["sample_id"].to_pylist(), rows["split"].to_pylist()
    found = []
    for members in groups.members():
        flags = [QualityFlag.AUDIT_DUPLICATE]
        if len({sides[member] for member in members}) > 1:
            flags.append(QualityFlag.AUDIT_LEAK)
        first = names[members[0]]
        for member in members:
            twin_of = None if names[member] == first else first
            found.append(AuditFinding(names[member], first, twin_of, tuple(flags)))
    yield from sorted(found, key=lambda finding: finding.sample_id)
