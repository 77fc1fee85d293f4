"""A plan: which films will be made into which shards. Written before a pixel is read.

`OUT/plans/<plan id>/tasks.parquet` has one row a film and one row group a task, so that a worker
reads its own slice only; `absent.parquet` and `rejects.parquet` lie beside it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from schemas.film import Film
from schemas.spec import Spec
from schemas.version import PIPELINE_VERSION
from schemas.vocabulary import Split, SplitOrigin

__all__ = ["PLAN_SCHEMA", "PlannedFilm", "Task", "task_id"]

PLAN_SCHEMA = pa.schema(
    [
        pa.field("task_id", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        pa.field("split_origin", pa.string(), nullable=False),
        pa.field("position", pa.int32(), nullable=False),
        pa.field("film_key", pa.string(), nullable=False),
        pa.field("split_key", pa.string(), nullable=False),
        pa.field("bytes", pa.int64(), nullable=False),
        pa.field("film", pa.string(), nullable=False),
    ]
)
"""`film` is the Film's canonical JSON; `bytes` the sum of its files."""


@dataclass(frozen=True, slots=True)
class PlannedFilm:
    """A film and the side it was given."""

    film: Film
    split: Split
    split_origin: SplitOrigin


@dataclass(frozen=True, slots=True)
class Task:
    """One shard to make: films of one source and one split, in the order of the tar."""

    task_id: str
    source: str
    split: Split
    films: tuple[PlannedFilm, ...]


def task_id(films: Sequence[PlannedFilm], spec: Spec, key_digest: str = "") -> str:
    """Return the identity of a task: 16 hex digits.

    It covers the films (with the byte size of each file), their sides, the spec,
    `PIPELINE_VERSION` and, where ids are pseudonyms, a digest of the key; nothing else, so a new
    release of the package, another machine or another order of the listing make the same id.
    """
    digest = hashlib.sha256(f"{PIPELINE_VERSION}\n{spec.key()}\n{key_digest}\n".encode())
    for planned in films:
        digest.update(f"{planned.split}\t{planned.split_origin}\t".encode())
        digest.update(planned.film.to_json().encode())
        digest.update(b"\n")
    return digest.hexdigest()[:16]
