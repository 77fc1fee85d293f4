"""The frames in which releases give coordinates, and how each becomes stored pixels.

`settle_frame` is the only place where a coordinate is mirrored or turned: sources say in which
frame their numbers are, and here, where the pixels are known, they become native.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from etl.pixels.decode import Picture
from etl.pixels.settle import Settled
from schemas.film import Film, Geometry
from schemas.vocabulary import (
    GeometryFrame,
    GeometryKind,
    Laterality,
    Orientation,
    QualityFlag,
    View,
)

__all__ = ["mirrored", "settle_frame"]


def settle_frame(film: Film, picture: Picture) -> tuple[Film, Orientation]:
    """Return the film with native geometry, and how its picture is turned to hang upright."""
    return _FRAMES[film.geometry_frame](film, picture)


def _native(film: Film, picture: Picture) -> tuple[Film, Orientation]:
    return film, picture.section.turned if picture.section else Orientation.IDENTITY


def _dbt_upright(film: Film, picture: Picture) -> tuple[Film, Orientation]:
    """Turn a volume by 180 degrees where its breast lies on the wrong side; boxes are upright.

    The official reader (github.com/mazurowski-lab/duke-dbt-data, `dcmread_image`) takes the
    breast for a right one where the first column of frame 0 sums to less than the last, and flips
    both axes where that is not the side in the view's name; the boxes' coordinates belong to the
    result. Its reader looks at the asked frame where one slice is asked for; here frame 0 decides
    for all slices of a volume, so that they cannot differ.
    """
    if picture.edges is None or film.laterality is None:
        return film, Orientation.IDENTITY
    first, last = picture.edges
    if (first < last) == (film.laterality is Laterality.R):
        return film, Orientation.IDENTITY
    lesions = tuple(
        replace(lesion, geometry=_turned(lesion.geometry, picture.size))
        if lesion.geometry
        else lesion
        for lesion in film.lesions
    )
    return replace(film, lesions=lesions), Orientation.ROT180


def _turned(shape: Geometry, size: tuple[int, int]) -> Geometry:
    """Return a shape turned by 180 degrees with its picture (height, width)."""
    height, width = size
    values = shape.values
    if shape.kind is GeometryKind.BOX:
        x0, y0, x1, y1 = values
        values = (width - x1, height - y1, width - x0, height - y0)
    elif values:  # a centre, then radii and an angle that a half turn leaves alone
        values = (width - values[0], height - values[1], *values[2:])
    rings = tuple(tuple((width - x, height - y) for x, y in ring) for ring in shape.rings)
    return replace(shape, values=values, rings=rings)


def _embed_png(film: Film, picture: Picture) -> tuple[Film, Orientation]:
    """Mirror boxes that were drawn on EMBED's PNG copy, where that copy was mirrored.

    Pictures of the views CC, MLO and ML whose rows run towards posterior were mirrored before the
    boxes were placed; without Patient Orientation those of right breasts were (sample notebook of
    Emory-HITI/EMBED_Open_Data and its ROI Reference v1.2).
    """
    orientation = picture.header.get("PatientOrientation", "")
    was_mirrored = film.view in (View.CC, View.MLO, View.ML) and (
        orientation[:1] == "P" if orientation else film.laterality is Laterality.R
    )
    if not was_mirrored:
        return film, Orientation.IDENTITY
    lesions = tuple(
        replace(lesion, geometry=_mirrored_box(lesion.geometry, picture.size[1]))
        if lesion.geometry
        else lesion
        for lesion in film.lesions
    )
    return replace(film, lesions=lesions), Orientation.IDENTITY


def _mirrored_box(shape: Geometry, width: int) -> Geometry:
    x0, y0, x1, y1 = shape.values
    return replace(shape, values=(width - x1, y0, width - x0, y1))


def mirrored(settled: Settled, width: int) -> Settled:
    """Return a lesion mirrored left to right against its release's rule, and flagged so."""
    if not settled.rings:
        return settled
    return replace(
        settled,
        rings=tuple(tuple((width - x, y) for x, y in ring) for ring in settled.rings),
        film_flags=settled.film_flags | {QualityFlag.GEOMETRY_MIRRORED},
    )


_FRAMES: dict[GeometryFrame, Callable[[Film, Picture], tuple[Film, Orientation]]] = {
    GeometryFrame.NATIVE: _native,
    GeometryFrame.DBT_UPRIGHT: _dbt_upright,
    GeometryFrame.EMBED_PNG: _embed_png,
}
"""One rule for each frame in which a release gives coordinates, cited where it is defined."""
