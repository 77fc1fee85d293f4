"""One command in a process of its own: how long, and how much memory at most."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Measured", "measured"]


@dataclass(frozen=True)
class Measured:
    """Wall time, processor time and peak resident memory of the process itself."""

    seconds: float
    busy_s: float
    peak_mib: int


def measured(command: Sequence[str]) -> Measured:
    """Run a command to its end; `SystemExit` where it fails."""
    began = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as job:
        _, status, used = os.wait4(job.pid, 0)
        job.returncode = os.waitstatus_to_exitcode(status)
    if job.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {job.returncode}")
    busy = used.ru_utime + used.ru_stime
    return Measured(time.monotonic() - began, busy, used.ru_maxrss >> 10)
