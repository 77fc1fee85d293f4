"""Commands of `mammo-etl` that make something of a finished corpus, or foresee one."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from beam_jobs.cli_corpus import Acknowledged, Corpus
from schemas.errors import MammoError, UsageError

__all__ = ["Slab", "card", "diff", "estimate", "export_coco"]

Slab = Annotated[
    bool,
    Parameter(
        negative=(), help="Also one slab a tomosynthesis volume: the mean of all its slices."
    ),
]


def card(
    corpus: Corpus,
    /,
    *,
    count: int = 12,
    acknowledge_licence: Acknowledged = False,
) -> None:
    """Write a version's data card (HTML that opens offline) and its croissant.json.

    They lie in OUT/cards/VERSION/. Pictures are shown of releases that may be passed on.

    Example: mammo-etl card corpus

    Parameters
    ----------
    count
        Pictures a release.
    """
    import cv2

    import schemas
    from beam_jobs.show import contact_sheet
    from etl.card import write_card
    from etl.sources import SOURCES, source

    opened = schemas.open(corpus)
    words, sheets = {}, {}
    for key, summary in opened.dataset.sources.items():
        if key in SOURCES:
            words[key] = source(key).WORDS
        shown = summary.redistributable or acknowledge_licence
        if shown and summary.counts.made and count > 0:
            sheet = contact_sheet(opened, where=f"source = '{key}'", count=count, tile=224)
            sheets[key] = cv2.imencode(".png", sheet)[1].tobytes()
    for path in write_card(opened, words=words, sheets=sheets):
        print(f"{opened.root}/{path}")


def diff(
    before: Corpus,
    after: Corpus,
    /,
    *,
    csv: Annotated[Path | None, Parameter(help="Write every difference, one a line.")] = None,
) -> None:
    """Say which films and lesions were added, removed or changed between two versions, and how.

    Example: mammo-etl diff corpus/v-0123456789ab corpus
    """
    import schemas
    from beam_jobs.diff import changes, print_changes, write_csv

    first, second = schemas.open(before), schemas.open(after)
    found = list(changes(first, second))
    print_changes(found, first, second, sys.stdout)
    if csv is not None:
        write_csv(found, csv)
        print(csv)


def estimate(
    *,
    release: Annotated[
        list[str],
        Parameter(help="KEY=PATH, once a release; PATH may be gs://.", negative_iterable=()),
    ],
    output: Annotated[
        str | None, Parameter(help="A corpus whose index is used, where a layout needs one.")
    ] = None,
    workers: int | None = None,
    dbt_slab: Slab = False,
) -> None:
    """Say what a run would read, write, compute and cost, from its plan; no image is opened.

    Example: mammo-etl estimate --release mias=/data/all-mias

    Parameters
    ----------
    workers
        Child processes, for the hours; one for each core if not given.
    """
    from beam_jobs.estimate import estimate as estimated
    from beam_jobs.estimate import print_estimate
    from beam_jobs.job import plan_job
    from beam_jobs.settings import Settings, parse_releases

    releases = parse_releases(release)
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(
            output=output or folder, releases=releases, workers=workers, dbt_slab=dbt_slab
        )
        plan = plan_job(settings, ["--runner=local"])
    found = estimated(plan.tasks, [key for key, _ in releases])
    print_estimate(found, settings.children, sys.stdout)


def export_coco(
    corpus: Corpus,
    /,
    *,
    output: Path,
    where: str | None = None,
    categories: Literal["finding", "pathology"] = "finding",
    images: Annotated[bool, Parameter(negative=())] = False,
    acknowledge_licence: Acknowledged = False,
) -> None:
    """Write lesions as COCO boxes and outlines in standard-image coordinates.

    Images whose lesions nobody drew are left out: a detector would take them for empty.

    Example: mammo-etl export-coco corpus --where "split = 'train'" --output train.json

    Parameters
    ----------
    output
        A .json file, or a folder for annotations.json and images/.
    where
        SQL condition on the manifest's columns.
    categories
        Kinds of finding, or pathologies.
    images
        Write the images too, as 16-bit grey PNG.
    """
    import schemas
    from beam_jobs.coco import coco, write_images

    single = output.suffix == ".json"
    if images and single:
        raise UsageError(f"--images needs a folder: --output is {output}, give one without .json")
    opened = schemas.open(corpus)
    made = coco(opened, where=where, by=categories)
    if images:
        write_images(opened, made.rows, output, acknowledge_licence)
    path = output if single else output / "annotations.json"
    _write_json(path, made.document)
    print(
        f"{path}: {len(made.document['images'])} images, {len(made.document['annotations'])} "
        f"lesions; left out: {made.left_out} images without drawn lesions, {made.unmarked} lesions "
        "without an extent"
    )


def _write_json(path: Path, document: dict[str, Any]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(document, separators=(",", ":")), encoding="utf-8")
    except OSError as error:
        raise MammoError(f"cannot write {path}: {error.strerror}") from error
