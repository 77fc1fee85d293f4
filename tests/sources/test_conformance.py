"""What every source promises, tried on phantom releases in their true layout.

The truth is what the phantom's writer drew; it knows nothing of the sources.
"""

from __future__ import annotations

import itertools
import random
from collections import Counter
from dataclasses import dataclass

import pytest

from etl import phantoms
from etl.sources import SOURCES, source
from etl.split import sides
from schemas.film import Film
from schemas.release import HeaderIndex, Release, ReleaseInfo, Remark
from schemas.vocabulary import GeometryKind
from tests.sources.copies import absent, films, planned, rejects

MIAS = [("mias", {}), ("mias", {"crlf": True, "headed": True})]
CBIS = [("cbis_ddsm", {"layout": layout, "scale": 0.35}) for layout in "ABCDEF"]


def named(item):
    return "-".join([item[0], *(str(value) for value in item[1].values())])


with_circles = pytest.mark.parametrize("drawn", MIAS, indirect=True, ids=named)
with_masks = pytest.mark.parametrize("drawn", CBIS, indirect=True, ids=named)


@dataclass
class Drawn:
    """A phantom release, what was drawn, and what its source made of it."""

    key: str
    options: dict
    release: Release
    truth: object
    plan: list

    @property
    def truths(self):
        return {film.film_key: film for film in self.truth.films}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Write each release once for the module, whatever the order of tests."""
    known = {}

    def write(key, options):
        name = named((key, options))
        if name not in known:
            root = tmp_path_factory.mktemp("release")
            truth = phantoms.write(root, [key], patients=8, seed=3, **options)[key]
            release = Release.open(str(root / key))
            known[name] = Drawn(key, options, release, truth, planned(source(key), release))
        return known[name]

    return write


@pytest.fixture(params=[*MIAS, *CBIS], ids=named)
def drawn(request, written):
    return written(*request.param)


def test_every_source_has_a_phantom_and_a_complete_description():
    assert set(SOURCES) == set(phantoms.WRITERS)
    for key in SOURCES:
        info = source(key).RELEASE
        assert isinstance(info, ReleaseInfo)
        assert info.key == key
        words = (info.title, info.citation, info.url, info.how_to_get, info.licence.key)
        assert all(words)


def test_every_film_of_the_truth_is_planned_once_under_its_own_key(drawn):
    keys = Counter(item.film_key for item in drawn.plan)
    assert set(keys) == set(drawn.truths)
    assert set(keys.values()) == {1}


def test_films_that_are_not_there_are_absent_and_no_others(drawn):
    gone = {film.film_key for film in drawn.truth.expected("absent")}
    assert {item.film_key for item in absent(drawn.plan)} == gone
    assert rejects(drawn.plan) == []


def test_films_name_files_of_the_listing_with_their_sizes(drawn):
    for film in films(drawn.plan).values():
        assert [ref.role for ref in film.files].count("image") == 1
        assert {(ref.path, ref.size) for ref in film.files} <= set(drawn.release.sizes.items())
        assert film.image.path == drawn.truths[film.film_key].path


def test_patient_side_view_and_label_are_those_drawn(drawn):
    for key, film in films(drawn.plan).items():
        truth = drawn.truths[key]
        assert (film.patient_key, film.laterality, film.view) == (
            *(truth.patient, truth.side, truth.view),
        )
        assert (film.pathology, film.label_basis) == (truth.pathology, truth.label_basis)
        assert film.raw.density == truth.density


def test_lesions_are_those_drawn(drawn):
    for key, film in films(drawn.plan).items():
        told = [(x.lesion_id, x.pathology.value, x.label_basis.value) for x in film.lesions]
        truth = [(x.lesion_id, x.pathology, x.label_basis) for x in drawn.truths[key].lesions]
        assert told == sorted(truth)


@with_circles
def test_circles_lie_where_they_were_drawn(drawn):
    for key, film in films(drawn.plan).items():
        for lesion, truth in zip(film.lesions, drawn.truths[key].lesions, strict=True):
            assert (lesion.geometry is None) == (truth.circle is None)
            if lesion.geometry is None or truth.box is None or truth.trap == "tiny":
                continue
            x, y, radius = lesion.geometry.values
            x0, y0, x1, y1 = truth.box
            assert x == pytest.approx((x0 + x1) / 2, abs=0.25 * radius + 1)
            assert y == pytest.approx((y0 + y1) / 2, abs=0.25 * radius + 1)
            assert max(x1 - x0, y1 - y0) <= 2 * radius + 1


@with_masks
def test_every_mask_and_crop_is_handed_to_its_own_lesion(drawn):
    for key, film in films(drawn.plan).items():
        for lesion, truth in zip(film.lesions, drawn.truths[key].lesions, strict=True):
            assert {ref.path for ref in film.rois(lesion.lesion_id)} == set(truth.files.values())
            drawn_here = lesion.geometry is not None and lesion.geometry.kind is GeometryKind.MASK
            assert drawn_here == bool(truth.files)


def test_official_words_are_kept_and_the_strictest_decides(drawn):
    found = films(drawn.plan)
    where = sides(found.values())
    for key, film in found.items():
        truth = drawn.truths[key]
        assert film.official_split == truth.official_split
        if truth.patient_split == "test":
            assert where[drawn.key, film.split_key][0] == "test"
        elif truth.patient_split == "train":
            assert where[drawn.key, film.split_key][0] in ("train", "val")


def test_twins_are_paired_with_one_another(drawn):
    found = films(drawn.plan)
    pairs = {key: film.pair_key for key, film in found.items()}
    for key, film in found.items():
        twin = drawn.truths[key].twin_of
        assert (film.pair_key is not None) == (twin is not None)
        if twin in pairs:
            assert pairs[twin] == film.pair_key


def test_films_survive_their_canonical_json(drawn):
    for film in films(drawn.plan).values():
        assert Film.from_json(film.to_json()) == film


def test_a_shuffled_listing_plans_the_same(drawn):
    entries = random.Random(5).sample(drawn.release.entries, len(drawn.release.entries))
    shuffled = Release(root=drawn.release.root, entries=tuple(entries))
    assert planned(source(drawn.key), shuffled) == drawn.plan


def test_a_patient_s_films_are_planned_together(drawn):
    order = [film.patient_key for film in films(drawn.plan).values()]
    assert len(set(order)) == 1 + sum(a != b for a, b in itertools.pairwise(order))


def test_descriptive_layouts_need_no_header_and_verify_says_something(drawn):
    module = source(drawn.key)
    assert module.files_to_index(drawn.release) == ()
    remarks = list(module.verify(drawn.release, HeaderIndex()))
    assert remarks
    assert all(isinstance(remark, Remark) and remark.what for remark in remarks)
