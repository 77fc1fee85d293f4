"""Tables as text: rows of stripped cells, with one word for "nothing there".

RFC 4180 with what real releases add: a byte order mark, CRLF or LF or CR, semicolons or tabs,
newlines inside quotes, blanks around cells, several spellings of null, columns without a title.
Cells stay text: an id such as `0012` is never a number.
"""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, BinaryIO

from schemas.errors import ContentError
from schemas.rejects import RejectReason

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["NULL_WORDS", "read_columns", "read_rows", "titles_in", "titles_of"]

NULL_WORDS = frozenset({"", "n/a", "na", "nan", "null", "#n/a"})
"""Cells that mean nothing, in small letters."""

_DELIMITERS = (",", ";", "\t", "|")
_LONGEST_CELL = 1 << 26
_PIECE = 8 << 20


def read_rows(
    data: bytes, delimiter: str | None = None, *, columns: Collection[str] | None = None
) -> Iterator[dict[str, str | None]]:
    """Yield the rows below the title line as dictionaries by stripped title.

    Parameters
    ----------
    data
        The whole table. UTF-8 (with or without mark), UTF-16 with mark, or else Windows-1252.
    delimiter
        One character (a blank: runs of them), or None: the one of comma, semicolon, tab and bar
        that the title line holds most often outside of quotes.
    columns
        Titles to keep, where a table is wide; None keeps all.

    Yields
    ------
    dict
        A repeated title gets `.1`, `.2`; an untitled column is `""`. Empty lines are skipped,
        cells that are null words are None.

    Raises
    ------
    ContentError
        `bad_row`: the table is empty, is no text, or a line has more or fewer cells than titles.
    """
    stream = io.TextIOWrapper(io.BytesIO(data), encoding=_encoding(data), newline="")
    if delimiter is None:
        delimiter = _delimiter(stream.readline())
        stream.seek(0)
    # The module's limit of 128 KiB a cell is below real outlines; it can only be set globally.
    csv.field_size_limit(max(_LONGEST_CELL, csv.field_size_limit()))
    reader = csv.reader(stream, delimiter=delimiter, strict=True, skipinitialspace=True)
    try:
        titles = titles_of(next(reader, []))
        kept = [i for i, title in enumerate(titles) if columns is None or title in columns]
        for cells in reader:
            if any(cell.strip() for cell in cells):
                _fit(cells, len(titles), reader.line_num)
                yield {titles[i]: _value(cells[i]) for i in kept}
    except (csv.Error, UnicodeError) as error:
        raise ContentError(
            RejectReason.BAD_ROW, f"line {reader.line_num} cannot be read: {error}"
        ) from error


def titles_in(head: bytes) -> tuple[str, ...]:
    """Return the titles of a table from its first bytes; empty where they hold no whole line."""
    line, ended, _ = head.decode("utf-8-sig", errors="replace").partition("\n")
    if not ended or not line.strip():
        return ()
    cells = next(csv.reader([line.rstrip("\r")], delimiter=_delimiter(line)))
    return tuple(titles_of(cells)) if any(cell.strip() for cell in cells) else ()


def read_columns(
    stream: BinaryIO,
    titles: Sequence[str],
    columns: Sequence[str],
    null_words: Collection[str] = NULL_WORDS,
) -> pa.Table:
    """Return columns of a large UTF-8 table with commas, read in pieces and never held whole.

    Cells are those of `read_rows`: stripped text, null where they hold a null word.

    Parameters
    ----------
    stream
        The table from its first byte.
    titles
        Its titles, from `titles_in`.
    columns
        Titles to keep, in this order; one that the table lacks is all null.
    null_words
        In small letters; another set where a release's codes look like one (`NA`).

    Raises
    ------
    ContentError
        `bad_row`: a line has more or fewer cells than titles, or is no UTF-8.
    """
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    present = [column for column in columns if column in titles]
    try:
        with arrow_csv.open_csv(
            stream,
            arrow_csv.ReadOptions(
                column_names=list(titles), skip_rows=1, block_size=_PIECE, use_threads=False
            ),
            arrow_csv.ParseOptions(newlines_in_values=True),
            arrow_csv.ConvertOptions(
                include_columns=present,
                column_types=dict.fromkeys(present, pa.string()),
                strings_can_be_null=False,
            ),
        ) as reader:
            pieces = [_stripped(piece, columns, null_words) for piece in reader]
    except pa.ArrowInvalid as error:
        raise ContentError(RejectReason.BAD_ROW, f"the table cannot be read: {error}") from error
    return pa.Table.from_batches(pieces, pa.schema([(name, pa.string()) for name in columns]))


def _stripped(
    piece: pa.RecordBatch, columns: Sequence[str], null_words: Collection[str]
) -> pa.RecordBatch:
    import pyarrow as pa
    import pyarrow.compute as pc

    nulls = pa.array(sorted(null_words), pa.string())
    arrays = []
    for name in columns:
        if name in piece.schema.names:
            cells = pc.utf8_trim_whitespace(piece.column(name))
            said = pc.invert(pc.is_in(pc.utf8_lower(cells), value_set=nulls))
            arrays.append(pc.if_else(said, cells, pa.scalar(None, pa.string())))
        else:
            arrays.append(pa.nulls(piece.num_rows, pa.string()))
    return pa.RecordBatch.from_arrays(arrays, list(columns))


def _encoding(data: bytes) -> str:
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    if b"\0" in data[:4096]:
        raise ContentError(RejectReason.BAD_ROW, "the table is no text")
    try:
        # One decode of the whole: a mark of another encoding may stand in the last line.
        data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return "cp1252"
    return "utf-8-sig"


def _delimiter(line: str) -> str:
    outside = "".join(line.split('"')[::2])
    return max(_DELIMITERS, key=outside.count)


def titles_of(cells: list[str]) -> list[str]:
    """Return stripped titles, repeated ones numbered `.1`, `.2`; `bad_row` where all are empty."""
    if not any(cell.strip() for cell in cells):
        raise ContentError(RejectReason.BAD_ROW, "the table has no title line")
    seen: dict[str, int] = {}
    named = []
    for title in (cell.strip() for cell in cells):
        count = seen.get(title, 0)
        seen[title] = count + 1
        named.append(f"{title}.{count}" if count else title)
    return named


def _fit(cells: list[str], width: int, line: int) -> None:
    """Drop empty cells beyond the titles; refuse any other difference."""
    while len(cells) > width and not cells[-1].strip():
        cells.pop()
    if len(cells) != width:
        raise ContentError(
            RejectReason.BAD_ROW, f"line {line} has {len(cells)} cells, the title line {width}"
        )


def _value(cell: str) -> str | None:
    text = cell.strip()
    return None if text.lower() in NULL_WORDS else text
