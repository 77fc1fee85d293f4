"""The Beam graph, on one screen. Names and counts travel between its steps, never pixels.

Create -> Reshuffle -> MakeShard -> Reconcile -> Audit -> Compact -> Publish: the shards that a plan
names are made wherever the runner puts the tasks; the rest are seconds of work on rows.
"""

# mypy: disallow-untyped-calls=False
# Beam's transforms are not typed.

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.transforms.combiners import ToListCombineFn

from beam_jobs.child import imported
from beam_jobs.compact import audited, compact
from beam_jobs.draft import Compacted, Draft, Outcome, reconcile
from beam_jobs.index import write_part
from beam_jobs.planning import load_task
from beam_jobs.pool import shared_pool
from beam_jobs.progress import task_begins
from beam_jobs.publish import publish
from beam_jobs.report import write_report
from beam_jobs.runners import running
from beam_jobs.settings import Settings
from beam_jobs.shard import UnreadError, make_shard
from schemas.receipt import Receipt
from schemas.store import open_store

__all__ = ["TaskRef", "build_corpus", "build_index"]


@dataclass(frozen=True, slots=True)
class TaskRef:
    """Where a task stands in its plan, and the newest revision of its receipt (0: none)."""

    row_group: int
    known: int


NOTHING = TaskRef(-1, 0)
"""Stands in a plan without tasks, so that its version is published all the same."""


def build_corpus(
    settings: Settings, plan: str, refs: Sequence[TaskRef], options: PipelineOptions
) -> None:
    """Make what a plan names, and publish the version."""
    with running(beam.Pipeline(options=options)) as pipeline:
        _ = (
            pipeline
            | "Create tasks" >> beam.Create([*refs] or [NOTHING], reshuffle=False)
            | "Reshuffle tasks" >> beam.Reshuffle()
            | "MakeShard" >> beam.ParDo(MakeShard(settings, plan))
            | "Collect receipts" >> beam.CombineGlobally(_listed()).without_defaults()
            | "Reconcile with the plan" >> beam.Map(reconcile, settings, plan)
            | "Audit across sources" >> beam.Map(audited, settings)
            | "One part a source" >> beam.FlatMap(_parts)
            | "Reshuffle sources" >> beam.Reshuffle()
            | "Compact each source" >> beam.Map(_compact, settings)
            | "Collect sources" >> beam.CombineGlobally(_listed()).without_defaults()
            | "Publish version" >> beam.Map(_publish, settings)
        )


class MakeShard(beam.DoFn):
    """A thin adaptor around `make_shard`: opens the store, finds the pool, reports the outcome."""

    def __init__(self, settings: Settings, plan: str) -> None:
        self.settings = settings
        self.plan = plan

    def process(self, ref: TaskRef) -> Iterator[Outcome]:
        """Yield what became of one task; unreadable files are an outcome, so others go on."""
        if ref == NOTHING:
            yield Outcome(source="", task_id="", films=0)
            return
        store = open_store(self.settings.output)
        task = load_task(store, self.plan, ref.row_group)
        outcome = Outcome(source=task.source, task_id=task.task_id, films=len(task.films))
        pool = shared_pool(self.settings.children, self.settings.memory_bytes)
        task_begins(task.task_id)
        began = time.monotonic()
        try:
            receipt, path, fresh = make_shard(task, self.settings, store, pool, ref.known)
        except UnreadError as error:
            yield replace(outcome, failure=str(error))
            return
        yield _done(outcome, receipt, path, fresh, time.monotonic() - began)


def _done(outcome: Outcome, receipt: Receipt, path: str, fresh: bool, seconds: float) -> Outcome:
    return replace(
        outcome,
        receipt=path,
        digest=receipt.row_digest(),
        samples=receipt.made,
        rejected=receipt.rejected,
        fresh=fresh,
        seconds=seconds,
    )


def _listed() -> beam.CombineFn:
    # no default: it would be a side input, for which some runners do the work before it twice
    return ToListCombineFn()


def _parts(draft: Draft) -> list[tuple[Draft, str]]:
    return [(draft, source) for source in draft.sources]


def _compact(item: tuple[Draft, str], settings: Settings) -> tuple[Draft, Compacted]:
    draft, source = item
    return draft, compact(draft, source, settings)


def _publish(parts: list[tuple[Draft, Compacted]], settings: Settings) -> str:
    draft = publish(parts[0][0], [part for _, part in parts], settings)
    write_report(draft, settings)
    return draft.version


def build_index(
    settings: Settings, source: str, files: Sequence[tuple[str, int]], options: PipelineOptions
) -> None:
    """Read the heads of files and write the parts of an index."""
    size = 2048
    parts = [tuple(files[start : start + size]) for start in range(0, len(files), size)]
    with running(beam.Pipeline(options=options)) as pipeline:
        _ = (
            pipeline
            | "Create parts" >> beam.Create(parts, reshuffle=False)
            | "Reshuffle parts" >> beam.Reshuffle()
            | "Read heads" >> beam.Map(_index_part, settings, source)
        )


def _index_part(files: Any, settings: Settings, source: str) -> int:
    return write_part(settings, imported(settings.registry)(source), files)
