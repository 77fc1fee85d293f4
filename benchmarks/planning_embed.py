"""Time and memory of `mammo-etl plan` over EMBED at its true size, from synthetic tables.

480,323 rows of 155 columns, 81,776 findings; once with every file in the copy, once with 1 %.
Every cell is invented.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measured import Measured, measured
from etl.phantoms.embed_words import CLINICAL_TITLES, METADATA_TITLES

IMAGES = 480_323
FINDINGS = 81_776
PATIENTS = 23_256
EXAMS = 72_770
COLUMNS = 155
LIMIT_S = 120
LIMIT_MIB = 2048
SHARES = (1.0, 0.01)
VIEWS = (("L", "CC"), ("L", "MLO"), ("R", "CC"), ("R", "MLO"))


def main() -> list[str]:
    """Print the table; return the bounds that were missed."""
    print(f"{IMAGES} image rows of {COLUMNS} columns, {FINDINGS} findings\n")
    print("| files in the copy | plan, s | CPU, s | peak, MiB | planned | absent | rejects |")
    print("| ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    missed = []
    with tempfile.TemporaryDirectory() as folder:
        for share in SHARES:
            root = Path(folder) / f"copy of {share}"
            embed(root, share)
            done = plan(root, Path(folder) / f"out of {share}")
            counts = counted(Path(folder) / f"out of {share}")
            spent = f"{done.seconds:.0f} | {done.busy_s:.0f} | {done.peak_mib}"
            print(f"| {share:.0%} | {spent} | {' | '.join(counts)} |", flush=True)
            if done.seconds > LIMIT_S:
                missed.append(f"planning took {done.seconds:.0f} s, the bound is {LIMIT_S} s")
            if done.peak_mib > LIMIT_MIB:
                missed.append(f"planning took {done.peak_mib} MiB, the bound is {LIMIT_MIB} MiB")
            if counts[2] != "0":
                missed.append(f"{counts[2]} rows became rejects")
    return missed


def plan(root: Path, output: Path) -> Measured:
    """Plan a copy by the command line in a process of its own."""
    command = [sys.executable, "-m", "beam_jobs", "plan", "--release", f"embed={root}"]
    return measured([*command, "--output", str(output)])


def counted(output: Path) -> tuple[str, str, str]:
    """Return the rows of the plan: films, absents, rejects."""
    import pyarrow.parquet as pq

    [folder] = (output / "private" / "plans").iterdir()
    names = ("tasks", "absent", "rejects")
    films, absent, rejects = (
        pq.read_metadata(folder / f"{name}.parquet").num_rows for name in names
    )
    return str(films), str(absent), str(rejects)


def embed(root: Path, share: float, seed: int = 1) -> None:
    """Write tables of the true size, and an empty file for a share of the images."""
    rng = random.Random(seed)
    (root / "tables").mkdir(parents=True)
    exams = [(place % PATIENTS, place) for place in range(EXAMS)]
    extra = IMAGES - 4 * EXAMS
    _write_metadata(root, rng, exams, extra, share)
    _write_clinical(root, rng, exams)


def _write_metadata(
    root: Path, rng: random.Random, exams: list[tuple[int, int]], extra: int, share: float
) -> None:
    more = [f"Tag{place}" for place in range(COLUMNS - len(METADATA_TITLES))]
    filler = "," + ",".join(f"filler {place}" for place in range(len(more)))
    left = extra
    with (root / "tables" / "EMBED_OpenData_metadata.csv").open("w", encoding="utf-8") as file:
        file.write(",".join([*METADATA_TITLES, *more]) + "\n")
        for place, (patient, exam) in enumerate(exams):
            here = left // (len(exams) - place)
            left -= here
            folder = f"cohort_{1 + patient % 2}/{_empi(patient)}/{_uid(1, exam)}/{_uid(2, exam)}"
            known = rng.random() < share
            if known:
                (root / "images" / folder).mkdir(parents=True)
            for image in range(4 + here):
                path = f"{folder}/{_uid(3, exam * 16 + image)}.dcm"
                if known:
                    (root / "images" / path).touch()
                file.write(_image(rng, patient, exam, image, path) + filler + "\n")


def _image(rng: random.Random, patient: int, exam: int, image: int, path: str) -> str:
    side, view = VIEWS[image % 4]
    kind = "2D" if image < 4 else "cview"
    boxes = "((1200, 300, 1500, 620),)" if rng.random() < 0.015 else "()"
    cells = {
        "empi_anon": _empi(patient),
        "acc_anon": _acc(exam),
        "study_date_anon": "2015-02-03",
        "cohort_num": str(1 + patient % 2),
        "anon_dicom_path": f"/mnt/NAS2/mammo/anon_dicom/{path}",
        "png_path": f"/mnt/NAS2/mammo/png_images/{path}.png",
        "StudyDescription": "MG Screening Bilateral",
        "SeriesDescription": f"{side} {view}",
        "FinalImageType": kind,
        "ImageLateralityFinal": side,
        "ViewPosition": view,
        "num_roi": "1" if len(boxes) > 2 else "0",
        "ROI_coords": f'"{boxes}"',
        "match_level": "[1]" if len(boxes) > 2 else "[]",
        "Manufacturer": '"HOLOGIC, Inc."',
        "ManufacturerModelName": "Selenia Dimensions",
        "PatientOrientation": "\"['A', 'R']\"",
        "Rows": "3328",
        "Columns": "2560",
        "AcquisitionTime": f"{101500 + image}.0",
    }
    return ",".join(cells.get(title, "") for title in METADATA_TITLES)


def _write_clinical(root: Path, rng: random.Random, exams: list[tuple[int, int]]) -> None:
    with (root / "tables" / "EMBED_OpenData_clinical.csv").open("w", encoding="utf-8") as file:
        file.write(",".join(CLINICAL_TITLES) + "\n")
        for row in _findings(rng, exams):
            file.write(",".join(row.get(title, "") for title in CLINICAL_TITLES) + "\n")


def _findings(rng: random.Random, exams: list[tuple[int, int]]) -> Iterator[dict[str, str]]:
    more = FINDINGS - len(exams)
    for place, (patient, exam) in enumerate(exams):
        for finding in range(1 + (place < more)):
            asses = rng.choices("NBASPMK", (50, 20, 15, 6, 6, 2, 1))[0]
            side = "" if asses == "N" else rng.choice("LRB")
            severity = rng.choice(("0.0", "1.0", "4.0", "5.0")) if asses in "SMK" else ""
            yield {
                "empi_anon": _empi(patient),
                "acc_anon": _acc(exam),
                "study_date_anon": "2015-02-04",
                "desc": "MG Screening Bilateral",
                "tissueden": f"{1 + exam % 4}.0",
                "asses": asses,
                "numfind": str(finding + 1),
                "side": side,
                "massshape": rng.choice("ROX") if side else "",
                "bside": side if severity else "",
                "procdate_anon": "2015-02-20" if severity else "",
                "path1": "NA" if severity == "5.0" else "",
                "path_severity": severity,
                "age_at_study": "55.1",
                "GENDER_DESC": "Female",
            }


def _empi(patient: int) -> str:
    return str(10_000_000 + patient)


def _acc(exam: int) -> str:
    return str(9_900_000_000_000_000 + exam)


def _uid(kind: int, number: int) -> str:
    return f"1.2.840.999999.{kind}.{10**24 + 7919 * number}.{10**14 + number}"


if __name__ == "__main__":
    began = time.monotonic()
    embed(Path(sys.argv[1]), float(sys.argv[2]))
    print(f"written in {time.monotonic() - began:.0f} s")
