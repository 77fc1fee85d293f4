"""A phantom KAU-BCMD: JPEG films in folders of BI-RADS categories, and correctSheetlast.xlsx.

Folders, names and titles as public code reads them from the release (Alsolami et al. 2021): mixed
case, blanks and misspellings are the release's. Lesions are drawn, and the release says nothing of
where they lie.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from etl.phantoms.anatomy import draw_patient
from etl.phantoms.dicom import write_ffdm
from etl.phantoms.film import Film, draw_film
from etl.phantoms.insert import Site
from etl.phantoms.lesions import draw_plan
from etl.phantoms.scene import add_lesion, draw_pathology
from etl.phantoms.texture import generator
from etl.phantoms.truth import FilmTruth, Truth, save_mask
from etl.phantoms.workbook import Cell, workbook
from schemas.errors import UsageError

__all__ = ["TITLES", "write"]

KEY = "kau_bcmd"
MOST_PATIENTS = 9999
TITLES: tuple[Cell, ...] = (
    *("Percentage of\n grandular tissue(density)", "PatientID", "Patient age ", "Breast  type"),
    *("Breast view", "Assesment", "Image path"),
)
DENSITIES = ("0%-25%", "26%-50%", "51%-75%", ">75%")
FOLDERS = {
    "A": {
        "1": "archive/BIRAD1/b1",
        "3": "archive/Birad3/b3",
        "4": "archive/Birad4/b4",
        "5": "archive/Birad5/Birad5",
    },
    "B": {word: f"b{word}" for word in "1345"},
    "C": {word: f"BIRAD {word}/BIRAD {word}" for word in "1345"},
}
"""Kaggle's archive; folders renamed; the DICOM edition."""
LABELS = {"1": "normal", "3": "benign", "4": "unknown", "5": "malignant"}
BLACK = (0.05, 0.16)
"""Black border of the JPEG films, a share of the film."""


@dataclass
class _Case:
    """One film: where it lies, what the sheet says of it, what is odd about it."""

    year: str
    patient: str
    side: str
    view: str
    category: str
    density: str | None
    age: str | None
    pathology: str | None
    traps: list[str] = field(default_factory=list)

    @property
    def key(self) -> str:
        return f"{self.year}_{self.patient}_{self.view}_{self.side}"

    @property
    def blank_name(self) -> str:
        return f"{self.year}_{self.patient}_ {self.view}_{self.side}"


@dataclass
class _Release:
    root: Path
    layout: str
    seed: int
    side_px: int
    rows: list[list[Cell]] = field(default_factory=list)
    truth: list[FilmTruth] = field(default_factory=list)

    @property
    def ending(self) -> str:
        return "dcm" if self.layout == "C" else "jpg"

    def film_path(self, case: _Case, category: str | None = None, *, blank: bool = True) -> str:
        stem = case.blank_name if blank and self.layout != "C" else case.key
        return f"{FOLDERS[self.layout][category or case.category]}/{stem}.{self.ending}"


def write(
    root: Path,
    patients: int = 8,
    seed: int = 0,
    *,
    traps: bool = True,
    damage: bool | None = None,
    layout: str = "A",
    side_px: int = 640,
) -> Truth:
    """Write a release of four films a patient and its truth.

    Parameters
    ----------
    root
        Folder of the release; the truth is written beside it (`etl.phantoms.truth`).
    patients
        1 to 9999. The first patients of a larger release are the same bytes.
    traps
        Put the release's known oddities into the first eight patients.
    damage
        Also leave one film out, cut one short and misspell one density; by default where there are
        traps.
    layout
        `A` Kaggle's JPEG archive, `B` its folders renamed, `C` the DICOM edition.
    side_px
        Rows of a film before its black border.

    Raises
    ------
    UsageError
        For an unknown layout or an impossible number of patients.
    """
    if layout not in FOLDERS:
        raise UsageError(f"KAU-BCMD has no layout {layout!r}; there are {', '.join(FOLDERS)}")
    if not 1 <= patients <= MOST_PATIENTS:
        raise UsageError(f"a phantom release holds 1 to {MOST_PATIENTS} patients, not {patients}")
    release = _Release(root, layout, seed, side_px)
    spoil = traps if damage is None else damage
    for index in range(patients):
        cases = _plan_patient(index, seed)
        if traps and index in _TRAPS:
            _TRAPS[index](cases, spoil)
        for case in cases:
            _write_film(release, index, case)
        if traps and index == _BESIDE:
            _write_beside(release, cases[0])
    lines: list[list[Cell]] = [[*TITLES], *release.rows]
    sheets: dict[str, list[list[Cell]]] = {
        "tabel ": [["drawn by a program"]],
        "correctSheet": lines,
    }
    folder = root / ("archive" if layout == "A" else "")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "correctSheetlast.xlsx").write_bytes(workbook(sheets))
    truth = Truth(KEY, seed, patients, release.truth)
    truth.save(root)
    return truth


def _plan_patient(index: int, seed: int) -> list[_Case]:
    rng = generator(seed, KEY, index, "case")
    year = ("2013", "2018", "2019")[int(rng.integers(3))]
    digits = f"{990001 + index}" if index % 2 else f"0{990001 + index}"
    traits = draw_patient(generator(seed, KEY, "patient", index))
    density = DENSITIES[traits.birads_density - 1]
    years = int(rng.integers(32, 80))
    age = f"{years:03d}Y" if rng.uniform() < 0.7 else str(years)
    cases = []
    for side in "RL":
        draw = generator(seed, KEY, index, side)
        pathology = None if draw.uniform() < 0.45 else draw_pathology(draw)
        words = {None: "1", "benign": "334", "malignant": "455"}[pathology]
        category = words[int(draw.integers(len(words)))]
        cases += [
            _Case(year, f"BC{digits}", side, view, category, density, age, pathology)
            for view in ("CC", "MLO")
        ]
    return cases


def _normal(cases: list[_Case], damage: bool) -> None:
    """Leave both breasts normal; store one film as RGB."""
    for case in cases:
        case.category, case.pathology = "1", None
    cases[1].traps.append("rgb")


def _twice(cases: list[_Case], damage: bool) -> None:
    """Write one film's row twice."""
    cases[0].traps.append("row_twice")


def _two_folders(cases: list[_Case], damage: bool) -> None:
    """Put both films of a breast into the folders of 4 and 5."""
    for case in cases[:2]:
        case.category, case.pathology = "5", "malignant"
        case.traps.append("two_folders")


def _other_words(cases: list[_Case], damage: bool) -> None:
    """Let the sheet give another category, none, or a cell that is none."""
    for case in cases[:2]:
        case.category, case.pathology = "3", "benign"
    cases[0].traps.append("says:BIRAD 4")
    cases[1].traps.append("says:nan")
    cases[2].traps.append("says:see report")


def _two_years(cases: list[_Case], damage: bool) -> None:
    """Examine the breasts in two years; leave two films out of the sheet."""
    for case in cases[2:]:
        case.year = "2018" if case.year == "2013" else "2013"
        case.traps.append("no_row")


def _shapes(cases: list[_Case], damage: bool) -> None:
    """Lay one film into a landscape picture; give one film two densities and one the wrong side."""
    cases[0].category, cases[0].pathology = "5", "malignant"
    cases[0].traps.append("landscape")
    cases[1].traps.append("two_densities")
    cases[2].traps.append("other_side")


def _damaged(cases: list[_Case], damage: bool) -> None:
    """Leave one film out, cut one short, and misspell one density."""
    if damage:
        cases[0].traps.append("absent")
        cases[1].traps.append("truncated")
        cases[2].traps.append("unknown_density")


_TRAPS: dict[int, Callable[[list[_Case], bool], None]] = {
    0: _normal,
    1: _twice,
    2: _two_folders,
    3: _other_words,
    4: _two_years,
    5: _shapes,
    7: _damaged,
}
_BESIDE = 6
"""Index of the patient beside whose films other files lie."""


def _write_film(release: _Release, index: int, case: _Case) -> None:
    film = _draw(release, index, case)
    top, bottom, left, right = _borders(release, case, film)
    canvas = ((top, bottom), (left, right))
    image = np.pad(np.where(film.breast, np.clip(film.image, 0.01, 1), 0), canvas)
    relative = release.film_path(case)
    if "absent" not in case.traps:
        _store(release, case, image, relative)
    if "two_folders" in case.traps:
        second = release.film_path(case, "4", blank=False)
        _store(release, case, image, second)
        release.truth.append(
            _not_read(second, case, second, image.shape, "duplicate_file", ["two_folders"])
        )
    _add_rows(release, case)
    release.truth.append(_film_truth(release, case, film, np.pad(film.breast, canvas), relative))


def _draw(release: _Release, index: int, case: _Case) -> Film:
    patient = draw_patient(generator(release.seed, KEY, "patient", index))
    path = (KEY, index, case.side, case.view)
    shape = (release.side_px, int(release.side_px * 0.8))
    film = draw_film(release.seed, patient, path, shape, side=case.side, view=case.view)
    if case.pathology:

        def streams(purpose: str) -> np.random.Generator:
            return generator(release.seed, *path, "lesion", purpose)

        taken: list[Site] = []
        plan = draw_plan(generator(release.seed, KEY, index, case.side, "plan"))
        add_lesion(streams, film, taken, plan, case.pathology)
    return film


def _borders(release: _Release, case: _Case, film: Film) -> tuple[int, int, int, int]:
    """Return the black rows and columns about a film: top, bottom, left, right."""
    if release.layout == "C":
        return 0, 0, 0, 0
    rng = generator(release.seed, KEY, case.key, "border")
    rows, columns = film.image.shape
    top, bottom = (int(rng.uniform(*BLACK) * rows) for _ in range(2))
    left, right = (int(rng.uniform(*BLACK) * columns) for _ in range(2))
    if "landscape" in case.traps:
        extra = int(1.4 * (rows + top + bottom)) - (columns + left + right)
        left, right = (left, right + extra) if case.side == "L" else (left + extra, right)
    return top, bottom, left, right


def _store(release: _Release, case: _Case, image: npt.NDArray[np.float32], relative: str) -> None:
    path = release.root / relative
    path.parent.mkdir(parents=True, exist_ok=True)
    if release.layout == "C":
        levels = np.rint(image * 3900).astype(np.uint16)
        key = f"{release.seed}/{KEY}/{case.key}"
        tags = {"WindowCenter": 1950, "WindowWidth": 3900, "ImagerPixelSpacing": None}
        write_ffdm(path, levels, side=case.side, view=case.view, key=key, tags=tags)
    else:
        grey = np.rint(image * 235).astype(np.uint8)
        coloured = cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR) if "rgb" in case.traps else grey
        done, data = cv2.imencode(".jpg", coloured, [cv2.IMWRITE_JPEG_QUALITY, 95])
        assert done  # noqa: S101 - the encoder refuses only what numpy types already exclude
        path.write_bytes(data.tobytes())
    if "truncated" in case.traps:
        stored = path.read_bytes()
        path.write_bytes(stored[: int(len(stored) * 0.6)])


def _add_rows(release: _Release, case: _Case) -> None:
    if "no_row" in case.traps:
        return
    said = [trap.split(":")[1] for trap in case.traps if trap.startswith("says:")]
    density = "75%-100" if "unknown_density" in case.traps else case.density
    side = {"L": "R", "R": "L"}[case.side] if "other_side" in case.traps else case.side
    gap = " " if len(release.rows) % 2 else ""
    path = f"DICOM Images/BIRAD {case.category}/{case.blank_name}.dcm"
    row: list[Cell] = [
        *(density, case.patient.replace("BC", f"BC{gap}"), case.age, side, case.view),
        *(said[0] if said else f"BIRAD {case.category}", path),
    ]
    release.rows.append(row)
    if "row_twice" in case.traps:
        release.rows.append(list(row))
    if "two_densities" in case.traps:
        other = DENSITIES[(DENSITIES.index(str(case.density)) + 1) % 4]
        release.rows.append([other, *row[1:]])


def _write_beside(release: _Release, case: _Case) -> None:
    """Lay a resource fork, a mask, a report, an ultrasound picture and a foreign file beside."""
    small = cv2.imencode(".jpg", np.full((64, 64), 90, np.uint8))[1].tobytes()
    folder = release.film_path(case).rpartition("/")[0]
    foreign = f"{folder}/IMG001.jpg"
    name = case.blank_name
    for relative in (
        f"{folder}/._{name}.jpg",
        f"tumor masks/{name}.jpg",
        f"Reports/{name}.jpg",
        f"Ultrasound/{case.patient}_1.jpg",
        foreign,
    ):
        path = release.root / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(small)
    release.truth.append(_not_read(foreign, case, foreign, (64, 64), "no_table_row", ["foreign"]))
    release.rows.append([None, case.patient, None, "L", "CC", "nan", None])
    table = "archive/correctSheetlast.xlsx" if release.layout == "A" else "correctSheetlast.xlsx"
    key = f"record {len(release.rows)} of {table}"
    release.truth.append(_not_read(key, case, table, (0, 0), "bad_row", ["empty_path"]))


def _not_read(
    key: str, case: _Case, path: str, shape: tuple[int, ...], reason: str, traps: list[str]
) -> FilmTruth:
    return FilmTruth(
        film_key=key,
        path=path,
        patient=case.patient,
        side=case.side,
        view=case.view,
        rows=shape[0],
        columns=shape[1],
        pathology="unknown",
        label_basis="unknown",
        annotation="none",
        modality="FFDM",
        expect="reject",
        reason=reason,
        traps=traps,
    )


def _film_truth(
    release: _Release, case: _Case, film: Film, breast: npt.NDArray[np.bool_], relative: str
) -> FilmTruth:
    top, _, left, _ = _borders(release, case, film)
    listed = "no_row" not in case.traps
    density = case.density if listed else None
    age = int(case.age.removesuffix("Y")) if case.age and listed else None
    truth = FilmTruth(
        film_key=case.key,
        path=relative,
        patient=case.patient,
        side=case.side,
        view=case.view,
        rows=breast.shape[0],
        columns=breast.shape[1],
        pathology=LABELS[case.category],
        label_basis="birads",
        annotation="complete" if case.category == "1" else "none",
        modality="FFDM",
        birads=case.category,
        density=density,
        density_letter="ABCD"[DENSITIES.index(density)] if density else None,
        exam=f"{case.year}_{case.patient}",
        age=age,
        nipple=[round(film.nipple[0] + left, 2), round(film.nipple[1] + top, 2)],
        skin=[[round(x + left, 2), y + top] for x, y in film.skin[::8].tolist()],
        breast_mask=save_mask(release.root, f"{case.key}.breast", breast),
        px_per_mm=film.px_per_mm,
        traps=list(case.traps),
    )
    _judge(truth, release, case)
    return truth


def _judge(truth: FilmTruth, release: _Release, case: _Case) -> None:
    flags = {"two_folders": "label_conflict", "says:BIRAD 4": "label_conflict"}
    flags |= {"two_densities": "density_conflict", "other_side": "laterality_conflict"}
    truth.flags = [flags[trap] for trap in case.traps if trap in flags]
    if release.layout != "C":
        truth.flags.append("lossy")
    if "two_densities" in case.traps:
        other = DENSITIES[(DENSITIES.index(str(case.density)) + 1) % 4]
        truth.density = f"{case.density}; {other}"
    if "absent" in case.traps:
        truth.expect, truth.reason = "absent", "absent"
        truth.path = f"DICOM Images/BIRAD {case.category}/{case.blank_name}.dcm"
    elif "truncated" in case.traps:
        truth.expect, truth.reason = "reject", "truncated"
    elif "unknown_density" in case.traps:
        truth.expect, truth.reason = "reject", "unknown_word"
    truth.flags.sort()
