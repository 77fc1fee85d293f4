"""Random fields of breast phantoms: power-law texture, fibrous strands, and their generators.

Mammographic parenchyma has a power spectrum close to 1/f^3 (Burgess, Jacobson and Judy, Med Phys
28:419, 2001). Every field is a pure function of a generator, and every generator of a path of
numbers and words, so that one film's pixels never depend on another film.
"""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt
import scipy.fft

__all__ = ["FloatImage", "generator", "power_law", "smoothstep", "strands"]

FloatImage = npt.NDArray[np.float32]


def generator(seed: int, *path: int | str) -> np.random.Generator:
    """Return the random generator of one node of the phantom's tree.

    Parameters
    ----------
    seed
        The user's seed.
    *path
        Where in the release: source, patient, film, purpose. Words and numbers are hashed with
        SHA-256, so neighbours in the tree share nothing.
    """
    text = "/".join(str(part) for part in (seed, *path))
    entropy = int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "big")
    return np.random.Generator(np.random.PCG64(entropy))


def smoothstep(value: FloatImage, low: float, high: float) -> FloatImage:
    """Rise from 0 at `low` to 1 at `high` with zero slope at both ends."""
    unit = np.clip((value - np.float32(low)) / np.float32(high - low), 0, 1)
    return np.asarray(unit * unit * (3 - 2 * unit), dtype=np.float32)


def power_law(
    shape: tuple[int, int],
    rng: np.random.Generator,
    px_per_mm: float,
    *,
    exponent: float = 3.0,
    longest_mm: float = 100.0,
    stretch: float = 1.0,
) -> FloatImage:
    """Draw a Gaussian field whose power spectrum falls as f to the minus `exponent`.

    Parameters
    ----------
    shape
        Rows, columns.
    px_per_mm
        Pixels per millimetre.
    longest_mm
        Wavelength beyond which the spectrum is flat, so that a film has no single gradient.
    stretch
        Above 1: structures are this much longer along x than along y.

    Returns
    -------
    float32 array of `shape`, mean 0 and standard deviation 1.
    """
    rows, columns = (scipy.fft.next_fast_len(n + n // 8, real=True) for n in shape)
    fy = np.fft.fftfreq(rows).astype(np.float32)[:, None] * np.float32(px_per_mm)
    fx = np.fft.rfftfreq(columns).astype(np.float32)[None] * np.float32(px_per_mm * stretch)
    amplitude = (fx * fx + fy * fy + np.float32(longest_mm**-2)) ** np.float32(-exponent / 4)
    noise = rng.standard_normal((2, *amplitude.shape), dtype=np.float32)
    spectrum = amplitude * (noise[0] + 1j * noise[1])
    field = scipy.fft.irfft2(spectrum, s=(rows, columns), workers=1)[: shape[0], : shape[1]]
    field = np.asarray(field, dtype=np.float32)
    return np.asarray((field - field.mean()) / field.std(), dtype=np.float32)


def strands(
    shape: tuple[int, int], rng: np.random.Generator, px_per_mm: float, *, width: float = 0.10
) -> FloatImage:
    """Draw thin winding bright lines, as Cooper's ligaments and vessels look.

    The lines are the zero crossings of a smooth field that is stretched from chest to nipple.

    Returns
    -------
    float32 array of `shape` in [0, 1].
    """
    field = power_law(shape, rng, px_per_mm, exponent=5.0, longest_mm=26.0, stretch=2.2)
    gate = power_law(shape, rng, px_per_mm, exponent=4.0, longest_mm=30.0)
    lines = np.exp(-((field / np.float32(width)) ** 2))
    return np.asarray(lines * smoothstep(gate, -0.4, 1.2), dtype=np.float32)
