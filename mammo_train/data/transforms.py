"""From a decoded sample to the network's canvas: the same steps in training and at inference.

Three frames, all with x to the right, y down and the origin at a corner. *Standard* pixels are the
sample's. *Grid* pixels are the film resampled to the stage's mm_per_pixel by area averaging; the
*canvas* is a fixed window of the grid. A film smaller than the canvas lies at its upper left, for
the breast is on the left edge; the rest is zero. Grey levels become value / 65535 and are then
divided by `GREY_UNIT`: background stays exactly 0, which is what convolutions pad with.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from mammo_train.data.augment import Augmentation, Change, change_for
from mammo_train.data.draws import Draw
from mammo_train.data.order import uniforms
from schemas.sample import MASK_IGNORE, MASK_NONE

__all__ = [
    "GREY_UNIT",
    "IGNORE",
    "FilmTransform",
    "SegmentTransform",
    "cut_window",
    "grey_levels",
    "grid_shape",
    "image_to_grid",
    "mask_to_grid",
    "standardise",
    "warp",
]

IGNORE = 255
"""Value of target pixels that count neither as lesion nor as background."""

GREY_UNIT = 0.25
"""A quarter of the full range of grey levels becomes 1."""

_WINDOW = 11  # stream of a draw's seed

Floats = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]


def grey_levels(image: npt.NDArray[np.uint16]) -> Floats:
    """Return a uint16 picture as float32 in [0, 1]."""
    return image.astype(np.float32) * np.float32(1 / 65535)


def standardise(levels: Floats) -> Floats:
    """Return grey levels in [0, 1] as the networks see them; 0 stays 0."""
    return levels * np.float32(1 / GREY_UNIT)


def grid_shape(height: int, width: int, mm: float, mm_per_pixel: float) -> tuple[int, int]:
    """Return rows and columns of a film of `mm` a pixel on the grid, at least one each."""
    factor = mm / mm_per_pixel
    return max(1, round(height * factor)), max(1, round(width * factor))


def image_to_grid(image: npt.NDArray[np.uint16], mm: float, mm_per_pixel: float) -> Floats:
    """Resample a film (uint16, H x W, `mm` a pixel) to the grid: float32 in [0, 1].

    Area averaging where pixels get larger, linear where they get smaller.
    """
    height, width = image.shape
    rows, columns = grid_shape(height, width, mm, mm_per_pixel)
    smaller = rows <= height and columns <= width
    how = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    return grey_levels(np.asarray(cv2.resize(image, (columns, rows), interpolation=how)))


def mask_to_grid(mask: Bytes | None, shape: tuple[int, ...]) -> Bytes:
    """Resample a sample's mask to a target (uint8) of the given rows and columns.

    1 where at least half of a pixel is lesion, whatever its pathology; of a lesion too small for
    that, the pixel with most of it. 255 where an ignored area touches and no lesion is. Else 0.
    """
    if mask is None or not mask.any():
        return np.zeros(shape, dtype=np.uint8)
    share = _share((mask != MASK_NONE) & (mask != MASK_IGNORE), shape)
    target = np.where(share >= 0.5, 1, 0).astype(np.uint8)
    _keep_small(target, share)
    ignored = _share(mask == MASK_IGNORE, shape) > 0
    target[ignored & (target == 0)] = IGNORE
    return target


def _share(area: npt.NDArray[np.bool_], shape: tuple[int, ...]) -> Floats:
    rows, columns = shape
    smaller = rows <= area.shape[0] and columns <= area.shape[1]
    how = cv2.INTER_AREA if smaller else cv2.INTER_NEAREST
    return np.asarray(cv2.resize(area.astype(np.float32), (columns, rows), interpolation=how))


def _keep_small(target: Bytes, share: Floats) -> None:
    count, names = cv2.connectedComponents((share > 0).astype(np.uint8), connectivity=8)
    if count == 1:
        return
    most = np.zeros(count, dtype=np.float32)
    np.maximum.at(most, np.asarray(names, dtype=np.int64).ravel(), share.ravel())
    lost = (most < 0.5) & (most > 0)
    target[lost[names] & (share == most[names])] = 1


def warp(
    picture: npt.NDArray[Any],
    shape: tuple[int, int],
    matrix: npt.NDArray[np.float64],
    source: tuple[float, float],
    destination: tuple[float, float],
    *,
    nearest: bool = False,
) -> npt.NDArray[Any]:
    """Map a picture so that point `source` lands on `destination`; outside is 0.

    Parameters
    ----------
    picture
        (H, W).
    shape
        Rows and columns of the result.
    matrix
        (2, 2): offsets from `destination` = matrix @ offsets from `source`, (x, y) each.
    source, destination
        (x, y), corner coordinates of picture and result.
    nearest
        For masks; otherwise linear.
    """
    offset = np.asarray(destination) - matrix @ np.asarray(source)
    # OpenCV counts from pixel centres: half a pixel is added before the map and taken off after it.
    offset = offset + matrix @ np.array([0.5, 0.5]) - 0.5
    return np.asarray(
        cv2.warpAffine(
            picture,
            np.column_stack([matrix, offset]),
            (shape[1], shape[0]),
            flags=cv2.INTER_NEAREST if nearest else cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=0,
        )
    )


def cut_window(
    grid: npt.NDArray[Any],
    shape: tuple[int, int],
    origin: tuple[int, int],
    change: Change,
    *,
    nearest: bool = False,
) -> npt.NDArray[Any]:
    """Cut a window (rows, columns) of a film on the grid that begins at `origin`, changed.

    It is turned and flipped about the middle of what the window shows of the film, so that a film
    smaller than the canvas stays at its upper left.
    """
    middle_y = min(shape[0], grid.shape[0] - origin[0]) / 2
    middle_x = min(shape[1], grid.shape[1] - origin[1]) / 2
    shift_x, shift_y = change.shift[0] * shape[1], change.shift[1] * shape[0]
    canvas = warp(
        grid,
        shape,
        change.matrix,
        (origin[1] + middle_x, origin[0] + middle_y),
        (middle_x + shift_x, middle_y + shift_y),
        nearest=nearest,
    )
    return change.bend(canvas, nearest=nearest)


@dataclass(frozen=True)
class SegmentTransform:
    """One canvas of a film, chosen by the draw's seed, with its target.

    Parameters
    ----------
    height, width
        Rows and columns of the canvas.
    mm_per_pixel
        Of the grid.
    augmentation
        None changes nothing: then the seed chooses the window alone.
    """

    height: int
    width: int
    mm_per_pixel: float
    augmentation: Augmentation | None = None

    def needs_mask(self, draw: Draw) -> bool:
        """Tell whether this draw's mask must be read: always, where there is one."""
        return draw.mask_size > 0

    def padding(self) -> dict[str, npt.NDArray[Any]]:
        """Return a canvas of weight 0, all of it to be ignored."""
        shape = (1, self.height, self.width)
        return {
            "image": np.zeros(shape, dtype=np.float32),
            "target": np.full(shape, IGNORE, dtype=np.uint8),
            "weight": np.array(0.0, dtype=np.float32),
        }

    def __call__(
        self, draw: Draw, image: npt.NDArray[np.uint16], mask: Bytes | None
    ) -> dict[str, npt.NDArray[Any]]:
        """Return image (float32, 1 x H x W), target (uint8, 1 x H x W: 0, 1, 255) and weight."""
        grid = image_to_grid(image, draw.mm, self.mm_per_pixel)
        target = mask_to_grid(mask, grid.shape)
        origin = self._origin(draw, image.shape, grid.shape)
        change, shape = change_for(draw.seed, self.augmentation), (self.height, self.width)
        canvas = change.grey(cut_window(grid, shape, origin, change))
        truth = cut_window(target, shape, origin, change, nearest=True)
        return {
            "image": standardise(canvas)[None],
            "target": truth[None],
            "weight": np.array(draw.weight, dtype=np.float32),
        }

    def _origin(self, draw: Draw, film: tuple[int, ...], grid: tuple[int, ...]) -> tuple[int, int]:
        """Choose the window's first row and column; the looked-at point is well inside it."""
        u = uniforms(draw.seed, 2, _WINDOW)
        origin = []
        for axis, (side, point) in enumerate(((self.height, draw.y), (self.width, draw.x))):
            low, high = 0, max(0, grid[axis] - side)
            if point is not None:
                at = point * grid[axis] / film[axis]
                low = min(high, max(0, int(np.ceil(at - side * 7 / 8))))
                high = max(low, min(high, int(np.floor(at - side / 8))))
            origin.append(low + int(u[axis] * (high - low + 1)))
        return origin[0], origin[1]


@dataclass(frozen=True)
class FilmTransform:
    """A whole film on the grid with its target, for evaluation; use it with batches of one.

    Rows have the film's own size and an entry more: ``scale`` (float64, 2), grid pixels per
    standard pixel in x and y.
    """

    mm_per_pixel: float
    masks: bool = True

    def needs_mask(self, draw: Draw) -> bool:
        """Tell whether this draw's mask must be read."""
        return self.masks and draw.mask_size > 0

    def padding(self) -> dict[str, npt.NDArray[Any]]:
        """Return a film of one pixel and weight 0."""
        return {
            "image": np.zeros((1, 1, 1), dtype=np.float32),
            "target": np.full((1, 1, 1), IGNORE, dtype=np.uint8),
            "weight": np.array(0.0, dtype=np.float32),
            "scale": np.ones(2),
        }

    def __call__(
        self, draw: Draw, image: npt.NDArray[np.uint16], mask: Bytes | None
    ) -> dict[str, npt.NDArray[Any]]:
        """Return image (float32, 1 x h x w), target (uint8), weight and scale."""
        grid = image_to_grid(image, draw.mm, self.mm_per_pixel)
        target = mask_to_grid(mask, grid.shape)
        return {
            "image": standardise(grid)[None],
            "target": target[None],
            "weight": np.array(draw.weight, dtype=np.float32),
            "scale": np.array([grid.shape[1] / image.shape[1], grid.shape[0] / image.shape[0]]),
        }
