"""Where CBIS-DDSM files lie in its six layouts, and the bytes of its four case tables.

Layouts: A `<PatientID>/<study>/<series>/00000N.dcm`, as the tables' paths say; B descriptive names
of the NBIA Data Retriever with `metadata.csv` (what most users have); C series folders only; D as
A, with Windows separators in the tables and no line feed in their cells; E the Kaggle JPEG copy;
F PNG files in the tree of A.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["LAYOUTS", "Case", "StoredFile", "metadata_csv", "table_bytes", "table_name"]

LAYOUTS = ("A", "B", "C", "D", "E", "F")

_SHARED = ("left or right breast", "image view", "abnormality id", "abnormality type")
_PATHS = ("image file path", "cropped image file path", "ROI mask file path")
HEADERS = {
    "Mass": (
        *("patient_id", "breast_density", *_SHARED, "mass shape", "mass margins"),
        *("assessment", "pathology", "subtlety", *_PATHS),
    ),
    "Calc": (
        *("patient_id", "breast density", *_SHARED, "calc type", "calc distribution"),
        *("assessment", "pathology", "subtlety", *_PATHS),
    ),
}
_QUOTED = {"Mass": "ROI mask file path", "Calc": "cropped image file path"}


@dataclass(frozen=True)
class StoredFile:
    """One file of the release.

    Attributes
    ----------
    patient_id
        DICOM PatientID, which is the folder's name.
    study, series
        UIDs.
    number, count
        Place of the file in its series, from 1, and how many files the series has.
    description
        SeriesDescription of the series' folder.
    date
        StudyDate, YYYYMMDD.
    """

    patient_id: str
    study: str
    series: str
    number: int
    count: int
    description: str
    date: str

    def path(self, layout: str) -> str:
        """Return where the file lies in a layout, relative to the release's root."""
        if layout == "B":
            date = f"{self.date[4:6]}-{self.date[6:]}-{self.date[:4]}"
            return (
                f"CBIS-DDSM/{self.patient_id}/{date}-DDSM-{self.study[-5:]}/"
                f"1.000000-{self.description}-{self.series[-5:]}/1-{self.number}.dcm"
            )
        if layout == "C":
            return f"{self.series}/1-{self.number}.dcm"
        if layout == "E":
            tail = 100 + int(self.series[-4:]) % 300
            return f"jpeg/{self.series}/{self.number}-{tail + self.number}.jpg"
        ending = "png" if layout == "F" else "dcm"
        top = "CBIS-DDSM/" if layout == "D" else ""
        return f"{top}{self.patient_id}/{self.study}/{self.series}/{self.number - 1:06d}.{ending}"

    def cell(self, number: int | None = None) -> str:
        """Return the path as a table writes it, whatever the layout; `number` counts from 0."""
        shown = self.number - 1 if number is None else number
        return f"{self.patient_id}/{self.study}/{self.series}/{shown:06d}.dcm"


@dataclass(frozen=True)
class Case:
    """One table row: an abnormality on a film.

    Attributes
    ----------
    table
        `Mass` or `Calc`.
    split
        `Training` or `Test`.
    cells
        Column to value, line feeds not yet added.
    """

    table: str
    split: str
    cells: dict[str, str] = field(default_factory=dict)


def table_name(table: str, split: str) -> str:
    """Return a case table's file name.

    >>> table_name("Calc", "Training")
    'calc_case_description_train_set.csv'
    """
    return f"{table.lower()}_case_description_{'train' if split == 'Training' else 'test'}_set.csv"


def table_bytes(cases: list[Case], table: str, layout: str = "B") -> bytes:
    """Return a case table's bytes as the release has them.

    Records end in CR LF; one path cell of each record is quoted and ends in a bare LF (the mask's
    in mass tables, the crop's in calcification tables).
    """
    lines = [",".join(HEADERS[table])]
    for case in cases:
        cells = []
        for column in HEADERS[table]:
            cell = case.cells[column]
            if layout == "D" and column in _PATHS:
                cell = cell.replace("/", "\\")
            elif column == _QUOTED[table]:
                cell = f'"{cell}\n"'
            cells.append(cell)
        lines.append(",".join(cells))
    return "".join(line + "\r\n" for line in lines).encode("ascii")


def _csv_text(rows: list[dict[str, str]]) -> str:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def metadata_csv(stored: list[tuple[StoredFile, int]]) -> str:
    """Return the NBIA retriever's `metadata.csv`: one line a series, with its real folder.

    Parameters
    ----------
    stored
        Files on disk with their sizes in bytes.
    """
    sizes: dict[str, int] = {}
    firsts: dict[str, StoredFile] = {}
    for file, size in stored:
        sizes[file.series] = sizes.get(file.series, 0) + size
        firsts.setdefault(file.series, file)
    rows = []
    for series, file in firsts.items():
        folder = file.path("B").rsplit("/", 1)[0]
        rows.append(
            {
                "Series UID": series,
                "Collection": "CBIS-DDSM",
                "3rd Party Analysis": "",
                "Data Description URI": "https://doi.org/10.7937/K9/TCIA.2016.7O02S9CY",
                "Subject ID": file.patient_id,
                "Study UID": file.study,
                "Study Description": "",
                "Study Date": f"{file.date[4:6]}-{file.date[6:]}-{file.date[:4]}",
                "Series Description": file.description,
                "Manufacturer": "",
                "Modality": "MG",
                "SOP Class Name": "Secondary Capture Image Storage",
                "SOP Class UID": "1.2.840.10008.5.1.4.1.1.7",
                "Number of Images": str(file.count),
                "File Size": f"{sizes[series] / 1e6:.2f} MB",
                "File Location": f"./{folder}",
                "Download Timestamp": "2020-01-01T00:00:00.0",
            }
        )
    return _csv_text(rows)


def kaggle_index(stored: list[tuple[StoredFile, int]], shapes: dict[str, tuple[int, int]]) -> str:
    """Return the Kaggle copy's `dicom_info.csv`: one line a file.

    Parameters
    ----------
    shapes
        Path in layout E to rows and columns.
    """
    rows = []
    for file, _ in stored:
        path = file.path("E")
        side, view = file.patient_id.split("_")[3:5]
        rows.append(
            {
                "file_path": f"CBIS-DDSM/dicom/{file.series}/{file.number}.dcm",
                "image_path": f"CBIS-DDSM/{path}",
                "AccessionNumber": "",
                "Columns": str(shapes[path][1]),
                "Laterality": side[0],
                "Modality": "MG",
                "PatientID": file.patient_id,
                "PatientName": file.patient_id,
                "PatientOrientation": view,
                "Rows": str(shapes[path][0]),
                "SeriesDescription": file.description,
                "SeriesInstanceUID": file.series,
                "StudyDate": file.date,
                "StudyInstanceUID": file.study,
            }
        )
    return _csv_text(rows)


def write_tables(root: Path, cases: list[Case], layout: str) -> None:
    """Write the four case tables, in `csv/` for the Kaggle copy and at the root otherwise."""
    folder = root / "csv" if layout == "E" else root
    folder.mkdir(parents=True, exist_ok=True)
    for table in HEADERS:
        for split in ("Training", "Test"):
            rows = [case for case in cases if (case.table, case.split) == (table, split)]
            (folder / table_name(table, split)).write_bytes(table_bytes(rows, table, layout))
