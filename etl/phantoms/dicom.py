"""DICOM files of phantom releases, written with pydicom from values alone."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    UID,
    DigitalMammographyXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    RLELossless,
    SecondaryCaptureImageStorage,
)

from schemas.errors import UsageError

__all__ = ["uid", "write_ffdm", "write_secondary_capture"]

WRITER = "1.2.40.0.13.1.1.1"


def uid(*path: int | str) -> str:
    """Return a DICOM UID under 2.25 (PS3.5 B.2) that depends on `path` alone."""
    digest = hashlib.sha256("/".join(str(part) for part in path).encode()).digest()
    return f"2.25.{int.from_bytes(digest[:16], 'big') >> 2}"


def _meta(sop_class: UID, instance: str, syntax: UID) -> FileMetaDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = sop_class
    meta.MediaStorageSOPInstanceUID = UID(instance)
    meta.TransferSyntaxUID = syntax
    meta.ImplementationClassUID = UID(WRITER)
    return meta


def _describe_pixels(data: Dataset, image: npt.NDArray[np.unsignedinteger], bits: int) -> None:
    allocated = 8 * image.dtype.itemsize
    data.SamplesPerPixel = 1
    data.PhotometricInterpretation = "MONOCHROME2"
    data.Rows, data.Columns = image.shape
    data.BitsAllocated = allocated
    data.BitsStored = bits
    data.HighBit = bits - 1
    data.PixelRepresentation = 0


def write_secondary_capture(
    path: Path,
    image: npt.NDArray[np.unsignedinteger],
    *,
    patient_id: str,
    study: str,
    series: str,
    instance: str,
    description: str,
    number: int,
    side: str,
    view: str,
    date: str,
    explicit: bool = False,
) -> int:
    """Write a file as CBIS-DDSM has them, and return its size in bytes.

    Secondary Capture (PS3.3 A.8.1), modality MG, MONOCHROME2, unsigned, little endian and
    uncompressed, no spacing, window or ViewPosition; the view stands in PatientOrientation.

    Parameters
    ----------
    image
        uint8 or uint16, rows x columns.
    side, view
        `L` or `R`; `CC` or `MLO`.
    date
        StudyDate, YYYYMMDD.
    explicit
        Explicit VR instead of Implicit VR little endian.
    """
    data = Dataset()
    data.SpecificCharacterSet = "ISO_IR 100"
    data.SOPClassUID = SecondaryCaptureImageStorage
    data.SOPInstanceUID = UID(instance)
    data.StudyDate, data.ContentDate = date, "20160426"
    data.StudyTime, data.ContentTime = "132530", "121908.978000"
    data.AccessionNumber = ""
    data.Modality, data.ConversionType = "MG", "WSD"
    data.ReferringPhysicianName = ""
    data.SeriesDescription = description
    data.PatientName = data.PatientID = patient_id
    data.PatientBirthDate = data.PatientSex = ""
    data.BodyPartExamined = "BREAST"
    data.SecondaryCaptureDeviceManufacturer = "MathWorks"
    data.SecondaryCaptureDeviceManufacturerModelName = "MATLAB"
    data.StudyInstanceUID, data.SeriesInstanceUID = UID(study), UID(series)
    data.StudyID, data.SeriesNumber, data.InstanceNumber = "DDSM", 1, number
    data.PatientOrientation, data.Laterality = view, side
    private = data.private_block(0x0013, "CTP", create=True)
    private.add_new(0x10, "LO", "CBIS-DDSM ")
    private.add_new(0x13, "LO", "43372602")
    _describe_pixels(data, image, 8 * image.dtype.itemsize)
    data.SmallestImagePixelValue = int(image.min())
    data.LargestImagePixelValue = int(image.max())
    raw = image.astype(image.dtype.newbyteorder("<")).tobytes()
    data.PixelData = raw + b"\0" * (len(raw) % 2)
    syntax = ExplicitVRLittleEndian if explicit else ImplicitVRLittleEndian
    data.file_meta = _meta(SecondaryCaptureImageStorage, instance, syntax)
    path.parent.mkdir(parents=True, exist_ok=True)
    data.save_as(path, enforce_file_format=True)
    return path.stat().st_size


def _encoded(image: npt.NDArray[np.uint16], syntax: UID, bits: int) -> bytes:
    import imagecodecs

    if syntax == JPEGLosslessSV1:
        return bytes(
            imagecodecs.jpeg8_encode(image, lossless=True, predictor=1, bitspersample=bits)
        )
    if syntax == JPEG2000Lossless:
        return bytes(
            imagecodecs.jpeg2k_encode(
                image, level=0, codecformat="j2k", reversible=True, bitspersample=bits, numthreads=1
            )
        )
    raise UsageError(
        f"a phantom cannot be written in transfer syntax {syntax}; use {ExplicitVRLittleEndian}, "
        f"{JPEGLosslessSV1}, {JPEG2000Lossless} or {RLELossless}"
    )


def write_ffdm(
    path: Path,
    image: npt.NDArray[np.uint16],
    transfer_syntax: str = ExplicitVRLittleEndian,
    *,
    bits: int = 12,
    side: str = "L",
    view: str = "CC",
    patient_id: str = "PHANTOM",
    spacing_mm: float = 0.07,
    key: str = "0",
    tags: Mapping[str, Any] | None = None,
) -> None:
    """Write a digital mammogram for presentation (PS3.3 A.26.2).

    Parameters
    ----------
    image
        uint16, rows x columns, values below 2**bits.
    transfer_syntax
        Explicit VR little endian, JPEG lossless SV1 (predictor 1), JPEG 2000 lossless or RLE.
    key
        Names the UIDs: the same key gives the same file.
    tags
        Values by DICOM keyword that replace those written here; None leaves an element out.

    Raises
    ------
    UsageError
        For another transfer syntax.
    """
    syntax = UID(transfer_syntax)
    instance = uid("ffdm", key, "instance")
    data = Dataset()
    data.SOPClassUID = DigitalMammographyXRayImageStorageForPresentation
    data.SOPInstanceUID = UID(instance)
    data.StudyDate, data.StudyTime = "20200101", "120000"
    data.Modality, data.PresentationIntentType = "MG", "FOR PRESENTATION"
    data.Manufacturer = "PHANTOM"
    data.PatientName = data.PatientID = patient_id
    data.BodyPartExamined = "BREAST"
    data.ViewPosition, data.ImageLaterality = view, side
    data.PatientOrientation = ["P", "R"] if side == "R" else ["A", "L"]
    data.StudyInstanceUID = UID(uid("ffdm", key, "study"))
    data.SeriesInstanceUID = UID(uid("ffdm", key, "series"))
    data.SeriesNumber = data.InstanceNumber = 1
    data.ImagerPixelSpacing = [spacing_mm, spacing_mm]
    data.WindowCenter, data.WindowWidth = 2 ** (bits - 1), 2**bits
    for keyword, value in (tags or {}).items():
        if value is None:
            delattr(data, keyword)
        else:
            setattr(data, keyword, value)
    _describe_pixels(data, image, bits)
    data.file_meta = _meta(DigitalMammographyXRayImageStorageForPresentation, instance, syntax)
    if syntax == ExplicitVRLittleEndian:
        data.PixelData = image.astype("<u2").tobytes()
    elif syntax == RLELossless:
        data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data.PixelData = image.astype("<u2").tobytes()
        data.compress(RLELossless, encoding_plugin="pylibjpeg", generate_instance_uid=False)
    else:
        data.PixelData = encapsulate([_encoded(image, syntax, bits)])
        data["PixelData"].is_undefined_length = True
    path.parent.mkdir(parents=True, exist_ok=True)
    data.save_as(path, enforce_file_format=True)
