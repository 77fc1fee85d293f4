"""Draws of an epoch and the batches cut from them."""

from __future__ import annotations

import pickle
from collections import Counter

import numpy as np
import pytest

import schemas
from mammo_train.data.draws import (
    PADDING,
    BatchPlan,
    BatchSampler,
    Draws,
    film_draws,
    fixed_patches,
    patch_draws,
    segment_draws,
)
from mammo_train.data.selection import Selection, build_selections
from tests.train.corpus import Mark, TinyFilm, tiny_films, write_corpus


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Selection:
    root = str(tmp_path_factory.mktemp("corpus"))
    two = TinyFilm("two", "two", "train", (Mark("benign", 40, 50), Mark("malignant", 60, 100)))
    write_corpus(root, [*tiny_films(20), two])
    return build_selections(schemas.open(root), "pretrain-classifier").train


def columns(draws: Draws) -> list[list[float]]:
    return [draws.film.tolist(), draws.lesion.tolist(), draws.label.tolist(), draws.seed.tolist()]


def test_last_batch_is_filled_with_weight_zero(films: Selection) -> None:
    plan = BatchPlan(film_draws(films), 8)
    assert len(films) == 25
    assert len(plan) == 4
    assert [len(batch) for batch in plan] == [8] * 4
    assert plan[3][1:] == [PADDING] * 7
    assert PADDING.weight == 0
    assert PADDING.row == -1


def test_a_draw_says_where_the_bytes_are(films: Selection) -> None:
    draw = film_draws(films)[3]
    assert draw.sample_id == films.ids[3]
    assert draw.shard.startswith("shards/mias/train/")
    assert draw[2:8] == tuple(films.places[3].tolist())
    assert draw.mm == 0.5


def test_batches_pickle_small(films: Selection) -> None:
    plan = BatchPlan(segment_draws(films, 1, 0), 8)
    assert len(pickle.dumps(plan[0])) < 1500


def test_sampler_goes_on_from_any_batch(films: Selection) -> None:
    plan = BatchPlan(segment_draws(films, 1, 0), 4)
    sampler = BatchSampler(plan, start=3)
    assert len(sampler) == len(plan) - 3
    assert list(sampler) == list(plan)[3:]


def test_segment_visits_each_film_as_often_as_told(films: Selection) -> None:
    draws = segment_draws(films, 1, 0, tiles_per_film=3)
    assert Counter(draws.film.tolist()) == dict.fromkeys(range(len(films)), 3)
    assert len(set(draws.seed.tolist())) == len(draws)


def test_segment_looks_at_lesions_of_the_same_film(films: Selection) -> None:
    draws = segment_draws(films, 1, 0, tiles_per_film=40, lesion_tile_share=0.75)
    aimed = draws.lesion >= 0
    assert (films.lesions.film[draws.lesion[aimed]] == draws.film[aimed]).all()
    share = aimed[films.has_lesion[draws.film]].mean()
    assert share == pytest.approx(0.75, abs=0.05)
    two = films.ids.tolist().index("mias-two")
    assert len(set(draws.lesion[(draws.film == two) & aimed].tolist())) == 2


def test_segment_can_balance_films(films: Selection) -> None:
    draws = segment_draws(films, 1, 0, tiles_per_film=4, lesion_film_share=0.3)
    assert len(draws) == 100
    assert films.has_lesion[draws.film].sum() == 30


@pytest.mark.parametrize("epoch", [0, 1, 5])
def test_patch_classes_have_their_shares(films: Selection, epoch: int) -> None:
    draws = patch_draws(films, 1, epoch, size=100, background_share=0.34)
    assert Counter(draws.label.tolist()) == {0: 34, 1: 33, 2: 33}
    lesion = draws.lesion >= 0
    assert (films.lesions.label[draws.lesion[lesion]] == draws.label[lesion]).all()
    assert (draws.label[~lesion] == 0).all()


def test_repetition_uses_every_lesion_before_any_again(films: Selection) -> None:
    seen: Counter[int] = Counter()
    for epoch in range(9):
        seen.update(patch_draws(films, 1, epoch, size=12).lesion.tolist())
    del seen[-1]
    for label in (1, 2):
        counts = [seen[i] for i in np.flatnonzero(films.lesions.label == label)]
        assert max(counts) - min(counts) <= 1


def test_draws_are_a_function_of_seed_and_epoch(films: Selection) -> None:
    for make in (segment_draws, patch_draws):
        assert columns(make(films, 1, 4)) == columns(make(films, 1, 4))
        assert columns(make(films, 1, 4)) != columns(make(films, 1, 5))
        assert columns(make(films, 1, 4)) != columns(make(films, 2, 4))


def test_measured_patches_are_every_lesion_once_and_do_not_move(films: Selection) -> None:
    draws = fixed_patches(films, background_per_film=2)
    lesions = draws.lesion[draws.lesion >= 0]
    assert sorted(lesions.tolist()) == list(range(len(films.lesions)))
    assert (draws.label == 0).sum() == 2 * films.background.sum()
    assert len(set(draws.seed.tolist())) == len(draws)


def test_a_lesion_draw_looks_at_its_own_centre(films: Selection) -> None:
    draws = fixed_patches(films)
    two = films.ids.tolist().index("mias-two")
    centres = [(d.x, d.y, d.label) for d in (draws[k] for k in range(len(draws))) if d.row == two]
    assert (40, 50, 1) in centres
    assert (60, 100, 2) in centres
