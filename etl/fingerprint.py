"""What an image is recognised by: digests of bytes and pixels, a thumbnail and its hash.

Everything here is integer arithmetic, so that any machine gives the same bytes. The perceptual
hash is imagehash's `phash` (discrete cosine transform, low frequencies against their median) over
the rank-transformed thumbnail of the cropped, left-facing breast: ranks do not change under another
window or gamma, where plain hashes of copies and of strangers overlap.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["hamming", "phash", "pixel_sha256", "sha256", "thumbnail"]

_HASH = 16
_SCALE = 1 << 14


def sha256(data: bytes | memoryview) -> str:
    """Return the SHA-256 of bytes as 64 hex digits."""
    return hashlib.sha256(data).hexdigest()


def pixel_sha256(array: NDArray[Any]) -> str:
    """Return the SHA-256 of an array's dtype, shape and values (C order, little endian).

    The values alone decide: views, strides and byte order of the array do not matter.
    """
    plain = np.ascontiguousarray(array)
    plain = plain.astype(plain.dtype.newbyteorder("<"), copy=False)
    digest = hashlib.sha256(f"{plain.dtype.str}{plain.shape}".encode())
    digest.update(plain.data)
    return digest.hexdigest()


def thumbnail(standard: NDArray[Any], size: int = 64) -> NDArray[np.uint8]:
    """Return a `size` x `size` picture of ranks: the darkest cell 0, the brightest 255.

    Parameters
    ----------
    standard
        (height, width), the standard image; its shape is not kept.
    size
        Cells along each side; at 64 the bytes fit a receipt (4 KiB).

    Returns
    -------
    numpy.ndarray
        uint8. Each cell is the mean of its pixels, replaced by the mean rank of cells that equal
        it, scaled to 0..255. A blank image gives zeros.
    """
    cells = _cell_means(standard, size)
    values, place, count = np.unique(cells, return_inverse=True, return_counts=True)
    if len(values) == 1:
        return np.zeros((size, size), np.uint8)
    # twice the mean rank of equal cells, from 0 for the darkest group
    ends = np.cumsum(count)
    twice = 2 * ends - count - 1
    twice -= twice[0]
    ranks: NDArray[np.int64] = (255 * twice + twice[-1] // 2) // twice[-1]
    return np.asarray(ranks[place].reshape(size, size), np.uint8)


def phash(picture: NDArray[Any]) -> str:
    """Return the 256-bit perceptual hash of a square picture as 64 hex digits.

    Parameters
    ----------
    picture
        (n, n) integers, n at least 32: a `thumbnail`.
    """
    if picture.ndim != 2 or picture.shape[0] != picture.shape[1] or picture.shape[0] < 2 * _HASH:
        raise ValueError(f"phash needs a square picture of at least 32 x 32, got {picture.shape}")
    basis = _cosines(picture.shape[0])
    low = (basis @ picture.astype(np.int64) @ basis.T).ravel()
    middle = np.sort(low)[low.size // 2 - 1 : low.size // 2 + 1].sum()
    return np.packbits(2 * low > middle).tobytes().hex()


def hamming(first: str, second: str) -> int:
    """Return the number of bits in which two hashes differ."""
    return (int(first, 16) ^ int(second, 16)).bit_count()


def _cosines(size: int) -> NDArray[np.int64]:
    """Return the first rows of the DCT-II matrix, scaled to integers."""
    row, column = np.arange(_HASH)[:, None], np.arange(size)[None, :]
    angles = np.pi * row * (2 * column + 1) / (2 * size)
    return np.asarray(np.rint(_SCALE * np.cos(angles)), np.int64)


def _cell_means(image: NDArray[Any], size: int) -> NDArray[np.int64]:
    """Return the mean of each cell of a size x size grid, in 1/16 grey level.

    A side shorter than `size` repeats its pixels.
    """
    height, width = image.shape
    rows, columns = (np.arange(size) * extent // size for extent in (height, width))
    tall = np.maximum(np.diff(rows, append=height), 1)
    wide = np.maximum(np.diff(columns, append=width), 1)
    bands = np.empty((size, width), np.uint32)  # holds 65,535 rows of uint16
    for band, row, count in zip(bands, rows, tall, strict=True):
        np.add.reduce(image[row : row + count], axis=0, dtype=np.uint32, out=band)
    # reduceat takes the element itself where a cell is empty
    sums = np.add.reduceat(bands, columns, axis=1, dtype=np.int64)
    return np.asarray((16 * sums) // (tall[:, None] * wide[None, :]), np.int64)
