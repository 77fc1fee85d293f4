"""The order of draws: golden values, an independent splitmix64, what it depends on and what not."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from mammo_train.data.order import (
    ORDER_VERSION,
    draw_seed,
    epoch_order,
    mix64,
    normals,
    sample_keys,
    splitmix64,
    uniforms,
)

IDS = [f"mias-{n:012x}" for n in range(500)]
WORD = (1 << 64) - 1

# Computed once with plain integers. If one changes, raise ORDER_VERSION: old checkpoints could
# otherwise go on with other draws.
GOLDEN_ORDER_0 = [3, 5, 2, 10, 0, 7, 1, 8, 9, 4, 6, 11]
GOLDEN_ORDER_1 = [9, 1, 2, 5, 11, 8, 10, 6, 4, 0, 3, 7]
GOLDEN_SEEDS = [13877510708713086577, 3639472976226171232, 2327150229996637368]


def reference_splitmix64(state: int) -> int:
    """The first output of Vigna's public-domain splitmix64.c for a state, in plain integers."""
    z = (state + 0x9E3779B97F4A7C15) & WORD
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & WORD
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & WORD
    return z ^ (z >> 31)


def test_splitmix64_gives_the_published_sequence_of_seed_1234567() -> None:
    # Outputs listed for seed 1234567 at rosettacode.org/wiki/Pseudo-random_numbers/Splitmix64.
    published = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431]
    states = np.array([1234567 + i * 0x9E3779B97F4A7C15 & WORD for i in range(4)], dtype=np.uint64)
    assert splitmix64(states).tolist() == published


@pytest.mark.parametrize("state", [0, 1, WORD, 0x0123456789ABCDEF])
def test_splitmix64_equals_plain_integers(state: int) -> None:
    assert int(splitmix64(np.array([state], dtype=np.uint64))[0]) == reference_splitmix64(state)


def test_mix_equals_plain_integers() -> None:
    stream = reference_splitmix64(reference_splitmix64(7) ^ 3)
    expected = [reference_splitmix64(key ^ stream) for key in (0, 5, WORD)]
    assert mix64(7, 3, np.array([0, 5, WORD], dtype=np.uint64)).tolist() == expected


def test_keys_are_the_first_eight_bytes_of_sha256() -> None:
    expected = [int.from_bytes(hashlib.sha256(i.encode()).digest()[:8], "big") for i in IDS[:5]]
    assert sample_keys(IDS[:5]).tolist() == expected


def test_order_is_the_golden_one() -> None:
    assert ORDER_VERSION == 1
    assert epoch_order(IDS[:12], seed=1, epoch=0).tolist() == GOLDEN_ORDER_0
    assert epoch_order(IDS[:12], seed=1, epoch=1).tolist() == GOLDEN_ORDER_1
    assert draw_seed(1, 0, np.arange(3)).tolist() == GOLDEN_SEEDS


def test_each_epoch_is_another_permutation() -> None:
    orders = [epoch_order(IDS, 1, epoch) for epoch in range(3)]
    assert all(sorted(order.tolist()) == list(range(500)) for order in orders)
    assert len({tuple(order.tolist()) for order in orders}) == 3


def test_more_samples_leave_the_order_of_the_others() -> None:
    few = [IDS[i] for i in epoch_order(IDS[::2], 4, 2) * 2]
    chosen = set(few)
    assert [IDS[i] for i in epoch_order(IDS, 4, 2) if IDS[i] in chosen] == few


def test_rows_in_another_order_give_the_same_samples() -> None:
    backwards = IDS[::-1]
    names = [backwards[i] for i in epoch_order(backwards, 9, 0)]
    assert names == [IDS[i] for i in epoch_order(IDS, 9, 0)]


def test_places_in_an_epoch_are_not_tied_to_the_id() -> None:
    order = epoch_order(IDS, 1, 0)
    assert abs(np.corrcoef(order, np.arange(500))[0, 1]) < 0.15


def test_uniforms_fill_the_unit_interval_and_streams_differ() -> None:
    numbers = uniforms(17, 20000)
    assert numbers.min() >= 0
    assert numbers.max() < 1
    assert abs(numbers.mean() - 0.5) < 0.01
    assert not np.array_equal(numbers, uniforms(17, 20000, stream=1))


def test_normals_have_mean_zero_and_deviation_one() -> None:
    noise = normals(3, (200, 200))
    assert noise.dtype == np.float32
    assert abs(noise.mean()) < 0.02
    assert abs(noise.std() - 1) < 0.02
