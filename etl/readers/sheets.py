"""Excel workbooks as text: the same rows of stripped cells that `tables` gives for csv.

A workbook's numbers lose the decimals that Excel only shows (`22678622.0` is `22678622`), and ids
stay text. `.xlsx` is read by openpyxl, `.xls` (BIFF8) by xlrd.
"""

from __future__ import annotations

import datetime
import io
import zipfile
from collections.abc import Iterator
from typing import Any

from etl.readers.tables import NULL_WORDS, titles_of
from schemas.errors import ContentError
from schemas.rejects import RejectReason

__all__ = ["iterate_sheet", "read_grid", "read_sheet", "sheet_names"]

_BIFF = b"\xd0\xcf\x11\xe0"
_ZIP = b"PK"


def sheet_names(data: bytes) -> tuple[str, ...]:
    """Return the names of a workbook's sheets as they are written, blanks kept.

    Raises
    ------
    ContentError
        `bad_row`: the bytes are no Excel workbook.
    """
    return tuple(_grids(data, None))


def read_grid(data: bytes, sheet: str) -> tuple[tuple[str | None, ...], ...]:
    """Return every line of one sheet, title lines too, as stripped text or None.

    Raises
    ------
    ContentError
        `bad_row`: no workbook, or no sheet of this name (blanks and case do not count).
    """
    found = {_plain(name): name for name in sheet_names(data)}
    if _plain(sheet) not in found:
        raise ContentError(
            RejectReason.BAD_ROW,
            f"the workbook has no sheet {sheet!r}; it has {', '.join(map(repr, found.values()))}",
        )
    name = found[_plain(sheet)]
    return _grids(data, name)[name]


def read_sheet(
    data: bytes, sheet: str | None = None, *, title_line: int = 0
) -> Iterator[dict[str, str | None]]:
    """Yield the lines of one sheet below its title line, by stripped title.

    Parameters
    ----------
    data
        The workbook.
    sheet
        Its name, blanks and case not counting; None takes the first sheet.
    title_line
        0-based line of the titles. Repeated titles get `.1`, `.2`; lines without a cell are
        skipped, and so are cells to the right of the last title.

    Raises
    ------
    ContentError
        `bad_row`: no workbook, no such sheet, or no title line.
    """
    lines = read_grid(data, sheet if sheet is not None else sheet_names(data)[0])
    if title_line >= len(lines):
        raise ContentError(RejectReason.BAD_ROW, f"sheet {sheet!r} has no title line")
    width = max((i + 1 for i, cell in enumerate(lines[title_line]) if cell), default=0)
    titles = titles_of([cell or "" for cell in lines[title_line][:width]])
    for line in lines[title_line + 1 :]:
        cells = [*line[:width], *[None] * (width - len(line))]
        if any(cells):
            yield dict(zip(titles, cells, strict=True))


def iterate_sheet(data: bytes) -> Iterator[dict[str, str | None]]:
    """Yield the rows of a workbook's first sheet like `read_sheet`, holding one row at a time.

    For tables of a row an image, which take minutes and gigabytes as a grid.

    Raises
    ------
    ContentError
        `bad_row`: no workbook, or no title line.
    """
    if not data.startswith(_ZIP):
        yield from read_sheet(data)
        return
    import openpyxl

    try:
        book = openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=True)
        lines = book.worksheets[0].iter_rows(values_only=True)
        titles = titles_of([_text(value) or "" for value in next(lines, ())])
        for line in lines:
            cells = [_text(value) for value in line[: len(titles)]]
            cells += [None] * (len(titles) - len(cells))
            if any(cells):
                yield dict(zip(titles, cells, strict=True))
    except (zipfile.BadZipFile, KeyError, ValueError, OSError) as error:
        raise ContentError(
            RejectReason.BAD_ROW, f"the Excel workbook cannot be read: {error}"
        ) from error


def _plain(name: str) -> str:
    return " ".join(name.split()).lower()


def _grids(data: bytes, only: str | None) -> dict[str, tuple[tuple[str | None, ...], ...]]:
    """Return the sheets; the lines of `only` alone where it is given, of none where it is None."""
    if data.startswith(_BIFF):
        return _from_xls(data, only)
    if not data.startswith(_ZIP):
        raise ContentError(RejectReason.BAD_ROW, "the file is no Excel workbook")
    import openpyxl

    try:
        book = openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=True)
        return {
            sheet.title: tuple(
                tuple(_text(value) for value in line) for line in sheet.iter_rows(values_only=True)
            )
            if sheet.title == only
            else ()
            for sheet in book.worksheets
        }
    except (zipfile.BadZipFile, KeyError, ValueError, OSError) as error:
        raise ContentError(
            RejectReason.BAD_ROW, f"the Excel workbook cannot be read: {error}"
        ) from error


def _from_xls(data: bytes, only: str | None) -> dict[str, tuple[tuple[str | None, ...], ...]]:
    import xlrd

    try:
        book = xlrd.open_workbook(file_contents=data, on_demand=True)
        return {
            name: tuple(
                tuple(_text(value) for value in book.sheet_by_name(name).row_values(line))
                for line in range(book.sheet_by_name(name).nrows)
            )
            if name == only
            else ()
            for name in book.sheet_names()
        }
    except xlrd.XLRDError as error:
        raise ContentError(
            RejectReason.BAD_ROW, f"the Excel workbook cannot be read: {error}"
        ) from error


def _text(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, datetime.datetime):
        value = value.date() if value.time() == datetime.time() else value
    text = str(value).strip()
    return None if text.lower() in NULL_WORDS else text
