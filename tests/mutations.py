"""Wrong coordinates, sides and roles, put into each source: do its own tests notice?

`python -m tests.mutations [KEY ...]` plans every release as its source does and then spoils each
Film in one way; the tests of that source must fail. Prints the matrix of sources and ways, and ends
with status 1 where a spoilt source passed.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import pytest

from etl import phantoms
from etl.sources import SOURCES, source
from schemas.film import FileRef, Film, FilmLesion, Geometry
from schemas.release import Release
from schemas.vocabulary import GeometryKind, Laterality

__all__ = ["WAYS", "applicable", "matrix", "survivors"]

Spoil = Callable[[Film], Film]
Point = tuple[float, float]
HERE = Path(__file__).parent / "sources"
FAR = 5000.0
_OTHER = {Laterality.L: Laterality.R, Laterality.R: Laterality.L, None: None}


def _moved(geometry: Geometry, move: Callable[[Point], Point]) -> Geometry:
    rings = tuple(tuple(move(point) for point in ring) for ring in geometry.rings)
    values = geometry.values
    if geometry.kind is GeometryKind.BOX:
        (x0, y0), (x1, y1) = move((values[0], values[1])), move((values[2], values[3]))
        values = (min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1))
    elif values:
        values = (*move((values[0], values[1])), *values[2:])
    return replace(geometry, values=values, rings=rings)


def _by_points(move: Callable[[Point], Point]) -> Spoil:
    def spoil(film: Film) -> Film:
        lesions = [
            replace(one, geometry=_moved(one.geometry, move)) if one.geometry else one
            for one in film.lesions
        ]
        return replace(film, lesions=tuple(lesions))

    return spoil


def _other_side(film: Film) -> Film:
    return replace(film, laterality=_OTHER[film.laterality])


def _other_roles(film: Film) -> Film:
    """Give the files of each lesion, mask and crop, in the other order."""
    rois: dict[str | None, list[FileRef]] = {}
    for ref in film.files:
        if ref.role == "roi":
            rois.setdefault(ref.lesion, []).insert(0, ref)
    files = [rois[ref.lesion].pop(0) if ref.role == "roi" else ref for ref in film.files]
    return replace(film, files=tuple(files))


def _next_slice(film: Film) -> Film:
    files = [
        replace(
            ref,
            first=None if ref.first is None else ref.first + 1,
            last=None if ref.last is None else ref.last + 1,
        )
        for ref in film.files
    ]

    def later(lesion: FilmLesion) -> FilmLesion:
        first, last = lesion.slice_first, lesion.slice_last
        return replace(
            lesion,
            slice_first=None if first is None else first + 1,
            slice_last=None if last is None else last + 1,
        )

    return replace(
        film,
        files=tuple(files),
        frame=None if film.frame is None else film.frame + 1,
        lesions=tuple(later(lesion) for lesion in film.lesions),
    )


WAYS: dict[str, Spoil] = {
    "y from the other end": _by_points(lambda point: (point[0], FAR - point[1])),
    "x from the other end": _by_points(lambda point: (FAR - point[0], point[1])),
    "row for column": _by_points(lambda point: (point[1], point[0])),
    "0- for 1-based": _by_points(lambda point: (point[0] + 1, point[1] + 1)),
    "left for right": _other_side,
    "crop for mask": _other_roles,
    "next slice": _next_slice,
}


def applicable(key: str) -> list[str]:
    """Return the ways that change a film of the source's own phantom release."""
    from tests.sources.copies import films, header_index, planned

    with tempfile.TemporaryDirectory() as folder:
        phantoms.write(folder, [key], patients=8, seed=3)
        release = Release.open(str(Path(folder) / key))
        module = source(key)
        found = films(planned(module, release, header_index(module, release))).values()
        return [way for way, spoil in WAYS.items() if any(spoil(film) != film for film in found)]


def matrix(key: str) -> dict[str, str]:
    """Return, for each way, `caught`, `MISSED`, or `-` where it changes nothing of this release."""
    ways = applicable(key)
    if not _passes(key, None):
        raise SystemExit(f"the tests of {key} fail already: mend them first")
    caught = {way: not _passes(key, WAYS[way]) for way in ways}
    return {way: ("caught" if caught[way] else "MISSED") if way in caught else "-" for way in WAYS}


def survivors(key: str) -> list[str]:
    """Return the ways in which a source can be spoilt without its tests noticing."""
    return [way for way, word in matrix(key).items() if word == "MISSED"]


def _passes(key: str, spoil: Spoil | None) -> bool:
    """Run the source's tests in a child of this process, its plan spoilt; say whether they pass."""
    child = os.fork()
    if child == 0:
        os._exit(_run(key, spoil))
    return os.waitpid(child, 0)[1] == 0


def _run(key: str, spoil: Spoil | None) -> int:
    if spoil is not None:
        module = cast("ModuleType", source(key))
        module.plan = _spoilt(module.plan, spoil)  # type: ignore[attr-defined]
    stem = "cbis" if key == "cbis_ddsm" else key
    tests = sorted(str(path) for path in HERE.glob(f"test_{stem}*.py"))
    options = ["-x", "-q", "-p", "no:randomly", "-p", "no:cacheprovider", "-p", "no:xdist"]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        return int(pytest.main([*options, *tests]))


def _spoilt(plan: Any, spoil: Spoil) -> Any:
    def spoilt(*arguments: Any, **options: Any) -> Iterator[Any]:
        for item in plan(*arguments, **options):
            yield spoil(item) if isinstance(item, Film) else item

    return spoilt


def main(keys: list[str]) -> int:
    """Print the matrix of the sources; return 1 where something was missed."""
    print("| source | " + " | ".join(WAYS) + " |")
    print("| --- |" + " --- |" * len(WAYS), flush=True)
    missed = False
    for key in keys or sorted(SOURCES):
        found = matrix(key)
        missed = missed or "MISSED" in found.values()
        print(f"| {key} | " + " | ".join(found.values()) + " |", flush=True)
    return int(missed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
