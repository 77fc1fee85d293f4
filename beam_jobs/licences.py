"""Which pixels may leave this machine: the release's licence decides, and the user may overrule."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from schemas.errors import UsageError

__all__ = ["FLAG", "refuse_private"]

FLAG = "--acknowledge-licence"


def refuse_private(rows: Iterable[Mapping[str, Any]], acknowledged: bool, what: str) -> None:
    """Refuse to write pixels of releases that may not be passed on: `UsageError`.

    Parameters
    ----------
    rows
        Manifest rows with `source`, `licence` and `redistributable`.
    acknowledged
        The user said that whoever gets the output holds the licence.
    what
        What would be written, for the sentence.
    """
    private = sorted(
        {(row["source"], row["licence"]) for row in rows if not row["redistributable"]}
    )
    if private and not acknowledged:
        named = ", ".join(f"{source} ({licence})" for source, licence in private)
        raise UsageError(
            f"{what} would hold pixels that may not be passed on, of {named}: select others with "
            f'--where "redistributable", or give {FLAG} where it stays with holders of the licence'
        )
