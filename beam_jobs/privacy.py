"""Join tables: what a sample is called by its release, where that may not be shared.

`private/<version>/<source>.parquet` is for the person who made the corpus; nothing in a version
points to it, and a corpus is shared by leaving `private/` out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from beam_jobs.planning import JOIN_SCHEMA
from schemas.columns import to_table
from schemas.receipt import Receipt, parquet_bytes
from schemas.sample import sample_id
from schemas.store import Store

__all__ = ["VERSION_JOIN_SCHEMA", "carry_join", "write_join"]

VERSION_JOIN_SCHEMA = pa.schema(
    [*JOIN_SCHEMA, pa.field("reason", pa.string()), pa.field("detail", pa.string())]
)
"""`reason` and `detail` are set where the film became a reject and no sample."""


def write_join(store: Store, plan: str, version: str, source: str, receipts: Sequence[str]) -> None:
    """Write a release's join table from the plan and the receipts."""
    rows = [row for row in _rows(store, f"{plan}/join.parquet") if row["source"] == source]
    why = _rejected(store, plan, source, receipts)
    rows = [{**row, **why.get(row["sample_id"], {})} for row in rows]
    table = to_table(rows, VERSION_JOIN_SCHEMA)
    store.create(_path(version, source), parquet_bytes(table))


def carry_join(store: Store, base: str, version: str, source: str) -> None:
    """Take a release's join table over from another version, where that has one."""
    if store.stat(_path(base, source)) is not None:
        store.create(_path(version, source), store.read(_path(base, source)))


def _path(version: str, source: str) -> str:
    return f"private/{version}/{source}.parquet"


def _rows(store: Store, path: str, columns: list[str] | None = None) -> list[dict[str, Any]]:
    filesystem, base = store.arrow()
    rows: list[dict[str, Any]] = pq.read_table(
        f"{base}/{path}", columns=columns, filesystem=filesystem
    ).to_pylist()
    return rows


def _rejected(
    store: Store, plan: str, source: str, receipts: Sequence[str]
) -> dict[str, Mapping[str, str]]:
    """Return reason and detail by the sample_id that the film would have had."""
    films: dict[str, dict[int, str]] = {}
    for row in _rows(store, f"{plan}/tasks.parquet", ["task_id", "position", "film_key"]):
        films.setdefault(row["task_id"], {})[row["position"]] = row["film_key"]
    why: dict[str, Mapping[str, str]] = {}
    for path in receipts:
        receipt = Receipt.from_parquet(store.read(path), path)
        for position, entry in enumerate(receipt.entries):
            if entry.reject is not None:
                key = sample_id(source, films[receipt.task_id][position])
                why[key] = {name: entry.reject[name] for name in ("reason", "detail")}
    return why
