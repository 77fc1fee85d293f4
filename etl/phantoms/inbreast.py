"""A phantom INbreast Release 1.0: AllDICOMs, AllXML, PectoralMuscle, INbreast.csv and workbook.

Layout, titles and traps as in the release's README, its tables and four of its outline files
(Moreira et al. 2012). The workbook is .xlsx, as some copies have it, with a Sheet2 that no reader
may open. Films are smaller than the release's by `scale`, and their spacing larger.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from etl.phantoms.anatomy import draw_patient
from etl.phantoms.contour import contour
from etl.phantoms.dicom import write_ffdm
from etl.phantoms.film import Film, draw_film
from etl.phantoms.inbreast_cases import KEY, FilmCase, PatientCase, plan_patient
from etl.phantoms.inbreast_rois import Roi, outline_file, rois
from etl.phantoms.insert import Site
from etl.phantoms.scene import Drawn, add_lesion
from etl.phantoms.texture import generator
from etl.phantoms.truth import FilmTruth, LesionTruth, Truth, box_of, save_mask
from etl.phantoms.workbook import Cell, workbook
from schemas.errors import UsageError

__all__ = ["CSV_TITLES", "SHEET_TITLES", "write"]

MOST_PATIENTS = 9999
LAYOUTS = {"A": "", "B": "INbreast Release 1.0/", "D": ""}
"""The official folders; the same inside the archive's folder; films converted to PNG."""
DETECTORS = {False: (4084, 3328), True: (3328, 2560)}
PIXEL_MM = 0.07
WHITE = 3900
CSV_TITLES = "Patient ID;Patient age;Laterality;View;Acquisition date;File Name;ACR;Bi-Rads"
SHEET_TITLES = (
    *("Patient ID", "Patient age", "Laterality", "View", "Acquisition date", "File Name"),
    *("ACR", "Bi-Rads", "Mass ", "Micros", "Distortion", "Asymmetry"),
    *("Findings Notes (in Portuguese)", "Other Notes", "Lesion Annotation Status"),
    *("Pectoral Muscle Annotation", "Other Annotations"),
)
LABELS = {
    "1": ("normal", "birads"),
    "2": ("benign", "birads"),
    "3": ("benign", "birads"),
    "4a": ("unknown", "birads"),
    "4b": ("unknown", "birads"),
    "4c": ("unknown", "birads"),
    "5": ("malignant", "birads"),
    "6": ("malignant", "biopsy"),
}
"""What a category means without biopsy; 6 is proven."""


@dataclass
class _Release:
    root: Path
    layout: str
    seed: int
    scale: float
    sheet: bool
    lines: list[str] = field(default_factory=list)
    cells: list[list[Cell]] = field(default_factory=list)

    def path(self, relative: str) -> Path:
        path = self.root / (LAYOUTS[self.layout] + relative)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def px_per_mm(self) -> float:
        return self.scale / PIXEL_MM


def write(
    root: Path,
    patients: int = 8,
    seed: int = 0,
    *,
    traps: bool = True,
    damage: bool | None = None,
    layout: str = "A",
    sheet: bool = True,
    scale: float = 0.2,
) -> Truth:
    """Write a release of up to four films a patient and its truth.

    Parameters
    ----------
    root
        Folder of the release; the truth is written beside it (`etl.phantoms.truth`).
    patients
        1 to 9999. The first patients of a larger release are the same bytes.
    traps
        Put the release's known oddities into the first eight patients.
    damage
        Also leave one film out, cut one short and misname one region; by default where there are
        traps.
    layout
        `A` official, `B` inside the archive's folder, `D` films as PNG.
    sheet
        Write the workbook, which alone marks findings.
    scale
        1 draws films of 3328 x 4084 pixels.

    Raises
    ------
    UsageError
        For an unknown layout or an impossible number of patients.
    """
    if layout not in LAYOUTS:
        raise UsageError(f"INbreast has no layout {layout!r}; there are {', '.join(LAYOUTS)}")
    if not 1 <= patients <= MOST_PATIENTS:
        raise UsageError(f"a phantom release holds 1 to {MOST_PATIENTS} patients, not {patients}")
    release = _Release(root, layout, seed, scale, sheet)
    truth = Truth(KEY, seed, patients)
    for index in range(patients):
        traits = draw_patient(generator(seed, KEY, "patient", index))
        spoil = traps if damage is None else damage
        case = plan_patient(index, seed, traits.birads_density, traps=traps, damage=spoil)
        for film_case in case.films:
            truth.films.append(_write_film(release, case, film_case))
        report = release.path(f"MedicalReports/{case.name}.txt")
        report.write_bytes(b"Relatorio de um fantasma, desenhado por um programa.\r\n")
    _write_tables(release)
    truth.save(root)
    return truth


def _write_film(release: _Release, case: PatientCase, film_case: FilmCase) -> FilmTruth:
    film, drawn = _draw(release, case, film_case)
    regions = rois(film_case, film, drawn)
    image = _levels(film)
    relative = _film_path(release, case, film_case)
    if "absent" not in film_case.traps:
        _store(release, case, film_case, image, relative)
    if regions and "no_outlines" not in film_case.traps:
        _write_outlines(release, f"AllXML/{film_case.file}.xml", regions, image)
    if film_case.view == "MLO":
        muscle = [Roi("Pectoral Muscle", contour(film.muscle), "muscle")]
        folder = "PectoralMuscle/Pectoral Muscle XML"
        _write_outlines(release, f"{folder}/{film_case.file}_muscle.xml", muscle, image)
    marks = _marks(film_case, regions)
    _add_rows(release, film_case, marks)
    return _film_truth(release, case, film_case, film, relative, regions, marks)


def _film_path(release: _Release, case: PatientCase, film_case: FilmCase) -> str:
    view = "ML" if film_case.view == "MLO" else film_case.view
    ending = "png" if release.layout == "D" else "dcm"
    name = f"{film_case.file}_{case.name}_MG_{film_case.side}_{view}_ANON.{ending}"
    return f"{LAYOUTS[release.layout]}AllDICOMs/{name}"


def _draw(release: _Release, case: PatientCase, film_case: FilmCase) -> tuple[Film, list[Drawn]]:
    detector = DETECTORS["small" in film_case.traps]
    shape = (round(detector[0] * release.scale), round(detector[1] * release.scale))
    path = (KEY, case.index, film_case.file)
    film = draw_film(
        release.seed,
        draw_patient(generator(release.seed, KEY, "patient", case.index)),
        path,
        shape,
        side=film_case.side,
        view="MLO" if film_case.view == "MLO" else "CC",
        px_per_mm=release.px_per_mm(),
    )
    drawn: list[Drawn] = []
    taken: list[Site] = []
    for one in film_case.found:

        def streams(purpose: str, number: int = one.number) -> np.random.Generator:
            return generator(release.seed, *path, "lesion", number, purpose)

        lesion = add_lesion(streams, film, taken, one.plan, one.pathology)
        if lesion is not None:
            drawn.append(lesion)
    return film, drawn


def _levels(film: Film) -> npt.NDArray[np.uint16]:
    """Return 14-bit values of a little under 12 bits, as the release's are; background is 0."""
    levels = np.clip(film.image, 0.01, 1) * np.float32(WHITE)
    return np.where(film.breast, np.rint(levels), 0).astype(np.uint16)


def _store(
    release: _Release,
    case: PatientCase,
    film_case: FilmCase,
    image: npt.NDArray[np.uint16],
    relative: str,
) -> None:
    path = release.root / relative
    path.parent.mkdir(parents=True, exist_ok=True)
    if release.layout == "D":
        done, data = cv2.imencode(".png", image)
        assert done  # noqa: S101 - the encoder refuses only what numpy types already exclude
        path.write_bytes(data.tobytes())
    else:
        spacing = round(1 / release.px_per_mm(), 6)
        tags: dict[str, Any] = {"WindowCenter": WHITE // 2, "WindowWidth": WHITE}
        tags |= {"Manufacturer": "SIEMENS", "PatientID": "removed", "PatientName": "removed"}
        if "no_spacing" in film_case.traps:
            tags["ImagerPixelSpacing"] = None
        if "spacing_one" in film_case.traps:
            tags |= {"PixelSpacing": [1, 1], "ImagerPixelSpacing": None}
        view = "MLO" if film_case.view == "MLO" else "CC"
        write_ffdm(
            path,
            image,
            bits=14,
            side=film_case.side,
            view=view,
            spacing_mm=spacing,
            key=f"{release.seed}/{KEY}/{film_case.file}",
            tags=tags,
        )
    if "fork" in film_case.traps:
        path.with_name(f"._{path.name}").write_bytes(b"\0\5\x16\7\0\2\0\0Mac OS X        ")
    if "truncated" in film_case.traps:
        data_on_disk = path.read_bytes()
        path.write_bytes(data_on_disk[: int(len(data_on_disk) * 0.6)])


def _write_outlines(
    release: _Release, relative: str, regions: list[Roi], image: npt.NDArray[np.uint16]
) -> None:
    data = outline_file(regions, release.px_per_mm(), float(image.max()))
    release.path(relative).write_bytes(data)


def _marks(film_case: FilmCase, regions: list[Roi]) -> list[str]:
    """Return the columns of Sheet1 that get an X."""
    if "asymmetry_marked" in film_case.traps:
        return ["Asymmetry"]
    if "not_marked" in film_case.traps:
        return []
    words = {"mass": "Mass ", "calcification": "Micros", "asymmetry": "Asymmetry"}
    kinds = {roi.kind for roi in regions}
    return [word for kind, word in words.items() if kind in kinds]


def _add_rows(release: _Release, film_case: FilmCase, marks: list[str]) -> None:
    case = film_case
    plain = [case.side, case.view, case.semester, case.file, case.acr, case.category]
    release.lines.append(";".join(["removed", "removed", *plain]))
    normal = case.category == "1"
    numbers: list[Cell] = [
        float(case.semester),
        float(case.file),
        float(case.acr) if case.acr.strip() else case.acr,
        float(case.category) if case.category.isdecimal() else case.category,
    ]
    release.cells.append(
        [
            *("removed", "removed", case.side, case.view),
            *numbers,
            *("X" if title in marks else None for title in SHEET_TITLES[8:12]),
            "normal" if normal else "fantasma",
            None,
            "No annotation (Normal)" if normal else None,
            None,
            None,
        ]
    )


def _write_tables(release: _Release) -> None:
    text = "".join(line + "\r\n" for line in [CSV_TITLES, *release.lines])
    release.path("INbreast.csv").write_bytes(text.encode("ascii"))
    release.path("README.txt").write_bytes(b"Phantom films, drawn by a program.\r\n")
    if release.sheet:
        counts: list[Cell] = [
            float(sum(row[place] == "X" for row in release.cells)) for place in range(8, 12)
        ]
        totals: list[Cell] = [*[None] * 6, 1.0, 1.0, *counts]
        sheet1: list[list[Cell]] = [[*SHEET_TITLES], *release.cells, [None], totals]
        sheet2: list[list[Cell]] = [["Nome", "File Name", "Bi-Rads"], ["NEVER READ", 1.0, "5"]]
        release.path("INbreast.xlsx").write_bytes(workbook({"Sheet1": sheet1, "Sheet2": sheet2}))


def _film_truth(
    release: _Release,
    case: PatientCase,
    film_case: FilmCase,
    film: Film,
    relative: str,
    regions: list[Roi],
    marks: list[str],
) -> FilmTruth:
    pathology, basis = LABELS[film_case.category]
    acr = film_case.acr.strip()
    truth = FilmTruth(
        film_key=film_case.file,
        path=relative,
        patient=case.name,
        side=film_case.side,
        view=film_case.view,
        rows=film.image.shape[0],
        columns=film.image.shape[1],
        pathology=pathology,
        label_basis=basis,
        annotation="complete",
        modality="FFDM",
        birads=film_case.category.upper(),
        density=acr or None,
        density_letter="ABCD"[int(acr) - 1] if acr else None,
        exam=f"{case.name}_{film_case.semester[:4]}_{film_case.semester[4:]}",
        nipple=[round(v, 2) for v in film.nipple],
        skin=[[round(x, 2), y] for x, y in film.skin[::8].tolist()],
        breast_mask=save_mask(release.root, f"{film_case.file}.breast", film.breast),
        px_per_mm=film.px_per_mm,
        traps=list(film_case.traps),
    )
    truth.lesions = _lesion_truths(release, film_case, film, regions, marks)
    _judge(truth, release, film_case)
    return truth


def _judge(truth: FilmTruth, release: _Release, film_case: FilmCase) -> None:
    traps = film_case.traps
    drawn = sum(lesion.geometry is not None for lesion in truth.lesions)
    if truth.lesions:
        truth.annotation = "none" if not drawn else "complete"
    if 0 < drawn < len(truth.lesions):
        truth.annotation = "partial"
    if "beyond" in traps:
        truth.flags.append("geometry_clipped")
    if "no_outlines" in traps:
        truth.flags.append("mask_missing")
        truth.annotation = "none"
    if release.sheet and {"asymmetry_marked", "not_marked"} & set(traps):
        truth.flags.append("unlinked_geometry")
    if "absent" in traps:
        truth.expect, truth.reason = "absent", "absent"
    elif "truncated" in traps:
        truth.expect, truth.reason = "reject", "truncated"
    elif "unknown_name" in traps:
        truth.expect, truth.reason = "reject", "unknown_word"


def _lesion_truths(
    release: _Release, film_case: FilmCase, film: Film, regions: list[Roi], marks: list[str]
) -> list[LesionTruth]:
    kinds = {"Mass ": "mass", "Micros": "calcification", "Asymmetry": "asymmetry"}
    told = [kinds[mark] for mark in marks] if release.sheet else []
    if "no_outlines" in film_case.traps:
        regions = []
    unlinked = [kind for kind in told if kind not in {roi.kind for roi in regions}]
    bearers = _bearers(film_case, regions, unlinked)
    names = {"mass": "mass", "calcification": "micros", "asymmetry": "asymmetry"}
    truths = []
    for number, roi in enumerate(regions):
        truths.append(_drawn_truth(release, film_case, film, roi, number, number in bearers))
    for k, kind in enumerate(unlinked, start=len(regions)):
        pathology, basis = _label(film_case, k in bearers)
        raw = {"Bi-Rads": film_case.category}
        truths.append(
            LesionTruth(
                lesion_id=names[kind],
                kind=kind,
                form="none",
                pathology=pathology,
                label_basis=basis,
                raw=raw,
                trap="unlinked",
            )
        )
    return truths


def _bearers(film_case: FilmCase, regions: list[Roi], unlinked: list[str]) -> set[int]:
    """Return which lesions may have the image's category: all where it is benign, else the one."""
    names = [roi.name.lower() for roi in regions] + unlinked
    everything = set(range(len(names)))
    if LABELS[film_case.category][0] == "benign":
        return everything
    single = {k for k, name in enumerate(names) if name.startswith(("calcif", "point", "unnamed"))}
    large = everything - single
    about = {k for k in large if "spiculated" in names[k]}
    if not large:
        return single
    return large if len(large - about) == 1 else set()


def _label(film_case: FilmCase, bears: bool) -> tuple[str, str]:
    return LABELS[film_case.category] if bears else ("unknown", "unknown")


def _drawn_truth(
    release: _Release, film_case: FilmCase, film: Film, roi: Roi, number: int, bears: bool
) -> LesionTruth:
    pathology, basis = _label(film_case, bears)
    truth = LesionTruth(
        lesion_id=f"{number + 1:03d}",
        kind=roi.kind,
        form=roi.lesion.lesion.form if roi.lesion else "none",
        pathology=pathology,
        label_basis=basis,
        raw={"Name": roi.name, "Bi-Rads": film_case.category},
        geometry="point" if roi.is_point else "polygon",
    )
    if roi.is_point:
        middle = np.mean(roi.points, axis=0)
        truth.outline = {"values": [round(float(v), 6) for v in middle]}
        return truth
    rows, columns = film.image.shape
    ring = [[min(max(x, 0.0), columns), min(max(y, 0.0), rows)] for x, y in roi.points]
    truth.outline = {"rings": [ring]}
    truth.trap = "beyond" if ring != roi.points else None
    if roi.lesion is not None:
        truth.mask = save_mask(release.root, f"{film_case.file}.{truth.lesion_id}", roi.lesion.mask)
        truth.box, truth.area = box_of(roi.lesion.mask), int(roi.lesion.mask.sum())
    return truth
