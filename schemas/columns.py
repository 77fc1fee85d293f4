"""One column of a table of the corpus: name, Arrow type, unit, meaning, who fills it.

Schemas, the documentation page and the validator are all made from lists of `Column`.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import pyarrow as pa

__all__ = ["Column", "arrow_schema", "problems", "rounded", "row_digest", "to_table"]

SIGNIFICANT_DIGITS = 7
"""Digits that a float keeps: float columns must be the same on every machine."""


@dataclass(frozen=True, slots=True)
class Column:
    """Declaration of one column.

    Parameters
    ----------
    filled_by
        `source` (tables), `kernel` (pixels and headers), `job` (placing and version), `audit`.
    words
        The closed vocabulary of a string column.
    place, version
        Columns of *where* the bytes lie and of the *version*; they are not in KEY.json.
    """

    name: str
    type: pa.DataType
    meaning: str
    filled_by: str
    group: str
    unit: str = ""
    nullable: bool = True
    words: type[StrEnum] | None = None
    place: bool = False
    version: bool = False

    def field(self) -> pa.Field:
        """Return the Arrow field with unit and meaning as metadata."""
        metadata = {"meaning": self.meaning, "filled_by": self.filled_by}
        if self.unit:
            metadata["unit"] = self.unit
        return pa.field(self.name, self.type, nullable=self.nullable, metadata=metadata)


def arrow_schema(columns: Iterable[Column], metadata: Mapping[str, str] | None = None) -> pa.Schema:
    """Return the Arrow schema of a list of columns."""
    return pa.schema([column.field() for column in columns], metadata=dict(metadata or {}) or None)


def rounded(value: Any) -> Any:
    """Return a value with every float cut to seven significant digits; NaN becomes None.

    >>> rounded({"a": 0.1 + 0.2, "b": [1.0, float("nan")]})
    {'a': 0.3, 'b': [1.0, None]}
    """
    if value is None or isinstance(value, str):  # most cells by far
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        return float(f"{value:.{SIGNIFICANT_DIGITS}g}")
    if isinstance(value, Mapping):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(item) for item in value]
    return value


def to_table(rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> pa.Table:
    """Return rows as an Arrow table of exactly this schema; missing columns are null.

    Raises
    ------
    ValueError
        A row has a column that the schema does not know, or a null where none is allowed.
    """
    known = set(schema.names)
    for row in rows:
        unknown = set(row) - known
        if unknown:
            raise ValueError(f"unknown columns {sorted(unknown)} in row {row.get('sample_id')}")
    arrays = [
        pa.array([rounded(row.get(field.name)) for row in rows], type=field.type)
        for field in schema
    ]
    for field, array in zip(schema, arrays, strict=True):
        if not field.nullable and array.null_count:
            raise ValueError(f"column {field.name} is null in {array.null_count} rows")
    return pa.Table.from_arrays(arrays, schema=schema)


def problems(table: pa.Table, columns: Sequence[Column]) -> Iterator[str]:
    """Yield one sentence for each way in which a table breaks its declaration."""
    for column in columns:
        if column.name not in table.schema.names:
            yield f"column {column.name} is missing"
            continue
        array = table.column(column.name)
        if array.type != column.type:
            yield f"column {column.name} has type {array.type}, expected {column.type}"
        if not column.nullable and array.null_count:
            yield f"column {column.name} is null in {array.null_count} rows"
        if column.words is not None:
            yield from _word_problems(array, column)
    extra = set(table.schema.names) - {column.name for column in columns}
    if extra:
        yield f"unknown columns: {', '.join(sorted(extra))}"


def _word_problems(array: pa.ChunkedArray, column: Column) -> Iterator[str]:
    allowed = {word.value for word in column.words or ()}
    values = array.combine_chunks()
    if pa.types.is_list(array.type):
        values = values.flatten()
    found = set(values.unique().to_pylist())
    for word in sorted(found - allowed - {None}, key=str):
        yield f"column {column.name} holds {word!r}, which is not in its vocabulary"


def row_digest(rows: Iterable[Mapping[str, Any]]) -> str:
    """Return a sha256 over rows with rounded floats: the same for any Parquet writer."""
    digest = hashlib.sha256()
    for row in rows:
        text = json.dumps(rounded(row), sort_keys=True, separators=(",", ":"), default=str)
        digest.update(text.encode())
        digest.update(b"\n")
    return digest.hexdigest()
