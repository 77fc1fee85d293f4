"""Names in a listing: what every reader skips, and how names with numbers are sorted."""

from __future__ import annotations

import re
from collections.abc import Iterable

from schemas.store import Entry

__all__ = ["named", "natural_key", "suffix", "wanted"]

_DIGITS = re.compile(r"(\d+)")
_SKIPPED_FOLDERS = frozenset({"__macosx", "thumbnails", "thumbnail", "thumbs"})
_SKIPPED_NAMES = frozenset({"thumbs.db", "desktop.ini"})


def natural_key(text: str) -> tuple[tuple[str | int, ...], str]:
    """Return a sort key that counts digits as numbers; ties are broken by the text itself.

    >>> sorted(["1-10.dcm", "1-2.dcm", "1-1.dcm"], key=natural_key)
    ['1-1.dcm', '1-2.dcm', '1-10.dcm']
    """
    parts = _DIGITS.split(text)  # text and digits in turn: equal places hold equal types
    return tuple(int(part) if place % 2 else part for place, part in enumerate(parts)), text


def suffix(path: str) -> str:
    """Return the ending in small letters with its dot; a UID's last number is no ending.

    >>> suffix("a/1-1.DCM"), suffix("1.2.840.10008"), suffix(".hidden")
    ('.dcm', '', '')
    """
    stem, _, ending = path.rpartition("/")[2].rpartition(".")
    return f".{ending.lower()}" if stem and not ending.isdecimal() else ""


def wanted(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    """Return the entries without hidden files, resource forks (``._*``) and thumbnails."""
    return tuple(entry for entry in entries if _is_wanted(entry.path))


def _is_wanted(path: str) -> bool:
    *folders, name = path.split("/")
    if name.startswith(".") or name.lower() in _SKIPPED_NAMES:
        return False
    return not any(
        folder.startswith(".") or folder.lower() in _SKIPPED_FOLDERS for folder in folders
    )


def named(names: Iterable[str], most: int = 5) -> str:
    """Return the first names as text, and how many more there are.

    >>> named(["a", "b", "c"], most=2)
    'a, b and 1 more'
    """
    known = list(names)
    shown = ", ".join(known[:most])
    return shown if len(known) <= most else f"{shown} and {len(known) - most} more"
