"""Where OMI-DB's files lie: clients found by their names, at any depth.

Copies differ in what stands above a client (`image_db/sharing/omi-db/data/`, `FFDM/DATA/`, a
folder of the site) and in the case of names, and JSON and images of a client are synchronised
apart. So a file belongs to the client whose folder it lies in, and to the image whose UID it bears.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from etl.readers.listing import natural_key, wanted
from schemas.release import Release
from schemas.store import Entry

__all__ = ["Client", "clients", "is_hollow"]

_CLIENT = re.compile(r"(?:demd|optm)\d+", re.IGNORECASE)
_UID = re.compile(r"\d[\d.]*")
_TABLE = re.compile(r"(nbss|imagedb)_(?:demd|optm)\d+\.json", re.IGNORECASE)
_HOLLOW_BYTES = 2
"""`{}` or less: a JSON of this size says nothing."""


@dataclass(slots=True)
class Client:
    """The files of one client.

    Attributes
    ----------
    tables
        `nbss`, `imagedb` to their files; the largest (then by path) comes first.
    headers
        SOP UID to the JSON of the image's header.
    images
        SOP UID to the image's files, by path.
    studies
        SOP UID to the study folder in which the image lies.
    """

    key: str
    tables: dict[str, list[Entry]] = field(default_factory=dict)
    headers: dict[str, Entry] = field(default_factory=dict)
    images: dict[str, list[Entry]] = field(default_factory=dict)
    studies: dict[str, str] = field(default_factory=dict)


def clients(release: Release) -> Iterator[Client]:
    """Yield the clients of a copy in natural order, with their files."""
    found: dict[str, Client] = {}
    for entry in wanted(release.entries):
        parts = entry.path.split("/")
        at = next((i for i, part in enumerate(parts[:-1]) if _CLIENT.fullmatch(part)), None)
        if at is not None:
            key = parts[at].lower()
            _put(found.setdefault(key, Client(key)), parts[at + 1 :], entry)
    for key in sorted(found, key=natural_key):
        client = found[key]
        for files in client.tables.values():
            files.sort(key=lambda entry: (-entry.size, entry.path))
        for files in client.images.values():
            files.sort(key=lambda entry: entry.path)
        yield client


def is_hollow(entry: Entry) -> bool:
    """Say whether a JSON file is too short to say anything."""
    return entry.size <= _HOLLOW_BYTES


def _put(client: Client, below: list[str], entry: Entry) -> None:
    name = below[-1]
    if match := _TABLE.fullmatch(name):
        client.tables.setdefault(match[1].lower(), []).append(entry)
        return
    stem, kind = _stem(name)
    if not _UID.fullmatch(stem):
        return
    if kind == "header":
        known = client.headers.get(stem)
        if known is None or (-entry.size, entry.path) < (-known.size, known.path):
            client.headers[stem] = entry
    else:
        client.images.setdefault(stem, []).append(entry)
        if len(below) > 1:
            client.studies.setdefault(stem, below[-2])


def _stem(name: str) -> tuple[str, str]:
    """Return the SOP UID in a file's name and what the file is: `1.2.json`, `1.2.dcm.json`."""
    low = name.lower()
    for ending, kind in ((".dcm.json", "header"), (".json", "header"), (".dcm", "image")):
        if low.endswith(ending):
            return name[: -len(ending)], kind
    return name, "image"
