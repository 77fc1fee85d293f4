"""Canvas, target, augmentation, tiles: against slices, slow versions and round trips."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
import pytest

from mammo_train.data.augment import FILM_AUGMENTATION, Augmentation, change_for
from mammo_train.data.draws import PADDING, Draw
from mammo_train.data.tiles import (
    cut_tiles,
    grid_to_standard,
    join_tiles,
    predict_film,
    tile_origins,
)
from mammo_train.data.transforms import (
    GREY_UNIT,
    FilmTransform,
    SegmentTransform,
    image_to_grid,
    mask_to_grid,
)

RNG = np.random.default_rng(5)


def film(height: int = 120, width: int = 80) -> npt.NDArray[np.uint16]:
    return RNG.integers(1, 65536, (height, width)).astype(np.uint16)


def draw(seed: int = 3, **changes: object) -> Draw:
    plain = PADDING._replace(sample_id="s", shard="t", mm=0.1, seed=seed, weight=1.0, row=0)
    return plain._replace(**changes)  # type: ignore[arg-type]


def test_grid_averages_areas_as_the_slow_way_does() -> None:
    image = film(120, 80)
    slow = image.reshape(30, 4, 20, 4).mean(axis=(1, 3)) / 65535
    assert np.abs(image_to_grid(image, 0.1, 0.4) - slow).max() < 1e-4


def test_small_film_lies_at_the_upper_left_of_its_canvas() -> None:
    image = film(40, 30)
    item = SegmentTransform(64, 48, 0.1)(draw(), image, None)
    assert item["image"].shape == (1, 64, 48)
    expected = image.astype(np.float32) / 65535 / GREY_UNIT
    assert np.allclose(item["image"][0, :40, :30], expected, atol=1e-6)
    assert not item["image"][0, 40:].any()
    assert not item["image"][0, :, 30:].any()


def test_large_film_gives_a_window_that_is_a_plain_slice() -> None:
    image = np.arange(120 * 80, dtype=np.uint16).reshape(120, 80) * 6
    canvas = SegmentTransform(64, 48, 0.1)(draw(), image, None)["image"][0]
    first = round(float(canvas[0, 0]) * GREY_UNIT * 65535 / 6)
    y, x = divmod(first, 80)
    assert np.allclose(canvas * GREY_UNIT * 65535, image[y : y + 64, x : x + 48], atol=0.02)


def test_seed_chooses_the_window() -> None:
    image = film(300, 200)
    cut = SegmentTransform(64, 48, 0.1)
    pictures = [cut(draw(seed=s), image, None)["image"] for s in (1, 1, 2)]
    assert np.array_equal(pictures[0], pictures[1])
    assert not np.array_equal(pictures[0], pictures[2])


@pytest.mark.parametrize("at", [(3.0, 4.0), (100.0, 150.0), (199.0, 299.0)])
def test_window_holds_the_point_it_looks_at(at: tuple[float, float]) -> None:
    x, y = at
    mask = np.zeros((300, 200), np.uint8)
    mask[int(y), int(x)] = 2
    for seed in range(20):
        item = SegmentTransform(64, 48, 0.1)(draw(seed=seed, x=x, y=y), film(300, 200), mask)
        assert (item["target"] == 1).sum() == 1


def test_target_is_lesion_whatever_its_pathology_and_255_stays() -> None:
    mask = np.zeros((8, 8), np.uint8)
    mask[0:2, 0:2], mask[0:2, 4:6], mask[4:6, 0:2], mask[4:6, 4:6] = 1, 2, 3, 255
    target = mask_to_grid(mask, (4, 4))
    assert target.tolist() == [[1, 0, 1, 0], [0, 0, 0, 0], [1, 0, 255, 0], [0, 0, 0, 0]]


def test_lesion_smaller_than_half_a_pixel_keeps_one() -> None:
    mask = np.zeros((80, 80), np.uint8)
    mask[10:40, 10:40] = 1
    mask[60:63, 60:63] = 2
    target = mask_to_grid(mask, (10, 10))
    assert target[7, 7] == 1
    assert target[6:, 6:].sum() == 1


def test_target_of_no_mask_is_all_background() -> None:
    assert not mask_to_grid(None, (5, 5)).any()


def test_padding_is_ignored_everywhere() -> None:
    padding = SegmentTransform(32, 32, 0.1).padding()
    assert padding["weight"] == 0
    assert (padding["target"] == 255).all()


def test_nominal_and_real_spacing_lead_to_the_same_grid() -> None:
    assert image_to_grid(film(120, 80), 0.2, 0.4).shape == (60, 40)
    assert image_to_grid(film(60, 40), 0.4, 0.4).shape == (60, 40)


@pytest.mark.parametrize("seed", range(12))
def test_mask_follows_the_image(seed: int) -> None:
    y, x = np.mgrid[:200, :150]
    disc = (y - 90) ** 2 + (x - 60) ** 2 < 25**2
    image = np.where(disc, 60000, 10000).astype(np.uint16)
    plain = Augmentation(gamma=0, contrast=0, noise=0)
    transform = SegmentTransform(200, 150, 0.1, plain)
    item = transform(draw(seed=seed), image, disc.astype(np.uint8))
    bright = item["image"][0] > 35000 / 65535 / GREY_UNIT
    target = item["target"][0] == 1
    assert target.sum() > 1000
    assert 2 * (bright & target).sum() / (bright.sum() + target.sum()) > 0.99


def test_film_keeps_its_chest_wall_on_the_left() -> None:
    image = np.zeros((200, 200), np.uint16)
    image[:, :60] = 40000
    transform = SegmentTransform(200, 200, 0.1, FILM_AUGMENTATION)
    for seed in range(30):
        picture = transform(draw(seed=seed), image, None)["image"][0]
        columns = (picture > 0).mean(axis=0)
        assert columns[20:50].mean() > 0.5 > columns[100:].mean()


def test_background_stays_exactly_zero_under_augmentation() -> None:
    image = np.zeros((100, 100), np.uint16)
    image[20:80, :50] = 30000
    change = change_for(5, FILM_AUGMENTATION)
    grey = change.grey(image.astype(np.float32) / 65535)
    assert ((grey > 0) == (image > 0)).all()
    assert grey.max() <= 1


def test_changes_stay_within_their_limits() -> None:
    changes = [change_for(seed, FILM_AUGMENTATION) for seed in range(500)]
    angles = [np.degrees(np.arctan2(c.matrix[1, 0], c.matrix[0, 0])) for c in changes]
    sizes = [np.sqrt(abs(np.linalg.det(c.matrix))) for c in changes]
    assert 14 < np.abs(angles).max() <= 15
    assert 0.9 <= min(sizes) < 0.91
    assert 1.09 < max(sizes) <= 1.1
    flipped = np.mean([np.linalg.det(c.matrix) < 0 for c in changes])
    assert flipped == pytest.approx(0.5, abs=0.08)


@pytest.mark.parametrize(("length", "side"), [(10, 32), (32, 32), (33, 32), (100, 32), (257, 64)])
def test_tiles_cover_a_film_with_the_overlap_asked_for(length: int, side: int) -> None:
    origins = tile_origins(length, side, 0.25)
    assert origins[0] == 0
    assert origins[-1] == max(0, length - side)
    assert all(b - a <= side * 0.75 + 1 for a, b in itertools.pairwise(origins))


@pytest.mark.parametrize("shape", [(20, 50), (64, 48), (150, 131)])
def test_tiles_put_together_are_the_film(shape: tuple[int, int]) -> None:
    picture = RNG.random(shape, dtype=np.float32)
    tiles, origins = cut_tiles(picture, (64, 48))
    assert np.allclose(join_tiles(tiles[:, 0], origins, shape), picture, atol=1e-6)


def test_network_always_gets_full_batches() -> None:
    seen = []

    def predict(tiles: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        seen.append(tiles.shape)
        return tiles[:, 0] * 2

    picture = RNG.random((150, 131), dtype=np.float32)
    answer = predict_film(picture, (64, 48), predict, batch_size=5)
    assert np.allclose(answer, picture * 2, atol=1e-5)
    assert set(seen) == {(5, 1, 64, 48)}


def test_grid_points_return_to_standard_pixels() -> None:
    image, mask = film(301, 203), np.zeros((301, 203), np.uint8)
    mask[100:140, 60:90] = 1
    item = FilmTransform(0.37)(draw(mask_size=1), image, mask)
    ys, xs = np.nonzero(item["target"][0] == 1)
    box = [[xs.min(), ys.min()], [xs.max() + 1, ys.max() + 1]]
    standard = grid_to_standard(box, item["scale"])
    assert np.abs(standard - [[60, 100], [90, 140]]).max() <= 0.37 / 0.1 / 2 + 1e-6


def test_evaluation_sees_what_training_sees() -> None:
    image = film(40, 30)
    whole = FilmTransform(0.2)(draw(), image, None)["image"][0]
    canvas = SegmentTransform(32, 32, 0.2)(draw(), image, None)["image"][0]
    assert np.array_equal(canvas[:20, :15], whole)
