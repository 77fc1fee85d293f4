"""A run of slices: the files of one series in one folder, read as one thing.

A folder of a series holds one DICOM file a slice. Retrievers name them `1-NNN.dcm`, where NNN is
the slice's InstanceNumber with or without leading zeros; buckets name them by UUID. The number in
a name is a hint: order comes from InstanceNumber (0020,0013) in the header.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from etl.readers.listing import natural_key, suffix, wanted
from schemas.store import Entry

__all__ = ["SliceFiles", "slice_files", "slice_number", "slice_numbers"]

_NUMBERED = re.compile(r"(?:\d+-)?(\d+)(?:\.(?:dcm|dicom|ima))?", re.IGNORECASE)
_DICOM = frozenset({".dcm", ".dicom", ".ima"})


class SliceFiles(NamedTuple):
    """The slices of one folder.

    Attributes
    ----------
    entries
        In the order of their numbers, else in natural order of their names.
    numbers
        Of the slices in that order, None where a name has none or two names have the same.
    """

    entries: tuple[Entry, ...]
    numbers: tuple[int, ...] | None


def slice_files(entries: Iterable[Entry], folder: str) -> SliceFiles:
    """Return the DICOM files that lie in a folder itself.

    Parameters
    ----------
    entries
        A listing; files elsewhere and below are left out.
    folder
        Ends with `/`.
    """
    if not wanted([Entry(f"{folder}1.dcm", 0)]):
        return SliceFiles((), None)
    start = len(folder)
    numbered: list[tuple[int, Entry]] = []
    named: list[Entry] = []
    for entry in entries:
        name = entry.path[start:]
        if "/" in name or not entry.path.startswith(folder):
            continue
        match = _NUMBERED.fullmatch(name)
        if match:
            numbered.append((int(match[1]), entry))
        elif suffix(name) in _DICOM and wanted([entry]):
            named.append(entry)
    if not named and len({number for number, _ in numbered}) == len(numbered):
        numbered.sort()
        return SliceFiles(tuple(e for _, e in numbered), tuple(n for n, _ in numbered) or None)
    every = [*named, *(entry for _, entry in numbered)]
    return SliceFiles(tuple(sorted(every, key=lambda entry: natural_key(entry.path))), None)


def slice_number(name: str) -> int | None:
    """Return the number that a file name gives its slice, None where it gives none.

    >>> slice_number("1-045.dcm"), slice_number("1-45.dcm"), slice_number("a3f18b48-c445.dcm")
    (45, 45, None)
    """
    match = _NUMBERED.fullmatch(name.rpartition("/")[2])
    return int(match[1]) if match else None


def slice_numbers(names: Sequence[str]) -> tuple[int, ...] | None:
    """Return the slices' numbers, None where a name has none or two names have the same."""
    numbers = [slice_number(name) for name in names]
    known = tuple(number for number in numbers if number is not None)
    return known if len(set(known)) == len(names) else None
