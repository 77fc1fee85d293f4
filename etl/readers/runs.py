"""A run of slices: the files of one series in one folder, read as one thing.

A folder of a series holds one DICOM file a slice. Retrievers name them `1-NNN.dcm`, where NNN is
the slice's InstanceNumber with or without leading zeros; buckets name them by UUID. The number in
a name is a hint: order comes from InstanceNumber (0020,0013) in the header.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from etl.readers.listing import natural_key, suffix, wanted
from schemas.store import Entry

__all__ = ["slice_files", "slice_number", "slice_numbers"]

_NUMBERED = re.compile(r"(?:\d+-)?(\d+)(?:\.(?:dcm|dicom|ima))?", re.IGNORECASE)
_DICOM = frozenset({".dcm", ".dicom", ".ima"})


def slice_files(entries: Iterable[Entry], folder: str) -> tuple[Entry, ...]:
    """Return the DICOM files that lie in a folder itself, in natural order of their names.

    Parameters
    ----------
    entries
        A listing; files elsewhere and below are left out.
    folder
        Ends with `/`.
    """
    here = [
        entry
        for entry in wanted(entries)
        if entry.path.startswith(folder)
        and "/" not in entry.path[len(folder) :]
        and _is_slice(entry.path[len(folder) :])
    ]
    return tuple(sorted(here, key=lambda entry: natural_key(entry.path)))


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


def _is_slice(name: str) -> bool:
    return suffix(name) in _DICOM or (not suffix(name) and slice_number(name) is not None)
