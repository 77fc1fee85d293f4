"""How alike two pictures of breasts are: a fast signature proposes, an alignment decides.

All breasts look alike when blurred: plain correlation of rank-transformed thumbnails is 0.94
between strangers and reaches 0.99. What tells them apart is their texture, so low frequencies are
weighed down before anything is compared. And a copy whose grey levels changed before the breast was
found is cropped a little otherwise (its outer border moves, its chest wall does not), so a
thumbnail, which is stretched to a square, is also looked at in its true shape, where the crop's
width drops out.

Thumbnails hold ranks (`etl.fingerprint.thumbnail`), which another window or gamma does not change.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

__all__ = ["SIZE", "alike", "in_shape", "signatures"]

SIZE = 64
"""Side of a thumbnail in cells."""
_CANONICAL = 48
"""Columns of the true-shape picture that the signature sees; breasts are about half as wide as
they are tall."""
_LOWEST, _HIGHEST, _SLOPE = 2, 12, 1.5
"""Half periods across the picture that the signature sees, and the power of the frequency that
each is weighed with, against the fall of natural spectra."""
_COARSE = 6.0
_ECC_STEPS, _ECC_GAIN, _ECC_BLUR = 40, 1e-4, 5
_SHEAR, _SHRINK, _GROW, _SHIFT = 0.1, 0.7, 1.4, 4.0
_FINE, _MEDIUM = 0.7, 2.0
_FEWEST = 150
"""Cells that two aligned pictures must share."""

Floats = npt.NDArray[np.float32]


def _cosines(size: int, count: int) -> Floats:
    row, column = np.arange(count)[:, None], np.arange(size)[None, :]
    basis = np.cos(np.pi * row * (2 * column + 1) / (2 * size))
    basis[0] /= np.sqrt(2)
    return np.asarray(basis, np.float32)


def signatures(
    thumbnails: Iterable[bytes], shapes: Iterable[tuple[int, int]]
) -> tuple[Floats, Floats]:
    """Return two signatures of each picture; their dot products say how alike two pictures are.

    Parameters
    ----------
    thumbnails
        64 x 64 uint8 each, as `etl.fingerprint.thumbnail` gives them.
    shapes
        (height, width) of the standard images.

    Returns
    -------
    tuple of ndarray
        float32 (n, ...) of unit length each, of the stretched thumbnail and of the picture in its
        true shape; zeros for a blank one.
    """
    pictures = list(thumbnails)
    stretched = np.stack([_grey(data) for data in pictures])
    true = np.stack(
        [
            in_shape(data, shape)[:, :_CANONICAL]
            for data, shape in zip(pictures, shapes, strict=True)
        ]
    )
    return _signature(stretched), _signature(true)


def _signature(pictures: Floats) -> Floats:
    """Return weighted low frequencies (discrete cosine transform) of (n, height, width)."""
    height, width = pictures.shape[1:]
    across = _HIGHEST * width // height
    spectrum = _cosines(height, _HIGHEST) @ pictures @ _cosines(width, across).T
    down, right = np.mgrid[:_HIGHEST, :across].astype(np.float32)
    frequency = np.hypot(down, right * height / width)
    seen = (frequency >= _LOWEST) & (frequency < _HIGHEST)
    chosen = spectrum[:, seen] * frequency[seen] ** np.float32(_SLOPE)
    length = np.linalg.norm(chosen, axis=1, keepdims=True)
    return np.asarray(chosen / np.maximum(length, 1e-6), np.float32)


def _grey(thumbnail: bytes) -> Floats:
    return np.frombuffer(thumbnail, np.uint8).reshape(SIZE, SIZE).astype(np.float32)


def in_shape(thumbnail: bytes, shape: tuple[int, int]) -> Floats:
    """Return a thumbnail in the image's true shape: 64 rows, the chest wall at column 0.

    Parameters
    ----------
    shape
        (height, width) of the standard image.

    Returns
    -------
    ndarray
        float32 (64, 64), 0 beyond the image; what is wider than tall is cut.
    """
    import cv2

    height, width = shape
    columns = min(max(4, round(SIZE * width / height)), 4 * SIZE)
    how = cv2.INTER_AREA if columns < SIZE else cv2.INTER_LINEAR
    resized = cv2.resize(_grey(thumbnail), (columns, SIZE), interpolation=how)
    out = np.zeros((SIZE, SIZE), np.float32)
    out[:, : min(columns, SIZE)] = resized[:, :SIZE]
    return out


def alike(first: Floats, second: Floats) -> float:
    """Return the correlation of two pictures' textures where they lie best on one another.

    Parameters
    ----------
    first, second
        Pictures of `in_shape`.

    Returns
    -------
    float
        -1 to 1. 0 where no alignment is found that a new crop of one film could need: little
        shear, scales from 0.7 to 1.4.

    Notes
    -----
    Alignment is Evangelidis and Psarakis's enhanced correlation coefficient (IEEE TPAMI 30:1858,
    2008), first of the pictures, then of their texture.
    """
    import cv2

    warp = _aligned(first, second)
    if warp is None:
        return 0.0
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    moved = np.asarray(cv2.warpAffine(second, warp, (SIZE, SIZE), flags=flags), np.float32)
    shared = ((first > 0) & (moved > 0)).astype(np.uint8)
    inside = cv2.erode(shared, np.ones((3, 3), np.uint8)) > 0
    if int(inside.sum()) < _FEWEST:
        return 0.0
    textures = [_band(picture, _FINE, _MEDIUM)[inside] for picture in (first, moved)]
    a, b = (texture.astype(np.float64) - texture.mean() for texture in textures)
    scale = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / scale if scale > 0 else 0.0


def _aligned(first: Floats, second: Floats) -> Floats | None:
    start = _ecc(first, second, first, np.eye(2, 3, dtype=np.float32), _ECC_BLUR)
    if start is None or not _plausible(start):
        return None
    one, other = (_levels(_band(picture, 1.0, _COARSE)) for picture in (first, second))
    better = _ecc(one, other, first, start.copy(), 1)
    if better is None or np.abs(better - start).max() >= _SHIFT:
        return start
    return better if _plausible(better) else start


def _ecc(first: Floats, second: Floats, tissue: Floats, start: Floats, blur: int) -> Floats | None:
    import cv2

    stop = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, _ECC_STEPS, _ECC_GAIN)
    mask = (tissue > 0).astype(np.uint8)
    try:
        _, warp = cv2.findTransformECC(first, second, start, cv2.MOTION_AFFINE, stop, mask, blur)
    except cv2.error:  # it says so where it does not converge
        return None
    return np.asarray(warp, np.float32)


def _plausible(warp: Floats) -> bool:
    sheared = max(abs(float(warp[0, 1])), abs(float(warp[1, 0])))
    scales = float(warp[0, 0]), float(warp[1, 1])
    return sheared <= _SHEAR and min(scales) > _SHRINK and max(scales) < _GROW


def _band(picture: Floats, fine: float, coarse: float) -> Floats:
    import cv2

    kept, taken = (cv2.GaussianBlur(picture, (0, 0), sigma) for sigma in (fine, coarse))
    return np.asarray(kept - taken, np.float32)


def _levels(picture: Floats) -> Floats:
    low = picture.min()
    return np.asarray((picture - low) / (picture.max() - low + 1e-6) * 255, np.float32)
