"""Standard images and masks as bytes, and back.

The image is a 16-bit grey PNG as OpenCV writes it by default (any reader opens it, and its CRC
catches corruption), or lossless JPEG XL of effort 1, which imagecodecs alone reads and which is
faster both ways. The mask is a PNG of few, long runs: level 1, RLE, no filter.
"""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

from schemas.errors import ContentError
from schemas.rejects import RejectReason

__all__ = ["decode_image", "decode_mask", "encode_image", "encode_mask"]

_PNG = b"\x89PNG\r\n\x1a\n"
_MASK_SETTINGS = (
    cv2.IMWRITE_PNG_COMPRESSION, 1,
    cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE,
    cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_NONE,
)  # fmt: skip


def encode_image(image: npt.NDArray[np.uint16], payload: Literal["png", "jxl"] = "png") -> bytes:
    """Return a uint16 image (h, w) as bytes."""
    import imagecodecs

    if payload == "jxl":
        return bytes(imagecodecs.jpegxl_encode(image, lossless=True, effort=1, numthreads=1))
    # Level 1, run lengths, filter Sub: the bytes of OpenCV's defaults, a little sooner.
    return bytes(imagecodecs.png_encode(image, level=1, strategy=3, filter=16))


def encode_mask(mask: npt.NDArray[np.uint8]) -> bytes:
    """Return a uint8 mask (h, w) as bytes."""
    done, encoded = cv2.imencode(".png", mask, _MASK_SETTINGS)
    if not done:
        raise RuntimeError(f"OpenCV could not write a PNG of {mask.dtype} {mask.shape}")
    return bytes(encoded)


def decode_image(data: bytes) -> npt.NDArray[np.uint16]:
    """Return the uint16 image (h, w) in a payload, told by its first bytes.

    Raises
    ------
    ContentError
        `decode_failed`: the bytes are no such image, or damaged.
    """
    if data.startswith(_PNG):
        return np.asarray(_from_png(data, np.dtype(np.uint16)), dtype=np.uint16)
    import imagecodecs

    try:
        image = imagecodecs.jpegxl_decode(data, numthreads=1)
    except (RuntimeError, ValueError) as error:
        raise _damaged(str(error)) from error
    if image.ndim != 2 or image.dtype != np.uint16:
        raise _damaged(f"it holds {image.dtype} {image.shape}")
    return np.asarray(image, dtype=np.uint16)


def decode_mask(data: bytes) -> npt.NDArray[np.uint8]:
    """Return the uint8 mask (h, w) in a payload; `ContentError` as `decode_image`."""
    return np.asarray(_from_png(data, np.dtype(np.uint8)), dtype=np.uint8)


def _from_png(data: bytes, kind: np.dtype[np.generic]) -> npt.NDArray[np.generic]:
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if image is None:
        raise _damaged("the PNG cannot be read")
    if image.ndim != 2 or image.dtype != kind:
        raise _damaged(f"it holds {image.dtype} {image.shape}, expected grey {kind}")
    return image


def _damaged(what: str) -> ContentError:
    return ContentError(RejectReason.DECODE_FAILED, f"a payload is damaged: {what}")
