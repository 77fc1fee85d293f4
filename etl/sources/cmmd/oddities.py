"""What is known to be wrong with single patients of CMMD, as tables with their sources.

Nothing here changes a label or a side: the release's tags and table are taken as they are, what
they contradict is flagged, and `verify` counts how many films of a copy it concerns.
"""

from __future__ import annotations

from schemas.vocabulary import Laterality, QualityFlag, View

__all__ = ["SAME_PERSON", "film_flags", "outline_side", "split_key", "twin_of"]

SAME_PERSON = (("D1-0202", "D2-0284"), ("D1-0808", "D1-1292"), ("D1-0014", "D1-0269"))
"""Patients with identical pixels. The first two pairs by md5 over all 5,202 files (5,197 distinct);
the third by structural similarity in one public project, not by md5."""

_SAME_FILMS = {
    ("D1-0202", "D2-0284"): frozenset({"L_CC", "L_MLO", "R_CC", "R_MLO"}),
    ("D1-0808", "D1-1292"): frozenset({"R_CC"}),
}
"""Which of their films are identical. The publisher says it cannot tell which id is right."""

REVERSED = frozenset({"D1-0252", "D1-0690", "D1-0711"})
"""Both images of the one breast carry the wrong side (TOMPEI: "Reversed left and right")."""
SWAPPED_MLO = frozenset({"D1-0999", "D2-0224", "D2-0229", "D2-0642"})
"""The sides of the two MLO images are swapped."""
SWAPPED_CC = frozenset({"D2-0041"})
"""The sides of the two CC images are swapped."""
MIRRORED = frozenset({"D2-0112_L_CC"})
"""Stored as its mirror image."""
OTHER_BREAST = REVERSED | {
    *("D2-0048", "D2-0132", "D2-0153", "D2-0212", "D2-0282", "D2-0458", "D2-0637"),
}
"""TOMPEI's readers found what the clinical row describes in the other breast."""


def split_key(patient: str) -> str:
    """Return what stays on one side of a split: of the same person's ids, the first."""
    return next((pair[0] for pair in SAME_PERSON if patient in pair), patient)


def twin_of(patient: str, film: str) -> tuple[str, str] | None:
    """Return the pair of patients that share a film (`R_CC`), or None."""
    return next(
        (pair for pair, films in _SAME_FILMS.items() if patient in pair and film in films), None
    )


def has_wrong_side(patient: str, view: View) -> bool:
    """Say whether the side in this image's header is known to be the other breast's."""
    swapped = SWAPPED_MLO if view is View.MLO else SWAPPED_CC
    return patient in REVERSED or patient in swapped


def outline_side(patient: str, tagged: Laterality) -> Laterality:
    """Return the side by which TOMPEI's files name the MLO image with this side in its header.

    Its readers corrected the sides before they named the files, so that an outline joined by the
    header's side would lie in the opposite half of the picture.
    """
    if not has_wrong_side(patient, View.MLO):
        return tagged
    return Laterality.R if tagged is Laterality.L else Laterality.L


def film_flags(patient: str, laterality: Laterality, view: View) -> set[QualityFlag]:
    """Return the flags of a film that is known to contradict its own header or table."""
    flags = set()
    if has_wrong_side(patient, view) or f"{patient}_{laterality}_{view}" in MIRRORED:
        flags.add(QualityFlag.LATERALITY_CONFLICT)
    if patient in OTHER_BREAST:
        flags.add(QualityFlag.LABEL_CONFLICT)
    return flags
