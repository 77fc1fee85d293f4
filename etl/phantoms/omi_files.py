"""Files of a phantom OMI-DB release: mammograms as DICOM, and their headers as JSON."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    UID,
    DigitalMammographyXRayImageStorageForPresentation,
    DigitalMammographyXRayImageStorageForProcessing,
    ExplicitVRLittleEndian,
)

from etl.phantoms.dicom import WRITER

__all__ = ["Picture", "header_json", "write_mammogram"]

VIEW_CODES = {
    "CC": ("R-10242", "cranio-caudal"),
    "MLO": ("R-10226", "medio-lateral oblique"),
}
MAGNIFICATION = ("R-102D6", "Magnification")


@dataclass(frozen=True, kw_only=True)
class Picture:
    """What a header says.

    Attributes
    ----------
    day, time
        YYYYMMDD, HHMMSS.
    raw
        For processing, 14 bits; else for presentation, 12 bits.
    dark
        MONOCHROME1: the largest value is black.
    hide_side
        The side stands in the series description only.
    source
        SOP instance UID of the picture for processing.
    """

    client: str
    study: str
    series: str
    instance: str
    day: str
    time: str
    side: str
    view: str
    raw: bool
    dark: bool
    spot: bool
    hide_side: bool
    spacing_mm: float
    maker: str
    model: str
    source: str | None


def write_mammogram(path: Path, levels: npt.NDArray[np.uint16], picture: Picture) -> Dataset:
    """Write one mammogram (PS3.3 A.26) and return its data set.

    Parameters
    ----------
    levels
        uint16, rows x columns, brighter where denser; turned over where `dark`.
    """
    data = _described(picture)
    bits = 14 if picture.raw else 12
    stored = (2**bits - 1) - levels if picture.dark else levels
    data.SamplesPerPixel = 1
    data.PhotometricInterpretation = "MONOCHROME1" if picture.dark else "MONOCHROME2"
    data.Rows, data.Columns = levels.shape
    data.BitsAllocated, data.BitsStored, data.HighBit = 16, bits, bits - 1
    data.PixelRepresentation = 0
    if not picture.raw:
        data.WindowCenter, data.WindowWidth = 2 ** (bits - 1), 2**bits
    data.PixelData = stored.astype("<u2").tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    data.save_as(path, enforce_file_format=True)
    return data


def _described(picture: Picture) -> Dataset:
    kind = (
        DigitalMammographyXRayImageStorageForProcessing
        if picture.raw
        else DigitalMammographyXRayImageStorageForPresentation
    )
    data = Dataset()
    data.SOPClassUID, data.SOPInstanceUID = kind, UID(picture.instance)
    data.StudyDate = data.SeriesDate = data.AcquisitionDate = picture.day
    data.StudyTime, data.AcquisitionTime = picture.time, picture.time
    data.Modality = "MG"
    data.PresentationIntentType = "FOR PROCESSING" if picture.raw else "FOR PRESENTATION"
    data.Manufacturer, data.ManufacturerModelName = picture.maker, picture.model
    data.SeriesDescription = f"{picture.side} {picture.view}"
    data.PatientName = data.PatientID = picture.client
    data.PatientAge, data.BodyPartExamined = "064Y", "BREAST"
    data.KVP, data.BodyPartThickness = 29, 55
    data.ImagerPixelSpacing = [picture.spacing_mm, picture.spacing_mm]
    data.ViewPosition = picture.view
    data.BreastImplantPresent = "NO"
    data.StudyInstanceUID, data.SeriesInstanceUID = UID(picture.study), UID(picture.series)
    data.SeriesNumber = data.InstanceNumber = 1
    if not picture.hide_side:
        data.ImageLaterality = picture.side
        data.PatientOrientation = ["P", "L"] if picture.side == "R" else ["A", "R"]
    if picture.view in VIEW_CODES:
        data.ViewCodeSequence = [_code(*VIEW_CODES[picture.view])]
        if picture.spot:
            data.ViewCodeSequence[0].ViewModifierCodeSequence = [_code(*MAGNIFICATION)]
    if picture.source is not None:
        item = Dataset()
        item.ReferencedSOPClassUID = DigitalMammographyXRayImageStorageForProcessing
        item.ReferencedSOPInstanceUID = UID(picture.source)
        data.SourceImageSequence = [item]
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = kind, UID(picture.instance)
    meta.TransferSyntaxUID, meta.ImplementationClassUID = ExplicitVRLittleEndian, UID(WRITER)
    data.file_meta = meta
    return data


def _code(value: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "SRT", meaning
    return item


def header_json(data: Dataset) -> dict[str, Any]:
    """Return a file's header in the DICOM JSON model (PS3.18 F), without its pixels."""
    content = {tag: item for tag, item in data.to_json_dict().items() if tag != "7FE00010"}
    return {"00020010": {"vr": "UI", "Value": [data.file_meta.TransferSyntaxUID]}, **content}
