"""Who is in a phantom CBIS-DDSM release: films and abnormalities of a patient, words, traps."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from etl.phantoms.lesions import Lesion, Plan, draw_plan
from etl.phantoms.scene import draw_pathology
from etl.phantoms.texture import generator

__all__ = ["Abnormality", "FilmCase", "PatientCase", "plan_patient", "words"]

KEY = "cbis_ddsm"
SIDES = {"LEFT": "L", "RIGHT": "R"}


@dataclass(frozen=True)
class Abnormality:
    """One lesion of a breast, before it is drawn on any film.

    Attributes
    ----------
    number
        Abnormality id.
    plan, pathology
        Size and contrast; `benign` or `malignant`.
    callback
        False for BENIGN_WITHOUT_CALLBACK.
    """

    number: int
    plan: Plan
    pathology: str
    callback: bool


@dataclass
class FilmCase:
    """One film folder.

    Attributes
    ----------
    table, split, breast, view
        `Mass` or `Calc`; `Training` or `Test`; `LEFT` or `RIGHT`; `CC` or `MLO`.
    abnormalities
        Those of this folder's table.
    drawn_with
        Abnormalities of the twin folder, drawn on the same film before its own.
    traps
        Words for what is odd about its files.
    """

    table: str
    split: str
    breast: str
    view: str
    abnormalities: list[Abnormality]
    drawn_with: list[Abnormality] = field(default_factory=list)
    twin: str | None = None
    traps: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class PatientCase:
    """A patient of the release."""

    index: int
    name: str
    density: str | None
    films: list[FilmCase]

    def key(self, film: FilmCase) -> str:
        """Return the film's PatientID, which is its folder's name."""
        return f"{film.table}-{film.split}_{self.name}_{film.breast}_{film.view}"


def plan_patient(index: int, seed: int, *, traps: bool, damage: bool) -> PatientCase:
    """Decide a patient's films, 0-based `index`; traps lie in the first eight patients."""
    rng = generator(seed, KEY, index, "case")
    table = "Mass" if rng.uniform() < 0.7 else "Calc"
    split = "Test" if index % 5 == 4 else "Training"
    breasts = ["LEFT", "RIGHT"] if rng.uniform() < 0.25 else [("LEFT", "RIGHT")[rng.integers(2)]]
    views = ["CC", "MLO"] if rng.uniform() < 0.85 else [("CC", "MLO")[rng.integers(2)]]
    films = []
    for breast in breasts:
        count = 1 + int(rng.uniform() < 0.15)
        here = [_abnormality(seed, index, breast, table, k + 1) for k in range(count)]
        films += [FilmCase(table, split, breast, view, here) for view in views]
    patient = PatientCase(index, f"P_{90001 + index:05d}", None, films)
    return _TRAPS[index](patient, seed, damage) if traps and index in _TRAPS else patient


def _abnormality(
    seed: int, index: int, breast: str, table: str, number: int, pathology: str | None = None
) -> Abnormality:
    path = (KEY, index, breast, table, number)
    kind = "mass" if table == "Mass" else "calcification"
    plan = draw_plan(generator(seed, *path, "plan"), kind)
    drawn = draw_pathology(generator(seed, *path, "pathology"))
    callback = bool(generator(seed, *path, "callback").uniform() < 0.7)
    return Abnormality(number, plan, pathology or drawn, callback)


def _pair(seed: int, index: int, table: str, split: str, breast: str) -> list[FilmCase]:
    here = [_abnormality(seed, index, breast, table, 1)]
    return [FilmCase(table, split, breast, view, here) for view in ("CC", "MLO")]


def _several(patient: PatientCase, seed: int, damage: bool) -> PatientCase:
    """Give one breast three abnormalities, one of them malignant."""
    labels = ("malignant", "benign", "benign")
    here = []
    for k, label in enumerate(labels, start=1):
        one = _abnormality(seed, patient.index, "LEFT", "Mass", k, label)
        plan = Plan("mass", min(one.plan.radius_mm, 7.5), one.plan.contrast)
        here.append(Abnormality(k, plan, label, one.callback))
    films = [FilmCase("Mass", "Training", "LEFT", view, here) for view in ("CC", "MLO")]
    for film in films:
        film.traps.append("mixed")
    return PatientCase(patient.index, patient.name, patient.density, films)


def _twin(patient: PatientCase, seed: int, damage: bool) -> PatientCase:
    """Put the same CC film into a mass folder (train) and a calcification folder (test)."""
    mass = _pair(seed, patient.index, "Mass", "Training", "LEFT")
    calc = _pair(seed, patient.index, "Calc", "Test", "LEFT")[:1]
    films = [*mass, *calc]
    both = PatientCase(patient.index, patient.name, patient.density, films)
    mass[0].twin, calc[0].twin = both.key(calc[0]), both.key(mass[0])
    mass[0].traps.append("twin")
    calc[0].traps.append("twin")
    calc[0].drawn_with = mass[0].abnormalities
    return both


def _both_tables(patient: PatientCase, seed: int, damage: bool) -> PatientCase:
    """Put the patient into both training tables, and shrink one mask by a tenth."""
    films = _pair(seed, patient.index, "Mass", "Training", "LEFT")
    films += _pair(seed, patient.index, "Calc", "Training", "RIGHT")
    films[0].traps.append("mask_scaled")
    return PatientCase(patient.index, patient.name, patient.density, films)


def _blanks(patient: PatientCase, seed: int, damage: bool) -> PatientCase:
    """Write density 0 and N/A cells, and make one mask a few columns too wide."""
    films = _pair(seed, patient.index, "Calc", "Test", "RIGHT")
    films += _pair(seed, patient.index, "Mass", "Test", "LEFT")[:1]
    films[0].traps.append("mask_padded")
    for film in films:
        film.traps.append("blank_words")
    return PatientCase(patient.index, patient.name, "0", films)


def _apart(patient: PatientCase, seed: int, damage: bool) -> PatientCase:
    """Keep crop and mask in two series; give the second film's mask another shape."""
    films = _pair(seed, patient.index, "Mass", "Training", "RIGHT")
    for film in films:
        film.traps.append("apart")
    films[1].traps.append("mask_wrong_shape")
    return PatientCase(patient.index, patient.name, patient.density, films)


def _no_mask(patient: PatientCase, seed: int, damage: bool) -> PatientCase:
    """Blank one film's mask and leave out the other's."""
    films = _pair(seed, patient.index, "Calc", "Training", "LEFT")
    films[0].traps.append("mask_empty")
    films[1].traps.append("mask_missing")
    return PatientCase(patient.index, patient.name, patient.density, films)


def _damaged(patient: PatientCase, seed: int, damage: bool) -> PatientCase:
    """Leave one film out and cut the other short."""
    if not damage:
        return patient
    films = _pair(seed, patient.index, "Mass", "Training", "RIGHT")
    films[0].traps.append("absent")
    films[1].traps.append("truncated")
    return PatientCase(patient.index, patient.name, patient.density, films)


_TRAPS = {
    1: _several,
    2: _twin,
    3: _both_tables,
    4: _blanks,
    5: _apart,
    6: _no_mask,
    7: _damaged,
}


def _choose(rng: np.random.Generator, *options: str) -> str:
    return options[int(rng.integers(len(options)))]


def words(
    rng: np.random.Generator, lesion: Lesion, abnormality: Abnormality, *, blank: bool
) -> dict[str, str]:
    """Describe a lesion in the table's own words.

    Parameters
    ----------
    blank
        Write `N/A` where the release sometimes does.
    """
    malignant = abnormality.pathology == "malignant"
    if lesion.kind == "mass":
        shape = "IRREGULAR" if malignant else lesion.form.upper()
        margin = "SPICULATED" if malignant else _choose(rng, *["CIRCUMSCRIBED"] * 3, "OBSCURED")
        if malignant and rng.uniform() < 0.15:
            shape = "IRREGULAR-ARCHITECTURAL_DISTORTION"
        described = {"mass shape": shape, "mass margins": "N/A" if blank else margin}
    else:
        form = _choose(rng, "PLEOMORPHIC", "FINE_LINEAR_BRANCHING", "PLEOMORPHIC-PLEOMORPHIC")
        plain = _choose(rng, "PUNCTATE", "ROUND_AND_REGULAR", "PUNCTATE-ROUND_AND_REGULAR")
        spread = _choose(rng, "CLUSTERED", "CLUSTERED", "SEGMENTAL" if malignant else "REGIONAL")
        kind = form if malignant else plain
        described = {
            "calc type": "N/A" if blank else kind,
            "calc distribution": "N/A" if blank else spread,
        }
    grave, mild = _choose(rng, "4", "5", "4"), _choose(rng, "0", "3", "4", "3")
    if not abnormality.callback:
        mild = "2"
    label = "MALIGNANT" if malignant else "BENIGN"
    if label == "BENIGN" and not abnormality.callback:
        label = "BENIGN_WITHOUT_CALLBACK"
    subtlety = str(1 + min(int((lesion.contrast - 3.5) / 0.4), 4))
    return {
        **described,
        "assessment": grave if malignant else mild,
        "pathology": label,
        "subtlety": subtlety,
    }
