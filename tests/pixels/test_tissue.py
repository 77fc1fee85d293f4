from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from etl.pixels.tissue import dilated, find_tissue, view_stride
from schemas.release import TissueRule
from tests.pixels.helpers import breast, texture

SIZE = (512, 400)
FILM, DIGITAL = TissueRule.FILM, TissueRule.DIGITAL
Grey = np.ndarray[Any, np.dtype[np.uint16]]


def film_view(*, right: bool = False, fog: int = 4000) -> Grey:
    """A digitised film: fog with noise, a breast whose rim fades over 20 pixels."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]] + 0.5
    radius = np.hypot((y - 256) / 205, x / 240)
    fade = np.clip((1 - radius) / 0.1, 0, 1)
    noise = np.random.default_rng(1).normal(0, 300, SIZE)
    grey = fog + noise + fade * (16000 + 150 * texture(*SIZE))
    grey = np.clip(grey, 0, 65535).astype(np.uint16)
    return np.ascontiguousarray(grey[:, ::-1]) if right else grey


def overlap(mask: np.ndarray[Any, Any], truth: np.ndarray[Any, Any]) -> float:
    found = mask > 0
    return float((found & truth).sum() / (found | truth).sum())


@pytest.mark.parametrize("right", [False, True])
def test_a_breast_on_fog_is_found_to_its_skin_on_its_side(right: bool) -> None:
    truth = breast(*SIZE, right=right)
    tissue = find_tissue(film_view(right=right), FILM)
    assert tissue.chest_left is not right
    assert not tissue.unsure
    assert overlap(tissue.mask, truth) > 0.95
    grown = dilated(tissue, 0.02 * 410) > 0
    assert (grown & truth).sum() >= 0.999 * truth.sum()


def with_labels(grey: Grey) -> Grey:
    grey[30:90, 300:380] = 60000
    grey[420:440, 350:390] = 50000
    return grey


def with_bright_edges(grey: Grey) -> Grey:
    grey[:5], grey[-5:], grey[:, -5:], grey[:, :3] = 65535, 65535, 65535, 65535
    return grey


def with_wedge(grey: Grey) -> Grey:
    grey[:, 370:] = np.linspace(20000, 65000, SIZE[0]).astype(np.uint16)[:, None]
    return grey


def with_padding(grey: Grey) -> Grey:
    """mini-MIAS: blank columns beside the chest wall."""
    grey = np.roll(grey, 60, axis=1)
    grey[:, :60] = 0
    return grey


@pytest.mark.parametrize("disturb", [with_labels, with_bright_edges, with_wedge])
def test_labels_edges_and_wedges_are_not_the_breast(disturb: Any) -> None:
    tissue = find_tissue(disturb(film_view()), FILM)
    assert tissue.chest_left
    assert overlap(tissue.mask, breast(*SIZE)) > 0.9


def test_blank_columns_beside_the_chest_wall_do_not_hide_its_side() -> None:
    for right in (False, True):
        grey = with_padding(film_view())
        tissue = find_tissue(np.ascontiguousarray(grey[:, ::-1]) if right else grey, FILM)
        assert tissue.chest_left is not right


def test_a_breast_that_fills_its_film_is_hung_as_the_table_says() -> None:
    grey = (20000 + 100 * texture(*SIZE)).astype(np.uint16)
    grey[460:, 150:250] = 0
    grey[:40, 180:220] = 0
    for expected in (True, False):
        assert find_tissue(grey, FILM, expect_left=expected).chest_left is expected


def test_the_table_does_not_overrule_a_clear_picture() -> None:
    assert find_tissue(film_view(), FILM, expect_left=False).chest_left


def test_a_digital_background_is_one_value_and_fat_is_kept_to_the_skin() -> None:
    truth = breast(*SIZE)
    grey = np.where(truth, 900 + 300 * texture(*SIZE), 0).astype(np.uint16)
    grey[20:40, 300:380] = 65535  # burned-in text
    tissue = find_tissue(grey, DIGITAL)
    assert tissue.chest_left
    assert overlap(tissue.mask, truth) > 0.97


def test_padding_is_never_tissue() -> None:
    truth = breast(*SIZE)
    grey = np.where(truth, 20000 + 100 * texture(*SIZE), 0).astype(np.uint16)
    grey[:, 380:] = 60000
    tissue = find_tissue(grey, DIGITAL, invalid=grey == 60000)
    assert overlap(tissue.mask, truth) > 0.97


def test_a_breast_in_noisy_air_is_found_without_its_holes() -> None:
    truth = breast(*SIZE)
    noise = np.random.default_rng(2).rayleigh(800, SIZE)
    grey = np.where(truth, 20000 + 250 * texture(*SIZE), noise)
    grey[200:230, 60:90] = 900
    tissue = find_tissue(grey.astype(np.uint16), TissueRule.MRI)
    assert overlap(tissue.mask, truth) > 0.93


def test_a_subtraction_is_told_by_leaving_the_constant() -> None:
    truth = breast(*SIZE)
    grey = np.where(truth, 30000 + 120 * (texture(*SIZE) - 48), 30000).astype(np.uint16)
    tissue = find_tissue(grey, TissueRule.SUBTRACTION)
    assert overlap(tissue.mask, truth) > 0.93


def test_an_image_without_breast_is_kept_whole_and_said_to_be_unsure() -> None:
    grey = np.full(SIZE, 5000, dtype=np.uint16)
    grey[250:255, 200:205] = 60000
    for rule in (FILM, DIGITAL):
        tissue = find_tissue(grey, rule)
        assert tissue.unsure
        assert tissue.mask.all()


def test_a_film_with_only_a_strip_of_breast_keeps_what_touches_the_side() -> None:
    grey = np.random.default_rng(5).normal(3000, 100, SIZE).astype(np.uint16)
    grey[100:400, :14] = 30000
    tissue = find_tissue(grey, FILM)
    assert tissue.unsure
    assert (tissue.mask[150:350, :10] > 0).all()


@pytest.mark.parametrize(
    ("shape", "stride"), [((4096, 3328), 8), ((1024, 1024), 2), ((300, 200), 1), ((9000, 9000), 8)]
)
def test_views_are_about_512_pixels_long(shape: tuple[int, int], stride: int) -> None:
    assert view_stride(shape) == stride


def subtraction(*, right: bool, enhanced: bool) -> Grey:
    """A noisy 8-bit mid-grey picture: a breast darker and brighter than its background."""
    truth = breast(*SIZE, right=right)
    row, column = np.mgrid[: SIZE[0], : SIZE[1]]
    levels = np.where(truth, 128 + 14 * np.sin(row / 19) * np.cos(column / 23), 128)
    if enhanced:
        x = 60 if not right else SIZE[1] - 60
        levels[(row - SIZE[0] // 2) ** 2 + (column - x) ** 2 < 20**2] = 235
    noisy = levels + np.random.default_rng(3).normal(0, 0.6, SIZE)
    return (257 * np.round(noisy)).astype(np.uint16)


@pytest.mark.parametrize("right", [False, True], ids=["left", "right"])
@pytest.mark.parametrize("enhanced", [False, True])
def test_a_noisy_subtraction_is_found_on_either_side(right: bool, enhanced: bool) -> None:
    tissue = find_tissue(subtraction(right=right, enhanced=enhanced), TissueRule.SUBTRACTION)
    assert not tissue.unsure
    assert tissue.chest_left is not right
    assert overlap(tissue.mask, breast(*SIZE, right=right)) > 0.93
