"""A whole film through a network of fixed canvas: tiles that overlap, blended, mapped back."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

__all__ = ["cut_tiles", "grid_to_standard", "join_tiles", "predict_film", "tile_origins"]

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]


def tile_origins(length: int, side: int, overlap: float = 0.25) -> list[int]:
    """Return first pixels of as few windows as cover `length` with at least this overlap.

    They are spread evenly; the last ends at the film's end, unless the film is shorter than one.

    >>> tile_origins(256, 128, 0.25)
    [0, 64, 128]
    >>> tile_origins(100, 128)
    [0]
    """
    if length <= side:
        return [0]
    step = max(1, int(side * (1 - overlap)))
    count = -(-(length - side) // step) + 1
    return [round(i * (length - side) / (count - 1)) for i in range(count)]


def cut_tiles(film: Floats, shape: tuple[int, int], overlap: float = 0.25) -> tuple[Floats, Ints]:
    """Cut a film on the grid (H x W) into tiles (N, 1, rows, columns), padded with zeros.

    Returns
    -------
    tuple
        The tiles, and their origins (N, 2) as row and column.
    """
    rows = tile_origins(film.shape[0], shape[0], overlap)
    columns = tile_origins(film.shape[1], shape[1], overlap)
    origins = np.array([(y, x) for y in rows for x in columns], dtype=np.int64)
    tiles = np.zeros((len(origins), 1, *shape), dtype=np.float32)
    for tile, (y, x) in zip(tiles, origins, strict=True):
        part = film[y : y + shape[0], x : x + shape[1]]
        tile[0, : part.shape[0], : part.shape[1]] = part
    return tiles, origins


def _hann(side: int) -> npt.NDArray[np.float64]:
    # The floor keeps a weight at the film's outermost pixels, which only one tile sees.
    return np.asarray(np.sin(np.pi * (np.arange(side) + 0.5) / side) ** 2 + 1e-3)


def join_tiles(values: Floats, origins: Ints, shape: tuple[int, int]) -> Floats:
    """Blend values of tiles (N, rows, columns) to a film of the given shape, Hann-weighted."""
    rows, columns = values.shape[-2:]
    weight = np.outer(_hann(rows), _hann(columns))
    total = np.zeros((2, *shape))
    for value, (y, x) in zip(values, origins, strict=True):
        h, w = min(rows, shape[0] - y), min(columns, shape[1] - x)
        total[0, y : y + h, x : x + w] += (value * weight)[:h, :w]
        total[1, y : y + h, x : x + w] += weight[:h, :w]
    return np.asarray(total[0] / total[1], dtype=np.float32)


def predict_film(
    film: Floats,
    shape: tuple[int, int],
    predict: Callable[[Floats], Floats],
    *,
    batch_size: int = 4,
    overlap: float = 0.25,
) -> Floats:
    """Run a network over a film on the grid (H x W) and return its blended answer (H x W).

    Parameters
    ----------
    predict
        From tiles (batch_size, 1, rows, columns) to values (batch_size, rows, columns). It always
        gets full batches, the last padded with zeros: one shape, one compilation.
    """
    tiles, origins = cut_tiles(film, shape, overlap)
    answers = []
    for first in range(0, len(tiles), batch_size):
        part = tiles[first : first + batch_size]
        full = np.zeros((batch_size, 1, *shape), dtype=np.float32)
        full[: len(part)] = part
        answers.append(np.asarray(predict(full), dtype=np.float32)[: len(part)])
    return join_tiles(np.concatenate(answers), origins, (film.shape[0], film.shape[1]))


def grid_to_standard(points: npt.ArrayLike, scale: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Map points on the grid to standard pixels; corner coordinates on both sides, floats.

    Parameters
    ----------
    points
        (..., 2) as x, y; a box is two points, (..., 2, 2).
    scale
        (2,): grid pixels per standard pixel in x and y, as `FilmTransform` returns it.
    """
    return np.asarray(points, dtype=np.float64) / np.asarray(scale, dtype=np.float64)
