"""The releases that can be read: one module each, one line each in `SOURCES`.

A module offers `RELEASE`, `plan`, `files_to_index`, `resolve` and `verify`
(`schemas.release.Source`). It is imported when it is asked for, so naming the sources costs
nothing.
"""

from __future__ import annotations

import difflib
from importlib import import_module
from typing import cast

from schemas.errors import UsageError
from schemas.release import Source

__all__ = ["SOURCES", "source"]

SOURCES: dict[str, str] = {
    "bcdr": "etl.sources.bcdr",
    "bcs_dbt": "etl.sources.bcs_dbt",
    "cbis_ddsm": "etl.sources.cbis_ddsm",
    "cdd_cesm": "etl.sources.cdd_cesm",
    "cmmd": "etl.sources.cmmd",
    "duke_mri": "etl.sources.duke_mri",
    "embed": "etl.sources.embed",
    "inbreast": "etl.sources.inbreast",
    "kau_bcmd": "etl.sources.kau_bcmd",
    "mias": "etl.sources.mias",
    "omi_db": "etl.sources.omi_db",
}
"""Module of each source by its key, which is the one in `ReleaseInfo.key`."""


def source(key: str) -> Source:
    """Return the source with this key; `UsageError` naming the nearest one where there is none.

    >>> source("mias").RELEASE.title
    'MIAS (mini-MIAS)'
    """
    if key not in SOURCES:
        near = difflib.get_close_matches(key, SOURCES, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]!r}? " if near else ""
        known = ", ".join(sorted(SOURCES))
        raise UsageError(f"there is no source {key!r}: {hint}the sources are {known}")
    return cast("Source", import_module(SOURCES[key]))
