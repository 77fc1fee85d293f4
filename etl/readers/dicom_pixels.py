"""Stored values of a DICOM image: native, deflated or compressed, exactly or not at all.

Stored values are what PS3.3 C.7.6.3.1.1 calls so: no modality or VOI transformation, no inversion
of MONOCHROME1, no colour conversion. Unused high bits are cleared (or filled with the sign).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydicom import config, uid

from etl.readers.dicom_codecs import CODECS, decode_frame, decode_with_pydicom
from etl.readers.dicom_frames import frames as encoded_frames
from etl.readers.dicom_header import element_value
from etl.readers.dicom_layout import PixelLayout, read_layout
from schemas.errors import ContentError, UsageError
from schemas.rejects import RejectReason

if TYPE_CHECKING:
    from etl.readers.dicom import DicomFile

__all__ = ["MAX_BYTES", "StoredPixels", "decode"]

MAX_BYTES = 1 << 31
"""Bytes of decoded pixels that one call may ask for."""

_NATIVE = frozenset(
    {
        str(uid.ImplicitVRLittleEndian),
        str(uid.ExplicitVRLittleEndian),
        str(uid.ExplicitVRBigEndian),
        str(uid.DeflatedExplicitVRLittleEndian),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredPixels:
    """Decoded pixels.

    Parameters
    ----------
    array
        (rows, columns), or (frames, rows, columns) where NumberOfFrames is beyond 1; colour adds
        a last axis of samples. uint8/16/32/64, int8/16/32/64, float32 or float64; read-only where
        it is a view of the file's bytes.
    bits_stored
        Bits that the values use: the header's, or the code stream's where `bits_mismatch`.
    signed
        PixelRepresentation is 1.
    photometric
        PhotometricInterpretation; MONOCHROME1 is not inverted yet.
    samples
        Samples a pixel: 1 is grey.
    lossy
        The code, or the header's LossyImageCompression, says that information was lost.
    bits_mismatch
        Values exceed the header's BitsStored, and the code stream was trusted.
    """

    array: NDArray[Any]
    bits_stored: int
    signed: bool
    photometric: str
    samples: int = 1
    lossy: bool = False
    bits_mismatch: bool = False


def decode(file: DicomFile, first: int | None = None, last: int | None = None) -> StoredPixels:
    """Return a file's stored values, or those of frames `first` to `last` (0-based, inclusive).

    Raises
    ------
    ContentError
        With one reason of `schemas.rejects`: `no_pixels`, `header_invalid`, `size_implausible`,
        `size_conflict`, `truncated`, `unsupported`, `decode_failed`.
    UsageError
        `first` and `last` are no frames of this file.
    """
    layout = read_layout(file)
    chosen = _chosen(layout, first, last)
    wanted = len(chosen) * int(np.prod(layout.frame_shape)) * layout.dtype.itemsize
    if wanted > MAX_BYTES:
        raise ContentError(
            RejectReason.SIZE_IMPLAUSIBLE, f"{len(chosen)} frames take {wanted} bytes"
        )
    if file.syntax in _NATIVE:
        return _native(file, layout, chosen)
    if file.syntax in CODECS:
        return _compressed(file, layout, chosen)
    name = uid.UID(file.syntax, config.IGNORE).name
    raise ContentError(RejectReason.UNSUPPORTED, f"no decoder for transfer syntax {name}")


def _chosen(layout: PixelLayout, first: int | None, last: int | None) -> range:
    start = 0 if first is None else first
    end = layout.frames - 1 if last is None else last
    if not 0 <= start <= end < layout.frames:
        raise UsageError(
            f"frames {start} to {end} were asked for: the file has {layout.frames}, from 0"
        )
    return range(start, end + 1)


def _native(file: DicomFile, layout: PixelLayout, chosen: range) -> StoredPixels:
    assert file.pixels is not None  # noqa: S101 - read_layout refused it
    expected = layout.native_bytes(layout.frames)
    if file.pixel_length is None:
        raise ContentError(
            RejectReason.HEADER_INVALID, "uncompressed pixel data has an undefined length"
        )
    if len(file.pixels) < expected:
        raise ContentError(
            RejectReason.TRUNCATED, f"{len(file.pixels)} bytes of pixels, expected {expected}"
        )
    plain = layout.samples == 1 and layout.bits_allocated >= 8
    if plain and (file.little_endian or layout.bits_allocated >= 16):
        array = _view(file, layout, chosen)
    else:
        source = bytes(file.pixels[: expected + expected % 2])
        array = _by_pydicom(source, layout, file.syntax)
        if layout.frames > 1:
            array = array[chosen.start : chosen.stop]
    return _stored(file, layout, array)


def _view(file: DicomFile, layout: PixelLayout, chosen: range) -> NDArray[Any]:
    """Return a view of the file's own bytes (a copy only where they are big endian)."""
    assert file.pixels is not None  # noqa: S101 - read_layout refused it
    frame = layout.native_bytes(1)
    part = file.pixels[chosen.start * frame : chosen.stop * frame]
    dtype = layout.dtype.newbyteorder("<" if file.little_endian else ">")
    array = np.frombuffer(part, dtype).astype(layout.dtype, copy=False)
    shape = layout.frame_shape if layout.frames == 1 else (len(chosen), *layout.frame_shape)
    return array.reshape(shape)


def _by_pydicom(source: bytes, layout: PixelLayout, syntax: str) -> NDArray[Any]:
    try:
        return decode_with_pydicom(source, layout, syntax, num_frames=layout.frames)
    except MemoryError:
        raise
    except Exception as error:
        raise ContentError(
            RejectReason.DECODE_FAILED, f"the pixels cannot be unpacked: {error}"
        ) from error


def _compressed(file: DicomFile, layout: PixelLayout, chosen: range) -> StoredPixels:
    assert file.pixels is not None  # noqa: S101 - read_layout refused it
    if file.pixel_length is not None:
        raise ContentError(RejectReason.HEADER_INVALID, "compressed pixel data is not encapsulated")
    if layout.is_float:
        raise ContentError(RejectReason.UNSUPPORTED, "compressed float pixels")
    streams = encoded_frames(file.pixels, layout.frames, extended=_extended_offsets(file))
    one = decode_frame(b"".join(streams[chosen.start]), layout, file.syntax)
    precision, lossy = one.precision, one.lossy
    if layout.frames == 1:
        array = one.pixels
    else:
        array = np.empty((len(chosen), *layout.frame_shape), layout.dtype)
        array[0] = one.pixels
        for place, number in enumerate(chosen[1:], start=1):
            frame = decode_frame(b"".join(streams[number]), layout, file.syntax)
            array[place] = frame.pixels
            precision, lossy = max(precision, frame.precision), lossy or frame.lossy
    return _stored(file, layout, array, precision=precision, lossy=lossy)


def _extended_offsets(file: DicomFile) -> tuple[bytes, bytes] | None:
    offsets = element_value(file.dataset, "ExtendedOffsetTable")
    lengths = element_value(file.dataset, "ExtendedOffsetTableLengths")
    return (offsets, lengths) if offsets and lengths else None


def _stored(
    file: DicomFile,
    layout: PixelLayout,
    array: NDArray[Any],
    *,
    precision: int | None = None,
    lossy: bool = False,
) -> StoredPixels:
    """Settle the bits beyond BitsStored.

    In native pixels they are rubbish or old overlays (PS3.5 8.1.1) and are cleared. A code stream
    that holds more bits than the header says (all tomosynthesis volumes of one public release
    claim 10 over 16) is believed, and the contradiction is said.
    """
    bits, mismatch = layout.bits_stored, False
    if not layout.is_float and bits < layout.bits_allocated and not _fits(array, layout):
        if precision is not None and precision > bits:
            bits, mismatch = precision, True
        else:
            array = _low_bits(array, layout)
    declared = file.header.get("LossyImageCompression") == "01"
    return StoredPixels(
        array=array,
        bits_stored=bits,
        signed=layout.signed,
        photometric=layout.photometric,
        samples=layout.samples,
        lossy=lossy or declared,
        bits_mismatch=mismatch,
    )


def _fits(array: NDArray[Any], layout: PixelLayout) -> bool:
    high = (1 << layout.bits_stored - layout.signed) - 1
    if int(array.max()) > high:
        return False
    return not layout.signed or int(array.min()) >= -high - 1


def _low_bits(array: NDArray[Any], layout: PixelLayout) -> NDArray[Any]:
    """Return the low BitsStored bits, with their sign where the pixels are signed."""
    shift = layout.dtype.itemsize * 8 - layout.bits_stored
    return (array << shift) >> shift
