"""Rows of a manifest by a SQL condition: what stands behind ``--where``.

The condition is parsed by DuckDB as one expression and used as a relation's filter, never pasted
into a statement. The connection lives in memory, cannot reach files, network or extensions, does
not see the caller's variables, and its settings are locked
(https://duckdb.org/docs/stable/operations_manual/securing_duckdb/overview). That is a seat belt
for one's own machine, not a wall against strangers.

A selection must mean the same rows tomorrow, so what depends on chance or on the clock is refused.
"""

from __future__ import annotations

import difflib
import json
import re
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from schemas.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import duckdb
    import pyarrow.dataset as pads

__all__ = ["select"]

VIEW = "manifest"
ORDER = ("sample_id", "lesion_id")

SETTINGS: dict[str, str | bool | int | float | list[str]] = {
    "enable_external_access": "false",
    "lock_configuration": "true",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "allow_community_extensions": "false",
    "allow_persistent_secrets": "false",  # else it looks into the home folder
    "temp_directory": "",  # once external access is off this can no longer be set
    "memory_limit": "4GB",
    "threads": "2",
    "python_enable_replacements": "false",  # else a name in SQL finds variables of the caller
    "python_scan_all_frames": "false",
}

CLOCK_WORDS = frozenset(
    {"current_date", "current_time", "current_timestamp", "localtime", "localtimestamp", "today"}
)
UNSTEADY = """
    SELECT DISTINCT function_name FROM duckdb_functions()
    WHERE stability = 'VOLATILE'
       OR (stability = 'CONSISTENT_WITHIN_QUERY' AND len(parameters) = 0)
"""


def select(
    table_or_dataset: pa.Table | pads.Dataset,
    where: str | None,
    columns: Sequence[str] | None = None,
) -> pa.Table:
    """Return the rows that meet a condition, in order.

    Parameters
    ----------
    table_or_dataset
        A table or dataset with a column sample_id. Of a dataset only the columns needed for the
        condition and the result are read.
    where
        A SQL condition on the columns, for instance
        ``"modality IN ('FFDM','SFM') AND list_contains(findings,'mass')"``; the table's own name
        is manifest. None takes every row; a row where the condition is unknown (NULL) is left out.
    columns
        The columns of the result, in this order; None for all.

    Returns
    -------
    pyarrow.Table
        Sorted by sample_id (and lesion_id, where there is one), with the types and metadata of
        the input's schema.

    Raises
    ------
    UsageError
        The condition is no single yes/no expression over known columns, reaches outside, or
        would not give the same rows another time; or a column does not exist.
    """
    schema = table_or_dataset.schema
    wanted = list(schema.names if columns is None else columns)
    order = [name for name in ORDER if name in schema.names]
    _check_columns([*wanted, "sample_id"], schema.names)
    needed = list(dict.fromkeys([*wanted, *order]))
    if where is None:
        rows = _all_rows(table_or_dataset, needed)
    else:
        rows = _rows_where(table_or_dataset, where, needed)
    typed = pa.schema([schema.field(name) for name in needed], metadata=schema.metadata)
    ordered = rows.cast(typed).sort_by([(name, "ascending") for name in order])
    return ordered.select(wanted)


def _all_rows(data: pa.Table | pads.Dataset, needed: list[str]) -> pa.Table:
    return data.select(needed) if isinstance(data, pa.Table) else data.to_table(columns=needed)


def _rows_where(data: pa.Table | pads.Dataset, where: str, needed: list[str]) -> pa.Table:
    import duckdb

    with duckdb.connect(":memory:", config=SETTINGS) as connection:
        connection.register(VIEW, data)
        try:
            expression = duckdb.SQLExpression(where)
            relation = connection.view(VIEW)
            _check_steady(connection, where, data.schema.names)
            _check_boolean(relation, expression, where)
            found = relation.filter(expression)
            return found.select(*map(duckdb.ColumnExpression, needed)).to_arrow_table()
        except duckdb.Error as error:
            raise UsageError(_sentence(error, where, data.schema)) from error


def _check_columns(wanted: list[str], known: Sequence[str]) -> None:
    for name in wanted:
        if name not in known:
            msg = f"there is no column {name}{_nearest(name, known)}"
            raise UsageError(msg)


def _check_boolean(
    relation: duckdb.DuckDBPyRelation, expression: duckdb.Expression, where: str
) -> None:
    types = {str(found) for found in relation.select(expression).types}
    if types != {"BOOLEAN"}:
        msg = (
            f"--where {where!r} is not a condition but a value of type {', '.join(sorted(types))}; "
            "compare it with something"
        )
        raise UsageError(msg)


def _check_steady(
    connection: duckdb.DuckDBPyConnection, where: str, columns: Sequence[str]
) -> None:
    # only parsed to a tree, never run; a comment at the condition's end stops at the line break
    statement = f"SELECT 1 WHERE ({where}\n)"
    parsed = connection.execute("SELECT json_serialize_sql(?::VARCHAR)", [statement]).fetchone()
    unsteady = {name for (name,) in connection.execute(UNSTEADY).fetchall()}
    tree = json.loads(parsed[0]) if parsed else {}
    for name in sorted(set(_called(tree, columns)) & (unsteady | CLOCK_WORDS)):
        msg = (
            f"--where {where!r} uses {name}, which gives other rows another time; "
            "write the value itself"
        )
        raise UsageError(msg)


def _called(tree: Any, columns: Sequence[str]) -> Iterator[str]:
    """Yield each function's name, and the bare words that are no columns: current_date is one."""
    if isinstance(tree, list):
        for branch in tree:
            yield from _called(branch, columns)
    elif isinstance(tree, dict):
        if tree.get("class") == "FUNCTION":
            yield str(tree["function_name"]).lower()
        elif tree.get("class") == "COLUMN_REF" and tree["column_names"][0] not in columns:
            yield str(tree["column_names"][0]).lower()
        for branch in tree.values():
            yield from _called(branch, columns)


def _sentence(error: duckdb.Error, where: str, schema: pa.Schema) -> str:
    first = str(error).splitlines()[0].partition("Error: ")[2] or str(error).splitlines()[0]
    start = f"--where {where!r} cannot be used: "
    if missing := re.match(r'Referenced (?:column|table) "([^"]+)" not found', first):
        name = missing.group(1)
        return f"{start}there is no column {name}{_nearest(name, schema.names)}"
    if cast := re.search(r"from source column (\w+)", first):
        name = cast.group(1)
        if name in schema.names:
            kind = schema.field(name).type
            return f"{start}{first}; {name} is {kind}: write {name} = 'WORD' if that is text"
    return f"{start}{first}"


def _nearest(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    return f"; did you mean {', '.join(near)}?" if near else f"; there are {', '.join(known)}"
