"""The draft of a version: what tasks made, held against the plan, and the name that follows.

A version is a function of its receipts, rejects, absents and the audit's settings, so the same work
has the same name. Releases that a run does not name are carried over from its base.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow.parquet as pq

from beam_jobs.settings import Settings
from etl.audit import AuditFinding, AuditSettings
from schemas.columns import row_digest
from schemas.corpus import LATEST
from schemas.dataset import Dataset, SourceSummary, version_name
from schemas.errors import MammoError, UsageError
from schemas.store import Store, open_store

__all__ = [
    "Compacted",
    "Draft",
    "Outcome",
    "SourceDraft",
    "base_of",
    "dataset_of",
    "pointer",
    "reconcile",
    "rows_of",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one task: its receipt's name and counts, or why there is none."""

    source: str
    task_id: str
    films: int
    receipt: str = ""
    digest: str = ""
    samples: int = 0
    rejected: int = 0
    fresh: bool = False
    seconds: float = 0.0
    failure: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceDraft:
    """One release of a version that is being made."""

    receipts: tuple[str, ...]
    digest: str
    planned: int = 0
    carried: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A version that is being made.

    Parameters
    ----------
    base
        The version whose other releases are carried over.
    latest
        What LATEST said when the draft was made.
    """

    version: str
    base: str | None
    latest: str | None
    plan: str
    sources: Mapping[str, SourceDraft]
    outcomes: tuple[Outcome, ...]
    findings: tuple[AuditFinding, ...] = ()


@dataclass(frozen=True, slots=True)
class Compacted:
    """What compacting one release gave: its summary, and its reject and absent rows."""

    source: str
    summary: SourceSummary
    rejects: tuple[dict[str, Any], ...] = field(default=())
    absents: tuple[dict[str, Any], ...] = field(default=())


def base_of(store: Store, name: str) -> str | None:
    """Return the version that `--base` means: LATEST, none, a version or a tag."""
    if name == "none":
        return None
    if name == LATEST:
        return pointer(store, LATEST)
    version = pointer(store, f"tags/{name}") or name
    if store.stat(f"{version}/dataset.json") is None:
        raise UsageError(
            f"--base is {name!r} and {store.root} has no such version: leave it out for the "
            "newest one, or give `none`"
        )
    return version


def pointer(store: Store, path: str) -> str | None:
    """Return the version that LATEST or a tag's file points to, None without it."""
    if store.stat(path) is None:
        return None
    return store.read(path).decode().strip()


def reconcile(outcomes: Iterable[Outcome], settings: Settings, plan: str) -> Draft:
    """Check that every planned film is a sample or a reject, and name the version.

    Raises
    ------
    MammoError
        A task failed, or a film is missing: nothing is published.
    """
    store = open_store(settings.output)
    real = [outcome for outcome in outcomes if outcome.task_id]
    done = tuple(sorted(real, key=lambda outcome: (outcome.source, outcome.task_id)))
    _refuse_failures(done)
    rejects, absents = rows_of(store, plan, "rejects"), rows_of(store, plan, "absent")
    _refuse_missing(store, plan, done)
    sources = {}
    for key, _ in settings.releases:
        mine = [outcome for outcome in done if outcome.source == key]
        extra = [row for row in (*rejects, *absents) if row["source"] == key]
        sources[key] = SourceDraft(
            receipts=tuple(sorted(outcome.receipt for outcome in mine)),
            digest=_digest(mine, extra, settings),
            planned=sum(o.films for o in mine) + len(extra),
        )
    latest = pointer(store, LATEST)
    base = base_of(store, settings.base)
    sources |= _carried(store, base, settings)
    digests = {key: draft.digest for key, draft in sources.items()}
    return Draft(
        version=version_name(digests, AuditSettings().to_dict()),
        base=base,
        latest=latest,
        plan=plan,
        sources=dict(sorted(sources.items())),
        outcomes=done,
    )


def _refuse_failures(outcomes: Sequence[Outcome]) -> None:
    failed = [outcome for outcome in outcomes if outcome.failure]
    if failed:
        lines = "".join(f"\n  {o.source} task {o.task_id}: {o.failure}" for o in failed[:20])
        more = f"\n  and {len(failed) - 20} more" if len(failed) > 20 else ""
        raise MammoError(
            f"{len(failed)} of {len(outcomes)} shards could not be made, so no version was "
            f"published; the finished ones are kept, run again to make the rest:{lines}{more}"
        )


def _refuse_missing(store: Store, plan: str, outcomes: Sequence[Outcome]) -> None:
    planned = Counter(row["task_id"] for row in rows_of(store, plan, "tasks", ["task_id"]))
    made = {outcome.task_id: outcome.samples + outcome.rejected for outcome in outcomes}
    wrong = {task: made.get(task, 0) for task in planned if made.get(task, 0) != planned[task]}
    if wrong:
        table = "".join(
            f"\n  task {task}: {planned[task]} planned, {count} made or rejected"
            for task, count in sorted(wrong.items())[:20]
        )
        raise MammoError(
            f"{len(wrong)} shards do not hold what was planned, so no version was published; "
            f"delete their receipts and run again:{table}"
        )


def rows_of(
    store: Store, plan: str, name: str, columns: list[str] | None = None
) -> list[dict[str, Any]]:
    """Return rows of a Parquet file in a plan's or a version's folder."""
    filesystem, base = store.arrow()
    table = pq.read_table(f"{base}/{plan}/{name}.parquet", columns=columns, filesystem=filesystem)
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows


def _digest(outcomes: Sequence[Outcome], rows: Sequence[Any], settings: Settings) -> str:
    names = sorted((outcome.receipt, outcome.digest) for outcome in outcomes)
    head = {"spec": settings.spec.key(), "receipts": [list(name) for name in names]}
    return row_digest([head, *rows])


def _carried(store: Store, base: str | None, settings: Settings) -> dict[str, SourceDraft]:
    if base is None:
        return {}
    dataset = dataset_of(store, base)
    named = {key for key, _ in settings.releases}
    carried = {key: s for key, s in dataset.sources.items() if key not in named}
    if carried and dataset.pseudonymised != (settings.pseudonym_key is not None):
        raise UsageError(
            f"version {base} {'has' if dataset.pseudonymised else 'has no'} pseudonyms and this "
            "run is to do otherwise: use the same --pseudonym-key as before, or --base none"
        )
    return {
        key: SourceDraft(
            receipts=tuple(summary.receipts),
            digest=summary.receipts_digest,
            planned=summary.counts.planned,
            carried=True,
        )
        for key, summary in carried.items()
    }


def dataset_of(store: Store, version: str) -> Dataset:
    """Return the content of a version's dataset.json."""
    path = f"{version}/dataset.json"
    return Dataset.from_bytes(store.read(path), f"{store.root}/{path}")
