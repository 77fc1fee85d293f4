"""Transfer syntax -> decoders: one table, each decoder behind the same checks.

imagecodecs comes first where its result was compared bit for bit (one sample a pixel, unsigned);
then the pydicom plug-in that agrees with it, by name. Plug-ins are never chosen by pydicom's own
order: with pylibjpeg-libjpeg installed that order ends in a decoder that turns damaged JPEG-LS
into pictures, and pylibjpeg-rle ends the process on some damaged frames.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import uid
from pydicom.encaps import encapsulate
from pydicom.pixels.decoders.base import get_decoder

from etl.readers.codestream import (
    SOF_JPEG_LS,
    SOF_LOSSLESS,
    StreamInfo,
    check_rle,
    j2k_info,
    jpeg_info,
)
from etl.readers.dicom_layout import PixelLayout
from schemas.errors import ContentError
from schemas.rejects import RejectReason

__all__ = ["CODECS", "Frame", "decode_frame", "decode_with_pydicom"]

Pixels = NDArray[Any]
_Run = Callable[[bytes, PixelLayout, str], Pixels]


@dataclass(frozen=True, slots=True)
class Frame:
    """One decoded frame: (rows, columns) or (rows, columns, samples), and how it was stored."""

    pixels: Pixels
    precision: int
    lossy: bool


@dataclass(frozen=True, slots=True)
class _Decoder:
    """One way to decode; `plain_only` = one unsigned sample a pixel, header and stream alike."""

    run: _Run
    plain_only: bool = False


@dataclass(frozen=True, slots=True)
class _Codec:
    inspect: Callable[[bytes, PixelLayout], StreamInfo | None]
    decoders: tuple[_Decoder, ...]
    lossy: bool = False


def _jpeg(stream: bytes, layout: PixelLayout) -> StreamInfo:
    info = jpeg_info(stream)
    if info.process == SOF_JPEG_LS:
        raise ContentError(RejectReason.DECODE_FAILED, "a JPEG-LS stream where a JPEG should be")
    _need_end(info)
    if info.process == SOF_LOSSLESS:  # T.81 H.1.2.2: at least one bit a sample
        _need_bytes(stream, layout.rows * layout.columns * layout.samples // 8)
    return info


def _jpeg_ls(stream: bytes, layout: PixelLayout) -> StreamInfo:
    info = jpeg_info(stream)
    if info.process != SOF_JPEG_LS:
        raise ContentError(RejectReason.DECODE_FAILED, "a JPEG stream where a JPEG-LS should be")
    _need_end(info)
    _need_bytes(stream, layout.rows // 8)  # T.87 A.7: at least one bit a line
    return info


def _j2k(stream: bytes, _: PixelLayout) -> StreamInfo:
    return j2k_info(stream)


def _htj2k(stream: bytes, _: PixelLayout) -> StreamInfo:
    info = j2k_info(stream)
    _need_end(info)
    return info


def _rle(stream: bytes, layout: PixelLayout) -> None:
    if layout.bits_allocated % 8:
        raise ContentError(
            RejectReason.UNSUPPORTED, f"RLE with BitsAllocated {layout.bits_allocated}"
        )
    planes = layout.samples * layout.bits_allocated // 8
    check_rle(stream, planes, layout.rows * layout.columns)


def _need_end(info: StreamInfo) -> None:
    if not info.complete:
        raise ContentError(RejectReason.TRUNCATED, "the code stream has no end marker")


def _need_bytes(stream: bytes, least: int) -> None:
    if len(stream) < least:
        raise ContentError(
            RejectReason.TRUNCATED,
            f"a code stream of {len(stream)} bytes cannot hold the frame (at least {least})",
        )


def _jpeg8(stream: bytes, layout: PixelLayout, _: str) -> Pixels:
    import imagecodecs

    # Naming one colour space for both ends keeps the stored components (no YBR to RGB).
    space = None if layout.samples == 1 else "YCBCR"
    return np.asarray(imagecodecs.jpeg8_decode(stream, colorspace=space, outcolorspace=space))


def _jpegls(stream: bytes, _: PixelLayout, __: str) -> Pixels:
    import imagecodecs

    return np.asarray(imagecodecs.jpegls_decode(stream))


def _jpeg2k(stream: bytes, _: PixelLayout, __: str) -> Pixels:
    import imagecodecs

    return np.asarray(imagecodecs.jpeg2k_decode(stream, numthreads=1))


def _rle_fast(stream: bytes, layout: PixelLayout, _: str) -> Pixels:
    import imagecodecs

    dtype = np.dtype(f"<u{layout.bits_allocated // 8}")
    plain = imagecodecs.dicomrle_decode(stream, dtype)
    return np.frombuffer(plain, dtype).reshape(layout.rows, layout.columns)


def _plugin(name: str) -> _Run:
    def run(stream: bytes, layout: PixelLayout, syntax: str) -> Pixels:
        packed = encapsulate([stream], has_bot=False)
        return decode_with_pydicom(packed, layout, syntax, plugin=name, num_frames=1)

    return run


def decode_with_pydicom(
    source: bytes, layout: PixelLayout, syntax: str, *, plugin: str = "", num_frames: int
) -> Pixels:
    """Return stored values by pydicom's decoder for the syntax, with the plug-in named.

    `source` is a pixel element's value; colour stays as it is stored.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        array, _ = get_decoder(uid.UID(syntax)).as_array(
            source,
            raw=True,
            decoding_plugin=plugin,
            **layout.pydicom_options(num_frames),
        )
    return array


_LIBJPEG_TURBO = (_Decoder(_jpeg8),)
_CHARLS = (_Decoder(_jpegls, plain_only=True), _Decoder(_plugin("pyjpegls")))
_OPENJPEG = (_Decoder(_jpeg2k, plain_only=True), _Decoder(_plugin("pylibjpeg")))
# imagecodecs drops OpenJPH's errors and returns what its memory held: three times slower, but right
_OPENJPEG_HT = (_Decoder(_plugin("pylibjpeg")),)
_PACKBITS = (_Decoder(_rle_fast, plain_only=True), _Decoder(_plugin("pydicom")))

CODECS: dict[str, _Codec] = {
    uid.JPEGBaseline8Bit: _Codec(_jpeg, _LIBJPEG_TURBO, lossy=True),
    uid.JPEGExtended12Bit: _Codec(_jpeg, _LIBJPEG_TURBO, lossy=True),
    uid.JPEGLossless: _Codec(_jpeg, _LIBJPEG_TURBO),
    uid.JPEGLosslessSV1: _Codec(_jpeg, _LIBJPEG_TURBO),
    uid.JPEGLSLossless: _Codec(_jpeg_ls, _CHARLS),
    uid.JPEGLSNearLossless: _Codec(_jpeg_ls, _CHARLS, lossy=True),
    uid.JPEG2000Lossless: _Codec(_j2k, _OPENJPEG),
    uid.JPEG2000: _Codec(_j2k, _OPENJPEG, lossy=True),
    uid.HTJ2KLossless: _Codec(_htj2k, _OPENJPEG_HT),
    uid.HTJ2KLosslessRPCL: _Codec(_htj2k, _OPENJPEG_HT),
    uid.HTJ2K: _Codec(_htj2k, _OPENJPEG_HT, lossy=True),
    uid.RLELossless: _Codec(_rle, _PACKBITS),
}
"""Encapsulated transfer syntaxes that are read (PS3.5 A.4), each with its decoders in order."""


def decode_frame(stream: bytes, layout: PixelLayout, syntax: str) -> Frame:
    """Decode one frame, after its stream was compared with the header.

    Raises
    ------
    ContentError
        `truncated`, `size_conflict`, `unsupported` or `decode_failed`.
    """
    codec = CODECS[syntax]
    info = codec.inspect(stream, layout)
    if info is not None:
        _compare(info, layout)
    pixels = _first_that_decodes(codec, stream, layout, syntax, _is_plain(info, layout))
    if pixels.shape != layout.frame_shape:
        raise ContentError(
            RejectReason.SIZE_CONFLICT,
            f"the frame decodes to {pixels.shape}, the header says {layout.frame_shape}",
        )
    lossy = codec.lossy or (info is not None and info.process in (0xC0, 0xC1, 0xC2))
    precision = info.precision if info is not None else layout.bits_allocated
    return Frame(_in_container(pixels, layout), precision, lossy)


def _is_plain(info: StreamInfo | None, layout: PixelLayout) -> bool:
    signed = layout.signed or (info is not None and info.signed)
    return layout.samples == 1 and not signed and layout.bits_allocated in (8, 16)


def _compare(info: StreamInfo, layout: PixelLayout) -> None:
    found = (info.height, info.width, info.components)
    expected = (layout.rows, layout.columns, layout.samples)
    if found != expected:
        raise ContentError(
            RejectReason.SIZE_CONFLICT,
            f"the code stream is {found} (height, width, components), the header says {expected}",
        )
    if info.precision > layout.bits_allocated and layout.bits_allocated > 1:
        raise ContentError(
            RejectReason.SIZE_CONFLICT,
            f"the code stream has {info.precision} bits, BitsAllocated is {layout.bits_allocated}",
        )


def _first_that_decodes(
    codec: _Codec, stream: bytes, layout: PixelLayout, syntax: str, plain: bool
) -> Pixels:
    failures: list[str] = []
    for decoder in codec.decoders:
        if decoder.plain_only and not plain:
            continue
        try:
            return decoder.run(stream, layout, syntax)
        except MemoryError:
            raise
        except Exception as error:
            text = str(error).strip() or type(error).__name__
            failures.append(text.splitlines()[0][:160])
    raise ContentError(RejectReason.DECODE_FAILED, f"the decoder refused a frame: {failures[0]}")


def _in_container(pixels: Pixels, layout: PixelLayout) -> Pixels:
    """Return the values in the dtype that BitsAllocated and PixelRepresentation ask for."""
    if pixels.dtype == layout.dtype:
        return pixels
    if layout.signed and pixels.dtype.kind == "u" and pixels.itemsize == layout.dtype.itemsize:
        return pixels.view(layout.dtype)
    return pixels.astype(layout.dtype)
