"""One image file of any kind as its stored pixels: DICOM or raster, told by the first bytes."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from etl.readers.dicom import decode, parse
from etl.readers.raster import read_raster
from schemas.errors import ContentError
from schemas.rejects import RejectReason

__all__ = ["is_dicom", "read_stored"]


def is_dicom(data: bytes) -> bool:
    """Say whether a file begins as DICOM does: with a preamble, or at once with group 2 or 8."""
    return data[128:132] == b"DICM" or (data[:2] in (b"\x02\0", b"\x08\0") and data[3:4] == b"\0")


def read_stored(data: bytes, name: str, frame: int | None = None) -> NDArray[Any]:
    """Return one image's stored values: no rescale, no window, no inversion.

    Parameters
    ----------
    data
        The whole file.
    name
        What to call it in an error.
    frame
        0-based frame of a file with several; None takes the first.

    Returns
    -------
    numpy.ndarray
        (rows, columns).

    Raises
    ------
    ContentError
        As `etl.readers.dicom.decode` and `etl.readers.raster.read_raster`; `not_grey` for colour.
    """
    if not is_dicom(data):
        return read_raster(data, name).array
    file = parse(data)
    stored = decode(file, frame or 0, frame or 0)
    if stored.samples != 1:
        raise ContentError(RejectReason.NOT_GREY, f"{name} is a colour image")
    return stored.array.reshape(stored.array.shape[-2:])
