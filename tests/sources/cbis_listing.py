"""Where the files of CBIS-DDSM's case tables lie in each layout, worked out with csv alone."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

TABLES = (
    "mass_case_description_train_set.csv",
    "mass_case_description_test_set.csv",
    "calc_case_description_train_set.csv",
    "calc_case_description_test_set.csv",
)
FILM, CROP, MASK = "image file path", "cropped image file path", "ROI mask file path"


class Place(NamedTuple):
    """One file as a case table names it."""

    patient: str
    study: str
    series: str
    file: str


def rows_of(data: bytes) -> list[dict[str, str]]:
    """Return a case table's records with stripped cells."""
    reader = csv.DictReader(io.StringIO(data.decode("ascii"), newline=""))
    return [{title: cell.strip() for title, cell in row.items()} for row in reader]


def places(rows: Iterable[Mapping[str, str]]) -> list[Place]:
    """Return the files of rows, each once, sorted."""
    return sorted({Place(*row[title].split("/")) for row in rows for title in (FILM, CROP, MASK)})


def path_in(layout: str, place: Place) -> str:
    """Return where a file lies in one of the layouts A-F of the release's specification."""
    number = int(re.sub(r"\D", "", place.file)) + 1
    whole = place.patient.endswith(("CC", "MLO"))
    if layout == "A":
        return "/".join(place)
    if layout == "B":
        title = "full mammogram images" if whole else "cropped images"
        return (
            f"manifest-1234567890123/CBIS-DDSM/{place.patient}/10-04-2016-DDSM-{place.study[-5:]}/"
            f"1.000000-{title}-{place.series[-5:]}/1-{number}.dcm"
        )
    if layout == "C":
        return f"{place.series}/1-{number}.dcm"
    if layout == "flat":
        return f"films/{place.series[-9:]}-{number}.dcm"
    if layout == "E":
        return f"jpeg/{place.series}/{number}-{number * 100 + 37}.jpg"
    if layout == "F":
        return f"png/{place.patient}/{place.study}/{place.series}/{number - 1:06d}.png"
    raise ValueError(layout)


def header(place: Place) -> dict[str, str]:
    """Return what a file's DICOM header says."""
    return {
        "PatientID": place.patient,
        "StudyInstanceUID": place.study,
        "SeriesInstanceUID": place.series,
    }
