"""Which header values are read from a DICOM file, and how they become text.

The list is closed: what is not in it never leaves the file. Some of its values (ids, UIDs) serve
planning only; `etl.deidentify` says which may reach a corpus.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from schemas.errors import ContentError
from schemas.rejects import RejectReason

__all__ = ["HEADER_KEYWORDS", "element_value", "header_values"]

HEADER_KEYWORDS = (
    # who and what belongs together
    "PatientID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "SOPInstanceUID",
    "SOPClassUID",
    "StudyDescription",
    "SeriesDescription",
    "SeriesNumber",
    "AcquisitionNumber",
    "InstanceNumber",
    "PatientAge",
    "PatientSex",
    # what is shown
    "Modality",
    "ImageType",
    "Laterality",
    "ImageLaterality",
    "FrameLaterality",
    "ViewPosition",
    "PatientOrientation",
    "BodyPartExamined",
    "PresentationIntentType",
    "BreastImplantPresent",
    "PartialView",
    "BurnedInAnnotation",
    "LossyImageCompression",
    "LossyImageCompressionMethod",
    "DerivationDescription",
    # device
    "Manufacturer",
    "ManufacturerModelName",
    "SoftwareVersions",
    "FieldOfViewHorizontalFlip",
    "FieldOfViewRotation",
    "EstimatedRadiographicMagnificationFactor",
    "PaddleDescription",
    # millimetres and millimetres between slices
    "PixelSpacing",
    "ImagerPixelSpacing",
    "NominalScannedPixelSpacing",
    "PixelSpacingCalibrationType",
    "SliceThickness",
    "SpacingBetweenSlices",
    "SliceLocation",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    # times within an examination: they order the phases of a series, and go no further
    "AcquisitionTime",
    "ContentTime",
    "TriggerTime",
    "TemporalPositionIdentifier",
    "ContrastBolusAgent",
    # pixels
    "Rows",
    "Columns",
    "NumberOfFrames",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "PixelPaddingValue",
    "PixelPaddingRangeLimit",
    "WindowCenter",
    "WindowWidth",
    "VOILUTFunction",
    "RescaleSlope",
    "RescaleIntercept",
    "PresentationLUTShape",
)
"""DICOM keywords (PS3.6) that `header_values` looks up."""

_CODES = {
    "ViewCodeSequence": ("ViewCodeValue", "ViewCodeMeaning"),
    "ViewModifierCodeSequence": ("ViewModifierCodeValue", "ViewModifierCodeMeaning"),
}
_FUNCTIONAL_GROUPS = (
    "PixelMeasuresSequence",
    "FrameAnatomySequence",
    "FrameVOILUTSequence",
    "PixelValueTransformationSequence",
    "PlaneOrientationSequence",
)


def header_values(dataset: Dataset, syntax: str = "") -> dict[str, str]:
    r"""Return the listed values as text; a missing, empty or unreadable one is no key.

    Several values are joined with a backslash, as in the file. Values that an enhanced object
    keeps in its functional groups (PS3.3 C.7.6.16), the shared ones or those of its first frame,
    are found there; coded views become `ViewCodeValue`, `ViewCodeMeaning`,
    `ViewModifierCodeValue`, `ViewModifierCodeMeaning`.
    `TransferSyntaxUID` is added where it is known.
    """
    places = [dataset, *_functional_groups(dataset)]
    values = {"TransferSyntaxUID": syntax} if syntax else {}
    for keyword in HEADER_KEYWORDS:
        text = next(filter(None, (_text(place, keyword) for place in places)), "")
        if text:
            values[keyword] = text
    values.update(_coded_views(dataset))
    return values


def element_value(dataset: Dataset, keyword: str) -> Any:
    """Return one element's value, None where it is missing or empty.

    pydicom converts values when they are asked for, so a damaged one fails here, and not in
    parsing.

    Raises
    ------
    ContentError
        `header_invalid`: the value cannot be converted.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            value = dataset.get(keyword)
    except MemoryError:
        raise
    except Exception as error:
        raise ContentError(
            RejectReason.HEADER_INVALID, f"the value of {keyword} is damaged"
        ) from error
    return None if isinstance(value, (str, bytes)) and not value else value


def _functional_groups(dataset: Dataset) -> Iterator[Dataset]:
    for sequence in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        for groups in _items(dataset, sequence)[:1]:
            for name in _FUNCTIONAL_GROUPS:
                yield from _items(groups, name)


def _items(dataset: Dataset, keyword: str) -> list[Dataset]:
    value = _value(dataset, keyword)
    return list(value) if value else []


def _value(dataset: Dataset, keyword: str) -> Any:
    # A value may be damaged in a file whose pixels are fine: then it is as good as missing.
    try:
        return element_value(dataset, keyword)
    except ContentError:
        return None


def _text(dataset: Dataset, keyword: str) -> str:
    value = _value(dataset, keyword)
    if value is None or isinstance(value, bytes):
        return ""
    parts = value if isinstance(value, (MultiValue, list, tuple)) else [value]
    return "\\".join(str(part).strip("\0 ") for part in parts).strip("\\ ")


def _coded_views(dataset: Dataset) -> dict[str, str]:
    views = _items(dataset, "ViewCodeSequence")
    modifiers = [item for view in views for item in _items(view, "ViewModifierCodeSequence")]
    found: dict[str, str] = {}
    for keyword, items in (("ViewCodeSequence", views), ("ViewModifierCodeSequence", modifiers)):
        for name, part in zip(_CODES[keyword], ("CodeValue", "CodeMeaning"), strict=True):
            text = "\\".join(filter(None, (_text(item, part) for item in items)))
            if text:
                found[name] = text
    return found
