"""``froc.png`` and ``roc.png``: the curves behind the figures, each with its count."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mammo_train.data.selection import Selection
from mammo_train.evaluation.froc import FreeResponse
from mammo_train.evaluation.outcomes import GROUPS, FilmScore, Judged, judged_groups
from mammo_train.evaluation.segmentation import FALSE_RATES, Segmented

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["draw_froc", "draw_roc", "roc_curve"]

Floats = NDArray[np.float64]


def draw_froc(output: Path, seen: Segmented, selection: Selection) -> None:
    """Draw lesions found against false regions a film, together and by source."""
    figure, axis = _figure()
    sources = sorted(set(selection.source[np.array(seen.film_rows, np.int64)].tolist()))
    pairs = list(zip(seen.films, seen.film_rows, strict=True))
    for name in ["all", *(sources if len(sources) > 1 else [])]:
        films = [film for film, row in pairs if name in ("all", str(selection.source[row]))]
        false, found = FreeResponse(films).curve()
        if not len(false):
            continue
        lesions = sum(len(film.lesion_scores) for film in films)
        label = f"{name}: {lesions} lesions, {len(films)} films"
        # As far as the lowest score goes; beyond it the curve is not known, not flat.
        axis.step(false, found, where="post", label=label, lw=2 if name == "all" else 1)
    response = FreeResponse(seen.films)
    values, intervals = response.sensitivity(FALSE_RATES), response.intervals(FALSE_RATES)
    for rate, value, interval in zip(FALSE_RATES, values, intervals, strict=True):
        if interval is not None:
            axis.plot([rate, rate], interval, color="C0", lw=1)
            axis.plot(rate, value, "o", color="C0", ms=4)
    axis.set(xlabel="false regions a film", ylabel="share of drawn lesions found", xlim=(0, 4.2))
    _finish(figure, axis, output, "lesions found, 95 % intervals by patient")


def draw_roc(output: Path, selection: Selection, score: FilmScore) -> None:
    """Draw malignant against the rest, by film and by patient, BI-RADS labels apart."""
    figure, axis = _figure()
    axis.plot([0, 1], [0, 1], color="0.7", lw=0.8)
    for group, _, films in judged_groups(selection, score):
        for unit, judged in (("films", films), ("patients", films.by_patient())):
            area = judged.figures()["auroc"]
            if area["value"] is None:
                continue
            false, true = roc_curve(judged)
            positives, negatives = (area["counts"][name] for name in ("positives", "negatives"))
            label = f"{unit}, {GROUPS[group]}: {area['value']:.2f} ({positives} : {negatives})"
            style = "-" if group == "outcome" else "--"
            axis.plot(false, true, style, lw=2 if unit == "films" else 1, label=label)
    axis.set(xlabel="1 - specificity", ylabel="sensitivity", xlim=(0, 1), aspect="equal")
    _finish(figure, axis, output, "malignant against the rest: area (malignant : rest)")


def roc_curve(judged: Judged) -> tuple[Floats, Floats]:
    """Give (1 - specificity, sensitivity) at every threshold, rising from (0, 0) to (1, 1)."""
    steps = np.unique(judged.score)[::-1]
    rates = []
    for truth in (~judged.malignant, judged.malignant):
        ranked = np.sort(-judged.score[truth])
        rates.append(np.append(0.0, np.searchsorted(ranked, -steps, side="right") / len(ranked)))
    return rates[0], rates[1]


def _figure() -> tuple[Figure, Any]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 5.2), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots()


def _finish(figure: Figure, axis: Any, output: Path, title: str) -> None:
    axis.set_ylim(0, 1.01)
    axis.grid(alpha=0.3)
    axis.set_title(title, fontsize=10)
    if axis.get_legend_handles_labels()[0]:
        axis.legend(fontsize=7, loc="lower right")
    else:
        axis.text(0.5, 0.5, "not enough films for a curve", ha="center", transform=axis.transAxes)
    temporary = output.with_suffix(".tmp.png")
    figure.savefig(temporary, dpi=110)
    temporary.replace(output)
