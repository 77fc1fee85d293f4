"""The free-response curve: lesions found against false regions a film.

Bunch et al. 1978 (J Appl Photogr Eng 4:166). The threshold is lowered until one more step would
exceed the rate; regions of equal score are taken together.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mammo_train.evaluation.regions import FilmFindings

__all__ = ["FreeResponse", "froc"]

Floats = NDArray[np.float64]
DRAWS = 1000


class FreeResponse:
    """Scores of lesions and of false regions, sorted, each with its patient.

    Parameters
    ----------
    films
        Lesions count on all of them, false regions on those that are `counted`.
    """

    def __init__(self, films: Sequence[FilmFindings]) -> None:
        names, member = np.unique([film.patient for film in films], return_inverse=True)
        self.patients = len(names)
        self._counted = np.bincount(
            member, weights=[film.counted for film in films], minlength=len(names)
        )
        lesions = [
            (s, m) for film, m in zip(films, member, strict=True) for s in film.lesion_scores
        ]
        false = [(s, m) for film, m in zip(films, member, strict=True) for s in film.false_scores]
        self._lesions, self._lesion_of = _sorted(lesions)
        self._false, self._false_of = _sorted(false)

    def sensitivity(self, rates: ArrayLike, weights: Floats | None = None) -> Floats:
        """Give the share of lesions found at so many false regions a film; NaN without either.

        Parameters
        ----------
        rates
            (R,).
        weights
            (patients,): how often each patient counts, in the order of their names; once by
            default.
        """
        rates = np.asarray(rates, np.float64)
        weights = np.ones(self.patients) if weights is None else weights
        lesion = weights[self._lesion_of]
        films = float(weights @ self._counted) if self.patients else 0.0
        if lesion.sum() == 0 or films == 0:
            return np.full(len(rates), np.nan)
        false = weights[self._false_of].cumsum()
        beyond = np.searchsorted(false, rates * films + 1e-9, side="right")
        above = np.append(self._false, -np.inf)[beyond]
        # Both are sorted downwards; a lesion counts where its score is above the first excess.
        found = np.searchsorted(-self._lesions, -above, side="left")
        return np.asarray(np.append(0.0, lesion.cumsum())[found] / lesion.sum(), np.float64)

    def intervals(
        self, rates: ArrayLike, *, draws: int = DRAWS, seed: int = 0
    ) -> list[tuple[float, float] | None]:
        """Give the 95 % percentile interval at each rate when patients are drawn with repetition.

        None with fewer than two patients, or when most draws hold no lesion or no film.
        """
        count = len(np.asarray(rates))
        if self.patients < 2:
            return [None] * count
        made = np.random.Generator(np.random.PCG64(seed))
        rows = []
        for _ in range(draws):
            chosen = made.integers(0, self.patients, self.patients)
            weights = np.bincount(chosen, minlength=self.patients).astype(np.float64)
            rows.append(self.sensitivity(rates, weights))
        values = np.array(rows)
        known = values[np.isfinite(values).all(axis=1)]
        if len(known) < draws / 2:
            return [None] * count
        low, high = np.quantile(known, [0.025, 0.975], axis=0)
        return list(zip(low.tolist(), high.tolist(), strict=True))

    def curve(self) -> tuple[Floats, Floats]:
        """Give (false regions a film, share of lesions found) at every threshold, rising."""
        films, lesions = self._counted.sum(), len(self._lesions)
        if not films or not lesions:
            return np.zeros(0), np.zeros(0)
        scores = np.unique(np.concatenate([self._lesions, self._false]))[::-1]
        scores = scores[np.isfinite(scores)]
        false = np.searchsorted(-self._false, -scores, side="right") / films
        found = np.searchsorted(-self._lesions, -scores, side="right") / lesions
        return np.append(0.0, false), np.append(0.0, found)


def _sorted(pairs: Sequence[tuple[float, int]]) -> tuple[Floats, NDArray[np.int64]]:
    scores = np.array([score for score, _ in pairs], np.float64)
    members = np.array([member for _, member in pairs], np.int64)
    order = np.argsort(-scores, kind="stable")
    return scores[order], members[order]


def froc(films: Sequence[FilmFindings], rates: ArrayLike) -> Floats:
    """Give the sensitivity for lesions at so many false regions a film; see `FreeResponse`."""
    return FreeResponse(films).sensitivity(rates)
