"""Files and folders of a phantom Duke release: MR slices, SEG, and the layouts in circulation."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ImplicitVRLittleEndian, MRImageStorage, SegmentationStorage

from etl.phantoms.dicom import WRITER, uid

__all__ = ["LAYOUTS", "Device", "Series", "series_folder", "slice_name", "write_seg", "write_slice"]

LAYOUTS = ("descriptive", "classic", "idc", "idc-index")
MANIFEST = "manifest-1654812109500/Duke-Breast-Cancer-MRI"
STUDY_DESCRIPTION = "MRI BREAST BILATERAL W/WO"
SEG_DESCRIPTION = "Segmentation"


@dataclass(frozen=True)
class Device:
    """A scanner and how it stores slices.

    Attributes
    ----------
    code, model_code, matrix_code
        As in the clinical table.
    turned
        Stored rows run to the right and columns to the front: turned by 180 degrees.
    """

    manufacturer: str
    model: str
    code: int
    model_code: int
    matrix: int
    matrix_code: int
    field_strength: float
    turned: bool

    @property
    def signed(self) -> bool:
        """GE stores signed pixels."""
        return self.turned


@dataclass(frozen=True)
class Series:
    """One series of a patient."""

    patient: str
    number: int
    description: str
    sequence: str
    count: int

    @property
    def uid(self) -> str:
        """SeriesInstanceUID."""
        return uid("duke_mri", self.patient, "series", self.number)

    @property
    def study_uid(self) -> str:
        """StudyInstanceUID."""
        return uid("duke_mri", self.patient, "study")


def uuid_of(*path: int | str) -> str:
    """Return a name as buckets have them, which depends on `path` alone."""
    text = hashlib.sha256("/".join(map(str, path)).encode()).hexdigest()
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:32]))


def series_folder(series: Series, layout: str) -> str:
    """Return a series' folder in a layout, without `/` at its end."""
    if layout == "idc":
        return uuid_of(series.patient, series.number)
    if layout == "idc-index":
        kind = "SEG" if series.sequence == "SEG" else "MR"
        return f"duke_breast_cancer_mri/{series.patient}/{series.study_uid}/{kind}_{series.uid}"
    place = f"{MANIFEST}/{series.patient}"
    if layout == "classic":
        return f"{place}/{series.study_uid}/{series.uid}"
    study = f"01-01-1990-NA-{STUDY_DESCRIPTION.replace('/', '')}-{series.study_uid[-5:]}"
    described = series.description.replace("/", "")
    return f"{place}/{study}/{series.number}.000000-{described}-{series.uid[-5:]}"


def slice_name(series: Series, number: int, layout: str) -> str:
    """Return a file name: `1-NN.dcm`, padded for the series' count, or a UUID."""
    if layout.startswith("idc"):
        return f"{uuid_of(series.patient, series.number, number)}.dcm"
    return f"1-{number:0{len(str(series.count))}d}.dcm"


def write_slice(
    path: Path,
    pixels: npt.NDArray[np.int16] | npt.NDArray[np.uint16],
    series: Series,
    device: Device,
    *,
    number: int,
    corner: tuple[float, float, float],
    mm: float,
    slice_mm: float,
    age: int,
    position: str,
) -> int:
    """Write one MR slice (PS3.3 A.4), Implicit VR little endian, and return its bytes.

    Parameters
    ----------
    number
        InstanceNumber.
    corner
        ImagePositionPatient: centre of the first stored pixel.
    """
    data = _common(series, age)
    data.SOPClassUID = MRImageStorage
    data.SOPInstanceUID = UID(uid("duke_mri", series.patient, series.number, number))
    data.Modality, data.InstanceNumber = "MR", number
    data.ImageType = ["ORIGINAL", "PRIMARY", "OTHER"]
    data.Manufacturer, data.ManufacturerModelName = device.manufacturer, device.model
    data.MagneticFieldStrength = device.field_strength
    data.PatientPosition = position
    data.SliceThickness = data.SpacingBetweenSlices = slice_mm
    data.ImagePositionPatient = [f"{value:.4f}" for value in corner]
    data.ImageOrientationPatient = [-1, 0, 0, 0, -1, 0] if device.turned else [1, 0, 0, 0, 1, 0]
    data.FrameOfReferenceUID = UID(uid("duke_mri", series.patient, "frame"))
    data.PixelSpacing = [f"{mm:.6g}", f"{mm:.6g}"]
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.Rows, data.Columns = pixels.shape
    bits = 16 if device.signed else 12
    data.BitsAllocated, data.BitsStored, data.HighBit = 16, bits, bits - 1
    data.PixelRepresentation = int(device.signed)
    data.WindowCenter, data.WindowWidth = 300, 600
    data.PixelData = pixels.astype(pixels.dtype.newbyteorder("<")).tobytes()
    return _saved(data, path)


def write_seg(path: Path, series: Series, shape: tuple[int, int], age: int) -> int:
    """Write a segmentation of a patient's breasts as the release has them beside MR series."""
    data = _common(series, age)
    data.SOPClassUID = SegmentationStorage
    data.SOPInstanceUID = UID(uid("duke_mri", series.patient, series.number, 1))
    data.Modality, data.InstanceNumber = "SEG", 1
    data.NumberOfFrames = 1
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.Rows, data.Columns = shape
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 1, 1, 0, 0
    data.PixelData = bytes(shape[0] * shape[1] // 8)
    return _saved(data, path)


def _common(series: Series, age: int) -> Dataset:
    data = Dataset()
    data.SpecificCharacterSet = "ISO_IR 100"
    data.StudyDate = data.SeriesDate = "19900101"
    data.StudyTime = data.AccessionNumber = data.ReferringPhysicianName = ""
    data.StudyDescription, data.SeriesDescription = STUDY_DESCRIPTION, series.description
    data.PatientName = data.PatientID = series.patient
    data.PatientBirthDate, data.PatientSex, data.PatientAge = "", "F", f"{age:03d}Y"
    data.BodyPartExamined = "BREAST"
    data.StudyInstanceUID = UID(series.study_uid)
    data.SeriesInstanceUID = UID(series.uid)
    data.StudyID, data.SeriesNumber = "", series.number
    return data


def _saved(data: Dataset, path: Path) -> int:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = data.SOPClassUID
    meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    meta.TransferSyntaxUID = ImplicitVRLittleEndian
    meta.ImplementationClassUID = UID(WRITER)
    data.file_meta = meta
    path.parent.mkdir(parents=True, exist_ok=True)
    data.save_as(path, enforce_file_format=True)
    return path.stat().st_size
