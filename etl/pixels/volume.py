"""A dynamic series to one picture of one breast: first post-contrast phase minus pre-contrast.

Both phases are runs of axial slices. Slices are put in order by InstanceNumber (0020,0013), never
by file name or position: releases count the slices of their boxes that way, and in part of the
patients InstanceNumber runs from head to foot. Position and orientation (0020,0032), (0020,0037)
say only where a slice lies, which half of it is which breast, and whether both phases show the
same place.

The subtraction is taken from stored values in int32 (GE's are signed, Siemens' are not), so both
phases share one scale whatever the window; a `mip` keeps the largest difference along the slices.
Grey levels of MRI have no unit: the window is chosen afterwards, inside the tissue of the breast.

A picture keeps the stored slice's frame, with everything beyond the patient's mid-line blank: x
and y of a release's boxes are its pixels. It hangs with anterior up and the mid-line, taken as the
middle of the image, on the left edge.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from etl.pixels.decode import Picture, Section
from etl.readers import dicom
from etl.readers.runs import slice_numbers
from schemas.errors import ContentError
from schemas.film import FileRef, Film
from schemas.rejects import RejectReason
from schemas.vocabulary import FrameKind, Laterality, Orientation, QualityFlag

__all__ = ["Slices", "load_series"]

Slices = Callable[[FileRef], Iterator[tuple[str, bytes]]]
"""Gives name and bytes of a run's files, one after the other."""

Words = Mapping[str, str]
Pixels = npt.NDArray[np.integer[Any]]

_NEAR_MM = 0.1
"""Slices of two phases lie in the same place when their corners are no further apart."""
_NEAR_COSINE = 1e-3
_AXIAL = 0.9
"""Smallest cosine between an image's axes and the patient's: 26 degrees, more is another plane."""
_INT16 = np.iinfo(np.int16)
_SAME_IN_BOTH = ("Rows", "Columns", "PixelSpacing", "RescaleSlope", "RescaleIntercept")


@dataclass(frozen=True, slots=True)
class _Slice:
    """One slice's half of the image, int16 or uint16 (rows, columns of the half)."""

    number: int
    corner: tuple[float, ...]
    pixels: Pixels


@dataclass(frozen=True, slots=True)
class _Half:
    """Which columns show the breast, and how the picture hangs."""

    first: int
    last: int
    size: tuple[int, int]
    midline_left: bool
    turned: Orientation


@dataclass(frozen=True, slots=True)
class _Phase:
    """The slices of one phase in the order of InstanceNumber."""

    slices: tuple[_Slice, ...]
    header: Words
    half: _Half
    bits_stored: int
    flags: frozenset[QualityFlag]


def load_series(film: Film, slices: Slices) -> Picture:
    """Return the subtraction that a film shows, int16, full frame, blank beyond the mid-line.

    Parameters
    ----------
    film
        Two files, runs of slices with the roles `pre` and `post`; its laterality says which half,
        its frame (counted from 0 in the order of InstanceNumber) which slice unless it is a `mip`.
    slices
        Reads a run.

    Raises
    ------
    ContentError
        A slice is truncated or no image, the numbers of the slices have gaps or repeat, the two
        phases differ in count or geometry (`size_conflict`), or the plane is not axial
        (`unsupported`).
    """
    pre, post = (_phase(film, role, slices) for role in ("pre", "post"))
    _refuse_unlike(pre, post)
    chosen = _chosen(film, len(pre.slices))
    difference, anatomy = _subtracted(pre.slices[chosen], post.slices[chosen])
    if difference.min() == difference.max():
        raise ContentError(RejectReason.BLANK, "contrast changed no pixel of this breast")
    half = pre.half
    return Picture(
        array=_framed(np.clip(difference, _INT16.min, _INT16.max).astype(np.int16), half),
        bits_stored=16,
        photometric="MONOCHROME2",
        frames=len(pre.slices),
        header=pre.header,
        flags=pre.flags | post.flags,
        section=Section(
            anatomy=_framed(anatomy, half),
            columns=(half.first, half.last),
            midline_left=half.midline_left,
            turned=half.turned,
        ),
    )


def _chosen(film: Film, count: int) -> slice:
    if film.frame_kind is FrameKind.MIP:
        return slice(None)
    if film.frame is None or not 0 <= film.frame < count:
        raise ContentError(
            RejectReason.SIZE_CONFLICT, f"slice {film.frame} is wanted of a volume of {count}"
        )
    return slice(film.frame, film.frame + 1)


def _subtracted(
    pre: Sequence[_Slice], post: Sequence[_Slice]
) -> tuple[npt.NDArray[np.int32], Pixels]:
    """Return the largest difference along the slices, and the largest value before contrast."""
    anatomy = pre[0].pixels.copy()
    largest = np.subtract(post[0].pixels, pre[0].pixels, dtype=np.int32)
    for before, after in zip(pre[1:], post[1:], strict=True):
        np.maximum(anatomy, before.pixels, out=anatomy)
        np.maximum(largest, np.subtract(after.pixels, before.pixels, dtype=np.int32), out=largest)
    return largest, anatomy


def _framed(part: Pixels, half: _Half) -> Pixels:
    whole = np.zeros(half.size, dtype=part.dtype)
    whole[:, half.first : half.last] = part
    return whole


def _phase(film: Film, role: str, slices: Slices) -> _Phase:
    ref = next(ref for ref in film.files if ref.role == role)
    names: list[str] = []
    found: list[_Slice] = []
    flags: frozenset[QualityFlag] = frozenset()
    first: dicom.DicomFile | None = None
    half: _Half | None = None
    lowest, bits = None, 0
    for name, data in slices(ref):
        file = _parsed(name, data)
        if first is None or half is None:
            first, half = file, _half(film, file.header)
            lowest = file.header
        _refuse_other_series(name, first.header, file.header)
        one, bits, said = _slice(name, file, half)
        if one.number < min((other.number for other in found), default=one.number):
            lowest = file.header
        names.append(name)
        found.append(one)
        flags |= said
    if half is None or lowest is None:
        raise ContentError(RejectReason.NO_PIXELS, f"the {role} series has no slice")
    ordered = tuple(sorted(found, key=lambda one: one.number))
    _refuse_gaps(role, [one.number for one in ordered], ref)
    numbers = slice_numbers(names)
    if numbers is not None and not _same_order(numbers, [one.number for one in found]):
        flags |= {QualityFlag.SLICE_ORDER_CONFLICT}
    return _Phase(ordered, lowest, half, bits, flags)


def _same_order(names: Sequence[int], instances: Sequence[int]) -> bool:
    pairs = sorted(zip(names, instances, strict=True))
    return all(a[1] < b[1] for a, b in itertools.pairwise(pairs))


def _parsed(name: str, data: bytes) -> dicom.DicomFile:
    try:
        return dicom.parse(data)
    except ContentError as error:
        raise ContentError(error.reason, f"{_short(name)}: {error.detail}") from error


def _slice(
    name: str, file: dicom.DicomFile, half: _Half
) -> tuple[_Slice, int, frozenset[QualityFlag]]:
    try:
        stored = dicom.decode(file)
    except ContentError as error:
        raise ContentError(error.reason, f"{_short(name)}: {error.detail}") from error
    if stored.photometric != "MONOCHROME2" or stored.samples != 1:
        raise ContentError(
            RejectReason.NOT_GREY, f"{_short(name)}: photometric is {stored.photometric!r}"
        )
    if stored.array.shape != half.size or stored.array.dtype.itemsize > 2:
        raise ContentError(
            RejectReason.SIZE_CONFLICT,
            f"{_short(name)} has {stored.array.dtype} {stored.array.shape}, the first slice "
            f"{half.size}",
        )
    wide = np.int16 if stored.signed else np.uint16
    pixels = np.array(stored.array[:, half.first : half.last], dtype=wide)
    words = ((QualityFlag.LOSSY, stored.lossy), (QualityFlag.BITS_MISMATCH, stored.bits_mismatch))
    one = _Slice(_number(name, file.header), _numbers(file.header, "ImagePositionPatient"), pixels)
    return one, stored.bits_stored, frozenset(flag for flag, said in words if said)


def _number(name: str, header: Words) -> int:
    try:
        return int(header["InstanceNumber"])
    except (KeyError, ValueError):
        raise ContentError(
            RejectReason.HEADER_INVALID, f"{_short(name)} has no InstanceNumber"
        ) from None


def _numbers(header: Words, keyword: str) -> tuple[float, ...]:
    try:
        return tuple(float(word) for word in header[keyword].split("\\"))
    except (KeyError, ValueError):
        raise ContentError(RejectReason.HEADER_INVALID, f"a slice has no legal {keyword}") from None


def _half(film: Film, header: Words) -> _Half:
    """Return the columns of the film's breast: patient x grows towards the left (PS3.3 C.7.6.2)."""
    cosines = _numbers(header, "ImageOrientationPatient")
    if len(cosines) != 6 or min(abs(cosines[0]), abs(cosines[4])) < _AXIAL:
        raise ContentError(
            RejectReason.UNSUPPORTED,
            "the slices are not axial: their rows must run from side to side and their columns "
            "from front to back",
        )
    rows, columns = (int(header.get(word, "0")) for word in ("Rows", "Columns"))
    middle = columns // 2
    towards_left = cosines[0] > 0
    upper = (film.laterality is Laterality.L) == towards_left
    first, last = (middle, columns) if upper else (0, middle)
    turned = Orientation.IDENTITY if cosines[4] > 0 else Orientation.VFLIP
    return _Half(first, last, (rows, columns), midline_left=upper, turned=turned)


def _refuse_other_series(name: str, first: Words, other: Words) -> None:
    if first.get("SeriesInstanceUID") != other.get("SeriesInstanceUID"):
        raise ContentError(
            RejectReason.HEADER_INVALID, f"{_short(name)} belongs to another series than the rest"
        )
    here, there = (_numbers(words, "ImageOrientationPatient") for words in (first, other))
    if not np.allclose(here, there, rtol=0, atol=_NEAR_COSINE):
        raise ContentError(
            RejectReason.SIZE_CONFLICT, f"{_short(name)} is turned against the other slices"
        )


def _refuse_gaps(role: str, numbers: Sequence[int], ref: FileRef) -> None:
    for before, after in itertools.pairwise(numbers):
        if after == before:
            raise ContentError(
                RejectReason.HEADER_INVALID, f"two {role} slices have InstanceNumber {after}"
            )
        if after != before + 1:
            raise ContentError(
                RejectReason.SIZE_CONFLICT,
                f"{role} slices are missing between InstanceNumber {before} and {after}",
            )
    if ref.first is not None and ref.last is not None:
        wanted = ref.last - ref.first + 1
        if wanted != len(numbers):
            raise ContentError(
                RejectReason.SIZE_CONFLICT,
                f"the {role} series has {len(numbers)} slices, {wanted} were planned",
            )


def _refuse_unlike(pre: _Phase, post: _Phase) -> None:
    """Refuse two phases that cannot be subtracted pixel by pixel."""
    if len(pre.slices) != len(post.slices):
        raise ContentError(
            RejectReason.SIZE_CONFLICT,
            f"{len(pre.slices)} slices before and {len(post.slices)} after contrast",
        )
    for word in _SAME_IN_BOTH:
        if _value(pre.header, word) != _value(post.header, word):
            raise ContentError(
                RejectReason.SIZE_CONFLICT,
                f"{word} is {pre.header.get(word)} before and {post.header.get(word)} after "
                "contrast",
            )
    for before, after in zip(pre.slices, post.slices, strict=True):
        if not np.allclose(before.corner, after.corner, rtol=0, atol=_NEAR_MM):
            raise ContentError(
                RejectReason.SIZE_CONFLICT,
                f"slice {before.number} lies at {before.corner} before and at {after.corner} after "
                "contrast",
            )


def _value(header: Words, word: str) -> tuple[float, ...] | None:
    return _numbers(header, word) if word in header else None


def _short(name: str) -> str:
    return name.rpartition("/")[2]
