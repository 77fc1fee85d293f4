"""TOMPEI-CMMD's annotation files and its sheet of breasts."""

from __future__ import annotations

import io
import json

import openpyxl
import pytest

from etl.readers.tompei import Breast, read_breasts, read_outlines
from schemas.errors import ContentError

ITEM = {
    "_id": "a1",
    "color": "#f00",
    "type": "Draw",
    "label": "calc ",
    "cgPoints": [{"x": 3, "y": 5}],
}
TITLES = ["ID", "LeftRight", "Age", "classification", "Exclusion reasons", "Breast density"]


def book(*lines, sheet="Imaging Diagnosis Details Sheet"):
    made = openpyxl.Workbook()
    made.active.title = "README"
    page = made.create_sheet(sheet)
    for line in lines:
        page.append(line)
    data = io.BytesIO()
    made.save(data)
    return data.getvalue()


def test_labels_are_stripped_and_points_stay_pixel_indices():
    (found,) = read_outlines(json.dumps([ITEM]).encode("utf-8-sig"))
    assert (found.name, found.label, found.tool, found.points) == (
        "a1",
        "calc",
        "Draw",
        ((3.0, 5.0),),
    )


@pytest.mark.parametrize(
    ("data", "detail"),
    [
        (b"\0\5\x16\7", "is no JSON"),
        (b"{}", "holds no list"),
        (
            json.dumps([ITEM | {"label": " "}]).encode(),
            "object 1 of the annotation file has no lab",
        ),
        (json.dumps([ITEM, ITEM | {"cgPoints": []}]).encode(), "object 2 .* has no point"),
        (json.dumps([ITEM | {"cgPoints": [{"x": 1}]}]).encode(), "point that is not x and y"),
    ],
)
def test_a_damaged_annotation_file_says_what_is_wrong(data, detail):
    with pytest.raises(ContentError, match=detail):
        read_outlines(data)


@pytest.mark.parametrize("above", [[], [["TOMPEI-CMMD"]]], ids=["two titles", "three titles"])
def test_breasts_are_read_below_two_or_three_title_lines(above):
    data = book(
        *above,
        [*TITLES, "Mass", None, "BI-RADS\nCategory"],
        [None, None, None, None, None, None, "Location", "Shape", None],
        ["D1-0001", "R", 44, "Benign", None, "heterogeneous dense", "A", "oval", 3],
        [None, None, None, None, None, None, None, None, None],
        ["D1-0002", "L ", 40, "Invisible", None, None, None, None, None],
    )
    assert list(read_breasts(data)) == [
        Breast("D1-0001", "R", "Benign", "heterogeneous dense", "3"),
        Breast("D1-0002", "L", "Invisible", None, None),
    ]


def test_a_workbook_without_the_sheet_or_its_titles_says_so():
    with pytest.raises(ContentError, match="has no sheet 'Imaging Diagnosis Details Sheet'"):
        list(read_breasts(book(["ID"], sheet="Other")))
    with pytest.raises(ContentError, match="do not title ID, LeftRight, classification"):
        list(read_breasts(book(["ID", "Age"])))
