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
    """Mean negative log likelihood of labels (N,) in [0, 1] under sigmoid(logits); NaN of none."""
    values, truth = np.asarray(logits, np.float64), np.asarray(labels, np.float64)
    if not len(values):
        return float("nan")
    return float(np.mean(np.logaddexp(0, values) - truth * values))


def fit_temperature(logits: ArrayLike, labels: ArrayLike) -> float:
    """Give the temperature T with the least cross-entropy of sigmoid(logits / T).

    Labels are drawn in by one film of the other kind in each class: (n + 1) / (n + 2) and
    1 / (m + 2) (Platt 1999, "Probabilistic outputs for support vector machines"). A handful of
    films that are told apart without error would otherwise ask for certainty. T lies between 0.05
    and 20; with one class only it is 1.
    """
    from scipy.optimize import minimize_scalar

    values, truth = np.asarray(logits, np.float64), np.asarray(labels, bool)
    positives, negatives = int(truth.sum()), int((~truth).sum())
    if not positives or not negatives:
        return 1.0
    target = np.where(truth, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    # The loss is convex in 1 / T, so the one minimum on the logarithm's scale is the best.
    found = minimize_scalar(
        lambda log_t: cross_entropy(values / math.exp(log_t), target),
        bounds=(math.log(LOWEST), math.log(HIGHEST)),
        method="bounded",
        options={"xatol": 1e-6},
    )
    return float(math.exp(found.x))
