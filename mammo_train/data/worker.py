"""What a loader's worker process sets up before its first batch, and when it ends."""

from __future__ import annotations

import contextlib
import os
import select
import threading
import time
from collections.abc import Mapping

from mammo_train.memory import keep_freed

__all__ = ["start_worker"]

KEPT_FREE = 64 << 20
"""Bytes of freed memory that a worker keeps for its next films."""
WATCH_S = 1.0


def start_worker(environment: Mapping[str, str], trainer: int, worker: int) -> None:
    """Prepare worker number `worker` of the process `trainer`.

    Parameters
    ----------
    environment
        Of the trainer now: a fork server keeps that of the moment it was started at.
    trainer
        Process id; the worker ends when that process does, however it ends.
    """
    import cv2

    os.environ.update(environment)
    cv2.setNumThreads(1)
    keep_freed(KEPT_FREE)
    threading.Thread(target=_end_with, args=(trainer,), daemon=True).start()


def _end_with(trainer: int) -> None:
    """Wait for the trainer's end, then end this process.

    torch watches a worker's parent. That is the fork server, which in turn lives as long as one of
    its workers: a trainer that was killed would leave both, and their memory, for ever.
    """
    # The number of a process that is gone may belong to somebody else's by now.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        _wait_for(trainer)
    os._exit(1)


def _wait_for(process: int) -> None:
    if hasattr(os, "pidfd_open"):
        # Not by its number: a killed process keeps that until its parent has asked for it.
        select.select([os.pidfd_open(process)], [], [])
        return
    while True:
        os.kill(process, 0)
        time.sleep(WATCH_S)
