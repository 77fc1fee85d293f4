"""Draws: what an epoch reads, computed before it starts, and the batches that are cut from it.

A `Draw` is all that a worker needs to make one row of a batch: where the bytes lie, their
checksums, the point to look at, the label, a seed. So workers hold no table, and neither their
number nor how far they read ahead can change what is learnt (see `mammo_train.data.order`).
`Draws` holds an epoch as numpy columns; `BatchPlan` turns one batch of it into `Draw`s when asked.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mammo_train.data.order import draw_seed, epoch_order, mix64, sample_keys
from mammo_train.data.selection import BACKGROUND, BENIGN, MALIGNANT, Selection
from schemas.vocabulary import Pathology

__all__ = [
    "PADDING",
    "BatchPlan",
    "BatchSampler",
    "Draw",
    "Draws",
    "HardNegatives",
    "film_draws",
    "film_label_draws",
    "fixed_patches",
    "patch_draws",
    "segment_draws",
]

_AIM, _LESION, _BACKGROUND, _PLACE, _HARD = (0xA1, 0xA2, 0xA3, 0xA4, 0xA5)  # streams of the seed


class Draw(NamedTuple):
    """One row of a batch; plain values, so that a batch pickles to under a kilobyte.

    Parameters
    ----------
    sample_id, shard
        Which sample, in which tar relative to the corpus; empty for padding.
    image_offset, image_size, image_crc32c, mask_offset, mask_size, mask_crc32c
        Bytes in the tar; mask size 0 is none.
    mm
        Millimetres of a standard pixel.
    x, y
        Point to look at, standard pixels, corner coordinates; None lets the seed choose.
    label
        0 background, 1 benign, 2 malignant; -1 where the target is a mask.
    seed
        Everything random about this draw.
    weight
        0 for padding, which has no effect on loss or metric.
    row, lesion
        Position in the selection and in its lesions; -1 is none.
    regions
        Of a draw that is a film with several places: x, y and label of each, standard pixels.
    """

    sample_id: str
    shard: str
    image_offset: int
    image_size: int
    image_crc32c: int
    mask_offset: int
    mask_size: int
    mask_crc32c: int
    mm: float
    x: float | None
    y: float | None
    label: int
    seed: int
    weight: float
    row: int
    lesion: int
    regions: tuple[tuple[float, float, int], ...] = ()


PADDING = Draw("", "", 0, 0, 0, 0, 0, 0, 1.0, None, None, -1, 0, 0.0, -1, -1)
"""Fills the last batch; nothing is read for it."""


@dataclass(frozen=True)
class Draws:
    """An epoch: film rows and lesion rows of a selection, label and seed of each draw.

    Parameters
    ----------
    selection
        What the rows point into.
    film, lesion
        int64 (K,); lesion -1 looks nowhere in particular.
    label
        int8 (K,).
    seed
        uint64 (K,).
    point
        float64 (K, 2): x and y to look at where no lesion is named, NaN for nowhere; None is
        nowhere for all.
    """

    selection: Selection
    film: npt.NDArray[np.int64]
    lesion: npt.NDArray[np.int64]
    label: npt.NDArray[np.int8]
    seed: npt.NDArray[np.uint64]
    point: npt.NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.film)

    def __getitem__(self, k: int) -> Draw:
        """Return draw k with all that a worker needs."""
        chosen, row, lesion = self.selection, int(self.film[k]), int(self.lesion[k])
        x = y = None
        if lesion >= 0:
            x0, y0, x1, y1 = chosen.lesions.box[lesion].tolist()
            x, y = (x0 + x1) / 2, (y0 + y1) / 2
        elif self.point is not None and not np.isnan(self.point[k, 0]):
            x, y = self.point[k].tolist()
        image_offset, image_size, image_crc32c, *mask = chosen.places[row].tolist()
        return Draw(
            sample_id=str(chosen.ids[row]),
            shard=chosen.shards[chosen.shard[row]],
            image_offset=image_offset,
            image_size=image_size,
            image_crc32c=image_crc32c,
            mask_offset=mask[0],
            mask_size=mask[1],
            mask_crc32c=mask[2],
            mm=float(chosen.mm[row]),
            x=x,
            y=y,
            label=int(self.label[k]),
            seed=int(self.seed[k]),
            weight=1.0,
            row=row,
            lesion=lesion,
        )


@dataclass(frozen=True)
class HardNegatives:
    """Places clear of lesions that a network took for one.

    Parameters
    ----------
    film
        int64 (H,): row of the selection.
    point
        float64 (H, 2): x, y in standard pixels.
    keys
        uint64 (H,): of the order in which they are drawn.
    """

    film: npt.NDArray[np.int64]
    point: npt.NDArray[np.float64]
    keys: npt.NDArray[np.uint64]

    @classmethod
    def none(cls) -> HardNegatives:
        """Give no place at all."""
        return cls(np.zeros(0, np.int64), np.zeros((0, 2)), np.zeros(0, np.uint64))


@dataclass(frozen=True)
class BatchPlan(Sequence[list[Draw]]):
    """Global batches of an epoch: batch b is draws b*size to (b+1)*size, the last one padded.

    Parameters
    ----------
    part
        (r, W): give rows r::W of each batch only, for process r of W that train together. The
        padding of their last batch shows real draws again, with weight 0, because a process whose
        rows are all padding would have nothing real to show to BatchNorm.
    """

    draws: Draws | Sequence[Draw]
    batch_size: int
    part: tuple[int, int] = (0, 1)

    def __len__(self) -> int:
        return -(-len(self.draws) // self.batch_size)

    def __getitem__(self, b: int) -> list[Draw]:  # type: ignore[override]
        """Return batch b: exactly `batch_size` draws, or this part of them."""
        if not 0 <= b < len(self):
            raise IndexError(f"batch {b} of {len(self)}")
        first = b * self.batch_size
        last = min(first + self.batch_size, len(self.draws))
        missing = self.batch_size - (last - first)
        batch = [self.draws[k] for k in range(first, last)]
        rank, world = self.part
        if world == 1:
            return batch + [PADDING] * missing
        again = [batch[j % len(batch)]._replace(weight=0.0) for j in range(missing)]
        return [*batch, *again][rank::world]


class BatchSampler:
    """What torch's loader asks for batches: those of `plan` from number `start` on.

    Both are plain attributes of the parent process, where the sampler runs also with persistent
    workers: set them, iterate, set them again for the next epoch.
    """

    def __init__(self, plan: BatchPlan | None = None, start: int = 0) -> None:
        self.plan, self.start = plan, start

    def __len__(self) -> int:
        return max(0, len(self.plan) - self.start) if self.plan is not None else 0

    def __iter__(self) -> Iterator[list[Draw]]:
        plan, start = self.plan, self.start
        if plan is not None:
            yield from (plan[b] for b in range(start, len(plan)))


def film_draws(selection: Selection) -> Draws:
    """Return every film once, in the order of the selection: for evaluation."""
    count = len(selection)
    return Draws(
        selection,
        film=np.arange(count, dtype=np.int64),
        lesion=np.full(count, -1, dtype=np.int64),
        label=np.full(count, -1, dtype=np.int8),
        seed=draw_seed(0, 0, np.arange(count)),
    )


def segment_draws(
    selection: Selection,
    seed: int,
    epoch: int,
    *,
    tiles_per_film: int = 1,
    lesion_tile_share: float = 0.75,
    lesion_film_share: float | None = None,
) -> Draws:
    """Return the draws of one epoch of ``segment``.

    Parameters
    ----------
    selection, seed, epoch
        See `mammo_train.data.order`.
    tiles_per_film
        How often an epoch visits a film; with `lesion_film_share`, on average.
    lesion_tile_share
        Share of the draws of a film with lesions that look at one of them, every lesion in turn.
    lesion_film_share
        Share of films with lesions among the draws, filled with repetition; None leaves the films
        as they are.
    """
    films = np.arange(len(selection), dtype=np.int64)
    visits = _repeat(films, selection.keys, seed, epoch, len(films) * tiles_per_film)
    if lesion_film_share is not None:
        visits = _balanced_films(selection, seed, epoch, len(visits), lesion_film_share)
    k = np.arange(len(visits))
    seeds = draw_seed(seed, epoch, k)
    aims = _unit(mix64(_AIM, 0, seeds)) < lesion_tile_share
    lesion = np.where(aims, _lesion_of(selection, visits, mix64(_LESION, 0, seeds)), -1)
    return Draws(selection, visits, lesion, np.full(len(visits), -1, dtype=np.int8), seeds)


def patch_draws(
    selection: Selection,
    seed: int,
    epoch: int,
    *,
    size: int = 0,
    background_share: float = 0.34,
    hard: HardNegatives | None = None,
    hard_share: float = 0.0,
) -> Draws:
    """Return the draws of one epoch of ``pretrain-classifier``: benign and malignant equally often.

    Parameters
    ----------
    size
        Draws of the epoch; 0 is two for each lesion.
    background_share
        Share of background patches; the seed chooses their place inside the breast.
    hard, hard_share
        Places that a network took for lesions, and their share of the background patches.
    """
    size = size or 2 * len(selection.lesions)
    counts = _shares(size, background_share)
    marks = selection.lesions
    parts_film, parts_lesion, parts_label = [], [], []
    keys = sample_keys(_lesion_names(selection))
    for name in (BENIGN, MALIGNANT):
        of_class = np.flatnonzero(marks.label == name)
        rows = _repeat(of_class, keys[of_class], seed, epoch, counts[name])
        parts_film.append(marks.film[rows])
        parts_lesion.append(rows)
        parts_label.append(np.full(len(rows), name, dtype=np.int8))
    mined = hard if hard is not None and len(hard.film) else HardNegatives.none()
    wanted = round(counts[BACKGROUND] * hard_share) if len(mined.film) else 0
    again = _repeat(np.arange(len(mined.film)), mined.keys, seed ^ _HARD, epoch, wanted)
    films = np.flatnonzero(selection.background)
    rest = counts[BACKGROUND] - wanted
    plain = _repeat(films, selection.keys[films], seed ^ _BACKGROUND, epoch, rest)
    negatives = len(plain) + len(again)
    film = np.concatenate([*parts_film, plain, mined.film[again]])
    lesion = np.concatenate([*parts_lesion, np.full(negatives, -1, dtype=np.int64)])
    label = np.concatenate([*parts_label, np.full(negatives, BACKGROUND, dtype=np.int8)])
    point = np.full((len(film), 2), np.nan)
    point[len(film) - len(again) :] = mined.point[again]
    order = epoch_order(np.arange(len(film), dtype=np.uint64), seed ^ _PLACE, epoch)
    seeds = draw_seed(seed, epoch, np.arange(len(film)))
    return Draws(selection, film[order], lesion[order], label[order], seeds, point[order])


def film_label_draws(
    selection: Selection, seed: int, epoch: int, *, size: int = 0, malignant_share: float = 0.5
) -> Draws:
    """Return the draws of one epoch of ``classify``: whole films, 1 malignant and 0 the others.

    Parameters
    ----------
    size
        Draws of the epoch; 0 is the number of films.
    malignant_share
        Share of malignant films among the draws, filled with repetition.
    """
    size = size or len(selection)
    malignant = selection.pathology == Pathology.MALIGNANT
    parts = []
    wanted = round(size * malignant_share)
    for rows, count in (
        (np.flatnonzero(malignant), wanted),
        (np.flatnonzero(~malignant), size - wanted),
    ):
        parts.append(_repeat(rows, selection.keys[rows], seed, epoch, count))
    film = np.concatenate(parts)
    film = film[epoch_order(np.arange(len(film), dtype=np.uint64), seed ^ _PLACE, epoch)]
    return Draws(
        selection,
        film,
        lesion=np.full(len(film), -1, dtype=np.int64),
        label=malignant[film].astype(np.int8),
        seed=draw_seed(seed, epoch, np.arange(len(film))),
    )


def fixed_patches(selection: Selection, *, background_per_film: int = 2) -> Draws:
    """Return what patches are measured on: every lesion once, then background, seeds fixed.

    The seeds of background places depend on the film alone, so that adding a film to the
    selection moves no other film's patches.
    """
    marks = selection.lesions
    films = np.repeat(np.flatnonzero(selection.background), background_per_film)
    nth = np.tile(np.arange(background_per_film), int(selection.background.sum()))
    names = sample_keys(_lesion_names(selection))
    places = mix64(_PLACE, 0, selection.keys[films]) + nth.astype(np.uint64)
    return Draws(
        selection,
        film=np.concatenate([marks.film, films]).astype(np.int64),
        lesion=np.concatenate([np.arange(len(marks)), np.full(len(films), -1)]).astype(np.int64),
        label=np.concatenate([marks.label, np.full(len(films), BACKGROUND)]).astype(np.int8),
        seed=np.concatenate([names, places]),
    )


def _lesion_names(selection: Selection) -> list[str]:
    marks = selection.lesions
    pairs = zip(marks.film, marks.lesion_id, strict=True)
    return [f"{selection.ids[film]}/{lesion}" for film, lesion in pairs]


def _unit(words: npt.NDArray[np.uint64]) -> npt.NDArray[np.float64]:
    return (words >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _shares(size: int, background_share: float) -> dict[int, int]:
    background = round(size * background_share)
    malignant = (size - background) // 2
    return {BACKGROUND: background, MALIGNANT: malignant, BENIGN: size - background - malignant}


def _repeat(
    rows: npt.NDArray[np.int64], keys: npt.NDArray[np.uint64], seed: int, epoch: int, count: int
) -> npt.NDArray[np.int64]:
    """Take `count` rows, each before any a second time; the next epoch goes on from there."""
    if not len(rows) or not count:
        return np.zeros(0, dtype=np.int64)
    first = epoch * count
    passes = range(first // len(rows), (first + count - 1) // len(rows) + 1)
    # The pass number, not the epoch, seeds each pass: a class larger than its share is then gone
    # through completely over several epochs instead of being sampled anew in each.
    drawn = [rows[np.argsort(mix64(seed, p, keys), kind="stable")] for p in passes]
    skip = first - passes.start * len(rows)
    return np.concatenate(drawn)[skip : skip + count].astype(np.int64)


def _balanced_films(
    selection: Selection, seed: int, epoch: int, count: int, share: float
) -> npt.NDArray[np.int64]:
    with_lesion = selection.has_lesion
    marked, clean = np.flatnonzero(with_lesion), np.flatnonzero(~with_lesion)
    wanted = count if not len(clean) else 0 if not len(marked) else round(count * share)
    films = np.concatenate(
        [
            _repeat(marked, selection.keys[marked], seed, epoch, wanted),
            _repeat(clean, selection.keys[clean], seed, epoch, count - wanted),
        ]
    )
    order = epoch_order(np.arange(count, dtype=np.uint64), seed ^ _PLACE, epoch)
    return films[order]


def _lesion_of(
    selection: Selection, films: npt.NDArray[np.int64], words: npt.NDArray[np.uint64]
) -> npt.NDArray[np.int64]:
    """Choose one lesion of each film by a random word; -1 where it has none."""
    marks = selection.lesions
    first = np.searchsorted(marks.film, films, side="left")
    number = np.searchsorted(marks.film, films, side="right") - first
    chosen = first + (words % np.maximum(number, 1).astype(np.uint64)).astype(np.int64)
    return np.where(number > 0, chosen, -1)
