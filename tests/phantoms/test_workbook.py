"""The phantoms' workbooks, read by openpyxl."""

from __future__ import annotations

import io

import openpyxl

from etl.phantoms.workbook import workbook


def test_cells_names_and_blanks_come_back_and_bytes_do_not_change():
    sheets = {"tabel ": [["x"]], "a & b": [["a\n b", "c  d ", None, "<e>"], [1.5, None, 3]]}
    data = workbook(sheets)
    book = openpyxl.load_workbook(io.BytesIO(data))
    assert book.sheetnames == ["tabel ", "a & b"]
    lines = list(book["a & b"].iter_rows(values_only=True))
    assert lines == [("a\n b", "c  d ", None, "<e>"), (1.5, None, 3, None)]
    assert workbook(sheets) == data


def test_columns_beyond_z_have_two_letters():
    book = openpyxl.load_workbook(io.BytesIO(workbook({"s": [list(range(30))]})))
    assert book["s"]["AB1"].value == 27
