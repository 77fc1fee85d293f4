"""Who is in a phantom CMMD release: patients, breasts, rows, lesions and what is odd about them.

Six of the first eight patients carry ids of the collection, because the oddity belongs to the id;
all others are numbered beyond its 1,775.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from etl.phantoms.lesions import Plan, draw_plan
from etl.phantoms.scene import draw_pathology
from etl.phantoms.texture import generator

__all__ = ["KEY", "TWINS", "Breast", "Lesion", "PatientCase", "plan_patient"]

KEY = "cmmd"
TWINS = {"D2-0284": "D1-0202", "D1-1292": "D1-0808"}
"""Patient to the one whose films are the same."""
SUBTYPES = ("Luminal A", "Luminal B", "HER2-enriched", "triple negative")


@dataclass(frozen=True)
class Lesion:
    """A planned lesion: the same on both views of its breast."""

    plan: Plan
    look: str
    label: str
    tool: str = "Draw"
    outlined: bool = True


@dataclass
class Breast:
    """One imaged breast.

    Attributes
    ----------
    side
        As the header says it.
    lesions
        What is drawn into the pictures.
    abnormality, classification, subtype
        Cells of its row; None where the table has no row for it.
    seen
        TOMPEI's class.
    category
        TOMPEI's BI-RADS.
    """

    side: str
    lesions: list[Lesion] = field(default_factory=list)
    abnormality: str | None = None
    classification: str | None = None
    subtype: str | None = None
    seen: str = "Normal"
    category: int = 1


@dataclass
class PatientCase:
    """One patient.

    Attributes
    ----------
    name
        PatientID.
    age
        Years.
    breasts
        Those that were imaged.
    traps
        Film (`L_CC`) to what is odd about it.
    """

    index: int
    name: str
    age: int
    breasts: list[Breast]
    traps: dict[str, list[str]] = field(default_factory=dict)

    def breast(self, side: str) -> Breast:
        """Return the breast of this side."""
        return next(breast for breast in self.breasts if breast.side == side)


def plan_patient(index: int, seed: int, *, traps: bool, damage: bool) -> PatientCase:
    """Plan one patient; the first eight carry the oddities."""
    case = _SPECIAL[index](index, seed) if traps and index < len(_SPECIAL) else _plain(index, seed)
    if damage and index == 7:
        case.traps.setdefault("L_CC", []).append("absent")
        case.traps.setdefault("R_CC", []).append("truncated")
    return case


def _plain(index: int, seed: int) -> PatientCase:
    rng = generator(seed, KEY, "patient", index, "cohort")
    second = rng.uniform() < 0.45
    case = _patient(index, seed, f"D{1 + second}-{9001 + index}")
    side = "LR"[int(rng.integers(2))]
    _examined(case, seed, side)
    if second:
        case.breasts.append(Breast("R" if side == "L" else "L"))
        breast = case.breasts[0]
        if breast.classification == "Malignant":
            breast.subtype = SUBTYPES[int(rng.integers(len(SUBTYPES)))]
    return case


def _patient(index: int, seed: int, name: str) -> PatientCase:
    rng = generator(seed, KEY, "patient", index, "age")
    return PatientCase(index, name, int(rng.integers(25, 80)), [])


def _examined(
    case: PatientCase,
    seed: int,
    side: str,
    kinds: tuple[str, ...] = (),
    *,
    named: str | None = None,
    classification: str | None = None,
) -> Breast:
    """Add a breast with lesions, a row and TOMPEI's opinion.

    Parameters
    ----------
    kinds
        Of the lesions; drawn where none is given.
    named
        What the row calls abnormal, where it is not simply what was drawn.
    """
    rng = generator(seed, KEY, "breast", case.name, side)
    chosen = kinds or (draw_plan(rng).kind, "calcification")[: 1 + (rng.uniform() < 0.25)]
    look = {None: draw_pathology(rng), "Benign": "benign", "Malignant": "malignant"}[classification]
    both = {"mass", "calcification"} <= set(chosen)
    breast = Breast(
        side,
        abnormality=named or ("both" if both else chosen[0]),
        classification=look.capitalize(),
        seen=look.capitalize(),
        category=int(rng.integers(2, 4) if look == "benign" else rng.integers(4, 6)),
    )
    for number, kind in enumerate(chosen):
        plan = draw_plan(generator(seed, KEY, "lesion", case.name, side, number), kind)
        if len(chosen) > 1:
            plan = Plan(plan.kind, min(plan.radius_mm, 8.0), plan.contrast)
        label = "mass" if kind == "mass" else "calc"
        breast.lesions.append(Lesion(plan, look, label))
    case.breasts.append(breast)
    return breast


def _first_twin(index: int, seed: int, name: str = "D1-0202") -> PatientCase:
    """Plan two breasts of different classes; the left one's row names one of two findings."""
    case = _patient(index, seed, name)
    left = _examined(
        case,
        seed,
        "L",
        ("mass", "calcification"),
        named="calcification",
        classification="Malignant",
    )
    left.lesions[1] = Lesion(left.lesions[1].plan, left.lesions[1].look, "calc ")
    _examined(case, seed, "R", ("calcification",), classification="Benign")
    return case


def _second_twin(index: int, seed: int) -> PatientCase:
    """Plan the same pictures under another id: another finding, no row for the right breast."""
    first = _first_twin(0, seed)
    case = _patient(index, seed, "D2-0284")
    case.age, case.breasts = first.age, first.breasts
    left, right = case.breasts
    left.abnormality, left.subtype = "both", "Luminal A"
    right.abnormality = right.classification = None
    return case


def _benign_twin(index: int, seed: int) -> PatientCase:
    case = _patient(index, seed, "D1-0808")
    _examined(case, seed, "R", ("mass",), classification="Benign")
    return case


def _malignant_twin(index: int, seed: int) -> PatientCase:
    """Plan a CC image that is the benign twin's, and an MLO image of its own."""
    case = _patient(index, seed, "D1-1292")
    _examined(case, seed, "R", ("mass",), classification="Malignant")
    return case


def _sixteen_bits(index: int, seed: int) -> PatientCase:
    """Store 16 bits: one view uses the range, the other 901 levels; the cancer is invisible."""
    case = _patient(index, seed, "D1-1343")
    breast = _examined(case, seed, "L", ("mass",), classification="Malignant")
    breast.lesions, breast.seen = [], "Invisible"
    case.traps = {"L_CC": ["16 bits"], "L_MLO": ["16 bits", "901 levels"]}
    return case


def _several(index: int, seed: int) -> PatientCase:
    """Plan three outlines in a malignant breast; the other breast has no row."""
    case = _patient(index, seed, "D2-9006")
    breast = _examined(case, seed, "R", ("mass", "mass", "mass"), classification="Malignant")
    for number, label in ((1, "FAD"), (2, "lipoma")):
        one = breast.lesions[number]
        breast.lesions[number] = Lesion(one.plan, one.look, label, "Polyline")
    breast.subtype = "triple negative"
    case.breasts.append(Breast("L"))
    case.traps = {"L_CC": ["second object"]}
    return case


def _swapped(index: int, seed: int) -> PatientCase:
    """Give the headers of the two MLO images each other's side."""
    case = _patient(index, seed, "D1-0999")
    for side in "LR":
        _examined(case, seed, side, ("mass",))
    case.traps = {"L_MLO": ["wrong side"], "R_MLO": ["wrong side"]}
    return case


def _half_outlined(index: int, seed: int) -> PatientCase:
    """Let the row name calcifications that TOMPEI's readers did not outline."""
    case = _patient(index, seed, "D2-9008")
    breast = _examined(case, seed, "L", ("mass", "calcification"), classification="Malignant")
    hidden = breast.lesions[1]
    breast.lesions[1] = Lesion(hidden.plan, hidden.look, hidden.label, outlined=False)
    case.breasts.append(Breast("R"))
    return case


_SPECIAL = (
    *(_first_twin, _second_twin, _benign_twin, _malignant_twin),
    *(_sixteen_bits, _several, _swapped, _half_outlined),
)
