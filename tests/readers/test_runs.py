"""Runs of slices in a listing."""

from __future__ import annotations

import pytest

from etl.readers.runs import slice_files, slice_number, slice_numbers
from schemas.store import Entry


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("1-045.dcm", 45),
        ("1-45.dcm", 45),
        ("a/b/1-7.DCM", 7),
        ("12.dcm", 12),
        ("000012", 12),
        ("a3f18b48-c445-478e-b2a8-5aca15f372ab.dcm", None),
        ("LICENSE", None),
        ("IM_1-2.dcm", None),
    ],
)
def test_the_number_in_a_name(name, number):
    assert slice_number(name) == number


def test_numbers_are_none_where_one_is_missing_or_stands_twice():
    assert slice_numbers(["1-2.dcm", "1-01.dcm"]) == (2, 1)
    assert slice_numbers(["1-2.dcm", "x.dcm"]) is None
    assert slice_numbers(["1-2.dcm", "2-2.dcm"]) is None


def test_a_folder_s_slices_are_in_order_without_what_lies_beside_and_below():
    names = ["1-10.dcm", "1-2.dcm", "._1-2.dcm", "LICENSE", "sub/1-3.dcm", "thumb.png"]
    entries = [Entry(f"s/{name}", 1) for name in names] + [Entry("s2/1-1.dcm", 1)]
    found = slice_files(entries, "s/")
    assert [entry.path for entry in found.entries] == ["s/1-2.dcm", "s/1-10.dcm"]
    assert found.numbers == (2, 10)


def test_names_without_numbers_are_in_natural_order():
    entries = [Entry(f"s/{name}.dcm", 1) for name in ("b10", "b9", "a")]
    found = slice_files(entries, "s/")
    assert [entry.path for entry in found.entries] == ["s/a.dcm", "s/b9.dcm", "s/b10.dcm"]
    assert found.numbers is None


def test_hidden_folders_and_thumbnails_are_no_series():
    entries = [Entry("__MACOSX/s/1-1.dcm", 1)]
    assert slice_files(entries, "__MACOSX/s/").entries == ()
