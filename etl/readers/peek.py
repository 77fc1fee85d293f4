"""A look at one image's header, for remarks on a copy; planning itself uses the index."""

from __future__ import annotations

from schemas.errors import ContentError, StoreError
from schemas.release import Header, Release

__all__ = ["peek"]

_HEAD_BYTES = 1 << 16


def peek(release: Release, path: str) -> Header:
    """Return the header values of a DICOM file; none where it has none or cannot be read."""
    from etl.readers.dicom import read_header

    size = release.sizes.get(path, 0)
    for length in (_HEAD_BYTES, 16 * _HEAD_BYTES):
        try:
            data = release.store.read_range(path, 0, min(size, length))
            return read_header(data, whole=size <= length)
        except (ContentError, StoreError):
            continue
    return {}
