"""The words of BCDR and what they become: tables to be proof-read.

Counts are those of the public copy of `bcdr_f01_features.csv` (352 outlines).
"""

from __future__ import annotations

from schemas.release import Words
from schemas.vocabulary import Density, Finding, Laterality, Modality, Pathology, View

__all__ = [
    "CLASSES",
    "DENSITIES",
    "FINDINGS",
    "MODALITIES",
    "TYPE_IDS",
    "VIEWS",
    "VIEW_IDS",
    "WORDS",
]

PAPER = "Moura and Guevara Lopez, Int J CARS 8:561-574 (2013), doi 10.1007/s11548-013-0838-2"
SITE = "bcdr.eu, description of the repository and its csv files"

CLASSES: dict[str, Pathology] = {
    "Benign": Pathology.BENIGN,
    "Malign": Pathology.MALIGNANT,
    "Suspect": Pathology.UNKNOWN,
    "Insufficient": Pathology.UNKNOWN,
    "Un-representative": Pathology.UNKNOWN,
}
"""`classification` of an outline: the result of a biopsy. Only the first two are in the sets."""

MODALITIES: dict[str, Modality] = {"F": Modality.SFM, "D": Modality.FFDM}
"""First letter of a set: F01 F02 F03 are digitised films, D01 D02 DN01 digital mammograms."""

VIEWS: dict[str, tuple[Laterality, View | None]] = {
    "RCC": (Laterality.R, View.CC),
    "LCC": (Laterality.L, View.CC),
    "RO": (Laterality.R, View.MLO),
    "LO": (Laterality.L, View.MLO),
    "PRMLO": (Laterality.R, None),
    "PLMLO": (Laterality.L, None),
    "RFCC": (Laterality.R, None),
    "LFCC": (Laterality.L, None),
    "RFMLO": (Laterality.R, None),
    "LFMLO": (Laterality.L, None),
}
"""Last part of a file name without hyphens; O is the oblique. The last six are special
projections, of which only the side is sure."""

TYPE_IDS: dict[str, str] = {
    **{"0": "RCC", "1": "LCC", "2": "RO", "3": "LO"},
    **{"4": "PRMLO", "5": "PLMLO", "6": "RFCC", "7": "LFCC", "8": "RFMLO", "9": "LFMLO"},
}
"""`image_type_id` of the image tables; from 4 on by one public reader."""

VIEW_IDS: dict[str, str] = {"1": "RCC", "2": "LCC", "3": "RO", "4": "LO"}
"""`image_view` of the outline tables: not the same code, it is one more."""

DENSITIES: dict[str, Density] = {
    "1": Density.A,
    "2": Density.B,
    "3": Density.C,
    "4": Density.D,
}

FINDINGS: dict[str, Finding] = {
    "mammography_nodule": Finding.MASS,
    "mammography_microcalcification": Finding.CALCIFICATION,
    "mammography_calcification": Finding.CALCIFICATION,
    "mammography_architectural_distortion": Finding.ARCHITECTURAL_DISTORTION,
    "mammography_axillary_adenopathy": Finding.LYMPH_NODE,
    "mammography_stroma_distortion": Finding.OTHER,
}
"""Flags (0 or 1) of an outline; of several the first in this order is the finding."""

WORDS: tuple[Words, ...] = (
    Words(
        column="classification",
        becomes="pathology",
        words=CLASSES,
        cited=PAPER,
        counts={"Malign": 168, "Benign": 184},
        note="Of an outline, on biopsy; the image takes the worst. A view without outline is "
        "unknown: it shows a woman with a proven lesion. Images of set DN01 are normal (reader).",
    ),
    Words(column="set, first letter", becomes="modality", words=MODALITIES, cited=SITE),
    Words(
        column="file name, last part",
        becomes="laterality, view",
        words=VIEWS,
        cited=SITE,
        counts={"RCC": 79, "LCC": 98, "RO": 81, "LO": 94},
        note="Hyphens are left out. The name is believed, image_view and image_type_id are not.",
    ),
    Words(
        column="density",
        becomes="density",
        words=DENSITIES,
        cited=SITE,
        counts={"1": 60, "2": 86, "3": 172, "4": 34},
        note="BI-RADS 1 to 4; other or no values are null.",
    ),
    Words(
        column="mammography_* flags",
        becomes="finding",
        words=FINDINGS,
        cited=SITE,
        counts={
            "mammography_nodule": 224,
            "mammography_microcalcification": 158,
            "mammography_calcification": 28,
            "mammography_architectural_distortion": 27,
            "mammography_axillary_adenopathy": 2,
            "mammography_stroma_distortion": 58,
        },
        note="All that are set stay in raw.finding.",
    ),
)
