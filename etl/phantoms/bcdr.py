"""A phantom BCDR: sets F01, F03, D01, D02 and DN01 in their folders, with their csv tables.

Layout, tables and traps as users describe the official archives: a blank after every comma of a
row, F03 one folder deeper and without image table, images and outlines that D01 and D02 share.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from etl.phantoms import marks
from etl.phantoms.anatomy import Patient, draw_patient
from etl.phantoms.contour import border
from etl.phantoms.film import Film, draw_film
from etl.phantoms.insert import Site
from etl.phantoms.lesions import draw_plan
from etl.phantoms.scene import Drawn, add_lesion, draw_pathology
from etl.phantoms.texture import generator
from etl.phantoms.truth import FilmTruth, LesionTruth, Truth, box_of, save_mask

__all__ = ["IMAGES", "OUTLINES", "write"]

KEY = "bcdr"
FILM = (1168, 720)
DIGITAL = (4084, 3328)
DIGITAL_PX_PER_MM = 1 / 0.07
VIEWS = {"RCC": ("R", "CC"), "LCC": ("L", "CC"), "RO": ("R", "MLO"), "LO": ("L", "MLO")}
TYPE_IDS = {"RCC": 0, "LCC": 1, "RO": 2, "LO": 3}
VIEW_IDS = {"RCC": 1, "LCC": 2, "RO": 3, "LO": 4}
FOLDERS = {
    "F01": "BCDR-F01_dataset",
    "F03": "BCDR-F03_dataset/BCDR-F03",
    "D01": "BCDR-D01_dataset",
    "D02": "BCDR-D02_dataset",
    "DN01": "BCDR-DN01_dataset",
}
IMAGES = "patient_id,study_id,series,image_filename,image_type_name,image_type_id,age,density"
OUTLINES = (
    "patient_id,study_id,series,lesion_id,segmentation_id,image_view,image_filename,lw_x_points,"
    "lw_y_points,mammography_type,mammography_nodule,mammography_calcification,"
    "mammography_microcalcification,mammography_axillary_adenopathy,"
    "mammography_architectural_distortion,mammography_stroma_distortion,age,density,classification"
)
"""Title lines, which unlike rows have no blanks."""

PATIENT_SETS = ("D01", "F01", "DN01", "F03", "D01", "D02", "F01", "D01")
"""Main set of a patient, in turn."""

TRAPS: dict[tuple[int, str], str] = {
    (1, "LO"): "two_sets",
    (2, "RCC"): "mask_beside",
    (2, "LCC"): "no_density",
    (5, "RO"): "absent",
    (5, "LCC"): "deep",
    (6, "LO"): "backslash",
    (7, "RO"): "truncated",
    (7, "LCC"): "two_outlines",
    (8, "LCC"): "wrong_code",
}
"""Patient and view to what is odd about the image."""
DAMAGE = frozenset({"absent", "truncated"})


@dataclass
class _Set:
    """The rows of one set's tables."""

    images: list[str] = field(default_factory=list)
    outlines: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Case:
    """What is decided about a patient before any film is drawn."""

    number: int
    patient: int
    study: int
    main: str
    age: int
    traits: Patient
    sick: str
    kinds: tuple[str | None, ...]
    pathology: str

    @property
    def digital(self) -> bool:
        return self.main.startswith("D")

    @property
    def normal(self) -> bool:
        return self.main.startswith("DN")


def write(
    root: Path,
    patients: int = 8,
    seed: int = 0,
    *,
    traps: bool = True,
    damage: bool | None = None,
    scale: float = 0.18,
    flat: bool = False,
) -> Truth:
    """Write a release and its truth.

    Parameters
    ----------
    root
        Folder of the release; the truth is written beside it (`etl.phantoms.truth`).
    patients
        The first patients of a larger release are the same films; each is in one set mainly.
    traps
        Put the release's known oddities on images of the first eight patients.
    damage
        Also leave one image out and cut one short; by default where there are traps.
    scale
        Size of digital images in terms of 4084 x 3328; a documented pixel is 0.07 mm all the same,
        so smaller ones show a smaller breast. Films are 720 x 1168 at 3 times the scale, 1 at most.
    flat
        Each set's images lie beside its tables, folders written into their names.
    """
    damaged = traps if damage is None else damage
    truth = Truth(KEY, seed, patients)
    sets = {name: _Set() for name in FOLDERS}
    for number in range(1, patients + 1):
        case = _case(number, seed, traps)
        for k, view in enumerate(VIEWS):
            trap = TRAPS.get((number, view)) if traps else None
            trap = None if trap in DAMAGE and not damaged else trap
            image = _Picture(root, case, view, k, trap, scale, flat, seed)
            truth.films.append(image.write(sets))
    for name, rows in sets.items():
        _write_tables(root, name, rows)
    truth.save(root)
    return truth


def _case(number: int, seed: int, traps: bool) -> _Case:
    rng = generator(seed, KEY, number, "patient")
    traits, age = draw_patient(rng), int(rng.integers(30, 82))
    main = PATIENT_SETS[(number - 1) % len(PATIENT_SETS)]
    sick = "L" if rng.uniform() < 0.5 else "R"
    count = 1 + int(rng.uniform() < 0.1)
    pathology = draw_pathology(rng)
    if traps:
        sick = {1: "L", 6: "L", 7: "L", 8: "L"}.get(number, sick)
        count = {1: 1, 7: 2, 8: 1}.get(number, count)
    kind = "calcification" if main == "D02" else "mass"
    kinds: tuple[str | None, ...] = () if main.startswith("DN") else (kind,) * count
    return _Case(number, number + 2, 2 * number + 2, main, age, traits, sick, kinds, pathology)


@dataclass
class _Picture:
    """One image: its pixels, its files, its rows."""

    root: Path
    case: _Case
    view: str
    order: int
    trap: str | None
    scale: float
    flat: bool
    seed: int

    @property
    def stem(self) -> str:
        return f"img_{self.case.patient}_{self.case.study}_1_{self.view}"

    def path_in(self, name: str, ending: str = ".tif") -> str:
        """Return the file's path below the folder of a set."""
        file = f"patient_{self.case.patient}/study_{self.case.study}/{self.stem}{ending}"
        return file.replace("/", "_") if self.flat else file

    @property
    def sets(self) -> tuple[str, ...]:
        return ("D01", "D02") if self.trap == "two_sets" else (self.case.main,)

    def write(self, sets: dict[str, _Set]) -> FilmTruth:
        """Write files and rows; return the truth."""
        film, lesions = self._draw()
        pixels = self._pixels(film)
        for name in self.sets:
            self._write_file(name, pixels)
            self._write_rows(sets[name], name, lesions)
        return self._truth(film, lesions)

    def _draw(self) -> tuple[Film, list[Drawn]]:
        case, (side, view) = self.case, VIEWS[self.view]
        full, share = (DIGITAL, self.scale) if case.digital else (FILM, min(1.0, 3 * self.scale))
        shape = (round(full[0] * share), round(full[1] * share))
        path = (KEY, case.number, self.view)
        base = 0.03 if case.digital else float(generator(self.seed, *path).uniform(0.015, 0.05))
        film = draw_film(self.seed, case.traits, path, shape, side=side, view=view, base=base)
        if not case.digital:
            marks.film_letters(generator(self.seed, *path, "letters"), film)
            marks.scratches(generator(self.seed, *path, "scratches"), film)
        taken: list[Site] = []
        found = []
        for k, kind in enumerate(case.kinds if side == case.sick else ()):
            plan = draw_plan(generator(self.seed, KEY, case.number, k, "plan"), kind)
            stream = _stream(self.seed, path, k)
            one = add_lesion(stream, film, taken, plan, case.pathology)
            if one is not None:
                found.append(one)
        return film, found

    def _pixels(self, film: Film) -> npt.NDArray[Any]:
        """Return 8 bits, or 14 in 16 as in some copies of the digital sets."""
        levels = film.image
        if self.case.digital:
            levels = np.where(film.breast, np.clip(levels, 0.02, 1), 0)
        if self.trap == "deep":
            return np.rint(np.clip(levels, 0, 1) * 16383).astype(np.uint16)
        return np.rint(np.clip(levels, 0, 1) * 255).astype(np.uint8)

    def _write_file(self, name: str, pixels: npt.NDArray[Any]) -> None:
        file = self.root / FOLDERS[name] / self.path_in(name)
        file.parent.mkdir(parents=True, exist_ok=True)
        data = _tiff(pixels)
        if self.trap != "absent":
            file.write_bytes(data[: len(data) // 3] if self.trap == "truncated" else data)
        if self.trap == "mask_beside":
            mask = _tiff(np.zeros_like(pixels))
            file.with_name(f"{file.stem}_mask_id_10.tif").write_bytes(mask)
            file.with_name(f"{file.stem}_MASK.tif").write_bytes(mask)
            file.with_name(f"._{file.name}").write_bytes(b"\0\5\x16\7")

    def _write_rows(self, rows: _Set, name: str, lesions: list[Drawn]) -> None:
        case = self.case
        path = self.path_in(name)
        path = path.replace("/", "\\") if self.trap == "backslash" else path
        density = "" if self.trap == "no_density" else str(case.traits.birads_density)
        start = f"{case.patient}, {case.study}, 1, "
        code = TYPE_IDS[self.view] - (self.trap == "wrong_code")
        if name != "F03":
            rows.images.append(f"{start}{path}, {self.view}, {code}, {case.age}, {density} ")
        for k, one in enumerate(lesions):
            xs, ys = _points(one.mask)
            nodule = int(name != "D02")
            fine = int(name == "D02" or one.lesion.kind == "calcification")
            numbers = f"{self._lesion(k)}, {self._segmentation(k)}, {VIEW_IDS[self.view]}"
            points = f"{' '.join(map(str, xs))}, {' '.join(map(str, ys))}"
            flags = f"1, {nodule}, 0, {fine}, 0, 0, 0"
            rows.outlines.append(
                f"{start}{numbers}, {path}, {points}, {flags}, {case.age}, {density}, {_word(one)}"
            )

    def _lesion(self, k: int) -> int:
        return 10 * self.case.number + k

    def _segmentation(self, k: int) -> int:
        return 100 * self.case.number + 10 * self.order + k

    def _truth(self, film: Film, lesions: list[Drawn]) -> FilmTruth:
        case = self.case
        family = "D" if case.digital else "F"
        density = None if self.trap == "no_density" else str(case.traits.birads_density)
        known = bool(lesions)
        truth = FilmTruth(
            film_key=f"{family}/{self.stem}",
            path=f"{FOLDERS[self.sets[0]]}/{self.path_in(self.sets[0])}",
            patient=f"bcdr-{case.patient}",
            side=film.side,
            view=film.view,
            rows=film.image.shape[0],
            columns=film.image.shape[1],
            pathology=case.pathology if known else ("normal" if case.normal else "unknown"),
            label_basis="biopsy" if known else ("reader" if case.normal else "unknown"),
            annotation="complete" if known or case.normal else "none",
            modality="FFDM" if case.digital else "SFM",
            density=density,
            density_letter="ABCD"[int(density) - 1] if density else None,
            exam=f"{family}-{case.study}",
            age=case.age,
            px_per_mm=film.px_per_mm,
            nipple=[round(film.nipple[0], 2), round(film.nipple[1], 2)],
            breast_mask=save_mask(self.root, f"{family}_{self.stem}.breast", film.breast),
            traps=[self.trap] if self.trap else [],
        )
        if self.trap == "wrong_code":
            truth.flags = ["laterality_conflict"]
        if self.trap in DAMAGE:
            truth.expect, truth.reason = (
                ("absent" if self.trap == "absent" else "reject"),
                self.trap,
            )
        if case.main == "F03" and not known:  # neither image table nor outline: only the file
            truth.density = truth.density_letter = truth.age = None
        truth.lesions = [self._lesion_truth(k, one, family) for k, one in enumerate(lesions)]
        return truth

    def _lesion_truth(self, k: int, one: Drawn, family: str) -> LesionTruth:
        xs, ys = _points(one.mask)
        return LesionTruth(
            lesion_id=str(self._segmentation(k)),
            kind=one.lesion.kind,
            form=one.lesion.form,
            pathology=one.lesion.pathology,
            label_basis="biopsy",
            raw={"classification": _word(one)},
            mask=save_mask(self.root, f"{family}_{self.stem}.{k}", one.mask),
            box=box_of(one.mask),
            area=int(one.mask.sum()),
            geometry="polygon",
            outline={
                "rings": [[[x + 0.5, y + 0.5] for x, y in zip(xs, ys, strict=True)]],
            },
            trap=self.trap,
        )


def _word(one: Drawn) -> str:
    return "Malign" if one.lesion.pathology == "malignant" else "Benign"


def _stream(seed: int, path: tuple[int | str, ...], k: int) -> Callable[[str], np.random.Generator]:
    return lambda purpose: generator(seed, *path, "lesion", k, purpose)


def _points(mask: npt.NDArray[np.bool_]) -> tuple[list[int], list[int]]:
    """Return columns and rows along a mask's border, its last twentieth left out: never closed."""
    points = border(mask)
    kept = points[: max(3, len(points) - len(points) // 20)]
    return [int(x) for x, _ in kept], [int(y) for _, y in kept]


def _tiff(pixels: npt.NDArray[Any]) -> bytes:
    done, data = cv2.imencode(".tif", pixels, [cv2.IMWRITE_TIFF_COMPRESSION, 1])
    if not done:
        raise RuntimeError("OpenCV cannot write TIFF")
    return bytes(data.tobytes())


def _write_tables(root: Path, name: str, rows: _Set) -> None:
    """Write a set's tables; F03 has no image table, DN01 no outlines, absent sets nothing."""
    folder = root / FOLDERS[name]
    for kind, title, lines in (("img", IMAGES, rows.images), ("outlines", OUTLINES, rows.outlines)):
        if lines:
            folder.mkdir(parents=True, exist_ok=True)
            text = "".join(f"{line}\n" for line in (title, *lines))
            (folder / f"bcdr_{name.lower()}_{kind}.csv").write_bytes(text.encode("ascii"))
