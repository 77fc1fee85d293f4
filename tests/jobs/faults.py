"""Functions for the children of a pool, some of them deadly. Importable, so children find them."""

from __future__ import annotations

import ctypes
import os
import signal
import threading
import time
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Fault:
    """What a child is to do, and for which number."""

    what: str
    number: int
    folder: str = ""


def act(fault: Fault) -> Any:
    """Do it; a job that survives returns ten times its number."""
    return _ACTS[fault.what](fault)


def die(memory_bytes: int) -> None:
    """Stand in for a child's preparation that ends it."""
    os._exit(7)


def _good(fault: Fault) -> int:
    time.sleep(0.02)
    return fault.number * 10


def _segfault(fault: Fault) -> int:
    return len(ctypes.string_at(0))


def _loop_in_c(fault: Fault) -> int:
    # PyDLL keeps the interpreter's lock during the call: no Python signal handler can run.
    ctypes.PyDLL(None).sleep(3600)
    return 0


def _swell(fault: Fault) -> int:
    import numpy as np

    return int(np.ones(1 << 36, dtype=np.uint8).sum())


def _exit(fault: Fault) -> int:
    os._exit(3)


def _raise(fault: Fault) -> int:
    raise RuntimeError("planted\nerror")


def _unpicklable(fault: Fault) -> Any:
    return threading.Lock()


def _die_while_writing(fault: Fault) -> bytes:
    pid, data = os.getpid(), b"x" * (400 << 20)

    def die() -> None:
        time.sleep(0.2)
        os.kill(pid, signal.SIGKILL)

    threading.Thread(target=die, daemon=True).start()
    return data


def _once(fault: Fault) -> int:
    """Die the first time, answer the second."""
    try:
        os.close(os.open(f"{fault.folder}/once-{fault.number}", os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return fault.number * 10
    os.kill(os.getpid(), signal.SIGKILL)
    return 0


def _touch(fault: Fault) -> int:
    """Say that the jobs before this one have begun."""
    time.sleep(1.0)
    open(f"{fault.folder}/touched", "w").close()
    return 0


def _pid(fault: Fault) -> int:
    time.sleep(0.1)
    return os.getpid()


_ACTS = {
    "good": _good,
    "segfault": _segfault,
    "loop": _loop_in_c,
    "swell": _swell,
    "exit": _exit,
    "raise": _raise,
    "unpicklable": _unpicklable,
    "write": _die_while_writing,
    "once": _once,
    "touch": _touch,
    "pid": _pid,
}
