"""The frames in which releases give coordinates, and how each becomes stored pixels.

`settle_frame` is the only place where a coordinate is mirrored or turned: sources say in which
frame their numbers are, and here, where the pixels are known, they become native.
"""

from __future__ import annotations

from collections.abc import Callable

from etl.pixels.decode import Picture
from schemas.film import Film
from schemas.vocabulary import GeometryFrame, Orientation

__all__ = ["settle_frame"]


def settle_frame(film: Film, picture: Picture) -> tuple[Film, Orientation]:
    """Return the film with native geometry, and how its picture is turned to hang upright."""
    return _FRAMES[film.geometry_frame](film, picture)


def _native(film: Film, picture: Picture) -> tuple[Film, Orientation]:
    del picture
    return film, Orientation.IDENTITY


_FRAMES: dict[GeometryFrame, Callable[[Film, Picture], tuple[Film, Orientation]]] = {
    GeometryFrame.NATIVE: _native,
}
"""One rule for each frame in which a release gives coordinates, cited where it is defined."""
