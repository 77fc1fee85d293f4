"""What a person sees while a job runs: a bar on a terminal, a line now and then elsewhere.

Films are counted by task, so a task that a runner repeats is not counted twice. Only workers in
this process can be seen; jobs on other machines show their own runner's progress.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

__all__ = ["counted", "film_done", "shown", "task_begins"]

LINE_EVERY_S = 15.0


class _Meter:
    """Films done, by task."""

    def __init__(self, what: str, total: int, stream: TextIO) -> None:
        self.what, self.total, self.stream = what, total, stream
        self.counts: dict[str, int] = {}
        self.lock = threading.Lock()
        self.began = self.said = time.monotonic()

    def begin(self, task: str) -> None:
        with self.lock:
            self.counts[task] = 0

    def add(self, task: str) -> None:
        with self.lock:
            self.counts[task] = self.counts.get(task, 0) + 1
            done = sum(self.counts.values())
        self.show(done)

    def show(self, done: int) -> None:
        now = time.monotonic()
        if now - self.said >= LINE_EVERY_S:
            self.said = now
            rate = done / max(now - self.began, 1e-9)
            print(
                f"{self.what}: {done} of {self.total}, {rate:.1f}/s", file=self.stream, flush=True
            )

    def close(self) -> None:
        """Nothing to take down."""


class _Bar(_Meter):
    def __init__(self, what: str, total: int, stream: TextIO) -> None:
        super().__init__(what, total, stream)
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]:.1f}/s"),
            TimeRemainingColumn(),
        )
        self.bar = Progress(*columns, console=Console(file=stream))
        self.task = self.bar.add_task(what, total=total, rate=0.0)
        self.bar.start()

    def show(self, done: int) -> None:
        rate = done / max(time.monotonic() - self.began, 1e-9)
        self.bar.update(self.task, completed=done, rate=rate)

    def close(self) -> None:
        self.bar.stop()


_meter: _Meter | None = None


@contextmanager
def shown(what: str, total: int, stream: TextIO | None = None) -> Iterator[None]:
    """Show how many of `total` films this process has done, while the context lasts."""
    global _meter
    out = stream or sys.stderr
    before, meter = _meter, (_Bar if out.isatty() else _Meter)(what, total, out)
    _meter = meter
    try:
        yield
    finally:
        meter.close()
        _meter = before


@contextmanager
def counted(what: str, stream: TextIO | None = None) -> Iterator[Callable[[int, int], None]]:
    """Give a function to call with (done, in all); shown as `shown` does."""
    out = stream or sys.stderr
    meters: list[_Meter] = []

    def progress(done: int, total: int) -> None:
        if not meters:
            meters.append((_Bar if out.isatty() else _Meter)(what, total, out))
        meters[0].show(done)

    try:
        yield progress
    finally:
        for meter in meters:
            meter.close()


def task_begins(task: str) -> None:
    """Say that a task starts, perhaps again."""
    if _meter is not None:
        _meter.begin(task)


def film_done(task: str) -> None:
    """Say that one film of a task is done."""
    if _meter is not None:
        _meter.add(task)
