"""DICOM headers in the DICOM JSON model (PS3.18 annex F), as files beside images hold them.

Read to the same keywords as `header_values` gives for the images themselves, so that a source
need not know which of the two it was given. A file that is cut gives what stands before the cut.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from typing import Any

__all__ = ["SOURCE_IMAGES", "read_json_header"]

SOURCE_IMAGES = "SourceImageUIDs"
"""Keyword of the UIDs in Source Image Sequence (0008,2112), joined with a backslash."""

_SYNTAX, _SOURCES, _REFERENCED = "00020010", "00082112", "00081155"
_VIEWS, _MODIFIERS, _CODE, _MEANING = "00540220", "00540222", "00080100", "00080104"
_BLANKS = " \t\r\n,"


def read_json_header(data: bytes) -> tuple[dict[str, str], bool]:
    r"""Return keyword to text, and whether the file was whole.

    A tag without `Value` is no key; several values are joined with a backslash. Tags may be
    written with a comma (`0008,0060`) or in small letters.
    """
    elements, whole = _elements(data.decode("utf-8-sig", errors="replace"))
    by_tag = {tag.replace(",", "").upper(): value for tag, value in elements}
    header = {
        keyword: text for tag, keyword in _keywords().items() if (text := _text(by_tag.get(tag)))
    }
    header |= _coded(by_tag)
    sources = [_text(item.get(_REFERENCED)) for item in _items(by_tag.get(_SOURCES))]
    if known := [uid for uid in sources if uid]:
        header[SOURCE_IMAGES] = "\\".join(known)
    return header, whole


@cache
def _keywords() -> dict[str, str]:
    # Here, so that naming a source that reads such files does not load pydicom.
    from pydicom.datadict import tag_for_keyword

    from etl.readers.dicom_header import HEADER_KEYWORDS

    tags = {keyword: tag_for_keyword(keyword) for keyword in HEADER_KEYWORDS}
    return {_SYNTAX: "TransferSyntaxUID"} | {
        f"{tag:08X}": keyword for keyword, tag in tags.items() if tag is not None
    }


def _elements(text: str) -> tuple[list[tuple[str, Any]], bool]:
    try:
        whole = json.loads(text)
    except ValueError:
        return list(_before_the_cut(text)), False
    return (list(whole.items()), True) if isinstance(whole, dict) else ([], False)


def _before_the_cut(text: str) -> Iterator[tuple[str, Any]]:
    decoder = json.JSONDecoder()
    at = text.find("{") + 1
    while at:
        try:
            at = _skipped(text, at, _BLANKS)
            tag, at = decoder.raw_decode(text, at)
            value, at = decoder.raw_decode(text, _skipped(text, at, _BLANKS + ":"))
        except ValueError:
            return
        if isinstance(tag, str):
            yield tag, value


def _skipped(text: str, at: int, blanks: str) -> int:
    while at < len(text) and text[at] in blanks:
        at += 1
    return at


def _values(element: Any) -> list[Any]:
    values = element.get("Value") if isinstance(element, dict) else None
    return values if isinstance(values, list) else []


def _text(element: Any) -> str:
    return "\\".join(
        str(value).strip()
        for value in _values(element)
        if value is not None and not isinstance(value, (dict, list))
    ).strip("\\ ")


def _items(element: Any) -> list[dict[str, Any]]:
    return [value for value in _values(element) if isinstance(value, dict)]


def _coded(by_tag: dict[str, Any]) -> dict[str, str]:
    views = _items(by_tag.get(_VIEWS))
    modifiers = [item for view in views for item in _items(view.get(_MODIFIERS))]
    found: dict[str, str] = {}
    for prefix, items in (("ViewCode", views), ("ViewModifierCode", modifiers)):
        for ending, tag in (("Value", _CODE), ("Meaning", _MEANING)):
            text = "\\".join(filter(None, (_text(item.get(tag)) for item in items)))
            if text:
                found[prefix + ending] = text
    return found
