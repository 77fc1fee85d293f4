"""Duke's words and codes, and what the corpus calls them.

Codes are those of row 3 of Clinical_and_Other_Features.xlsx (sheet `Data`), which holds the code
list of each column; counts are those of its 922 rows.
"""

from __future__ import annotations

import re

from schemas.release import Words
from schemas.vocabulary import Annotation, Density, LabelBasis, Laterality, Pathology

__all__ = [
    "ANNOTATIONS",
    "BASES",
    "DENSITIES",
    "FIRST_PASS_MISSING",
    "MANUFACTURERS",
    "MATRICES",
    "MODELS",
    "PATHOLOGIES",
    "SIDES",
    "T1_SERIES",
    "UNNUMBERED_SERIES",
    "WORDS",
    "YES_NO",
    "phase_of",
    "plain",
]

PATHOLOGIES = {"box": Pathology.MALIGNANT, "no box": Pathology.UNKNOWN}
BASES = {"box": LabelBasis.BIOPSY, "no box": LabelBasis.UNKNOWN}
"""Of the breast in which the box of Annotation_Boxes.xlsx lies, and of the other one."""

ANNOTATIONS = {"0": Annotation.COMPLETE, "1": Annotation.PARTIAL, "NC": Annotation.PARTIAL}
"""`Multicentric/Multifocal`: foci beyond the largest lesion are not boxed. Not told: partial."""

SIDES: dict[str, Laterality | None] = {
    "L": Laterality.L,
    "R": Laterality.R,
    "NP": None,
    "NC": None,
}
"""`Tumor Location` and `Side Annotated`; NP = not pertinent, NC = not collected."""

YES_NO = frozenset({"0", "1", "NC"})
"""`Bilateral Information`, `Contralateral Breast Involvement`, `Multicentric/Multifocal`."""

MANUFACTURERS = {"0": "GE MEDICAL SYSTEMS", "1": "MPTronic software", "2": "SIEMENS"}
MODELS = {
    "0": "Avanto",
    "1": "Optima MR450w",
    "2": "SIGNA EXCITE",
    "3": "SIGNA HDx",
    "4": "Signa HDxt",
    "5": "Skyra",
    "6": "Trio",
    "7": "TrioTim",
}
MATRICES = {"0": 320, "1": 448, "2": 512}
"""`Rows` and `Columns` of an image."""

DENSITIES: dict[str, Density | None] = {
    "0": Density.C,
    "1": Density.B,
    "2": None,
    "3": None,
    "4": Density.D,
    "5": Density.A,
    "NC": None,
}
"""`Breast Density` of the mammogram: heterogeneous, scattered, minimal, moderate, extremely,
predominantly fatty. Minimal and moderate are no words of BI-RADS density and are kept raw."""

T1_SERIES = frozenset(
    {
        "ax t1",
        "Ax 3D T1 NON FS",
        "ax 3d t1 bilateral",
        "ax t1 +c",
        "ax t1 tse",
        "ax t1 tse +c",
        "ax t1 3mm",
        "AX IDEAL Breast",
        "ax t1 pre",
        "ax t1 2mm",
        "ax t1 repeat",
    }
)
"""SeriesDescription of the series without fat saturation, one a patient (922 of 922). `ax t1 pre`
is one of them and no pre-contrast phase; `t1_fl3d_tra_dynVIEWS_spair` is dynamic and not here."""

_DYNAMIC = re.compile(
    r"(?:ph(?P<phase>\d))?"
    r"(?:(?P<before>\d)(?:st|nd|rd|th))?"
    r"(?:ax(?:3d)?dyn(?:amic)?(?:mp)?|ax3d(?=pre)|axvibrantmultiphase|t1fl3dtradynviewsspair)"
    r"(?:pre|(?P<after>\d)(?:st|nd|rd|th)pass?)?"
)
"""The 46 descriptions of dynamic series without blanks and signs: `Ph2/ax dynamic`, `1st ax dyn`,
`ax 3d dyn 3rd pass`, `ax dyn 1st pas` (misspelt once), `ax 3d pre`, `Ax Vibrant MultiPhase`."""

FIRST_PASS_MISSING = frozenset({"Breast_MRI_700"})
"""The release has no first pass of these patients: the second is the first that there is."""

UNNUMBERED_SERIES = {"Breast_MRI_120": 5, "Breast_MRI_596": 5}
"""Patients several of whose series are all called `ax dyn`, and how many dynamic series they have:
where one is missing, nothing tells which."""


def plain(description: str) -> str:
    """Return a description as it survives a folder name, where `/`, `+` and blanks may be lost.

    >>> plain("Ph1/ax 3d dyn MP") == plain("Ph1ax_3d dyn-MP")
    True
    """
    return re.sub(r"[^a-z0-9]", "", description.lower())


_PLAIN_T1 = frozenset(map(plain, T1_SERIES))


def phase_of(description: str) -> int | str | None:
    """Return what a series is: `T1`, the phase that its name tells, or None for an unknown name.

    A dynamic series without a number (`ax 3d dyn`, `ax dyn pre`) counts as 0, before contrast.

    >>> phase_of("ax t1 pre"), phase_of("Ph2/ax dynamic"), phase_of("ax dyn 1st pas")
    ('T1', 2, 1)
    """
    name = plain(description)
    if name in _PLAIN_T1:
        return "T1"
    match = _DYNAMIC.fullmatch(name)
    if match is None:
        return None
    return int(match["phase"] or match["before"] or match["after"] or 0)


_TABLE = "Clinical_and_Other_Features.xlsx, sheet Data, row 3 (code lists)"

WORDS = (
    Words(
        column="Breast with the box of Annotation_Boxes.xlsx",
        becomes="pathology",
        words=PATHOLOGIES,
        cited="Saha et al., Br J Cancer 2018;119:508-516: biopsy-confirmed invasive cancer",
        counts={"box": 922, "no box": 922},
        note="The other breast is never called normal, whatever is known of it. The box encloses "
        "the largest biopsied lesion only.",
    ),
    Words(
        column="Breast with the box of Annotation_Boxes.xlsx",
        becomes="label_basis",
        words=BASES,
        cited="Saha et al., Br J Cancer 2018;119:508-516",
        counts={"box": 922, "no box": 922},
    ),
    Words(
        column="Tumor Location",
        becomes="laterality",
        words=SIDES,
        cited=_TABLE,
        counts={"R": 337, "L": 314},
        note="Compared only: the side is where the box lies in the patient (647 of 651 agree); a "
        "disagreement is the flag laterality_conflict. `Side Annotated` counts before it, the "
        "first letter of `Position` after it.",
    ),
    Words(
        column="Side Annotated",
        becomes="laterality",
        words=SIDES,
        cited=_TABLE,
        counts={"L": 16, "R": 12, "NP": 623, "NC": 271},
    ),
    Words(
        column="Breast Density",
        becomes="density",
        words=DENSITIES,
        cited=f"{_TABLE}: 0=heterogeneous, 1=scattered, 2=minimal, 3=moderate, 4=extremely, "
        "5=predominantly fatty",
        counts={"NC": 651, "0": 73, "1": 47, "4": 24, "5": 12, "3": 1},
        note="Of the mammogram, per patient.",
    ),
    Words(
        column="Multicentric/Multifocal",
        becomes="annotation",
        words=ANNOTATIONS,
        cited=_TABLE,
        counts={"0": 555, "1": 367},
        note="Foci beyond the largest lesion are not boxed.",
    ),
)
"""How labels are made; `docs/labels.md` shows it."""
