"""What a run would read, write, compute and cost, from its plan alone.

Core seconds are those of `docs/performance.md` (AMD EPYC, 2 shared cores), scaled by the pixels of
each kind of image where only one kind was timed. Money is Dataflow's list price for batch workers.
An estimate, good to a factor of two: the files' codes and sizes decide.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TextIO

from schemas.film import Film
from schemas.plan import Task
from schemas.vocabulary import FrameKind, Modality

__all__ = ["COSTS", "SLAB", "Cost", "Estimate", "estimate", "print_estimate"]


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one image: core seconds, bytes written (image, mask, facts), and whether it was timed."""

    seconds: float
    written: int
    timed: bool


COSTS = {
    Modality.FFDM: Cost(0.19, 6_500_000, True),  # 4096 x 3328 JPEG lossless to 0.1 mm PNG
    Modality.SFM: Cost(0.30, 11_000_000, False),  # 24 megapixels, no code
    Modality.S2D: Cost(0.19, 6_500_000, False),
    Modality.CESM_LE: Cost(0.19, 6_500_000, False),
    Modality.CESM_SUB: Cost(0.19, 6_500_000, False),
    Modality.DBT: Cost(0.60, 3_000_000, False),  # one frame of a JPEG 2000 volume
    Modality.MRI: Cost(2.00, 150_000, False),  # two phases of a breast are read for each image
}
"""`python -m benchmarks speed` timed FFDM; the others are assumed in proportion to their pixels."""
SLAB = Cost(12.0, 3_000_000, False)  # all frames of a volume: 0.12 s each, of 2457 x 1890

_VCPU_HOUR, _GB_HOUR, _DISK_GB_HOUR = 0.056, 0.003557, 0.000054
PRICES = "at 0.056 a core hour and 0.0036 a GB hour; check cloud.google.com/dataflow/pricing"
"""Dollars assumed of Dataflow (batch, us-central1; not read from its page, which changes): a core
and an hour, a GB of memory and an hour, a GB of disk and an hour."""
_GB_A_CORE, _DISK_GB_A_CORE = 4.0, 6.25
"""Of n2-standard-4 with a disk of 25 GB."""
_BUSY = 0.9
"""Share of a worker's time in which its children are busy (`docs/performance.md`)."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What one release would take."""

    source: str
    images: int
    shards: int
    bytes_in: int
    bytes_out: int
    core_hours: float
    timed: bool

    @property
    def dollars(self) -> float:
        """Dataflow's charge for workers."""
        hour = _VCPU_HOUR + _GB_A_CORE * _GB_HOUR + _DISK_GB_A_CORE * _DISK_GB_HOUR
        return self.core_hours / _BUSY * hour


def estimate(tasks: Iterable[Task], sources: Iterable[str]) -> list[Estimate]:
    """Return one estimate a release, in the order given; shared files count once."""
    listed = list(tasks)
    return [_of(source, [task for task in listed if task.source == source]) for source in sources]


def _of(source: str, tasks: list[Task]) -> Estimate:
    films = [planned.film for task in tasks for planned in task.films]
    costs = Counter(_cost(film) for film in films)
    files = {(ref.path, ref.first): ref.size for film in films for ref in film.files}
    return Estimate(
        source=source,
        images=len(films),
        shards=len(tasks),
        bytes_in=sum(files.values()),
        bytes_out=sum(cost.written * count for cost, count in costs.items()),
        core_hours=sum(cost.seconds * count for cost, count in costs.items()) / 3600,
        timed=all(cost.timed for cost in costs),
    )


def _cost(film: Film) -> Cost:
    return SLAB if film.frame_kind is FrameKind.SLAB else COSTS[film.modality]


def print_estimate(found: list[Estimate], workers: int, stream: TextIO) -> None:
    """Print a row a release and the sum; hours are for `workers` children on one machine."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title="estimate", title_justify="left")
    names = ("images", "shards", "GB in", "GB out", "core hours", f"hours on {workers}", "dollars")
    for name in ("source", *names):
        table.add_column(name, justify="left" if name == "source" else "right")
    for one in found:
        table.add_row(*_cells(one, workers))
    if len(found) > 1:
        table.add_row(*_cells(_sum(found), workers))
    console = Console(file=stream, width=None if stream.isatty() else 120)
    console.print(table)
    guessed = [one.source for one in found if not one.timed]
    if guessed:
        console.print(f"not timed, scaled from digital mammograms: {', '.join(guessed)}")
    console.print(f"dollars: {PRICES}; storage and network are not in them", highlight=False)


def _sum(found: list[Estimate]) -> Estimate:
    return Estimate(
        source="all",
        images=sum(one.images for one in found),
        shards=sum(one.shards for one in found),
        bytes_in=sum(one.bytes_in for one in found),
        bytes_out=sum(one.bytes_out for one in found),
        core_hours=sum(one.core_hours for one in found),
        timed=all(one.timed for one in found),
    )


def _cells(one: Estimate, workers: int) -> list[str]:
    return [
        one.source,
        f"{one.images:,}",
        f"{one.shards:,}",
        f"{one.bytes_in / 1e9:.2f}",
        f"{one.bytes_out / 1e9:.2f}",
        f"{one.core_hours:.2f}",
        f"{one.core_hours / _BUSY / workers:.2f}",
        f"{one.dollars:.2f}",
    ]
