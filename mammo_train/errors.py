"""How a training may end before its end."""

from __future__ import annotations

from schemas.errors import MammoError

__all__ = ["Stopped"]


class Stopped(MammoError):  # noqa: N818 - an orderly end, not a failure
    """The run was asked to end; its state is saved and the same command goes on."""
