"""The metadata table: one row an image, and what its row says without its exam.

Repeats, pairs of 2D and C-view, and raw images with a twin are told by the rows of one exam.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from etl.sources.embed import words
from etl.sources.embed.exams import number
from schemas.errors import ContentError
from schemas.film import Geometry
from schemas.rejects import RejectReason
from schemas.vocabulary import (
    GeometryFrame,
    GeometryKind,
    Laterality,
    LesionFlag,
    Modality,
    View,
)

__all__ = ["METADATA_COLUMNS", "Image", "Region", "exam_images", "instance_of", "tail_of"]

VIEW_MEANING = "0_ViewCodeSequence_CodeMeaning"
VIEW_MODIFIER = "0_ViewCodeSequence_0_ViewModifierCodeSequence_CodeMeaning"
METADATA_COLUMNS = (
    "empi_anon", "acc_anon", "anon_dicom_path", "StudyDescription", "SeriesDescription",
    "FinalImageType", "ImageLateralityFinal", "ViewPosition", "spot_mag", "num_roi",
    "ROI_coords", "PNG_ROI_coords", "DCM_ROI_coords", "match_level", "ROI_match_level",
    "PatientAge", "PatientSex", "PresentationIntentType", "Rows", "Columns",
    "BreastImplantPresent", "AcquisitionTime", VIEW_MEANING, VIEW_MODIFIER,
)  # fmt: skip
"""Columns of the metadata table that are read; editions lack some of them."""

Cells = Mapping[str, str | None]

_NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?")
_SPOT = re.compile(r"\b(?:spot|mag|magnif\w*)\b", re.IGNORECASE)
_COHORT = re.compile(r"cohort_[12]/")
_PROCESSING = "FOR PROCESSING"


@dataclass(frozen=True, slots=True)
class Region:
    """One box of a radiologist, and how surely it belongs to this image."""

    geometry: Geometry
    flags: tuple[LesionFlag, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """A row of the metadata table, its words checked.

    Parameters
    ----------
    regions
        Boxes in `frame`; `num_regions` is what the table counts.
    pair
        Names one exposure that is there as 2D image and as C-view.
    repeated
        A later image of the same exam, side, view and kind exists.
    twin_of_presentation
        A raw image whose processed one is there.
    """

    key: str
    tail: str
    side: Laterality | None
    view: View | None
    modality: Modality
    spot: bool
    modifier: str
    processing: bool
    implant: bool | None
    age: str | None
    male: bool
    raw_view: str | None
    regions: tuple[Region, ...]
    num_regions: int
    regions_lost: bool
    frame: GeometryFrame
    size: tuple[int, int] | None
    taken: float
    pair: str | None = None
    repeated: bool = False
    twin_of_presentation: bool = False


def tail_of(path: str | None) -> str:
    """Return the part of `anon_dicom_path` that copies share: from `cohort_1` or `cohort_2` on.

    As distributed it begins with a folder of the hospital's own server (README; issue threads).

    >>> tail_of(" /mnt/NAS2/mammo/anon_dicom/cohort_1/9/1.2/1.3/1.4.dcm")
    'cohort_1/9/1.2/1.3/1.4.dcm'
    """
    text = (path or "").strip()
    match = _COHORT.search(text)
    return text[match.start() :] if match else text.removeprefix("./").lstrip("/")


def instance_of(path: str) -> str:
    """Return the SOPInstanceUID, which is the file's name."""
    return path.rpartition("/")[2].removesuffix(".dcm")


def read(cells: Cells, tail: str) -> Image:
    """Return what a row says; `ContentError` for an unknown word or a row without its path."""
    if not tail:
        raise ContentError(RejectReason.BAD_ROW, "a row of the metadata table has no path")
    regions, num_regions, lost, frame = _regions(cells)
    return Image(
        key=instance_of(tail),
        tail=tail,
        side=_side(cells),
        view=_view(cells),
        modality=_modality(cells),
        spot=is_spot(cells),
        modifier=(cells[VIEW_MODIFIER] or "").lower(),
        processing=(cells["PresentationIntentType"] or "").upper() == _PROCESSING,
        implant={"YES": True, "NO": False}.get((cells["BreastImplantPresent"] or "").upper()),
        age=cells["PatientAge"],
        male=(cells["PatientSex"] or "").upper() == "M",
        raw_view=cells["ViewPosition"] or cells[VIEW_MEANING],
        regions=regions,
        num_regions=num_regions,
        regions_lost=lost,
        frame=frame,
        size=_size(cells),
        taken=_seconds(cells["AcquisitionTime"]),
    )


def _unknown(cells: Cells, column: str, known: Iterable[str]) -> ContentError:
    return ContentError(
        RejectReason.UNKNOWN_WORD,
        f"exam {cells['acc_anon']}, image {instance_of(tail_of(cells['anon_dicom_path']))}: "
        f"{column} is {cells[column]!r}; known are {', '.join(known)}",
    )


def _side(cells: Cells) -> Laterality | None:
    word = cells["ImageLateralityFinal"]
    if word is None:
        return None
    if word.upper() not in words.LATERALITIES:
        raise _unknown(cells, "ImageLateralityFinal", words.LATERALITIES)
    return words.LATERALITIES[word.upper()]


def _view(cells: Cells) -> View | None:
    word = cells["ViewPosition"]
    if word is None:
        return words.VIEW_MEANINGS.get((cells[VIEW_MEANING] or "").lower())
    if word.upper() not in words.VIEWS:
        raise _unknown(cells, "ViewPosition", words.VIEWS)
    return words.VIEWS[word.upper()]


def _modality(cells: Cells) -> Modality:
    """Return the kind; volumes and screen saves (3D, ROI_SS, …) are no part of the open release."""
    word = (cells["FinalImageType"] or "").lower()
    if word not in words.IMAGE_TYPES:
        raise _unknown(cells, "FinalImageType", words.IMAGE_TYPES)
    return words.IMAGE_TYPES[word]


def is_spot(cells: Cells) -> bool:
    """Tell spot compression and magnification.

    `spot_mag` is 1 or empty and comes from the view modifier, which GE does not fill (readers of
    the release): the series' description says it then.
    """
    said = number(cells["spot_mag"]) not in (None, "0")
    texts = (cells[VIEW_MODIFIER], cells["SeriesDescription"])
    return said or any(_SPOT.search(text) for text in texts if text)


def _size(cells: Cells) -> tuple[int, int] | None:
    rows, columns = number(cells["Rows"]), number(cells["Columns"])
    both = rows is not None and columns is not None and rows.isdecimal() and columns.isdecimal()
    return (int(rows or 0), int(columns or 0)) if both else None


def _seconds(cell: str | None) -> float:
    try:
        return float(cell or 0)
    except ValueError:
        return 0.0


def _regions(cells: Cells) -> tuple[tuple[Region, ...], int, bool, GeometryFrame]:
    """Return boxes, the table's count, whether a text could not be read, and the boxes' frame.

    `ROI_coords` belong to the PNG copy, which is mirrored for some views; newer tables have
    `PNG_ROI_coords` and `DCM_ROI_coords`, the latter for the DICOM file (ROI Reference v1.2).
    """
    column = "DCM_ROI_coords"
    if not cells[column]:
        column = "PNG_ROI_coords" if cells["PNG_ROI_coords"] else "ROI_coords"
    native = column == "DCM_ROI_coords"
    frame = GeometryFrame.NATIVE if native else GeometryFrame.EMBED_PNG
    count = number(cells["num_roi"])
    numbers = [float(text) for text in _NUMBER.findall(cells[column] or "")]
    boxes = [from_corners(*numbers[at : at + 4]) for at in range(0, len(numbers) // 4 * 4, 4)]
    num_regions = int(count) if count is not None and count.isdecimal() else len(boxes)
    if len(numbers) % 4 or not all(boxes):
        return (), num_regions, True, frame
    levels = _NUMBER.findall(cells["match_level"] or cells["ROI_match_level"] or "")
    sure = levels if len(levels) == len(boxes) else ["1"] * len(boxes)
    regions = tuple(
        Region(box, (LesionFlag.ROUGH,) if level == "2" else ())
        for box, level in zip(boxes, sure, strict=True)
        if box is not None
    )
    return regions, num_regions, False, frame


def from_corners(top: float, left: float, bottom: float, right: float) -> Geometry | None:
    """Return a box of (ymin, xmin, ymax, xmax), pixels with inclusive maxima, as half-open x, y.

    >>> from_corners(1200, 300, 1500, 620).values
    (300, 1200, 621, 1501)
    """
    if right < left or bottom < top:
        return None
    return Geometry(kind=GeometryKind.BOX, values=(left, top, right + 1, bottom + 1))


def exam_images(exam: str, images: Sequence[Image]) -> list[Image]:
    """Return an exam's images with repeats, pairs and twins told."""
    groups: dict[tuple[object, ...], list[Image]] = defaultdict(list)
    for image in images:
        groups[_kind(image)].append(image)
    last = {kind: max(image.taken for image in group) for kind, group in groups.items()}
    latest = {
        max(group, key=lambda image: (image.taken, image.key)).key for group in groups.values()
    }
    exposures: dict[str, set[Modality]] = defaultdict(set)
    for image in images:
        if image.key in latest and (name := _exposure(exam, image)):
            exposures[name].add(image.modality)
    told = []
    for image in images:
        changes: dict[str, Any] = {}
        if image.view is not None and image.taken < last[_kind(image)]:
            changes["repeated"] = True
        if image.key in latest and (pair := _pair(exam, image, exposures)):
            changes["pair"] = pair
        if image.processing and _kind(replace(image, processing=False)) in groups:
            changes["twin_of_presentation"] = True
        told.append(replace(image, **changes) if changes else image)
    return told


def _kind(image: Image) -> tuple[object, ...]:
    return (
        *(image.side, image.view, image.modality, image.spot, image.modifier),
        image.processing,
    )


def _exposure(exam: str, image: Image) -> str | None:
    if image.side is None or image.view is None or image.spot or image.processing:
        return None
    return f"{exam}/{image.side}/{image.view}/{image.modifier}".rstrip("/")


def _pair(exam: str, image: Image, exposures: Mapping[str, set[Modality]]) -> str | None:
    name = _exposure(exam, image)
    return name if name is not None and len(exposures[name]) > 1 else None
