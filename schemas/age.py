"""Ages as releases write them, in full years that identify nobody."""

from __future__ import annotations

import re

__all__ = ["OLDEST", "age_in_years"]

OLDEST = 90
"""Ages from here on are one group (HIPAA safe harbour, 45 CFR 164.514(b)(2)(i)(C))."""

_AGE = re.compile(r"\s*(\d{1,3})(?:\.\d+)?\s*([YyMmWwDd]?)\s*")
_MONTH_AGE = re.compile(r"\s*(\d{3,4})(?:\.\d+)?\s*[Mm]\s*")
_UNITS_A_YEAR = {"": 1.0, "Y": 1.0, "M": 12.0, "W": 52.18, "D": 365.25}


def age_in_years(text: str | None) -> int | None:
    """Return full years of an age (`045Y`, `732.0m`, `61`); 90 = 90 or more, None = not readable.

    DICOM AS: three digits and Y, M, W or D (PS3.5 6.2).
    """
    match = _AGE.fullmatch(text or "") or _MONTH_AGE.fullmatch(text or "")
    if match is None:
        return None
    unit = match[2].upper() if match.re is _AGE else "M"
    years = int(int(match[1]) / _UNITS_A_YEAR[unit])
    return None if not years else min(years, OLDEST)
