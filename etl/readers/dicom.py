"""DICOM files: header and stored pixels, exactly, or one `ContentError`.

`parse` reads the data set and leaves the pixels where they are; `decode` turns them into stored
values (no rescale, no window, no inversion); `read_header` serves the index, from a file's first
bytes. File format: DICOM PS3.10 chapter 7, encodings: PS3.5 annex A.
"""

from __future__ import annotations

import warnings
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from typing import TYPE_CHECKING, Any

from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset

from etl.readers.dicom_header import header_values
from etl.readers.dicom_pixels import StoredPixels, decode
from schemas.errors import ContentError
from schemas.rejects import RejectReason

if TYPE_CHECKING:
    from pydicom.tag import BaseTag

__all__ = ["DicomFile", "StoredPixels", "decode", "parse", "read_header"]

MAX_INFLATED = 1 << 29
"""Bytes that a deflated file may grow to: twice the largest film that `decode` accepts."""

_PREAMBLE = 128
_PIXEL_KEYWORDS = {
    0x7FE00008: "FloatPixelData",
    0x7FE00009: "DoubleFloatPixelData",
    0x7FE00010: "PixelData",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DicomFile:
    """A parsed file whose pixels still lie in the bytes it came from.

    Parameters
    ----------
    dataset
        All elements before the pixels, as pydicom has them.
    header
        Values by DICOM keyword, as text; the closed list is `dicom_header.HEADER_KEYWORDS`.
    syntax
        Transfer syntax UID.
    little_endian
        Byte order of native pixels.
    pixels
        The pixel element's value, without copy; None where the file has no pixel element.
    pixel_keyword
        `PixelData`, `FloatPixelData` or `DoubleFloatPixelData`; empty without pixels.
    pixel_vr
        `OB` or `OW` (empty where the encoding is implicit).
    pixel_length
        Declared length in bytes; None where it is undefined, which means encapsulated.
    """

    dataset: Dataset
    header: Mapping[str, str]
    syntax: str
    little_endian: bool = True
    pixels: memoryview | None = field(default=None, repr=False)
    pixel_keyword: str = ""
    pixel_vr: str = ""
    pixel_length: int | None = 0


def parse(data: bytes) -> DicomFile:
    """Parse a whole file; no pixel is copied or decoded.

    Raises
    ------
    ContentError
        `not_an_image` (no DICOM), `truncated`, `header_invalid`, `size_implausible` (a deflated
        file that grows beyond `MAX_INFLATED`).
    """
    scan = _scan(data)
    if scan.cut:
        raise ContentError(
            RejectReason.TRUNCATED, f"the file ends inside its header, after {len(data)} bytes"
        )
    return scan.file


def read_header(data: bytes, *, whole: bool = True) -> dict[str, str]:
    """Return the header of a file from its first bytes (64 KiB are nearly always enough).

    Parameters
    ----------
    data
        The file's first bytes, or all of it.
    whole
        False says that the file goes on: unless the pixels' element is reached, the answer is
        `truncated`, and the caller reads more.

    Returns
    -------
    dict
        Text by DICOM keyword; a missing or empty element is no key.

    Raises
    ------
    ContentError
        As `parse`.
    """
    scan = _scan(data)
    if scan.cut or (not whole and scan.file.pixels is None):
        raise ContentError(
            RejectReason.TRUNCATED, f"the header does not end within the first {len(data)} bytes"
        )
    return dict(scan.file.header)


@dataclass(frozen=True, slots=True)
class _Scan:
    """What one pass found; `cut` = the bytes end inside an element before the pixels."""

    file: DicomFile
    cut: bool


class _Stop:
    """`stop_when` of pydicom that remembers where it stopped and how far elements reach."""

    def __init__(self, stream: BytesIO, last_tag: int) -> None:
        self.stream = stream
        self.last_tag = last_tag
        self.reach = 0
        self.seen = 0
        self.found: tuple[int, str, int, int] | None = None

    def __call__(self, tag: BaseTag, vr: str | None, length: int) -> bool:
        start = self.stream.tell()
        if int(tag) > self.last_tag:
            self.found = (int(tag), vr or "", length, start)
            return True
        self.seen += 1
        self.reach = start + (0 if length == 0xFFFFFFFF else length)
        return False


def _scan(data: bytes) -> _Scan:
    with _quiet():
        try:
            return _scan_elements(data)
        except (ContentError, MemoryError):
            raise
        except EOFError as error:
            raise ContentError(
                RejectReason.TRUNCATED, f"the file ends inside an element: {_line(error)}"
            ) from error
        except Exception as error:
            raise ContentError(
                RejectReason.HEADER_INVALID, f"the DICOM header cannot be read: {_line(error)}"
            ) from error


def _scan_elements(data: bytes) -> _Scan:
    start = _dataset_start(data)
    meta, offset, cut = _file_meta(data, start)
    syntax = str(meta.get("TransferSyntaxUID", "") or "")
    if cut or (start and offset >= len(data)):
        raise ContentError(
            RejectReason.TRUNCATED, f"the file ends after {len(data)} bytes, before its data set"
        )
    implicit, little = _encoding(syntax, data[offset : offset + 6], start)
    if syntax == uid.DeflatedExplicitVRLittleEndian:
        data, offset = _inflate(data[offset:]), 0
    stream = BytesIO(data)
    stream.seek(offset)
    stop = _Stop(stream, 0x7FE00007)
    dataset = read_dataset(stream, implicit, little, stop_when=stop)
    if stop.seen and not dataset:
        raise EOFError("a sequence is not closed")
    if not start and "SOPClassUID" not in dataset and "Rows" not in dataset:
        raise ContentError(RejectReason.NOT_AN_IMAGE, "the file has no DICOM preamble")
    if stop.found is None or stop.found[0] not in _PIXEL_KEYWORDS:
        file = DicomFile(dataset=dataset, header=header_values(dataset, syntax), syntax=syntax)
        return _Scan(file, cut=stop.found is None and stop.reach > len(data))
    tag, vr, length, value = stop.found
    undefined = length == 0xFFFFFFFF
    file = DicomFile(
        dataset=dataset,
        header=header_values(dataset, syntax),
        syntax=syntax or (uid.ImplicitVRLittleEndian if implicit else uid.ExplicitVRLittleEndian),
        little_endian=little,
        pixels=memoryview(data)[value : None if undefined else value + length],
        pixel_keyword=_PIXEL_KEYWORDS[tag],
        pixel_vr=vr,
        pixel_length=None if undefined else length,
    )
    return _Scan(file, cut=False)


def _dataset_start(data: bytes) -> int:
    """Return the offset of group 2; 0 for the old files that begin with their data set."""
    if data[_PREAMBLE : _PREAMBLE + 4] == b"DICM":
        return _PREAMBLE + 4
    if len(data) >= 8 and data[:2] in (b"\x02\x00", b"\x08\x00") and data[3] == 0:
        return 0
    what = "is empty" if not data else "has no DICOM preamble"
    raise ContentError(RejectReason.NOT_AN_IMAGE, f"the file {what} ({len(data)} bytes)")


def _file_meta(data: bytes, start: int) -> tuple[Dataset, int, bool]:
    """Return group 2, the offset behind it, and whether the bytes end inside it."""
    stream = BytesIO(data)
    stream.seek(start)
    stop = _Stop(stream, 0x0002FFFF)
    meta = read_dataset(stream, False, True, stop_when=stop)
    return meta, stream.tell(), stop.found is None and stop.reach > len(data)


def _encoding(syntax: str, first: bytes, start: int) -> tuple[bool, bool]:
    """Return (implicit VR, little endian). PS3.5 annex A; without group 2, as the file looks."""
    if not syntax:
        if start:
            raise ContentError(
                RejectReason.HEADER_INVALID, "TransferSyntaxUID (0002,0010) is missing"
            )
        return not first[4:6].isalpha(), True
    if syntax == uid.ImplicitVRLittleEndian:
        return True, True
    return False, syntax != uid.ExplicitVRBigEndian


def _inflate(packed: bytes) -> bytes:
    """Undo PS3.5 A.5; never beyond `MAX_INFLATED`, and as far as it goes where it is cut."""
    engine = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        plain = engine.decompress(packed, MAX_INFLATED)
    except zlib.error as error:
        raise ContentError(
            RejectReason.DECODE_FAILED, f"the deflated data set cannot be inflated: {error}"
        ) from error
    if engine.unconsumed_tail:
        raise ContentError(
            RejectReason.SIZE_IMPLAUSIBLE,
            f"the deflated data set grows beyond {MAX_INFLATED} bytes",
        )
    return plain


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep pydicom's remarks on odd values from the user: what matters becomes an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _line(error: Exception) -> str:
    text: Any = str(error).strip() or type(error).__name__
    return str(text).splitlines()[0][:160]
