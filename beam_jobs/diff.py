"""What differs between two versions: films and lesions added, removed, changed, and how."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from schemas.columns import rounded
from schemas.corpus import Corpus
from schemas.lesions import LESION_COLUMNS
from schemas.manifest import MANIFEST_COLUMNS

__all__ = ["Change", "changes", "print_changes", "write_csv"]

FILM_COLUMNS = tuple(column.name for column in MANIFEST_COLUMNS if not column.place)
"""What a film says; where its bytes lie is no difference."""
_LESION = tuple(column.name for column in LESION_COLUMNS)
_KEYS = {"film": ("sample_id",), "lesion": ("sample_id", "lesion_id")}
_KINDS = ("added", "removed", "changed")
_SHOWN = 40


@dataclass(frozen=True, slots=True)
class Change:
    """One difference; `column`, `before` and `after` are empty where a row is added or removed."""

    source: str
    what: str
    sample_id: str
    lesion_id: str
    kind: str
    column: str = ""
    before: str = ""
    after: str = ""


def changes(first: Corpus, second: Corpus) -> Iterator[Change]:
    """Yield the differences, by source, films before lesions, sorted by key.

    Floats are compared with the digits that the manifest keeps, so another Parquet writer is none.
    """
    for source in sorted({*first.dataset.sources, *second.dataset.sources}):
        for what, columns in (("film", FILM_COLUMNS), ("lesion", _LESION)):
            before, after = (_rows(corpus, source, what, columns) for corpus in (first, second))
            yield from _between(source, what, before, after)


def _rows(
    corpus: Corpus, source: str, what: str, columns: Sequence[str]
) -> dict[tuple[str, ...], dict[str, Any]]:
    if source not in corpus.dataset.sources:
        return {}
    table = corpus.source_table(source, "manifest" if what == "film" else "lesions", columns)
    rows = table.to_pylist()
    return {tuple(row[name] for name in _KEYS[what]): rounded(row) for row in rows}


def _between(
    source: str,
    what: str,
    before: Mapping[tuple[str, ...], Mapping[str, Any]],
    after: Mapping[tuple[str, ...], Mapping[str, Any]],
) -> Iterator[Change]:
    for key in sorted({*before, *after}):
        named = (source, what, key[0], key[1] if len(key) > 1 else "")
        if key not in before or key not in after:
            yield Change(*named, "removed" if key in before else "added")
            continue
        for column, old in before[key].items():
            new = after[key][column]
            if old != new:
                yield Change(*named, "changed", column, _word(old), _word(new))


def _word(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(map(_word, value))
    return "" if value is None else str(value)


def write_csv(found: Sequence[Change], path: Path) -> None:
    """Write one line a difference."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(Change.__slots__)
        writer.writerows([getattr(one, name) for name in Change.__slots__] for one in found)


def print_changes(found: Sequence[Change], first: Corpus, second: Corpus, stream: TextIO) -> None:
    """Print two tables: how many rows of each source differ, and which words became which."""
    from rich.console import Console
    from rich.table import Table

    console = Console(file=stream, width=None if stream.isatty() else 140)
    counts = Counter((one.source, one.what, one.kind) for one in _once(found))
    table = Table(title=f"{first.version} -> {second.version}", title_justify="left")
    for name in ("source", "of", *_KINDS):
        table.add_column(name, justify="right" if name in _KINDS else "left")
    for source, what in sorted({(one.source, one.what) for one in found}):
        table.add_row(source, what, *(str(counts[source, what, kind]) for kind in _KINDS))
    if not found:
        console.print(f"{first.version} and {second.version} hold the same films and lesions")
        return
    console.print(table)
    _print_words(found, console)


def _once(found: Sequence[Change]) -> Iterator[Change]:
    """Yield one change a row, however many of its columns changed."""
    seen = set()
    for one in found:
        key = (one.what, one.sample_id, one.lesion_id)
        if key not in seen:
            seen.add(key)
            yield one


def _print_words(found: Sequence[Change], console: Any) -> None:
    from rich.table import Table

    changed = [one for one in found if one.kind == "changed"]
    if not changed:
        return
    words = Counter((o.source, o.what, o.column, o.before, o.after) for o in changed)
    table = Table(title="what changed", title_justify="left")
    for name in ("source", "of", "column", "before", "after"):
        table.add_column(name, overflow="ellipsis", max_width=36, no_wrap=True)
    table.add_column("rows", justify="right")
    ordered = sorted(words.items(), key=lambda item: (-item[1], item[0]))
    for key, count in ordered[:_SHOWN]:
        table.add_row(*key, str(count))
    console.print(table)
    if len(ordered) > _SHOWN:
        console.print(f"and {len(ordered) - _SHOWN} more; --csv FILE lists all")
