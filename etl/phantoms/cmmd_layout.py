"""Where CMMD's files lie in its layouts, the bytes of its tables, and its DICOM files.

Layouts: A descriptive names of the NBIA Data Retriever with `metadata.csv`; B its classic names;
C the REST service's zip; D tcia_utils; E idc-index; F the IDC bucket; G home-made IDC copies; H the
Kaggle copy; I pictures re-exported to PNG, whose sides and views are lost.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    UID,
    DigitalMammographyXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from etl.phantoms.dicom import WRITER
from etl.phantoms.workbook import Cell, workbook

__all__ = [
    "COLUMNS",
    "LAYOUTS",
    "TABLES",
    "StoredFile",
    "metadata_csv",
    "table",
    "tompei_workbook",
    "write_image",
]

LAYOUTS = "ABCDEFGHI"
TABLES = {
    "xlsx": "CMMD_clinicaldata_revision.xlsx",
    "csv": "CMMD_clinicaldata_revision.csv",
    "semicolon": "CMMD_clinicaldata_revision_CSV.csv",
}
COLUMNS = ("ID1", "LeftRight", "Age", "number", "abnormality", "classification", "subtype")
MANIFEST = "manifest-1649260258000"
DATE = "07-18-2010"

_VIEWS = {"CC": ("399162004", "cranio-caudal"), "MLO": ("399368009", "medio-lateral oblique")}
_METADATA = (
    *("Series UID", "Collection", "3rd Party Analysis", "Data Description URI", "Subject ID"),
    *("Study UID", "Study Description", "Study Date", "Series Description", "Manufacturer"),
    *("Modality", "SOP Class Name", "SOP Class UID", "Number of Images", "File Size"),
    *("File Location", "Download Timestamp"),
)
_SHEET = (
    *("ID", "LeftRight", "Age", "classification", "Exclusion reasons", "Breast density"),
    *("Mass", None, None, None, None, None, "Calcification", None, None, None, None),
    *("Other findings", None, None, None, "BI-RADS\nCategory", "Notes"),
)
_SUBTITLES = (
    *(None, None, None, None, None, None, "Location", "Shape", "Margin", "Density"),
    *("Associated calcification", "Other associated findings", "Location", "Morphology"),
    *("Distribution", "Clearly benign calcifications", "Other associated findings", "Location"),
    *("Breast parenchyma", "Skin", "Lymph nodes", None, None),
)


@dataclass(frozen=True)
class StoredFile:
    """One image of the release; `number` counts from 1 within the patient's one series."""

    patient: str
    study: str
    series: str
    instance: str
    number: int
    shape: tuple[int, int]

    @property
    def folder(self) -> str:
        """Return the series' folder under the retriever's descriptive names."""
        study = f"{DATE}-NA-NA-{self.study[-5:]}"
        return f"CMMD/{self.patient}/{study}/1.000000-NA-{self.series[-5:]}"

    def path(self, layout: str) -> str:
        """Return where the file lies in a layout, relative to the release's root."""
        tree = f"CMMD/{self.patient}/{self.study}/{self.series}"
        own = _uuid(self.instance)
        tails = f"cmmd/{self.patient}/{self.study[-5:]}/{self.series[-5:]}"
        rows, columns = self.shape
        return {
            "A": f"{MANIFEST}/{self.folder}/1-{self.number}.dcm",
            "B": f"{tree}/{self.number - 1:06d}.dcm",
            "C": f"{self.series}/{self.number:08d}.dcm",
            "D": f"tciaDownload/{self.series}/1-{self.number}.dcm",
            "E": f"cmmd/{self.patient}/{self.study}/MG_{self.series}/{own}.dcm",
            "F": f"{_uuid(self.series)}/{own}.dcm",
            "G": f"{tails}/{own}.dcm",
            "H": f"TheChineseMammographyDatabase/{tree}/1-{self.number}.dcm",
            "I": f"pngs/{rows}x{columns}/{self.patient}/1-{self.number}.png",
        }[layout]


def _uuid(uid: str) -> str:
    text = hashlib.sha256(uid.encode()).hexdigest()
    return "-".join((text[:8], text[8:12], f"4{text[13:16]}", f"a{text[17:20]}", text[20:32]))


def write_image(
    path: Path,
    image: npt.NDArray[np.unsignedinteger],
    file: StoredFile,
    *,
    side: str,
    view: str,
    age: int,
    spacing_mm: float,
    explicit: bool,
    window_bits: int = 8,
) -> None:
    """Write a mammogram as CMMD has them.

    For presentation (PS3.3 A.26.2), uncompressed, an identity window with a sigmoid function, the
    view in ViewCodeSequence only, ImagerPixelSpacing, no manufacturer.

    Parameters
    ----------
    image
        uint8, or uint16 for the one patient stored in 16 bits; rows x columns.
    side, view
        `L` or `R` as the header says; `CC` or `MLO`.
    window_bits
        Bits of the identity window that is written, whatever is stored.
    """
    bits = 8 * image.dtype.itemsize
    data = Dataset()
    data.SpecificCharacterSet = "ISO_IR 100"
    data.SOPClassUID = DigitalMammographyXRayImageStorageForPresentation
    data.SOPInstanceUID = UID(file.instance)
    data.StudyDate, data.StudyTime = "20100718", ""
    data.Modality, data.PresentationIntentType = "MG", "FOR PRESENTATION"
    data.Manufacturer = ""
    data.PatientName = data.PatientID = file.patient
    data.PatientBirthDate, data.PatientSex, data.PatientAge = "", "F", f"{age:03d}Y"
    data.BodyPartExamined = "BREAST"
    data.StudyInstanceUID, data.SeriesInstanceUID = UID(file.study), UID(file.series)
    data.StudyID, data.SeriesNumber, data.InstanceNumber = "", 1, file.number
    data.ImageLaterality, data.ViewPosition = side, ""
    code = Dataset()
    code.CodeValue, code.CodeMeaning = _VIEWS[view]
    code.CodingSchemeDesignator = "SCT"
    code.ViewModifierCodeSequence = []
    data.ViewCodeSequence = [code]
    data.ImagerPixelSpacing = [f"{spacing_mm:.6g}"] * 2
    data.WindowCenter, data.WindowWidth = 2 ** (window_bits - 1), 2**window_bits
    data.VOILUTFunction = "SIGMOID"
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.Rows, data.Columns = image.shape
    data.BitsAllocated, data.BitsStored, data.HighBit = bits, bits, bits - 1
    data.PixelRepresentation = 0
    raw = image.astype(image.dtype.newbyteorder("<")).tobytes()
    data.PixelData = raw + b"\0" * (len(raw) % 2)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = data.SOPClassUID
    meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian if explicit else ImplicitVRLittleEndian
    meta.ImplementationClassUID = UID(WRITER)
    data.file_meta = meta
    path.parent.mkdir(parents=True, exist_ok=True)
    data.save_as(path, enforce_file_format=True)


def table(rows: Sequence[Mapping[str, Cell]], form: str) -> bytes:
    """Return the clinical table's bytes: `xlsx`, `csv` (commas, CR LF) or `semicolon`."""
    lines = [COLUMNS, *(tuple(row[column] for column in COLUMNS) for row in rows)]
    if form == "xlsx":
        return workbook({"Sheet1": lines})
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter="," if form == "csv" else ";", lineterminator="\r\n")
    writer.writerows(["" if cell is None else cell for cell in line] for line in lines)
    return text.getvalue().encode("ascii")


def metadata_csv(stored: Sequence[tuple[StoredFile, int]]) -> bytes:
    """Return the NBIA retriever's `metadata.csv`: one line a series, Windows separators.

    Parameters
    ----------
    stored
        Files with their sizes in bytes.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_METADATA)
    for series in dict.fromkeys(file.series for file, _ in stored):
        files = [(file, size) for file, size in stored if file.series == series]
        first = files[0][0]
        writer.writerow(
            [
                *(series, "CMMD", "NO", "https://doi.org/10.7937/tcia.eqde4b16", first.patient),
                *(first.study, "NA", DATE, "NA", "NA", "MG"),
                "Digital Mammography X-Ray Image Storage - For Presentation",
                *("1.2.840.10008.5.1.4.1.1.1.2", len(files)),
                f"{sum(size for _, size in files) / 1e6:.2f} MB",
                ".\\" + first.folder.replace("/", "\\"),
                "2022-04-06T19:50:58.958",
            ]
        )
    return text.getvalue().encode("ascii")


def tompei_workbook(breasts: Sequence[Mapping[str, Cell]]) -> bytes:
    """Return TOMPEI-CMMD's workbook: a page of words, and one line a breast below two of titles."""
    lines: list[Sequence[Cell]] = [_SHEET, _SUBTITLES]
    for breast in breasts:
        line: list[Cell] = [None] * len(_SHEET)
        for place in (0, 1, 2, 3, 5, 21):
            line[place] = breast[str(_SHEET[place])]
        lines.append(line)
    return workbook(
        {
            "README": [["Phantom films, drawn by a program."]],
            "Imaging Diagnosis Details Sheet": lines,
            "Lesion Details Sheet": [["ID1", "LeftRight", "Number of lesions"]],
        }
    )
