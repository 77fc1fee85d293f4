"""The words of CBIS-DDSM's case tables, with their counts over all 3,568 records."""

from __future__ import annotations

from etl.sources.cbis_ddsm.cases import (
    ASSESSMENTS,
    CALC_TYPES,
    DENSITIES,
    DISTRIBUTIONS,
    FINDINGS,
    LABELS,
    MARGINS,
    SHAPES,
    SIDES,
    SUBTLETIES,
)
from schemas.release import Words

__all__ = ["WORDS"]

_TABLES = "case description tables of 2017-09-30"
_PAPER = "Lee et al., Sci Data 4:170177 (2017); DDSM volume pages"

WORDS = (
    Words(
        column="pathology",
        becomes="pathology, label_basis",
        words=LABELS,
        cited=_PAPER,
        counts={"MALIGNANT": 1457, "BENIGN": 1429, "BENIGN_WITHOUT_CALLBACK": 682},
        note="of an abnormality. BENIGN is most often by pathology, sometimes by ultrasound or "
        "another means; BENIGN_WITHOUT_CALLBACK was judged from the screening films alone.",
    ),
    Words(
        column="abnormality type",
        becomes="finding",
        words=FINDINGS,
        cited=_TABLES,
        counts={"calcification": 1872, "mass": 1696},
    ),
    Words(
        column="assessment",
        becomes="birads",
        words=ASSESSMENTS,
        cited=_TABLES,
        counts={"0": 238, "1": 3, "2": 644, "3": 477, "4": 1633, "5": 573},
        note="the pathology does not follow from it; a film has its abnormalities' highest.",
    ),
    Words(
        column="breast density",
        becomes="density",
        words=DENSITIES,
        cited=_TABLES,
        counts={"0": 2, "1": 536, "2": 1373, "3": 1103, "4": 554},
        note="BI-RADS A to D, written 1 to 4; 0 stands for one patient and is on no scale.",
    ),
    Words(
        column="mass shape",
        becomes="shape",
        words=SHAPES,
        cited=_TABLES,
        counts={
            "ROUND": 169,
            "OVAL": 423,
            "LOBULATED": 399,
            "IRREGULAR": 526,
            "ARCHITECTURAL_DISTORTION": 158,
            "ASYMMETRIC_BREAST_TISSUE": 26,
            "FOCAL_ASYMMETRIC_DENSITY": 27,
            "LYMPH_NODE": 45,
        },
        note="several words joined with a hyphen are several words, here and below.",
    ),
    Words(
        column="mass margins",
        becomes="margin",
        words=MARGINS,
        cited=_TABLES,
        counts={
            "CIRCUMSCRIBED": 455,
            "MICROLOBULATED": 143,
            "OBSCURED": 308,
            "ILL_DEFINED": 472,
            "SPICULATED": 407,
        },
    ),
    Words(
        column="calc type",
        becomes="calc_type",
        words=CALC_TYPES,
        cited=_TABLES,
        counts={
            "AMORPHOUS": 220,
            "COARSE": 84,
            "DYSTROPHIC": 22,
            "EGGSHELL": 36,
            "FINE_LINEAR_BRANCHING": 139,
            "LARGE_RODLIKE": 15,
            "LUCENT_CENTER": 196,
            "LUCENT_CENTERED": 44,
            "MILK_OF_CALCIUM": 2,
            "PLEOMORPHIC": 909,
            "PUNCTATE": 240,
            "ROUND_AND_REGULAR": 180,
            "SKIN": 13,
            "VASCULAR": 106,
        },
    ),
    Words(
        column="calc distribution",
        becomes="distribution",
        words=DISTRIBUTIONS,
        cited=_TABLES,
        counts={
            "CLUSTERED": 969,
            "DIFFUSELY_SCATTERED": 40,
            "LINEAR": 148,
            "REGIONAL": 104,
            "SEGMENTAL": 214,
        },
    ),
    Words(
        column="subtlety",
        becomes="subtlety",
        words=SUBTLETIES,
        cited=_TABLES,
        counts={"0": 2, "1": 174, "2": 439, "3": 964, "4": 875, "5": 1114},
        note="1 is subtle, 5 obvious; two records have 0, which is no grade.",
    ),
    Words(
        column="left or right breast",
        becomes="laterality",
        words=SIDES,
        cited=_TABLES,
    ),
)
