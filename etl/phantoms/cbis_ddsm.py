"""A phantom CBIS-DDSM release: films, ROI masks and crops as DICOM, and four case tables.

The layout, the tables' bytes and the traps are those of the collection (Lee et al., Sci Data
4:170177, 2017; doi 10.7937/K9/TCIA.2016.7O02S9CY): a film, a mask and a crop for each abnormality,
mask and crop in one series in either order, view in PatientOrientation, no pixel spacing. Patient
numbers begin at P_90001, which the collection does not reach.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from etl.phantoms import cbis_layout, marks
from etl.phantoms.anatomy import Patient, draw_patient
from etl.phantoms.cbis_cases import (
    KEY,
    SIDES,
    Abnormality,
    FilmCase,
    PatientCase,
    plan_patient,
    words,
)
from etl.phantoms.cbis_layout import LAYOUTS, Case, StoredFile
from etl.phantoms.dicom import uid, write_secondary_capture
from etl.phantoms.film import Film, draw_film
from etl.phantoms.insert import Site
from etl.phantoms.scene import Drawn, add_lesion
from etl.phantoms.texture import generator
from etl.phantoms.truth import FilmTruth, LesionTruth, Truth, box_of, save_mask
from schemas.errors import UsageError

__all__ = ["draw", "write"]

Pixels = npt.NDArray[np.unsignedinteger]
MOST_PATIENTS = 9_999
CROP_MARGIN = 20
BASIS = {
    "MALIGNANT": "biopsy",
    "BENIGN": "biopsy_or_imaging",
    "BENIGN_WITHOUT_CALLBACK": "reader",
}
QUALITY = {
    "twin": ["twin_film"],
    "mask_scaled": ["mask_resized"],
    "mask_padded": ["mask_padded"],
    "mask_wrong_shape": ["geometry_dropped"],
    "mask_empty": ["mask_empty"],
    "mask_missing": ["mask_missing"],
}
LOST = ("mask_wrong_shape", "mask_empty", "mask_missing")


@dataclass
class _Release:
    root: Path
    layout: str
    seed: int
    scale: float
    stored: list[tuple[StoredFile, int]] = field(default_factory=list)
    shapes: dict[str, tuple[int, int]] = field(default_factory=dict)
    cases: list[Case] = field(default_factory=list)

    def put(self, file: StoredFile, image: Pixels, description: str, *, cut: bool = False) -> str:
        """Write one file in the release's layout and return its path."""
        relative = file.path(self.layout)
        path = self.root / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        if self.layout in "EF":
            _write_picture(path, image)
            size = path.stat().st_size
        else:
            side, view = file.patient_id.split("_")[3:5]
            size = write_secondary_capture(
                path,
                image,
                patient_id=file.patient_id,
                study=file.study,
                series=file.series,
                instance=uid(file.series, file.number),
                description=description,
                number=file.number,
                side=side[0],
                view=view,
                date=file.date,
                explicit=int(file.series[-1]) % 3 == 0,
            )
        if cut:
            path.write_bytes(path.read_bytes()[: int(size * 0.6)])
        self.stored.append((file, size))
        self.shapes[relative] = (image.shape[0], image.shape[1])
        return relative


def _write_picture(path: Path, image: Pixels) -> None:
    """Write a PNG as it is, or a JPEG of 8 bits stretched to the full range as Kaggle's are."""
    if path.suffix == ".jpg" and image.dtype != np.uint8:
        span = max(int(image.max()), 1)
        image = (image.astype(np.float32) * (255 / span)).astype(np.uint8)
    options = [cv2.IMWRITE_JPEG_QUALITY, 90] if path.suffix == ".jpg" else []
    done, data = cv2.imencode(path.suffix, image, options)
    assert done  # noqa: S101 - the encoder refuses only what numpy types already exclude
    path.write_bytes(data.tobytes())


def draw(
    case: PatientCase, film_case: FilmCase, seed: int, scale: float = 1.0
) -> tuple[Film, list[Drawn], int]:
    """Draw a film with its lesions.

    Returns
    -------
    The film, its lesions in drawing order, and how many of them belong to the twin's folder.
    """
    patient = draw_patient(generator(seed, KEY, "patient", case.index))
    path = (KEY, case.index, film_case.breast, film_case.view)
    rng = generator(seed, *path, "size")
    rows = int(1500 * scale * rng.uniform(0.93, 1.12))
    shape = (rows, int(rows * rng.uniform(0.58, 0.66)))
    film = _draw_blank(seed, patient, path, shape, film_case)
    first = film_case.drawn_with or film_case.abnormalities
    later = film_case.abnormalities if film_case.drawn_with else []
    if film_case.twin and not film_case.drawn_with:
        later = _twin_abnormalities(case, film_case)
    drawn: list[Drawn] = []
    taken: list[Site] = []
    for one in [*first, *later]:
        streams = _streams(seed, (*path, one.plan.kind, one.number))
        lesion = add_lesion(streams, film, taken, one.plan, one.pathology)
        if lesion is None:
            raise UsageError(
                f"the phantom {case.key(film_case)} has no room for abnormality {one.number}; "
                "use another seed"
            )
        drawn.append(lesion)
    own = drawn[len(first) :] if film_case.drawn_with else drawn[: len(first)]
    return film, own, len(drawn) - len(own)


def _streams(seed: int, path: tuple[int | str, ...]) -> Callable[[str], np.random.Generator]:
    return lambda purpose: generator(seed, *path, purpose)


def _twin_abnormalities(case: PatientCase, film_case: FilmCase) -> list[Abnormality]:
    twin = next(other for other in case.films if case.key(other) == film_case.twin)
    return twin.abnormalities


def _draw_blank(
    seed: int,
    patient: Patient,
    path: tuple[int | str, ...],
    shape: tuple[int, int],
    film_case: FilmCase,
) -> Film:
    base = float(generator(seed, *path, "fog").uniform(0.02, 0.08))
    side = SIDES[film_case.breast]
    film = draw_film(seed, patient, path, shape, side=side, view=film_case.view, base=base)
    artefacts = generator(seed, *path, "marks")
    marks.film_letters(artefacts, film)
    marks.wedge(artefacts, film)
    marks.scratches(artefacts, film)
    marks.scan_edges(artefacts, film)
    return film


def _digitised(film: Film) -> npt.NDArray[np.uint16]:
    levels = np.rint(np.clip(film.image, 0, 1) * np.float32(65535))
    return np.asarray(levels, dtype=np.uint16)


def _mask_file(mask: npt.NDArray[np.bool_], traps: list[str]) -> npt.NDArray[np.uint8]:
    """Return the mask as the release stores it, spoilt where a trap says so."""
    image = mask.astype(np.uint8) * np.uint8(255)
    rows, columns = mask.shape
    if "mask_empty" in traps:
        return np.zeros_like(image)
    if "mask_scaled" in traps:
        smaller = (round(columns * 0.9), round(rows * 0.9))
        return np.asarray(cv2.resize(image, smaller, interpolation=cv2.INTER_NEAREST))
    if "mask_padded" in traps:
        return np.pad(image, ((0, 2), (0, 2 + round(0.013 * columns))))
    if "mask_wrong_shape" in traps:
        flat = (columns, round(rows * 0.6))
        return np.asarray(cv2.resize(image, flat, interpolation=cv2.INTER_NEAREST))
    return image


def _crop(image: npt.NDArray[np.uint16], box: list[int]) -> npt.NDArray[np.uint16]:
    """Cut the mask's box plus 20 pixels a side, stretched so that its maximum is 65535."""
    x0, y0, x1, y1 = box
    m = CROP_MARGIN
    part = image[max(y0 - m, 0) : y1 + m, max(x0 - m, 0) : x1 + m].astype(np.float64)
    return np.asarray(np.rint(part * (65535 / max(part.max(), 1))), dtype=np.uint16)


def _stored_pair(
    seed: int, key: str, number: int, traps: list[str]
) -> tuple[StoredFile, StoredFile, bool]:
    """Return the files that hold crop and mask, and whether the table calls them so."""
    folder, date = f"{key}_{number}", "20161004"
    where = (seed, KEY, folder)
    if "apart" in traps:
        crop = StoredFile(
            folder, uid(*where, "study 1"), uid(*where, "series 1"), 1, 1, "cropped images", date
        )
        mask = StoredFile(
            folder, uid(*where, "study 2"), uid(*where, "series 2"), 1, 1, "ROI mask images", date
        )
        return crop, mask, False
    rng = generator(seed, KEY, folder, "order")
    crop_first = bool(rng.uniform() < (0.5 if key.startswith("Mass") else 0.8))
    named = "ROI mask images" if rng.uniform() < 0.5 else "cropped images"
    count = 1 if "mask_missing" in traps else 2
    study, series = uid(*where, "study"), uid(*where, "series")
    at_crop = 1 if crop_first or count == 1 else 2
    crop = StoredFile(folder, study, series, at_crop, count, named, date)
    mask = StoredFile(folder, study, series, 3 - at_crop, count, named, date)
    table_crop_first = key.startswith("Mass")
    return crop, mask, crop_first != table_crop_first and count == 2


def write(
    root: Path,
    patients: int = 8,
    seed: int = 0,
    *,
    layout: str = "B",
    scale: float = 1.0,
    traps: bool = True,
    damage: bool | None = None,
) -> Truth:
    """Write a release and its truth.

    Parameters
    ----------
    root
        Folder of the release; the truth is written beside it (`etl.phantoms.truth`).
    patients
        1 to 9999. The first patients of a larger release are the same bytes.
    layout
        `A` to `F` (`etl.phantoms.cbis_layout`).
    scale
        1 draws films of about 1500 x 930 pixels.
    traps
        Put the release's known oddities into the second to eighth patient.
    damage
        Also leave one film out and cut one short; by default where there are traps.

    Raises
    ------
    UsageError
        For an unknown layout or an impossible number of patients.
    """
    if layout not in LAYOUTS:
        raise UsageError(f"CBIS-DDSM has no layout {layout!r}; there are {', '.join(LAYOUTS)}")
    if not 1 <= patients <= MOST_PATIENTS:
        raise UsageError(f"a phantom release holds 1 to {MOST_PATIENTS} patients, not {patients}")
    spoil = traps if damage is None else damage
    release = _Release(root, layout, seed, scale)
    truth = Truth(KEY, seed, patients)
    root.mkdir(parents=True, exist_ok=True)
    for index in range(patients):
        case = plan_patient(index, seed, traps=traps, damage=spoil)
        splits = {film.split for film in case.films}
        for film_case in case.films:
            film = _write_film(release, case, film_case)
            film.patient_split = "test" if "Test" in splits else "train"
            truth.films.append(film)
    _join_twins(truth)
    _write_lists(release)
    truth.save(root)
    return truth


def _write_film(release: _Release, case: PatientCase, film_case: FilmCase) -> FilmTruth:
    key, seed = case.key(film_case), release.seed
    film, drawn, others = draw(case, film_case, seed, release.scale)
    patient = draw_patient(generator(seed, KEY, "patient", case.index))
    density = case.density or str(patient.birads_density)
    image = _digitised(film)
    file = StoredFile(
        key,
        uid(seed, KEY, key, "study"),
        uid(seed, KEY, key, "series"),
        1,
        1,
        "full mammogram images",
        "20161004",
    )
    if "absent" in film_case.traps:
        relative = file.path(release.layout)
    else:
        cut = "truncated" in film_case.traps
        relative = release.put(file, image, file.description, cut=cut)
    truth = _film_truth(release, case, film_case, film, density, relative)
    for one, lesion in zip(film_case.abnormalities, drawn, strict=True):
        raw = words(
            generator(seed, KEY, key, one.number, "words"),
            lesion.lesion,
            one,
            blank="blank_words" in film_case.traps,
        )
        cells = {
            "patient_id": case.name,
            "breast_density": density,
            "breast density": density,
            "left or right breast": film_case.breast,
            "image view": film_case.view,
            "abnormality id": str(one.number),
            "abnormality type": lesion.lesion.kind,
            "image file path": file.cell(),
            **raw,
        }
        truth.lesions.append(
            _write_lesion(release, film_case, key, lesion, image, one.number, cells)
        )
    _judge(truth, film_case, others)
    return truth


def _write_lesion(
    release: _Release,
    film_case: FilmCase,
    key: str,
    lesion: Drawn,
    image: npt.NDArray[np.uint16],
    number: int,
    cells: dict[str, str],
) -> LesionTruth:
    """Write one abnormality's mask, crop and table row."""
    crop, mask, swapped = _stored_pair(release.seed, key, number, film_case.traps)
    box = box_of(lesion.mask)
    assert box is not None  # noqa: S101 - a rendered lesion covers its own centre
    paths = {"crop": release.put(crop, _crop(image, box), "cropped images")}
    if "mask_missing" not in film_case.traps:
        stored = _mask_file(lesion.mask, film_case.traps)
        paths["mask"] = release.put(mask, stored, "ROI mask images")
    crop_cell, mask_cell = (0, 1) if film_case.table == "Mass" else (1, 0)
    if "apart" in film_case.traps:
        crop_cell = mask_cell = 0
    cells["cropped image file path"] = crop.cell(crop_cell)
    cells["ROI mask file path"] = mask.cell(mask_cell)
    release.cases.append(Case(film_case.table, film_case.split, cells))
    trap = next((t for t in film_case.traps if t.startswith("mask_")), None)
    label = cells["pathology"]
    return LesionTruth(
        lesion_id=str(number),
        kind=lesion.lesion.kind,
        form=lesion.lesion.form,
        pathology=lesion.lesion.pathology,
        label_basis=BASIS[label],
        raw={k: v for k, v in cells.items() if not k.endswith("path")},
        mask=save_mask(release.root, f"{key}.{number}", lesion.mask),
        box=box,
        area=int(lesion.mask.sum()),
        geometry=None if trap in LOST else "mask",
        trap="swapped" if swapped and trap is None else trap,
        files=paths,
    )


def _film_truth(
    release: _Release,
    case: PatientCase,
    film_case: FilmCase,
    film: Film,
    density: str,
    relative: str,
) -> FilmTruth:
    key = case.key(film_case)
    return FilmTruth(
        film_key=key,
        path=relative,
        patient=case.name,
        side=film.side,
        view=film.view,
        official_split="train" if film_case.split == "Training" else "test",
        patient_split=None,
        rows=film.image.shape[0],
        columns=film.image.shape[1],
        pathology="unknown",
        label_basis="unknown",
        annotation="none",
        density=density,
        nipple=[round(v, 2) for v in film.nipple],
        skin=[[round(x, 2), y] for x, y in film.skin[::8].tolist()],
        breast_mask=save_mask(release.root, f"{key}.breast", film.breast),
        px_per_mm=film.px_per_mm,
        twin_of=film_case.twin,
        traps=list(film_case.traps),
    )


def _judge(truth: FilmTruth, film_case: FilmCase, others: int) -> None:
    """Settle the film's label, annotation and fate from its lesions and traps."""
    _label(truth, truth.lesions)
    outlined = sum(lesion.geometry is not None for lesion in truth.lesions)
    truth.annotation = "complete" if outlined == len(truth.lesions) else "partial"
    truth.annotation = "none" if outlined == 0 else truth.annotation
    if others and outlined:
        truth.annotation = "partial"
    truth.flags = [flag for trap in film_case.traps for flag in QUALITY.get(trap, [])]
    if "absent" in film_case.traps:
        truth.expect, truth.reason = "absent", "absent"
    elif "truncated" in film_case.traps:
        truth.expect, truth.reason = "reject", "truncated"


def _label(truth: FilmTruth, lesions: list[LesionTruth]) -> None:
    rank = ["malignant biopsy", "benign biopsy_or_imaging", "benign reader"]
    worst = min(lesions, key=lambda one: rank.index(f"{one.pathology} {one.label_basis}"))
    truth.pathology, truth.label_basis = worst.pathology, worst.label_basis


def _join_twins(truth: Truth) -> None:
    """Give both folders of one film the worst label of all its lesions."""
    films = {film.film_key: film for film in truth.films}
    for film in truth.films:
        if film.twin_of:
            _label(film, [*film.lesions, *films[film.twin_of].lesions])


def _write_lists(release: _Release) -> None:
    cbis_layout.write_tables(release.root, release.cases, release.layout)
    if release.layout == "B":
        text = cbis_layout.metadata_csv(release.stored)
        (release.root / "metadata.csv").write_bytes(text.encode("utf-8"))
        licence = "Phantom films, drawn by a program; free of any claim.\n"
        (release.root / "LICENSE").write_bytes(licence.encode("ascii"))
    if release.layout == "E":
        text = cbis_layout.kaggle_index(release.stored, release.shapes)
        (release.root / "csv" / "dicom_info.csv").write_bytes(text.encode("utf-8"))
