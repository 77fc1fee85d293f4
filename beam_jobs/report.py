"""What a run did: `runs/<utc>-<id>.json`, and the closing table that is printed from it.

Figures come from receipts, never from counters that a repeated task would double. This is the only
file of a corpus with times and versions of libraries in it.
"""

from __future__ import annotations

import json
import os
import platform
import secrets
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import metadata
from typing import TYPE_CHECKING, Any, TextIO

from beam_jobs.draft import Draft, Outcome
from beam_jobs.planning import Plan
from beam_jobs.settings import Settings
from schemas.dataset import Dataset
from schemas.store import open_store
from schemas.vocabulary import Split

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["new_run", "print_plan", "print_table", "report_path", "write_report"]

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
        "workers": settings.children,
        "spec": json.loads(settings.spec.key()),
        "dbt_slab": settings.dbt_slab,
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


def print_table(report: Mapping[str, Any], seconds: float, stream: TextIO) -> None:
    """Print the closing table: planned, made, reused, carried, rejected, absent, images/s.

    Parameters
    ----------
    seconds
        From the first task to the published version.
    """
    from rich.table import Table

    table = Table(title=f"version {report['version']}", title_justify="left")
    names = ("source", "planned", "made", "reused", "carried", "rejected", "absent", "images/s")
    for name in names:
        table.add_column(name, justify="left" if name in ("source", "rejected") else "right")
    for source, figures in report["sources"].items():
        table.add_row(source, *_cells(figures, max(seconds, 1e-9)))
    _print(table, stream)


def print_plan(plan: Plan, settings: Settings, stream: TextIO) -> None:
    """Print what a plan holds: films, patients, sides, shards, bytes, rejects and absents."""
    from rich.table import Table

    table = Table(title=f"plan {plan.plan_id}", title_justify="left")
    for name in ("source", "films", "patients", "train", "val", "test", "shards", "GB"):
        table.add_column(name, justify="left" if name == "source" else "right")
    for name in ("rejected", "absent"):
        table.add_column(name, justify="right")
    for source, _ in settings.releases:
        table.add_row(source, *_planned(plan, source))
    _print(table, stream)
    if plan.private:  # what is printed is often kept: names and table rows stay in the folder
        reasons = Counter((reject.source, reject.reason.value) for reject in plan.rejects)
        for (source, reason), count in sorted(reasons.items()):
            print(f"rejected {source}: {count} {reason}, see {plan.folder}", file=stream)
        return
    for reject in plan.rejects[:10]:
        print(f"rejected {reject.source} {reject.film_key}: {reject.detail}", file=stream)
    if len(plan.rejects) > 10:
        print(f"and {len(plan.rejects) - 10} more rejects", file=stream)


def _planned(plan: Plan, source: str) -> list[str]:
    tasks = [task for task in plan.tasks if task.source == source]
    films = [planned.film for task in tasks for planned in task.films]
    sides = [sum(len(task.films) for task in tasks if task.split is side) for side in Split]
    size = sum(ref.size for film in films for ref in film.files)
    numbers = [len(films), len({film.patient_key for film in films}), *sides, len(tasks)]
    rejected = sum(reject.source == source for reject in plan.rejects)
    absent = sum(item.source == source for item in plan.absents)
    return [*map(str, numbers), f"{size / 1e9:.3f}", str(rejected), str(absent)]


def _print(table: Table, stream: TextIO) -> None:
    from rich.console import Console

    Console(file=stream, width=None if stream.isatty() else 120).print(table)


def _cells(figures: Mapping[str, Any], seconds: float) -> list[str]:
    rejected = ", ".join(f"{count} {reason}" for reason, count in figures["rejected"].items())
    return [
        *(str(figures[name]) for name in ("planned", "made", "reused", "carried")),
        rejected or "0",
        str(figures["absent"]),
        f"{figures['made'] / seconds:.1f}" if figures["made"] else "-",
    ]
