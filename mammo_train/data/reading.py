"""From a draw to arrays: one range read a sample, checked, decoded.

Image and mask lie beside each other in the tar, so one read fetches both. Every payload's CRC32C is
compared with the manifest's: a client shared over a fork has been seen to return another sample's
bytes without an error.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mammo_train.data.draws import Draw
from schemas.errors import MammoError, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from schemas.store import Store

__all__ = ["REMOTE_THREADS", "SampleReader", "decode_image", "decode_mask", "is_remote"]

REMOTE_THREADS = 8
"""Reads in flight in one worker on gs://; more meet the interpreter's lock, fewer the latency."""

_MAX_GAP = 1 << 16  # bytes between image and mask that one read may waste
_PNG = b"\x89PNG\r\n\x1a\n"
_JXL = (b"\xff\x0a", b"\x00\x00\x00\x0cJXL \r\n\x87\n")

Image = npt.NDArray[np.uint16]
Mask = npt.NDArray[np.uint8]


def is_remote(store: Store) -> bool:
    """Tell whether a read waits for a network."""
    return "://" in store.root


class SampleReader:
    """Reads and decodes the samples of draws; made in the parent, used in any process.

    Parameters
    ----------
    store
        The corpus's root; it makes its clients in the process that reads.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self._pool: ThreadPoolExecutor | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {"store": self.store, "_pool": None}

    def payloads(
        self, draws: Sequence[Draw], masks: Sequence[bool]
    ) -> Iterator[tuple[bytes, bytes | None]]:
        """Yield image and mask bytes of each draw, in order; mask None where not asked for.

        On gs:// the reads run in a pool of `REMOTE_THREADS` threads. On a disk each waits until it
        is asked for: payloads dropped one by one leave their memory to the next, and several
        megabytes of fresh memory cost more than reading into them.

        Raises
        ------
        StoreError
            A read failed, or bytes do not have the manifest's checksum; names sample and shard.
        """
        if is_remote(self.store) and len(draws) > 1:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(REMOTE_THREADS, thread_name_prefix="read")
            return self._pool.map(self._payload, draws, masks)
        return map(self._payload, draws, masks)

    def arrays(self, draw: Draw, mask: bool = True) -> tuple[Image, Mask | None]:
        """Return the image (uint16, H x W) and, if asked for and there, the mask (uint8, H x W)."""
        image, drawn = self._payload(draw, mask)
        return decode_image(image, draw), None if drawn is None else decode_mask(drawn, draw)

    def _payload(self, draw: Draw, mask: bool) -> tuple[bytes, bytes | None]:
        mask = mask and draw.mask_size > 0
        image_end = draw.image_offset + draw.image_size
        together = mask and 0 <= draw.mask_offset - image_end <= _MAX_GAP
        end = draw.mask_offset + draw.mask_size if together else image_end
        block = self._read(draw, draw.image_offset, end - draw.image_offset)
        image = block[: draw.image_size]
        _check(image, draw.image_crc32c, "image", draw)
        if not mask:
            return image, None
        if together:
            drawn = block[draw.mask_offset - draw.image_offset :]
        else:
            drawn = self._read(draw, draw.mask_offset, draw.mask_size)
        _check(drawn, draw.mask_crc32c, "mask", draw)
        return image, drawn

    def _read(self, draw: Draw, offset: int, size: int) -> bytes:
        try:
            return self.store.read_range(draw.shard, offset, size)
        except StoreError as error:
            raise StoreError(f"sample {draw.sample_id} in {draw.shard}: {error}") from error


def _check(payload: bytes, expected: int, what: str, draw: Draw) -> None:
    import google_crc32c

    found = google_crc32c.value(payload)
    if found != expected:
        raise StoreError(
            f"sample {draw.sample_id} in {draw.shard}: the {what}'s bytes have CRC32C {found:08x}, "
            f"the manifest says {expected:08x}; copy that shard again, or run mammo-etl validate"
        )


def decode_image(payload: bytes, draw: Draw) -> Image:
    """Decode a sample's picture, PNG or JPEG XL by its first bytes, to uint16 (H, W).

    Raises
    ------
    MammoError
        The bytes are neither, or not a 16-bit grey picture.
    """
    image: Any = None
    if payload.startswith(_PNG):
        import cv2

        image = cv2.imdecode(np.frombuffer(payload, np.uint8), cv2.IMREAD_UNCHANGED)
    elif payload.startswith(_JXL):
        import imagecodecs

        image = imagecodecs.jpegxl_decode(payload)
    if image is None or image.dtype != np.uint16 or image.ndim != 2:
        found = "undecodable" if image is None else f"{image.dtype} of shape {image.shape}"
        raise MammoError(
            f"sample {draw.sample_id} in {draw.shard}: the image is {found}, expected 16-bit grey "
            f"PNG or JPEG XL; run mammo-etl validate --deep"
        )
    return np.asarray(image)


def decode_mask(payload: bytes, draw: Draw) -> Mask:
    """Decode a sample's mask to uint8 (H, W).

    Raises
    ------
    MammoError
        The bytes are no 8-bit grey PNG.
    """
    import cv2

    mask: Any = cv2.imdecode(np.frombuffer(payload, np.uint8), cv2.IMREAD_UNCHANGED)
    if mask is None or mask.dtype != np.uint8 or mask.ndim != 2:
        raise MammoError(
            f"sample {draw.sample_id} in {draw.shard}: the mask is no 8-bit grey PNG; "
            f"run mammo-etl validate --deep"
        )
    return np.asarray(mask)
