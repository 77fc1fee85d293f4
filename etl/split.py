"""Which side of the split a patient is on: a pure function of source, split_key and official words.

Invariants:

- Everything that shares a split_key (a patient, and known twins of patients) is on one side.
- The side depends on nothing else that is in the corpus: adding or removing other patients moves
  nobody.
- An official test patient is never trained on, whatever else the release says of them.

The hash covers the source's key as well as the split_key, so that patient "001" of one release and
patient "001" of another are independent draws. It takes the keys as the release has them, never
their pseudonyms: a corpus made with `--pseudonym-key` has the same sides as one made without.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from schemas.film import Film
from schemas.vocabulary import Split, SplitOrigin

__all__ = ["Side", "assign", "hundredth", "sides"]

Side = tuple[Split, SplitOrigin]

VAL_FROM = 90
"""Hundredths from here on are validation, with and without an official split."""
TEST_FROM = 70
"""Hundredths from here to `VAL_FROM` are test where the release has no official split."""


def hundredth(source: str, split_key: str) -> int:
    """Return the key's place among 100 equal parts of the SHA-256 range, 0 to 99.

    >>> hundredth("mias", "mias-001")
    59
    """
    digest = hashlib.sha256(f"{source}:{split_key}".encode()).digest()
    return int.from_bytes(digest[:8], "big") * 100 >> 64


def assign(source: str, split_key: str, official: Iterable[Split] = ()) -> Side:
    """Return the side of one split_key, and who decided it.

    Parameters
    ----------
    source, split_key
        As in `Film`, not pseudonymised.
    official
        Every side that the release gives to this split_key. Of several the strictest counts:
        test, then val, then train.

    Returns
    -------
    tuple[Split, SplitOrigin]
        Official test and val stay what they are. Official train is 90 % train and 10 % val, the
        latter by hash; it is never test. Without an official word: 70 % train, 20 % test, 10 %
        val, by hash.
    """
    given = set(official)
    for strict in (Split.TEST, Split.VAL):
        if strict in given:
            return strict, SplitOrigin.OFFICIAL
    place = hundredth(source, split_key)
    if Split.TRAIN in given:
        if place >= VAL_FROM:
            return Split.VAL, SplitOrigin.HASH
        return Split.TRAIN, SplitOrigin.OFFICIAL
    if place >= VAL_FROM:
        return Split.VAL, SplitOrigin.HASH
    return (Split.TEST if place >= TEST_FROM else Split.TRAIN), SplitOrigin.HASH


def sides(films: Iterable[Film]) -> dict[tuple[str, str], Side]:
    """Return the side of every (source, split_key) among the films.

    The official words of all films of a split_key are taken together, so that a twin without an
    official word follows the one that has it.
    """
    official: dict[tuple[str, str], set[Split]] = {}
    for film in films:
        official.setdefault((film.source, film.split_key), set()).update(film.official_sides)
    return {key: assign(*key, official[key]) for key in sorted(official)}
