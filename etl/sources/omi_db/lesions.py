"""Marks and NBSS lesions of one image: boxes, findings, and the opinions that link them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from etl.readers.nbss import Episode, Mark
from etl.sources.omi_db import words
from etl.sources.omi_db.episodes import PROOFS, Judged
from schemas.film import FilmLesion, Geometry
from schemas.vocabulary import (
    CalcType,
    Finding,
    GeometryKind,
    LabelBasis,
    LesionFlag,
    Margin,
    Pathology,
    worst,
)

__all__ = ["Drawn", "box_of", "drawn"]

_KEPT_WORDS = ("InvasiveComponents", "InSituComponents")


@dataclass(frozen=True, slots=True)
class Drawn:
    """The lesions of an image; `unlinked` = a mark belongs to no lesion of NBSS."""

    lesions: tuple[FilmLesion, ...] = ()
    unlinked: bool = False

    @property
    def num_drawn(self) -> int:
        """Lesions with a box."""
        return sum(lesion.geometry is not None for lesion in self.lesions)


def drawn(client: str, judged: Judged | None, side: str | None, marks: Sequence[Mark]) -> Drawn:
    """Return the lesions of an image: its marks, then the lesions of its breast without a mark.

    Lesion numbers begin anew in each episode and on each side, so a mark is linked by episode, side
    and number; without a side nothing is linked.

    Raises
    ------
    ContentError
        `unknown_word`: a classification or opinion that the tables do not know.
    """
    known = _lesions_of(judged.episode, side) if judged and side else {}
    lesions: list[FilmLesion] = []
    linked: set[str] = set()
    unlinked = False
    for place, mark in enumerate(marks, start=1):
        numbers = tuple(number for number in mark.linked if number in known)
        unlinked = unlinked or not numbers
        linked.update(numbers)
        named = [known[number] for number in numbers]
        key = f"{client}/{judged.episode.key}/{side}/{numbers[0]}" if judged and numbers else None
        lesions.append(_marked(f"mark-{place}", mark, named, key))
    for number in sorted(known.keys() - linked, key=_by_number):
        told = known[number]
        if told.is_lesion:
            key = f"{client}/{judged.episode.key}/{side}/{number}" if judged else None
            lesions.append(_unmarked(number, told, key))
    return Drawn(tuple(lesions), unlinked)


def box_of(mark: Mark) -> Geometry | None:
    """Return a mark's box in native coordinates, half-open.

    X and Y are array indices from the top left; which corner comes first varies, and both corner
    pixels belong to the box:

    >>> mark = Mark(key="1", words={"X1": "756", "Y1": "1733", "X2": "1183", "Y2": "1487"})
    >>> box_of(mark).values
    (756.0, 1487.0, 1184.0, 1734.0)
    """
    if mark.corners is None:
        return None
    x1, y1, x2, y2 = mark.corners
    left, right, top, bottom = min(x1, x2), max(x1, x2), min(y1, y2), max(y1, y2)
    return Geometry(
        kind=GeometryKind.BOX,
        values=(float(left), float(top), float(right + 1), float(bottom + 1)),
    )


# ---- NBSS


@dataclass(frozen=True, slots=True, kw_only=True)
class _Told:
    """What NBSS says of one lesion."""

    number: str
    finding: Finding | None
    pathology: Pathology
    basis: LabelBasis
    raw: str | None
    high_risk: bool
    is_lesion: bool


def _by_number(number: str) -> tuple[int, str]:
    return (int(number) if number.isdecimal() else 0, number)


def _lesions_of(episode: Episode, side: str) -> dict[str, _Told]:
    """Return the lesions of a breast by number: described, biopsied, operated or diagnosed."""
    numbers = {number for lesion_side, number in episode.lesions if lesion_side == side}
    for event in episode.of(*PROOFS, "INTERVALCANCER"):
        numbers |= {number for lesion_side, number in event.lesions if lesion_side == side}
    return {number: _told(episode, side, number) for number in numbers}


def _told(episode: Episode, side: str, number: str) -> _Told:
    place = f"lesion {side} {number} of episode {episode.key}"
    described = episode.lesions.get((side, number), {}).get("LesionDescription")
    finding: Finding | None = Finding.UNKNOWN
    if described:
        finding = words.known(words.DESCRIPTIONS, described, "LesionDescription", place)
    tissue = [
        event.lesions[side, number]
        for event in episode.of(*PROOFS)
        if (side, number) in event.lesions
    ]
    opinions = [fields["Opinion"] for fields in tissue if "Opinion" in fields]
    pathology = worst(*(words.known(words.OPINIONS, word, "Opinion", place) for word in opinions))
    basis = LabelBasis.BIOPSY if opinions else LabelBasis.UNKNOWN
    diagnosed = any((side, number) in e.lesions for e in episode.of("INTERVALCANCER"))
    if diagnosed and not opinions:
        pathology, basis = Pathology.MALIGNANT, LabelBasis.SCREENING_OUTCOME
    return _Told(
        number=number,
        finding=finding,
        pathology=pathology,
        basis=basis,
        raw=_raw(opinions, tissue),
        high_risk=bool(words.HIGH_RISK_OPINIONS & set(opinions))
        and pathology is not Pathology.MALIGNANT,
        is_lesion=finding is not None or bool(opinions) or diagnosed,
    )


def _raw(opinions: Sequence[str], tissue: Sequence[Mapping[str, str]]) -> str | None:
    """Return opinions and known components; components are lists split by blanks."""
    parts = [
        component
        for fields in tissue
        for name in _KEPT_WORDS
        for component in fields.get(name, "").split()
        if component in words.COMPONENTS
    ]
    return " ".join(dict.fromkeys([*opinions, *parts])) or None


def _unmarked(number: str, told: _Told, key: str | None) -> FilmLesion:
    return FilmLesion(
        lesion_id=f"nbss-{number}",
        lesion_key=key,
        source_ids=(number,),
        finding=told.finding or Finding.UNKNOWN,
        pathology=told.pathology,
        label_basis=told.basis,
        label_raw=told.raw,
        flags=tuple(_flags([told], unlinked=True)),
    )


# ---- marks


def _marked(name: str, mark: Mark, told: Sequence[_Told], key: str | None) -> FilmLesion:
    pathology = worst(*(one.pathology for one in told))
    basis = next((one.basis for one in told if one.pathology is pathology), LabelBasis.UNKNOWN)
    margin, calc_type = _classes(mark)
    finding = _finding(mark)
    if finding is Finding.UNKNOWN:
        finding = next((one.finding for one in told if one.finding), Finding.UNKNOWN)
    return FilmLesion(
        lesion_id=name,
        lesion_key=key,
        source_ids=(mark.key, *(one.number for one in told)),
        finding=finding,
        pathology=pathology,
        label_basis=basis,
        label_raw="; ".join(one.raw for one in told if one.raw) or None,
        margin=margin,
        calc_type=calc_type,
        flags=tuple(_flags(told, unlinked=not told)),
        geometry=box_of(mark),
    )


def _flags(told: Sequence[_Told], *, unlinked: bool) -> Iterator[LesionFlag]:
    if any(one.high_risk for one in told):
        yield LesionFlag.HIGH_RISK
    if unlinked:
        yield LesionFlag.UNLINKED


def _is_set(mark: Mark, name: str) -> bool:
    """Say whether a field is set: 1 or its own name; null, 0 and absence say nothing."""
    return mark.words.get(name, "0").casefold() not in ("0", "0.0", "false", "null", "none", "")


def _finding(mark: Mark) -> Finding:
    found = [finding for name, finding in words.FINDING_FLAGS.items() if _is_set(mark, name)]
    if found:
        return found[0]
    if "MassClassification" in mark.words:
        return Finding.MASS
    return Finding.CALCIFICATION if "BenignClassification" in mark.words else Finding.UNKNOWN


def _classes(mark: Mark) -> tuple[tuple[Margin, ...], tuple[CalcType, ...]]:
    place = f"mark {mark.key}"
    margins: list[Margin] = []
    calcs = [kind for name, kind in words.CALC_FLAGS.items() if _is_set(mark, name)]
    if word := mark.words.get("MassClassification"):
        meant = words.known(words.MASS_CLASSES, word, "MassClassification", place)
        if isinstance(meant, Margin):
            margins.append(meant)
        elif meant is not None:
            calcs.append(meant)
    if word := mark.words.get("BenignClassification"):
        calcs.append(words.known(words.BENIGN_CLASSES, word, "BenignClassification", place))
    return tuple(margins), tuple(dict.fromkeys(calcs))
