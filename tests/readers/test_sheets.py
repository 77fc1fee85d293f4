"""Workbooks read as text: written here by openpyxl, and the real tables where they are."""

from __future__ import annotations

import io

import openpyxl
import pytest

from etl.readers.sheets import read_grid, read_sheet, sheet_names
from schemas.errors import ContentError


def workbook(**sheets):
    book = openpyxl.Workbook()
    book.remove(book.active)
    for name, lines in sheets.items():
        sheet = book.create_sheet(name)
        for line in lines:
            sheet.append(line)
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


def test_cells_are_stripped_text_and_numbers_lose_decimals_that_are_only_shown():
    data = workbook(one=[["id", " age ", "note"], [22678622.0, 4.5, " 4a "], [None, "NA", ""]])
    assert list(read_sheet(data)) == [{"id": "22678622", "age": "4.5", "note": "4a"}]


def test_repeated_titles_are_numbered_and_lines_above_them_are_skipped():
    data = workbook(Data=[["group"], ["a", "a", "b"], [1, 2, 3]])
    assert list(read_sheet(data, "data", title_line=1)) == [{"a": "1", "a.1": "2", "b": "3"}]


def test_sheets_are_found_whatever_blanks_and_case_their_names_have():
    data = workbook(**{"tabel ": [["x"], [1]], "correctSheet": [["y"], [2]]})
    assert sheet_names(data) == ("tabel ", "correctSheet")
    assert list(read_sheet(data, "Tabel")) == [{"x": "1"}]
    assert read_grid(data, "correctsheet") == (("y",), ("2",))


def test_a_missing_sheet_is_named_with_those_that_are_there():
    with pytest.raises(ContentError, match="no sheet 'all'; it has 'one'"):
        list(read_sheet(workbook(one=[["x"]]), "all"))


@pytest.mark.parametrize("data", [b"a,b\n1,2\n", b"PK\x03\x04 cut", b"\xd0\xcf\x11\xe0 cut"])
def test_what_is_no_workbook_is_said_to_be_none(data):
    with pytest.raises(ContentError, match="workbook"):
        sheet_names(data)


def test_a_real_workbook_has_the_lines_of_its_specification(shared):
    data = (shared / "data/tables/cdd-cesm/Radiology-manual-annotations.xlsx").read_bytes()
    assert sum(1 for _ in read_sheet(data, "all")) == 2006
