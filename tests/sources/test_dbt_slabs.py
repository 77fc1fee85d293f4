"""Slabs of BCS-DBT: one of every volume, nothing else moves, and none without the option."""

from __future__ import annotations

import hashlib

import pytest

from etl.sources import bcs_dbt
from etl.split import sides
from schemas.film import Film
from schemas.rejects import Absent, Reject
from schemas.release import Release
from schemas.spec import Spec
from schemas.vocabulary import FrameKind, LesionFlag, QualityFlag
from tests.sources.copies import absent, copy_of, films, planned, rejects
from tests.sources.test_bcs_dbt import path_row, series_uid, tables

CANCER, BENIGN, NORMAL, ACTIONABLE = "0,0,0,1", "0,0,1,0", "1,0,0,0", "0,1,0,0"
VOLUMES = (
    ("DBT-P00001", "DBT-S00001", "lcc", CANCER),
    ("DBT-P00001", "DBT-S00001", "lmlo", CANCER),
    ("DBT-P00002", "DBT-S00002", "rcc", BENIGN),
    ("DBT-P00003", "DBT-S00003", "rmlo", NORMAL),
    ("DBT-P00004", "DBT-S00004", "lmlo", ACTIONABLE),
)
BOXES = (
    "DBT-P00001,DBT-S00001,lcc,0,20,100,110,64,70,cancer,0,60",
    "DBT-P00001,DBT-S00001,lcc,0,26,300,310,64,70,benign,1,60",
    "DBT-P00001,DBT-S00001,lmlo,0,31,200,210,50,60,cancer,1,55",
    "DBT-P00002,DBT-S00002,rcc,0,9,1,2,30,40,benign,0,50",
    "DBT-P00002,DBT-S00002,rcc,0,40,61,62,30,40,benign,0,50",
)
PLANNED_BEFORE = "749857e3a3d87da5"
"""Of the films below, written down when there were no slabs yet."""


def copy(tmp_path, volumes=VOLUMES, boxes=BOXES, held=5) -> Release:
    """Return a copy of these volumes, of which it holds the first few."""
    rows = [f"{patient},{study},{view},{flags}" for patient, study, view, flags in volumes]
    paths = [path_row(*volume[:3], number) for number, volume in enumerate(volumes)]
    images = [f"{series_uid(number)}/1-1.dcm" for number in range(held)]
    return copy_of(tmp_path, tables(rows, boxes, paths), images)


def slabs_of(items: list[Film | Reject | Absent]) -> list[Film]:
    return [film for film in films(items).values() if film.frame_kind is FrameKind.SLAB]


def test_nothing_that_was_planned_before_has_changed(tmp_path):
    items = planned(bcs_dbt, copy(tmp_path))
    text = "\n".join(film.to_json() for film in films(items).values())
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == PLANNED_BEFORE
    assert not slabs_of(items)


def test_the_default_settings_have_the_name_that_they_always_had():
    assert Spec().key() == (
        '{"keep_background":false,"long_side":2048,"payload":"png","pixel_mm":0.1,"window":"device"}'
    )


def test_every_volume_has_one_slab_whatever_its_label(tmp_path):
    found = slabs_of(planned(bcs_dbt, copy(tmp_path), slabs=True))
    assert [film.film_key for film in found] == [
        f"{patient}/{study}/{view}/slab" for patient, study, view, _ in VOLUMES
    ]
    assert [str(film.pathology) for film in found] == [
        *("malignant", "malignant", "benign", "normal", "unknown")
    ]
    assert [str(film.annotation) for film in found] == [*["complete"] * 4, "none"]
    assert {(film.frame, film.depth_fraction, film.geometry_frame) for film in found} == {
        (None, None, "dbt_upright")
    }


def test_slices_are_those_without_the_option_but_for_the_shared_exposure(tmp_path):
    release = copy(tmp_path)
    alone = films(planned(bcs_dbt, release))
    beside = films(planned(bcs_dbt, release, slabs=True))
    for key, film in alone.items():
        volume = key.rpartition("/")[0]
        assert beside[key].pair_key == beside[f"{volume}/slab"].pair_key == volume
        plain = film.to_json().replace(f'"pair_key":"{volume}",', "")
        assert beside[key].to_json().replace(f'"pair_key":"{volume}",', "") == plain
    assert len(beside) == len(alone) + len(VOLUMES)


def test_the_boxes_of_all_slices_are_on_the_slab_with_the_slices_they_lie_in(tmp_path):
    found = {film.film_key: film for film in slabs_of(planned(bcs_dbt, copy(tmp_path), slabs=True))}
    first = found["DBT-P00001/DBT-S00001/lcc/slab"]
    told = [
        (lesion.lesion_id, str(lesion.pathology), lesion.geometry.values, lesion.slice_first)
        for lesion in first.lesions
    ]
    assert told == [
        ("1", "malignant", (100.0, 110.0, 164.0, 180.0), 20),
        ("2", "benign", (300.0, 310.0, 364.0, 380.0), 26),
    ]
    assert first.raw.finding == "cancer AD=0; benign AD=1"
    assert QualityFlag.LABEL_CONFLICT in first.flags
    assert found["DBT-P00003/DBT-S00003/rmlo/slab"].lesions == ()


def test_slices_and_slab_lie_on_one_side(tmp_path):
    found = films(planned(bcs_dbt, copy(tmp_path), slabs=True)).values()
    assert {film.split_key for film in found} == {volume[0] for volume in VOLUMES}
    assert len(sides(found)) == 4


def test_a_volume_that_is_not_there_lacks_its_slab_too(tmp_path):
    items = planned(bcs_dbt, copy(tmp_path, held=4), slabs=True)
    assert [item.film_key for item in absent(items)] == [
        f"DBT-P00004/DBT-S00004/lmlo/{name}" for name in ("d0", "d1", "slab")
    ]


def test_a_row_that_cannot_be_read_is_one_reject_with_the_option_too(tmp_path):
    boxes = ["DBT-P00003,DBT-S00003,rmlo,0,50,1,2,3,4,benign,0,50"]
    release = copy(tmp_path, boxes=boxes)
    with_slabs, without = (rejects(planned(bcs_dbt, release, slabs=on)) for on in (True, False))
    assert with_slabs == without
    assert [str(reject.reason) for reject in with_slabs] == ["bad_row"]


@pytest.mark.parametrize(("frames", "suspect"), [("60", False), ("27", False), ("26", True)])
def test_a_box_of_a_slice_that_the_file_lacks_is_suspect(tmp_path, frames, suspect):
    slab = slabs_of(planned(bcs_dbt, copy(tmp_path), slabs=True))[0]
    full = bcs_dbt.resolve(slab, {"NumberOfFrames": frames, "PatientSex": "M"})
    assert (QualityFlag.GEOMETRY_SUSPECT in full.flags) == suspect
    assert all((LesionFlag.SUSPECT in lesion.flags) == suspect for lesion in full.lesions)
    assert (full.frame, full.depth_fraction) == (None, None)
    assert QualityFlag.MALE in full.flags
