"""Seeded augmentation: every number comes from the draw's seed, and the mask follows the image.

Nothing is stored and nothing is shared between draws, so a draw looks the same in any worker. A
film keeps its chest wall on the left (the corpus promises it, inference sees it), so films are
flipped top to bottom only, and their angles stay within what positioning produces; a patch has no
up, so it is turned and flipped any way. Grey levels change by gamma, contrast and noise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mammo_train.data.order import normals, uniforms

__all__ = ["FILM_AUGMENTATION", "PATCH_AUGMENTATION", "Augmentation", "Change", "change_for"]

_GEOMETRY, _GREY, _NOISE = 1, 2, 3  # streams of a draw's seed


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
    """

    rotate_deg: float = 15.0
    scale: float = 0.1
    shift: float = 0.05
    flip_rows: bool = True
    flip_columns: bool = False
    gamma: float = 0.2
    contrast: float = 0.1
    noise: float = 0.01


FILM_AUGMENTATION = Augmentation()
PATCH_AUGMENTATION = Augmentation(rotate_deg=180.0, shift=0.1, flip_columns=True)


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
        Of the noise.
    """

    matrix: npt.NDArray[np.float64]
    shift: tuple[float, float]
    gamma: float
    contrast: float
    noise: float
    seed: int

    def grey(self, image: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Change grey levels in [0, 1]; pixels that are 0 (no tissue) stay 0."""
        inside = image > 0
        if (self.gamma, self.contrast, self.noise) == (1.0, 1.0, 0.0) or not inside.any():
            return image
        out = np.power(np.clip(image, 0.0, 1.0), np.float32(self.gamma))
        mean = np.float32(out[inside].mean(dtype=np.float64))
        out = (out - mean) * np.float32(self.contrast) + mean
        if self.noise > 0:
            out += np.float32(self.noise) * normals(self.seed, image.shape, _NOISE)
        # A tissue pixel never becomes exactly 0: zero means background to whoever reads it next.
        return np.where(inside, np.clip(out, 1e-6, 1.0), np.float32(0.0)).astype(np.float32)


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
    )
