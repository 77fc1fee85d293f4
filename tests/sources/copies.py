"""Copies of releases for tests: real tables in a temporary folder, image files in the listing only.

Planning opens no image, so a listing with sizes stands for a copy.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from pathlib import Path

from schemas.errors import ContentError
from schemas.film import Film
from schemas.rejects import Absent, Reject
from schemas.release import HeaderIndex, Release, Source
from schemas.store import Entry


def copy_of(root: Path, tables: Mapping[str, bytes], images: Iterable[str] = ()) -> Release:
    """Write tables below root, list them and the images (of 1,048,593 bytes each)."""
    entries = [Entry(path, 1_048_593) for path in images]
    for path, data in tables.items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        entries.append(Entry(path, len(data)))
    return Release(root=str(root), entries=tuple(sorted(entries)))


def planned(
    source: Source, release: Release, index: HeaderIndex | None = None, **options: bool
) -> list[Film | Reject | Absent]:
    """Return everything that a source plans."""
    return list(source.plan(release, HeaderIndex() if index is None else index, **options))


def header_index(source: Source, release: Release) -> HeaderIndex:
    """Return the headers of the files that a layout needs, read here and whole."""
    from etl.readers.dicom import read_header

    headers = {}
    for path in source.files_to_index(release):
        with contextlib.suppress(ContentError):
            headers[path] = read_header(release.read(path), whole=True)
    return HeaderIndex(headers)


def films(items: Iterable[Film | Reject | Absent]) -> dict[str, Film]:
    """Return the films by key."""
    return {item.film_key: item for item in items if isinstance(item, Film)}


def rejects(items: Iterable[Film | Reject | Absent]) -> list[Reject]:
    """Return the rejects."""
    return [item for item in items if isinstance(item, Reject)]


def absent(items: Iterable[Film | Reject | Absent]) -> list[Absent]:
    """Return the films that a copy does not hold."""
    return [item for item in items if isinstance(item, Absent)]
