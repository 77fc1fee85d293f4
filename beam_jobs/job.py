"""Run a job from the driver: plan, hand the tasks to a Beam runner, say what came of it."""

from __future__ import annotations

import functools
import json
import logging
import re
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from beam_jobs.child import imported
from beam_jobs.draft import base_of
from beam_jobs.index import index_of
from beam_jobs.planning import Plan, make_plan, write_plan
from beam_jobs.progress import shown
from beam_jobs.report import new_run, report_path
from beam_jobs.runners import check_arguments, pipeline_options, refuse_local_paths
from beam_jobs.settings import Settings
from beam_jobs.shard import known_receipts
from schemas import errors
from schemas.errors import MammoError
from schemas.release import HeaderIndex, Release, Source
from schemas.store import Store, open_store

if TYPE_CHECKING:
    from apache_beam.options.pipeline_options import PipelineOptions

__all__ = ["JobResult", "index_job", "plan_job", "run_job"]

_RAISED = re.compile(
    r"schemas\.errors\.(?P<kind>\w+): (?P<text>.*?)"
    r"(?: \[while running '[^']*'\]| \[\"?while running|\n\nDuring handling|\Z)",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class JobResult:
    """What a run published, its report (see `beam_jobs.report`), and how long the shards took."""

    version: str
    report: dict[str, Any]
    seconds: float


def index_job(settings: Settings, beam_arguments: Sequence[str] = ()) -> dict[str, int]:
    """Make the index of each release that needs one; return how many headers are known."""
    check_arguments(beam_arguments)
    counts = {}
    for key, root in settings.releases:
        source = imported(settings.registry)(key)
        indexer = functools.partial(_index, tuple(beam_arguments))
        counts[key] = len(index_of(Release.open(root), source, settings, indexer))
    return counts


def plan_job(settings: Settings, beam_arguments: Sequence[str] = ()) -> Plan:
    """Make and write the plan of a job; no image is read, but for heads that an index needs."""
    check_arguments(beam_arguments)
    refuse_local_paths(beam_arguments, [settings.output, *(root for _, root in settings.releases)])
    indexer = functools.partial(_index, tuple(beam_arguments))

    def index(release: Release, source: Source, settings: Settings) -> HeaderIndex:
        return index_of(release, source, settings, indexer)

    plan = make_plan(settings, index)
    write_plan(plan, open_store(settings.output))
    return plan


def _index(
    beam_arguments: Sequence[str], settings: Settings, source: str, files: Sequence[tuple[str, int]]
) -> None:
    from beam_jobs.pipeline import build_index

    with _sentences():
        build_index(settings, source, files, pipeline_options(beam_arguments, len(files)))


def run_job(settings: Settings, beam_arguments: Sequence[str] = ()) -> JobResult:
    """Make a corpus version.

    Raises
    ------
    MammoError
        One sentence (and perhaps a list) for the person at the keyboard; nothing was published.
    """
    settings = settings if settings.run else replace(settings, run=new_run())
    store = open_store(settings.output)
    base_of(store, settings.base)
    plan = plan_job(settings, beam_arguments)
    known = known_receipts(store, [key for key, _ in settings.releases])
    from beam_jobs.pipeline import TaskRef, build_corpus

    refs = [TaskRef(row, known.get(task.task_id, 0)) for row, task in enumerate(plan.tasks)]
    options: PipelineOptions = pipeline_options(beam_arguments, len(refs))
    waiting = sum(len(task.films) for task in plan.tasks if task.task_id not in known)
    began = time.monotonic()
    with shown("films", waiting), _sentences():
        build_corpus(settings, plan.folder, refs, options)
    seconds = time.monotonic() - began
    report = _report(store, settings)
    return JobResult(report["version"], report, seconds)


def _report(store: Store, settings: Settings) -> dict[str, Any]:
    path = report_path(settings.run)
    if store.stat(path) is None:
        raise MammoError(
            f"the runner ended, but no version was published at {store.root}: read the runner's "
            "own log, then run again; finished shards are kept"
        )
    report: dict[str, Any] = json.loads(store.read(path))
    return report


@contextmanager
def _sentences() -> Iterator[None]:
    """Bring an error of ours that a runner wrapped into its own back as it was raised."""
    noisy = logging.getLogger("apache_beam")
    level = noisy.level
    noisy.setLevel(logging.CRITICAL)
    try:
        yield
    except MammoError:
        raise
    except Exception as error:
        if any(isinstance(cause, KeyboardInterrupt) for cause in _chain(error)):
            raise KeyboardInterrupt from None
        raised = list(_RAISED.finditer(_all_texts(error)))
        if not raised:
            raise
        kind = getattr(errors, raised[-1]["kind"], MammoError)
        text = raised[-1]["text"].strip()
        raise (MammoError if kind is errors.ContentError else kind)(text) from None
    finally:
        noisy.setLevel(level)
        sys.stderr.flush()


def _all_texts(error: BaseException) -> str:
    named = [f"{type(e).__module__}.{type(e).__name__}: {e}" for e in _chain(error)]
    return "\n\n".join(reversed(named))


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
