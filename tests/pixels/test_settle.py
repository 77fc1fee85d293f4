"""Masks told from crops, fitted to their film; shapes cut at its border."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest

from etl.pixels.geometry import area, bounds
from etl.pixels.settle import Settled, settle_lesion
from schemas.film import FilmLesion, Geometry
from schemas.vocabulary import GeometryKind, LesionFlag, QualityFlag
from tests.pixels.helpers import dicom, film, png, texture

SIZE = (400, 240)
MASKED = FilmLesion(lesion_id="1", geometry=Geometry(kind=GeometryKind.MASK))


def blob(height: int, width: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """A mask: an ellipse at (50 %, 40 %) of the film, 25 % and 15 % of it long."""
    y, x = np.mgrid[:height, :width] + 0.5
    inside = ((x / width - 0.5) / 0.125) ** 2 + ((y / height - 0.4) / 0.075) ** 2 <= 1
    return np.where(inside, 255, 0).astype(np.uint8)


def crop() -> np.ndarray[Any, np.dtype[np.uint16]]:
    return (20000 + 400 * texture(100, 90)).astype(np.uint16)


def settled(files: dict[str, bytes], lesion: FilmLesion = MASKED) -> Settled:
    one = film((lesion,), {"film": b"", **files})
    return settle_lesion(one, lesion, lambda ref: files[ref.path], SIZE)


@pytest.mark.parametrize("wrap", [png, dicom])
def test_the_mask_is_found_whichever_name_it_has(wrap: Any) -> None:
    mask, patch = wrap(blob(*SIZE)), wrap(crop())
    as_said = settled({"1/a": mask, "1/b": patch})
    swapped = settled({"1/a": patch, "1/b": mask})
    assert as_said.rings == swapped.rings
    assert as_said.film_flags == frozenset()
    assert swapped.film_flags == {QualityFlag.ROLES_SWAPPED}
    assert area(GeometryKind.MASK, as_said.rings) == np.count_nonzero(blob(*SIZE))


def test_a_crop_that_is_as_dark_as_a_mask_is_still_no_mask() -> None:
    patch = (texture(300, 220) * 2).astype(np.uint8)
    assert settled({"1/a": png(patch)}).film_flags == {QualityFlag.MASK_MISSING}


@pytest.mark.parametrize(
    "values",
    [blob(*SIZE), blob(*SIZE) // 255, blob(*SIZE).astype(np.uint16) * 257],
    ids=["0/255", "0/1", "0/65535"],
)
def test_masks_are_cut_at_half_of_their_largest_value(values: np.ndarray[Any, Any]) -> None:
    found = settled({"1/a": png(values)})
    assert area(GeometryKind.MASK, found.rings) == np.count_nonzero(values)


def test_the_grey_edges_of_a_jpeg_mask_are_cut_at_half() -> None:
    soft = cv2.imencode(".jpg", blob(*SIZE), (cv2.IMWRITE_JPEG_QUALITY, 85))[1].tobytes()
    found = settled({"1/a": soft, "1/b": png(crop())})
    assert area(GeometryKind.MASK, found.rings) == pytest.approx(
        np.count_nonzero(blob(*SIZE)), rel=0.02
    )


@pytest.mark.parametrize("size", [(200, 120), (800, 480), (398, 240)])
def test_a_mask_of_another_size_and_the_same_shape_is_scaled(size: tuple[int, int]) -> None:
    found = settled({"1/a": png(blob(*size))})
    assert found.film_flags == {QualityFlag.MASK_RESIZED}
    assert found.box == pytest.approx((90, 130, 150, 190), abs=2.5)


def test_a_mask_some_pixels_wider_is_cut_from_the_top_left() -> None:
    wide = np.pad(blob(*SIZE), ((0, 1), (0, 12)))
    found = settled({"1/a": png(wide)})
    assert found.film_flags == {QualityFlag.MASK_PADDED}
    assert found.rings == settled({"1/a": png(blob(*SIZE))}).rings


def test_a_mask_some_pixels_narrower_keeps_its_place() -> None:
    found = settled({"1/a": png(blob(*SIZE)[:, :225])})
    assert found.film_flags == {QualityFlag.MASK_PADDED}
    assert found.rings == settled({"1/a": png(blob(*SIZE))}).rings


def test_a_mask_of_another_shape_is_dropped() -> None:
    found = settled({"1/a": png(blob(400, 160))})
    assert found.film_flags == {QualityFlag.GEOMETRY_DROPPED}
    assert found.rings == ()
    assert found.lost


def test_an_empty_mask_is_said() -> None:
    found = settled({"1/a": png(np.zeros(SIZE, np.uint8)), "1/b": png(crop())})
    assert found.film_flags == {QualityFlag.MASK_EMPTY}
    assert found.lost


def test_a_broken_mask_file_does_not_cost_the_film() -> None:
    found = settled({"1/a": png(blob(*SIZE))[:300]})
    assert found.film_flags == {QualityFlag.GEOMETRY_DROPPED}


def test_several_parts_and_holes_stay() -> None:
    mask = np.zeros(SIZE, np.uint8)
    mask[10:50, 10:50] = 255
    mask[20:30, 20:30] = 0
    mask[200:203, 100:110] = 255
    found = settled({"1/a": png(mask)})
    assert len(found.rings) == 3
    assert area(GeometryKind.MASK, found.rings) == np.count_nonzero(mask)
    assert found.box == (10, 10, 110, 203)


def test_a_shape_beyond_the_border_is_cut_and_flagged() -> None:
    circle = FilmLesion(
        lesion_id="1", geometry=Geometry(kind=GeometryKind.CIRCLE, values=(235.5, 100.5, 20))
    )
    found = settled({}, circle)
    assert found.flags == {LesionFlag.CLIPPED}
    assert found.film_flags == {QualityFlag.GEOMETRY_CLIPPED}
    assert bounds(GeometryKind.CIRCLE, found.rings)[2] == 240


def test_a_shape_wholly_beyond_the_image_is_suspect() -> None:
    box = FilmLesion(
        lesion_id="1", geometry=Geometry(kind=GeometryKind.BOX, values=(300, 10, 330, 40))
    )
    found = settled({}, box)
    assert found.flags == {LesionFlag.CLIPPED, LesionFlag.SUSPECT}
    assert found.rings == ()


def test_a_finding_without_geometry_is_no_lost_drawing() -> None:
    found = settled({}, FilmLesion(lesion_id="1"))
    assert not found.lost
    assert found.box is None
