"""Cutting a source's patients into shards so that a change touches one or two of them.

Patients lie in natural order. Of those whose cut would give between `MIN_FILMS` and `MAX_FILMS`
films, the cut comes after the one with the smallest hash, so a cut depends on the patients near it
and on nothing before or after. A patient is never divided.

Why not a fixed number of films: one patient more would move every later cut (measured: two thirds
of all shards of a screening programme). With this rule it moves one or two.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

__all__ = ["MAX_FILMS", "MIN_FILMS", "cut"]

MIN_FILMS = 42
MAX_FILMS = 128


def cut(patients: Sequence[tuple[str, int]]) -> list[int]:
    """Return the ends (exclusive) of the shards in a list of patients.

    Parameters
    ----------
    patients
        (key, number of films) in natural order of the keys.

    >>> cut([("a", 30), ("b", 300), ("c", 20), ("d", 20)])
    [1, 2, 4]
    """
    ends: list[int] = []
    start, total = 0, sum(count for _, count in patients)
    while start < len(patients):
        end = len(patients) if total <= MAX_FILMS else _end(patients, start)
        total -= sum(count for _, count in patients[start:end])
        ends.append(end)
        start = end
    return ends


def _end(patients: Sequence[tuple[str, int]], start: int) -> int:
    best: tuple[str, int] | None = None
    films, last = 0, start
    for position in range(start, len(patients)):
        key, count = patients[position]
        if films + count > MAX_FILMS:
            break
        films, last = films + count, position + 1
        if films >= MIN_FILMS:
            candidate = (hashlib.sha256(key.encode()).hexdigest(), position + 1)
            best = candidate if best is None else min(best, candidate)
    if best is not None:
        return best[1]
    return max(last, start + 1)
