"""What the release drew, in native pixels: masks told from crops, shapes clipped.

CBIS-DDSM names a mask and a crop for each lesion and often swaps them, so the two are told apart by
content: a mask is two-valued and of the film's size, a crop is a smaller patch of many grey levels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from etl.pixels.decode import stored_values
from etl.pixels.geometry import bounds, clip, outline
from etl.pixels.trace import trace
from schemas.columns import rounded
from schemas.errors import ContentError
from schemas.film import FileRef, Film, FilmLesion, Ring
from schemas.vocabulary import GeometryKind, LesionFlag, QualityFlag

__all__ = ["Settled", "settle_lesion"]

_ASPECT = 0.01
"""Masks whose aspect ratio agrees within this are the film's, at another size."""
_FEW_PIXELS = 64
"""Masks that differ by no more than this along each side were padded or cut, top-left aligned."""
_TWO_VALUED = 0.98
"""Share of pixels near black or white in a mask; the rest are the grey edges of JPEG copies."""

Size = tuple[int, int]
Read = Callable[[FileRef], bytes]


@dataclass(frozen=True, slots=True)
class Settled:
    """A lesion in native pixels.

    Parameters
    ----------
    lesion
        What the release says of it.
    rings
        Outline inside the image, even-odd; empty where nothing is drawn or nothing could be used.
    flags
        The lesion's own and those found here.
    film_flags
        What the film has to say for it.
    """

    lesion: FilmLesion
    rings: tuple[Ring, ...] = ()
    flags: frozenset[LesionFlag] = frozenset()
    film_flags: frozenset[QualityFlag] = frozenset()

    @property
    def kind(self) -> GeometryKind | None:
        """How the release marks it."""
        return self.lesion.geometry.kind if self.lesion.geometry else None

    @property
    def lost(self) -> bool:
        """The release draws it, and it cannot be trusted or used."""
        return self.kind is not None and (not self.rings or LesionFlag.SUSPECT in self.flags)

    @property
    def box(self) -> tuple[float, float, float, float] | None:
        """Native box x0, y0, x1, y1, half-open."""
        return bounds(self.kind, self.rings) if self.kind and self.rings else None

    def suspect(self) -> Settled:
        """Return the lesion marked as lying where it cannot be."""
        return replace(
            self,
            flags=self.flags | {LesionFlag.SUSPECT},
            film_flags=self.film_flags | {QualityFlag.GEOMETRY_SUSPECT},
        )


def settle_lesion(film: Film, lesion: FilmLesion, read: Read, size: Size) -> Settled:
    """Return one lesion's outline in native pixels, cut at the border of an image (h, w)."""
    settled = Settled(lesion, flags=frozenset(lesion.flags))
    if lesion.geometry is None:
        return settled
    if lesion.geometry.kind is GeometryKind.MASK:
        rings, film_flags = _mask_rings(film.rois(lesion.lesion_id), read, size)
        return replace(settled, rings=_rounded(rings), film_flags=frozenset(film_flags))
    rings = outline(lesion.geometry)
    x0, y0, x1, y1 = bounds(lesion.geometry.kind, rings)
    if x0 >= 0 and y0 >= 0 and x1 <= size[1] and y1 <= size[0]:
        return replace(settled, rings=_rounded(rings))
    settled = replace(
        settled,
        rings=_rounded(clip(lesion.geometry.kind, rings, size)),
        flags=settled.flags | {LesionFlag.CLIPPED},
        film_flags=frozenset({QualityFlag.GEOMETRY_CLIPPED}),
    )
    return settled if settled.rings else settled.suspect()


def _rounded(rings: Sequence[Ring]) -> tuple[Ring, ...]:
    # The digits that the lesions table keeps, so that the mask can be drawn again from it.
    return tuple(tuple((point[0], point[1]) for point in rounded(ring)) for ring in rings)


def _mask_rings(
    refs: Sequence[FileRef], read: Read, size: Size
) -> tuple[tuple[Ring, ...], set[QualityFlag]]:
    """Return a mask lesion's outline and what happened to its files."""
    found = [(ref, values) for ref in refs if (values := _values(ref, read)) is not None]
    masks = [(ref, values) for ref, values in found if _two_valued(values)]
    if not masks:
        broken = len(found) < len(refs)
        return (), {QualityFlag.GEOMETRY_DROPPED if broken else QualityFlag.MASK_MISSING}
    ref, values = min(masks, key=lambda candidate: _unlike(candidate[1].shape, size))
    flags = {QualityFlag.ROLES_SWAPPED} if ref is not refs[0] and len(found) > 1 else set()
    mask = np.asarray(values > values.max() / 2)
    if not mask.any():
        return (), flags | {QualityFlag.MASK_EMPTY}
    rings, change = _fitted(mask, size)
    return rings, flags | ({change} if change else set())


def _values(ref: FileRef, read: Read) -> npt.NDArray[Any] | None:
    data = read(ref)
    try:
        return stored_values(data, ref.path)
    except ContentError:
        return None


def _two_valued(values: npt.NDArray[Any]) -> bool:
    step = max(1, max(values.shape) // 1024)
    part = values[::step, ::step]
    top = float(part.max())
    ends = np.count_nonzero(part <= top / 8) + np.count_nonzero(part > top * 7 / 8)
    return top == 0 or bool(ends >= _TWO_VALUED * part.size)


def _unlike(shape: tuple[int, ...], size: Size) -> float:
    return abs(math.log(shape[0] / size[0])) + abs(math.log(shape[1] / size[1]))


def _fitted(mask: npt.NDArray[np.bool_], size: Size) -> tuple[tuple[Ring, ...], QualityFlag | None]:
    """Return a mask's outline in the film's pixels: as it is, resized, padded or cut, or dropped.

    Resizing moves the outline, which is nearest neighbour without its rounding.
    """
    height, width = mask.shape
    if (height, width) == size:
        return _traced(mask), None
    if abs((height / width) / (size[0] / size[1]) - 1) <= _ASPECT:
        down, right = size[0] / height, size[1] / width
        rings = _traced(mask)
        moved = tuple(tuple((x * right, y * down) for x, y in ring) for ring in rings)
        return moved, QualityFlag.MASK_RESIZED
    if max(abs(height - size[0]), abs(width - size[1])) <= _FEW_PIXELS:
        return _traced(mask[: size[0], : size[1]]), QualityFlag.MASK_PADDED
    return (), QualityFlag.GEOMETRY_DROPPED


def _traced(mask: npt.NDArray[np.bool_]) -> tuple[Ring, ...]:
    x, y, width, height = cv2.boundingRect(np.ascontiguousarray(mask).view(np.uint8))
    return trace(mask[y : y + height, x : x + width], x, y)
