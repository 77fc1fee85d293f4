from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl.pixels.placement import Placement, combine
from schemas.vocabulary import Orientation

SIZES = st.tuples(st.integers(8, 6000), st.integers(8, 6000))
POINTS = st.lists(st.tuples(st.floats(-10, 7000), st.floats(-10, 7000)), min_size=1, max_size=8)


@st.composite
def placements(draw: st.DrawFn) -> Placement:
    height, width = draw(SIZES)
    crop_y, crop_x = draw(st.integers(0, height - 4)), draw(st.integers(0, width - 4))
    rows, columns = draw(st.integers(1, height - crop_y)), draw(st.integers(1, width - crop_x))
    out = draw(st.integers(1, rows)), draw(st.integers(1, columns))
    return Placement(
        orientation=draw(st.sampled_from(Orientation)),
        crop_x=crop_x,
        crop_y=crop_y,
        scale_x=out[1] / columns,
        scale_y=out[0] / rows,
        native=(height, width),
        standard=out,
    )


@given(placements(), POINTS)
def test_native_to_standard_and_back_is_within_half_a_native_pixel(
    placement: Placement, points: list[tuple[float, float]]
) -> None:
    back = placement.to_native(placement.to_standard(points))
    assert np.abs(back - points).max() < 1e-6


@given(placements(), POINTS)
def test_standard_to_native_and_back_is_within_half_a_standard_pixel(
    placement: Placement, points: list[tuple[float, float]]
) -> None:
    back = placement.to_standard(placement.to_native(points))
    assert np.abs(back - points).max() < 1e-6


@given(placements(), POINTS)
def test_inverse_undoes(placement: Placement, points: list[tuple[float, float]]) -> None:
    inverse = placement.inverse()
    standard = placement.to_standard(points)
    assert np.allclose(inverse.to_standard(standard), points, atol=1e-5)
    assert np.allclose(inverse.to_native(points), standard, atol=1e-5)


@given(placements(), placements(), POINTS)
def test_composition_is_one_after_the_other(
    first: Placement, then: Placement, points: list[tuple[float, float]]
) -> None:
    expected = then.to_standard(first.to_standard(points))
    assert np.allclose(first.compose(then).to_standard(points), expected, rtol=1e-9, atol=1e-4)


@pytest.mark.parametrize(
    ("orientation", "turned"),
    [
        (Orientation.IDENTITY, lambda a: a),
        (Orientation.HFLIP, np.fliplr),
        (Orientation.VFLIP, np.flipud),
        (Orientation.ROT180, lambda a: np.rot90(a, 2)),
    ],
)
def test_pixels_follow_their_coordinates(orientation: Orientation, turned: object) -> None:
    native = np.arange(7 * 11).reshape(7, 11)
    standard = turned(native)[2:6, 3:10]  # type: ignore[operator]
    placement = Placement(
        orientation=orientation, crop_x=3, crop_y=2, scale_x=1, scale_y=1,
        native=(7, 11), standard=(4, 7),
    )  # fmt: skip
    for row in range(4):
        for column in range(7):
            x, y = placement.to_native((column + 0.5, row + 0.5))
            assert native[int(y), int(x)] == standard[row, column]


@pytest.mark.parametrize("first", Orientation)
@pytest.mark.parametrize("then", Orientation)
def test_orientations_combine_like_flips(first: Orientation, then: Orientation) -> None:
    turn = {
        Orientation.IDENTITY: lambda a: a,
        Orientation.HFLIP: np.fliplr,
        Orientation.VFLIP: np.flipud,
        Orientation.ROT180: lambda a: np.rot90(a, 2),
    }
    picture = np.arange(6).reshape(2, 3)
    assert np.array_equal(turn[combine(first, then)](picture), turn[then](turn[first](picture)))


def test_half_open_boxes_stay_boxes_when_mirrored() -> None:
    placement = Placement(
        orientation=Orientation.HFLIP, crop_x=10, crop_y=0, scale_x=0.5, scale_y=0.5,
        native=(100, 100), standard=(50, 45),
    )  # fmt: skip
    assert placement.box_to_standard((60, 20, 80, 30)) == (5, 10, 15, 15)
    assert placement.box_to_native((5, 10, 15, 15)) == (60, 20, 80, 30)


def test_a_manifest_row_gives_its_placement_back() -> None:
    row = {
        "orientation": "rot180", "crop_x": 3, "crop_y": 4, "scale": [0.5, 0.25],
        "native_height": 80, "native_width": 60, "height": 10, "width": 20,
    }  # fmt: skip
    placement = Placement.from_row(row)
    assert placement.to_standard((57, 76)).tolist() == [0, 0]


def test_a_scale_that_cannot_be_undone_is_refused() -> None:
    with pytest.raises(ValueError, match="scale must be positive"):
        Placement(
            orientation=Orientation.IDENTITY, crop_x=0, crop_y=0, scale_x=0, scale_y=1,
            native=(1, 1), standard=(1, 1),
        )  # fmt: skip
