"""``samples.png``: test films with truth, prediction, and the patch that was judged."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mammo_train.data.draws import film_draws
from mammo_train.data.patches import cut_patch
from mammo_train.data.reading import SampleReader
from mammo_train.data.selection import Selection
from schemas.vocabulary import Annotation

if TYPE_CHECKING:
    from mammo_train.evaluation.classification import Classified
    from mammo_train.evaluation.segmentation import Proposal, Segmented
    from mammo_train.stages.segment import FilmPrediction
    from schemas.store import Store

__all__ = ["draw_samples", "films_to_show"]

TRUTH, PREDICTION = "#00d0a0", "#ff5030"
GROUPS = ("malignant", "benign", "normal")


def films_to_show(selection: Selection, count: int) -> list[int]:
    """Choose rows of a selection: malignant, benign and normal films in turn, by hash of the id.

    The network has no say in it, so the choice is not a choice of successes.
    """
    order = np.argsort(selection.keys, kind="stable")
    queues = [[int(r) for r in order if selection.pathology[r] == group] for group in GROUPS]
    queues.append([int(r) for r in order if selection.pathology[r] not in GROUPS])
    chosen: list[int] = []
    while len(chosen) < min(count, len(selection)):
        chosen += [queue.pop(0) for queue in queues if queue]
    return chosen[:count]


def draw_samples(
    output: Path,
    seen: Segmented,
    selection: Selection,
    said: Classified | None,
    threshold: float,
    store: Store,
    *,
    patch_mm: float,
    rows: Sequence[int],
) -> None:
    """Draw one line a film: film, truth, prediction, best region's patch with its probabilities.

    Parameters
    ----------
    said
        The classifier's answers, None where it was not trained.
    threshold
        At which the predicted outline is drawn.
    patch_mm
        Side of the patch shown.
    rows
        Films of the selection, all of them among ``seen.kept``.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 3.1 * len(rows)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = np.atleast_2d(figure.subplots(len(rows), 4))
    reader = SampleReader(store)
    draws = film_draws(selection)
    for line, row in zip(axes, rows, strict=True):
        film = seen.kept[row]
        best = _best(seen.proposals, row)
        _draw_film(line, film, selection, threshold)
        if best is None:
            line[3].set_title("no region proposed", fontsize=8)
            continue
        image, _ = reader.arrays(draws[row], mask=False)
        proposal = seen.proposals[best]
        mm = float(selection.mm[row])
        patch = cut_patch(image, mm, proposal.x, proposal.y, patch_mm=patch_mm, patch_px=256)
        _grey(line[3], patch)
        line[3].set_title(_judgement(proposal, said, best, patch_mm), fontsize=8)
        x, y = np.array([proposal.x, proposal.y]) * film.scale
        line[2].plot(x, y, "+", color=PREDICTION, ms=9)
    for axis in axes.ravel():
        axis.set_axis_off()
    temporary = output.with_suffix(".tmp.png")
    figure.savefig(temporary, dpi=90)
    temporary.replace(output)


def _best(proposals: Sequence[Proposal], row: int) -> int | None:
    ours = [index for index, proposal in enumerate(proposals) if proposal.row == row]
    return max(ours, key=lambda index: proposals[index].score, default=None)


def _draw_film(
    line: NDArray[Any], film: FilmPrediction, selection: Selection, threshold: float
) -> None:
    row = film.row
    for axis in line[:3]:
        _grey(axis, film.image)
    line[0].set_title(f"{selection.ids[row]}\n{selection.pathology[row]}", fontsize=8)
    line[1].set_title(f"truth: {_lesions(selection, row)}", fontsize=8)
    _outline(line[1], film.target == 1, TRUTH)
    shown = np.ma.masked_less(film.probability, 0.05)
    line[2].imshow(shown, cmap="autumn", vmin=0, vmax=1, alpha=0.45, interpolation="nearest",
                   extent=(0, film.image.shape[1], film.image.shape[0], 0))  # fmt: skip
    _outline(line[2], film.probability >= threshold, PREDICTION)
    truth = film.target == 1
    found = film.probability >= threshold
    both = truth.sum() + found.sum()
    dice = f", Dice {2 * (truth & found).sum() / both:.2f}" if truth.any() else ""
    line[2].set_title(f"prediction, {threshold:.2f}{dice}", fontsize=8)


def _lesions(selection: Selection, row: int) -> str:
    labels = selection.lesions.label[selection.lesions.film == row]
    words = {1: "benign", 2: "malignant", 0: "unknown pathology"}
    drawn = ", ".join(words[int(label)] for label in labels)
    if selection.annotation[row] == Annotation.COMPLETE:
        return drawn or "no lesion"
    return f"{drawn}, not all are drawn" if drawn else "nothing is drawn"


def _judgement(proposal: Proposal, said: Classified | None, index: int, patch_mm: float) -> str:
    where = f"patch of {patch_mm:g} mm, region score {proposal.score:.2f}"
    if said is None:
        return where
    background, benign, malignant = said.probability[index]
    return f"{where}\nmalignant {malignant:.2f}, benign {benign:.2f}, none {background:.2f}"


def _grey(axis: Any, image: NDArray[np.float32]) -> None:
    inside = image[image > 0]
    low, high = np.percentile(inside, [0.5, 99.8]) if inside.size else (0.0, 1.0)
    axis.imshow(image, cmap="gray", vmin=low, vmax=max(high, low + 1e-6),
                extent=(0, image.shape[1], image.shape[0], 0))  # fmt: skip


def _outline(axis: Any, area: NDArray[np.bool_], colour: str) -> None:
    if area.any() and not area.all():
        y, x = np.mgrid[: area.shape[0], : area.shape[1]] + 0.5
        axis.contour(x, y, area, levels=[0.5], colors=[colour], linewidths=1)
