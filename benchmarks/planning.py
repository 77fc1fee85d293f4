"""Time and memory of planning a release of true size from synthetic tables and listing."""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from etl.phantoms.duke_tables import BOX_TITLES, CODES, GROUPS, MAPPING_TITLES, TITLES
from etl.phantoms.workbook import Cell, workbook
from etl.sources import source
from schemas.film import Film
from schemas.rejects import Absent
from schemas.release import HeaderIndex, Release
from schemas.store import Entry

__all__ = ["duke", "main"]

LIMIT_SECONDS = 120
LIMIT_MIB = 2048
DUKE_FILES = 773_888
DUKE_PATIENTS = 922
_SERIES = ("ax 3d dyn", *(f"Ph{n}ax 3d dyn" for n in range(1, 5)))
_BYTES = 526_000


def main() -> list[str]:
    """Print the table; return the bounds that were missed."""
    print("| release | copy | files | films | absent | CPU s | s | MiB |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |", flush=True)
    missed: list[str] = []
    for copy in ("whole", "with mapping", "1 %"):
        # a process each: peak memory is the process's
        command = [sys.executable, "-m", "benchmarks.planning", copy]
        line = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        print(line.rstrip(), flush=True)
        seconds, mib = (float(cell) for cell in line.rstrip(" |\n").split("|")[-2:])
        if copy != "with mapping" and (seconds > LIMIT_SECONDS or mib > LIMIT_MIB):
            missed.append(f"Duke, {copy}: {seconds:.0f} s and {mib:.0f} MiB")
    return missed


def duke(copy: str) -> str:
    """Plan a copy of Duke's MRI and return its line of the table."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        listing = list(_duke_slices())
        _write_tables(root, listing if copy == "with mapping" else [])
        kept = listing if copy != "1 %" else listing[::100]
        tables = [Entry(path.name, path.stat().st_size) for path in root.iterdir()]
        release = Release(root=folder, entries=tuple(sorted([*kept, *tables])))
        del listing
        busy = time.process_time()
        films, absents, seconds = _timed(lambda: source("duke_mri").plan(release, HeaderIndex()))
        busy = time.process_time() - busy
    if films + absents != 4 * DUKE_PATIENTS:
        raise SystemExit(f"{films} films and {absents} absents of {4 * DUKE_PATIENTS}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    counts = f"{len(kept)} | {films} | {absents}"
    return f"| Duke | {copy} | {counts} | {busy:.1f} | {seconds:.1f} | {peak:.0f} |"


def _timed(plan: Callable[[], Iterator[object]]) -> tuple[int, int, float]:
    began = time.monotonic()
    films = absents = 0
    for item in plan():
        films += isinstance(item, Film)
        absents += isinstance(item, Absent)
    return films, absents, time.monotonic() - began


def _duke_slices() -> Iterator[Entry]:
    """Yield as many slices as the release has, in the descriptive layout."""
    whole, left = divmod(DUKE_FILES, DUKE_PATIENTS * (len(_SERIES) + 1))
    for number in range(1, DUKE_PATIENTS + 1):
        patient = f"Breast_MRI_{number:03d}"
        study = f"manifest-1/Duke-Breast-Cancer-MRI/{patient}/01-01-1990-NA-MRI-{number:05d}"
        for series, name in enumerate(("ax t1", *_SERIES)):
            extra = min(left, 12) if name == "ax t1" else 0
            left -= extra
            folder = f"{study}/{499 + series}.000000-{name}-{series:05d}"
            for slice_ in range(1, whole + extra + 1):
                yield Entry(f"{folder}/1-{slice_:03d}.dcm", _BYTES)


def _write_tables(root: Path, mapped: list[Entry]) -> None:
    names = [f"Breast_MRI_{number:03d}" for number in range(1, DUKE_PATIENTS + 1)]
    boxes: list[list[Cell]] = [[name, 234, 271, 308, 341, 59, 112] for name in names]
    clinical: list[list[Cell]] = [_clinical(name) for name in names]
    heads = [[line.get(k) for k in range(len(TITLES))] for line in (GROUPS, CODES)]
    sheets = {
        "Annotation_Boxes.xlsx": {"Sheet1": [list(BOX_TITLES), *boxes]},
        "Clinical_and_Other_Features.xlsx": {"Data": [heads[0], list(TITLES), heads[1], *clinical]},
    }
    if mapped:
        lines = [_mapping(entry.path) for entry in mapped]
        sheets["Breast-Cancer-MRI-filepath_filename-mapping.xlsx"] = {
            "Sheet1": [list(MAPPING_TITLES), *lines]
        }
    for name, tables in sheets.items():
        (root / name).write_bytes(workbook(tables))


def _clinical(name: str) -> list[Cell]:
    cells: dict[int, Cell] = {0: name, 1: 6, 2: 0, 3: 4, 14: 2, 15: 2, 19: -15209, 36: "R", 37: "R"}
    cells |= {7: "154.724 X 176.048 X 94.5771", 38: 0, 40: "NP", 48: 0, 49: 0, 68: "NC"}
    return [cells.get(column) for column in range(len(TITLES))]


def _mapping(path: str) -> list[Cell]:
    *_, patient, study, series, name = path.split("/")
    number = int(series[:3]) - 500
    sequence = "T1" if number < 0 else f"post_{number}" if number else "pre"
    slice_ = int(name[2:5])
    original = f"DICOM_Images/{patient}/{sequence}/{patient}_{sequence}_{slice_}.dcm"
    return [original, f"D/{patient}/1.2.{study[-5:]}/1.3.{series[:3]}/{name}", path[11:]]


if __name__ == "__main__":
    print(duke(sys.argv[1]))
