"""INbreast's drawings and marks as lesions: what each is called, where it lies, whose label it has.

One OsiriX file an image (AllXML). Points are pixels of the stored image, fractional, and so corner
coordinates as they are.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from etl.readers.osirix import Region
from etl.sources.inbreast.tables import MARKS
from schemas.errors import ContentError
from schemas.film import FilmLesion, Geometry
from schemas.rejects import RejectReason
from schemas.vocabulary import (
    AnnotationKind,
    Birads,
    CalcDistribution,
    Finding,
    GeometryKind,
    LesionFlag,
    Margin,
    Pathology,
    birads_label,
)

__all__ = ["NAMES", "Named", "drawn_kind", "lesions", "name_of"]


@dataclass(frozen=True, slots=True)
class Named:
    """What a region's name means."""

    finding: Finding
    margin: tuple[Margin, ...] = ()
    distribution: tuple[CalcDistribution, ...] = ()


_SPICULATED = Named(Finding.MASS, margin=(Margin.SPICULATED,))
NAMES = {
    "mass": Named(Finding.MASS),
    "calcification": Named(Finding.CALCIFICATION),
    "calcifications": Named(Finding.CALCIFICATION),
    "unnamed": Named(Finding.CALCIFICATION),
    "point": Named(Finding.CALCIFICATION),
    "cluster": Named(Finding.CALCIFICATION, distribution=(CalcDistribution.CLUSTERED,)),
    "spiculated region": _SPICULATED,
    "espiculated region": _SPICULATED,
    "distortion": Named(Finding.ARCHITECTURAL_DISTORTION),
    "asymmetry": Named(Finding.ASYMMETRY),
    "assymetry": Named(Finding.ASYMMETRY),
    "": Named(Finding.UNKNOWN),
}
"""Names of regions, in small letters: every one that was met in the release. OsiriX itself calls a
region that nobody named "Unnamed" or "Point 3": single calcifications were marked so. A spiculated
region is drawn about the mass whose spicules it holds."""

_NUMBERED_POINT = re.compile(r"point \d+")


def name_of(region: Region, where: str) -> tuple[str, Named]:
    """Return a region's name as `NAMES` has it, and its meaning.

    Raises
    ------
    ContentError
        `unknown_word`: the name is not in `NAMES`.
    """
    word = " ".join((region.name or "").lower().split())
    word = "point" if _NUMBERED_POINT.fullmatch(word) else word
    if word not in NAMES:
        raise ContentError(
            RejectReason.UNKNOWN_WORD,
            f"{where} has a region {region.name!r}, known are {', '.join(filter(None, NAMES))}",
        )
    return word, NAMES[word]


def geometry(region: Region) -> Geometry | None:
    """Return a region's shape: what encloses no area is a point, none where nothing is drawn.

    One or two points, and outlines without width or height, mark a place (OsiriX gives them the
    area 0). Points may lie beyond the image; the kernel, which knows its size, cuts there.
    """
    points = region.points
    if not points:
        return None
    xs, ys = zip(*points, strict=True)
    if len(points) < 3 or min(xs) == max(xs) or min(ys) == max(ys):
        middle = ((min(xs) + max(xs)) / 2, (min(ys) + max(ys)) / 2)
        return Geometry(kind=GeometryKind.POINT, values=middle)
    return Geometry(kind=GeometryKind.POLYGON, rings=(points,))


def lesions(
    regions: Sequence[Region],
    marks: Sequence[str],
    raw: str | None,
    category: Birads | None,
    at: str,
) -> tuple[FilmLesion, ...]:
    """Return an image's lesions: its regions by number, then marks without a region.

    Parameters
    ----------
    regions
        In the file's order, which numbers them from 001.
    marks
        Titles of `MARKS` under which Sheet1 has an X.
    raw, category
        The image's Bi-Rads cell.
    at
        What to call the outline file in an error.
    """
    found = []
    for number, region in enumerate(regions, start=1):
        _, named = name_of(region, at)
        found.append(
            FilmLesion(
                lesion_id=f"{number:03d}",
                finding=named.finding,
                margin=named.margin,
                distribution=named.distribution,
                geometry=geometry(region),
            )
        )
    drawn = {lesion.finding for lesion in found}
    found += [
        FilmLesion(lesion_id=title, finding=MARKS[title], flags=(LesionFlag.UNLINKED,))
        for title in marks
        if MARKS[title] not in drawn
    ]
    return tuple(_labelled(lesion, raw, category) for lesion in _sorted_out(found, category))


def _sorted_out(
    found: Sequence[FilmLesion], category: Birads | None
) -> list[tuple[FilmLesion, bool]]:
    """Pair each lesion with whether the image's category is its own (the package's docstring)."""
    pathology, _ = birads_label(category)
    if pathology is Pathology.BENIGN:
        return [(lesion, True) for lesion in found]
    single = [lesion for lesion in found if _is_single_calcification(lesion)]
    large = [lesion for lesion in found if not _is_single_calcification(lesion)]
    apart = [lesion for lesion in large if lesion.margin != (Margin.SPICULATED,)]
    bearers = large if len(apart or large) == 1 else []
    bearers = bearers if large else single
    if pathology is Pathology.NORMAL:
        bearers = []
    ids = {lesion.lesion_id for lesion in bearers}
    return [(lesion, lesion.lesion_id in ids) for lesion in found]


def _is_single_calcification(lesion: FilmLesion) -> bool:
    return lesion.finding is Finding.CALCIFICATION and not lesion.distribution


def _labelled(
    judged: tuple[FilmLesion, bool], raw: str | None, category: Birads | None
) -> FilmLesion:
    lesion, bears = judged
    if not bears:
        return lesion
    pathology, basis = birads_label(category)
    return replace(lesion, pathology=pathology, label_basis=basis, label_raw=raw, birads=category)


def drawn_kind(found: Sequence[FilmLesion]) -> AnnotationKind | None:
    """Return the coarsest way in which lesions are drawn: points, clusters' regions, outlines."""
    drawn = [lesion for lesion in found if lesion.geometry]
    if any(x.geometry and x.geometry.kind is GeometryKind.POINT for x in drawn):
        return AnnotationKind.POINT
    if any(lesion.distribution for lesion in drawn):
        return AnnotationKind.COARSE_OUTLINE
    return AnnotationKind.OUTLINE if drawn else None
