"""A phantom EMBED release: digital and synthetic mammograms, a metadata and a clinical table.

Layout, titles and words are those of the open release (README, ROI Reference v1.2 and notebook of
Emory-HITI/EMBED_Open_Data); every row is invented. Boxes are written as a radiologist's box on the
mirrored PNG copy; the truth keeps them in pixels of the DICOM file.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless, JPEGLosslessSV1

from etl.phantoms import marks
from etl.phantoms.anatomy import Patient, draw_patient
from etl.phantoms.dicom import uid, write_ffdm
from etl.phantoms.embed_cases import KEY, ExamCase, FindingCase, ImageCase, plan_patient
from etl.phantoms.embed_words import (
    CLINICAL_TITLES,
    METADATA_TITLES,
    NUS_CLINICAL_TITLES,
    NUS_METADATA_TITLES,
    breast_truth,
    finding_truth,
    finding_words,
)
from etl.phantoms.film import Film, draw_film
from etl.phantoms.insert import Site
from etl.phantoms.lesions import draw_plan
from etl.phantoms.scene import Drawn, add_lesion
from etl.phantoms.texture import generator
from etl.phantoms.truth import FilmTruth, LesionTruth, Truth, box_of, save_mask
from schemas.errors import UsageError

__all__ = ["write"]

Box = tuple[int, int, int, int]
MOST_PATIENTS = 9_999
SYNTAXES = (ExplicitVRLittleEndian, JPEGLosslessSV1, JPEG2000Lossless)
MODELS = {"HOLOGIC, Inc.": "Selenia Dimensions", "GE MEDICAL SYSTEMS": "Senographe Essential"}
LAYOUTS = {"A": "images", "B": "EMBED/images"}
EDITIONS = ("open", "nus")
SERVER = {"A": "/mnt/NAS2/mammo/anon_dicom", "B": "./images"}
MARGIN_PX = 4
MIRRORED_VIEWS = ("CC", "MLO", "ML")
BREAST_MM = 190.0


@dataclass
class _Release:
    root: Path
    layout: str
    edition: str
    seed: int
    scale: float
    metadata: list[dict[str, str]] = field(default_factory=list)
    clinical: list[dict[str, str]] = field(default_factory=list)
    files: int = 0


@dataclass
class _Exam:
    """One exam of one patient, and what every row and image of it share."""

    case: ExamCase
    index: int
    number: int
    patient: Patient
    seed: int

    @property
    def empi(self) -> str:
        return str(90_000_001 + self.index)

    @property
    def acc(self) -> str:
        return f"99{self.index + 1:08d}{self.number + 1:06d}"

    @property
    def cohort(self) -> str:
        return str(1 + self.index % 2)

    @property
    def day(self) -> date:
        return date(2015, 2, 4) + timedelta(days=37 * self.index + 400 * self.number)

    @property
    def density(self) -> str:
        return "5" if self.case.male else str(self.patient.birads_density)

    def of_side(self, side: str) -> list[tuple[str, FindingCase]]:
        """Return numfind and finding of the rows that concern a breast."""
        numbered = ((str(at + 1), row) for at, row in enumerate(self.case.findings))
        return [(number, row) for number, row in numbered if row.side in (side, "B", "")]


def write(
    root: Path,
    patients: int = 8,
    seed: int = 0,
    *,
    traps: bool = True,
    damage: bool | None = None,
    layout: str = "A",
    edition: str = "open",
    scale: float = 1.0,
) -> Truth:
    """Write a release and its truth.

    Parameters
    ----------
    root
        Folder of the release; the truth is written beside it (`etl.phantoms.truth`).
    patients
        1 to 9999. The first patients of a larger release are the same bytes.
    layout
        `A` as in the bucket, `B` a copy with the images in a folder of their own.
    edition
        `open`, or `nus`: the datathon's reduced tables, with boxes of the DICOM.
    scale
        1 draws films of 800 x 640 pixels.
    traps
        Put the release's known oddities into the first eight patients.
    damage
        Also leave one film out, cut one short, and add a file without row and a screen save; by
        default where there are traps.

    Raises
    ------
    UsageError
        For an unknown layout or edition, or an impossible number of patients.
    """
    if layout not in LAYOUTS or edition not in EDITIONS:
        raise UsageError(
            f"EMBED has no layout {layout!r} of edition {edition!r}; there are layouts "
            f"{', '.join(LAYOUTS)} and editions {', '.join(EDITIONS)}"
        )
    if not 1 <= patients <= MOST_PATIENTS:
        raise UsageError(f"a phantom release holds 1 to {MOST_PATIENTS} patients, not {patients}")
    release = _Release(root, layout, edition, seed, scale)
    truth = Truth(KEY, seed, patients)
    root.mkdir(parents=True, exist_ok=True)
    spoil = traps if damage is None else damage
    for index in range(patients):
        patient = draw_patient(generator(seed, KEY, "patient", index))
        cases = plan_patient(index, seed, traps=traps, damage=spoil)
        for number, case in enumerate(cases):
            truth.films += _write_exam(release, _Exam(case, index, number, patient, seed))
    _write_tables(release)
    truth.save(root)
    return truth


def _write_exam(release: _Release, exam: _Exam) -> list[FilmTruth]:
    drawings: dict[tuple[str, str], tuple[Film, dict[str, Drawn]]] = {}
    films: list[FilmTruth] = []
    words: dict[str, Drawn] = {}
    for place, image in enumerate(exam.case.images):
        at = image.side, image.view
        if at not in drawings or image.later:
            drawings[at] = _draw(release, exam, image)
        film, drawn = drawings[at]
        words |= {number: lesion for number, lesion in drawn.items() if number not in words}
        films.append(_write_image(release, exam, image, place, film, drawn))
    if exam.case.listed:
        for number, row in enumerate(exam.case.findings, start=1):
            lesion = words.get(str(number))
            release.clinical.append(_clinical_row(exam, str(number), row, lesion))
    return films


def _draw(release: _Release, exam: _Exam, image: ImageCase) -> tuple[Film, dict[str, Drawn]]:
    """Return a view's film, its background 0, and its lesions by numfind."""
    path = (KEY, exam.index, exam.number, image.side, image.view, int(image.later))
    rows = int(800 * release.scale)
    film = draw_film(
        exam.seed,
        exam.patient,
        path,
        (rows, int(rows * 0.8)),
        side="L" if image.chest_left else "R",
        view="MLO" if image.view in ("MLO", "ML") else "CC",
        px_per_mm=rows / BREAST_MM,
        base=0.0,
    )
    if image.box == "mirrored":
        _widen(film)
    film.image = np.where(film.breast, np.clip(film.image, 0.02, 1), 0).astype(np.float32)
    marks.film_letters(generator(exam.seed, *path, "marks"), film)
    drawn: dict[str, Drawn] = {}
    taken: list[Site] = []
    for number, row in exam.of_side(image.side):
        if row.drawn:
            # one finding is of one kind on all views
            plan = draw_plan(generator(exam.seed, KEY, exam.index, exam.number, number, "plan"))
            lesion = add_lesion(
                lambda purpose, number=number: generator(exam.seed, *path, number, purpose),  # type: ignore[misc]
                film,
                taken,
                plan,
                row.pathology,
            )
            if lesion is None:
                raise UsageError(
                    f"the phantom {exam.acc} {image.side} {image.view} has no room for finding "
                    f"{number}; use another seed"
                )
            drawn[number] = lesion
    return film, drawn


def _widen(film: Film) -> None:
    """Add air beyond the nipple, so that nothing of the breast's mirror image lies on it."""
    columns = film.image.shape[1]
    air = int(0.8 * columns)
    sides = ((0, 0), (0, air) if film.side == "L" else (air, 0))
    film.image = np.pad(film.image, sides)
    film.breast, film.muscle = np.pad(film.breast, sides), np.pad(film.muscle, sides)
    if film.side == "R":
        film.skin = film.skin + np.array([air, 0])
        film.nipple = film.nipple[0] + air, film.nipple[1]


def _stored(film: Film, image: ImageCase, path: tuple[int | str, ...], seed: int) -> Any:
    """Return 12-bit pixels; a C-view is a smoother picture of the same breast."""
    levels = film.image
    if image.kind == "cview":
        rng = generator(seed, *path, "c-view")
        noise = rng.standard_normal(levels.shape, dtype=np.float32) * np.float32(0.004)
        levels = cv2.GaussianBlur(levels, (0, 0), 0.8) + noise
        levels = np.where(film.breast, np.clip(levels, 0.02, 1), film.image)
    return np.rint(np.clip(levels, 0, 1) * np.float32(4095)).astype(np.uint16)


def _write_image(
    release: _Release,
    exam: _Exam,
    image: ImageCase,
    place: int,
    film: Film,
    drawn: Mapping[str, Drawn],
) -> FilmTruth:
    key = f"{KEY} {exam.seed} {exam.acc} {place}"
    study, sop = uid(KEY, exam.seed, exam.acc), uid("ffdm", key, "instance")
    series = uid(KEY, exam.seed, exam.acc, "series", place)
    tail = f"cohort_{exam.cohort}/{exam.empi}/{study}/{series}/{sop}.dcm"
    relative = f"{LAYOUTS[release.layout]}/{tail}"
    orientation = _orientation(image)
    if "absent" not in image.traps:
        write_ffdm(
            release.root / relative,
            _stored(film, image, (KEY, exam.acc, place), exam.seed),
            SYNTAXES[release.files % len(SYNTAXES)],
            side=image.side,
            view=image.view,
            patient_id=exam.empi,
            spacing_mm=round(1 / film.px_per_mm, 4),
            key=key,
            tags={
                "StudyInstanceUID": study,
                "SeriesInstanceUID": series,
                "StudyDate": f"{exam.day:%Y%m%d}",
                "Manufacturer": exam.case.vendor,
                "ManufacturerModelName": MODELS[exam.case.vendor],
                "PatientOrientation": orientation if image.tagged else None,
                "WindowCenter": [2047, 1900],
                "WindowWidth": [4095, 3600],
            },
        )
        if "truncated" in image.traps:
            file = release.root / relative
            file.write_bytes(file.read_bytes()[: int(file.stat().st_size * 0.6)])
    release.files += 1
    boxes = _boxes(image, film, drawn)
    if "no_row" not in image.traps:
        release.metadata.append(
            _metadata_row(release, exam, image, tail, place, film, list(boxes.values()))
        )
    return _film_truth(release, exam, image, relative, sop, film, drawn, boxes)


def _orientation(image: ImageCase) -> list[str]:
    foot = {"CC": "", "XCCL": "", "CCID": ""}.get(image.view, "F")
    return ["A", f"{foot}R"] if image.chest_left else ["P", f"{foot}L"]


def _boxes(image: ImageCase, film: Film, drawn: Mapping[str, Drawn]) -> dict[str, Box]:
    """Return a box a lesion, half-open, in pixels of the file."""
    if not image.boxed:
        return {}
    rows, columns = film.image.shape
    found = {}
    for number, lesion in drawn.items():
        x0, y0, x1, y1 = box_of(lesion.mask) or [0, 0, 1, 1]
        box = (
            max(x0 - MARGIN_PX, 0),
            max(y0 - MARGIN_PX, 0),
            min(x1 + MARGIN_PX, columns),
            min(y1 + MARGIN_PX, rows),
        )
        found[number] = _in_the_black(film, box) if image.box == "black" else box
    return found


def _in_the_black(film: Film, box: Box) -> Box:
    """Return a box of 20 x 20 pixels that lies off the breast, mirrored too."""
    del box
    both = film.breast | film.breast[:, ::-1]
    off = cv2.distanceTransform((~both).astype(np.uint8), cv2.DIST_L2, 5)
    off[:10], off[-10:], off[:, :10], off[:, -10:] = 0, 0, 0, 0
    y, x = np.unravel_index(int(off.argmax()), off.shape)
    return int(x) - 10, int(y) - 10, int(x) + 10, int(y) + 10


def _roi(box: Box, columns: int, *, mirrored: bool) -> str:
    """Return (ymin, xmin, ymax, xmax) with inclusive maxima, of the mirrored copy if so."""
    x0, y0, x1, y1 = box
    if mirrored:
        x0, x1 = columns - x1, columns - x0
    return f"({y0}, {x0}, {y1 - 1}, {x1 - 1})"


def is_mirrored(image: ImageCase) -> bool:
    """Tell whether the release's PNG copy of an image was mirrored."""
    by_tag = not image.chest_left if image.tagged else image.side == "R"
    return by_tag and image.view in MIRRORED_VIEWS


def _metadata_row(
    release: _Release,
    exam: _Exam,
    image: ImageCase,
    tail: str,
    place: int,
    film: Film,
    boxes: Sequence[Box],
) -> dict[str, str]:
    rows, columns = film.image.shape
    turned = is_mirrored(image) != (image.box == "mirrored")
    on_png = [_roi(box, columns, mirrored=turned) for box in boxes]
    on_file = [_roi(box, columns, mirrored=False) for box in boxes]
    level = "2" if image.kind == "cview" else "1"
    description = image.description or f"{image.side} {image.view}"
    if image.kind == "cview":
        description += " C-View"
    modifier = "Spot Compression" if image.spot_mag else ""
    if "implant_displaced" in image.traps:
        modifier = "Implant Displaced"
    orientation = str(_orientation(image)) if image.tagged else ""
    return {
        "empi_anon": exam.empi,
        "acc_anon": exam.acc,
        "study_date_anon": exam.day.isoformat(),
        "cohort_num": exam.cohort,
        "anon_dicom_path": f"{SERVER[release.layout]}/{tail}" + (" " if place == 1 else ""),
        "png_path": f"/mnt/NAS2/mammo/png/{exam.acc}_{place}.png",
        "png_filename": f"{exam.acc}_{place}.png",
        "StudyDescription": exam.case.desc,
        "SeriesDescription": description,
        "FinalImageType": image.kind,
        "ImageLateralityFinal": image.side,
        "ImageLaterality": image.side,
        "ViewPosition": image.view,
        "spot_mag": image.spot_mag,
        "num_roi": f"{len(boxes)}" if place % 2 else f"{len(boxes)}.0",
        "ROI_coords": _tuple(on_png),
        "PNG_ROI_coords": _nested(on_png),
        "DCM_ROI_coords": _nested(on_file),
        "match_level": str([int(level)] * len(boxes)),
        "ROI_match_level": str([[int(level)] * len(boxes)]),
        "Manufacturer": exam.case.vendor,
        "ManufacturerModelName": MODELS[exam.case.vendor],
        "Modality": "MG",
        "PatientSex": "M" if exam.case.male else "F",
        "PatientOrientation": orientation,
        "PresentationIntentType": "FOR PRESENTATION",
        "PhotometricInterpretation": "MONOCHROME2",
        "Rows": str(rows),
        "Columns": str(columns),
        "BreastImplantPresent": "YES" if exam.case.implants else "NO",
        "AcquisitionTime": f"{101500 + 20 * place}.0",
        "SeriesNumber": str(place + 1),
        "InstanceNumber": "1",
        "WindowCenter": "[2047, 1900]",
        "WindowWidth": "[4095, 3600]",
        "0_ViewCodeSequence_0_ViewModifierCodeSequence_CodeMeaning": modifier,
    }


def _tuple(boxes: Sequence[str]) -> str:
    return f"({', '.join(boxes)}{',' if len(boxes) == 1 else ''})"


def _nested(boxes: Sequence[str]) -> str:
    inner = ", ".join(f"[{box[1:-1]}]" for box in boxes)
    return f"[[{inner}]]" if boxes else "[]"


def _clinical_row(
    exam: _Exam, number: str, row: FindingCase, lesion: Drawn | None
) -> dict[str, str]:
    rng = generator(exam.seed, KEY, exam.acc, number, "words")
    taken = exam.day + timedelta(days=row.wait)
    age = f"{generator(exam.seed, KEY, exam.index, 'age').uniform(38, 86) + exam.number:.1f}"
    return {
        "empi_anon": exam.empi,
        "acc_anon": exam.acc,
        "study_date_anon": exam.day.isoformat(),
        "sdate_anon": exam.day.isoformat(),
        "cohort_num": exam.cohort,
        "desc": exam.case.desc,
        "tissueden": f"{exam.density}.0",
        "asses": row.asses,
        "numfind": number,
        "side": row.side,
        "total_L_find": f"{sum(x.side in ('L', 'B') for x in exam.case.findings)}.0",
        "total_R_find": f"{sum(x.side in ('R', 'B') for x in exam.case.findings)}.0",
        "implanfind": row.implant,
        "bside": row.bside,
        "procdate_anon": taken.isoformat() if row.severity else "",
        "type": "B" if row.severity else "",
        "path_severity": f"{row.severity}.0" if row.severity else "",
        "age_at_study": age,
        "GENDER_DESC": "Male" if exam.case.male else "Female",
        "calcnumber": "0",
        **finding_words(rng, lesion.lesion if lesion else None, row.severity),
    }


def _film_truth(
    release: _Release,
    exam: _Exam,
    image: ImageCase,
    relative: str,
    sop: str,
    film: Film,
    drawn: Mapping[str, Drawn],
    boxes: Mapping[str, Box],
) -> FilmTruth:
    nus = release.edition == "nus"
    rows = exam.of_side(image.side) if exam.case.listed else []
    told = breast_truth(exam.case, [row for _, row in rows], nus=nus)
    lesions = _lesion_truths(release, exam, image, sop, drawn, boxes, nus=nus)
    pixels = film.image.shape
    truth = FilmTruth(
        film_key=sop,
        path=relative,
        patient=exam.empi,
        side=image.side,
        view={"CCID": "CC"}.get(image.view, image.view),
        rows=pixels[0],
        columns=pixels[1],
        pathology=told.pathology,
        label_basis=told.basis,
        annotation=_annotation(told.pathology, lesions, boxes),
        modality="S2D" if image.kind == "cview" else "FFDM",
        birads=told.birads,
        density=f"{exam.density}.0" if exam.case.listed else None,
        density_letter=None
        if exam.case.male or not exam.case.listed
        else "ABCD"[int(exam.density) - 1],
        exam=exam.acc,
        pair=_pair(exam, image),
        age=_age(exam),
        nipple=[round(v, 2) for v in film.nipple],
        skin=[[round(x, 2), y] for x, y in film.skin[::8].tolist()],
        breast_mask=save_mask(release.root, f"{sop}.breast", film.breast),
        px_per_mm=film.px_per_mm,
        lesions=lesions,
        flags=_flags(exam, image, told.flags, lesions, nus=nus),
        traps=list(image.traps),
    )
    _judge(truth)
    return truth


def _age(exam: _Exam) -> int | None:
    if not exam.case.listed or not exam.case.findings:
        return None
    age = generator(exam.seed, KEY, exam.index, "age").uniform(38, 86) + exam.number
    return int(float(f"{age:.1f}"))


def _pair(exam: _Exam, image: ImageCase) -> str | None:
    twins = {x.kind for x in exam.case.images if (x.side, x.view) == (image.side, image.view)}
    return f"{exam.acc}/{image.side}/{image.view}" if {"2D", "cview"} <= twins else None


def _annotation(pathology: str, lesions: Sequence[LesionTruth], boxes: Mapping[str, Box]) -> str:
    if boxes:
        return "complete" if len(lesions) == 1 else "partial"
    return "complete" if pathology == "normal" and not lesions else "none"


def _lesion_truths(
    release: _Release,
    exam: _Exam,
    image: ImageCase,
    sop: str,
    drawn: Mapping[str, Drawn],
    boxes: Mapping[str, Box],
    *,
    nus: bool,
) -> list[LesionTruth]:
    found = []
    rows = exam.of_side(image.side) if exam.case.listed else []
    rows = [(number, row) for number, row in rows if (row.side and row.asses not in "NX")
            or row.true_asses]  # fmt: skip
    linked = len(rows) == len(boxes) == 1
    for number, row in rows:
        pathology, basis = finding_truth(row, nus=nus)
        lesion = drawn.get(number)
        mask = lesion.mask if lesion else None
        found.append(
            LesionTruth(
                lesion_id=number,
                kind=lesion.lesion.kind if lesion else "unknown",
                form=lesion.lesion.form if lesion else "none",
                pathology=pathology,
                label_basis=basis,
                raw={"asses": row.asses, "path_severity": row.severity},
                mask=None if mask is None else save_mask(release.root, f"{sop}.{number}", mask),
                box=None if mask is None else box_of(mask),
                area=0 if mask is None else int(mask.sum()),
                geometry="box" if linked else None,
                outline={"values": [float(v) for v in boxes[number]]} if linked else None,
                trap="suspect" if image.box == "black" else None,
            )
        )
    if not linked:
        found += [_box_truth(at, box) for at, box in enumerate(boxes.values(), start=1)]
    return found


def _box_truth(at: int, box: Box) -> LesionTruth:
    """Return a box that belongs to none of several findings."""
    x0, y0, x1, y1 = box
    return LesionTruth(
        lesion_id=f"roi{at}",
        kind="unknown",
        form="none",
        pathology="unknown",
        label_basis="unknown",
        raw={},
        box=list(box),
        area=(x1 - x0) * (y1 - y0),
        geometry="box",
        outline={"values": [float(v) for v in box]},
        trap="unlinked",
    )


def _flags(
    exam: _Exam,
    image: ImageCase,
    told: Sequence[str],
    lesions: Sequence[LesionTruth],
    *,
    nus: bool,
) -> list[str]:
    """Return the flags; the datathon's table has no times, and boxes of the file itself."""
    said = {
        "spot": "spot" in image.traps,
        "male": exam.case.male,
        "repeat": "repeated" in image.traps and not nus,
        "unlinked_geometry": any(lesion.trap == "unlinked" for lesion in lesions),
        "geometry_mirrored": image.box == "mirrored" and not nus,
        "geometry_suspect": image.box == "black",
    }
    return sorted({*told, *(flag for flag, is_so in said.items() if is_so)})


def _judge(truth: FilmTruth) -> None:
    ends = {
        "absent": ("absent", None),
        "truncated": ("reject", "truncated"),
        "no_row": ("reject", "no_table_row"),
        "screen_save": ("reject", "unknown_word"),
    }
    for trap, (expect, reason) in ends.items():
        if trap in truth.traps:
            truth.expect, truth.reason = expect, reason


def _write_tables(release: _Release) -> None:
    nus = release.edition == "nus"
    stem = "EMBED_OpenData_NUS_Datathon_" if nus else "EMBED_OpenData_"
    end = "_reduced.csv" if nus else ".csv"
    tables: dict[str, tuple[Sequence[str], list[dict[str, str]]]] = {
        "metadata": (NUS_METADATA_TITLES if nus else METADATA_TITLES, release.metadata),
        "clinical": (NUS_CLINICAL_TITLES if nus else CLINICAL_TITLES, release.clinical),
    }
    folder = release.root / "tables"
    folder.mkdir(parents=True, exist_ok=True)
    for name, (titles, rows) in tables.items():
        text = io.StringIO()
        writer = csv.DictWriter(text, titles, lineterminator="\n", extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
        (folder / f"{stem}{name}{end}").write_bytes(text.getvalue().encode())
