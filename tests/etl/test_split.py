"""Sides of the split: fixed by source, split_key and official words, and by nothing else."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl.split import assign, hundredth, sides
from schemas.film import FileRef, Film
from schemas.vocabulary import Modality, Split, SplitOrigin

TRAIN, VAL, TEST = Split.TRAIN, Split.VAL, Split.TEST
PATIENTS = [f"patient-{n}" for n in range(20_000)]

official_words = st.lists(st.sampled_from(list(Split)), max_size=3).map(tuple)
patients = st.dictionaries(st.text("ab1", min_size=1, max_size=4), official_words, max_size=12)


def film(
    split_key: str, official: tuple[Split, ...] = (), key: str = "", source: str = "s"
) -> Film:
    return Film(
        source=source,
        film_key=key or split_key,
        patient_key=split_key,
        files=(FileRef(role="image", path="a.dcm", size=1),),
        modality=Modality.FFDM,
        official_sides=official,
        licence="x",
    )


@pytest.mark.parametrize(
    ("official", "side"),
    [
        ((TEST,), TEST),
        ((VAL,), VAL),
        ((TRAIN, TEST), TEST),
        ((TEST, TRAIN), TEST),
        ((TRAIN, VAL), VAL),
        ((VAL, TEST, TRAIN), TEST),
    ],
)
def test_the_strictest_official_word_wins(official, side):
    assert all(
        assign("s", patient, official) == (side, SplitOrigin.OFFICIAL) for patient in PATIENTS[:200]
    )


def test_official_train_is_ninety_to_ten_and_never_test():
    found = [assign("s", patient, (TRAIN,)) for patient in PATIENTS]
    assert set(found) == {(TRAIN, SplitOrigin.OFFICIAL), (VAL, SplitOrigin.HASH)}
    assert found.count((VAL, SplitOrigin.HASH)) / len(found) == pytest.approx(0.10, abs=0.01)


def test_without_official_split_patients_fall_seventy_ten_twenty():
    found = [assign("s", patient) for patient in PATIENTS]
    assert {origin for _, origin in found} == {SplitOrigin.HASH}
    for side, share in ((TRAIN, 0.7), (VAL, 0.1), (TEST, 0.2)):
        part = sum(chosen is side for chosen, _ in found) / len(found)
        assert part == pytest.approx(share, abs=0.012)


@pytest.mark.parametrize("key", ["mias-001", "P_00016", "größe", ""])
def test_the_place_is_the_leading_part_of_a_sha256(key):
    whole = int(hashlib.sha256(f"mias:{key}".encode()).hexdigest(), 16)
    assert hundredth("mias", key) == whole * 100 // 2**256


def test_equal_keys_of_two_sources_are_drawn_independently():
    same = sum(assign("a", key)[0] is assign("b", key)[0] for key in PATIENTS)
    assert same / len(PATIENTS) == pytest.approx(0.7**2 + 0.1**2 + 0.2**2, abs=0.015)


@given(some=patients, more=patients)
def test_nobody_moves_when_patients_are_added_or_removed(some, more):
    few = [film(key, official) for key, official in some.items()]
    many = [film(key, official) for key, official in more.items() if key not in some] + few
    before, after = sides(few), sides(many)
    assert {key: after[key] for key in before} == before


@given(patients=patients, seed=st.randoms(use_true_random=False))
def test_sides_do_not_depend_on_the_order_of_films(patients, seed):
    films = [film(key, official) for key, official in patients.items()]
    shuffled = seed.sample(films, len(films))
    assert list(sides(shuffled).items()) == list(sides(films).items())


def test_films_of_one_split_key_share_the_strictest_word_of_all():
    films = [film("p", (TRAIN,), "a"), film("p", (), "b"), film("p", (TEST,), "c")]
    assert sides(films) == {("s", "p"): (TEST, SplitOrigin.OFFICIAL)}


@pytest.mark.parametrize(
    ("key", "side"),
    [("mias-001", TRAIN), ("mias-005", VAL), ("mias-018", TEST)],
)
def test_published_sides_stay_where_they_are(key, side):
    assert assign("mias", key)[0] is side
