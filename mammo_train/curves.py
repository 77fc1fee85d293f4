"""``curves.png``: a stage's training loss and validation metrics over steps, of one run or many.

`draw_curves` draws one run while it trains. `overlay_curves` lays the validation metrics of several
run directories over one another; runs that began with the same kind of first weights, and differ in
their seed for example, share a colour, so that what pre-training is worth is seen beside what a
seed is worth.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mammo_train import checkpoint
from mammo_train.tracking import FIXED, read_metrics
from schemas.errors import UsageError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw_curves", "overlay_curves", "validations"]

Curve = dict[int, float]
"""Value of a metric at each step at which it was a number."""


def draw_curves(metrics: Path, output: Path, *, title: str) -> None:
    """Draw a stage's ``metrics.csv`` as a PNG with two panels.

    Parameters
    ----------
    metrics
        The CSV that `mammo_train.tracking.Tracker` writes.
    output
        The picture, replaced at once.
    """
    rows = read_metrics(metrics)
    train = [(int(row["step"]), float(row["loss"])) for row in rows if row["kind"] == "train"]
    figure = _figure(10, 4)
    left, right = figure.subplots(1, 2)
    left.plot([s for s, _ in train], [v for _, v in train], color="0.75", lw=0.8, label="step")
    left.plot([s for s, _ in train], _smooth([v for _, v in train]), label="running mean")
    left.set(xlabel="step", ylabel="training loss")
    left.legend()
    curves = validations(metrics)
    for name, curve in curves.items():
        right.plot(list(curve), list(curve.values()), marker="o", ms=3, label=name)
    right.set(xlabel="step", ylabel="validation")
    if curves:
        right.legend()
    figure.suptitle(title)
    _save(figure, output)


def overlay_curves(works: Sequence[Path], output: Path, *, stage: str = "segment") -> list[str]:
    """Draw the validation metrics of a stage in several run directories, a panel a metric.

    Each run is a thin line; where runs that began with the same kind of first weights were
    validated at the same steps, a thick line is their mean and a band goes from the lowest to the
    highest.

    Parameters
    ----------
    works
        Run directories; the stage may still be training in them.
    output
        The picture, replaced at once.

    Returns
    -------
    list of str
        One line a run: how it began, its best value of the first metric, and at which step.

    Raises
    ------
    UsageError
        A run directory has no validation of the stage.
    """
    runs: dict[str, list[Mapping[str, Curve]]] = {}
    said = []
    for work in works:
        folder = work / "stages" / stage
        curves = validations(folder / "metrics.csv")
        if not any(curves.values()):
            raise UsageError(
                f"{folder} holds no validation of {stage}: name run directories in which that "
                f"stage has been validated, or another --stage"
            )
        origin = _origin(folder) or work.name
        runs.setdefault(origin, []).append(curves)
        name, curve = next((name, curve) for name, curve in curves.items() if curve)
        best = max(curve, key=lambda step: curve[step])
        said.append(f"{work}: {origin}, best {name} {curve[best]:.3f} at step {best}")
    names = list(dict.fromkeys(name for group in runs.values() for run in group for name in run))
    figure = _figure(10, 3.6 * -(-len(names) // 2))
    panels = figure.subplots(-(-len(names) // 2), 2, squeeze=False).ravel()
    for panel, name in zip(panels, names, strict=False):
        for colour, (origin, group) in enumerate(runs.items()):
            _lay(panel, [run.get(name, {}) for run in group], f"C{colour}", origin)
        panel.set(xlabel="step", ylabel=name)
    panels[0].legend()
    for panel in panels[len(names) :]:
        panel.set_axis_off()
    figure.suptitle(f"{stage}: validation of {len(works)} runs")
    _save(figure, output)
    return said


def validations(metrics: Path) -> dict[str, Curve]:
    """Read the validation metrics of a ``metrics.csv``: a curve for each, empty where none is.

    What was not a number is left out.
    """
    rows = read_metrics(metrics)
    names = [name for name in (rows[0] if rows else {}) if name not in FIXED]
    checks = [row for row in rows if row["kind"] == "val"]
    found = {
        name: {int(row["step"]): float(row[name]) for row in checks if row[name]} for name in names
    }
    return {
        name: {step: value for step, value in curve.items() if np.isfinite(value)}
        for name, curve in found.items()
    }


def _origin(folder: Path) -> str | None:
    """Say with what kind of weights a stage began, by its newest checkpoint."""
    for path in checkpoint.saved(folder / "checkpoints"):
        try:
            words = json.loads((path / "state.json").read_text())["fingerprint"]["initial_weights"]
        except (OSError, ValueError, KeyError):
            continue
        kind = str(words).split(" ", maxsplit=1)[0]
        return "from scratch" if kind == "scratch" else f"after {kind}"
    return None


def _lay(panel: Axes, curves: Sequence[Curve], colour: str, origin: str) -> None:
    label = f"{origin} ({len(curves)} runs)" if len(curves) > 1 else origin
    steps = sorted(set.intersection(*(set(curve) for curve in curves)))
    shared = len(curves) > 1 and bool(steps)
    for curve in curves:
        said = None if shared or curve is not curves[0] else label
        style = {"lw": 0.7, "alpha": 0.6} if shared else {"lw": 1.5, "marker": "o", "ms": 3}
        panel.plot(list(curve), list(curve.values()), color=colour, label=said, **style)
    if shared:
        values = np.array([[curve[step] for step in steps] for curve in curves])
        panel.plot(steps, values.mean(axis=0), color=colour, lw=2.2, label=label)
        panel.fill_between(
            steps, values.min(axis=0), values.max(axis=0), color=colour, alpha=0.15, lw=0
        )


def _figure(width: float, height: float) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _save(figure: Figure, output: Path) -> None:
    temporary = output.with_suffix(".tmp.png")
    output.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(temporary, dpi=100)
    temporary.replace(output)


def _smooth(values: list[float], keep: float = 0.9) -> list[float]:
    # Bias-corrected exponential mean, as Adam's (Kingma and Ba 2014): honest from the first step.
    smooth, mean = [], 0.0
    for count, value in enumerate(values, 1):
        mean = keep * mean + (1 - keep) * value
        smooth.append(mean / (1 - keep**count))
    return smooth
