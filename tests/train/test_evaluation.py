"""Figures against scikit-learn, scipy, or the slow obvious way."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from mammo_train.evaluation.froc import froc
from mammo_train.evaluation.metrics import (
    DiceSweep,
    auroc,
    average_precision,
    clustered_interval,
    estimate_auroc,
    mean_interval,
)
from mammo_train.evaluation.regions import (
    FilmFindings,
    find_regions,
    findings,
    match,
    true_lesions,
)


def scores(seed: int, ties: bool) -> tuple[np.ndarray, np.ndarray]:
    made = np.random.default_rng(seed)
    labels = made.integers(0, 2, 60)
    values = made.normal(size=60) + labels
    return labels, np.round(values) if ties else values


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("ties", [False, True])
def test_auroc_and_average_precision_equal_scikit_learn(seed: int, ties: bool) -> None:
    labels, values = scores(seed, ties)
    assert auroc(labels, values) == pytest.approx(roc_auc_score(labels, values))
    assert average_precision(labels, values) == pytest.approx(
        average_precision_score(labels, values)
    )


def test_one_class_has_no_auroc_and_no_interval() -> None:
    found = estimate_auroc([1, 1], [0.1, 0.2], ["a", "b"])
    assert found.value is None
    assert found.text() == "-"
    assert found.counts == {"positives": 2, "negatives": 0, "patients": 2}


def test_interval_is_that_of_patients_not_of_films() -> None:
    # Ten copies of each patient's film hold no more than one: the interval must not shrink.
    made = np.random.default_rng(0)
    values = made.normal(size=40)
    patients = np.arange(40)
    alone = clustered_interval(lambda x: float(np.mean(x)), patients, values)
    copies = clustered_interval(
        lambda x: float(np.mean(x)), np.repeat(patients, 10), np.repeat(values, 10)
    )
    assert alone is not None
    assert copies == pytest.approx(alone)
    spread = 1.96 * values.std() / np.sqrt(40)
    assert alone[1] - alone[0] == pytest.approx(2 * spread, rel=0.15)


def test_interval_needs_two_patients() -> None:
    assert mean_interval([0.5, 0.7], ["a", "a"]).low is None


def films(seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    made = np.random.default_rng(seed)
    out = []
    for _ in range(5):
        truth = (made.random((16, 16)) < 0.2).astype(np.uint8) * 2
        truth[:2] = 255
        noise = made.random((16, 16))
        out.append(((0.5 * noise + 0.4 * (truth == 2)).astype(np.float32), truth))
    return out


def test_dice_equals_f1_of_the_pixels_that_count() -> None:
    sweep = DiceSweep()
    for probability, truth in films(1):
        sweep.add(probability, truth)
    sweep.add(np.ones((4, 4), np.float32), np.zeros((4, 4), np.uint8))  # no lesion: not counted
    assert len(sweep) == 5
    for index, threshold in enumerate(sweep.thresholds):
        pairs = [(t[t < 255] > 0, p[t < 255] >= np.float32(threshold)) for p, t in films(1)]
        want = [f1_score(t, p, zero_division=0.0) for t, p in pairs]
        assert sweep.per_film()[:, index] == pytest.approx(want)
        both = [np.concatenate(part) for part in zip(*pairs, strict=True)]
        assert sweep.overall()[index] == pytest.approx(f1_score(*both, zero_division=0.0))


def test_best_threshold_is_that_of_the_highest_mean() -> None:
    sweep = DiceSweep()
    truth = np.array([[1, 1, 0, 0]], np.uint8)
    sweep.add(np.array([[0.72, 0.71, 0.42, 0.1]], np.float32), truth)
    threshold, dice = sweep.best()
    assert dice == 1
    assert 0.42 < threshold <= 0.71


def test_regions_are_the_components_of_scipy() -> None:
    made = np.random.default_rng(3)
    probability = ndimage.gaussian_filter(made.random((40, 30)), 2).astype(np.float32)
    threshold = float(np.quantile(probability, 0.8))
    labels, count = ndimage.label(probability >= threshold, np.ones((3, 3)))
    found = find_regions(probability, threshold)
    assert sorted(r.area for r in found) == sorted(np.bincount(labels.ravel())[1:].tolist())
    assert len(found) == count
    tops = ndimage.maximum(probability, labels, range(1, count + 1))
    assert [r.score for r in found] == pytest.approx(sorted(tops, reverse=True))


def test_region_coordinates_have_their_origin_at_the_corner() -> None:
    probability = np.zeros((6, 8), np.float32)
    probability[2:4, 3:7] = 0.9
    (region,) = find_regions(probability, 0.5)
    assert region.box == (3, 2, 7, 4)
    assert (region.x, region.y) == (5.0, 3.0)
    assert find_regions(probability, 0.5, min_area=9) == []


def test_two_lesions_stay_two_and_the_worst_pixel_names_each() -> None:
    mask = np.zeros((10, 10), np.uint8)
    mask[1:3, 1:3] = 1
    mask[6:9, 6:9] = 3
    mask[6, 6] = 2
    mask[4] = 255
    assert [lesion.label for lesion in true_lesions(mask)] == [1, 2]


def test_a_region_finds_a_lesion_by_overlap_and_another_place_is_false() -> None:
    probability = np.zeros((20, 20), np.float32)
    probability[2:6, 2:6] = 0.8
    probability[15:18, 15:18] = 0.7
    probability[10:13, 0:3] = 0.9  # on ignored pixels: neither hit nor false
    mask = np.zeros((20, 20), np.uint8)
    mask[3:7, 3:7] = 2
    mask[10:13, 0:4] = 255
    film, regions, lesions, hits = findings(
        probability, mask, 0.5, min_area=1, patient="p", source="s", counted=True
    )
    assert hits == [0, -1]
    assert match(regions, lesions) == hits
    assert film.lesion_scores == (pytest.approx(0.8),)
    assert film.false_scores == (pytest.approx(0.7),)
    assert not film.normal


def test_false_regions_of_a_film_with_undrawn_lesions_do_not_count() -> None:
    probability = np.full((8, 8), 0.9, np.float32)
    film, *_ = findings(
        probability,
        np.zeros((8, 8), np.uint8),
        0.5,
        min_area=1,
        patient="p",
        source="s",
        counted=False,
    )
    assert film.false_scores == ()


def brute_froc(found: list[FilmFindings], rate: float) -> float:
    lesions = [s for film in found for s in film.lesion_scores]
    counted = sum(film.counted for film in found)
    best = 0.0
    thresholds = [s for film in found for s in (*film.lesion_scores, *film.false_scores)]
    for threshold in thresholds:
        if threshold == -np.inf:
            continue
        false = sum(s >= threshold for film in found for s in film.false_scores)
        if false / counted <= rate:
            best = max(best, sum(s >= threshold for s in lesions) / len(lesions))
    return best


@pytest.mark.parametrize("seed", range(6))
def test_froc_equals_the_search_over_all_thresholds(seed: int) -> None:
    made = np.random.default_rng(seed)

    def some(most: int) -> tuple[float, ...]:
        # Two digits, so that scores tie.
        return tuple(np.round(made.random(made.integers(0, most)), 2).tolist())

    found = []
    for index in range(12):
        counted = index % 4 != 0
        lesions = tuple(-np.inf if made.random() < 0.2 else s for s in some(4))
        found.append(
            FilmFindings("p", "s", lesions, some(6) if counted else (), counted, not lesions)
        )
    rates = [0.25, 0.5, 1, 2, 4]
    assert froc(found, rates) == pytest.approx([brute_froc(found, rate) for rate in rates])


def test_froc_without_lesions_is_no_number() -> None:
    assert np.isnan(froc([FilmFindings("p", "s", (), (), True, True)], [1.0])).all()
