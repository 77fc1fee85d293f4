"""Small films whose truth is known, and the files they are read from."""

from __future__ import annotations

import io
from typing import Any

import cv2
import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage

from schemas.film import FileRef, Film, FilmLesion
from schemas.rejects import Reject
from schemas.release import Licence, ReleaseInfo, TissueRule
from schemas.sample import Sample
from schemas.spec import Spec
from schemas.vocabulary import Laterality, Modality

LICENCE = Licence(key="free", title="free", redistributable=True, weights_releasable=True)


def release(tissue: TissueRule = TissueRule.FILM, **changes: Any) -> ReleaseInfo:
    fields: dict[str, Any] = {
        "key": "test",
        "title": "Test",
        "modalities": (Modality.SFM,),
        "licence": LICENCE,
        "citation": "nobody",
        "url": "none",
        "how_to_get": "draw it",
        "tissue": tissue,
    }
    return ReleaseInfo(**{**fields, **changes})


def film(
    lesions: tuple[FilmLesion, ...] = (), files: dict[str, bytes] | None = None, **changes: Any
) -> Film:
    fields: dict[str, Any] = {
        "source": "test",
        "film_key": "one",
        "patient_key": "anna",
        "files": refs(files or {"film": b""}),
        "modality": Modality.SFM,
        "laterality": Laterality.L,
        "lesions": lesions,
        "licence": "free",
    }
    return Film(**{**fields, **changes})


def refs(files: dict[str, bytes]) -> tuple[FileRef, ...]:
    """`film` is the image; `LESION/NAME` is a roi of that lesion."""
    return tuple(
        FileRef(
            role="roi" if "/" in path else "image",
            path=path,
            size=len(data),
            lesion=path.split("/")[0] if "/" in path else None,
        )
        for path, data in files.items()
    )


def made(
    files: dict[str, bytes], lesions: tuple[FilmLesion, ...] = (), **changes: Any
) -> Sample | Reject:
    """Standardise a film whose files lie in memory."""
    from etl.pixels.standardise import standardise

    spec = changes.pop("spec", Spec())
    info = changes.pop("info", release())
    resolve = changes.pop("resolve", None)
    one = film(lesions, files, **changes)
    return standardise(one, lambda ref: files[ref.path], spec, info, resolve)


def sample(files: dict[str, bytes], lesions: tuple[FilmLesion, ...] = (), **changes: Any) -> Sample:
    result = made(files, lesions, **changes)
    assert isinstance(result, Sample), result
    return result


def png(array: np.ndarray[Any, Any]) -> bytes:
    return bytes(cv2.imencode(".png", array)[1])


def dicom(array: np.ndarray[Any, Any], **tags: Any) -> bytes:
    """An uncompressed secondary capture; tags by keyword."""
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    data.file_meta.MediaStorageSOPInstanceUID = "2.25.1"
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.ImplementationClassUID = "2.25.2"
    data.file_meta.ImplementationVersionName = "TEST"
    data.SOPClassUID, data.SOPInstanceUID = SecondaryCaptureImageStorage, "2.25.1"
    data.Modality = "MG"
    data.Rows, data.Columns = array.shape[-2:]
    if array.ndim == 3:
        data.NumberOfFrames = len(array)
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    bits = 8 * array.itemsize
    data.BitsAllocated = data.BitsStored = bits
    data.PixelRepresentation = int(array.dtype.kind == "i")
    data.PixelData = array.tobytes()
    for keyword, value in tags.items():
        setattr(data, keyword, value)
    data.HighBit = data.BitsStored - 1
    out = io.BytesIO()
    data.save_as(out, enforce_file_format=True, little_endian=True, implicit_vr=False)
    return out.getvalue()


def breast(height: int, width: int, *, right: bool = False) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Half an ellipse on the left edge: 80 % of the height, 60 % of the width."""
    y, x = np.mgrid[:height, :width] + 0.5
    inside = ((y - height / 2) / (0.4 * height)) ** 2 + (x / (0.6 * width)) ** 2 <= 1
    return inside[:, ::-1] if right else inside


def texture(height: int, width: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Integers 0 to 96 without a random number: the same everywhere."""
    y, x = np.mgrid[:height, :width]
    return (x * 7 + y * 13 + (x * y) // 5) % 97


def grey_film(
    height: int, width: int, *, right: bool = False, depth: type = np.uint8
) -> np.ndarray[Any, Any]:
    """A breast of grey 110 to 206 (of 255) on a background of 5, scaled to the depth."""
    factor = 1 if depth is np.uint8 else 257
    grey = np.where(breast(height, width, right=right), 110 + texture(height, width), 5)
    return (grey * factor).astype(depth)
