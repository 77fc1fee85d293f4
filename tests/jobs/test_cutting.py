from __future__ import annotations

import random
import statistics
from collections.abc import Callable

import pytest

from beam_jobs.cutting import MAX_FILMS, MIN_FILMS, cut
from etl.readers.listing import natural_key

Patients = list[tuple[str, int]]


def patients(count: int, seed: int) -> Patients:
    """A mix as found in releases: mostly 4 films, some fewer, some many."""
    random_ = random.Random(seed)
    sizes = random_.choices(
        [4, random_.randint(1, 3), random_.randint(5, 12), 30], [70, 15, 12, 3], k=count
    )
    return [(f"P_{number * 10}", size) for number, size in enumerate(sizes, start=1)]


def shards(listed: Patients) -> list[tuple[tuple[str, int], ...]]:
    ordered = sorted(listed, key=lambda item: natural_key(item[0]))
    ends = cut(ordered)
    return [tuple(ordered[start:end]) for start, end in zip([0, *ends], ends, strict=False)]


def films(shard: tuple[tuple[str, int], ...]) -> int:
    return sum(count for _, count in shard)


@pytest.mark.parametrize("seed", range(5))
def test_every_patient_is_in_one_shard_whole_and_in_order(seed: int) -> None:
    listed = patients(700, seed)
    assert [patient for shard in shards(listed) for patient in shard] == listed


@pytest.mark.parametrize("seed", range(5))
def test_shards_have_the_wanted_number_of_films(seed: int) -> None:
    made = shards(patients(2000, seed))
    assert all(MIN_FILMS <= films(shard) <= MAX_FILMS for shard in made[:-1])
    assert films(made[-1]) <= MAX_FILMS
    assert 75 <= statistics.mean(map(films, made)) <= 100


def test_a_patient_larger_than_a_shard_has_its_own() -> None:
    listed = [("P_1", 4), ("P_2", 500), ("P_3", 4)]
    assert shards(listed) == [(("P_1", 4),), (("P_2", 500),), (("P_3", 4),)]


def test_no_patients_make_no_shards() -> None:
    assert cut([]) == []


@pytest.mark.parametrize("seed", range(20))
def test_appended_patients_leave_all_but_the_last_two_shards(seed: int) -> None:
    listed = patients(300, seed)
    before, after = shards(listed), shards([*listed, *[(f"P_{9000 + n}", 4) for n in range(60)]])
    assert before[:-2] == after[: len(before) - 2]


def _inserted(listed: Patients, random_: random.Random, count: int) -> Patients:
    return [*listed, *[(f"P_{n}", 4) for n in random_.sample(range(11, 20000, 10), count)]]


def _removed(listed: Patients, random_: random.Random, count: int) -> Patients:
    gone = set(random_.sample(range(len(listed)), count))
    return [patient for number, patient in enumerate(listed) if number not in gone]


@pytest.mark.parametrize("change", [_inserted, _removed])
@pytest.mark.parametrize("count", [1, 5])
def test_a_changed_patient_touches_two_shards_or_fewer(
    change: Callable[[Patients, random.Random, int], Patients], count: int
) -> None:
    remade = []
    for seed in range(20):
        listed = patients(2000, seed)
        before, after = set(shards(listed)), shards(change(listed, random.Random(seed), count))
        remade.append(sum(shard not in before for shard in after) / count)
    assert statistics.median(remade) <= 2
