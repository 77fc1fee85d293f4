"""Titles and words of a phantom EMBED's tables, and what its writer means by them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from etl.phantoms.embed_cases import ExamCase, FindingCase
from etl.phantoms.lesions import Lesion

__all__ = [
    "CLINICAL_TITLES",
    "METADATA_TITLES",
    "NUS_CLINICAL_TITLES",
    "NUS_METADATA_TITLES",
    "breast_truth",
    "finding_truth",
    "finding_words",
]

METADATA_TITLES = (
    "empi_anon", "acc_anon", "study_date_anon", "cohort_num", "anon_dicom_path", "png_path",
    "png_filename", "StudyDescription", "SeriesDescription", "FinalImageType",
    "ImageLateralityFinal", "LateralityDeriveFlag", "ImageLaterality", "ViewPosition", "spot_mag",
    "num_roi", "ROI_coords", "SRC_DST", "match_level", "Manufacturer", "ManufacturerModelName",
    "Modality", "PatientSex", "PatientAge", "PatientOrientation", "ProtocolName",
    "PresentationIntentType", "PhotometricInterpretation", "Rows", "Columns",
    "BreastImplantPresent", "AcquisitionTime", "SeriesNumber", "SeriesTime", "InstanceNumber",
    "ImagesInAcquisition", "WindowCenter", "WindowWidth", "VOILUTFunction",
    "0_ViewCodeSequence_CodeMeaning", "0_ViewCodeSequence_0_ViewModifierCodeSequence_CodeMeaning",
)  # fmt: skip
"""Columns of the open release that README, notebook and readers name, in their order."""

NUS_METADATA_TITLES = (
    "Manufacturer", "ManufacturerModelName", "PatientSex", "ProtocolName", "SeriesDescription",
    "SeriesNumber", "SeriesTime", "StudyDescription", "StudyID", "ViewPosition", "WindowCenter",
    "WindowWidth", "VOILUTFunction", "WindowCenterWidthExplanation", "empi_anon", "acc_anon",
    "study_date_anon", "cohort_num", "ImageLateralityFinal", "FinalImageType", "spot_mag",
    "pred_spot_mag_type", "spot_mag_png_path", "png_path", "anon_dicom_path", "num_roi",
    "ROI_match_level", "PNG_ROI_coords", "DCM_ROI_coords",
)  # fmt: skip
"""The datathon's reduced metadata table, verbatim."""

CLINICAL_TITLES = (
    "empi_anon", "acc_anon", "study_date_anon", "sdate_anon", "cohort_num", "desc", "proccode",
    "vtype", "tissueden", "asses", "numfind", "side", "total_L_find", "total_R_find", "massshape",
    "massmargin", "massdens", "calcfind", "calcdistri", "calcnumber", "otherfind", "implanfind",
    "consistent", "size", "location", "depth", "distance", "recc", "case", "bside", "type",
    "technique", "biopsite", "bcomp", "procdate_anon", "pdate_anon", "surgery", "lymphsurg",
    *(f"path{place}" for place in range(1, 11)), "path_group", "path_severity", "concord",
    "age_at_study", "GENDER_DESC", "RACE_DESC", "ETHNICITY_DESC",
)  # fmt: skip
"""Columns of the open release that README and notebook name, in their order."""

NUS_CLINICAL_TITLES = (*CLINICAL_TITLES, "race", "ethnicity", "screen_exam", "exam_laterality",
    "exam_outcome", "outcome_side", "exam_birads", "exam_path_severity")  # fmt: skip

BIRADS = {"A": "0", "N": "1", "B": "2", "P": "3", "S": "4", "M": "5", "K": "6", "X": None}
OPINION = {
    "N": ("normal", "birads"),
    "B": ("benign", "birads"),
    "P": ("benign", "birads"),
    "M": ("malignant", "birads"),
    "K": ("malignant", "biopsy"),
    "A": ("unknown", "birads"),
    "S": ("unknown", "birads"),
    "X": ("unknown", "unknown"),
}
GRAVEST_FIRST = "KMSAPBNX"
CODES = {"0": ("ID", ""), "1": ("DS", ""), "2": ("LS", ""), "4": ("FA", ""), "5": ("NA", "")}


@dataclass(frozen=True)
class BreastTruth:
    """What the release's words mean for one breast."""

    pathology: str
    basis: str
    birads: str | None = None
    flags: tuple[str, ...] = ()


def finding_truth(row: FindingCase, *, nus: bool = False) -> tuple[str, str]:
    """Return pathology and basis of one row."""
    if row.severity and row.wait <= 365:
        if row.severity == "5" and nus:
            return "unknown", "unknown"
        return ("malignant" if row.severity in "01" else "benign"), "biopsy"
    if row.severity in ("0", "1"):
        return "unknown", "unknown"
    return OPINION[row.true_asses or row.asses]


def breast_truth(exam: ExamCase, rows: Sequence[FindingCase], *, nus: bool = False) -> BreastTruth:
    """Return what all rows of a breast mean together."""
    if not rows:
        bilateral = exam.listed and "Bilat" in exam.desc and exam.findings
        return BreastTruth("normal", "implied") if bilateral else BreastTruth("unknown", "unknown")
    asses = min((row.true_asses or row.asses for row in rows), key=GRAVEST_FIRST.index)
    specimens = [row for row in rows if row.severity and row.wait <= 365]
    flags = ["high_risk"] if any(row.severity in "23" for row in specimens) else []
    decisive = min(specimens, key=lambda row: row.severity) if specimens else None
    late = [row for row in rows if row.severity and row.wait > 365]
    if decisive is None and late:
        flags.append("prior")
        decisive = late[0]
    pathology, basis = finding_truth(decisive, nus=nus) if decisive else OPINION[asses]
    return BreastTruth(pathology, basis, BIRADS[asses], tuple(flags))


def finding_words(rng: np.random.Generator, lesion: Lesion | None, severity: str) -> dict[str, str]:
    """Return a row's codes for what is drawn; a benign and a malignant mass can share them."""
    codes = dict(zip(("path1", "path2"), CODES.get(severity, ("", "")), strict=True))
    if lesion is None:
        return codes
    if lesion.kind == "mass":
        return {
            **codes,
            "massshape": {"round": "R", "oval": "O", "spiculated": "X"}.get(lesion.form, "G"),
            "massmargin": "S" if lesion.form == "spiculated" else str(rng.choice(list("DUMI"))),
            "massdens": str(rng.choice(list("+=-0"))),
        }
    fine = lesion.form == "cluster_linear"
    return {
        **codes,
        "calcfind": str(rng.choice(list("FBI" if fine else "PRA"))),
        "calcdistri": "L" if fine else "G",
        "calcnumber": "1",
    }
