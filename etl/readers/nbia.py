"""The `metadata.csv` that the NBIA Data Retriever writes beside a download: one row a series.

It says which folder holds which series of which patient, and so replaces the headers of thousands
of files. Titles differ between versions of the retriever in case, blanks and words; paths come
with Windows separators or without. Source: tables of CMMD and CBIS-DDSM downloads.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from etl.readers.tables import read_rows
from schemas.errors import ContentError
from schemas.rejects import RejectReason

__all__ = ["NbiaSeries", "by_folder", "read_nbia"]

_TITLES = {
    "series_uid": ("seriesuid", "seriesinstanceuid", "seriesid"),
    "study_uid": ("studyuid", "studyinstanceuid"),
    "patient_id": ("subjectid", "patientid"),
    "folder": ("filelocation", "location"),
    "description": ("seriesdescription",),
    "study_description": ("studydescription",),
    "manufacturer": ("manufacturer",),
    "modality": ("modality",),
    "num_images": ("numberofimages", "imagecount", "numimages"),
}
_REQUIRED = ("series_uid", "patient_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class NbiaSeries:
    """One series of a download.

    `folder` is relative to the folder of `metadata.csv`, with `/`, NFC, without `./`; None where
    the table names no place. `description` describes only one of the files of a mixed series.
    """

    series_uid: str
    patient_id: str
    study_uid: str | None = None
    folder: str | None = None
    description: str | None = None
    study_description: str | None = None
    manufacturer: str | None = None
    modality: str | None = None
    num_images: int | None = None


def read_nbia(data: bytes) -> Iterator[NbiaSeries]:
    """Yield the series of a `metadata.csv` in the table's order.

    Raises
    ------
    ContentError
        `bad_row`: a title or a series' id is missing, or a count is no number.
    """
    for number, row in enumerate(read_rows(data), start=1):
        found = _by_field(row)
        missing = [name for name in _REQUIRED if not found.get(name)]
        if missing:
            raise ContentError(
                RejectReason.BAD_ROW, f"series {number} of the NBIA table has no {missing[0]}"
            )
        yield _series(found, number)


def by_folder(data: bytes) -> dict[str, NbiaSeries]:
    """Return the series of a `metadata.csv` by folder; those without one are left out."""
    return {series.folder: series for series in read_nbia(data) if series.folder}


def _by_field(row: Mapping[str, str | None]) -> dict[str, str | None]:
    plain = {"".join(filter(str.isalnum, title.lower())): cell for title, cell in row.items()}
    return {
        field: next((plain[title] for title in titles if plain.get(title)), None)
        for field, titles in _TITLES.items()
    }


def _series(found: Mapping[str, str | None], number: int) -> NbiaSeries:
    count = found["num_images"]
    if count is not None and not count.isdecimal():
        raise ContentError(
            RejectReason.BAD_ROW, f"series {number} of the NBIA table has {count!r} images"
        )
    return NbiaSeries(
        series_uid=str(found["series_uid"]),
        patient_id=str(found["patient_id"]),
        study_uid=found["study_uid"],
        folder=_path(found["folder"]),
        description=found["description"],
        study_description=found["study_description"],
        manufacturer=found["manufacturer"],
        modality=found["modality"],
        num_images=None if count is None else int(count),
    )


def _path(location: str | None) -> str | None:
    if location is None:
        return None
    parts = unicodedata.normalize("NFC", location).replace("\\", "/").split("/")
    return "/".join(part for part in parts if part not in ("", ".")) or None
