"""The receipt of a shard: what its task made. Where it exists, the task is done.

`shards/<source>/<split>/<task id>.parquet`, created once, after the tar. One row an entry in the
plan's order: a sample with its lesions and thumbnail, or a reject. The tar's name, size and sha256
are in the file's metadata. No times and no host names: same task, same bytes.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.columns import rounded, row_digest
from schemas.errors import MammoError
from schemas.lesions import LESION_SCHEMA
from schemas.manifest import MANIFEST_COLUMNS
from schemas.rejects import REJECT_SCHEMA
from schemas.version import FORMAT_VERSION

__all__ = ["RECEIPT_SCHEMA", "Receipt", "ReceiptEntry", "about_receipt", "parquet_bytes"]

_ROW_FIELDS = [column.field() for column in MANIFEST_COLUMNS if not column.version]
_LESION_FIELDS = list(LESION_SCHEMA)

RECEIPT_SCHEMA = pa.schema(
    [
        pa.field("row", pa.struct(_ROW_FIELDS)),
        pa.field("lesions", pa.list_(pa.struct(_LESION_FIELDS))),
        pa.field("thumbnail", pa.binary()),
        pa.field("reject", pa.struct(list(REJECT_SCHEMA))),
    ]
)
"""Exactly one of `row` and `reject` is set."""

_METADATA_KEY = b"mammo_corpus_receipt"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiptEntry:
    """A sample (row, lesions, thumbnail) or a reject."""

    row: Mapping[str, Any] | None = None
    lesions: tuple[Mapping[str, Any], ...] = ()
    thumbnail: bytes | None = None
    reject: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What a task made.

    Parameters
    ----------
    shard
        The tar, relative to the corpus; empty where every film was rejected.
    """

    task_id: str
    source: str
    split: str
    shard: str
    tar_size: int
    tar_sha256: str
    entries: tuple[ReceiptEntry, ...]

    @property
    def made(self) -> int:
        """Samples in the shard."""
        return sum(entry.row is not None for entry in self.entries)

    @property
    def rejected(self) -> int:
        """Films that became no sample."""
        return len(self.entries) - self.made

    def row_digest(self) -> str:
        """Return a digest of the rows with rounded floats: survives an upgrade of pyarrow."""
        head = {"task_id": self.task_id, "shard": self.shard, "tar_sha256": self.tar_sha256}
        return row_digest([head, *(_printable(row) for row in self._table().to_pylist())])

    def _table(self) -> pa.Table:
        rows = [
            {
                "row": rounded(entry.row) if entry.row is not None else None,
                "lesions": [rounded(lesion) for lesion in entry.lesions],
                "thumbnail": entry.thumbnail,
                "reject": entry.reject,
            }
            for entry in self.entries
        ]
        about = {
            "format_version": FORMAT_VERSION,
            "task_id": self.task_id,
            "source": self.source,
            "split": self.split,
            "shard": self.shard,
            "tar_size": self.tar_size,
            "tar_sha256": self.tar_sha256,
        }
        metadata = {_METADATA_KEY: json.dumps(about, sort_keys=True).encode()}
        return pa.Table.from_pylist(rows, schema=RECEIPT_SCHEMA.with_metadata(metadata))

    def to_parquet(self) -> bytes:
        """Return the file's bytes."""
        return parquet_bytes(self._table())

    @classmethod
    def from_parquet(cls, data: bytes, name: str) -> Self:
        """Return the receipt in a file's bytes; `MammoError` naming the file if it is none."""
        try:
            table = pq.read_table(io.BytesIO(data))
            about = json.loads((table.schema.metadata or {})[_METADATA_KEY])
        except (pa.ArrowException, KeyError, ValueError) as error:
            raise MammoError(
                f"{name} is no receipt ({error}): delete it and run again, its shard will be "
                "made anew"
            ) from error
        if about.pop("format_version") > FORMAT_VERSION:
            raise MammoError(f"{name} was written by a newer mammo-corpus: upgrade this one")
        entries = tuple(
            ReceiptEntry(
                row=row["row"],
                lesions=tuple(row["lesions"] or ()),
                thumbnail=row["thumbnail"],
                reject=row["reject"],
            )
            for row in table.to_pylist()
        )
        return cls(entries=entries, **about)


def _printable(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "thumbnail": (row["thumbnail"] or b"").hex()}


def about_receipt(data: bytes, name: str) -> dict[str, Any]:
    """Return what a receipt says of its shard (task_id, shard, tar_size, tar_sha256, ...) alone.

    Raises
    ------
    MammoError
        The bytes are no receipt.
    """
    try:
        schema = pq.read_schema(io.BytesIO(data))
        about: dict[str, Any] = json.loads((schema.metadata or {})[_METADATA_KEY])
    except (pa.ArrowException, KeyError, ValueError) as error:
        raise MammoError(f"{name} is no receipt ({error}): validate the corpus") from error
    return about


def parquet_bytes(table: pa.Table, row_group_size: int = 65536) -> bytes:
    """Return a table as Parquet (zstd), the same bytes for the same rows and pyarrow."""
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd", row_group_size=row_group_size)
    return sink.getvalue()
