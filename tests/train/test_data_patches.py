"""Patches: one a lesion, millimetres, background clear of everything drawn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

import schemas
from mammo_train.data.augment import PATCH_AUGMENTATION, change_for
from mammo_train.data.dataset import make_loader
from mammo_train.data.draws import PADDING, BatchPlan, Draw, fixed_patches, patch_draws
from mammo_train.data.patches import (
    PatchTransform,
    background_place,
    cut_patch,
    standardise_patch,
)
from mammo_train.data.selection import build_selections
from tests.train.corpus import Mark, TinyFilm, write_corpus


def dots(height: int, width: int, *at: tuple[float, float], r: float = 8) -> npt.NDArray[np.uint16]:
    y, x = np.mgrid[:height, :width] + 0.5
    image = np.full((height, width), 10000, np.uint16)
    for cx, cy in at:
        image[np.hypot(x - cx, y - cy) < r] = 50000
    return image


def draw(**changes: object) -> Draw:
    plain = PADDING._replace(sample_id="s", mm=0.1, seed=3, weight=1.0, row=0, label=2)
    return plain._replace(**changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("at", [(100.0, 150.0), (103.5, 77.25), (20.0, 290.0)])
def test_patch_is_centred_on_its_point(at: tuple[float, float]) -> None:
    patch = cut_patch(dots(300, 200, at), 0.1, *at, patch_mm=6.4, patch_px=32)
    bright = patch > 0.5
    y, x = np.nonzero(bright)
    assert abs(x.mean() + 0.5 - 16) < 0.5
    assert abs(y.mean() + 0.5 - 16) < 0.5


@pytest.mark.parametrize("mm", [0.05, 0.1, 0.2, 0.5])
def test_a_lesion_of_so_many_millimetres_has_one_size(mm: float) -> None:
    n = int(100 / mm)
    image = dots(n, n, (n / 2, n / 2), r=10 / mm)
    patch = cut_patch(image, mm, n / 2, n / 2, patch_mm=40, patch_px=80)
    expected = np.pi * 10**2 / 0.5**2
    assert (patch > 0.46).sum() == pytest.approx(expected, rel=0.03)


def test_patch_beyond_the_film_is_zero_there() -> None:
    patch = cut_patch(dots(100, 100), 0.1, 0.0, 50.0, patch_mm=4.0, patch_px=40)
    assert not patch[:, :19].any()
    assert (patch[:, 21:] > 0).all()


def test_patch_off_the_film_is_all_zero() -> None:
    patch = cut_patch(dots(100, 100), 0.1, 500.0, 50.0, patch_mm=4.0, patch_px=40)
    assert patch.shape == (40, 40)
    assert not patch.any()


def test_turned_patch_has_no_corner_cut_off() -> None:
    image = dots(400, 400)
    for seed in range(20):
        change = change_for(seed, PATCH_AUGMENTATION)
        patch = cut_patch(image, 0.1, 200, 200, patch_mm=10, patch_px=50, change=change)
        assert (patch > 0).all()


def test_standardised_patch_forgets_gain_and_offset() -> None:
    rng = np.random.default_rng(2)
    patch = rng.uniform(0.2, 0.6, (32, 32)).astype(np.float32)
    patch[:, :8] = 0
    other = np.where(patch > 0, patch * 0.8 + 0.1, 0).astype(np.float32)
    assert np.allclose(standardise_patch(patch), standardise_patch(other), atol=0.02)
    assert not standardise_patch(patch)[:, :8].any()


def test_dark_rim_does_not_flatten_the_tissue() -> None:
    rng = np.random.default_rng(2)
    patch = rng.normal(0.5, 0.05, (64, 64)).astype(np.float32)
    patch[:, :20] = 0.01
    levels = standardise_patch(patch)
    assert levels[:, 20:].std() == pytest.approx(1, abs=0.5)
    assert levels[:, :18].max() < -4


def test_two_lesions_are_two_patches_of_their_own_class(tmp_path: Path) -> None:
    marks = (Mark("benign", 30, 40), Mark("malignant", 70, 110))
    write_corpus(str(tmp_path), [TinyFilm("two", "two", "train", marks, size=(160, 140))])
    corpus = schemas.open(str(tmp_path))
    train = build_selections(corpus, "pretrain-classifier").train
    draws = fixed_patches(train, background_per_film=1)
    transform = PatchTransform(patch_mm=16, patch_px=32)
    batch = next(iter(make_loader(corpus.store, BatchPlan(draws, 3), transform)))
    assert batch["target"].tolist() == [1, 2, 0]
    middle = batch["image"][:2, 0, 12:20, 12:20].mean(dim=(1, 2))
    assert (middle > 0.5).all()


def test_film_without_a_drawn_lesion_never_gets_a_lesion_label(tmp_path: Path) -> None:
    films = [
        TinyFilm("b", "b", "train", (Mark("benign", 40, 60),)),
        TinyFilm("m", "m", "train", (Mark("malignant", 40, 60),)),
        TinyFilm("empty", "e", "train", (Mark("benign", 40, 60, drawn=False),)),
        TinyFilm("hidden", "h", "train", pathology="malignant", annotation="none"),
        TinyFilm("normal", "n", "train"),
    ]
    write_corpus(str(tmp_path), films)
    train = build_selections(schemas.open(str(tmp_path)), "pretrain-classifier").train
    draws = patch_draws(train, 1, 0, size=300)
    labels = {str(train.ids[f]): set() for f in range(len(train))}
    for film, label in zip(draws.film, draws.label, strict=True):
        labels[str(train.ids[film])].add(int(label))
    assert labels["mias-hidden"] == set()
    assert labels["mias-empty"] == {0}
    assert labels["mias-normal"] == {0}


@pytest.mark.parametrize("value", [1, 2, 3, 255])
def test_background_keeps_clear_of_everything_drawn(value: int) -> None:
    image = np.full((400, 300), 20000, np.uint16)
    mask = np.zeros((400, 300), np.uint8)
    mask[150:200, 100:150] = value
    for seed in range(100):
        place = background_place(image, mask, side=64, margin=10, seed=seed)
        assert place is not None
        x, y = place
        inside = mask[max(0, int(y - 42)) : int(y + 42), max(0, int(x - 42)) : int(x + 42)]
        assert not inside.any()


def test_background_lies_on_tissue() -> None:
    image = np.zeros((400, 300), np.uint16)
    image[100:300, :120] = 20000
    for seed in range(100):
        place = background_place(image, None, side=64, margin=10, seed=seed)
        assert place is not None
        x, y = place
        assert x < 120 - 14
        assert 100 + 14 < y < 300 - 14


def test_background_places_spread() -> None:
    image = np.full((400, 300), 20000, np.uint16)
    places = np.array([background_place(image, None, 64, 10, seed) for seed in range(300)])
    assert (places.std(axis=0) > [50, 70]).all()


def test_film_without_a_free_place_has_no_weight() -> None:
    image = np.full((100, 100), 20000, np.uint16)
    mask = np.full((100, 100), 1, np.uint8)
    item = PatchTransform(4, 32)(draw(label=0), image, mask)
    assert item["weight"] == 0


def test_a_place_that_is_given_is_taken_whatever_the_class() -> None:
    image = dots(300, 200, (100, 150))
    transform = PatchTransform(6.4, 32)
    items = [transform(draw(label=c, x=100.0, y=150.0), image, None)["image"] for c in (0, 1, 2)]
    assert np.array_equal(items[0], items[1])
    assert np.array_equal(items[0], items[2])


def test_lesion_without_a_place_has_no_weight() -> None:
    assert PatchTransform(6.4, 32)(draw(label=1), dots(300, 200), None)["weight"] == 0


def test_masks_are_read_for_background_alone() -> None:
    transform = PatchTransform(4, 32)
    assert transform.needs_mask(draw(label=0, mask_size=10))
    assert not transform.needs_mask(draw(label=0, mask_size=0))
    assert not transform.needs_mask(draw(label=2, mask_size=10, x=1.0, y=1.0))
