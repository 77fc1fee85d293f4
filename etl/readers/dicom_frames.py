"""Encapsulated pixel data: fragments, and the frames they make (DICOM PS3.5 annex A.4)."""

from __future__ import annotations

from itertools import pairwise
from struct import unpack, unpack_from

from schemas.errors import ContentError
from schemas.rejects import RejectReason

__all__ = ["EncodedFrame", "frame_at", "frames"]

EncodedFrame = list[memoryview]
"""The fragments of one frame, in order and not yet joined."""

_ITEM, _DELIMITER = 0xFFFEE000, 0xFFFEE0DD
_EOI = b"\xff\xd9"


def frame_at(depth: float, count: int) -> int:
    """Return the 0-based frame that holds a depth of 0 to 1 of a volume of `count` frames.

    >>> frame_at(0.5, 4), frame_at(1.0, 4)
    (2, 3)
    """
    return min(int(depth * count), count - 1)


def frames(
    pixels: memoryview, count: int, *, extended: tuple[bytes, bytes] | None = None
) -> list[EncodedFrame]:
    """Return the `count` encoded frames of an encapsulated pixel element, without copying them.

    Parameters
    ----------
    pixels
        The element's value, from its basic offset table on; what follows the sequence delimiter
        is ignored.
    count
        NumberOfFrames.
    extended
        Values of ExtendedOffsetTable and ExtendedOffsetTableLengths (7FE0,0001 and 0002).

    Raises
    ------
    ContentError
        `truncated`: a fragment is cut, or frames are missing; `header_invalid`: an offset table
        that does not fit the fragments, or more frames than declared.
    """
    table, fragments = _fragments(pixels)
    if not fragments:
        raise ContentError(RejectReason.TRUNCATED, "the pixel data holds no fragment")
    if count == 1:
        return [[part for _, part in fragments]]
    if len(fragments) == count:
        return [[part] for _, part in fragments]
    if len(fragments) < count:
        raise ContentError(
            RejectReason.TRUNCATED,
            f"{len(fragments)} fragments cannot hold the {count} frames that NumberOfFrames says",
        )
    starts = _starts(table, extended)
    if starts:
        return _by_offset(fragments, starts, count)
    return _by_end_marker(fragments, count)


def _fragments(pixels: memoryview) -> tuple[bytes, list[tuple[int, memoryview]]]:
    """Return the basic offset table and (offset behind the table, content) of each fragment."""
    items: list[tuple[int, memoryview]] = []
    position = 0
    while True:
        if position + 8 > len(pixels):
            raise ContentError(
                RejectReason.TRUNCATED, "the pixel data ends without its sequence delimiter"
            )
        group, element, length = unpack_from("<HHI", pixels, position)
        tag = group << 16 | element
        if tag == _DELIMITER:
            break
        if tag != _ITEM:
            raise ContentError(
                RejectReason.HEADER_INVALID,
                f"the pixel data holds tag ({group:04X},{element:04X}) where a fragment should be",
            )
        end = position + 8 + length
        if end > len(pixels):
            raise ContentError(
                RejectReason.TRUNCATED,
                f"a fragment of {length} bytes has only {len(pixels) - position - 8}",
            )
        items.append((position, pixels[position + 8 : end]))
        position = end
    if not items:
        return b"", []
    first = 8 + len(items[0][1])
    return bytes(items[0][1]), [(offset - first, part) for offset, part in items[1:]]


def _starts(table: bytes, extended: tuple[bytes, bytes] | None) -> tuple[int, ...]:
    if extended and len(extended[0]) % 8 == 0:
        return unpack(f"<{len(extended[0]) // 8}Q", extended[0])
    if len(table) % 4:
        raise ContentError(
            RejectReason.HEADER_INVALID, f"the basic offset table has {len(table)} bytes"
        )
    return unpack(f"<{len(table) // 4}I", table)


def _by_offset(
    fragments: list[tuple[int, memoryview]], starts: tuple[int, ...], count: int
) -> list[EncodedFrame]:
    known = {offset for offset, _ in fragments}
    if len(starts) != count or starts[0] != 0 or not known.issuperset(starts):
        raise ContentError(
            RejectReason.HEADER_INVALID,
            f"the offset table names {len(starts)} frames of {count} or points between fragments",
        )
    return _grouped(fragments, set(starts), count)


def _by_end_marker(fragments: list[tuple[int, memoryview]], count: int) -> list[EncodedFrame]:
    """Group fragments by the code stream's end, which may be followed by padding."""
    starts = {fragments[0][0]}
    for (_, part), (following, _) in pairwise(fragments):
        if _EOI in bytes(part[-10:]):
            starts.add(following)
    return _grouped(fragments, starts, count)


def _grouped(
    fragments: list[tuple[int, memoryview]], starts: set[int], count: int
) -> list[EncodedFrame]:
    groups: list[EncodedFrame] = []
    for offset, part in fragments:
        if offset in starts:
            groups.append([])
        groups[-1].append(part)
    if len(groups) != count:
        reason = RejectReason.TRUNCATED if len(groups) < count else RejectReason.HEADER_INVALID
        raise ContentError(
            reason, f"the pixel data holds {len(groups)} frames, NumberOfFrames says {count}"
        )
    return groups
