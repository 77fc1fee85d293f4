"""The words of CDD-CESM and what they become: tables to be proof-read.

Counts are those of sheet `all` (2,006 rows) of `Radiology-manual-annotations.xlsx`.
"""

from __future__ import annotations

from collections.abc import Mapping

from schemas.release import Words
from schemas.vocabulary import Birads, Density, Finding, Margin, MassShape, Modality, Pathology

__all__ = [
    "BIRADS",
    "DENSITIES",
    "ENHANCING",
    "FINDINGS",
    "LABELS",
    "MARGINS",
    "MODALITIES",
    "SHAPES",
    "SPELLINGS",
    "WORDS",
    "findings_of",
]

PAPER = "Khaled et al., Sci Data 9:122 (2022), doi 10.1038/s41597-022-01238-0"

LABELS: dict[str, Pathology] = {
    "Normal": Pathology.NORMAL,
    "Benign": Pathology.BENIGN,
    "Malignant": Pathology.MALIGNANT,
}

MODALITIES: dict[str, Modality] = {"DM": Modality.CESM_LE, "CM": Modality.CESM_SUB}
"""Third part of a file name. The column `Type` says CESM where the name says CM."""

BIRADS: dict[str, Birads | None] = {
    **{number: Birads(number) for number in "0123456"},
    "_": None,
}
"""Each part of a cell such as `5$2`, one score a finding."""

DENSITIES: dict[str, Density | None] = {**{letter: Density(letter) for letter in "ABCD"}, "_": None}

SHAPES: dict[str, MassShape | None] = {
    "round": MassShape.ROUND,
    "rounded": MassShape.ROUND,
    "oval": MassShape.OVAL,
    "irregular": MassShape.IRREGULAR,
    "lobulated": MassShape.LOBULATED,
    "_": None,
}
"""Words of `Mass shape`, which are joined by `-`."""

MARGINS: dict[str, Margin | None] = {
    "circumscribed": Margin.CIRCUMSCRIBED,
    "lobulated circumscribed": Margin.CIRCUMSCRIBED,
    "microlobulated": Margin.MICROLOBULATED,
    "obscured": Margin.OBSCURED,
    "partially obscured": Margin.OBSCURED,
    "partially obscured lobulated": Margin.OBSCURED,
    "lobulated partially obscured": Margin.OBSCURED,
    "indistinct": Margin.ILL_DEFINED,
    "irregular": Margin.IRREGULAR,
    "speculated": Margin.SPICULATED,
    "spiculated": Margin.SPICULATED,
    "speculated ulcerating": Margin.SPICULATED,
    "_": None,
}
"""Words of `Mass margin`, which are joined by `-`; the release spells spiculated `Speculated`."""

SPELLINGS: dict[str, str] = {
    "asymmetrcial": "asymmetrical",
    "asymmetrial": "asymmetrical",
    "assymetrical": "asymmetrical",
    "assymmetrical": "asymmetrical",
    "calcific foci": "calcification",
    "calcificaion": "calcification",
    "calcificaton": "calcification",
    "calification": "calcification",
    "distorton": "distortion",
    "ehancing": "enhancing",
    "enahncing": "enhancing",
    "enhacement": "enhancement",
    "enhacing": "enhancing",
    "enhancment": "enhancement",
    "enhancng": "enhancing",
    "post operative": "postoperative",
}
"""Slips of the pen in `Findings`, in small letters, and what was meant."""

FINDINGS: dict[str, Finding | None] = {
    "no mass or non mass enhancement": None,
    "no enhancement": None,
    "non enhancement": None,
    "non enhancing mass": Finding.MASS,
    "non mass enhancement": Finding.NON_MASS_ENHANCEMENT,
    "mass": Finding.MASS,
    "nodule": Finding.MASS,
    "calcification": Finding.CALCIFICATION,
    "distortion": Finding.ARCHITECTURAL_DISTORTION,
    "focal asymmetrical increased densit": Finding.FOCAL_ASYMMETRY,
    "focal asymmetry": Finding.FOCAL_ASYMMETRY,
    "global asymmetrical increased densit": Finding.GLOBAL_ASYMMETRY,
    "asymmetrical increased densit": Finding.ASYMMETRY,
    "nodular increased densit": Finding.ASYMMETRY,
    "asymmetr": Finding.ASYMMETRY,
    "imln": Finding.LYMPH_NODE,
    "lymph node": Finding.LYMPH_NODE,
    "dilated retroareolar duct": Finding.DUCT,
    "prominent duct": Finding.DUCT,
    "cyst": Finding.CYST,
    "postoperative": Finding.POSTOPERATIVE,
    "scar": Finding.POSTOPERATIVE,
    "flap": Finding.POSTOPERATIVE,
    "surgical clip": Finding.POSTOPERATIVE,
}
"""Phrases of `Findings`, looked for from top to bottom; a phrase that was found is used up.

IMLN is an intramammary lymph node. Edema, retraction of nipple or skin and ductal extension go
with a finding and are none."""

ENHANCING: dict[str, Finding] = {
    "foci of enhancement": Finding.NON_MASS_ENHANCEMENT,
    "enhancing foci": Finding.ENHANCEMENT,
    "focus enhancement": Finding.ENHANCEMENT,
    "focal enhancement": Finding.ENHANCEMENT,
    "rim enhancement": Finding.ENHANCEMENT,
    "mass enhancement": Finding.ENHANCEMENT,
    "mass": Finding.ENHANCEMENT,
    "nodule": Finding.ENHANCEMENT,
    "enhancement": Finding.NON_MASS_ENHANCEMENT,
}
"""Phrases of subtracted images, looked for before and instead of those of `FINDINGS`; as in sheets
mass and nonmass enhancement_description, where foci, faint and stippled ones are in both."""

_ENHANCED = {
    **{phrase: finding for phrase, finding in FINDINGS.items() if "enhanc" in phrase},
    **ENHANCING,
    **{phrase: finding for phrase, finding in FINDINGS.items() if phrase not in ENHANCING},
}

NOTHING = "normal"
"""A text that is this word names no finding."""


def findings_of(text: str, modality: Modality) -> tuple[Finding, ...]:
    """Return the findings that one part of `Findings` names, in the order of the table.

    >>> [str(f) for f in findings_of("Mass with microcalcifications", Modality.CESM_LE)]
    ['mass', 'calcification']
    >>> [str(f) for f in findings_of("Homogenously enhancing mass", Modality.CESM_SUB)]
    ['enhancement']
    """
    left = " ".join(text.lower().split())
    for slip, meant in SPELLINGS.items():
        left = left.replace(slip, meant)
    if left in ("", NOTHING):
        return ()
    table: Mapping[str, Finding | None] = _ENHANCED if modality is Modality.CESM_SUB else FINDINGS
    found: dict[Finding, None] = {}
    told = False
    for phrase, finding in table.items():
        if phrase in left:
            told = True
            left = left.replace(phrase, ";")
            if finding is not None:
                found[finding] = None
    return tuple(found) if told else (Finding.OTHER,)


WORDS: tuple[Words, ...] = (
    Words(
        column="Pathology Classification/ Follow up",
        becomes="pathology",
        words=LABELS,
        cited=PAPER,
        counts={"Normal": 757, "Malignant": 662, "Benign": 587},
        note="Of the image, not of the breast: 83 pairs of low-energy and subtracted image "
        "differ. Whether it rests on pathology or on follow-up is not said for any row.",
    ),
    Words(
        column="file name, third part",
        becomes="modality",
        words=MODALITIES,
        cited=PAPER,
        counts={"DM": 1003, "CM": 1003},
    ),
    Words(
        column="BIRADS",
        becomes="birads",
        words=BIRADS,
        cited=PAPER,
        counts={"1": 801, "2": 325, "3": 156, "4": 295, "5": 340, "6": 8},
        note="Another 81 cells hold a score for each finding, joined by $: the image has the "
        "highest, 6 above 5.",
    ),
    Words(
        column="Breast density (ACR)",
        becomes="density",
        words=DENSITIES,
        cited=PAPER,
        counts={"_": 1082, "A": 8, "B": 329, "C": 517, "D": 70},
        note="Given with low-energy images; the subtracted image of the view has the same.",
    ),
    Words(
        column="Findings (free text, DM)",
        becomes="finding",
        words=FINDINGS,
        cited=PAPER,
        note="Phrases looked for in the text, top to bottom; a text without any of them is "
        "`other`, and none where it is Normal.",
    ),
    Words(
        column="Findings (free text, CM)",
        becomes="finding",
        words=ENHANCING,
        cited=PAPER,
        note="On subtracted images these come before and instead of the phrases above. Sheets mass "
        "and nonmass enhancement_description hold foci, faint and stippled enhancement in both.",
    ),
    Words(
        column="Mass shape",
        becomes="shape",
        words=SHAPES,
        cited=PAPER,
        counts={"irregular": 391, "round": 168, "oval": 112, "rounded": 1, "_": 5},
        note="Of sheets mass_description and mass enhancement_description; words joined by -.",
    ),
    Words(
        column="Mass margin",
        becomes="margin",
        words=MARGINS,
        cited=PAPER,
        counts={
            "circumscribed": 178,
            "lobulated circumscribed": 1,
            "microlobulated": 33,
            "obscured": 29,
            "partially obscured": 2,
            "partially obscured lobulated": 3,
            "lobulated partially obscured": 1,
            "indistinct": 57,
            "irregular": 143,
            "speculated": 203,
            "speculated ulcerating": 2,
            "_": 5,
        },
        note="Of the same two sheets; words joined by -.",
    ),
)
