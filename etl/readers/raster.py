"""Raster pictures: PGM, PNG, JPEG and TIFF to one grey array, or one `ContentError`.

The format is told by the first bytes, never by the name. Sizes are read and compared with the data
before a decoder allocates, and a picture that was cut is refused: most decoders would fill the
missing part with grey. Netpbm: pgm(5); PNG: ISO/IEC 15948; JPEG: ITU-T T.81; TIFF: revision 6.0.
"""

from __future__ import annotations

import logging
import re
import warnings
import zlib
from dataclasses import dataclass
from io import BytesIO
from struct import unpack_from
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etl.readers.codestream import jpeg_info
from etl.readers.dicom_layout import MAX_PIXELS
from schemas.errors import ContentError
from schemas.rejects import RejectReason

__all__ = ["Raster", "read_raster"]

Pixels = NDArray[Any]

# what tifffile logs about a damaged file becomes an error here, with its reason
logging.getLogger("tifffile").addHandler(logging.NullHandler())

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8\xff"
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_EDITORS = re.compile(rb"gimp|photoshop|imagej|irfanview|paint\.net|paint shop|xv version", re.I)
_CHROMA = 4
"""Grey levels by which the channels of a grey JPEG may differ: chroma is rounded on its way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Raster:
    """A grey picture.

    Parameters
    ----------
    array
        (rows, columns), uint8 or uint16; black is 0.
    bits
        Bits that the format gives a sample (PGM: those of its largest value).
    edited
        The file says that an image editor saved it.
    lossy
        The pixels went through a lossy code.
    """

    array: Pixels
    bits: int
    edited: bool = False
    lossy: bool = False


def read_raster(data: bytes, name: str) -> Raster:
    """Decode a picture; equal colour channels become one, an opaque alpha channel is dropped.

    Parameters
    ----------
    data
        The whole file.
    name
        What to call it in an error.

    Raises
    ------
    ContentError
        `not_an_image`, `truncated`, `size_implausible`, `unsupported`, `not_grey` or
        `decode_failed`.
    """
    try:
        if data[:2] in (b"P2", b"P5"):
            return _read_pgm(data)
        if data.startswith(_PNG):
            return _read_png(data)
        if data.startswith(_JPEG):
            return _read_jpeg(data)
        if data[:4] in _TIFF:
            return _read_tiff(data)
    except ContentError as error:
        raise ContentError(error.reason, f"{name}: {error.detail}") from error
    except MemoryError:
        raise
    except Exception as error:
        text = str(error).strip() or type(error).__name__
        raise ContentError(
            RejectReason.DECODE_FAILED, f"{name}: {text.splitlines()[0][:160]}"
        ) from error
    what = "is empty" if not data else "is no PGM, PNG, JPEG or TIFF"
    raise ContentError(RejectReason.NOT_AN_IMAGE, f"{name} {what}")


def _read_pgm(data: bytes) -> Raster:
    values, start, comments = _pgm_header(data)
    width, height, largest = values
    _check_size(width, height)
    if not 0 < largest < 65536:
        raise ContentError(RejectReason.DECODE_FAILED, f"the largest value is {largest}")
    array = _pgm_plain(data[start:], width, height) if data[:2] == b"P2" else None
    if array is None:
        array = _pgm_raw(data, start, width, height, largest)
    if array.max() > largest:
        raise ContentError(
            RejectReason.DECODE_FAILED, f"value {array.max()} is beyond the declared {largest}"
        )
    array = array.astype(np.uint8 if largest < 256 else np.uint16, copy=False)
    edited = b"CREATOR" in comments or bool(_EDITORS.search(comments))
    return Raster(array=array, bits=largest.bit_length(), edited=edited)


def _pgm_header(data: bytes) -> tuple[tuple[int, int, int], int, bytes]:
    """Return (width, height, largest value), the offset of the pixels, and all comments."""
    numbers: list[int] = []
    comments = b""
    position = 2
    token = re.compile(rb"\s*(?:#([^\r\n]*)[\r\n]|(\d{1,10})(?=[\s#]))")
    while len(numbers) < 3:
        match = token.match(data, position)
        if match is None:
            raise ContentError(RejectReason.TRUNCATED, "the PGM header is incomplete")
        position = match.end()
        if match[2] is None:
            comments += match[1] + b"\n"
        else:
            numbers.append(int(match[2]))
    return (numbers[0], numbers[1], numbers[2]), position + 1, comments


def _pgm_raw(data: bytes, start: int, width: int, height: int, largest: int) -> Pixels:
    dtype = np.dtype("u1" if largest < 256 else ">u2")
    need = width * height * dtype.itemsize
    if len(data) - start < need:
        raise ContentError(
            RejectReason.TRUNCATED, f"{len(data) - start} bytes of pixels, expected {need}"
        )
    array = np.frombuffer(data, dtype, width * height, start).reshape(height, width)
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _pgm_plain(text: bytes, width: int, height: int) -> Pixels:
    if len(text) < 2 * width * height - 1:
        raise ContentError(
            RejectReason.TRUNCATED, f"{len(text)} bytes cannot hold {width} x {height} numbers"
        )
    words = text.split()
    if len(words) < width * height:
        raise ContentError(
            RejectReason.TRUNCATED, f"{len(words)} pixels, expected {width * height}"
        )
    return np.array(words[: width * height], dtype=np.int64).reshape(height, width)


def _read_png(data: bytes) -> Raster:
    import imagecodecs

    header, texts = _png_chunks(data)
    width, height, bits, _ = unpack_from(">IIBB", header)
    _check_size(width, height)
    array = _grey(np.asarray(imagecodecs.png_decode(data)), tolerance=0)
    _check_shape(array, width, height)
    return Raster(array=array, bits=max(bits, 8), edited=bool(_EDITORS.search(texts)))


def _png_chunks(data: bytes) -> tuple[bytes, bytes]:
    """Return IHDR and all text; every chunk's CRC is checked up to IEND."""
    header, texts = b"", b""
    position = len(_PNG)
    while position + 12 <= len(data):
        length = unpack_from(">I", data, position)[0]
        kind = data[position + 4 : position + 8]
        end = position + 8 + length
        if end + 4 > len(data):
            break
        if zlib.crc32(data[position + 4 : end]) != unpack_from(">I", data, end)[0]:
            raise ContentError(
                RejectReason.DECODE_FAILED, f"chunk {kind.decode('latin-1')} fails its checksum"
            )
        if kind == b"IHDR":
            header = data[position + 8 : end]
        elif kind in (b"tEXt", b"iTXt"):
            texts += data[position + 8 : end]
        elif kind == b"IEND":
            if len(header) != 13:
                raise ContentError(RejectReason.DECODE_FAILED, "the PNG has no IHDR")
            return header, texts
        position = end + 4
    raise ContentError(RejectReason.TRUNCATED, "the PNG ends without IEND")


def _read_jpeg(data: bytes) -> Raster:
    import imagecodecs

    info = jpeg_info(data)
    _check_size(info.width, info.height)
    if not info.complete:
        raise ContentError(RejectReason.TRUNCATED, "the JPEG has no end marker")
    if info.components not in (1, 3):
        raise ContentError(RejectReason.NOT_GREY, f"the JPEG has {info.components} components")
    space = None if info.components == 1 else "RGB"
    decoded = np.asarray(imagecodecs.jpeg8_decode(data, outcolorspace=space))
    array = _grey(decoded, tolerance=_CHROMA)
    _check_shape(array, info.width, info.height)
    edited = bool(_EDITORS.search(data[: data.find(b"\xff\xda")]))
    return Raster(array=array, bits=info.precision, edited=edited, lossy=info.process != 0xC3)


def _read_tiff(data: bytes) -> Raster:
    import tifffile

    _check_directory(data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with tifffile.TiffFile(BytesIO(data)) as file:
            page = file.pages.first
            _check_tiff(page, len(data))
            array = np.asarray(page.asarray())
            bits, photometric = int(page.bitspersample), int(page.photometric)
            colours, compression = page.colormap, int(page.compression)
            software = str(page.software or "").encode() + str(page.description or "").encode()
    if bits == 1:
        array = array.astype(np.uint8) * 255
    elif photometric == 3 and colours is not None:
        array = np.moveaxis(np.asarray(colours) >> 8, 0, -1).astype(np.uint8)[array]
    array = _grey(array, tolerance=0)
    if photometric == 0:  # white is zero (TIFF 6.0, section 3)
        array = np.iinfo(array.dtype).max - array
    edited = bool(_EDITORS.search(software))
    return Raster(array=array, bits=max(bits, 8), edited=edited, lossy=compression in (6, 7))


def _check_directory(data: bytes) -> None:
    """Refuse a file that ends before its directory, which most writers put last."""
    order = "<" if data[:2] == b"II" else ">"
    wide = data[2:4] in (b"+\0", b"\0+")
    start, code = (8, "Q") if wide else (4, "I")
    if len(data) >= start + 8 and unpack_from(order + code, data, start)[0] + 2 > len(data):
        raise ContentError(RejectReason.TRUNCATED, "the TIFF's directory lies beyond its end")


def _check_tiff(page: Any, size: int) -> None:
    """Refuse a page whose size, depth or strips cannot be right."""
    _check_size(int(page.imagewidth), int(page.imagelength))
    if int(page.bitspersample) not in (1, 8, 16) or int(page.sampleformat) != 1:
        raise ContentError(
            RejectReason.UNSUPPORTED,
            f"a TIFF of {page.bitspersample} bits, sample format {int(page.sampleformat)}",
        )
    if int(page.samplesperpixel) not in (1, 2, 3, 4) or int(page.imagedepth) != 1:
        raise ContentError(RejectReason.NOT_GREY, f"the TIFF has {page.samplesperpixel} samples")
    strips = list(zip(page.dataoffsets, page.databytecounts, strict=True))
    if not strips or any(count == 0 or offset + count > size for offset, count in strips):
        raise ContentError(RejectReason.TRUNCATED, "the TIFF's strips reach beyond its end")
    line = (int(page.imagewidth) * int(page.samplesperpixel) * int(page.bitspersample) + 7) // 8
    plain = line * int(page.imagelength)
    if int(page.compression) == 1 and sum(count for _, count in strips) < plain:
        raise ContentError(RejectReason.TRUNCATED, "the TIFF's strips are too short")


def _check_size(width: int, height: int) -> None:
    if width < 1 or height < 1 or width * height > MAX_PIXELS:
        raise ContentError(
            RejectReason.SIZE_IMPLAUSIBLE,
            f"the header says {width} x {height} pixels, allowed are 1 to {MAX_PIXELS}",
        )


def _check_shape(array: Pixels, width: int, height: int) -> None:
    if array.shape != (height, width):
        raise ContentError(
            RejectReason.SIZE_CONFLICT,
            f"the picture decodes to {array.shape}, its header says {(height, width)}",
        )


def _grey(array: Pixels, tolerance: int) -> Pixels:
    """Return one channel of a picture whose colour channels are equal (or nearly so)."""
    if array.dtype == np.bool_:
        array = array.astype(np.uint8) * 255
    if array.dtype not in (np.uint8, np.uint16):
        raise ContentError(RejectReason.UNSUPPORTED, f"pixels of type {array.dtype}")
    if array.ndim == 2:
        return array
    channels = array.shape[-1] if array.ndim == 3 else 0
    if channels in (2, 4):
        if (array[..., -1] != np.iinfo(array.dtype).max).any():
            raise ContentError(RejectReason.NOT_GREY, "the picture is partly transparent")
        array = array[..., :-1]
    if channels not in (1, 2, 3, 4):
        raise ContentError(RejectReason.NOT_GREY, f"the picture has shape {array.shape}")
    spread = int((array.max(axis=-1) - array.min(axis=-1)).max())
    if spread > tolerance:
        raise ContentError(
            RejectReason.NOT_GREY, f"colour channels differ by up to {spread} grey levels"
        )
    # Of a JPEG's channels green is the nearest to the luminance that was stored.
    return np.ascontiguousarray(array[..., min(1, array.shape[-1] - 1)])
