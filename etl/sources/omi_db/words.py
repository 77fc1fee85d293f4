"""OMI-DB's own words, as code or as text, and what they become.

NBSS values stand in the files as codes or as their texts (`OM` or `Malignant`), so each table
holds both. Codes and texts: omidb 0.13.1, `events.py`, `episode.py`, `lesion.py`, `mark.py`.
Counts of the official tables are not public.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from schemas.errors import ContentError
from schemas.rejects import RejectReason
from schemas.release import Words
from schemas.vocabulary import (
    CalcType,
    Finding,
    Intent,
    LabelBasis,
    Laterality,
    Margin,
    Pathology,
    View,
)

__all__ = [
    "BENIGN_CLASSES",
    "CALC_FLAGS",
    "COMPONENTS",
    "DESCRIPTIONS",
    "EPISODE_TYPES",
    "FINDING_FLAGS",
    "HIGH_RISK_OPINIONS",
    "INTENTS",
    "INTERVAL_CASE",
    "MASS_CLASSES",
    "OPINIONS",
    "OUTCOMES",
    "OUTCOME_BASIS",
    "SIDES",
    "SIDE_OPINIONS",
    "SPOT_CODES",
    "VIEWS",
    "VIEW_CODES",
    "WORDS",
    "known",
]

Word = TypeVar("Word")

_TEXTS = {
    "OB": "Benign",
    "OM": "Malignant",
    "ON": "Normal",
    "OS": "Suspicious",
    "OU": "Uncertain",
}

SIDE_OPINIONS: dict[str, Pathology] = {
    "OB": Pathology.BENIGN,
    "OM": Pathology.MALIGNANT,
    "ON": Pathology.NORMAL,
    "OS": Pathology.UNKNOWN,
    "OU": Pathology.UNKNOWN,
}
SIDE_OPINIONS |= {_TEXTS[code]: word for code, word in SIDE_OPINIONS.items()}
"""`left_opinion`, `right_opinion`: what an event concluded of one breast."""

EPISODE_TYPES: dict[str, str] = {
    "CA": "Continued Assessment",
    "CD": "Delayed Treatment",
    "CF": "Follow-up after treatment",
    "CI": "Interval case",
    "CR": "Local Recurrence",
    "F": "First Call",
    "G": "GP Referral",
    "H": "Higher Risk",
    "N": "Non-rout Recall",
    "R": "Routine Recall",
    "S": "Self Referral",
    "X": "Other",
}
EPISODE_TYPES |= {text: text for text in EPISODE_TYPES.values()}
"""`EpisodeType`: why the episode was opened; kept raw, and decides for `INTERVAL_CASE`."""

INTERVAL_CASE = "Interval case"
"""EpisodeType of a cancer found between two screening rounds (CI)."""

COMPONENTS: dict[str, str] = {
    "IDC": "Ductal/NST",
    "ILC": "Lobular",
    "IMC": "Medullary like",
    "IMU": "Mucinous",
    "IPX": "Other component",
    "ITC": "Tubular/cribriform",
    "NID": "Ductal",
    "NIL": "Lobular",
    "NIP": "Paget's",
}
"""`InvasiveComponents` (I) and `InSituComponents` (N), lists split by blanks; kept raw."""

_LESION_OPINIONS: dict[str, tuple[str, Pathology]] = {
    "B1": ("Unsatis/Normal", Pathology.UNKNOWN),
    "B2": ("Benign", Pathology.BENIGN),
    "B3": ("Benign unc mal", Pathology.UNKNOWN),
    "B4": ("Susp of malig", Pathology.UNKNOWN),
    "B5": ("Malignant", Pathology.MALIGNANT),
    "BA": ("Clinical", Pathology.UNKNOWN),
    "C1": ("Cyt unsatis", Pathology.UNKNOWN),
    "C2": ("Cyt benign", Pathology.BENIGN),
    "C3": ("Cyt atypia", Pathology.UNKNOWN),
    "C4": ("Cyt susp malig", Pathology.UNKNOWN),
    "C5": ("Cyt malig", Pathology.MALIGNANT),
    "H0": ("Hist unreported", Pathology.UNKNOWN),
    "H1": ("Histol normal", Pathology.UNKNOWN),
    "H2": ("Histol benign", Pathology.BENIGN),
    "H5": ("Hist malignant", Pathology.MALIGNANT),
    "OB": ("O Benign", Pathology.BENIGN),
    "OM": ("O Malignant", Pathology.MALIGNANT),
    "ON": ("O Normal", Pathology.UNKNOWN),
    "OS": ("O Suspicious", Pathology.UNKNOWN),
    "OU": ("O Uncertain", Pathology.UNKNOWN),
    "SH": ("History suspic", Pathology.UNKNOWN),
}

OPINIONS: dict[str, Pathology] = {
    code: word for code, (_, word) in _LESION_OPINIONS.items()
} | dict(_LESION_OPINIONS.values())
"""`Opinion` of a lesion in BIOPSYWIDE (B), BIOPSYFINE (C) and SURGERY (H): 1 unsatisfactory or
normal, 2 benign, 3 uncertain malignant potential, 4 suspicious, 5 malignant. A lesion from which
a needle drew normal tissue is none that is known to be normal."""

HIGH_RISK_OPINIONS = frozenset({"B3", "Benign unc mal"})
"""Uncertain malignant potential: a lesion at risk, whose surgery decides."""

DESCRIPTIONS: dict[str, Finding | None] = {
    "AS": Finding.ASYMMETRY,
    "CA": Finding.CALCIFICATION,
    "CY": Finding.CYST,
    "DS": Finding.ARCHITECTURAL_DISTORTION,
    "LN": Finding.LYMPH_NODE,
    "MA": Finding.MASS,
    "MC": Finding.MASS,
    "NA": None,
    "ZZ": Finding.OTHER,
    "Asymmetry": Finding.ASYMMETRY,
    "Calcification only": Finding.CALCIFICATION,
    "Cyst": Finding.CYST,
    "Distortion": Finding.ARCHITECTURAL_DISTORTION,
    "Lymph node": Finding.LYMPH_NODE,
    "Mass": Finding.MASS,
    "Mass with calcification": Finding.MASS,
    "No significant abnormality": None,
    "Clinical abnormality": Finding.OTHER,
}
"""`LesionDescription`; None is no lesion."""

FINDING_FLAGS: dict[str, Finding] = {
    "Mass": Finding.MASS,
    "ArchitecturalDistortion": Finding.ARCHITECTURAL_DISTORTION,
    "FocalAsymmetry": Finding.FOCAL_ASYMMETRY,
    "SuspiciousCalcifications": Finding.CALCIFICATION,
    "Dystrophic": Finding.CALCIFICATION,
    "FatNecrosis": Finding.CALCIFICATION,
    "MilkOfCalcium": Finding.CALCIFICATION,
    "OtherBenignCluster": Finding.CALCIFICATION,
    "PlasmaCellMastitis": Finding.CALCIFICATION,
    "SutureCalcification": Finding.CALCIFICATION,
    "Vascular": Finding.CALCIFICATION,
    "WithCalcification": Finding.CALCIFICATION,
    "Skin": Finding.SKIN,
}
"""Fields of a mark that are set or not; the first that is set names the finding."""

CALC_FLAGS: dict[str, CalcType] = {
    "SuspiciousCalcifications": CalcType.SUSPICIOUS,
    "Dystrophic": CalcType.DYSTROPHIC,
    "FatNecrosis": CalcType.FAT_NECROSIS,
    "MilkOfCalcium": CalcType.MILK_OF_CALCIUM,
    "OtherBenignCluster": CalcType.BENIGN,
    "PlasmaCellMastitis": CalcType.LARGE_RODLIKE,
    "SutureCalcification": CalcType.SUTURE,
    "Vascular": CalcType.VASCULAR,
}
"""Kinds of calcification among the fields of a mark. Plasma cell mastitis leaves large rods."""

MASS_CLASSES: dict[str, Margin | CalcType | None] = {
    "ill_defined": Margin.ILL_DEFINED,
    "spiculated": Margin.SPICULATED,
    "well_defined": Margin.CIRCUMSCRIBED,
    "other": None,
    "unknown": None,
    "lucent-centred": CalcType.LUCENT_CENTERED,
    "coarse_or_popcorn-like": CalcType.POPCORN,
    "egg_shell_or_rim": CalcType.EGGSHELL,
}
"""`MassClassification`; three of its words describe calcifications."""

BENIGN_CLASSES: dict[str, CalcType] = {
    "coarse_or_popcorn-like": CalcType.POPCORN,
    "egg_shell_or_rim": CalcType.EGGSHELL,
    "lucent-centred": CalcType.LUCENT_CENTERED,
    "rod-like": CalcType.LARGE_RODLIKE,
    "round_and_punctate": CalcType.PUNCTATE,
}
"""`BenignClassification`."""

VIEWS: dict[str, View] = {
    "CC": View.CC,
    "MLO": View.MLO,
    "ML": View.ML,
    "LM": View.LM,
    "LMO": View.LMO,
    "XCCL": View.XCCL,
    "XCCM": View.XCCM,
    "XCC": View.XCC,
    "FB": View.FB,
    "SIO": View.SIO,
    "ISO": View.ISO,
    "CV": View.CV,
    "AT": View.AT,
}
"""View Position (0018,5101)."""

VIEW_CODES: dict[str, View] = {
    "R-10242": View.CC,
    "R-10226": View.MLO,
    "R-10224": View.ML,
    "R-10228": View.LM,
    "R-10230": View.LMO,
    "R-10244": View.FB,
    "R-102D0": View.SIO,
    "R-40AAA": View.ISO,
    "Y-X1770": View.XCCL,
    "Y-X1771": View.XCCM,
    "R-102CF": View.XCC,
    "R-1024A": View.XCCL,
    "R-1024B": View.XCCM,
}
"""View Code Sequence (0054,0220), DICOM CID 4014, where there is no View Position."""

SPOT_CODES = frozenset({"R-102D6", "R-102D7"})
"""View Modifier Code Sequence, CID 4015: magnification, spot compression."""

INTENTS: dict[str, Intent] = {
    "FOR PRESENTATION": Intent.PRESENTATION,
    "FOR PROCESSING": Intent.PROCESSING,
}
"""Presentation Intent Type (0008,0068)."""

OUTCOMES: dict[str, Pathology] = {
    "N": Pathology.NORMAL,
    "NA": Pathology.NORMAL,
    "NAB": Pathology.NORMAL,
    "CIP": Pathology.UNKNOWN,
    "MP": Pathology.UNKNOWN,
    "undefined": Pathology.UNKNOWN,
}
"""Outcome of an episode without biopsy's verdict; B, M and CI go by the side's own opinion."""

OUTCOME_BASIS: dict[str, LabelBasis] = {
    "N": LabelBasis.SCREENING_OUTCOME,
    "NA": LabelBasis.ASSESSMENT,
    "NAB": LabelBasis.ASSESSMENT,
    "CIP": LabelBasis.UNKNOWN,
    "MP": LabelBasis.UNKNOWN,
    "undefined": LabelBasis.UNKNOWN,
}
"""N becomes `follow_up` where a later episode without cancer stands behind it."""

SIDES = {"L": Laterality.L, "R": Laterality.R}
"""Image Laterality (0020,0062) and the keys of every NBSS block."""


def known(table: Mapping[str, Word], word: str, column: str, place: str) -> Word:
    """Return what a word means, whatever its case.

    Raises
    ------
    ContentError
        `unknown_word`: the table has no such word; the sentence names column, word and place.
    """
    if word in table:
        return table[word]
    folded = word.casefold()
    for known_word, meaning in table.items():
        if known_word.casefold() == folded:
            return meaning
    raise ContentError(
        RejectReason.UNKNOWN_WORD,
        f"{place} has the {column} {word!r}, known are {', '.join(table)}",
    )


_OMIDB = "omidb 0.13.1 (PyPI), the database owner's parser"

WORDS = (
    Words(
        column="left_opinion, right_opinion (SURGERY, BIOPSYWIDE, BIOPSYFINE, ASSESSMENT, …)",
        becomes="pathology",
        words=SIDE_OPINIONS,
        cited=f"{_OMIDB}: events.SideOpinion",
        note="malignant and benign only from surgery or biopsy (basis biopsy); null is unknown",
    ),
    Words(
        column="episode outcome, computed from types and opinions",
        becomes="pathology",
        words=OUTCOMES,
        cited=f"{_OMIDB}: classificationtools.episode_outcome",
        note=(
            "CIP and MP are priors of an interval cancer and of a malignant episode: unknown, with "
            "months_to_cancer and the flag prior"
        ),
    ),
    Words(
        column="episode outcome, computed from types and opinions",
        becomes="label_basis",
        words=OUTCOME_BASIS,
        cited=f"{_OMIDB}: classificationtools.episode_outcome",
        note="N is follow_up where the next episode is closed and without cancer",
    ),
    Words(
        column="EpisodeType",
        becomes="raw",
        words=dict.fromkeys(EPISODE_TYPES),
        cited=f"{_OMIDB}: episode.Type",
        note="CI decides between an interval cancer and an undefined episode",
    ),
    Words(
        column="Opinion (of a lesion in SURGERY, BIOPSYWIDE, BIOPSYFINE)",
        becomes="pathology",
        words=OPINIONS,
        cited=f"{_OMIDB}: events.Opinion",
        note="B3 is unknown with the lesion flag high_risk unless surgery decides",
    ),
    Words(
        column="LesionDescription",
        becomes="finding",
        words=DESCRIPTIONS,
        cited=f"{_OMIDB}: lesion.LesionDescription",
        note="used where no mark of the lesion is on the image",
    ),
    Words(
        column="fields of a mark that are set",
        becomes="finding",
        words=FINDING_FLAGS,
        cited=f"{_OMIDB}: mark.Mark",
        note="the first that is set, in this order",
    ),
    Words(
        column="fields of a mark that are set",
        becomes="calc_type",
        words=CALC_FLAGS,
        cited=f"{_OMIDB}: mark.Mark",
    ),
    Words(
        column="MassClassification",
        becomes="margin, calc_type",
        words=MASS_CLASSES,
        cited=f"{_OMIDB}: mark.MassClassification",
    ),
    Words(
        column="BenignClassification",
        becomes="calc_type",
        words=BENIGN_CLASSES,
        cited=f"{_OMIDB}: mark.BenignClassification",
    ),
    Words(column="(0018,5101)", becomes="view", words=VIEWS, cited="DICOM PS3.3 C.8.11.7"),
    Words(column="(0054,0220)", becomes="view", words=VIEW_CODES, cited="DICOM PS3.16 CID 4014"),
    Words(column="(0008,0068)", becomes="intent", words=INTENTS, cited="DICOM PS3.3 C.8.11.7"),
)
