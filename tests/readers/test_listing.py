"""Names in a listing."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl.readers.listing import named, natural_key, suffix, wanted
from schemas.store import Entry


@given(st.permutations(["1-1.dcm", "1-2.dcm", "1-10.dcm", "2-1.dcm", "a", "a1", "a01", "a1b", ""]))
def test_digits_are_sorted_as_numbers_and_ties_by_text(names):
    assert sorted(names, key=natural_key) == [
        *("", "1-1.dcm", "1-2.dcm", "1-10.dcm", "2-1.dcm", "a", "a01", "a1", "a1b"),
    ]


@given(st.lists(st.text("a1.9-/B"), max_size=20), st.randoms(use_true_random=False))
def test_any_names_can_be_sorted_and_the_order_is_total(names, rng):
    unique = sorted(set(names), key=natural_key)
    shuffled = rng.sample(unique, len(unique))
    assert sorted(shuffled, key=natural_key) == unique


@pytest.mark.parametrize(
    ("path", "ending"),
    [
        ("a/b.DCM", ".dcm"),
        ("a/1.3.6.1.4.1.9590", ""),
        ("a.b/README", ""),
        (".hidden", ""),
        ("x.tar.gz", ".gz"),
    ],
)
def test_a_number_at_the_end_of_a_uid_is_no_ending(path, ending):
    assert suffix(path) == ending


@pytest.mark.parametrize(
    "path",
    [
        *("._mdb001.pgm", "a/._x.dcm", ".DS_Store", "__MACOSX/a/mdb001.pgm", "a/Thumbs.db"),
        *(".git/objects/ab", "a/Thumbnails/1.png"),
    ],
)
def test_what_systems_leave_behind_is_skipped(path):
    assert wanted([Entry(path, 1), Entry("kept.pgm", 1)]) == (Entry("kept.pgm", 1),)


def test_long_lists_are_cut_with_a_count():
    numbers = [str(n) for n in range(random.Random(1).randint(20, 30))]
    assert named(numbers, 2) == f"0, 1 and {len(numbers) - 2} more"
    assert named(numbers[:2], 2) == "0, 1"
