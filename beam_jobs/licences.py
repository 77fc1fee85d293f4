"""Which pixels may leave this machine: the release's licence decides, and the user may overrule."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from schemas.errors import UsageError

__all__ = ["FLAG", "keep_shareable", "refuse_private"]

FLAG = "--acknowledge-licence"

Row = TypeVar("Row", bound=Mapping[str, Any])


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


def keep_shareable(
    rows: Sequence[Row], acknowledged: bool, what: str
) -> tuple[list[Row], str | None]:
    """Return the rows whose pixels may be passed on, and a sentence about the others.

    Parameters
    ----------
    rows
        Manifest rows with `source`, `licence` and `redistributable`.
    acknowledged
        Whoever gets the output holds the licence: all rows are kept.
    what
        What would be written, for the sentence.

    Raises
    ------
    UsageError
        There are rows, and none may be passed on.
    """
    kept = [row for row in rows if acknowledged or row["redistributable"]]
    if len(kept) == len(rows):
        return kept, None
    if not kept:
        refuse_private(rows, acknowledged, what)
    left = Counter(row["source"] for row in rows if not row["redistributable"])
    named = ", ".join(f"{count} of {source}" for source, count in sorted(left.items()))
    return kept, (
        f"left out: {named}, whose licence does not let pixels be passed on; give {FLAG} where "
        f"{what} stays with holders of the licence"
    )
