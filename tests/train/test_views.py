"""Windows, hidden blocks and the changes that are off by default, on made pictures."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from mammo_train.data.augment import FILM_AUGMENTATION, VIEW_AUGMENTATION, Augmentation, change_for
from mammo_train.data.draws import PADDING
from mammo_train.data.views import BlocksTransform, ViewsTransform, hide_blocks, place_window

NOTHING = Augmentation(0, 0, 0, flip_rows=False, gamma=0, contrast=0, noise=0)


def half_disc(height: int = 96, width: int = 64) -> np.ndarray:
    """Tissue at the left edge with a texture, float32 in [0, 1]; air is 0."""
    y, x = np.mgrid[:height, :width]
    inside = ((y - height / 2) / (height / 2)) ** 2 + (x / (0.7 * width)) ** 2 < 1
    texture = 0.5 + 0.2 * np.sin(x / 3) * np.cos(y / 4)
    return np.where(inside, texture, 0).astype(np.float32)


def test_what_is_switched_on_moves_no_number_of_the_others() -> None:
    more = replace(FILM_AUGMENTATION, blur=2.0, elastic=3.0, clahe=0.5, marker=0.5)
    for seed in range(20):
        one, two = change_for(seed, FILM_AUGMENTATION), change_for(seed, more)
        assert np.array_equal(one.matrix, two.matrix)
        assert (one.shift, one.gamma, one.contrast, one.noise) == (
            two.shift, two.gamma, two.contrast, two.noise,
        )  # fmt: skip
        assert (one.blur, one.elastic, one.clahe, one.marker) == (0.0, 0.0, False, False)


@pytest.mark.parametrize("name", ["clahe", "marker"])
def test_shares_are_shares_of_the_draws(name: str) -> None:
    settings = replace(NOTHING, **{name: 0.3})
    share = np.mean([getattr(change_for(seed, settings), name) for seed in range(2000)])
    assert share == pytest.approx(0.3, abs=0.04)


@pytest.mark.parametrize("option", [{"blur": 3.0}, {"clahe": 1.0}])
def test_blur_and_equalisation_change_tissue_and_leave_air_black(option: dict[str, float]) -> None:
    image = half_disc()
    made = change_for(5, replace(NOTHING, **option)).grey(image)
    assert np.array_equal(made == 0, image == 0)
    assert not np.array_equal(made, image)


def test_blur_does_not_darken_the_rim() -> None:
    flat = np.where(half_disc() > 0, 0.5, 0).astype(np.float32)
    made = change_for(5, replace(NOTHING, blur=3.0)).grey(flat)
    assert np.abs(made[flat > 0] - 0.5).max() < 1e-5


def test_a_mask_bends_with_its_image() -> None:
    image = np.zeros((64, 64), np.float32)
    cv2.circle(image, (30, 34), 12, 1.0, -1)
    change = change_for(3, replace(NOTHING, elastic=6.0))
    bent, mask = change.bend(image), change.bend(image.astype(np.uint8), nearest=True)
    assert set(np.unique(mask)) == {0, 1}
    assert np.abs(bent - image).sum() > 20
    assert ((bent > 0.5) != (mask == 1)).mean() < 0.01


def test_a_marker_stands_in_the_air_alone() -> None:
    image = half_disc(192, 128)
    settings, drawn = replace(NOTHING, marker=1.0), 0
    for seed in range(20):
        made = change_for(seed, settings).grey(image)
        inside = image > 0
        assert np.allclose(made[inside], image[inside], atol=1e-6)
        drawn += bool((made[~inside] > 0.9).any())
    assert drawn >= 10


def test_windows_hold_breast_where_the_film_has_any() -> None:
    breast = np.zeros((200, 200), bool)
    breast[60:140, :80] = True
    shares = []
    for seed in range(200):
        y, x = place_window(breast, (64, 64), seed)
        assert 0 <= y <= 136
        assert 0 <= x <= 136
        shares.append(breast[y : y + 64, x : x + 64].mean())
    assert np.mean(np.array(shares) >= 0.3) > 0.8
    assert place_window(breast[:40], (64, 256), 1) == (0, 0)


def test_hidden_are_whole_blocks_with_breast_as_many_as_asked_for() -> None:
    breast = half_disc(96, 64) > 0
    with_breast = breast.reshape(12, 8, 8, 8).any(axis=(1, 3))
    seen = set()
    for seed in range(10):
        hidden = hide_blocks(breast, 8, 0.6, seed)
        cells = hidden.reshape(12, 8, 8, 8)
        assert np.array_equal(cells.any(axis=(1, 3)), cells.all(axis=(1, 3)))
        chosen = cells.any(axis=(1, 3))
        assert not (chosen & ~with_breast).any()
        assert chosen.sum() == round(0.6 * with_breast.sum())
        seen.add(chosen.tobytes())
    assert len(seen) == 10
    assert not hide_blocks(np.zeros((16, 16), bool), 8, 0.6, 1).any()


def test_a_draws_seed_decides_its_views_and_blocks() -> None:
    film = (half_disc(160, 120) * 60000).astype(np.uint16)
    views = ViewsTransform(64, 64, 0.5, VIEW_AUGMENTATION)
    blocks = BlocksTransform(64, 64, 0.5, 8, 0.6, replace(FILM_AUGMENTATION, marker=1.0))
    one, two = (PADDING._replace(seed=seed, weight=1.0, mm=0.5) for seed in (1, 2))
    made = views(one, film, None)["image"]
    assert made.shape == (2, 64, 64)
    assert np.array_equal(made, views(one, film, None)["image"])
    assert not np.array_equal(made, views(two, film, None)["image"])
    assert not np.array_equal(made[0], made[1])
    item = blocks(one, film, None)
    assert set(np.unique(item["hidden"])) == {0, 1}
    assert not (item["scored"] & ~item["hidden"]).any()
    scored = item["scored"] == 1
    assert (item["image"][scored] > 0).all()
    empty = blocks.padding()
    assert {name: part.shape for name, part in empty.items()} == {
        name: part.shape for name, part in item.items()
    }
