"""Commands of `mammo-etl` that look at a finished corpus."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from schemas.errors import MammoError

__all__ = ["audit", "collect", "show", "validate"]

Corpus = Annotated[str, Parameter(help="OUT (its newest version) or OUT/VERSION, local or gs://.")]
Acknowledged = Annotated[
    bool,
    Parameter(
        negative=(), help="Write pixels that may not be passed on: who gets them has the licence."
    ),
]
_SHOWN = 20


def validate(corpus: Corpus, /, *, deep: Annotated[bool, Parameter(negative=())] = False) -> int:
    """Check a version: schema, counts, offsets and checksums.

    Example: mammo-etl validate corpus --deep

    Parameters
    ----------
    deep
        Decode every image and draw every mask again.
    """
    import schemas
    from beam_jobs.progress import counted
    from beam_jobs.validate import validate as check

    opened = schemas.open(corpus)
    with counted("samples") as progress:
        problems = check(opened, deep=deep, progress=progress)
    for problem in problems[:_SHOWN]:
        print(problem)
    if problems:
        raise MammoError(
            f"{opened.root}/{opened.version} has {len(problems)} problems"
            f"{f', {_SHOWN} of them shown' if len(problems) > _SHOWN else ''}: make the version "
            "again with `mammo-etl run`, or copy the corpus again"
        )
    counts = [summary.counts for summary in opened.dataset.sources.values()]
    samples, lesions = sum(c.made for c in counts), sum(c.lesions for c in counts)
    print(
        f"{opened.root}/{opened.version}: {samples} samples and {lesions} lesions are as they say"
    )
    return 0


def audit(corpus: Corpus, /) -> None:
    """List images that a version holds more than once, and those that cross its splits.

    Example: mammo-etl audit corpus
    """
    import schemas
    from schemas.vocabulary import QualityFlag

    opened = schemas.open(corpus)
    columns = ["duplicate_group", "sample_id", "source", "split", "quality_flags"]
    frame = opened.frame("duplicate_group IS NOT NULL", columns)
    for group, members in frame.groupby("duplicate_group"):
        leak = any(QualityFlag.AUDIT_LEAK in flags for flags in members["quality_flags"])
        names = ", ".join(f"{row.sample_id} ({row.split})" for row in members.itertuples())
        print(f"{'LEAK     ' if leak else 'duplicate'} {group}: {names}")
    groups = frame["duplicate_group"].nunique()
    leaks = sum(QualityFlag.AUDIT_LEAK in flags for flags in frame["quality_flags"])
    total = sum(summary.counts.made for summary in opened.dataset.sources.values())
    print(f"{opened.version}: {total} samples, {groups} duplicate groups, {leaks} samples leak")


def show(
    corpus: Corpus,
    /,
    *,
    output: Path,
    where: str | None = None,
    count: int = 48,
    tile: int = 256,
    native: Annotated[
        list[str] | None,
        Parameter(help="KEY=PATH of a release: draw the films as stored.", negative_iterable=()),
    ] = None,
    acknowledge_licence: Acknowledged = False,
) -> None:
    """Draw a contact sheet of a version, lesions outlined.

    Films whose licence does not let pixels be passed on are left out unless you say that whoever
    gets the sheet holds the licence.

    Example: mammo-etl show corpus --where "pathology = 'malignant'" --output sheet.png

    Parameters
    ----------
    output
        PNG to write.
    where
        SQL condition on the manifest's columns.
    count
        Samples at most; sources and labels take turns.
    tile
        Pixels of a tile's side.
    """
    import cv2

    import schemas
    from beam_jobs.licences import keep_shareable
    from beam_jobs.settings import parse_releases
    from beam_jobs.show import Row, contact_sheet

    def only(rows: list[Row]) -> list[Row]:
        kept, remark = keep_shareable(rows, acknowledge_licence, str(output))
        if remark:
            print(remark, file=sys.stderr)
        return kept

    opened, roots = schemas.open(corpus), dict(parse_releases(native)) if native else None
    sheet = contact_sheet(opened, where=where, count=count, tile=tile, roots=roots, only=only)
    output.parent.mkdir(parents=True, exist_ok=True)
    done, data = cv2.imencode(".png", sheet)
    if not done:
        raise MammoError(f"the sheet of {sheet.shape[1]} x {sheet.shape[0]} pixels is too large")
    output.write_bytes(data.tobytes())
    print(output, file=sys.stdout)


def collect(corpus: Corpus, /, *, delete: Annotated[bool, Parameter(negative=())] = False) -> None:
    """List what no version of a corpus needs; run it when no job is running there.

    Example: mammo-etl gc corpus --delete

    Parameters
    ----------
    delete
        Remove what is listed.
    """
    from beam_jobs.gc import find_garbage
    from schemas.store import open_store

    store = open_store(corpus)
    found = find_garbage(store)
    for item in found:
        print(f"{item.path}  {item.size} bytes: {item.why}")
        if delete:
            store.delete(item.path)
    size = sum(item.size for item in found)
    print(f"{len(found)} files, {size / 1e6:.1f} MB, {'deleted' if delete else 'not deleted'}")
