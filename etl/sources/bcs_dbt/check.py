"""`verify-release` for Breast-Cancer-Screening-DBT: a copy against the published tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from etl.readers.listing import named, natural_key
from etl.readers.peek import peek
from etl.sources.bcs_dbt.films import nameless, plan_tables
from etl.sources.bcs_dbt.tables import LABELS, SIDES, SPLITS, DbtTables, find_tables
from schemas.errors import MammoError
from schemas.film import Film
from schemas.rejects import Absent, Reject
from schemas.release import HeaderIndex, Release, Remark

__all__ = ["verify"]

EXPECTED_ROWS = {
    ("labels", "train"): 19_148,
    ("labels", "validation"): 1_163,
    ("labels", "test"): 1_721,
    ("boxes", "train"): 224,
    ("boxes", "validation"): 75,
    ("boxes", "test"): 136,
    ("file-paths", "train"): 19_148,
    ("file-paths", "validation"): 1_163,
    ("file-paths", "test"): 1_721,
}
EXPECTED_LABELS = {
    "train": {"Cancer": 76, "Benign": 124, "Actionable": 716, "Normal": 18_232},
    "validation": {"Cancer": 37, "Benign": 38, "Actionable": 160, "Normal": 928},
    "test": {"Cancer": 60, "Benign": 61, "Actionable": 244, "Normal": 1_356},
}
"""Volumes. Of train they were counted in the table itself, of the others on a page that lists them;
so were all figures of boxes."""
EXPECTED_BOXED = {"train": 200, "validation": 75, "test": 121}
EXPECTED_PATIENTS = {"train": 4_362, "validation": 280, "test": 418}
"""Those of validation and test are remembered, not counted; their sum agrees."""
EXPECTED_VOLUMES = 22_032

_LOOKED_AT = 8


def verify(release: Release, index: HeaderIndex) -> Iterator[Remark]:
    """Compare a copy with the nine tables and 22,032 volumes; looks into a few headers."""
    try:
        tables = find_tables(release)
    except MammoError as error:
        yield Remark(ok=False, what=str(error), meaning="this copy cannot be read")
        return
    items = list(plan_tables(tables, release, index))
    yield from _tables(tables)
    for split in SPLITS:
        yield from _labels(tables, split)
        yield from _boxes(tables, split)
    yield from _files(release, index, tables, items)
    yield from _rejects([item for item in items if isinstance(item, Reject)])
    yield from _headers(release, [item for item in items if isinstance(item, Film)])


def _tables(tables: DbtTables) -> Iterator[Remark]:
    meanings = {
        "labels": "its volumes are unlabelled, not normal; validation and test have labels since "
        "January 2024",
        "boxes": "its lesions have no place; volumes with a biopsy are shown at two depths",
        "file-paths": "its volumes cannot be told from one another and are counted as absent",
    }
    for (kind, split), expected in EXPECTED_ROWS.items():
        if not tables.has(kind, split):
            yield Remark(ok=False, what=f"no {kind} table of {split}", meaning=meanings[kind])
            continue
        path = tables.used[kind, split]
        found = tables.rows[path]
        yield Remark(
            ok=found == expected,
            what=f"{kind} of {split}: {found} of {expected} rows in {path}",
            meaning="" if found == expected else "an excerpt or another edition",
        )
        if kind == "boxes" and found and "VolumeSlices" not in tables.titled[path]:
            yield Remark(
                ok=True,
                what=f"{path} has no VolumeSlices: the first edition",
                meaning="depths are taken from the files, and slices are not checked against them",
            )
    for path in tables.unused:
        yield Remark(ok=True, what=f"{path} is not used: a later edition or a copy of it is")


def _labels(tables: DbtTables, split: str) -> Iterator[Remark]:
    if not tables.has("labels", split):
        return
    mine = {key: one for key, one in tables.volumes.items() if split in one.splits and one.labelled}
    found = Counter(word for one in mine.values() for word in one.words)
    expected = EXPECTED_LABELS[split]
    yield Remark(
        ok=dict(found) == expected,
        what=f"volumes of {split} by label: "
        + ", ".join(f"{word} {found[word]} of {expected[word]}" for word in LABELS),
    )
    people = len({key.patient for key in mine})
    yield Remark(
        ok=people == EXPECTED_PATIENTS[split],
        what=f"patients of {split}: {people} of {EXPECTED_PATIENTS[split]}"
        + ("" if split == "train" else " (a figure from memory)"),
    )
    studies: dict[str, set[str]] = {}
    for key, one in mine.items():
        studies.setdefault(key.study, set()).update(one.words)
    mixed = [study for study, words in studies.items() if len(words) > 1]
    if mixed:
        yield Remark(
            ok=False,
            what=f"studies with more than one label: {len(mixed)}, {named(mixed, 3)}",
            meaning="the gravest word counts for the whole study, with the flag label_conflict",
        )
    if silent := [key.key for key, one in mine.items() if not one.words]:
        yield Remark(
            ok=False,
            what=f"rows without any label: {len(silent)}, {named(silent, 3)}",
            meaning="they are unknown, not normal",
        )


def _boxes(tables: DbtTables, split: str) -> Iterator[Remark]:
    if not tables.has("boxes", split):
        return
    mine = [one for one in tables.volumes.values() if split in one.splits]
    boxed = sum(bool(one.boxes) for one in mine)
    yield Remark(
        ok=boxed == EXPECTED_BOXED[split],
        what=f"volumes of {split} with a box: {boxed} of {EXPECTED_BOXED[split]}",
    )
    bare = sum(not one.boxes and bool(one.words & {"Cancer", "Benign"}) for one in mine)
    if bare:
        yield Remark(
            ok=False,
            what=f"volumes of {split} that are benign or cancer and have no box: {bare}",
            meaning="they are shown at two depths, which need not show the lesion",
        )


def _files(
    release: Release,
    index: HeaderIndex,
    tables: DbtTables,
    items: Sequence[Film | Reject | Absent],
) -> Iterator[Remark]:
    unread = [path for path in nameless(tables, release) if path not in index.headers]
    if unread:
        yield Remark(
            ok=False,
            what="DICOM files that only their header can place, and it has not been read: "
            f"{len(unread)}, {named(unread, 2)}",
            meaning="run `mammo-etl index` (plan and run do it); until then volumes seem absent",
        )
    films = {film.image.path for film in items if isinstance(film, Film)}
    gone = {item.film_key.rpartition("/")[0] for item in items if isinstance(item, Absent)}
    lost = sorted(gone, key=natural_key)
    yield Remark(
        ok=len(films) == EXPECTED_VOLUMES,
        what=f"{len(films)} of {EXPECTED_VOLUMES} volumes"
        + (f"; rows without file: {len(lost)}, {named(lost, 2)}" if lost else ""),
        meaning="partial copies are the rule (1.63 TB); what is not here is counted as absent"
        if lost
        else "",
    )
    placeless = sum(one.location is None for one in tables.volumes.values())
    if placeless:
        yield Remark(
            ok=False,
            what=f"volumes that no file-paths table has: {placeless}",
            meaning="their files, if they are here, are rejected as no_table_row",
        )


def _rejects(rejects: Sequence[Reject]) -> Iterator[Remark]:
    for reason, count in sorted(Counter(item.reason for item in rejects).items()):
        examples = [item.detail for item in rejects if item.reason == reason]
        yield Remark(ok=False, what=f"rejected as {reason}: {count}, such as: {examples[0]}")


def _headers(release: Release, films: Sequence[Film]) -> Iterator[Remark]:
    """Say what some headers hold of which the release's documents do not speak clearly."""
    first = {film.image.path: film for film in reversed(films)}
    paths = sorted(first, key=natural_key)[:: max(1, len(first) // _LOOKED_AT)][:_LOOKED_AT]
    heads = {path: head for path in paths if (head := peek(release, path))}
    if not heads:
        return
    looked = f"of {len(heads)} volumes looked into"
    spacings = Counter(head.get("PixelSpacing", "none") for head in heads.values())
    yield Remark(
        ok="none" not in spacings,
        what=f"pixel spacing {looked}: {_counted(spacings)} (about 0.085 mm is remembered)",
        meaning="without spacing, sizes in mm are nominal" if "none" in spacings else "",
    )
    bits = Counter(head.get("BitsStored", "none") for head in heads.values())
    yield Remark(
        ok=True,
        what=f"BitsStored {looked}: {_counted(bits)} (10, over code streams of 16, is known)",
        meaning="values above are believed, with the flag bits_mismatch",
    )
    agree = sum(
        SIDES[f"{film.laterality or ''}{film.view or ''}".lower()].value
        == heads[path].get("FrameLaterality")
        for path, film in first.items()
        if path in heads
    )
    yield Remark(
        ok=True,
        what=f"laterality tags {looked} that agree with the view's name: {agree} "
        "(the tag says L of all)",
        meaning="the tag is not read; volumes are turned by their pixels",
    )


def _counted(words: Mapping[str, int]) -> str:
    return ", ".join(f"{word} x {count}" for word, count in sorted(words.items()))
