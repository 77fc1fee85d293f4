"""The kernel as a whole, on films small enough to compute by hand."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from etl.pixels.encode import decode_image, decode_mask
from etl.pixels.labels import draw_labels
from etl.pixels.placement import Placement
from schemas.columns import to_table
from schemas.errors import StoreError
from schemas.film import FilmLesion, Geometry, RawWords
from schemas.lesions import LESION_SCHEMA
from schemas.manifest import SAMPLE_SCHEMA
from schemas.rejects import Reject
from schemas.release import TissueRule
from schemas.sample import Sample
from schemas.spec import Spec
from schemas.vocabulary import (
    Annotation,
    AnnotationKind,
    FrameKind,
    GeometryKind,
    Laterality,
    LesionFlag,
    Pathology,
    QualityFlag,
)
from tests.pixels.helpers import breast, dicom, grey_film, made, png, release, sample

SIZE = (600, 480)
DOCUMENTED = {"native_pixel_mm": (0.1, 0.1)}


def circle(x: float, y: float, r: float, pathology: Pathology = Pathology.MALIGNANT) -> FilmLesion:
    return FilmLesion(
        lesion_id="1",
        pathology=pathology,
        geometry=Geometry(kind=GeometryKind.CIRCLE, values=(x, y, r)),
    )


def masked(lesion_id: str = "1") -> FilmLesion:
    return FilmLesion(
        lesion_id=lesion_id,
        pathology=Pathology.BENIGN,
        geometry=Geometry(kind=GeometryKind.MASK),
    )


DRAWN = {"annotation": Annotation.COMPLETE, "annotation_kind": AnnotationKind.CIRCLE}


def placed(one: Sample) -> Placement:
    return Placement.from_row(one.row)


@pytest.mark.parametrize("right", [False, True])
def test_the_breast_is_on_the_left_edge_and_whole(right: bool) -> None:
    side = Laterality.R if right else Laterality.L
    data = {"film": png(grey_film(*SIZE, right=right))}
    one = sample(data, laterality=side, spec=Spec(window="none"), **DOCUMENTED)
    image = decode_image(one.image)
    assert one.row["orientation"] == ("hflip" if right else "identity")
    assert one.row["quality_flags"] == []
    assert (image[image.shape[0] // 2, :3] > 0).all()
    rows, columns = np.nonzero(breast(*SIZE, right=right))
    moved = np.floor(placed(one).to_standard(np.stack([columns, rows], axis=1) + 0.5)).astype(int)
    assert moved.min() >= 0
    assert (image[moved[:, 1], moved[:, 0]] > 0).mean() >= 0.999


def test_what_lies_outside_the_grown_tissue_is_zero_and_text_is_gone() -> None:
    grey = grey_film(*SIZE)
    grey[20:60, 380:470] = 255
    one = sample({"film": png(grey)}, **DOCUMENTED)
    image = decode_image(one.image)
    corners = placed(one).to_native([(0, 0), image.shape[::-1]])
    assert corners[0].tolist() == [0, pytest.approx(10, abs=12)]
    assert image.shape[1] < 360
    assert not image[:3, -30:].any()
    background = decode_image(
        sample(
            {"film": png(grey)}, spec=Spec(keep_background=True, window="none"), **DOCUMENTED
        ).image
    )
    assert background[0, -1] == 5 * 257


def test_pixels_are_the_average_of_the_area_they_cover() -> None:
    grey = grey_film(*SIZE, depth=np.uint16)
    spec = Spec(pixel_mm=0.17, window="none", keep_background=True)
    one = sample({"film": png(grey)}, spec=spec, **DOCUMENTED)
    image = decode_image(one.image)
    placement = placed(one)
    weights = []
    for axis, (length, crop, scale) in enumerate(
        [(image.shape[0], placement.crop_y, placement.scale_y),
         (image.shape[1], placement.crop_x, placement.scale_x)]
    ):  # fmt: skip
        edges = np.arange(length + 1) / scale + crop
        cells = np.arange(SIZE[axis])
        share = np.minimum(edges[1:, None], cells + 1) - np.maximum(edges[:-1, None], cells)
        weights.append(np.clip(share, 0, None) * scale)
    expected = weights[0] @ grey.astype(float) @ weights[1].T
    assert np.abs(image - expected).max() <= 2
    assert np.abs(image - expected).mean() <= 0.3


@pytest.mark.parametrize(
    ("spacing", "pixel_mm", "scale"),
    [((0.05, 0.05), 0.1, 0.5), ((0.2, 0.2), 0.2, 1.0), ((0.05, 0.2), 0.2, None)],
)
def test_known_spacing_gives_square_pixels_and_never_enlarges(
    spacing: tuple[float, float], pixel_mm: float, scale: float | None
) -> None:
    one = sample({"film": png(grey_film(*SIZE))}, native_pixel_mm=spacing)
    assert one.row["pixel_mm"] == one.row["mm_eff"] == pixel_mm
    assert one.row["mm_nominal"] is False
    assert one.row["spacing_source"] == "documented"
    across, down = one.row["scale"]
    assert across == pytest.approx(spacing[1] / pixel_mm, rel=0.01)
    assert down == pytest.approx(spacing[0] / pixel_mm, rel=0.01)
    assert scale is None or across == pytest.approx(scale, rel=0.01)


def test_unknown_spacing_scales_the_breast_to_the_long_side() -> None:
    one = sample({"film": png(grey_film(*SIZE))}, spec=Spec(long_side=256))
    assert max(one.row["height"], one.row["width"]) == 256
    assert one.row["pixel_mm"] is None
    assert one.row["mm_nominal"] is True
    assert one.row["mm_eff"] == pytest.approx(204.8 / 256)
    whole = sample({"film": png(grey_film(*SIZE))})
    assert whole.row["scale"] == [1.0, 1.0]


def test_the_header_is_asked_for_spacing_vendor_and_intent() -> None:
    data = dicom(
        grey_film(*SIZE), PixelSpacing=[0.05, 0.05], ImagerPixelSpacing=[0.06, 0.06],
        Manufacturer="SIEMENS", ManufacturerModelName="Ray 3",
        PresentationIntentType="FOR PRESENTATION",
    )  # fmt: skip
    row = sample({"film": data}, native_pixel_mm=(0.3, 0.3)).row
    assert row["native_pixel_mm"] == [0.05, 0.05]
    assert row["spacing_source"] == "header"
    assert (row["manufacturer"], row["model"], row["intent"]) == (
        "SIEMENS",
        "Ray 3",
        "presentation",
    )
    assert row["native_frames"] == 1


def test_a_source_may_correct_the_header() -> None:
    data = dicom(grey_film(*SIZE), PixelSpacing=[0.05, 0.05], PatientAge="061Y")

    def resolve(one: Any, header: Any) -> Any:
        assert header["PatientAge"] == "061Y"
        return replace(one, native_pixel_mm=(0.04, 0.04), age=61)

    row = sample({"film": data}, resolve=resolve).row
    assert (row["native_pixel_mm"], row["spacing_source"], row["age"]) == (
        [0.04, 0.04],
        "header",
        61,
    )


def test_a_lesion_is_drawn_where_it_is_seen() -> None:
    grey = grey_film(*SIZE, right=True)
    y, x = np.mgrid[: SIZE[0], : SIZE[1]] + 0.5
    seen = np.hypot(x - 330, y - 260) <= 40
    grey[seen] = 255
    one = sample(
        {"film": png(grey)}, (circle(330, 260, 40),), laterality=Laterality.R,
        spec=Spec(pixel_mm=0.2), **DOCUMENTED, **DRAWN,
    )  # fmt: skip
    assert one.mask is not None
    mask, image = decode_mask(one.mask), decode_image(one.image)
    assert mask.shape == image.shape
    bright = image > 0.99 * image.max()
    both = 2 * (bright & (mask == 2)).sum() / (bright.sum() + (mask == 2).sum())
    assert both > 0.97
    lesion = one.lesions[0]
    assert lesion["area_mm2"] == pytest.approx(np.pi * 4**2, rel=0.005)
    assert lesion["native_x0"] == pytest.approx(290, abs=0.1)
    box = placed(one).box_to_standard((290, 220, 370, 300))
    assert [lesion[name] for name in ("x0", "y0", "x1", "y1")] == pytest.approx(box, abs=0.1)


def test_no_pixel_of_a_drawn_lesion_is_ever_zeroed_and_the_crop_grows_for_it() -> None:
    mask = np.zeros(SIZE, np.uint8)
    mask[250:300, 200:380] = 255  # half of it beyond the skin
    files = {"film": png(grey_film(*SIZE)), "1/mask": png(mask)}
    one = sample(files, (masked(),), spec=Spec(window="none"), **DOCUMENTED, **DRAWN)
    assert one.mask is not None
    labels = decode_mask(one.mask)
    assert (labels == 1).sum() == 50 * 180
    assert (decode_image(one.image)[labels == 1] > 0).all()
    assert one.row["quality_flags"] == []


def test_a_coarse_circle_never_enlarges_the_crop() -> None:
    plain = sample({"film": png(grey_film(*SIZE))}, **DOCUMENTED)
    one = sample({"film": png(grey_film(*SIZE))}, (circle(200, 300, 190),), **DOCUMENTED, **DRAWN)
    assert (one.row["height"], one.row["width"]) == (plain.row["height"], plain.row["width"])


def test_a_centre_on_background_is_suspect_ignored_and_changes_nothing_else() -> None:
    plain = sample({"film": png(grey_film(*SIZE))}, **DOCUMENTED)
    one = sample({"film": png(grey_film(*SIZE))}, (circle(330, 520, 30),), **DOCUMENTED, **DRAWN)
    assert one.row["quality_flags"] == [QualityFlag.GEOMETRY_SUSPECT]
    assert one.lesions[0]["flags"] == [LesionFlag.SUSPECT]
    assert one.lesions[0]["area_mm2"] is None
    assert one.row["annotation"] == "partial"
    assert one.image == plain.image
    assert one.mask is not None
    assert set(np.unique(decode_mask(one.mask))) <= {0, 255}


def test_a_lost_mask_lowers_the_annotation_and_keeps_the_label() -> None:
    good = np.zeros(SIZE, np.uint8)
    good[250:300, 50:90] = 255
    files = {"film": png(grey_film(*SIZE)), "1/a": png(good), "2/a": png(good * 0)}
    lesions = (masked("1"), masked("2"))
    one = sample(files, lesions, pathology=Pathology.BENIGN, **DRAWN)
    assert one.row["annotation"] == "partial"
    assert one.row["quality_flags"] == [QualityFlag.MASK_EMPTY]
    none = sample({"film": files["film"], "2/a": files["2/a"]}, lesions[1:], **DRAWN)
    assert none.row["annotation"] == "none"
    assert none.row["annotation_kind"] is None
    assert none.mask is None
    assert none.row["n_lesions"] == 1


def test_a_normal_film_has_an_empty_mask_and_an_unannotated_one_has_none() -> None:
    normal = sample({"film": png(grey_film(*SIZE))}, annotation=Annotation.COMPLETE)
    assert normal.mask is not None
    assert not decode_mask(normal.mask).any()
    assert sample({"film": png(grey_film(*SIZE))}).mask is None


def test_the_mask_can_be_drawn_again_from_the_rows() -> None:
    mask = np.zeros(SIZE, np.uint8)
    mask[250:300, 50:90] = 255
    mask[260:270, 60:70] = 0
    files = {"film": png(grey_film(*SIZE)), "1/a": png(mask)}
    lesions = (masked(), replace(circle(91.3, 300.7, 17.9), lesion_id="2"))
    one = sample(files, lesions, spec=Spec(pixel_mm=0.23), **DOCUMENTED, **DRAWN)
    rows = to_table(
        [{**one.row, "sample_id": "a", "split": "train", "split_origin": "hash"}], SAMPLE_SCHEMA
    )
    table = to_table([{**lesion, "sample_id": "a"} for lesion in one.lesions], LESION_SCHEMA)
    again = draw_labels(rows.to_pylist()[0], table.to_pylist())
    assert one.mask is not None
    assert np.array_equal(again, decode_mask(one.mask))


def test_a_side_that_disagrees_with_the_table_is_a_flag_not_a_fix() -> None:
    one = sample({"film": png(grey_film(*SIZE))}, laterality=Laterality.R)
    assert one.row["quality_flags"] == [QualityFlag.LATERALITY_CONFLICT]
    assert one.row["laterality"] == "R"
    assert one.row["orientation"] == "identity"


def test_patient_orientation_says_how_the_picture_hangs() -> None:
    data = dicom(grey_film(*SIZE), PatientOrientation=["A", "F"])
    assert sample({"film": data}, laterality=Laterality.R).row["quality_flags"] == []


def test_monochrome1_with_padding_becomes_bright_tissue_on_black() -> None:
    grey = grey_film(*SIZE, depth=np.uint16) >> 4
    dark = (4095 - grey).astype(np.uint16)
    dark[~breast(*SIZE)] = 4095
    tags = {"BitsStored": 12, "PhotometricInterpretation": "MONOCHROME1", "PixelPaddingValue": 4095}
    one = sample({"film": dicom(dark, **tags)}, info=release(TissueRule.DIGITAL))
    bright = np.where(breast(*SIZE), grey, 0).astype(np.uint16)
    plain = sample({"film": dicom(bright, BitsStored=12)}, info=release(TissueRule.DIGITAL))
    first, second = decode_image(one.image).astype(int), decode_image(plain.image).astype(int)
    assert one.row["photometric"] == "MONOCHROME1"
    assert np.abs(first - second).max() <= 2
    assert one.row["window"][0] > one.row["window"][1]


@pytest.mark.parametrize(
    ("data", "reason", "stage"),
    [
        (b"<html>", "not_an_image", "decode"),
        (b"", "not_an_image", "decode"),
        (png(grey_film(*SIZE))[:500], "truncated", "decode"),
        (png(np.full((50, 50), 7, np.uint8)), "blank", "decode"),
        (png(np.dstack([grey_film(*SIZE)] * 2 + [grey_film(*SIZE) // 2])), "not_grey", "decode"),
        (png(grey_film(300, 300)), "size_conflict", "kernel"),
        (dicom(np.stack([grey_film(*SIZE)] * 3)), "size_conflict", "decode"),
        (dicom((grey_film(*SIZE)).astype(np.uint32)), "unsupported", "decode"),
    ],
)
def test_what_cannot_be_a_sample_is_a_reject_with_its_reason(
    data: bytes, reason: str, stage: str
) -> None:
    result = made({"film": data}, image_size=SIZE)
    assert isinstance(result, Reject)
    assert (result.reason, result.stage, result.film_key, result.file) == (
        reason,
        stage,
        "one",
        "film",
    )
    assert len(result.detail) > 10


def test_a_frame_or_the_largest_value_of_all_frames_can_be_asked_for() -> None:
    stack = np.stack([grey_film(*SIZE), grey_film(*SIZE) // 2])
    single = sample({"film": dicom(stack)}, frame=0, frame_kind=FrameKind.SLICE)
    largest = sample({"film": dicom(stack)}, frame_kind=FrameKind.MIP)
    assert single.row["native_frames"] == largest.row["native_frames"] == 2
    assert single.image == largest.image


def test_a_frame_that_the_file_does_not_have_is_a_reject() -> None:
    result = made({"film": dicom(np.stack([grey_film(*SIZE)] * 2))}, frame=2)
    assert isinstance(result, Reject)
    assert (result.reason, result.stage) == ("size_conflict", "decode")
    assert "frames 2 to 2 were asked for: the file has 2" in result.detail


def test_a_read_error_is_no_reject() -> None:
    from etl.pixels.standardise import standardise
    from tests.pixels.helpers import film

    def broken(ref: object) -> bytes:
        raise StoreError("the disk is gone")

    with pytest.raises(StoreError, match="the disk is gone"):
        standardise(film(), broken, Spec(), release())


def test_the_row_fits_the_contract_and_says_nothing_private() -> None:
    words = RawWords(label="MALIGNANT", status="seen 2016-10-04", view="CC")
    one = sample({"film": png(grey_film(*SIZE))}, raw=words, pair_key="p", exam_key="e")
    row = {**one.row, "sample_id": "a", "split": "train", "split_origin": "hash"}
    assert to_table([row], SAMPLE_SCHEMA).num_rows == 1
    assert row["raw"] == {
        "label": "MALIGNANT", "status": None, "view": "CC", "density": None, "finding": None,
    }  # fmt: skip
    assert (row["patient_id"], row["split_key"], row["pair_key"]) == (
        "test:anna",
        "test:anna",
        "test:p",
    )
    assert json.loads(row["spec"])["pixel_mm"] == 0.1


def test_digests_are_those_of_the_files_in_order() -> None:
    files = {"film": png(grey_film(*SIZE)), "1/a": png(np.zeros(SIZE, np.uint8)), "1/b": b"junk"}
    alone = sample({"film": files["film"]}).row["source_sha256"]
    assert alone == hashlib.sha256(files["film"]).hexdigest()
    digests = "".join(hashlib.sha256(data).hexdigest() for data in files.values())
    every = sample(files, (masked(),)).row["source_sha256"]
    assert every == hashlib.sha256(digests.encode()).hexdigest()


def test_both_payloads_hold_the_same_pixels() -> None:
    data = {"film": png(grey_film(*SIZE))}
    portable, fast = sample(data), sample(data, spec=Spec(payload="jxl"))
    assert np.array_equal(decode_image(portable.image), decode_image(fast.image))


def test_the_same_film_gives_the_same_bytes() -> None:
    data = {"film": png(grey_film(*SIZE))}
    first, again = (sample(data, (circle(100, 300, 9),), **DRAWN) for _ in range(2))
    assert first == again
