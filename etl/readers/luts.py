"""Modality and VOI transformations of a DICOM header, as values that the kernel applies.

Modality LUT module: PS3.3 C.11.1; VOI LUT module: C.11.2. Enhanced objects keep them in their
functional groups (C.7.6.16.2.9, C.7.6.16.2.10): shared ones first, then those of the frame.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from etl.readers.dicom_header import element_value
from schemas.errors import ContentError
from schemas.rejects import RejectReason

__all__ = [
    "LookupTable",
    "Rescale",
    "Voi",
    "Window",
    "WindowFunction",
    "modality_transform",
    "voi_transform",
]

Numbers = NDArray[Any]


class WindowFunction(StrEnum):
    """VOI LUT Function (0028,1056)."""

    LINEAR = "LINEAR"
    LINEAR_EXACT = "LINEAR_EXACT"
    SIGMOID = "SIGMOID"


@dataclass(frozen=True, slots=True)
class Rescale:
    """Stored value x slope + intercept."""

    slope: float = 1.0
    intercept: float = 0.0

    def apply(self, values: Numbers) -> NDArray[np.float64]:
        """Return modality values."""
        return np.asarray(values, np.float64) * self.slope + self.intercept


@dataclass(frozen=True, slots=True)
class LookupTable:
    """`values[input - first]`, the ends beyond the table (C.11.1.1.1).

    `bits` is the depth that the descriptor gives to the values (uint16).
    """

    first: int
    bits: int
    values: NDArray[np.uint16] = field(repr=False)

    def apply(self, values: Numbers) -> NDArray[np.float64]:
        """Return the table's values, 0 to 2**bits - 1."""
        places = np.clip(np.asarray(values, np.float64) - self.first, 0, len(self.values) - 1)
        return self.values[places.astype(np.int64)].astype(np.float64)


@dataclass(frozen=True, slots=True)
class Window:
    """Window centre and width in modality values, and the function between black and white."""

    center: float
    width: float
    function: WindowFunction = WindowFunction.LINEAR

    def apply(self, values: Numbers) -> NDArray[np.float64]:
        """Return 0 (black) to 1 (white) by C.11.2.1.2 and C.11.2.1.3."""
        x = np.asarray(values, np.float64)
        if self.function is WindowFunction.SIGMOID:
            # beyond +-700 the exponential overflows, and the answer is 0 or 1 long before
            return 1 / (1 + np.exp(np.clip(-4 * (x - self.center) / self.width, -700, 700)))
        if self.function is WindowFunction.LINEAR_EXACT:
            return np.clip((x - self.center) / self.width + 0.5, 0, 1)
        if self.width == 1:
            return (x > self.center - 0.5).astype(np.float64)
        return np.clip((x - (self.center - 0.5)) / (self.width - 1) + 0.5, 0, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Voi:
    """What the header offers: a transformation or None, and why an offered one was left out."""

    transform: Window | LookupTable | None = None
    note: str | None = None


def modality_transform(dataset: Dataset, frame: int = 0) -> Rescale | LookupTable:
    """Return the Modality LUT, or the rescale (1, 0 where the header has neither).

    Raises
    ------
    ContentError
        `header_invalid`: a slope of 0, a value that is no number, a table that is damaged.
    """
    for place in _places(dataset, "PixelValueTransformationSequence", frame):
        table = _first(place, "ModalityLUTSequence")
        if table is not None:
            return _table(table, dataset)
        slope = _number(place, "RescaleSlope")
        intercept = _number(place, "RescaleIntercept")
        if slope is not None or intercept is not None:
            if slope == 0:
                raise ContentError(RejectReason.HEADER_INVALID, "RescaleSlope is 0")
            return Rescale(1.0 if slope is None else slope, intercept or 0.0)
    return Rescale()


def voi_transform(dataset: Dataset, frame: int = 0, *, view: int = 0) -> Voi:
    """Return the VOI LUT, else the window, of a header.

    Parameters
    ----------
    dataset
        The header.
    frame
        0-based frame, where each has its own.
    view
        Which of several alternatives; the first by default (C.11.2.1: they are views of one
        image, without order of preference).

    Returns
    -------
    Voi
        An illegal window is left out and said in `note`: LINEAR needs a width of at least 1, the
        other functions one above 0.

    Raises
    ------
    ContentError
        `header_invalid`: a damaged table.
    """
    for place in _places(dataset, "FrameVOILUTSequence", frame):
        tables = _items(place, "VOILUTSequence")
        if tables:
            return Voi(transform=_table(tables[min(view, len(tables) - 1)], dataset))
        window = _window(place, view)
        if window is not None:
            return window
    return Voi()


def _window(place: Dataset, view: int) -> Voi | None:
    centers, widths = _numbers(place, "WindowCenter"), _numbers(place, "WindowWidth")
    if not centers or not widths:
        return None
    view = min(view, len(centers) - 1, len(widths) - 1)
    word = str(element_value(place, "VOILUTFunction") or "LINEAR").strip().upper()
    if word not in set(WindowFunction):
        return Voi(note=f"VOILUTFunction is {word!r}, which the standard does not know")
    function, center, width = WindowFunction(word), centers[view], widths[view]
    legal = width >= 1 if function is WindowFunction.LINEAR else width > 0
    if not (legal and np.isfinite([center, width]).all()):
        return Voi(note=f"window {center:g}/{width:g} is illegal for {function.value}")
    return Voi(transform=Window(center, width, function))


def _places(dataset: Dataset, group: str, frame: int) -> Iterator[Dataset]:
    yield dataset
    for shared in _items(dataset, "SharedFunctionalGroupsSequence"):
        yield from _items(shared, group)
    yield from _items(_nth(_items(dataset, "PerFrameFunctionalGroupsSequence"), frame), group)


def _items(dataset: Dataset | None, keyword: str) -> list[Dataset]:
    return list((element_value(dataset, keyword) if dataset is not None else None) or [])


def _nth(items: list[Dataset], number: int) -> Dataset | None:
    return items[number] if number < len(items) else None


def _first(dataset: Dataset, keyword: str) -> Dataset | None:
    return _nth(_items(dataset, keyword), 0)


def _numbers(place: Dataset, keyword: str) -> list[float]:
    value = element_value(place, keyword)
    if value is None:
        return []
    try:
        many = value if isinstance(value, (MultiValue, list, tuple)) else [value]
        return [float(number) for number in many]
    except (TypeError, ValueError) as error:
        raise ContentError(RejectReason.HEADER_INVALID, f"{keyword} is no number") from error


def _number(place: Dataset, keyword: str) -> float | None:
    return next(iter(_numbers(place, keyword)), None)


def _table(item: Dataset, dataset: Dataset) -> LookupTable:
    """Return a LUT item. C.11.1.1: 0 entries mean 65536; `first` has the pixels' sign."""
    data = element_value(item, "LUTData")
    try:
        entries, first, bits = map(int, element_value(item, "LUTDescriptor"))
    except (TypeError, ValueError) as error:
        raise ContentError(
            RejectReason.HEADER_INVALID, "a LUT lacks its descriptor or data"
        ) from error
    if data is None:
        raise ContentError(RejectReason.HEADER_INVALID, "a LUT has no data")
    entries = entries or 65536
    if element_value(dataset, "PixelRepresentation") == 1 and first > 32767:
        first -= 65536
    values = _entries(data, entries, item)
    if len(values) < entries or not 8 <= bits <= 16:
        raise ContentError(
            RejectReason.HEADER_INVALID,
            f"a LUT of {bits} bits has {len(values)} of {entries} entries",
        )
    return LookupTable(first, bits, values[:entries])


def _entries(data: Any, entries: int, item: Dataset) -> NDArray[np.uint16]:
    if isinstance(data, bytes):
        little = item.original_encoding[1] is not False
        if len(data) < 2 * entries:  # C.11.1.1: eight-bit entries may be packed
            return np.frombuffer(data, np.uint8).astype(np.uint16)
        kind = "<u2" if little else ">u2"
        return np.frombuffer(data[: len(data) // 2 * 2], kind).astype(np.uint16)
    return (np.atleast_1d(np.asarray(data, np.int64)) & 0xFFFF).astype(np.uint16)
