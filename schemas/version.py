"""The three numbers that decide whether older work can be used again."""

from __future__ import annotations

__all__ = ["FORMAT_VERSION", "ORDER_OF_HASH", "PIPELINE_VERSION"]

PIPELINE_VERSION = 2
"""Raised by hand whenever the same film and spec would give other bytes.

It is part of every task id. `tests/pixels/test_golden_bytes.py` fails when bytes change and this
number does not; a release of the package that leaves it alone remakes nothing.
"""

FORMAT_VERSION = 1
"""Layout of manifest, lesions, receipts and dataset.json; readers refuse a larger one."""

ORDER_OF_HASH = "sha256"
"""Digest behind sample ids, task ids, splits and version names."""
