"""VGG Image Annotator: every shape it draws, and rows as a published export has them."""

from __future__ import annotations

import csv
import json
import math
from collections import Counter

import pytest

from etl.readers.via import is_via, read_regions
from schemas.errors import ContentError

TITLES = (
    "#filename,file_size,file_attributes,region_count,region_id,"
    "region_shape_attributes,region_attributes\n"
)


def region(shape, **changes):
    text = json.dumps(shape).replace('"', '""')
    name = changes.get("name", "P1.jpg")
    data = f'{TITLES}{name},939216,{{}},1,0,"{text}",{{}}\n'.encode()
    return next(iter(read_regions(data)))


def polygon(*points, name="polygon"):
    return {
        "name": name,
        "all_points_x": [x for x, _ in points],
        "all_points_y": [y for _, y in points],
    }


@pytest.mark.parametrize(
    ("shape", "kind", "values"),
    [
        ({"name": "circle", "cx": 693, "cy": 814, "r": 64}, "circle", (693.5, 814.5, 64)),
        (
            {"name": "ellipse", "cx": 713, "cy": 2236, "rx": 177, "ry": 153},
            "ellipse",
            (713.5, 2236.5, 177, 153, 0),
        ),
        (
            {"name": "ellipse", "cx": 1, "cy": 2, "rx": 3, "ry": 4, "theta": math.pi / 2},
            "ellipse",
            (1.5, 2.5, 3, 4, 90),
        ),
        ({"name": "point", "cx": 456, "cy": 687}, "point", (456.5, 687.5)),
        (
            {"name": "rect", "x": 10, "y": 20, "width": 5, "height": 7},
            "box",
            (10.5, 20.5, 15.5, 27.5),
        ),
    ],
)
def test_clicked_pixels_become_their_centres(shape, kind, values):
    geometry = region(shape).geometry()
    assert (geometry.kind, geometry.values) == (kind, pytest.approx(values))


def test_a_polygon_loses_its_repeated_last_point_and_a_polyline_keeps_all():
    points = [(350, 1179), (423, 1296), (1005, 1560), (350, 1179)]
    closed = region(polygon(*points)).geometry()
    assert closed.rings == (((350.5, 1179.5), (423.5, 1296.5), (1005.5, 1560.5)),)
    line = region(polygon(*points, name="polyline")).geometry()
    assert line.kind == "polyline"
    assert len(line.rings[0]) == 4


def test_negative_coordinates_are_kept_for_the_kernel_to_clip():
    assert region(polygon((-14, 3), (20, 5), (9, 30))).geometry().rings[0][0] == (-13.5, 3.5)


def test_a_region_without_shape_is_none():
    assert region({}).geometry() is None


@pytest.mark.parametrize(
    ("shape", "match"),
    [
        ({"name": "star", "cx": 1}, "no shape named 'star'"),
        ({"name": "circle", "cx": 1}, "cannot be drawn"),
        ({"name": "circle", "cx": 1, "cy": 1, "r": 0}, "its radius is 0"),
        (polygon((1, 1), (2, 2), (1, 1)), "2 different points"),
        ({"name": "polygon", "all_points_x": [1, 2, 3], "all_points_y": [1]}, "cannot be drawn"),
        ({"name": "point", "cx": "a", "cy": 2}, "cannot be drawn"),
    ],
)
def test_what_cannot_be_drawn_says_which_region(shape, match):
    with pytest.raises(ContentError, match=match):
        region(shape).geometry()


def test_names_lose_blanks_and_tables_of_other_kinds_are_refused():
    assert region({}, name="P3_L_CM_CC .jpg ").file == "P3_L_CM_CC .jpg"
    assert is_via(TITLES.encode())
    assert not is_via(b"Image_name,Patient_ID\n")
    with pytest.raises(ContentError, match="no column #filename"):
        list(read_regions(b"a,b\n1,2\n"))


def test_the_published_export_is_read_whole(shared):
    file = shared / "data/tables/cdd-cesm/Radiology_hand_drawn_segmentations_v2.csv"
    with file.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    regions = list(read_regions(file.read_bytes()))
    assert len(regions) == len(rows) == 2971
    names = Counter(json.loads(row["region_shape_attributes"])["name"] for row in rows)
    assert Counter(one.geometry().kind.value for one in regions) == names
    for one, row in zip(regions, rows, strict=True):
        shape = json.loads(row["region_shape_attributes"])
        geometry = one.geometry()
        if "cx" in shape:
            assert geometry.values[:2] == (shape["cx"] + 0.5, shape["cy"] + 0.5)
        else:
            first = (shape["all_points_x"][0] + 0.5, shape["all_points_y"][0] + 0.5)
            assert geometry.rings[0][0] == first
