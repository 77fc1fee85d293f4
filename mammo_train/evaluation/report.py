"""``evaluate``: the trained networks on films they have never seen, in figures that say their n.

The U-Net's threshold comes from the validation split, the test split is looked at once. Lesions
are counted on completely annotated films; false regions on the same (normal films are complete),
so a malignant film without outline enters neither. The classifier is measured twice: on patches
at the true place of lesions, which flatters, and on the regions that the U-Net proposes. Whole
films are judged malignant or not whatever is drawn on them; see `mammo_train.evaluation.outcomes`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mammo_train.checkpoint import load_model
from mammo_train.config import RunConfig
from mammo_train.data.selection import MALIGNANT, Selection, Selections, build_selections
from mammo_train.data.sides import Rules
from mammo_train.evaluation.charts import draw_froc, draw_roc
from mammo_train.evaluation.classification import Classified, classify
from mammo_train.evaluation.films import EndToEnd
from mammo_train.evaluation.outcomes import FilmScore, film_figures
from mammo_train.evaluation.pictures import draw_samples, films_to_show
from mammo_train.evaluation.rows import write_films, write_patches
from mammo_train.evaluation.segmentation import Segmented, segment_figures, segment_films
from mammo_train.runtime import Runtime
from mammo_train.stages import open_classifier, open_classify, open_segment
from schemas.errors import MammoError
from schemas.vocabulary import Annotation

if TYPE_CHECKING:
    from schemas.corpus import Corpus

__all__ = ["evaluate"]


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
    """Measure the stages that `work` holds; write ``metrics.json``, rows and pictures.

    ``froc.png`` and ``roc.png`` show the curves, ``samples.png`` films; ``films.csv`` and
    ``patches.csv`` hold what the figures were computed from.

    Parameters
    ----------
    work
        A run directory whose ``segment`` stage has a checkpoint; ``pretrain-classifier`` is
        measured where it has one. Films are scored by ``classify`` where it is finished.
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
    rules = Rules.of(config)
    selection, notes = _side(build_selections(corpus, "evaluate", config.where, rules=rules))
    model = stage.build()
    at = load_model(work / "stages" / stage.name / "checkpoints", model)
    if runtime.precision == "auto":
        runtime.precision = at.precision  # what the threshold was chosen in
    model = runtime.place(model)
    threshold = float(at.metrics["threshold"])
    chosen = films_to_show(selection, pictures)
    films = None
    if (work / "stages" / "classify" / "done.json").is_file():
        last = open_classify(corpus, config, workers=workers)
        films = EndToEnd(last, work, selection, threshold=threshold, min_area=stage.min_area)
    look = [films.look] if films else []
    seen = segment_films(stage, model, runtime, selection, threshold, chosen, *look)
    said = None
    if (work / "stages" / "pretrain-classifier" / "checkpoints").is_dir():
        said = _classified(corpus, config, runtime, work, selection, seen.proposals, workers)
    score, figures = films.score(runtime) if films else (_film_score(seen, selection, said), None)
    found: dict[str, Any] = {
        "corpus": corpus.version,
        "split": selection.split,
        "notes": [*rules.sentences(), *notes],
        "where": config.where,
        "fold": config.fold,
        "test_source": config.test_source,
        "birads4_as": config.birads4_as,
        "preset": config.preset,
        "runtime": runtime.describe(),
        "segment": {"step": at.step, **segment_figures(seen, selection, threshold)},
        "films": film_figures(selection, score),
    }
    if said is not None:
        found["classifier"] = said.figures
    if figures is not None:
        found["classify"] = figures
    output.mkdir(parents=True, exist_ok=True)
    text = json.dumps(found, indent=1, sort_keys=True, allow_nan=False)
    (output / "metrics.json").write_text(text + "\n", encoding="utf-8")
    write_films(output / "films.csv", seen, selection, score, threshold)
    if said is not None:
        write_patches(output / "patches.csv", said.parts)
    draw_froc(output / "froc.png", seen, selection)
    draw_roc(output / "roc.png", selection, score)
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


def _film_score(seen: Segmented, selection: Selection, said: Classified | None) -> FilmScore:
    """Give each film's number from the best that was trained."""
    if said is None:
        return FilmScore("highest probability of a lesion in the U-Net's map", seen.peak)
    values = np.zeros(len(selection))
    rows = np.array([proposal.row for proposal in said.proposals], np.int64)
    regions = np.array([proposal.score for proposal in said.proposals], np.float64)
    np.maximum.at(values, rows, regions * said.probability[:, MALIGNANT])
    name = "highest product of a region's score and its patch's probability of malignancy"
    return FilmScore(name, values)


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


def _side(selections: Selections) -> tuple[Selection, list[str]]:
    """Give the side that is measured, test where there is one, and what to say of it."""
    if _drawn(selections.test):
        return selections.test, []
    if _drawn(selections.val):
        return selections.val, [
            "No lesion in the test split: measured on val, which also chose the threshold and the "
            "checkpoint, so these figures flatter."
        ]
    raise MammoError("evaluate: neither test nor val holds a film with a drawn lesion; see --where")


def _drawn(part: Selection) -> bool:
    return bool((part.has_lesion & (part.annotation == Annotation.COMPLETE)).any())
