"""``curves.png``: the training loss, and the validation metrics, over steps."""

from __future__ import annotations

from pathlib import Path

from mammo_train.tracking import FIXED, read_metrics

__all__ = ["draw_curves"]


def draw_curves(metrics: Path, output: Path, *, title: str) -> None:
    """Draw a stage's ``metrics.csv`` as a PNG with two panels.

    Parameters
    ----------
    metrics
        The CSV that `mammo_train.tracking.Tracker` writes.
    output
        The picture, replaced at once.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = read_metrics(metrics)
    train = [(int(row["step"]), float(row["loss"])) for row in rows if row["kind"] == "train"]
    figure = Figure(figsize=(10, 4), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    left.plot([s for s, _ in train], [v for _, v in train], color="0.75", lw=0.8, label="step")
    left.plot([s for s, _ in train], _smooth([v for _, v in train]), label="running mean")
    left.set(xlabel="step", ylabel="training loss")
    left.legend()
    checks = [row for row in rows if row["kind"] == "val"]
    names = [name for name in (rows[0] if rows else {}) if name not in FIXED]
    for name in names:
        seen = [(int(row["step"]), float(row[name])) for row in checks if row[name]]
        right.plot([s for s, _ in seen], [v for _, v in seen], marker="o", ms=3, label=name)
    right.set(xlabel="step", ylabel="validation")
    if names:
        right.legend()
    figure.suptitle(title)
    temporary = output.with_suffix(".tmp.png")
    figure.savefig(temporary, dpi=100)
    temporary.replace(output)


def _smooth(values: list[float], keep: float = 0.9) -> list[float]:
    # Bias-corrected exponential mean, as Adam's (Kingma and Ba 2014): honest from the first step.
    smooth, mean = [], 0.0
    for count, value in enumerate(values, 1):
        mean = keep * mean + (1 - keep) * value
        smooth.append(mean / (1 - keep**count))
    return smooth
