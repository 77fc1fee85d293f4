"""What a compressed frame says of itself, read before any decoder sees it.

Decoders trust code streams: four of them return wrong pixels without an error for a stream that
was cut, and a damaged size field makes others allocate gigabytes or run for minutes. A few lines
of marker walking prevent both. JPEG: ITU-T T.81 annex B; JPEG-LS: T.87 annex C; JPEG 2000: T.800
annex A and I; DICOM RLE: PS3.5 annex G.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from struct import unpack_from

from schemas.errors import ContentError
from schemas.rejects import RejectReason

__all__ = [
    "SOF_JPEG_LS",
    "SOF_LOSSLESS",
    "StreamInfo",
    "check_rle",
    "is_complete",
    "j2k_info",
    "jpeg_info",
]

_SOI, _EOI, _SOS = b"\xff\xd8", b"\xff\xd9", 0xDA
_SOF = frozenset({0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF})
_SOF_SEQUENTIAL = frozenset({0xC0, 0xC1})
SOF_LOSSLESS, SOF_JPEG_LS = 0xC3, 0xF7
_JP2 = b"\x00\x00\x00\x0cjP  "
_SOC_SIZ = b"\xff\x4f\xff\x51"
_RLE_HEADER = 64
_RLE_GAIN = 64
"""A PackBits run of two bytes yields at most 128."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamInfo:
    """Size and kind of one frame.

    `process` is the SOF marker's second byte for JPEG and JPEG-LS, 0 for JPEG 2000;
    `precision` is bits a sample; `complete` = the end marker is there.
    """

    width: int
    height: int
    components: int
    precision: int
    signed: bool = False
    process: int = 0
    complete: bool = True


def jpeg_info(stream: bytes) -> StreamInfo:
    """Return what SOF and SOS of a JPEG or JPEG-LS stream say.

    Raises
    ------
    ContentError
        `decode_failed`: no such stream, or a scan that no sequential process has;
        `truncated`: it ends before its scan.
    """
    if stream[:2] != _SOI:
        raise ContentError(RejectReason.DECODE_FAILED, "the frame does not begin as a JPEG does")
    frame: tuple[int, int, int, int, int] | None = None
    for marker, start, end in _segments(stream):
        if marker in _SOF or marker == SOF_JPEG_LS:
            _need(end - start >= 6, "its frame header is too short")
            precision, height, width, components = unpack_from(">BHHB", stream, start)
            frame = (marker, precision, height, width, components)
        elif marker == _SOS:
            _need(frame is not None, "its scan comes before its frame header")
            assert frame is not None  # noqa: S101 - for the type checker
            _check_scan(frame[0], stream[start:end])
            return StreamInfo(
                process=frame[0],
                precision=frame[1],
                height=frame[2],
                width=frame[3],
                components=frame[4],
                complete=is_complete(stream, end),
            )
    raise ContentError(RejectReason.TRUNCATED, "the frame ends before its first scan")


def is_complete(stream: bytes, start: int) -> bool:
    """Say whether EOI follows the scan that begins at `start`.

    Entropy-coded data cannot hold FF D9 (T.81 B.1.1.5, T.87 A.1), so any one is the end, whatever
    padding follows it. Looked for from the back, where it is.
    """
    return stream.rfind(_EOI, start) >= 0


def _segments(stream: bytes) -> list[tuple[int, int, int]]:
    """Return (marker, start, end) of the segments' contents, up to the first scan's header."""
    found = []
    position = 2
    while position + 4 <= len(stream):
        _need(stream[position] == 0xFF, f"byte {position} should begin a marker")
        marker = stream[position + 1]
        if marker == 0xFF:  # T.81 B.1.1.2: any marker may be preceded by fill bytes
            position += 1
            continue
        length = unpack_from(">H", stream, position + 2)[0]
        _need(length >= 2, f"marker {marker:02X} has length {length}")
        end = position + 2 + length
        if end > len(stream):
            break
        found.append((marker, position + 4, end))
        if marker == _SOS:
            break
        position = end
    return found


def _check_scan(process: int, header: bytes) -> None:
    """Refuse a sequential DCT scan whose spectral selection is not 0..63 (T.81 table B.3)."""
    _need(len(header) >= 4 and len(header) == 4 + 2 * header[0], "its scan header is damaged")
    if process in _SOF_SEQUENTIAL and (header[-3], header[-2]) != (0, 63):
        raise ContentError(
            RejectReason.DECODE_FAILED,
            f"the JPEG scan selects coefficients {header[-3]}..{header[-2]}, expected 0..63",
        )


def _need(condition: bool, what: str) -> None:
    if not condition:
        raise ContentError(RejectReason.DECODE_FAILED, f"the code stream is damaged: {what}")


def j2k_info(stream: bytes) -> StreamInfo:
    """Return what SIZ of a JPEG 2000 or HTJ2K code stream says, bare or inside a JP2 file.

    Raises
    ------
    ContentError
        `decode_failed`: no such stream, or sizes that T.800 table A.9 forbids;
        `truncated`: it ends inside SIZ.
    """
    start = 0
    if stream.startswith(_JP2):
        start = stream.find(_SOC_SIZ)
    if start < 0 or stream[start : start + 4] != _SOC_SIZ:
        raise ContentError(
            RejectReason.DECODE_FAILED, "the frame does not begin as a JPEG 2000 code stream does"
        )
    if len(stream) < start + 45:
        raise ContentError(RejectReason.TRUNCATED, "the frame ends inside its SIZ marker")
    x1, y1, x0, y0, tile_w, tile_h, tile_x, tile_y = unpack_from(">8I", stream, start + 8)
    components, depth, step_x, step_y = unpack_from(">HBBB", stream, start + 40)
    _need(x1 > x0 and y1 > y0 and tile_w > 0 and tile_h > 0, "SIZ declares an empty image")
    _need(tile_x <= x0 and tile_y <= y0, "SIZ puts its tiles beyond the image")
    _need(components > 0 and step_x == 1 and step_y == 1, "SIZ declares a reduced first component")
    tiles = -(-(x1 - tile_x) // tile_w) * -(-(y1 - tile_y) // tile_h)
    _need(tiles <= 65535, f"SIZ declares {tiles} tiles")
    return StreamInfo(
        width=x1 - x0,
        height=y1 - y0,
        components=components,
        precision=(depth & 0x7F) + 1,
        signed=bool(depth & 0x80),
        complete=stream.rstrip(b"\0").endswith(_EOI),
    )


def check_rle(stream: bytes, segments: int, samples: int) -> None:
    """Refuse an RLE frame whose header or length cannot give `segments` planes of `samples` bytes.

    Raises
    ------
    ContentError
        `truncated`, or `decode_failed` where the number of segments differs.
    """
    if len(stream) < _RLE_HEADER:
        raise ContentError(RejectReason.TRUNCATED, f"the RLE frame has only {len(stream)} bytes")
    count, *offsets = unpack_from("<16I", stream)
    if count != segments:
        raise ContentError(
            RejectReason.DECODE_FAILED, f"the RLE frame has {count} segments, expected {segments}"
        )
    bounds = [*offsets[:count], len(stream)]
    _need(bounds[0] >= _RLE_HEADER and bounds == sorted(bounds), "RLE offsets are out of order")
    for start, end in pairwise(bounds):
        if (end - start) * _RLE_GAIN < samples:
            raise ContentError(
                RejectReason.TRUNCATED,
                f"an RLE segment of {end - start} bytes cannot hold {samples} bytes of pixels",
            )
