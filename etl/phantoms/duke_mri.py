"""A phantom Duke Breast Cancer MRI release: dynamic series of both breasts, boxes, clinical table.

Layout, tables and traps are those of the collection (doi 10.7937/TCIA.e3sv-re93) and of its index
in the Imaging Data Commons. The box of a patient encloses the voxels of her cancer, counted from 1
in stored rows, columns and InstanceNumber; the other breast holds a smooth focus of the same laws
that no table names.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from etl.phantoms.breast_mri import Focus, Volume, draw_volume
from etl.phantoms.duke_cases import KEY, Case, plan_case
from etl.phantoms.duke_files import (
    LAYOUTS,
    Series,
    series_folder,
    slice_name,
    write_seg,
    write_slice,
)
from etl.phantoms.duke_tables import BOX_TITLES, CODES, GROUPS, MAPPING_TITLES, TITLES
from etl.phantoms.texture import generator
from etl.phantoms.truth import FilmTruth, LesionTruth, Truth, box_of, save_mask
from etl.phantoms.workbook import Cell, workbook
from schemas.errors import UsageError

__all__ = ["write"]

MOST_PATIENTS = 922
FOV_MM = {320: 320.0, 448: 340.0, 512: 360.0}
SLICE_MM = 3.0
DENSITY_LETTERS = {"0": "C", "1": "B", "4": "D", "5": "A"}
"""Codes of `Breast Density` that are words of BI-RADS."""

_GAIN = {True: 1500, False: 700}
"""Stored values a unit of signal: GE, Siemens."""
_OFFSET = {True: 0, False: 40}
_KINDS = {"sub1_mip": "mip", "sub1_slice": "slice"}

Pixels = npt.NDArray[np.int16] | npt.NDArray[np.uint16]
Bools = npt.NDArray[np.bool_]
Stored = TypeVar("Stored", npt.NDArray[np.float32], npt.NDArray[np.bool_])


@dataclass
class _Release:
    root: Path
    seed: int
    layout: str
    slices: int
    boxes: list[list[Cell]] = field(default_factory=list)
    clinical: list[list[Cell]] = field(default_factory=list)
    mapping: list[list[Cell]] = field(default_factory=list)


@dataclass(frozen=True)
class _Study:
    """One woman as she was drawn and as she is stored."""

    case: Case
    volume: Volume
    age: int
    mm: float
    shift: tuple[float, float]

    @property
    def count(self) -> int:
        return len(self.volume.phases[0])

    def stored(self, array: Stored) -> Stored:
        """Return slices or a picture (…, rows, columns) turned as the device stores them."""
        turned: Stored = array[..., ::-1, ::-1] if self.case.device.turned else array
        return turned

    def in_order(self, array: Stored) -> Stored:
        """Return slices in the order of InstanceNumber, turned as stored."""
        ordered: Stored = array[::-1] if self.case.downwards else array
        return self.stored(ordered)

    def corner(self, number: int) -> tuple[float, float, float]:
        """Return ImagePositionPatient of the slice with an InstanceNumber."""
        from_foot = self.count - number if self.case.downwards else number - 1
        reach = (self.case.device.matrix - 1) / 2 * self.mm
        sign = 1 if self.case.device.turned else -1
        return (
            sign * reach + self.shift[0],
            sign * reach + self.shift[1],
            (from_foot - self.count / 2) * SLICE_MM,
        )


def write(
    root: Path,
    patients: int = 8,
    seed: int = 0,
    *,
    traps: bool = True,
    damage: bool | None = None,
    layout: str = "descriptive",
    mapping: bool = False,
    repeated: int = 1,
    slices: int = 10,
) -> Truth:
    """Write a release and its truth.

    Parameters
    ----------
    root
        Folder of the release; the truth is written beside it (`etl.phantoms.truth`).
    patients
        1 to 922. The files of a larger release begin with the same images.
    traps
        Put the release's known oddities into the first eight patients.
    damage
        Also cut one slice short and leave some of another patient out; by default where there are
        traps.
    layout
        `descriptive` and `classic` (NBIA), `idc` and `idc-index` (public buckets).
    mapping
        Write the mapping of paths, too.
    repeated
        How often each row of boxes stands in the table.
    slices
        Of each dynamic series.

    Raises
    ------
    UsageError
        For an unknown layout, or an impossible number of patients or slices.
    """
    if layout not in LAYOUTS:
        raise UsageError(f"Duke has no layout {layout!r}; there are {', '.join(LAYOUTS)}")
    if not 1 <= patients <= MOST_PATIENTS or slices < 6:
        raise UsageError(
            f"a phantom Duke holds 1 to {MOST_PATIENTS} patients of at least 6 slices, not "
            f"{patients} of {slices}"
        )
    release = _Release(root, seed, layout, slices)
    truth = Truth(KEY, seed, patients)
    root.mkdir(parents=True, exist_ok=True)
    spoil = traps if damage is None else damage
    for index in range(patients):
        case = plan_case(index, seed, traps=traps, damage=spoil)
        truth.films += _write_patient(release, case)
    _write_tables(release, mapping, repeated)
    truth.save(root)
    return truth


def _write_patient(release: _Release, case: Case) -> list[FilmTruth]:
    study = draw_study(release.seed, case, release.slices)
    for phase, series in enumerate(case.dynamic(study.count)):
        _write_series(release, study, series, study.volume.phases[phase])
    for series in case.others():
        _write_other(release, study, series)
    cancer = study.volume.foci[0]
    box = _box(study, cancer)
    release.boxes.append([case.name, *box])
    release.clinical.append(_clinical_row(study))
    return [_film(release, study, side, kind, box) for side in ("L", "R") for kind in _KINDS]


def draw_study(seed: int, case: Case, slices: int) -> _Study:
    """Draw one woman; shared with tests that need no files."""
    matrix = case.device.matrix
    rng = generator(seed, KEY, case.name, "study")
    volume = draw_volume(
        seed,
        case.name,
        case.side,
        matrix=matrix,
        count=slices,
        fov_mm=FOV_MM[matrix],
        slice_mm=SLICE_MM,
        num_phases=len(case.names),
    )
    return _Study(
        case=case,
        volume=volume,
        age=int(rng.integers(28, 85)),
        mm=FOV_MM[matrix] / matrix,
        shift=(float(rng.uniform(-6, 6)), float(rng.uniform(-20, 20))),
    )


# ---- images


def stored_pixels(study: _Study, signal: npt.NDArray[np.float32]) -> Pixels:
    """Return slices as the device stores them: GE int16 about 0, Siemens uint16 of 12 bits."""
    turned = study.case.device.turned
    levels = np.rint(study.in_order(signal) * np.float32(_GAIN[turned])) + _OFFSET[turned]
    if turned:
        return np.asarray(levels, dtype=np.int16)
    return np.asarray(np.clip(levels, 0, 4095), dtype=np.uint16)


def _write_series(
    release: _Release, study: _Study, series: Series, signal: npt.NDArray[np.float32]
) -> None:
    folder = release.root / series_folder(series, release.layout)
    for number, pixels in enumerate(stored_pixels(study, signal), start=1):
        if _is_lacking(study.case, series, number):
            continue
        path = folder / slice_name(series, number, release.layout)
        size = _write_one(path, pixels, study, series, number)
        if study.case.trap == "truncated" and series.sequence == "post_1" and number == 4:
            path.write_bytes(path.read_bytes()[: size // 2])
        _map(release, series, number)


def _is_lacking(case: Case, series: Series, number: int) -> bool:
    return case.trap == "lacking" and series.sequence == "post_1" and number in (3, 4)


def _write_one(path: Path, pixels: Pixels, study: _Study, series: Series, number: int) -> int:
    return write_slice(
        path,
        pixels,
        series,
        study.case.device,
        number=number,
        corner=study.corner(number),
        mm=study.mm,
        slice_mm=SLICE_MM,
        age=study.age,
        position="FFP" if study.case.device.turned else "HFP",
    )


def _write_other(release: _Release, study: _Study, series: Series) -> None:
    folder = release.root / series_folder(series, release.layout)
    matrix = study.case.device.matrix
    if series.sequence == "SEG":
        write_seg(
            folder / slice_name(series, 1, release.layout), series, (matrix, matrix), study.age
        )
        return
    bright = np.float32(1.1) - study.volume.phases[0][: series.count]
    for number, pixels in enumerate(stored_pixels(study, bright), start=1):
        path = folder / slice_name(series, number, release.layout)
        _write_one(path, pixels, study, series, number)
        _map(release, series, number)


# ---- tables


def _map(release: _Release, series: Series, number: int) -> None:
    """Note a slice in the mapping, whose names have three digits and whose paths a stray `//`."""
    original = (
        f"DICOM_Images/{series.patient}/{series.sequence}/"
        f"{series.patient}_{series.sequence}_{number}.dcm"
    )
    folders = [series_folder(series, layout) for layout in ("classic", "descriptive")]
    classic, described = (f"{folder.partition('/')[2]}/1-{number:03d}.dcm" for folder in folders)
    release.mapping.append([original, classic, described.replace("/1-", "//1-")])


def _box(study: _Study, focus: Focus) -> list[int]:
    """Return rows, columns and slices of a focus, counted from 1, both ends included."""
    mask = study.in_order(focus.mask)
    ends: list[int] = []
    for axes in ((0, 2), (0, 1), (1, 2)):
        found = np.flatnonzero(mask.any(axis=axes))
        ends += [int(found[0]) + 1, int(found[-1]) + 1]
    return ends


def _clinical_row(study: _Study) -> list[Cell]:
    case, row = study.case, [None] * len(TITLES)  # type: tuple[Case, list[Cell]]
    born = -round(365.25 * (study.age + 0.5))
    collected = case.bilateral != "NC"
    cells: dict[int, Cell] = {
        0: case.name,
        1: 10,
        2: case.device.code,
        3: case.device.model_code,
        6: 0 if case.device.turned else 1,
        7: " X ".join(f"{value:.4f}" for value in study.corner(1)),
        14: case.device.matrix_code,
        15: case.device.matrix_code,
        19: born,
        35: 1 if collected else None,
        36: case.told_side if collected else None,
        37: f"{case.told_side} 10",
        38: int(case.bilateral) if collected else "NC",
        40: {"0": "NP", "1": case.told_side, "NC": "NC"}[case.bilateral],
        41: {"0": "NP", "1": {"L": "R", "R": "L"}[case.told_side], "NC": "NC"}[case.bilateral],
        48: int(case.multicentric),
        49: int(case.contralateral),
        68: int(case.density) if case.density.isdecimal() else case.density,
    }
    for column, value in cells.items():
        row[column] = value
    return row


def _write_tables(release: _Release, mapping: bool, repeated: int) -> None:
    boxes = [row for row in release.boxes for _ in range(repeated)]
    heads: list[list[Cell]] = [
        [line.get(column) for column in range(len(TITLES))] for line in (GROUPS, CODES)
    ]
    tables: dict[str, dict[str, list[list[Cell]]]] = {
        "Annotation_Boxes.xlsx": {"Sheet1": [list(BOX_TITLES), *boxes]},
        "Clinical_and_Other_Features.xlsx": {
            "Data": [heads[0], list(TITLES), heads[1], *release.clinical],
            "Legend": [["NP = not pertinent"], ["NC = not collected"], ["NA = not available"]],
            "Column Explanations": [["Column", "Explanation"]],
        },
    }
    if mapping:
        tables["Breast-Cancer-MRI-filepath_filename-mapping.xlsx"] = {
            "Sheet1": [list(MAPPING_TITLES), *release.mapping]
        }
    for name, sheets in tables.items():
        (release.root / name).write_bytes(workbook(sheets))


# ---- truth


def _film(release: _Release, study: _Study, side: str, kind: str, box: list[int]) -> FilmTruth:
    case = study.case
    key = f"{case.name}/{side}/{kind}"
    first, last = box[4] - 1, box[5] - 1
    middle = (first + last) // 2
    expect, reason = {
        "truncated": ("reject", "truncated"),
        "lacking": ("absent", None),
    }.get(case.trap or "", ("sample", None))
    matrix = case.device.matrix
    breast = study.stored(study.volume.breasts[side])
    lesions = []
    if side == case.side:
        lesions = [_lesion(release, study, key, box, middle if kind == "sub1_slice" else None)]
    return FilmTruth(
        film_key=key,
        path=series_folder(case.dynamic(study.count)[0], release.layout) + "/",
        patient=case.name,
        side=side,
        view=None,
        rows=matrix,
        columns=matrix,
        pathology="malignant" if lesions else "unknown",
        label_basis="biopsy" if lesions else "unknown",
        annotation=("partial" if case.multicentric == "1" else "complete") if lesions else "none",
        modality="MRI",
        frame_kind=_KINDS[kind],
        frame=middle if kind == "sub1_slice" else None,
        density=case.density,
        density_letter=DENSITY_LETTERS.get(case.density),
        exam=case.name,
        pair=f"{case.name}/{side}",
        twin_of=f"{case.name}/{side}/{next(other for other in _KINDS if other != kind)}",
        age=study.age,
        upside_down=case.device.turned,
        nipple=_nipple(study, side),
        breast_mask=save_mask(release.root, key.replace("/", "."), breast),
        px_per_mm=1 / study.mm,
        lesions=lesions,
        expect=expect,
        reason=reason,
        flags=["laterality_conflict"] if case.told_elsewhere else [],
        traps=[case.trap] if case.trap else [],
    )


def _nipple(study: _Study, side: str) -> list[float]:
    x, y = study.volume.nipples[side]
    matrix = study.case.device.matrix
    return [matrix - x, matrix - y] if study.case.device.turned else [x, y]


def _lesion(
    release: _Release, study: _Study, key: str, box: list[int], slice_: int | None
) -> LesionTruth:
    focus = study.volume.foci[0]
    mask: Bools = study.in_order(focus.mask)
    shown: Bools = np.asarray(mask.any(axis=0) if slice_ is None else mask[slice_])
    top, bottom, left, right = box[:4]
    return LesionTruth(
        lesion_id="1",
        kind="mass",
        form=focus.form,
        pathology="malignant",
        label_basis="biopsy",
        raw={"box": " ".join(map(str, box))},
        mask=save_mask(release.root, f"{key.replace('/', '.')}.1", shown),
        box=box_of(shown),
        area=int(shown.sum()),
        geometry="box",
        outline={"values": [left - 1, top - 1, right, bottom]},
    )
