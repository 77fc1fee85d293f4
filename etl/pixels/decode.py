"""Bytes to a `Picture`: stored pixels and what the header says about reading them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from etl.fingerprint import pixel_sha256
from etl.pixels.slab import mean_of_frames
from etl.readers import dicom, pictures, raster
from etl.readers.dicom_frames import frame_at
from etl.readers.dicom_header import element_value
from etl.readers.dicom_layout import read_layout
from etl.readers.luts import LookupTable, Rescale, Window, modality_transform, voi_transform
from schemas.errors import ContentError, UsageError
from schemas.film import FileRef
from schemas.rejects import RejectReason
from schemas.vocabulary import FrameKind, Orientation, QualityFlag

__all__ = ["Picture", "Section", "load", "stored_values"]

_DEPTHS = (np.dtype("u1"), np.dtype("i1"), np.dtype("u2"), np.dtype("i2"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """What a picture computed from a section of the body has beside its pixels.

    Parameters
    ----------
    anatomy
        (rows, columns), where tissue is looked for: the picture itself may not show it.
    columns
        First column of the one breast, and the first behind it.
    midline_left
        The patient's mid-line is at the breast's left border (of the stored pixels).
    turned
        What brings anterior up.
    """

    anatomy: npt.NDArray[Any]
    columns: tuple[int, int]
    midline_left: bool
    turned: Orientation


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One image as its file stores it.

    Parameters
    ----------
    array
        (rows, columns), uint8, int8, uint16 or int16; stored values, not inverted.
    bits_stored
        Bits that the values use.
    photometric
        (0028,0004), or None for raster files.
    inverted
        Larger stored values are darker: MONOCHROME1, or a raw image in which more dose is brighter.
    modality, voi
        The header's transformations; `voi` is None where there is none that is legal.
    padding
        Smallest and largest stored value that is no image (0028,0120), (0028,0121).
    frames
        Frames in the file, None for raster files.
    header
        Text by DICOM keyword; empty for raster files.
    edges
        Sums of the first and of the last column of a volume's frame 0; None where the film's
        geometry frame does not ask for them.
    section
        Of magnetic resonance: which part of the picture is the breast.
    """

    array: npt.NDArray[Any]
    bits_stored: int
    photometric: str | None = None
    inverted: bool = False
    modality: Rescale | LookupTable = field(default_factory=Rescale)
    voi: Window | LookupTable | None = None
    padding: tuple[int, int] | None = None
    frames: int | None = None
    header: Mapping[str, str] = field(default_factory=dict)
    flags: frozenset[QualityFlag] = frozenset()
    edges: tuple[int, int] | None = None
    section: Section | None = None

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return self.array.shape[0], self.array.shape[1]

    @property
    def sha256(self) -> str:
        """Digest of the stored pixels; of a section, of its own columns."""
        if self.section is None:
            return pixel_sha256(self.array)
        return pixel_sha256(np.ascontiguousarray(self.array[:, slice(*self.section.columns)]))

    def view(self, stride: int) -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.bool_] | None]:
        """Return every `stride`-th pixel, brighter where denser, uint16, and what is padding."""
        source = self.array if self.section is None else self.section.anatomy
        part = source[::stride, ::stride]
        levels = self.modality.apply(part)
        if self.inverted:
            levels = -levels
        invalid = None
        if self.section is not None:
            invalid = np.ones(part.shape, dtype=np.bool_)
            first, last = (-(-column // stride) for column in self.section.columns)
            invalid[:, first:last] = False
        if self.padding is not None:
            invalid = (part >= self.padding[0]) & (part <= self.padding[1])
            if invalid.all():
                invalid = None
        known = levels if invalid is None else levels[~invalid]
        low, high = float(known.min()), float(known.max())
        scaled = (levels - low) * (65535.0 / max(high - low, 1e-12))
        return np.clip(np.rint(scaled), 0, 65535).astype(np.uint16), invalid


def load(
    data: bytes,
    ref: FileRef,
    frame: int | None,
    kind: FrameKind,
    *,
    depth: float | None = None,
    edges: bool = False,
) -> Picture:
    """Return the picture of a film's image file; of a volume, only what is needed is decoded.

    Parameters
    ----------
    data
        The whole file.
    ref
        Where it came from, and which frames are wanted.
    frame
        The film's frame, where `ref` names none.
    kind
        What the sample is: of several frames a `mip` keeps the largest values, a `slab` the mean.
    depth
        Where `frame` is None, the depth of the wanted slice in its volume, 0 to 1.
    edges
        Also sum the edges of frame 0 (`Picture.edges`).

    Raises
    ------
    ContentError
        The file is no grey image of 8 to 16 bits, or all its pixels are alike.
    """
    first = frame if ref.first is None else ref.first
    last = first if ref.last is None else ref.last
    if not pictures.is_dicom(data):
        picture = _raster(data, ref.path)
    else:
        file = dicom.parse(data)
        if first is None and depth is not None:
            first = last = frame_at(depth, read_layout(file).frames)
        picture = _dicom(file, first, last, kind)
        if edges:
            whole = kind is not FrameKind.SLAB and first in (None, 0)
            picture = replace(picture, edges=_edges(file, picture.array if whole else None))
    if picture.array.dtype not in _DEPTHS:
        raise ContentError(
            RejectReason.UNSUPPORTED,
            f"pixels are {picture.array.dtype}; images of 8 to 16 bits are read",
        )
    if _is_blank(picture.array):
        raise ContentError(RejectReason.BLANK, "all pixels have one value")
    return picture


def _is_blank(array: npt.NDArray[Any]) -> bool:
    # Few pixels nearly always tell; all of them are only asked where those are alike.
    few = array[::64, ::64]
    return not array.size or bool(few.min() == few.max() and array.min() == array.max())


def stored_values(data: bytes, name: str) -> npt.NDArray[Any]:
    """Return the stored values of a mask or crop (rows, columns)."""
    return pictures.read_stored(data, name)


def _raster(data: bytes, name: str) -> Picture:
    read = raster.read_raster(data, name)
    wanted = ((QualityFlag.LOSSY, read.lossy), (QualityFlag.EDITED_PIXELS, read.edited))
    return Picture(
        array=read.array,
        bits_stored=read.bits,
        flags=frozenset(flag for flag, said in wanted if said),
    )


def _dicom(file: dicom.DicomFile, first: int | None, last: int | None, kind: FrameKind) -> Picture:
    if file.header.get("SamplesPerPixel", "1") != "1":
        raise ContentError(RejectReason.NOT_GREY, "the image has more than one sample a pixel")
    try:
        slab = kind is FrameKind.SLAB
        stored = mean_of_frames(file) if slab else dicom.decode(file, first, last)
    except UsageError as error:  # the frames come from a table, so it is the release that is wrong
        raise ContentError(RejectReason.SIZE_CONFLICT, str(error)) from error
    if stored.photometric not in ("MONOCHROME1", "MONOCHROME2"):
        raise ContentError(RejectReason.NOT_GREY, f"photometric is {stored.photometric!r}")
    wanted = (
        (QualityFlag.LOSSY, stored.lossy),
        (QualityFlag.BITS_MISMATCH, stored.bits_mismatch),
    )
    return Picture(
        array=_one_frame(stored.array, kind),
        bits_stored=stored.bits_stored,
        photometric=stored.photometric,
        inverted=_inverted(file.dataset, stored.photometric),
        modality=modality_transform(file.dataset, first or 0),
        voi=voi_transform(file.dataset, first or 0).transform,
        padding=_padding(file.dataset),
        frames=int(element_value(file.dataset, "NumberOfFrames") or 1),
        header=file.header,
        flags=frozenset(flag for flag, said in wanted if said),
    )


def _edges(file: dicom.DicomFile, shown: npt.NDArray[Any] | None) -> tuple[int, int]:
    """Return the sums of the first and the last column of frame 0, decoded if it is not shown."""
    whole = dicom.decode(file, 0, 0).array if shown is None else shown
    frame = whole if whole.ndim == 2 else whole[0]
    return int(frame[:, 0].sum(dtype=np.int64)), int(frame[:, -1].sum(dtype=np.int64))


def _one_frame(array: npt.NDArray[Any], kind: FrameKind) -> npt.NDArray[Any]:
    if array.ndim == 2:
        return array
    if array.shape[0] == 1:
        return np.asarray(array[0])
    if kind is FrameKind.MIP:
        return np.asarray(array.max(axis=0))
    raise ContentError(
        RejectReason.SIZE_CONFLICT, f"the file has {len(array)} frames, one was expected"
    )


def _inverted(dataset: Any, photometric: str) -> bool:
    """Tell whether larger stored values are darker.

    MONOCHROME1: PS3.3 C.7.6.3.1.2. A raw image (For Processing) may be MONOCHROME2 and still grow
    with the dose, which a breast lowers: Pixel Intensity Relationship Sign 1 (C.8.11.3.1.2).
    """
    if photometric == "MONOCHROME1":
        return True
    intent = str(element_value(dataset, "PresentationIntentType") or "").strip().upper()
    raw = intent == "FOR PROCESSING"
    return raw and element_value(dataset, "PixelIntensityRelationshipSign") == 1


def _padding(dataset: Any) -> tuple[int, int] | None:
    """Return the range of Pixel Padding Value and Range Limit (PS3.3 C.7.5.1.1.2)."""
    names = ("PixelPaddingValue", "PixelPaddingRangeLimit")
    ends = [element_value(dataset, name) for name in names]
    try:
        known = sorted(int(end) for end in ends if end is not None)
    except (TypeError, ValueError):
        return None
    return (known[0], known[-1]) if known and ends[0] is not None else None
