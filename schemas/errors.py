"""The project's exceptions: each one's text is a sentence for the person at the keyboard.

A sentence says what is wrong, where (file, field, value) and what to do. Commands print it and
end with status 1 (`MammoError`) or 2 (`UsageError`); a traceback is a defect of ours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from schemas.rejects import RejectReason

__all__ = ["ContentError", "MammoError", "StoreError", "UsageError", "missing_extra"]


class MammoError(Exception):
    """Base of all errors that the project raises on purpose."""


class UsageError(MammoError, ValueError):
    """The call itself is wrong: an unknown source, an unreadable condition, a missing option."""


class StoreError(MammoError, OSError):
    """Bytes could not be read or written; never a verdict on a film: its task fails."""


class ContentError(MammoError, ValueError):
    """A file was read but cannot be used; it becomes one reject row.

    Parameters
    ----------
    reason
        A word of the closed list in `schemas.rejects`.
    detail
        One sentence: what was found, and what was expected.
    """

    def __init__(self, reason: RejectReason, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.reason.value}: {self.detail}"


_ROOMS = frozenset({"schemas", "etl", "beam_jobs", "mammo_train"})


def missing_extra(error: ModuleNotFoundError, extras: str) -> str:
    """Return the sentence for a package that an extra would have installed.

    A module of our own that is not found is a defect, so the error is raised again.
    """
    package = (error.name or "").split(".")[0]
    if not package or package in _ROOMS:
        raise error
    return f'{package} is not installed: run pip install "mammo-corpus[{extras}]"'
