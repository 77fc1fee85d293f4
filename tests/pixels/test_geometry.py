from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from etl.pixels.geometry import area, clip, draw, outline, rasterise
from etl.pixels.placement import Placement
from etl.pixels.trace import trace
from schemas.film import Geometry
from schemas.vocabulary import GeometryKind, Orientation

CIRCLE, ELLIPSE, POLYGON, BOX = (
    GeometryKind.CIRCLE, GeometryKind.ELLIPSE, GeometryKind.POLYGON, GeometryKind.BOX,
)  # fmt: skip
SQUARE_WITH_HOLE = (
    ((10.0, 10.0), (90.0, 10.0), (90.0, 90.0), (10.0, 90.0)),
    ((30.0, 40.0), (60.0, 40.0), (60.0, 70.0), (30.0, 70.0)),
)
STAR = tuple(
    (100 + r * math.cos(0.2 * math.pi * k), 100 + r * math.sin(0.2 * math.pi * k))
    for k, r in enumerate([80, 30] * 5)
)


def shoelace(ring: tuple[tuple[float, float], ...]) -> float:
    pairs = zip(ring, ring[1:] + ring[:1], strict=True)
    return abs(sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in pairs)) / 2


def inside(x: float, y: float, rings: tuple[tuple[tuple[float, float], ...], ...]) -> bool:
    """Even-odd, one point at a time."""
    odd = False
    for ring in rings:
        for (x0, y0), (x1, y1) in zip(ring, ring[1:] + ring[:1], strict=True):
            if (y0 <= y < y1 or y1 <= y < y0) and x >= x0 + (y - y0) * (x1 - x0) / (y1 - y0):
                odd = not odd
    return odd


@pytest.mark.parametrize(
    ("geometry", "expected"),
    [
        *[
            (Geometry(kind=CIRCLE, values=(50.3, 60.7, r)), math.pi * r * r)
            for r in (0.7, 3, 6, 40)
        ],
        (Geometry(kind=ELLIPSE, values=(99.2, 80.1, 60, 9, 33)), math.pi * 60 * 9),
        (Geometry(kind=BOX, values=(3, 5, 40, 25)), 37 * 20),
        (Geometry(kind=POLYGON, rings=SQUARE_WITH_HOLE), 80 * 80 - 30 * 30),
        (Geometry(kind=POLYGON, rings=(STAR,)), shoelace(STAR)),
        (Geometry(kind=GeometryKind.POINT, values=(9, 9)), 0),
    ],
)
def test_areas_are_within_half_a_percent_of_the_analytic_ones(
    geometry: Geometry, expected: float
) -> None:
    assert area(geometry.kind, outline(geometry)) == pytest.approx(expected, rel=0.005)


@given(
    st.floats(30, 70), st.floats(30, 70), st.floats(12, 29), st.floats(0.3, 1), st.floats(0, 180)
)
def test_pixels_of_an_ellipse_cover_its_area(
    cx: float, cy: float, radius: float, flat: float, degrees: float
) -> None:
    shape = Geometry(kind=ELLIPSE, values=(cx, cy, radius, radius * flat, degrees))
    pixels = rasterise(shape, None, (100, 100)).sum()
    perimeter = 2 * math.pi * radius
    assert abs(pixels - math.pi * radius * radius * flat) < max(0.02 * pixels, 0.12 * perimeter)


def test_pixels_of_circles_cover_their_area_on_average() -> None:
    places = np.random.default_rng(0).uniform(40, 41, (200, 2))
    for radius in (6, 9, 15, 30):
        counts = [
            rasterise(Geometry(kind=CIRCLE, values=(x, y, radius)), None, (80, 80)).sum()
            for x, y in places
        ]
        assert np.mean(counts) == pytest.approx(math.pi * radius**2, rel=0.005)
        assert np.max(np.abs(np.array(counts) / (math.pi * radius**2) - 1)) < 0.3 / radius


@given(
    st.lists(
        st.lists(
            st.tuples(st.floats(-5, 30, width=32), st.floats(-5, 30, width=32)),
            min_size=3, max_size=9,
        ),
        min_size=1, max_size=3,
    )
)  # fmt: skip
@settings(max_examples=60)
def test_a_pixel_is_filled_when_its_centre_is_inside(
    rings: list[list[tuple[float, float]]],
) -> None:
    # a hundredth of odd size keeps vertices and crossings off the pixels' centres
    plain = tuple(
        tuple((x * 0.993 + 0.0137, y * 0.991 + 0.0071) for x, y in ring) for ring in rings
    )
    patch = draw(POLYGON, plain, None, (25, 25))
    expected = np.array([[inside(x + 0.5, y + 0.5, plain) for x in range(25)] for y in range(25)])
    if patch is None or not expected.any():
        assert not expected.any()
        return
    got = rasterise(Geometry(kind=POLYGON, rings=plain), None, (25, 25))
    assert (got != expected).sum() <= 1


@given(hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, max_side=12)))
def test_a_traced_mask_fills_to_itself(mask: np.ndarray) -> None:
    rings = trace(mask, 4, 7)
    whole = np.zeros((30, 30), dtype=bool)
    whole[7 : 7 + mask.shape[0], 4 : 4 + mask.shape[1]] = mask
    if not mask.any():
        assert rings == ()
        return
    patch = draw(GeometryKind.MASK, rings, None, whole.shape)
    assert patch is not None
    filled = np.zeros_like(whole)
    filled[patch.y : patch.y + patch.pixels.shape[0], patch.x : patch.x + patch.pixels.shape[1]] = (
        patch.pixels
    )
    assert np.array_equal(filled, whole)
    assert area(GeometryKind.MASK, rings) == mask.sum()


def test_a_hole_is_a_ring_of_its_own_along_pixel_edges() -> None:
    mask = np.ones((5, 6), dtype=bool)
    mask[2, 3] = False
    rings = trace(mask)
    assert {frozenset(ring) for ring in rings} == {
        frozenset({(0, 0), (6, 0), (6, 5), (0, 5)}),
        frozenset({(3, 2), (4, 2), (4, 3), (3, 3)}),
    }


@pytest.mark.parametrize("orientation", Orientation)
def test_a_shape_lands_where_its_placement_says(orientation: Orientation) -> None:
    placement = Placement(
        orientation=orientation, crop_x=20, crop_y=10, scale_x=0.5, scale_y=0.4,
        native=(300, 200), standard=(100, 80),
    )  # fmt: skip
    circle = Geometry(kind=CIRCLE, values=(110, 140, 40))
    pixels = rasterise(circle, placement, (100, 80))
    y, x = np.mgrid[:100, :80] + 0.5
    native = placement.to_native(np.stack([x, y], axis=-1))
    expected = np.hypot(native[..., 0] - 110, native[..., 1] - 140) <= 40
    assert (pixels != expected).mean() < 0.001
    assert pixels.sum() == pytest.approx(math.pi * 40 * 40 * 0.2, rel=0.02)


@pytest.mark.parametrize(
    "shape",
    [
        Geometry(kind=GeometryKind.POINT, values=(7.5, 4.5)),
        Geometry(kind=CIRCLE, values=(7.5, 4.5, 0.1)),
        Geometry(kind=BOX, values=(7.6, 4.6, 7.7, 4.7)),
        Geometry(kind=GeometryKind.POLYLINE, rings=(((7.2, 4.2), (7.3, 4.4)),)),
    ],
)
def test_what_is_smaller_than_a_pixel_keeps_one_at_its_place(shape: Geometry) -> None:
    pixels = rasterise(shape, None, (10, 12))
    assert np.argwhere(pixels).tolist() == [[4, 7]]


def test_a_point_can_have_a_disc() -> None:
    pixels = rasterise(Geometry(kind=GeometryKind.POINT, values=(20.3, 19.6)), None, (40, 40), 8)
    assert pixels.sum() == pytest.approx(math.pi * 64, rel=0.03)


def test_an_open_curve_is_drawn_along_its_length() -> None:
    line = Geometry(kind=GeometryKind.POLYLINE, rings=(((2.5, 2.5), (12.5, 2.5), (12.5, 9.5)),))
    pixels = rasterise(line, None, (20, 20))
    assert pixels.sum() == 18
    assert pixels[2, 2:13].all()
    assert pixels[2:10, 12].all()


def test_shapes_beyond_the_picture_draw_nothing() -> None:
    assert not rasterise(Geometry(kind=CIRCLE, values=(-50, 5, 9)), None, (20, 20)).any()
    assert not rasterise(Geometry(kind=GeometryKind.POINT, values=(30, 5)), None, (20, 20)).any()


def test_rings_are_cut_at_the_border() -> None:
    circle = outline(Geometry(kind=CIRCLE, values=(0, 50, 20)))
    (half,) = clip(CIRCLE, circle, (100, 100))
    assert min(x for x, _ in half) == 0
    assert area(CIRCLE, (half,)) == pytest.approx(math.pi * 200, rel=0.01)
    assert clip(CIRCLE, outline(Geometry(kind=CIRCLE, values=(-30, 50, 20))), (100, 100)) == ()


def test_a_mask_must_be_traced() -> None:
    with pytest.raises(ValueError, match="trace its pixels"):
        outline(Geometry(kind=GeometryKind.MASK))
