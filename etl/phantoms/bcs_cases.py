"""Who is in a phantom BCS-DBT release: studies, views, lesions and what is odd about them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from etl.phantoms.lesions import Plan, draw_plan
from etl.phantoms.scene import draw_pathology
from etl.phantoms.texture import generator

__all__ = ["KEY", "StudyCase", "ViewCase", "lesion_plans", "plan_patient"]

KEY = "bcs_dbt"
FOUR = ("lcc", "lmlo", "rcc", "rmlo")
WORDS = {"malignant": "Cancer", "benign": "Benign"}
DESCRIPTIONS = (
    "MAMMO screening digital bilateral",
    "MAMMO SCREENING DIGITAL BIALTERAL",
    "MAMMO DIAGNOSTIC DIGITAL BILATERAL",
    "Implant Screening - ComboHD",
)


@dataclass(frozen=True)
class ViewCase:
    """One volume: its view as the tables write it, and our words for what is odd.

    `boxes` is the number of lesions; with the trap `two_slices` each has a slice of its own.
    """

    view: str
    boxes: int = 0
    traps: tuple[str, ...] = ()


@dataclass(frozen=True)
class StudyCase:
    """One study: its label's word, the views that were released, and the split of its patient."""

    word: str
    views: tuple[ViewCase, ...]
    split: str = "train"
    sex: str = "F"
    description: str = DESCRIPTIONS[0]


def _four(*traps: tuple[str, str]) -> tuple[ViewCase, ...]:
    odd = dict(traps)
    return tuple(ViewCase(view, 0, (odd[view],) if view in odd else ()) for view in FOUR)


TRAPS: tuple[tuple[StudyCase, ...], ...] = (
    (
        StudyCase(
            "Cancer", (ViewCase("lcc", 2, ("same_slice",)), ViewCase("lmlo", 1, ("upside_down",)))
        ),
    ),
    (
        StudyCase(
            "Benign",
            (
                ViewCase("rcc", 1),
                ViewCase("rmlo", 1, ("repeat",)),
                ViewCase("rmlo1", 1, ("upside_down",)),
            ),
            description=DESCRIPTIONS[2],
        ),
    ),
    (StudyCase("Normal", _four(("lcc", "upside_down"), ("rcc", "bright"))),),
    (
        StudyCase("Actionable", _four()),
        StudyCase("Normal", _four(("rcc", "absent")), description=DESCRIPTIONS[1]),
    ),
    (
        StudyCase(
            "Cancer",
            (ViewCase("lcc2", 2, ("two_slices",)), ViewCase("lmlo1", 1, ("bright",))),
            description=DESCRIPTIONS[2],
        ),
    ),
    (
        StudyCase(
            "Benign", (ViewCase("rcc", 1, ("beyond",)), ViewCase("rmlo", 1)), split="validation"
        ),
    ),
    (
        StudyCase(
            "Normal",
            _four(("rcc", "truncated")),
            split="test",
            sex="M",
            description=DESCRIPTIONS[3],
        ),
    ),
    (StudyCase("Cancer", (ViewCase("lcc", 1), ViewCase("lmlo", 1)), split="test"),),
)
"""Studies of the first eight patients."""


def plan_patient(index: int, seed: int, *, traps: bool, damage: bool) -> tuple[StudyCase, ...]:
    """Return the studies of the patient with this number, counted from 0.

    As in the release, studies without biopsy have four views, those with one only the views that
    show its lesions.
    """
    if not traps or index >= len(TRAPS):
        return (_drawn_study(generator(seed, KEY, index, "case")),)
    if damage:
        return TRAPS[index]
    kept = ("absent", "truncated")
    return tuple(
        StudyCase(
            study.word,
            tuple(
                ViewCase(view.view, view.boxes, tuple(t for t in view.traps if t not in kept))
                for view in study.views
            ),
            study.split,
            study.sex,
            study.description,
        )
        for study in TRAPS[index]
    )


def _drawn_study(rng: np.random.Generator) -> StudyCase:
    split = ("train", "validation", "test")[int(np.searchsorted((0.8, 0.88), rng.uniform()))]
    biopsied, recalled = rng.uniform() < 0.6, rng.uniform() < 0.15
    side, pathology = "lr"[int(rng.integers(2))], draw_pathology(rng)
    if not biopsied:
        return StudyCase("Actionable" if recalled else "Normal", _four(), split)
    views = tuple(ViewCase(side + view, 1) for view in ("cc", "mlo"))
    return StudyCase(WORDS[pathology], views, split)


def lesion_plans(
    seed: int, path: tuple[int | str, ...], word: str, view: ViewCase, count: int
) -> list[tuple[Plan, str, int]]:
    """Return plan, pathology and slice of a volume's lesions; slices lie as deep as any sample's.

    All are masses: the release has none that are only calcifications.
    """
    pathology = next((one for one, known in WORDS.items() if known == word), "benign")
    rng = generator(seed, *path, "depth")
    first = int(rng.uniform(0.25, 0.75) * count)
    slices = [first] * view.boxes
    if "two_slices" in view.traps:
        slices = [int(rng.uniform(0.25, 0.35) * count), int(rng.uniform(0.65, 0.75) * count)]
    plans = []
    for number, place in enumerate(slices):
        plan = draw_plan(generator(seed, *path, "lesion", number, "plan"), "mass")
        if view.boxes > 1:
            plan = Plan(plan.kind, min(plan.radius_mm, 7.0), plan.contrast)
        plans.append((plan, pathology, place))
    return plans
