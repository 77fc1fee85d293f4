"""Windows against pydicom's float arithmetic and against the slow obvious way."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.pixels import apply_modality_lut, apply_voi_lut

from etl.pixels.decode import Picture, load
from etl.pixels.window import choose, tissue_range
from schemas.film import FileRef
from schemas.release import TissueRule
from schemas.vocabulary import FrameKind, WindowKind
from tests.pixels.helpers import dicom

RNG = np.random.default_rng(3)
DEEP = RNG.integers(0, 4096, (40, 30)).astype(np.uint16)


def read(array: np.ndarray[Any, Any], **tags: Any) -> Picture:
    data = dicom(array, **tags)
    return load(data, FileRef(role="image", path="a.dcm", size=len(data)), None, FrameKind.IMAGE)


def device(picture: Picture) -> np.ndarray[Any, np.dtype[np.uint16]]:
    levels = choose(picture, "device", False, (0.0, 1.0))
    assert levels.kind is WindowKind.DEVICE
    return levels.apply(picture.array)


def by_pydicom(array: np.ndarray[Any, Any], bits: int, **tags: Any) -> np.ndarray[Any, Any]:
    header = Dataset()
    header.PhotometricInterpretation = "MONOCHROME2"
    header.BitsStored = bits
    header.PixelRepresentation = int(array.dtype.kind == "i")
    for keyword, value in tags.items():
        setattr(header, keyword, value)
    out = apply_voi_lut(apply_modality_lut(array, header), header).astype(float)
    low, high = (
        (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if array.dtype.kind == "i" else (0, 2**bits - 1)
    )
    slope, intercept = float(tags.get("RescaleSlope", 1)), float(tags.get("RescaleIntercept", 0))
    ends = sorted((low * slope + intercept, high * slope + intercept))
    return (out - ends[0]) / (ends[1] - ends[0]) * 65535


@given(
    st.sampled_from(["LINEAR", "LINEAR_EXACT", "SIGMOID"]),
    st.floats(-500, 4500),
    st.floats(1.5, 6000),
    st.sampled_from([0.5, 1.0, 2.0]),
    st.sampled_from([0.0, -1000.0, 37.0]),
)
@settings(max_examples=60, deadline=None)
def test_every_window_function_equals_pydicoms(
    function: str, center: float, width: float, slope: float, intercept: float
) -> None:
    tags = {
        "WindowCenter": round(center, 2), "WindowWidth": round(width, 2),
        "VOILUTFunction": function,
        "RescaleSlope": slope, "RescaleIntercept": intercept,
    }  # fmt: skip
    got = device(read(DEEP, BitsStored=12, **tags))
    assert np.abs(got - by_pydicom(DEEP, 12, **tags)).max() <= 1


def test_a_window_of_width_one_is_a_step() -> None:
    got = device(read(DEEP, BitsStored=12, WindowCenter=2000, WindowWidth=1))
    assert np.array_equal(got, np.where(DEEP > 1999.5, 65535, 0))


def test_signed_pixels_use_their_sign() -> None:
    stored = RNG.integers(-2000, 2000, (30, 30)).astype(np.int16)
    for function in ("LINEAR", "SIGMOID"):
        tags = {"WindowCenter": 100.0, "WindowWidth": 900.0, "VOILUTFunction": function}
        expected = by_pydicom(stored, 16, **tags)
        assert np.abs(device(read(stored, **tags)) - expected).max() <= 1


def lut(first: int, values: np.ndarray[Any, Any], bits: int) -> Dataset:
    item = Dataset()
    item.LUTDescriptor = [len(values), first, bits]
    item.LUTData = values.astype("<u2").tobytes()
    item["LUTData"].VR = "OW"
    return item


def test_a_voi_table_is_looked_up() -> None:
    values = (np.sqrt(np.arange(3000) / 2999) * 4095).astype(np.uint16)
    got = device(read(DEEP, BitsStored=12, VOILUTSequence=[lut(500, values, 12)]))
    expected = values[np.clip(DEEP.astype(int) - 500, 0, 2999)] / 4095 * 65535
    assert np.abs(got - expected).max() <= 0.5


def test_a_modality_table_comes_before_the_window() -> None:
    table = lut(0, (4095 - np.arange(4096)), 16)
    table.ModalityLUTType = "US"
    picture = read(
        DEEP, BitsStored=12, ModalityLUTSequence=[table], WindowCenter=1000, WindowWidth=500
    )
    expected = np.clip(((4095.0 - DEEP) - 999.5) / 499 + 0.5, 0, 1) * 65535
    assert np.abs(device(picture) - expected).max() <= 0.5


@pytest.mark.parametrize("function", ["LINEAR", "SIGMOID"])
def test_monochrome1_is_inverted_after_its_window(function: str) -> None:
    tags = {"BitsStored": 12, "WindowCenter": 1500, "WindowWidth": 2000, "VOILUTFunction": function}
    plain = device(read(DEEP, **tags)).astype(int)
    dark = read(DEEP, PhotometricInterpretation="MONOCHROME1", **tags)
    assert np.abs(65535 - plain - device(dark)).max() <= 1
    low, high = choose(dark, "device", False, (0.0, 1.0)).window
    assert low > high


@pytest.mark.parametrize("function", ["LINEAR", "SIGMOID"])
def test_padding_is_black_whatever_the_window_says(function: str) -> None:
    stored = DEEP.copy()
    stored[:5] = 4000
    picture = read(
        stored, BitsStored=12, PixelPaddingValue=4000, WindowCenter=2000, WindowWidth=2000,
        VOILUTFunction=function,
    )  # fmt: skip
    got = device(picture)
    assert not got[stored == 4000].any()
    assert got[(stored > 3500) & (stored != 4000)].all()


def test_a_padding_range_is_black_and_no_tissue() -> None:
    stored = DEEP.copy()
    stored[:5] = 4090
    picture = read(stored, BitsStored=12, PixelPaddingValue=4095, PixelPaddingRangeLimit=4080)
    view, invalid = picture.view(1)
    assert invalid is not None
    assert np.array_equal(invalid, stored >= 4080)
    assert view.shape == stored.shape


def test_without_a_legal_window_the_tissue_decides() -> None:
    picture = read(DEEP, BitsStored=12, WindowCenter=2000, WindowWidth=0)
    levels = choose(picture, "device", False, (1000.0, 3000.0))
    assert levels.kind is WindowKind.TISSUE
    expected = np.rint(np.clip((DEEP.astype(float) - 1000) / 2000, 0, 1) * 65535)
    assert np.abs(levels.apply(picture.array) - expected).max() <= 1


@pytest.mark.parametrize(("wanted", "already"), [("none", False), ("device", True)])
def test_windowed_releases_are_only_stretched_to_sixteen_bits(wanted: Any, already: bool) -> None:
    stored = RNG.integers(0, 256, (20, 20)).astype(np.uint8)
    picture = read(stored, WindowCenter=10, WindowWidth=5)
    levels = choose(picture, wanted, already, (1.0, 2.0))
    assert levels.kind is WindowKind.NONE
    assert np.array_equal(levels.apply(picture.array), stored.astype(np.uint16) * 257)
    assert levels.window == (0, 255)


@pytest.mark.parametrize(
    ("window", "brightest", "kind"),
    [
        ((128, 256), 880.0, WindowKind.TISSUE),
        ((32768, 65536), 880.0, WindowKind.TISSUE),
        ((32768, 65536), 60000.0, WindowKind.NONE),
        ((32000, 60000), 60000.0, WindowKind.DEVICE),
    ],
    ids=["window of 8 bits", "range hardly used", "whole range", "a window that fits"],
)
def test_sixteen_bits_in_a_windowed_release_are_seen(
    window: tuple[int, int], brightest: float, kind: WindowKind
) -> None:
    stored = np.linspace(0, brightest, 400).reshape(20, 20).astype(np.uint16)
    picture = read(stored, BitsStored=16, WindowCenter=window[0], WindowWidth=window[1])
    levels = choose(picture, "device", True, (5.0, brightest))
    assert levels.kind is kind
    assert levels.apply(picture.array).max() > 0.9 * 65535


def test_the_tissue_window_is_taken_inside_the_tissue() -> None:
    levels = RNG.normal(500, 30, (200, 200))
    levels[:100] = 9000
    inside = np.zeros((200, 200), dtype=bool)
    inside[100:] = True
    low, high = tissue_range(levels, inside, TissueRule.FILM)
    assert (low, high) == pytest.approx((500 - 3.09 * 30, 500 + 3.09 * 30), abs=8)


def test_a_subtraction_is_windowed_about_its_background() -> None:
    levels = np.full((100, 100), 2000.0)
    levels[20:60, :50] += RNG.normal(0, 100, (40, 50))
    low, high = tissue_range(levels, levels != 2000, TissueRule.SUBTRACTION)
    assert (low + high) / 2 == pytest.approx(2000)
    assert high - low == pytest.approx(2 * 3.3 * 100, rel=0.2)


def test_one_grey_level_in_the_tissue_is_no_division_by_zero() -> None:
    low, high = tissue_range(np.full((9, 9), 7.0), np.ones((9, 9), dtype=bool), TissueRule.FILM)
    assert (low, high) == (7, 8)


def test_deeper_pixels_of_a_windowed_release_are_windowed() -> None:
    picture = read(DEEP, BitsStored=12, WindowCenter=2000, WindowWidth=1000)
    assert choose(picture, "device", True, (1500.0, 2500.0)).kind is WindowKind.DEVICE
