"""What a run did: `runs/<utc>-<id>.json`, and the closing table that is printed from it.

Figures come from receipts, never from counters that a repeated task would double. This is the only
file of a corpus with times and versions of libraries in it.
"""

from __future__ import annotations

import json
import os
import platform
import secrets
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import metadata
from typing import Any, TextIO

from beam_jobs.publish import Draft, Outcome
from beam_jobs.settings import Settings
from schemas.dataset import Dataset
from schemas.store import open_store

__all__ = ["new_run", "print_table", "report_path", "write_report"]

_LIBRARIES = (
    "apache-beam",
    "imagecodecs",
    "mammo-corpus",
    "numpy",
    "opencv-python-headless",
    "pebble",
    "pyarrow",
    "pydicom",
)


def new_run() -> str:
    """Return a name for a run: `<utc>-<id>`."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"


def report_path(run: str) -> str:
    """Return where a run's report lies."""
    return f"runs/{run}.json"


def write_report(draft: Draft, settings: Settings) -> None:
    """Write what a run did, beside the corpus."""
    store = open_store(settings.output)
    path = f"{draft.version}/dataset.json"
    dataset = Dataset.from_bytes(store.read(path), path)
    content = {
        "run": settings.run,
        "version": draft.version,
        "base": draft.base,
        "workers": settings.workers,
        "spec": json.loads(settings.spec.key()),
        "finished": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        "sources": {key: _figures(key, draft, dataset) for key in sorted(draft.sources)},
        "tasks": [_task(outcome) for outcome in draft.outcomes],
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "libraries": {name: _version(name) for name in _LIBRARIES},
    }
    text = json.dumps(content, sort_keys=True, indent=1)
    store.create(report_path(settings.run), text.encode() + b"\n")


def _figures(source: str, draft: Draft, dataset: Dataset) -> dict[str, Any]:
    counts = dataset.sources[source].counts
    carried = draft.sources[source].carried
    mine = [outcome for outcome in draft.outcomes if outcome.source == source]
    made = sum(outcome.samples for outcome in mine if outcome.fresh)
    seconds = sum(outcome.seconds for outcome in mine if outcome.fresh)
    return {
        "planned": counts.planned,
        "made": made,
        "reused": 0 if carried else counts.made - made,
        "carried": counts.made if carried else 0,
        "rejected": counts.by_reject_reason,
        "absent": counts.absent,
        "shards": counts.shards,
        "shards_made": sum(outcome.fresh for outcome in mine),
        "shard_seconds": round(seconds, 3),
    }


def _task(outcome: Outcome) -> dict[str, Any]:
    return {
        "source": outcome.source,
        "task": outcome.task_id,
        "films": outcome.films,
        "fresh": outcome.fresh,
        "seconds": round(outcome.seconds, 3),
    }


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def print_table(report: Mapping[str, Any], began: float, stream: TextIO) -> None:
    """Print the closing table: planned, made, reused, carried, rejected, absent, images/s.

    Parameters
    ----------
    began
        `time.monotonic()` when films began to be made.
    """
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"version {report['version']}", title_justify="left")
    names = ("source", "planned", "made", "reused", "carried", "rejected", "absent", "images/s")
    for name in names:
        table.add_column(name, justify="left" if name in ("source", "rejected") else "right")
    elapsed = max(time.monotonic() - began, 1e-9)
    for source, figures in report["sources"].items():
        table.add_row(source, *_cells(figures, elapsed))
    console = Console(file=stream, width=None if stream.isatty() else 120)
    console.print(table)


def _cells(figures: Mapping[str, Any], elapsed: float) -> list[str]:
    rejected = ", ".join(f"{count} {reason}" for reason, count in figures["rejected"].items())
    return [
        *(str(figures[name]) for name in ("planned", "made", "reused", "carried")),
        rejected or "0",
        str(figures["absent"]),
        f"{figures['made'] / elapsed:.1f}" if figures["made"] else "-",
    ]
