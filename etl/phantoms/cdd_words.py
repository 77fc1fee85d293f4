"""Texts and tables of a phantom CDD-CESM: the workbook's nine sheets and the csv of regions.

Titles, sheet names and words as the workbook of TCIA has them, slips of the pen included.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from etl.phantoms.workbook import Cell, workbook

__all__ = ["Picture", "Region", "labels", "segmentations", "words_for"]

LABEL = "Pathology Classification/ Follow up"
ALL = (
    *("Image_name", "Patient_ID", "Side", "Type", "Age", "Breast density (ACR)", "BIRADS"),
    *("Findings", "View", "Tags", "Machine", LABEL),
)
_SHORT = (
    *("Image_name", "Patient_ID", "Side", "Type", "Age", "ACR", "BIRADS", "Findings", "View"),
    *("Machine", LABEL),
)
_MASSES = (
    *("Image_name", "Patient_ID", "Side", "Type", "Age", "Breast density (ACR)", "BIRADS"),
    *("Abnormality type", "Single/Multiple", "Mass density/enhancement pattern", "Mass shape"),
    *("Mass margin", "Findings", "View", "Machine", LABEL),
)
_TREATED = tuple("Breast density (ACR)" if title == "ACR" else title for title in _SHORT)
REGIONS = (
    *("#filename", "file_size", "file_attributes", "region_count", "region_id"),
    *("region_shape_attributes", "region_attributes"),
)
"""Titles of the csv; an export of VGG Image Annotator."""


@dataclass
class Region:
    """A region of one image: VIA's shape, and the same in corner coordinates."""

    shape: dict[str, Any]
    geometry: str
    outline: dict[str, Any]
    kind: str = "mass"
    form: str = "none"
    mask: str | None = None
    box: list[int] | None = None
    area: int = 0
    trap: str | None = None


@dataclass
class Picture:
    """One image and what the tables say of it.

    Attributes
    ----------
    name
        `P1_L_DM_MLO`.
    density, letter
        Density in its own row, and that of its low-energy image.
    blank
        The name has a blank before `.jpg` on disk and in the workbook.
    findings
        Texts, joined by `$` in the table, each of one kind of finding.
    kinds
        The corpus's word of each text; empty where the text names no finding.
    """

    name: str
    patient: int
    side: str
    kind: str
    view: str
    age: int
    machine: int
    label: str = "Normal"
    birads: list[int] = field(default_factory=lambda: [1])
    density: str = "_"
    letter: str = "_"
    findings: list[str] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)
    tags: str = "normal"
    regions: list[Region] = field(default_factory=list)
    blank: bool = False
    doubled: bool = False
    two_densities: bool = False
    postoperative: bool = False
    in_table: bool = True
    size: int = 0
    traps: list[str] = field(default_factory=list)

    def cells(self) -> dict[str, Cell]:
        """Return the cells of its row, by title."""
        scores = "$".join(map(str, self.birads))
        return {
            "Image_name": self.name + (" " if self.blank else ""),
            "Patient_ID": self.patient,
            "Side": self.side,
            "Type": "CESM" if self.kind == "CM" else "DM",
            "Age": self.age,
            "Breast density (ACR)": self.density,
            "ACR": self.density,
            "BIRADS": self.birads[0] if len(self.birads) == 1 else scores,
            "Findings": "$".join(self.findings) + (" " if self.patient % 3 == 0 else ""),
            "View": self.view,
            "Tags": self.tags,
            "Machine": self.machine,
            LABEL: self.label,
            "Abnormality type": "Mass",
            "Single/Multiple": "Single",
            "Mass density/enhancement pattern": "Heterogenous" if self.kind == "CM" else "High",
            "Mass shape": "Irregular" if self.label == "Malignant" else "Round - Oval",
            "Mass margin": "Speculated " if self.label == "Malignant" else "Circumscribed",
        }


_TEXTS: dict[tuple[str, str, str], tuple[tuple[str, ...], str, str]] = {
    ("DM", "mass", "malignant"): (
        ("High density mass with speculated margin", "High density mass with indistinct margin"),
        "mass",
        "malignant mass, speculated",
    ),
    ("DM", "mass", "benign"): (
        ("Equal density mass with circumscribed margin", "Multiple equal density  masses"),
        "mass",
        "benign mass, circumscribed",
    ),
    ("DM", "calcification", "malignant"): (
        ("Clusters of pleomorphic microcalcification",),
        "calcification",
        "suspicious microcalcifications",
    ),
    ("DM", "calcification", "benign"): (
        ("Benign macrocalcifications", "Pop corn macrocalcification"),
        "calcification",
        "benign macrocalcification",
    ),
    ("CM", "mass", "malignant"): (
        ("Heterogenously enhancing mass with speculated margin", "Irregular rim enhancing mass"),
        "enhancement",
        "malignant mass, speculated",
    ),
    ("CM", "mass", "benign"): (
        ("Homogenously enhancing mass with circumscribed margin",),
        "enhancement",
        "benign mass, homogenous",
    ),
    ("CM", "calcification", "malignant"): (
        ("Segmental non mass enhancement", "Ductal non mass enhancement"),
        "non_mass_enhancement",
        "malignant non mass, segmental",
    ),
    ("CM", "calcification", "benign"): (
        ("Faint enhancement", "Stippled enhancement"),
        "non_mass_enhancement",
        "benign, faint",
    ),
}
"""Kind of image, drawn lesion and its pathology to texts, the finding they name, and tags."""


def words_for(
    rng: np.random.Generator, kind: str, lesion: str, pathology: str
) -> tuple[str, str, str, int]:
    """Return a text of `Findings`, the finding it names, tags, and a BI-RADS score."""
    texts, finding, tags = _TEXTS[kind, lesion, pathology]
    score = int(rng.integers(4, 6)) if pathology == "malignant" else int(rng.integers(2, 4))
    return texts[int(rng.integers(len(texts)))], finding, tags, score


def _sheet(
    titles: Sequence[str], pictures: Sequence[Picture], wanted: Callable[[Picture], bool]
) -> list[list[Cell]]:
    rows = [
        [cells[title] for title in titles] for p in pictures if wanted(p) for cells in [p.cells()]
    ]
    return [list(titles), *rows]


def labels(pictures: Sequence[Picture]) -> bytes:
    """Return the workbook; rows of doubled images stand a second time at the end of sheet `all`."""
    listed = [picture for picture in pictures if picture.in_table]
    again = [picture for picture in listed if picture.doubled]

    def shows(kind: str, finding: str) -> Callable[[Picture], bool]:
        return lambda picture: picture.kind == kind and finding in picture.kinds

    return workbook(
        {
            "all": _sheet(ALL, [*listed, *again], lambda _: True),
            "mass_description": _sheet(_MASSES, listed, shows("DM", "mass")),
            "distortion": _sheet(_SHORT, listed, shows("DM", "architectural_distortion")),
            "postoperative": _sheet(_SHORT, listed, lambda picture: picture.postoperative),
            "postneoajuvant chemotherapy": _sheet(
                _TREATED, listed, lambda picture: 6 in picture.birads
            ),
            "asymmetry": _sheet(_SHORT, listed, shows("DM", "asymmetry")),
            "calcifications": _sheet(_SHORT, listed, shows("DM", "calcification")),
            "mass enhancement_description": _sheet(_MASSES, listed, shows("CM", "enhancement")),
            "nonmass enhancement_description": _sheet(
                _SHORT, listed, shows("CM", "non_mass_enhancement")
            ),
        }
    )


def segmentations(pictures: Sequence[Picture]) -> bytes:
    """Return the csv of regions, whose names never have a blank."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(REGIONS)
    for picture in pictures:
        for number, region in enumerate(picture.regions):
            shape = json.dumps(region.shape, separators=(",", ":"))
            count = len(picture.regions)
            writer.writerow([f"{picture.name}.jpg", picture.size, "{}", count, number, shape, "{}"])
    return stream.getvalue().encode()
