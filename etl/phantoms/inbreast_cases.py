"""Who is in a phantom INbreast release: examinations, films and findings of a patient, traps."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace

from etl.phantoms.lesions import Plan, draw_plan
from etl.phantoms.scene import draw_pathology
from etl.phantoms.texture import generator

__all__ = ["FilmCase", "Found", "PatientCase", "plan_patient"]

KEY = "inbreast"
BENIGN = ("2", "2", "2", "3", "4a")
MALIGNANT = ("4b", "4c", "5", "5", "6")


@dataclass(frozen=True)
class Found:
    """One lesion of a breast, before it is drawn on any film."""

    number: int
    plan: Plan
    pathology: str


@dataclass
class FilmCase:
    """One film.

    Attributes
    ----------
    file
        The release's 8-digit File Name.
    side, view
        `L` or `R`; the table's word: CC, MLO, FB.
    category, acr
        Bi-Rads and ACR cells.
    semester
        Acquisition date cell, YYYYSS.
    found
        Lesions to draw.
    traps
        What is odd about it.
    """

    file: str
    side: str
    view: str
    category: str
    acr: str
    semester: str
    found: list[Found] = field(default_factory=list)
    traps: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class PatientCase:
    """A patient of the release; `name` is the 16-digit code in her films' names."""

    index: int
    name: str
    films: list[FilmCase]


def plan_patient(index: int, seed: int, density: int, *, traps: bool, damage: bool) -> PatientCase:
    """Decide a patient's films, 0-based `index`; traps lie in the first eight patients."""
    rng = generator(seed, KEY, index, "case")
    name = hashlib.sha256(f"{KEY}/{index}".encode()).hexdigest()[:16]
    semester = ("200802", "200901", "200902", "201001")[int(rng.integers(4))]
    sides = ["R", "L"] if rng.uniform() < 0.75 else [("R", "L")[int(rng.integers(2))]]
    sides = ["R", "L"] if traps and index < 8 else sides
    films: list[FilmCase] = []
    for side in sides:
        found = _findings(seed, index, side)
        category = _category(seed, index, side, found)
        for view in ("CC", "MLO"):
            file = str(90_000_000 + 137 * index + len(films))
            films.append(FilmCase(file, side, view, category, str(density), semester, list(found)))
    patient = PatientCase(index, name, films)
    if traps and index in _TRAPS:
        _TRAPS[index](patient, seed, damage)
    return patient


def _findings(seed: int, index: int, side: str) -> list[Found]:
    rng = generator(seed, KEY, index, side, "count")
    count = 0 if rng.uniform() < 0.4 else 1 + int(rng.uniform() < 0.25)
    return [_finding(seed, index, side, number + 1) for number in range(count)]


def _finding(
    seed: int,
    index: int,
    side: str,
    number: int,
    kind: str | None = None,
    pathology: str | None = None,
) -> Found:
    path = (KEY, index, side, number)
    plan = draw_plan(generator(seed, *path, "plan"), kind)
    drawn = draw_pathology(generator(seed, *path, "pathology"))
    return Found(number, plan, pathology or drawn)


def _category(seed: int, index: int, side: str, found: list[Found]) -> str:
    rng = generator(seed, KEY, index, side, "category")
    words = MALIGNANT if any(x.pathology == "malignant" for x in found) else BENIGN
    return words[int(rng.integers(len(words)))] if found else "1"


def _set(film: FilmCase, category: str, found: list[Found], *traps: str) -> None:
    film.category, film.found = category, found
    film.traps += traps


def _normal(patient: PatientCase, seed: int, damage: bool) -> None:
    """Leave both breasts normal, without outline files; lay a resource fork beside one film."""
    for film in patient.films:
        _set(film, "1", [])
    patient.films[0].traps.append("fork")


def _names(patient: PatientCase, seed: int, damage: bool) -> None:
    """Spell spiculated regions in three ways, about the only mass of a breast."""
    mass = _finding(seed, patient.index, "R", 1, "mass", "malignant")
    for film, name in zip(patient.films, ("Spiculated Region", "Espiculated Region"), strict=False):
        _set(film, "5", [mass], f"spiculated:{name}")
    calc = _finding(seed, patient.index, "L", 1, "calcification", "malignant")
    for film in patient.films[2:]:
        _set(film, "6", [calc])


def _points(patient: PatientCase, seed: int, damage: bool) -> None:
    """Mark calcifications by one or two points; take one view from below."""
    calc = _finding(seed, patient.index, "R", 1, "calcification", "benign")
    for film in patient.films[:2]:
        _set(film, "2", [calc], "points")
    patient.films[1].view = "FB"
    for film in patient.films[2:]:
        _set(film, "1", [])


def _two_exams(patient: PatientCase, seed: int, damage: bool) -> None:
    """Examine the breasts a year apart; leave 193 blanks as a density."""
    for film in patient.films[:2]:
        film.semester = "200901"
    for film in patient.films[2:]:
        film.semester = "201001"
    patient.films[0].acr = " " * 193
    patient.films[0].traps.append("blank_acr")


def _disagree(patient: PatientCase, seed: int, damage: bool) -> None:
    """Let Sheet1 and the outlines disagree, as for 24065380 and 24065584."""
    calc = _finding(seed, patient.index, "R", 1, "calcification", "benign")
    for film in patient.films[:2]:
        _set(film, "2", [calc], "asymmetry_marked")
    mass = _finding(seed, patient.index, "L", 1, "mass", "malignant")
    for film in patient.films[2:]:
        _set(film, "4c", [mass], "not_marked")


def _borders(patient: PatientCase, seed: int, damage: bool) -> None:
    """Outline a region beyond the border; let the views of one breast have two categories."""
    mass = _finding(seed, patient.index, "R", 1, "mass", "benign")
    mass = replace(mass, plan=replace(mass.plan, radius_mm=min(mass.plan.radius_mm, 8.0)))
    _set(patient.films[0], "3", [mass], "beyond")
    _set(patient.films[1], "3", [mass])
    two = [_finding(seed, patient.index, "L", k, "mass", "malignant") for k in (1, 2)]
    two = [replace(x, plan=replace(x.plan, radius_mm=min(x.plan.radius_mm, 6.0))) for x in two]
    _set(patient.films[2], "5", two)
    _set(patient.films[3], "4a", two)


def _lost(patient: PatientCase, seed: int, damage: bool) -> None:
    """Leave out an outline file and the spacing of two films; use the smaller detector."""
    mass = _finding(seed, patient.index, "R", 1, "mass", "benign")
    _set(patient.films[0], "3", [mass], "no_outlines", "small")
    _set(patient.films[1], "3", [mass], "small")
    _set(patient.films[2], "1", [], "no_spacing", "small")
    _set(patient.films[3], "1", [], "spacing_one", "small")


def _damaged(patient: PatientCase, seed: int, damage: bool) -> None:
    """Leave one film out, cut one short, and name one region by a word that nobody knows."""
    if not damage:
        return
    mass = _finding(seed, patient.index, "L", 1, "mass", "benign")
    patient.films[0].traps.append("absent")
    patient.films[1].traps.append("truncated")
    _set(patient.films[2], "2", [mass], "unknown_name")


_TRAPS = {
    0: _normal,
    1: _names,
    2: _points,
    3: _two_exams,
    4: _disagree,
    5: _borders,
    6: _lost,
    7: _damaged,
}
