"""Temperature: one number that makes probabilities of a trained network mean what they say.

Guo et al. 2017, arXiv:1706.04599. It orders no two films otherwise, so no area under a curve
changes.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["cross_entropy", "fit_temperature"]

LOWEST, HIGHEST = 0.05, 20.0


def cross_entropy(logits: ArrayLike, labels: ArrayLike) -> float:
    """Mean negative log likelihood of labels (N,) 0 or 1 under sigmoid(logits); NaN of nothing."""
    values, truth = np.asarray(logits, np.float64), np.asarray(labels, np.float64)
    if not len(values):
        return float("nan")
    return float(np.mean(np.logaddexp(0, values) - truth * values))


def fit_temperature(logits: ArrayLike, labels: ArrayLike) -> float:
    """Give the temperature T with the least cross-entropy of sigmoid(logits / T).

    It lies between 0.05 and 20: films that are told apart without error would ask for 0, and a
    handful of films is no ground for certainty. With one class only it is 1.
    """
    from scipy.optimize import minimize_scalar

    values, truth = np.asarray(logits, np.float64), np.asarray(labels, bool)
    if not len(values) or truth.all() or not truth.any():
        return 1.0
    # The loss is convex in 1 / T, so the one minimum on the logarithm's scale is the best.
    found = minimize_scalar(
        lambda log_t: cross_entropy(values / math.exp(log_t), truth),
        bounds=(math.log(LOWEST), math.log(HIGHEST)),
        method="bounded",
        options={"xatol": 1e-6},
    )
    return float(math.exp(found.x))
