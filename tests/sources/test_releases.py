"""Every release as its phantom writer lays it out, against what the writer drew.

Nothing here knows a release: the truth is `etl.phantoms.truth`, recorded by the drawer, and what is
said of one source is said of all.
"""

from __future__ import annotations

import itertools
import random
import re
from collections import Counter
from dataclasses import dataclass
from typing import Any

import pytest

from etl import phantoms
from etl.phantoms.truth import FilmTruth
from etl.sources import SOURCES, source
from etl.split import sides
from schemas.film import Film
from schemas.rejects import Absent, Reject
from schemas.release import HeaderIndex, Release, Remark, Words
from schemas.store import open_store
from schemas.vocabulary import GeometryFrame, GeometryKind, Pathology, Split
from tests.sources.copies import films, header_index, planned

SLABS = "bcs_dbt with slabs"
VARIANTS: dict[str, tuple[str, dict[str, bool], dict[str, float]]] = {
    **{key: (key, {}, {}) for key in sorted(SOURCES)},
    SLABS: ("bcs_dbt", {"slabs": True}, {"scale": 0.4}),
}
"""Every source as it plans by default, and what else one can plan: its key, its options, and the
writer's own."""
FIELDS = ("official_split", "birads", "age", "modality", "frame_kind")
"""Facts that a film must have as they were drawn, where the drawer recorded them."""


@dataclass
class Drawn:
    """A phantom release, what was drawn, and what its source made of it."""

    key: str
    release: Release
    index: HeaderIndex
    truth: dict[str, FilmTruth]
    plan: list[Film | Reject | Absent]
    options: dict[str, bool]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    known: dict[str, Drawn] = {}

    def write(variant: str) -> Drawn:
        if variant not in known:
            key, options, drawing = VARIANTS[variant]
            root = tmp_path_factory.mktemp("release")
            truth = phantoms.write(root, [key], patients=8, seed=3, **options, **drawing)[key]
            release = Release.open(str(root / key))
            index = header_index(source(key), release)
            films = {film.film_key: film for film in truth.films}
            plan = planned(source(key), release, index, **options)
            known[variant] = Drawn(key, release, index, films, plan, options)
        return known[variant]

    return write


@pytest.fixture(params=VARIANTS)
def drawn(request, written):
    return written(request.param)


def pairs(drawn: Drawn) -> list[tuple[Film, FilmTruth]]:
    return [(film, drawn.truth[key]) for key, film in films(drawn.plan).items()]


def test_every_film_is_planned_once_under_its_own_key(drawn):
    keys = Counter(item.film_key for item in drawn.plan)
    assert set(keys.values()) == {1}
    assert set(keys) == set(drawn.truth)


def test_absents_and_rejects_are_the_planted_ones(drawn):
    for item in drawn.plan:
        truth = drawn.truth[item.film_key]
        if isinstance(item, Absent):
            assert truth.expect == "absent", item
        elif isinstance(item, Reject):
            assert (truth.expect, truth.reason) == ("reject", item.reason), item
            assert item.detail
        else:
            assert truth.expect in ("sample", "reject"), item.film_key


def test_who_what_and_label_are_as_drawn(drawn):
    for film, truth in pairs(drawn):
        told = (film.patient_key, film.laterality, film.view)
        assert told == (truth.patient, truth.side, truth.view), film.film_key
        label = (film.pathology, film.label_basis)
        assert label == (truth.pathology, truth.label_basis), film.film_key
        for name in FIELDS:
            wanted = getattr(truth, name)
            if wanted is not None:
                assert getattr(film, name) == wanted, (film.film_key, name)
        if truth.density_letter is not None:
            assert film.density == truth.density_letter, film.film_key


def test_lesions_are_those_drawn(drawn):
    for film, truth in pairs(drawn):
        told = sorted((x.lesion_id, x.pathology.value, x.label_basis.value) for x in film.lesions)
        wanted = sorted((x.lesion_id, x.pathology, x.label_basis) for x in truth.lesions)
        assert told == wanted, film.film_key


def test_native_shapes_lie_where_they_were_drawn_and_inside_the_image(drawn):
    for film, truth in pairs(drawn):
        if film.geometry_frame is not GeometryFrame.NATIVE:
            continue
        shapes = {lesion.lesion_id: lesion for lesion in truth.lesions}
        for lesion in film.lesions:
            wanted = shapes[lesion.lesion_id].outline
            if lesion.geometry is None or lesion.geometry.kind is GeometryKind.MASK or not wanted:
                continue
            told = flat(lesion.geometry.values, lesion.geometry.rings, truth)
            assert told == pytest.approx(
                flat(wanted.get("values", ()), wanted.get("rings", ()), truth), abs=0.5
            ), (film.film_key, lesion.lesion_id)


def flat(values: Any, rings: Any, film: FilmTruth) -> list[float]:
    """Return all coordinates, those of outlines cut at the border, where the kernel cuts them."""
    points = [point for ring in rings for point in ring]
    cut = [(min(max(x, 0), film.columns), min(max(y, 0), film.rows)) for x, y in points]
    return [*map(float, values), *(float(c) for point in cut for c in point)]


def test_files_are_those_of_the_listing(drawn):
    paths = set(drawn.release.sizes)
    for film in films(drawn.plan).values():
        for ref in film.files:
            single = ref.path in paths
            assert single or any(path.startswith(ref.path) for path in paths), ref
            assert not single or ref.size == drawn.release.sizes[ref.path]


def test_films_survive_their_canonical_json(drawn):
    for film in films(drawn.plan).values():
        assert Film.from_json(film.to_json()) == film


def test_a_shuffled_listing_plans_the_same(drawn):
    entries = random.Random(5).sample(drawn.release.entries, len(drawn.release.entries))
    shuffled = Release(root=drawn.release.root, entries=tuple(entries))
    assert planned(source(drawn.key), shuffled, drawn.index, **drawn.options) == drawn.plan


def test_a_patient_s_films_are_planned_together(drawn):
    order = [film.patient_key for film in films(drawn.plan).values()]
    assert len(set(order)) == 1 + sum(a != b for a, b in itertools.pairwise(order))


def test_no_split_key_stands_on_two_sides_and_official_tests_stay_test(drawn):
    found = films(drawn.plan).values()
    where = sides(found)
    official: dict[str, set[Split]] = {}
    for film in found:
        official.setdefault(film.split_key, set()).update(film.official_sides)
    for split_key, words in official.items():
        side = where[drawn.key, split_key][0]
        if words:
            assert (side is Split.TEST) == (Split.TEST in words), split_key
    of_patient: dict[str, set[str]] = {}
    for film in found:
        of_patient.setdefault(film.patient_key, set()).add(film.split_key)
    assert all(len(keys) == 1 for keys in of_patient.values())


@pytest.mark.parametrize("key", sorted(SOURCES))
def test_a_bucket_plans_as_a_disk_does(key, written, gcs):
    drawn = written(key)
    bucket = open_store(gcs)
    for path in drawn.release.sizes:
        assert bucket.create(path, drawn.release.read(path))
    assert planned(source(key), Release.open(gcs), drawn.index) == drawn.plan


def test_verify_says_something_and_words_are_of_the_vocabulary(drawn):
    module = source(drawn.key)
    remarks = list(module.verify(drawn.release, drawn.index))
    assert remarks
    assert all(isinstance(remark, Remark) and remark.what for remark in remarks)
    assert module.WORDS
    assert all(isinstance(words, Words) and words.cited for words in module.WORDS)


def test_raw_labels_hold_words_of_the_release_s_own_tables(drawn):
    words = {word.lower() for table in source(drawn.key).WORDS for word in table.words if word}
    whole = re.compile(
        "|".join(
            rf"(?<!\d){re.escape(word)}(?!\d)"
            if word.isdigit()
            else rf"(?<![a-z]){re.escape(word)}(?![a-z])"
            for word in sorted(words, key=len, reverse=True)
        )
    )
    for film in films(drawn.plan).values():
        if film.raw.label and (film.pathology is not Pathology.UNKNOWN or film.birads):
            assert whole.search(film.raw.label.lower()), (film.film_key, film.raw.label)
