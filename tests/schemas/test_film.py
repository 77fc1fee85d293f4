from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest

from schemas.film import FileRef, Film, FilmLesion, Geometry, RawWords
from schemas.vocabulary import (
    Annotation,
    Birads,
    Finding,
    GeometryKind,
    LabelBasis,
    Laterality,
    LesionFlag,
    MassShape,
    Modality,
    Pathology,
    QualityFlag,
    Split,
    View,
)

IMAGE = FileRef(role="image", path="a/film.dcm", size=10)


def film(**changes: Any) -> Film:
    values: dict[str, Any] = {
        "source": "mias",
        "film_key": "mdb001",
        "patient_key": "mias-001",
        "files": (IMAGE,),
        "modality": Modality.SFM,
        "licence": "mias-research",
    }
    return Film(**{**values, **changes})


def full_film() -> Film:
    ring = ((0.5, 1.5), (10.25, 1.5), (10.25, 9.0))
    lesions = (
        FilmLesion(
            lesion_id="1",
            finding=Finding.MASS,
            pathology=Pathology.MALIGNANT,
            label_basis=LabelBasis.BIOPSY,
            birads=Birads.B4A,
            shape=(MassShape.IRREGULAR,),
            flags=(LesionFlag.HIGH_RISK,),
            source_ids=("a", "b"),
            geometry=Geometry(kind=GeometryKind.POLYGON, rings=(ring,)),
        ),
        FilmLesion(
            lesion_id="2",
            geometry=Geometry(kind=GeometryKind.CIRCLE, values=(1.5, 2.5, 3.0)),
            slice_first=0,
            slice_last=4,
        ),
    )
    return film(
        view=View.MLO,
        laterality=Laterality.L,
        lesions=lesions,
        annotation=Annotation.COMPLETE,
        flags=(QualityFlag.TWIN_FILM,),
        official_sides=(Split.TEST, Split.TRAIN),
        native_pixel_mm=(0.2, 0.2),
        image_size=(1024, 1024),
        raw=RawWords(label="M", density="G"),
        files=(IMAGE, FileRef(role="roi", path="a/m.dcm", size=0, lesion="1", first=0)),
    )


def test_json_round_trip_keeps_every_field():
    assert Film.from_json(full_film().to_json()) == full_film()


def test_json_is_canonical():
    text = full_film().to_json()
    assert Film.from_json(text).to_json() == text
    assert "null" not in text
    assert ": " not in text


def test_the_split_key_is_the_patient_unless_given():
    assert film().split_key == "mias-001"
    assert film(split_key="twins").split_key == "twins"


@pytest.mark.parametrize("name", ["source", "film_key", "patient_key", "licence"])
def test_an_empty_key_is_refused(name: str):
    with pytest.raises(ValueError, match=f"{name} is empty"):
        film(**{name: "  "})


def test_repeated_lesion_ids_are_refused():
    twice = (FilmLesion(lesion_id="1"), FilmLesion(lesion_id="1"))
    with pytest.raises(ValueError, match=r"film 'mdb001' of source 'mias': lesion ids repeat"):
        film(lesions=twice)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_coordinate_that_is_no_number_is_refused(bad: float):
    with pytest.raises(ValueError, match="not finite"):
        Geometry(kind=GeometryKind.CIRCLE, values=(1.0, bad, 2.0))


def test_a_wrong_number_of_values_is_refused():
    with pytest.raises(ValueError, match="a box needs 4 values, got 3"):
        Geometry(kind=GeometryKind.BOX, values=(1.0, 2.0, 3.0))


@pytest.mark.parametrize("path", ["/etc/passwd", "a\\b.dcm", ""])
def test_a_path_outside_the_release_is_refused(path: str):
    with pytest.raises(ValueError, match="path must be relative"):
        FileRef(role="image", path=path, size=1)


def test_a_spacing_of_zero_is_refused():
    with pytest.raises(ValueError, match="native_pixel_mm"):
        film(native_pixel_mm=(0.0, 0.2))


def test_a_film_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        film().source = "other"
