"""``evaluate``: the trained networks on films they have never seen, in figures that say their n.

The U-Net's threshold comes from the validation split, the test split is looked at once. Lesions
are counted on completely annotated films; false regions on the same (normal films are complete),
so a malignant film without outline enters neither. The classifier is measured twice: on patches
at the true place of lesions, which flatters, and on the regions that the U-Net proposes.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mammo_train.checkpoint import load_model
from mammo_train.config import RunConfig
from mammo_train.data.selection import Selection, Selections
from mammo_train.evaluation.classification import Classified, classify
from mammo_train.evaluation.pictures import draw_samples, films_to_show
from mammo_train.evaluation.segmentation import FALSE_RATES, segment_figures, segment_films
from mammo_train.runtime import Runtime
from mammo_train.stages import open_classifier, open_segment
from schemas.errors import MammoError

if TYPE_CHECKING:
    from rich.table import Table

    from schemas.corpus import Corpus

__all__ = ["evaluate", "metrics_table"]

COUNTED = (
    "Dice on lesion films; false regions on normal films; lesion sensitivity against false regions "
    "on completely annotated films; each film whole and once; intervals are 95 %, by patient."
)


def evaluate(
    corpus: Corpus,
    config: RunConfig,
    runtime: Runtime,
    work: Path,
    *,
    workers: int,
    output: Path,
    pictures: int = 8,
) -> dict[str, Any]:
    """Measure the stages that `work` holds and write ``metrics.json`` and ``samples.png``.

    Parameters
    ----------
    work
        A run directory whose ``segment`` stage has a checkpoint; ``pretrain-classifier`` is
        measured where it has one.
    pictures
        How many films ``samples.png`` shows; 0 draws none.

    Returns
    -------
    dict
        What ``metrics.json`` holds; figures are ``{value, low, high, counts}``.

    Raises
    ------
    MammoError
        There is no trained U-Net, or no film to measure it on.
    """
    stage = open_segment(corpus, config, workers=workers)
    selection, note = _side(stage.selections)
    model = stage.build()
    at = load_model(work / "stages" / stage.name / "checkpoints", model)
    if runtime.precision == "auto":
        runtime.precision = at.precision  # what the threshold was chosen in
    model = runtime.place(model)
    threshold = float(at.metrics["threshold"])
    chosen = films_to_show(selection, pictures)
    seen = segment_films(stage, model, runtime, selection, threshold, chosen)
    found: dict[str, Any] = {
        "corpus": corpus.version,
        "split": selection.split,
        "note": note,
        "where": config.where,
        "preset": config.preset,
        "runtime": runtime.describe(),
        "segment": {"step": at.step, **segment_figures(seen, selection, threshold)},
    }
    said = None
    if (work / "stages" / "pretrain-classifier" / "checkpoints").is_dir():
        said = _classified(corpus, config, runtime, work, selection, seen.proposals, workers)
        found["classifier"] = said.figures
    output.mkdir(parents=True, exist_ok=True)
    text = json.dumps(found, indent=1, sort_keys=True, allow_nan=False)
    (output / "metrics.json").write_text(text + "\n", encoding="utf-8")
    if chosen:
        draw_samples(
            output / "samples.png",
            seen,
            selection,
            said,
            threshold,
            stage.store,
            patch_mm=config.pretrain_classifier.patch_mm,
            rows=chosen,
        )
    return found


def _classified(
    corpus: Corpus,
    config: RunConfig,
    runtime: Runtime,
    work: Path,
    selection: Selection,
    proposals: Any,
    workers: int,
) -> Classified:
    stage = open_classifier(corpus, config, workers=workers)
    return classify(stage, runtime, work, selection, proposals)


def _side(selections: Selections) -> tuple[Selection, str]:
    if selections.test.has_lesion.any():
        return selections.test, COUNTED
    if selections.val.has_lesion.any():
        return selections.val, (
            "No lesion in the test split: measured on val, which also chose the threshold and the "
            f"checkpoint, so these figures flatter. {COUNTED}"
        )
    raise MammoError("evaluate: neither test nor val holds a film with a drawn lesion; see --where")


def metrics_table(found: dict[str, Any]) -> Table:
    """Lay the main figures of ``metrics.json`` out for a terminal."""
    from rich.table import Table

    table = Table(title=f"{found['split']} split of {found['corpus']}", caption=found["note"])
    table.add_column("figure")
    table.add_column("value [95 % interval]", justify="right")
    table.add_column("counted", justify="right")
    for name, figure in _rows(found):
        counts = ", ".join(f"{n} {what}" for what, n in figure["counts"].items())
        table.add_row(name, _text(figure), counts.replace("_", " "))
    return table


def _rows(found: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    segment = found["segment"]
    rows = [
        ("Dice a lesion film", segment["dice_per_film"]),
        ("false regions a normal film", segment["false_regions_per_normal_film"]),
    ]
    rows += [
        (
            f"lesions found at {rate:g} false regions a film",
            segment["lesion_sensitivity"][f"{rate:g}"],
        )
        for rate in FALSE_RATES
    ]
    places = {"true_patches": "true places", "proposed_regions": "proposed regions"}
    for key, where in places.items() if "classifier" in found else ():
        areas = found["classifier"][key]
        rows += [
            (f"AUROC malignant vs benign, {where}", areas["malignant_vs_benign_auroc"]),
            (f"AUROC lesion vs background, {where}", areas["lesion_vs_background_auroc"]),
        ]
    return rows


def _text(figure: dict[str, Any]) -> str:
    if figure["value"] is None:
        return "-"
    interval = f" [{figure['low']:.2f}, {figure['high']:.2f}]" if figure["low"] is not None else ""
    return f"{figure['value']:.3f}{interval}"
