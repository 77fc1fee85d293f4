"""Canvases for the stages that need no label: two views of a film, and one with blocks hidden.

Both look at a window that the draw's seed chooses and that holds breast (`place_window`), on the
same grid as ``segment``, so that an encoder learns the scale at which it is used later. Masks are
never read: what is breast is what is not 0 in the standard image.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mammo_train.data.augment import Augmentation, Change, change_for
from mammo_train.data.draws import Draw, Draws
from mammo_train.data.order import draw_seed, epoch_order, mix64, sample_keys, uniforms
from mammo_train.data.selection import Selection
from mammo_train.data.transforms import cut_window, image_to_grid, standardise

__all__ = [
    "BlocksTransform",
    "ViewsTransform",
    "fixed_views",
    "hide_blocks",
    "place_window",
    "view_draws",
]

Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]
Item = dict[str, npt.NDArray[Any]]

_WINDOW, _BLOCKS = 31, 32  # streams of a draw's seed
_FIXED = 0xF1  # stream of the seeds of validation
_TRIES = 8
_MIN_BREAST = 0.3  # share of the window


def place_window(breast: Bools, shape: tuple[int, int], seed: int) -> tuple[int, int]:
    """Choose the first row and column of a window of a film on the grid.

    Of a few places the first whose window is breast by three tenths, else the fullest of them.

    Parameters
    ----------
    breast
        bool (H, W).
    shape
        Rows and columns of the window; one larger than the film begins at 0.
    """
    best, origin = -1.0, (0, 0)
    free = [max(0, side - want) for side, want in zip(breast.shape, shape, strict=True)]
    for u, v in uniforms(seed, 2 * _TRIES, _WINDOW).reshape(-1, 2):
        y, x = int(u * (free[0] + 1)), int(v * (free[1] + 1))
        share = float(breast[y : y + shape[0], x : x + shape[1]].mean())
        if share >= _MIN_BREAST:
            return y, x
        if share > best:
            best, origin = share, (y, x)
    return origin


def hide_blocks(breast: Bools, block: int, share: float, seed: int) -> Bools:
    """Choose square blocks that hold breast, and return the pixels they cover.

    Parameters
    ----------
    breast
        bool (H, W); both sides multiples of `block`.
    share
        Of the blocks with breast, rounded: all masks of a share hide equally much of a film.
    """
    rows, columns = breast.shape[0] // block, breast.shape[1] // block
    held = breast.reshape(rows, block, columns, block).any(axis=(1, 3)).ravel()
    order = np.argsort(np.where(held, uniforms(seed, held.size, _BLOCKS), 2.0), kind="stable")
    hidden = np.zeros(held.size, dtype=bool)
    hidden[order[: round(share * int(held.sum()))]] = True
    grid = hidden.reshape(rows, columns)
    return np.repeat(np.repeat(grid, block, axis=0), block, axis=1)


@dataclass(frozen=True)
class ViewsTransform:
    """Two views of a film: windows about the same place, each changed in its own way.

    Parameters
    ----------
    height, width
        Rows and columns of a view.
    mm_per_pixel
        Of the grid.
    augmentation
        None changes nothing; then the two views are windows at two places.
    """

    height: int
    width: int
    mm_per_pixel: float
    augmentation: Augmentation | None = None

    def needs_mask(self, draw: Draw) -> bool:
        """Never."""
        return False

    def padding(self) -> Item:
        """Return black views of weight 0."""
        return {
            "image": np.zeros((2, self.height, self.width), dtype=np.float32),
            "weight": np.array(0.0, dtype=np.float32),
        }

    def __call__(self, draw: Draw, image: npt.NDArray[np.uint16], mask: Any) -> Item:
        """Return image (float32, 2 x H x W: a view a channel) and weight."""
        grid = image_to_grid(image, draw.mm, self.mm_per_pixel)
        shape = (self.height, self.width)
        views = []
        for seed in mix64(draw.seed, 0, np.arange(2, dtype=np.uint64)).tolist():
            place = draw.seed if self.augmentation else seed
            origin = place_window(grid > 0, shape, place)
            change = change_for(seed, self.augmentation)
            views.append(standardise(change.grey(cut_window(grid, shape, origin, change))))
        return {"image": np.stack(views), "weight": np.array(draw.weight, dtype=np.float32)}


@dataclass(frozen=True)
class BlocksTransform:
    """A window of a film, and which of its pixels are hidden from the network.

    Parameters
    ----------
    height, width
        Rows and columns, multiples of `block`.
    mm_per_pixel
        Of the grid.
    block
        Side of a hidden block in pixels.
    share
        Of the blocks that hold breast.
    augmentation
        None changes nothing: then the seed chooses window and blocks alone.
    """

    height: int
    width: int
    mm_per_pixel: float
    block: int
    share: float
    augmentation: Augmentation | None = None

    def needs_mask(self, draw: Draw) -> bool:
        """Never."""
        return False

    def padding(self) -> Item:
        """Return a black window of weight 0 of which nothing is hidden."""
        shape = (1, self.height, self.width)
        return {
            "image": np.zeros(shape, dtype=np.float32),
            "hidden": np.zeros(shape, dtype=np.uint8),
            "scored": np.zeros(shape, dtype=np.uint8),
            "weight": np.array(0.0, dtype=np.float32),
        }

    def __call__(self, draw: Draw, image: npt.NDArray[np.uint16], mask: Any) -> Item:
        """Return image (float32, 1 x H x W), hidden and scored (uint8: 1 yes), weight.

        `scored` are the hidden pixels that are breast; a marker drawn beside it is not.
        """
        grid = image_to_grid(image, draw.mm, self.mm_per_pixel)
        shape = (self.height, self.width)
        change: Change = change_for(draw.seed, self.augmentation)
        canvas = cut_window(grid, shape, place_window(grid > 0, shape, draw.seed), change)
        breast = canvas > 0
        hidden = hide_blocks(breast, self.block, self.share, draw.seed)
        return {
            "image": standardise(change.grey(canvas))[None],
            "hidden": hidden[None].astype(np.uint8),
            "scored": (hidden & breast)[None].astype(np.uint8),
            "weight": np.array(draw.weight, dtype=np.float32),
        }


def view_draws(selection: Selection, seed: int, epoch: int, *, breasts: bool = False) -> Draws:
    """Return every film once, in the order of (seed, epoch).

    Parameters
    ----------
    breasts
        Keep the films of one breast beside one another, so that a batch holds them together; those
        at a batch's end may still be parted.
    """
    order = epoch_order(selection.keys, seed, epoch)
    if breasts:
        visit = mix64(seed, epoch, sample_keys(selection.breast.tolist()))
        order = order[np.argsort(visit[order], kind="stable")]
    return _draws(selection, order, draw_seed(seed, epoch, np.arange(len(order))))


def fixed_views(selection: Selection, most: int) -> Draws:
    """Return the same draws for every validation: at most `most` films, each with its own seed.

    Which films, and their seeds, depend on their names alone.
    """
    order = np.sort(np.argsort(selection.keys, kind="stable")[:most])
    return _draws(selection, order, mix64(_FIXED, 0, selection.keys[order]))


def _draws(
    selection: Selection, film: npt.NDArray[np.int64], seeds: npt.NDArray[np.uint64]
) -> Draws:
    nothing = np.full(len(film), -1, dtype=np.int64)
    return Draws(selection, film.astype(np.int64), nothing, nothing.astype(np.int8), seeds)
