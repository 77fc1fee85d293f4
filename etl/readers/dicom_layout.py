"""What a DICOM header says about its pixels, checked before a byte of them is touched."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from pydicom.dataset import Dataset

from etl.readers.dicom_header import element_value
from schemas.errors import ContentError
from schemas.rejects import RejectReason

if TYPE_CHECKING:
    from etl.readers.dicom import DicomFile

__all__ = ["MAX_PIXELS", "PixelLayout", "read_layout"]

MAX_PIXELS = 100_000_000
"""Rows x Columns beyond which a header is taken to be damaged (the largest films have 31e6)."""

_FLOATS = {"FloatPixelData": 32, "DoubleFloatPixelData": 64}
_REQUIRED = ("Rows", "Columns", "BitsAllocated", "SamplesPerPixel", "PhotometricInterpretation")


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelLayout:
    """Image Pixel module (DICOM PS3.3 C.7.6.3), complete and free of contradictions.

    `frames` is NumberOfFrames, 1 where it is absent; `multiframe` says that it was there and
    beyond one or an enhanced object. `is_float` = float or double pixels.
    """

    keyword: str
    vr: str
    rows: int
    columns: int
    samples: int
    frames: int
    bits_allocated: int
    bits_stored: int
    signed: bool
    photometric: str
    planar: int
    is_float: bool

    @property
    def dtype(self) -> np.dtype[Any]:
        """Native-endian dtype of the stored values; single bits are unpacked to uint8."""
        kind = "f" if self.is_float else "i" if self.signed else "u"
        return np.dtype(f"{kind}{max(1, self.bits_allocated // 8)}")

    @property
    def frame_shape(self) -> tuple[int, ...]:
        """(rows, columns) or (rows, columns, samples)."""
        size = (self.rows, self.columns)
        return size if self.samples == 1 else (*size, self.samples)

    def native_bytes(self, frames: int) -> int:
        """Return the bytes that `frames` uncompressed frames take (PS3.5 8.1.1, 8.2)."""
        samples = 2 if self.photometric == "YBR_FULL_422" else self.samples
        return (frames * self.rows * self.columns * samples * self.bits_allocated + 7) // 8

    def pydicom_options(self, frames: int) -> dict[str, Any]:
        """Return the layout as options of `pydicom.pixels.Decoder.as_array`."""
        options: dict[str, Any] = {
            "rows": self.rows,
            "columns": self.columns,
            "samples_per_pixel": self.samples,
            "number_of_frames": frames,
            "bits_allocated": self.bits_allocated,
            "photometric_interpretation": self.photometric,
            "pixel_keyword": self.keyword,
        }
        if not self.is_float:
            options |= {"bits_stored": self.bits_stored, "pixel_representation": int(self.signed)}
        if self.samples > 1:
            options["planar_configuration"] = self.planar
        if self.vr:
            options["pixel_vr"] = self.vr
        return options


def read_layout(file: DicomFile) -> PixelLayout:
    """Return the layout of a file's pixels.

    Raises
    ------
    ContentError
        `no_pixels`, `header_invalid`, `size_implausible`.
    """
    dataset = file.dataset
    present = [name for name in _REQUIRED if element_value(dataset, name) is not None]
    if file.pixels is None:
        raise ContentError(RejectReason.NO_PIXELS, "the file has no pixel data element")
    if not set(present) & {"Rows", "Columns", "BitsAllocated"}:
        raise ContentError(RejectReason.NO_PIXELS, "the file's header describes no image")
    missing = [name for name in _REQUIRED if name not in present]
    if missing:
        raise ContentError(RejectReason.HEADER_INVALID, f"{missing[0]} is missing")
    allocated = _integer(dataset, "BitsAllocated")
    is_float = file.pixel_keyword in _FLOATS
    stored = allocated if is_float else _integer(dataset, "BitsStored")
    layout = PixelLayout(
        keyword=file.pixel_keyword,
        vr=file.pixel_vr if file.pixel_vr in ("OB", "OW") else "",
        rows=_integer(dataset, "Rows"),
        columns=_integer(dataset, "Columns"),
        samples=_integer(dataset, "SamplesPerPixel"),
        frames=max(1, _integer(dataset, "NumberOfFrames", 1)),
        bits_allocated=allocated,
        bits_stored=stored,
        signed=not is_float and _integer(dataset, "PixelRepresentation") == 1,
        photometric=str(element_value(dataset, "PhotometricInterpretation")).strip(),
        planar=_integer(dataset, "PlanarConfiguration", 0),
        is_float=is_float,
    )
    high = stored - 1 if is_float else _integer(dataset, "HighBit", stored - 1)
    _check(layout, high)
    return layout


def _integer(dataset: Dataset, keyword: str, default: int | None = None) -> int:
    value = element_value(dataset, keyword)
    if value is None:
        value = default
    try:
        return int(str(value))
    except ValueError as error:
        raise ContentError(
            RejectReason.HEADER_INVALID, f"{keyword} is missing or no number"
        ) from error


def _check(layout: PixelLayout, high_bit: int) -> None:
    """Refuse what PS3.3 C.7.6.3.1 and PS3.5 8.1.1 forbid, and sizes beyond reason."""
    pixels = layout.rows * layout.columns
    if layout.rows < 1 or layout.columns < 1:
        _invalid(f"Rows x Columns is {layout.rows} x {layout.columns}")
    if pixels > MAX_PIXELS:
        raise ContentError(
            RejectReason.SIZE_IMPLAUSIBLE,
            f"Rows x Columns is {layout.rows} x {layout.columns}, beyond {MAX_PIXELS} pixels",
        )
    sizes = (_FLOATS[layout.keyword],) if layout.is_float else (1, 8, 16, 32, 64)
    if layout.bits_allocated not in sizes:
        _invalid(f"BitsAllocated is {layout.bits_allocated}")
    if not 1 <= layout.bits_stored <= layout.bits_allocated:
        _invalid(f"BitsStored is {layout.bits_stored} of {layout.bits_allocated} allocated")
    # Decoders keep the low bits whatever HighBit says, which wraps values without a warning.
    if high_bit != layout.bits_stored - 1:
        _invalid(f"HighBit is {high_bit}, expected {layout.bits_stored - 1}")
    if layout.samples not in (1, 3, 4):
        _invalid(f"SamplesPerPixel is {layout.samples}")
    if layout.planar not in (0, 1):
        _invalid(f"PlanarConfiguration is {layout.planar}")


def _invalid(what: str) -> None:
    raise ContentError(RejectReason.HEADER_INVALID, what)
