"""`mammo-etl gc`: what no version needs. Nothing else in the project deletes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from schemas.dataset import Dataset
from schemas.receipt import Receipt
from schemas.store import Entry, Store

__all__ = ["Garbage", "find_garbage"]

_DATASET = re.compile(r"^(?P<version>v-[0-9a-f]{12})/dataset\.json$")
_VERSIONED = re.compile(r"^(?P<version>v-[0-9a-f]{12})/")


@dataclass(frozen=True, slots=True)
class Garbage:
    """One file that no version needs, and why."""

    path: str
    size: int
    why: str


def find_garbage(store: Store) -> list[Garbage]:
    """Return the files that no finished version needs, sorted by path.

    Shards and receipts that no version names, folders of versions whose dataset.json was never
    written, left-over temporary files, and plans. Index files, runs, cards and join tables stay.
    A job that is running now may still need what this lists: run it when none is.
    """
    entries = [*store.list(), *store.list(".tmp/")]
    versions = {match["version"] for e in entries if (match := _DATASET.match(e.path))}
    needed = _needed(store, sorted(versions))
    return sorted(_garbage(entries, versions, needed), key=lambda item: item.path)


def _needed(store: Store, versions: list[str]) -> set[str]:
    receipts: set[str] = set()
    for version in versions:
        path = f"{version}/dataset.json"
        dataset = Dataset.from_bytes(store.read(path), path)
        for summary in dataset.sources.values():
            receipts.update(summary.receipts)
    shards = {Receipt.from_parquet(store.read(path), path).shard for path in sorted(receipts)}
    return receipts | shards


def _garbage(entries: list[Entry], versions: set[str], needed: set[str]) -> Iterator[Garbage]:
    for entry in entries:
        why = _why(entry.path, versions, needed)
        if why:
            yield Garbage(entry.path, entry.size, why)


def _why(path: str, versions: set[str], needed: set[str]) -> str | None:
    if path == ".tmp/lock":
        return None
    if path.startswith(".tmp/"):
        return "left by a job that was killed"
    if path.startswith(("plans/", "private/plans/")):
        return "a plan; the next run writes its own"
    if path.startswith("shards/") and path not in needed:
        return "no version names it"
    match = _VERSIONED.match(path)
    if match and match["version"] not in versions:
        return "its version was never finished"
    return None
