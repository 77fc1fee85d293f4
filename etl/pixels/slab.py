"""A volume to one picture: the mean of all its frames, which here is called its slab.

The mean, not the largest value: of thick slices made from tomosynthesis, those that average show
round and spiculated masses with the best contrast to noise, and those that keep the maximum show
microcalcifications best (Diekmann et al., J Digit Imaging 2009;22:519, doi
10.1007/s10278-007-9075-y); what BCS-DBT draws are masses and distortions. A mean also keeps its
level whatever the number of slices, where a maximum grows with the thickness of the breast.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from etl.readers import dicom
from etl.readers.dicom_layout import read_layout
from schemas.errors import ContentError
from schemas.rejects import RejectReason

__all__ = ["mean_of_frames"]


def mean_of_frames(file: dicom.DicomFile) -> dicom.StoredPixels:
    """Return the mean of all frames, rounded half up: (rows, columns) of the frames' type.

    Frames are decoded one after the other, so the peak is that of two frames and a sum of int64.

    Raises
    ------
    ContentError
        As `dicom.decode`, of any frame; `unsupported` for pixels that are no integers of up to 16
        bits.
    """
    count = read_layout(file).frames
    one = dicom.decode(file, 0, 0)
    if one.array.dtype.kind not in "iu" or one.array.dtype.itemsize > 2:
        raise ContentError(
            RejectReason.UNSUPPORTED,
            f"pixels are {one.array.dtype}; slabs are made of 8 to 16 bits",
        )
    dtype = one.array.dtype
    total = one.array.reshape(one.array.shape[-2:]).astype(np.int64)
    for number in range(1, count):
        following = dicom.decode(file, number, number)
        total += following.array[0]
        one = replace(
            following,
            bits_stored=max(one.bits_stored, following.bits_stored),
            lossy=one.lossy or following.lossy,
            bits_mismatch=one.bits_mismatch or following.bits_mismatch,
        )
    total *= 2
    total += count
    total //= 2 * count
    return replace(one, array=total.astype(dtype))
