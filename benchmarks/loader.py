"""The loader against an in-memory list, WebDataset, mosaicml-streaming and litdata; and on gs://.

Every contender is a long-lived process, told in turn to deliver one epoch: every sample once,
shuffled, in batches of eight, area-averaged to 512 x 256 float32. Ours is the product's loader as
training uses it: batch plan, checksums, resume. Before anything is timed, all must have delivered
the same pixels, and ours must have gone on from a batch in the middle with another number of
workers as if nothing had been.
"""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

from benchmarks import loader_corpus
from benchmarks.loader_contenders import BATCH, KINDS
from benchmarks.loader_gs import measure_gs
from benchmarks.loader_peers import peers_python
from benchmarks.loader_process import ROOT, Process

__all__ = ["Case", "check", "main", "measure", "prepare"]

COUNT, PER_SHARD = 400, 50
ROUNDS = 7
OF_FLOOR = 0.97
RESUME_AT = 11


class Case(NamedTuple):
    """What is timed: workers, decoded or payloads alone, epochs a round."""

    workers: int
    decoded: bool
    epochs: int = 1


CASES = (Case(1, True), Case(2, True), Case(1, False, 5))
Times = dict[tuple[str, Case], list[float]]
"""Seconds a sample, one entry a round."""


def main() -> list[str]:
    """Print the tables; return the bounds that were missed."""
    python, why = peers_python()
    if python is None:
        print(f"mosaicml-streaming and litdata are left out, they could not be installed: {why}\n")
    missed: list[str] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sizes = {payload: prepare(folder, payload, python) for payload in ("png", "jxl")}
        for payload, size in sizes.items():
            missed += measure(folder, payload, size, python)
        missed += measure_gs(folder / "png", COUNT, ROUNDS)
    return missed


def prepare(folder: Path, payload: loader_corpus.Payload, python: Path | None) -> int:
    """Write the corpus and the peers' files of it; return the mean size of a payload."""
    place = folder / payload
    size = loader_corpus.write(str(place), loader_corpus.films(COUNT), payload, PER_SHARD)
    if python is not None:
        command = [str(python), "-m", "benchmarks.loader_peers", str(place)]
        command += [str(folder / f"{payload}-{peer}") for peer in ("mosaicml", "litdata")]
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return size


def measure(folder: Path, payload: str, size: int, python: Path | None) -> list[str]:
    """Print the table of one payload; return what was missed."""
    with _contenders(folder, payload, python) as running:
        check(running, COUNT)
        times = _rounds(running)
    print(
        f"\n{payload.upper()}, {COUNT} films of 2.0 megapixels and {size / 1e6:.2f} MB on average, "
        f"{ROUNDS} rounds of one epoch each, in turn\n"
    )
    return _table(payload, list(running), times)


@contextlib.contextmanager
def _contenders(folder: Path, payload: str, python: Path | None) -> Iterator[dict[str, Process]]:
    with contextlib.ExitStack() as stack:
        running = {}
        for kind in KINDS:
            peer = kind in ("mosaicml", "litdata")
            place = folder / (f"{payload}-{kind}" if peer else payload)
            if python is not None or not peer:
                process = Process(kind, str(place), python if peer else None)
                running[kind] = stack.enter_context(contextlib.closing(process))
        yield running


def check(running: Mapping[str, Process], count: int) -> None:
    """Have everything delivered once; refuse other pixels, and a resume that is not exact."""
    pixels = {}
    for kind, process in running.items():
        for case in CASES:
            answer = process.epoch(case.workers, case.decoded, 0, digest=case.decoded)
            answer.refuse_unless_all(count)
            if case.decoded:
                pixels[kind, case] = answer.by_row
    if len({tuple(digests) for digests in pixels.values()}) != 1:
        raise SystemExit("the contenders did not deliver the same pixels")
    whole = running["ours"].epoch(2, True, 1, digest=True)
    at = min(RESUME_AT, count // BATCH - 1)
    rest = running["ours"].epoch(1, True, 1, start=at, digest=True)
    done = at * BATCH
    if (rest.rows, rest.digests) != (whole.rows[done:], whole.digests[done:]):
        raise SystemExit(f"ours did not go on from batch {at} as the undisturbed epoch did")


def _rounds(running: Mapping[str, Process]) -> Times:
    kinds, times = list(running), dict[tuple[str, Case], list[float]]()
    for turn in range(ROUNDS):
        for number, case in enumerate(CASES):
            first = (turn + number) % len(kinds)
            for kind in kinds[first:] + kinds[:first]:
                seconds = 0.0
                for again in range(case.epochs):
                    epoch = 1 + turn * case.epochs + again
                    answer = running[kind].epoch(case.workers, case.decoded, epoch)
                    answer.refuse_unless_all(COUNT)
                    seconds += answer.seconds
                times.setdefault((kind, case), []).append(seconds / COUNT / case.epochs)
    return times


def _table(payload: str, kinds: Sequence[str], times: Times) -> list[str]:
    one, two, container = CASES
    print(
        "| loader | samples/s, 1 worker | of the floor | 2 workers | of the floor "
        "| payload undecoded, ms a sample |\n| --- | --- | ---: | --- | ---: | --- |"
    )
    for kind in kinds:
        cells = [KINDS[kind]]
        for case in (one, two):
            cells += [_rates(times[kind, case]), f"{_share(times, kind, 'floor', case):.2f}"]
        alone = [1000 * seconds for seconds in times[kind, container]]
        cells.append(f"{median(alone):.2f} ({min(alone):.2f}-{max(alone):.2f})")
        print(f"| {' | '.join(cells)} |")
    print("", flush=True)
    missed = []
    for case in (one, two):
        where = f"loader, {payload}, {case.workers} workers"
        share = _share(times, "ours", "floor", case)
        if share < OF_FLOOR:
            missed.append(f"{where}: {share:.3f} of the floor, the bound is {OF_FLOOR}")
        missed += [
            f"{where}: {_share(times, 'ours', kind, case):.3f} of {kind}, the bound is 1"
            for kind in kinds
            if kind not in ("ours", "floor") and _share(times, "ours", kind, case) < 1
        ]
    ours = median(times["ours", container])
    for kind in kinds:
        theirs = median(times[kind, container])
        if kind not in ("ours", "floor") and ours >= theirs:
            missed.append(
                f"loader, {payload}, payload undecoded: {1000 * ours:.2f} ms a sample, "
                f"{kind} {1000 * theirs:.2f}"
            )
    return missed


def _rates(seconds: Sequence[float]) -> str:
    rates = [1 / value for value in seconds]
    return f"{median(rates):.1f} ({min(rates):.1f}-{max(rates):.1f})"


def _share(times: Times, kind: str, other: str, case: Case) -> float:
    """Return the rate of one as a share of another's: the median over rounds, side by side."""
    pairs = zip(times[other, case], times[kind, case], strict=True)
    return median(theirs / mine for theirs, mine in pairs)
