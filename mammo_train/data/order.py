"""In which order samples are drawn: a pure function of (seed, epoch, selection).

**The invariant.** The draws of an epoch and their seeds are computed before it starts from three
things only: the run's seed, the epoch's number and the selected sample ids. They do *not* depend on
the number of loader workers, the number of devices, the batch that training stopped at, the
order of rows in the manifest, the shards samples lie in, or the version of numpy, torch or Python:
the mix below is written out in 64-bit integers, because no library promises that its permutation
stays the same (NEP 19 says so for numpy's).

**What resume promises.** With the same corpus version, selection, batch size and `ORDER_VERSION`,
the batches from number k on are those of the undisturbed run, bit for bit, whatever the number of
workers. Adding patients leaves the order of the others among themselves as it was.

**What it does not promise.** Equal pixels after another version of OpenCV decoded, resized or
warped them, nor equal losses on another device or number of threads.

Source of the mix: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA
2014 (splitmix64, with Stafford's variant 13 constants).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

__all__ = [
    "ORDER_VERSION",
    "draw_seed",
    "epoch_order",
    "mix64",
    "normals",
    "sample_keys",
    "splitmix64",
    "uniforms",
]

ORDER_VERSION = 1
"""Raised whenever the same (seed, epoch, selection) would give other draws; kept in checkpoints."""

UInts = npt.NDArray[np.uint64]

_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_DRAW_SALT = 0xD6E8FEB86659FD93  # keeps the seeds of draws apart from the keys of the order


def splitmix64(x: UInts) -> UInts:
    """Mix each 64-bit word into one that looks random; a bijection.

    >>> int(splitmix64(np.array([0], dtype=np.uint64))[0]) == 0xE220A8397B1DCDAF
    True
    """
    with np.errstate(over="ignore"):
        z = np.asarray(x, dtype=np.uint64) + _GAMMA
        z = (z ^ (z >> np.uint64(30))) * _MIX_1
        z = (z ^ (z >> np.uint64(27))) * _MIX_2
        return z ^ (z >> np.uint64(31))


def _word(value: int) -> UInts:
    return np.array([value & 0xFFFF_FFFF_FFFF_FFFF], dtype=np.uint64)


def mix64(seed: int, epoch: int, keys: UInts) -> UInts:
    """Mix a run's seed and an epoch into each key (uint64, any shape)."""
    stream = splitmix64(splitmix64(_word(seed)) ^ _word(epoch))
    return splitmix64(np.asarray(keys, dtype=np.uint64) ^ stream)


def sample_keys(names: Iterable[str]) -> UInts:
    """Return the first 8 bytes (big-endian) of each name's SHA-256 as uint64."""
    digests = b"".join(hashlib.sha256(name.encode()).digest()[:8] for name in names)
    return np.frombuffer(digests, dtype=">u8").astype(np.uint64)


def epoch_order(sample_ids: Iterable[str] | UInts, seed: int, epoch: int) -> npt.NDArray[np.int64]:
    """Return the permutation (int64) in which an epoch visits the given samples.

    Parameters
    ----------
    sample_ids
        Sample ids, or their `sample_keys` where they are at hand.
    seed, epoch
        Of the run; epochs count from 0.
    """
    keys = sample_ids if isinstance(sample_ids, np.ndarray) else sample_keys(sample_ids)
    if keys.dtype != np.uint64:
        keys = sample_keys(keys.tolist())
    return np.argsort(mix64(seed, epoch, keys), kind="stable").astype(np.int64)


def draw_seed(seed: int, epoch: int, k: int | npt.NDArray[np.int64]) -> UInts:
    """Return the seed (uint64) of draw k of an epoch: crop, augmentation, everything random."""
    index = np.atleast_1d(np.asarray(k)).astype(np.uint64)
    return mix64(seed ^ _DRAW_SALT, epoch, splitmix64(index))


def uniforms(seed: int, count: int, stream: int = 0) -> npt.NDArray[np.float64]:
    """Return `count` numbers in [0, 1), 53 bits each, from a draw's seed.

    Streams are independent series of one seed, so that a new use never shifts the numbers of an
    older one.
    """
    words = mix64(seed, stream, np.arange(count, dtype=np.uint64))
    return (words >> np.uint64(11)).astype(np.float64) * 2.0**-53


def normals(seed: int, shape: tuple[int, ...], stream: int = 0) -> npt.NDArray[np.float32]:
    """Return nearly normal float32 noise, mean 0, deviation 1: the sum of four 16-bit numbers."""
    size = int(np.prod(shape))
    words = mix64(seed, stream, np.arange(size, dtype=np.uint64))
    # Bytes are fixed to little-endian so that the four parts have one order on every machine; the
    # sum does not depend on it, the view's dtype does.
    parts = words.astype("<u8").view("<u2").reshape(size, 4)
    total = parts.astype(np.float32).sum(axis=1)
    deviation = np.float32(np.sqrt(4.0 * (2.0**32 - 1.0) / 12.0))
    noise = (total - np.float32(2.0 * 65535.0)) / deviation
    return np.asarray(noise, dtype=np.float32).reshape(shape)
