"""Figures over arrays, each with its count and, where asked, a 95 % interval by patient.

Films of one patient resemble one another, so intervals resample patients, not films (cluster
bootstrap; Obuchowski 1997, Biometrics 53:567, on clustered ROC data).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "DiceSweep",
    "Estimate",
    "auroc",
    "average_precision",
    "clustered_interval",
    "estimate_areas",
    "estimate_auroc",
    "mean_interval",
]

Floats = NDArray[np.float64]
DRAWS = 1000


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure, its 95 % interval (null where it cannot be had), and what it counts."""

    value: float | None
    low: float | None
    high: float | None
    counts: dict[str, int]

    def text(self) -> str:
        """Give ``0.91 [0.85, 0.96]``, or ``-`` for a figure that does not exist."""
        if self.value is None:
            return "-"
        interval = "" if self.low is None else f" [{self.low:.2f}, {self.high:.2f}]"
        return f"{self.value:.2f}{interval}"


def auroc(labels: ArrayLike, scores: ArrayLike) -> float:
    """Area under the ROC curve by ranks (Mann-Whitney, ties count half); NaN with one class.

    Parameters
    ----------
    labels, scores
        (N,): 1 positive, 0 negative; larger scores mean positive.
    """
    from scipy.stats import rankdata

    truth = np.asarray(labels, bool)
    ranks = rankdata(np.asarray(scores, np.float64))
    positives, negatives = int(truth.sum()), int((~truth).sum())
    if not positives or not negatives:
        return float("nan")
    over = ranks[truth].sum() - positives * (positives + 1) / 2
    return float(over / (positives * negatives))


def average_precision(labels: ArrayLike, scores: ArrayLike) -> float:
    """Area under precision and recall by scikit-learn's step rule; NaN without a positive.

    Compare it with the prevalence, which is what a coin would get.
    """
    truth = np.asarray(labels, bool)
    if not truth.any():
        return float("nan")
    return float(_Ranked(truth, scores).average_precision(np.ones((1, len(truth))))[0])


class _Ranked:
    """Scores sorted once, so that each of a thousand resamplings is a few sums.

    Parameters
    ----------
    truth, scores
        (N,).
    """

    def __init__(self, truth: ArrayLike, scores: ArrayLike) -> None:
        values = np.asarray(scores, np.float64)
        self._order = np.argsort(-values, kind="stable")
        self._truth = np.asarray(truth, bool)[self._order]
        ranked = values[self._order]
        # Equal scores are one step of either curve.
        self._steps = np.flatnonzero(np.append(True, ranked[1:] != ranked[:-1]))

    def _counts(self, weights: Floats) -> tuple[Floats, Floats]:
        ranked = weights[:, self._order]
        positive = np.add.reduceat(ranked * self._truth, self._steps, axis=1)
        negative = np.add.reduceat(ranked * ~self._truth, self._steps, axis=1)
        return positive, negative

    def auroc(self, weights: Floats) -> Floats:
        """Give the area for each row of weights (draws, N); NaN with one class."""
        positive, negative = self._counts(weights)
        total, below = negative.sum(axis=1, keepdims=True), negative.cumsum(axis=1)
        pairs = (positive * (total - below + negative / 2)).sum(axis=1)
        with np.errstate(invalid="ignore"):
            return np.asarray(pairs / (positive.sum(axis=1) * total[:, 0]))

    def average_precision(self, weights: Floats) -> Floats:
        """Give the average precision for each row of weights (draws, N); NaN with one class."""
        positive, negative = self._counts(weights)
        true, false = positive.cumsum(axis=1), negative.cumsum(axis=1)
        with np.errstate(invalid="ignore"):
            precision = np.where(true > 0, true / (true + false), 0.0)
            return np.asarray((positive * precision).sum(axis=1) / true[:, -1])


def clustered_interval(
    statistic: Callable[..., float],
    patients: ArrayLike,
    *arrays: ArrayLike,
    draws: int = DRAWS,
    seed: int = 0,
) -> tuple[float, float] | None:
    """Give the 95 % percentile interval of a statistic when patients are drawn with repetition.

    Parameters
    ----------
    statistic
        Called with the rows of `arrays`; a draw in which it is NaN is drawn again, at most as
        often as there are draws.
    patients
        (N,) names; rows of one patient stay together.

    Returns
    -------
    tuple or None
        None with fewer than two patients, or when most draws give no number.
    """
    names, member = np.unique(np.asarray(patients), return_inverse=True)
    if len(names) < 2:
        return None
    order = np.argsort(member, kind="stable")
    groups = np.split(order, np.cumsum(np.bincount(member))[:-1])
    columns = [np.asarray(array) for array in arrays]
    made = np.random.Generator(np.random.PCG64(seed))
    values: list[float] = []
    for _ in range(2 * draws):
        chosen = made.integers(0, len(names), len(names))
        rows = np.concatenate([groups[index] for index in chosen])
        value = statistic(*(column[rows] for column in columns))
        if np.isfinite(value):
            values.append(float(value))
        if len(values) == draws:
            break
    if len(values) < draws / 2:
        return None
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)


def estimate_auroc(labels: ArrayLike, scores: ArrayLike, patients: ArrayLike) -> Estimate:
    """Give the AUROC with its interval by patient."""
    return estimate_areas(labels, scores, patients)[0]


def estimate_areas(
    labels: ArrayLike, scores: ArrayLike, patients: ArrayLike, *, seed: int = 0
) -> tuple[Estimate, Estimate]:
    """Give AUROC and average precision with their intervals by patient, as `clustered_interval`.

    Parameters
    ----------
    labels, scores, patients
        (N,).
    """
    truth = np.asarray(labels, bool)
    names, member = np.unique(np.asarray(patients), return_inverse=True)
    counts = {
        "positives": int(truth.sum()),
        "negatives": int((~truth).sum()),
        "patients": len(names),
    }
    if truth.all() or not truth.any():
        nothing = Estimate(None, None, None, counts)
        return nothing, nothing
    ranked, once = _Ranked(truth, scores), np.ones((1, len(truth)))
    drawn = _drawn(ranked, member, len(names), seed) if len(names) > 1 else np.zeros((0, 2))
    values = float(ranked.auroc(once)[0]), float(ranked.average_precision(once)[0])
    if len(drawn) < DRAWS / 2:
        first, second = (Estimate(value, None, None, counts) for value in values)
        return first, second
    bounds = np.quantile(drawn, [0.025, 0.975], axis=0).T.tolist()
    first, second = (Estimate(v, b[0], b[1], counts) for v, b in zip(values, bounds, strict=True))
    return first, second


def _drawn(ranked: _Ranked, member: NDArray[np.int64], patients: int, seed: int) -> Floats:
    """Give (draws, 2) of both areas when patients are drawn with repetition, NaN left out."""
    made = np.random.Generator(np.random.PCG64(seed))
    at_once = int(np.clip(2_000_000 // len(member), 1, 250))
    found: list[Floats] = []
    for _ in range(0, 2 * DRAWS, at_once):
        chosen = [made.integers(0, patients, patients) for _ in range(at_once)]
        times = np.array([np.bincount(row, minlength=patients) for row in chosen], np.float64)
        weights = times[:, member]
        both = np.column_stack([ranked.auroc(weights), ranked.average_precision(weights)])
        found.append(both[np.isfinite(both).all(axis=1)])
        if sum(map(len, found)) >= DRAWS:
            break
    return np.concatenate(found)[:DRAWS]


class DiceSweep:
    """Dice at many thresholds at once; films come one by one, probabilities are not kept.

    Dice of a film is 2 |P and T| / (|P| + |T|) over pixels that are not ignored (Dice 1945); a
    film without lesion has no Dice and is not counted here: its false regions are.
    """

    # An overlap loss pushes probabilities to the ends, so the upper end is looked at closely.
    thresholds: Floats = np.concatenate([np.arange(1, 20) / 20, [0.97, 0.98, 0.99]])

    def __init__(self) -> None:
        self._rows: list[tuple[Floats, Floats, float]] = []

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, probability: NDArray[np.float32], truth: NDArray[np.uint8]) -> None:
        """Count one film.

        Parameters
        ----------
        probability, truth
            (H, W); truth 0 none, 255 ignored, anything else lesion.
        """
        lesion = (truth > 0) & (truth < 255)
        if not lesion.any():
            return
        bins = np.concatenate([[-np.inf], self.thresholds, [np.inf]])
        inside = np.histogram(probability[lesion], bins)[0].astype(np.float64)
        outside = np.histogram(probability[truth == 0], bins)[0].astype(np.float64)
        hit = inside[::-1].cumsum()[::-1][1:]
        false = outside[::-1].cumsum()[::-1][1:]
        self._rows.append((hit, hit + false, float(lesion.sum())))

    def _arrays(self) -> tuple[Floats, Floats, Floats]:
        count = len(self.thresholds)
        hit = np.array([row[0] for row in self._rows]).reshape(-1, count)
        predicted = np.array([row[1] for row in self._rows]).reshape(-1, count)
        truth = np.array([row[2] for row in self._rows]).reshape(-1, 1)
        return hit, predicted, truth

    def per_film(self) -> Floats:
        """Dice of each lesion film at each threshold, (films, thresholds)."""
        hit, predicted, truth = self._arrays()
        return 2 * hit / (predicted + truth)

    def overall(self, chosen: NDArray[np.bool_] | None = None) -> Floats:
        """Dice of the pixels of all (or the chosen) lesion films together, (thresholds,)."""
        rows = slice(None) if chosen is None else chosen
        hit, predicted, truth = (part[rows].sum(axis=0) for part in self._arrays())
        return np.asarray(2 * hit / np.maximum(predicted + truth, 1))

    def best(self) -> tuple[float, float]:
        """Give the threshold with the highest mean Dice a film, and that mean; NaN if no film."""
        if not self._rows:
            return 0.5, float("nan")
        means = self.per_film().mean(axis=0)
        index = int(np.argmax(means))
        return float(self.thresholds[index]), float(means[index])

    def at(self, threshold: float) -> int:
        """Give the index of a threshold of the sweep."""
        return int(np.argmin(np.abs(self.thresholds - threshold)))


def mean_interval(values: Sequence[float] | Floats, patients: ArrayLike) -> Estimate:
    """Give the mean with its interval by patient."""
    found = np.asarray(values, np.float64)
    if not len(found):
        return Estimate(None, None, None, {"films": 0, "patients": 0})
    interval = clustered_interval(lambda x: float(np.mean(x)), patients, found)
    low, high = interval or (None, None)
    counts = {"films": len(found), "patients": len(np.unique(np.asarray(patients)))}
    return Estimate(float(found.mean()), low, high, counts)
