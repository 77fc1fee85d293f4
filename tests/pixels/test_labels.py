"""Values of the mask, and payloads there and back."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from etl.pixels.encode import decode_image, decode_mask, encode_image, encode_mask
from etl.pixels.labels import POINT_DISC_MM, draw_labels
from schemas.errors import ContentError
from schemas.vocabulary import LesionFlag
from tests.pixels.helpers import texture

ROW = {
    "orientation": "identity", "crop_x": 0, "crop_y": 0, "scale": [1.0, 1.0],
    "native_height": 60, "native_width": 80, "height": 60, "width": 80, "mm_eff": 0.5,
}  # fmt: skip


def lesion(
    pathology: str, x: float = 10, kind: str = "box", flags: tuple[str, ...] = ()
) -> dict[str, Any]:
    rings = [[[x, 10.0], [x + 20, 10.0], [x + 20, 30.0], [x, 30.0]]]
    if kind == "point":
        rings = [[[x, 20.0]]]
    return {"geometry_kind": kind, "rings_native": rings, "pathology": pathology, "flags": flags}


@pytest.mark.parametrize(
    ("pathology", "value"), [("benign", 1), ("malignant", 2), ("unknown", 3), ("normal", 3)]
)
def test_each_pathology_has_its_value(pathology: str, value: int) -> None:
    mask = draw_labels(ROW, [lesion(pathology)])
    assert np.unique(mask).tolist() == [0, value]
    assert (mask == value).sum() == 400


def test_where_lesions_overlap_the_worse_wins_in_any_order() -> None:
    lesions = [
        lesion("benign", 10),
        lesion("unknown", 20),
        lesion("malignant", 25),
        lesion("benign", 35, flags=(LesionFlag.SUSPECT,)),
    ]
    expected = draw_labels(ROW, lesions)
    assert [int(expected[15, x]) for x in (12, 22, 27, 40, 50)] == [1, 3, 2, 2, 255]
    for order in itertools.permutations(lesions):
        assert np.array_equal(draw_labels(ROW, order), expected)


def test_a_point_is_a_disc_that_is_ignored() -> None:
    mask = draw_labels(ROW, [lesion("malignant", 30, kind="point")])
    assert np.unique(mask).tolist() == [0, 255]
    assert (mask == 255).sum() == pytest.approx(np.pi * (POINT_DISC_MM / 0.5) ** 2, rel=0.1)


def test_a_finding_without_outline_draws_nothing() -> None:
    assert not draw_labels(ROW, [{**lesion("benign"), "rings_native": None}]).any()


@pytest.mark.parametrize("payload", ["png", "jxl"])
def test_images_come_back_exactly(payload: Any) -> None:
    image = (texture(70, 50) * 675).astype(np.uint16)
    assert np.array_equal(decode_image(encode_image(image, payload)), image)


def test_masks_come_back_exactly() -> None:
    mask = draw_labels(ROW, [lesion("malignant"), lesion("benign", 40)])
    assert np.array_equal(decode_mask(encode_mask(mask)), mask)


@pytest.mark.parametrize("payload", ["png", "jxl"])
def test_a_damaged_payload_is_said(payload: Any) -> None:
    data = encode_image((texture(70, 50) * 675).astype(np.uint16), payload)
    with pytest.raises(ContentError, match="a payload is damaged"):
        decode_image(data[: len(data) // 2])


def test_eight_bits_are_no_image_of_the_corpus() -> None:
    with pytest.raises(ContentError, match="expected grey uint16"):
        decode_image(encode_mask(np.ones((4, 4), np.uint8)))
