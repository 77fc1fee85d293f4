"""Seeded augmentation: every number comes from the draw's seed, and the mask follows the image.

Nothing is stored and nothing is shared between draws, so a draw looks the same in any worker. A
film keeps its chest wall on the left (the corpus promises it, inference sees it), so films are
flipped top to bottom only, and their angles stay within what positioning produces; a patch has no
up, so it is turned and flipped any way. Grey levels change by gamma, contrast and noise, and where
asked by blur, local histogram equalisation and the marker of a film that no crop took off.

Each kind has a stream of the seed to itself: one that is switched on moves no other's numbers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from mammo_train.data.order import normals, uniforms

__all__ = [
    "FILM_AUGMENTATION",
    "PATCH_AUGMENTATION",
    "VIEW_AUGMENTATION",
    "Augmentation",
    "Change",
    "change_for",
]

_GEOMETRY, _GREY, _NOISE = 1, 2, 3  # streams of a draw's seed
_BLUR, _CLAHE, _BEND, _MARKER, _PLACES = 4, 5, 6, 7, 8

Floats = npt.NDArray[np.float32]

_BEND_CELLS = 5  # nodes of the field of displacements along a side
_CLIP_LIMIT, _CLAHE_TILES = 2.0, (8, 8)
_MARKERS = ("RCC", "LCC", "RMLO", "LMLO")
_MARKER_TRIES = 8


@dataclass(frozen=True)
class Augmentation:
    """How far a draw may change; each number is the largest change to either side.

    Parameters
    ----------
    rotate_deg
        Degrees about the centre.
    scale
        Relative change of size: 0.1 is 0.9 to 1.1.
    shift
        Share of the canvas's side.
    flip_rows, flip_columns
        Whether top and bottom, or left and right, may be exchanged (half of the draws).
    gamma, contrast
        Exponent exp(+-gamma) on [0, 1], then factor 1 +- contrast about the mean.
    noise
        Deviation of added noise where 1 is the full range of grey levels.
    blur
        Deviation of a Gaussian in pixels of the canvas.
    elastic
        Displacement of a smooth bending in pixels of the canvas.
    clahe
        Share of the draws whose contrast is equalised locally (CLAHE; Zuiderveld 1994, Graphics
        Gems IV, clip limit 2, 8 x 8 tiles).
    marker
        Share of the draws that get a film's lead marker where no tissue is.
    """

    rotate_deg: float = 15.0
    scale: float = 0.1
    shift: float = 0.05
    flip_rows: bool = True
    flip_columns: bool = False
    gamma: float = 0.2
    contrast: float = 0.1
    noise: float = 0.01
    blur: float = 0.0
    elastic: float = 0.0
    clahe: float = 0.0
    marker: float = 0.0


FILM_AUGMENTATION = Augmentation()
PATCH_AUGMENTATION = Augmentation(rotate_deg=180.0, shift=0.1, flip_columns=True)
VIEW_AUGMENTATION = Augmentation(
    scale=0.25, shift=0.12, gamma=0.4, contrast=0.3, noise=0.02, blur=1.0
)


@dataclass(frozen=True)
class Change:
    """What one draw's seed decided.

    Parameters
    ----------
    matrix
        float64 (2, 2): canvas offsets from the centre = matrix @ source offsets, (x, y) each.
    shift
        (x, y) as shares of the canvas's width and height.
    gamma, contrast, noise
        Exponent, factor, deviation.
    seed
        Of the noise, the bending and the marker.
    blur, elastic
        Deviation of the Gaussian, largest displacement; pixels.
    clahe, marker
        Whether there is one.
    """

    matrix: npt.NDArray[np.float64]
    shift: tuple[float, float]
    gamma: float
    contrast: float
    noise: float
    seed: int
    blur: float = 0.0
    elastic: float = 0.0
    clahe: bool = False
    marker: bool = False

    def grey(self, image: Floats) -> Floats:
        """Change grey levels in [0, 1]; pixels that are 0 (no tissue) stay 0, but for a marker."""
        inside = image > 0
        if self._keeps_grey() or not inside.any():
            return image
        out = np.power(np.clip(image, 0.0, 1.0), np.float32(self.gamma))
        mean = np.float32(out[inside].mean(dtype=np.float64))
        out = (out - mean) * np.float32(self.contrast) + mean
        if self.clahe:
            out = _equalised(out)
        if self.blur > 0:
            out = _blurred(out, inside, self.blur)
        if self.noise > 0:
            out += np.float32(self.noise) * normals(self.seed, image.shape, _NOISE)
        # A tissue pixel never becomes exactly 0: zero means background to whoever reads it next.
        out = np.where(inside, np.clip(out, 1e-6, 1.0), np.float32(0.0)).astype(np.float32)
        return _marked(out, inside, self.seed) if self.marker else out

    def _keeps_grey(self) -> bool:
        plain = (self.gamma, self.contrast, self.noise, self.blur) == (1.0, 1.0, 0.0, 0.0)
        return plain and not self.clahe and not self.marker

    def bend(self, picture: npt.NDArray[Any], *, nearest: bool = False) -> npt.NDArray[Any]:
        """Bend a canvas (H, W); image and mask alike, for the field is the seed's."""
        if not self.elastic:
            return picture
        height, width = picture.shape
        nodes = 2 * uniforms(self.seed, 2 * _BEND_CELLS**2, _BEND).astype(np.float32) - 1
        field = self.elastic * nodes.reshape(2, _BEND_CELLS, _BEND_CELLS)
        dx, dy = (
            cv2.resize(part, (width, height), interpolation=cv2.INTER_CUBIC) for part in field
        )
        y, x = np.mgrid[:height, :width].astype(np.float32)
        how = cv2.INTER_NEAREST if nearest else cv2.INTER_LINEAR
        return np.asarray(cv2.remap(picture, x + dx, y + dy, how, borderMode=cv2.BORDER_CONSTANT))


def _equalised(levels: Floats) -> Floats:
    words = np.clip(levels * 65535, 0, 65535).astype(np.uint16)
    made = cv2.createCLAHE(_CLIP_LIMIT, _CLAHE_TILES).apply(words)
    return made.astype(np.float32) * np.float32(1 / 65535)


def _blurred(levels: Floats, inside: npt.NDArray[np.bool_], deviation: float) -> Floats:
    # Divided by the blurred tissue, so that background does not darken the breast's rim.
    tissue = inside.astype(np.float32)
    sums = cv2.GaussianBlur(levels * tissue, (0, 0), deviation)
    weight = cv2.GaussianBlur(tissue, (0, 0), deviation)
    return np.asarray(sums / np.maximum(weight, np.float32(1e-6)), np.float32)


def _marked(levels: Floats, inside: npt.NDArray[np.bool_], seed: int) -> Floats:
    """Write a marker where a box of the background is free, if one of a few places is."""
    height, width = levels.shape
    word = _MARKERS[int(uniforms(seed, 1, _MARKER)[0] * len(_MARKERS))]
    size = max(height, width) / 600
    (text_width, text_height), _ = cv2.getTextSize(word, cv2.FONT_HERSHEY_SIMPLEX, size, 1)
    for u, v in uniforms(seed, 2 * _MARKER_TRIES, _PLACES).reshape(-1, 2):
        x, y = int(u * (width - text_width - 4)), int(v * (height - text_height - 4))
        box = slice(max(0, y), y + text_height + 4), slice(max(0, x), x + text_width + 4)
        if x >= 0 and y >= 0 and not inside[box].any():
            at = (x + 2, y + text_height + 2)
            stencil = np.zeros(levels.shape, np.uint8)
            cv2.putText(stencil, word, at, cv2.FONT_HERSHEY_SIMPLEX, size, 255)
            plate = levels.copy()
            plate[box] = 0.15
            # Letters may reach over their box by a pixel, and never over tissue.
            return np.where(inside, levels, np.maximum(plate, stencil / np.float32(268)))
    return levels


def change_for(seed: int, settings: Augmentation | None) -> Change:
    """Return the change that a seed stands for; ``None`` gives the one that changes nothing."""
    if settings is None:
        return Change(np.eye(2), (0.0, 0.0), 1.0, 1.0, 0.0, seed)
    u = uniforms(seed, 6, _GEOMETRY)
    signed = 2.0 * u - 1.0
    angle = math.radians(settings.rotate_deg) * float(signed[0])
    size = 1.0 + settings.scale * float(signed[1])
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    flip = np.diag(
        [
            -1.0 if settings.flip_columns and u[4] < 0.5 else 1.0,
            -1.0 if settings.flip_rows and u[5] < 0.5 else 1.0,
        ]
    )
    g = 2.0 * uniforms(seed, 3, _GREY) - 1.0
    return Change(
        matrix=size * (turn @ flip),
        shift=(settings.shift * float(signed[2]), settings.shift * float(signed[3])),
        gamma=math.exp(settings.gamma * float(g[0])),
        contrast=1.0 + settings.contrast * float(g[1]),
        noise=settings.noise * 0.5 * (1.0 + float(g[2])),
        seed=seed,
        blur=settings.blur * float(uniforms(seed, 1, _BLUR)[0]),
        elastic=settings.elastic,
        clahe=bool(uniforms(seed, 1, _CLAHE)[0] < settings.clahe),
        marker=bool(uniforms(seed, 2, _MARKER)[1] < settings.marker),
    )
