"""Who is in a phantom OMI-DB release: clients, their episodes, and what each breast must be called.

The labels beside the episodes are what the rounds were made to mean; they are written here, not
computed.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

import numpy as np

from etl.phantoms.lesions import Plan, draw_plan
from etl.phantoms.omi_episodes import (
    KEY,
    SIDES,
    VIEWS,
    Client,
    Growth,
    Image,
    Json,
    Label,
    Round,
    described,
    episode_json,
    event,
    screening,
)
from etl.phantoms.scene import draw_pathology
from etl.phantoms.texture import generator

__all__ = ["plan_client"]


def _four(**options: Any) -> list[Image]:
    return [Image(side, view, **options) for side in SIDES for view in VIEWS]


def _both(pathology: str, basis: str) -> dict[str, Label]:
    return dict.fromkeys(SIDES, (pathology, basis))


def _later(day: datetime.date, days: int) -> datetime.date:
    return day + datetime.timedelta(days)


# ---- the eight clients with traps


class _Draws:
    """The random numbers of one client."""

    def __init__(self, seed: int, index: int) -> None:
        self.seed, self.index = seed, index
        rng = self("dates")
        self.day = datetime.date(2009, 1, 1) + datetime.timedelta(int(rng.integers(0, 1000)))

    def __call__(self, *path: int | str) -> np.random.Generator:
        return generator(self.seed, KEY, self.index, *path)

    def plan(self, *path: int | str, kind: str | None = None) -> Plan:
        return draw_plan(self(*path, "plan"), kind)


def _normal(draws: _Draws) -> Client:
    """Two normal rounds; pairs for presentation and processing; one film for processing only."""
    day, later = draws.day, _later(draws.day, 1100)
    first = [
        Image("L", "CC", twin=True),
        Image("R", "CC", twin=True, traps=("unnamed_twin",)),
        Image("L", "MLO"),
        Image("R", "MLO"),
    ]
    second = [Image("L", "CC"), Image("R", "CC", raw=True)]
    return Client(
        "demd9000001",
        [
            Round(
                "101",
                day,
                episode_json("F", day, SCREENING=screening(day)),
                _both("normal", "follow_up"),
                first,
            ),
            Round(
                "102",
                later,
                episode_json("R", later, SCREENING=screening(later)),
                _both("normal", "screening_outcome"),
                second,
            ),
        ],
    )


def _malignant(draws: _Draws) -> Client:
    """Draw a cancer on the right: a box for two lesions, components, corners in any order."""
    day = draws.day
    proof = {"Opinion": "B5", "InvasiveComponents": "IDC ILC", "MalignancyType": "b"}
    episode = episode_json(
        "R",
        day,
        SCREENING=screening(day, right="Suspicious"),
        ASSESSMENT=event(_later(day, 14), {"R": ("Malignant", {"1": {"Opinion": "A5"}})}),
        BIOPSYWIDE=event(_later(day, 14), {"R": ("Malignant", {"1": proof})}),
        SURGERY=event(_later(day, 41), {"R": ("Malignant", {"1": {"Opinion": "H5"}})}),
        LESION=described(("R", "1", "Mass with calcification"), ("R", "2", "Calcification only")),
    )
    growths = [
        Growth(
            1,
            "malignant",
            "biopsy",
            "malignant",
            draws.plan("R", kind="mass"),
            link={"CC": "1,2", "MLO": "01"},
        ),
        Growth(2, "unknown", "unknown", "benign", None, marked=()),
    ]
    labels = {"L": ("normal", "screening_outcome"), "R": ("malignant", "biopsy")}
    images = _four()
    images[2].traps = ("falling_corners",)
    return Client(
        "demd9000002", [Round("201", day, episode, labels, images, {"R": growths})], dark=True
    )


def _bilateral(draws: _Draws) -> Client:
    """Lesion 1 left is benign, lesion 1 right malignant; codes, and names in capitals."""
    day = draws.day
    proofs = {
        "L": ("Benign", {"1": {"Opinion": "B2", "BenignLesions": "FC"}}),
        "R": ("Malignant", {"01": {"Opinion": "B5", "InSituComponents": "NID"}}),
    }
    episode = episode_json(
        "R",
        day,
        SCREENING=screening(day, left="Suspicious", right="Suspicious"),
        BIOPSYWIDE=event(_later(day, 14), proofs),
        LESION=described(("L", "1", "MA"), ("R", "1", "MA")),
    )
    growths = {
        "L": [Growth(1, "benign", "biopsy", "benign", draws.plan("L", kind="mass"))],
        "R": [Growth(1, "malignant", "biopsy", "malignant", draws.plan("R", kind="mass"))],
    }
    labels = {"L": ("benign", "biopsy"), "R": ("malignant", "biopsy")}
    return Client(
        "optm9000003",
        [Round("301", day, episode, labels, _four(), growths)],
        capitals=True,
        coded=True,
    )


def _interval(draws: _Draws) -> Client:
    """Draw an interval cancer that only the registry names, its prior, and an unlinked box."""
    day, later = draws.day, _later(draws.day, 437)
    diagnosis = {"L": {"1": {"DatePerformed": later.isoformat()}}}
    cancer = {
        **episode_json("CI", later, INTERVALCANCER=diagnosis),
        "IntervalCancerDateOfDiagnosis": later.isoformat(),
    }
    growth = Growth(
        1,
        "malignant",
        "screening_outcome",
        "malignant",
        draws.plan("L", kind="mass"),
        marked=("CC",),
        link={"CC": "UNLINKED"},
    )
    return Client(
        "demd9000004",
        [
            Round(
                "401",
                day,
                episode_json("R", day, SCREENING=screening(day)),
                _both("unknown", "unknown"),
                _four(),
                flags={side: ["prior"] for side in SIDES},
                months=14.4,
            ),
            Round(
                "402",
                later,
                cancer,
                {"L": ("malignant", "screening_outcome")},
                [Image("L", "CC"), Image("L", "MLO")],
                {"L": [growth]},
            ),
        ],
        dotted=True,
    )


def _assessed(draws: _Draws) -> Client:
    """Assessed and biopsied, normal; a magnified view; a header without JSON, a strange view."""
    day, clinic = draws.day, _later(draws.day, 14)
    episode = episode_json(
        "R",
        day,
        SCREENING=screening(day, left="Uncertain"),
        ASSESSMENT=event(clinic, {"L": ("Normal", {"1": {"Opinion": "A1"}})}),
        BIOPSYWIDE=event(clinic, {"L": ("Normal", {})}),
        LESION=described(("L", "1", "No significant abnormality")),
    )
    labels = _both("normal", "assessment")
    images = _four()
    images[0].traps, images[1].traps = ("no_json",), ("cut_json",)
    images[3].traps = ("strange_view",)
    spot = Image("L", "CC", spot=True)
    return Client(
        "demd9000005",
        [Round("501", day, episode, labels, images), Round("501", clinic, None, labels, [spot])],
    )


def _prior(draws: _Draws) -> Client:
    """Draw the round before a malignant one; in-situ cancer seen as calcifications."""
    day, later = draws.day, _later(draws.day, 1098)
    proof = {"Opinion": "H5", "InSituComponents": "NID", "DcisGrade": "NDH"}
    cancer = episode_json(
        "R",
        later,
        SCREENING=screening(later, left="Suspicious"),
        SURGERY=event(_later(later, 28), {"L": ("Malignant", {"1": proof})}),
        LESION=described(("L", "1", "CA")),
    )
    growth = Growth(
        1,
        "malignant",
        "biopsy",
        "malignant",
        draws.plan("L", kind="calcification"),
        marked=("CC",),
    )
    return Client(
        "demd9000006",
        [
            Round(
                "601",
                day,
                episode_json("F", day, SCREENING=screening(day)),
                _both("unknown", "unknown"),
                [Image("L", "CC"), Image("R", "CC")],
                flags={side: ["prior"] for side in SIDES},
                months=36.1,
            ),
            Round(
                "602",
                later,
                cancer,
                {"L": ("malignant", "biopsy"), "R": ("normal", "screening_outcome")},
                _four(),
                {"L": [growth]},
            ),
        ],
        digits=True,
    )


def _by_date(draws: _Draws) -> Client:
    """No EpisodeID: linked by its day; empty keys; side in the description; two damaged files."""
    day = draws.day
    other = screening(_later(day, 13))
    episode = episode_json("R", day, SCREENING=screening(day), OTHERSCREENING={"1": other})
    images = _four()
    images[0].traps, images[2].traps = ("described_side",), ("absent",)
    images[3].traps = ("truncated",)
    return Client(
        "optm9000007",
        [
            Round(
                "701",
                day,
                episode,
                _both("normal", "screening_outcome"),
                images,
                linked=False,
            )
        ],
        empty_keys=True,
    )


def _contradicted(draws: _Draws) -> Client:
    """Type CI and yet a benign operation: undefined; a later round after that operation."""
    day, later = draws.day, _later(draws.day, 900)
    surgery = event(day, {"R": ("Benign", {"1": {"Opinion": "H2"}})})
    strange = {
        **episode_json("CI", day, SURGERY=surgery),
        "IntervalCancerDateOfDiagnosis": _later(day, -19).isoformat(),
    }
    growth = Growth(1, "benign", "biopsy", "benign", draws.plan("R", kind="mass"), marked=())
    images = [Image("R", "CC"), Image("R", "MLO", traps=("unlisted",))]
    return Client(
        "demd9000008",
        [
            Round("801", day, strange, _both("unknown", "unknown"), images, {"R": [growth]}),
            Round(
                "802",
                later,
                episode_json("R", later, SCREENING=screening(later)),
                _both("normal", "screening_outcome"),
                [Image("L", "CC"), Image("R", "CC")],
                flags={"R": ["postoperative"]},
            ),
        ],
    )


_TRAPPED: tuple[Callable[[_Draws], Client], ...] = (
    _normal,
    _malignant,
    _bilateral,
    _interval,
    _assessed,
    _prior,
    _by_date,
    _contradicted,
)


# ---- everybody else


def _plain(draws: _Draws) -> Client:
    """One round; each breast has a lesion or none, benign or malignant, by chance."""
    day = draws.day
    growths: dict[str, list[Growth]] = {}
    labels = _both("normal", "screening_outcome")
    proofs: dict[str, tuple[str, dict[str, Json]]] = {}
    named = []
    for side in SIDES:
        if draws(side, "count").uniform() < 0.5:
            continue
        plan, word = draws.plan(side), draw_pathology(draws(side, "pathology"))
        growths[side] = [Growth(1, word, "biopsy", word, plan)]
        labels[side] = (word, "biopsy")
        code = "B5" if word == "malignant" else "B2"
        proofs[side] = (word.capitalize(), {"1": {"Opinion": code}})
        named.append((side, "1", "Mass" if plan.kind == "mass" else "Calcification only"))
    seen = {side: "Suspicious" if side in growths else "Normal" for side in SIDES}
    blocks = {"SCREENING": screening(day, seen["L"], seen["R"])}
    if proofs:
        blocks |= {"BIOPSYWIDE": event(_later(day, 14), proofs), "LESION": described(*named)}
    name = f"demd{9000001 + draws.index}"
    return Client(
        name, [Round("1", day, episode_json("R", day, **blocks), labels, _four(), growths)]
    )


def plan_client(index: int, seed: int, *, traps: bool) -> Client:
    """Return one client; the first eight carry the release's oddities where `traps` says so."""
    draws = _Draws(seed, index)
    return _TRAPPED[index](draws) if traps and index < len(_TRAPPED) else _plain(draws)
