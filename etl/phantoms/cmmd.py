"""A phantom CMMD release: DICOM mammograms of 8 bits, the clinical table, and TOMPEI's outlines.

Layout, table and traps are those of the collection (Cui et al. 2021, doi 10.7937/tcia.eqde-4b16)
and of its analysis result TOMPEI-CMMD. Outlines are what a hand with a mouse gives: whole pixels
along the lesion's border; a perfect reader joins their centres.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from etl.phantoms import cmmd_layout, marks
from etl.phantoms.anatomy import draw_patient
from etl.phantoms.cmmd_cases import KEY, TWINS, Breast, Lesion, PatientCase, plan_patient
from etl.phantoms.cmmd_layout import LAYOUTS, MANIFEST, TABLES, StoredFile
from etl.phantoms.dicom import uid
from etl.phantoms.film import Film, draw_film
from etl.phantoms.insert import Site
from etl.phantoms.scene import Drawn, add_lesion
from etl.phantoms.texture import generator
from etl.phantoms.truth import FilmTruth, LesionTruth, Truth, box_of, save_mask
from schemas.errors import UsageError

__all__ = ["write"]

ROWS, COLUMNS, PIXEL_MM = 2294, 1914, 0.0941
MOST_PATIENTS = 900
DENSITIES = ("fatty", "scattered", "heterogeneous dense", "extremely dense")
OTHER = {"L": "R", "R": "L"}


@dataclass
class _Release:
    root: Path
    seed: int
    layout: str
    scale: float
    tompei: bool
    stored: list[tuple[StoredFile, int]] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)
    breasts: list[dict[str, Any]] = field(default_factory=list)
    cases: dict[str, PatientCase] = field(default_factory=dict)
    drawn: dict[tuple[str, str], tuple[Film, list[tuple[Lesion, Drawn]]]] = field(
        default_factory=dict
    )

    @property
    def shape(self) -> tuple[int, int]:
        return round(ROWS * self.scale), round(COLUMNS * self.scale)


def write(
    root: Path,
    patients: int = 8,
    seed: int = 0,
    *,
    traps: bool = True,
    damage: bool | None = None,
    layout: str = "A",
    table: str = "xlsx",
    tompei: bool = True,
    scale: float = 0.3,
) -> Truth:
    """Write a release and its truth.

    Parameters
    ----------
    root
        Folder of the release; the truth is written beside it (`etl.phantoms.truth`).
    patients
        1 to 900. The images of a larger release begin with the same bytes.
    traps
        Put the release's known oddities into the first eight patients.
    damage
        Also leave one image out and cut one short; by default where there are traps.
    layout
        `A` to `I` (`etl.phantoms.cmmd_layout`).
    table
        `xlsx`, `csv` or `semicolon`.
    tompei
        Put TOMPEI-CMMD's outlines and workbook beside the images.
    scale
        1 draws images of the release's 2294 x 1914 pixels.

    Raises
    ------
    UsageError
        For an unknown layout or table, or an impossible number of patients.
    """
    if layout not in LAYOUTS or table not in TABLES:
        raise UsageError(
            f"CMMD has no layout {layout!r} or no table {table!r}; there are "
            f"{', '.join(LAYOUTS)} and {', '.join(TABLES)}"
        )
    if not 1 <= patients <= MOST_PATIENTS:
        raise UsageError(f"a phantom CMMD holds 1 to {MOST_PATIENTS} patients, not {patients}")
    release = _Release(root, seed, layout, scale, tompei)
    truth = Truth(KEY, seed, patients)
    root.mkdir(parents=True, exist_ok=True)
    spoil = traps if damage is None else damage
    for index in range(patients):
        case = plan_patient(index, seed, traps=traps, damage=spoil)
        release.cases[case.name] = case
        truth.films += _write_patient(release, case)
    _settle_twins(truth)
    _write_tables(release, table)
    truth.save(root)
    return truth


# ---- drawing


def _owner(case: PatientCase, name: str) -> str:
    """Return whose picture a film is: of the second twins only the right CC is shared."""
    shared = {"D2-0284": True, "D1-1292": name == "R_CC"}
    return TWINS[case.name] if shared.get(case.name) else case.name


def _picture(
    release: _Release, case: PatientCase, side: str, view: str
) -> tuple[Film, list[tuple[Lesion, Drawn]]]:
    """Draw the picture of a breast, once for all ids that share it."""
    owner, name = _owner(case, f"{side}_{view}"), f"{side}_{view}"
    if (owner, name) not in release.drawn:
        own = release.cases.get(owner, case)
        release.drawn[owner, name] = _draw(release, owner, own, side, view)
    return release.drawn[owner, name]


def _draw(
    release: _Release, owner: str, case: PatientCase, side: str, view: str
) -> tuple[Film, list[tuple[Lesion, Drawn]]]:
    seed, path = release.seed, (KEY, owner, side, view)
    film = draw_film(
        seed,
        draw_patient(generator(seed, KEY, "anatomy", owner)),
        path,
        release.shape,
        side=side,
        view=view,
        px_per_mm=release.scale / PIXEL_MM,
    )
    film.image = np.where(film.breast, np.maximum(film.image, 1 / 255), 0).astype(np.float32)
    drawn: list[tuple[Lesion, Drawn]] = []
    taken: list[Site] = []
    for number, lesion in enumerate(case.breast(side).lesions):
        one = add_lesion(
            _streams(seed, (*path, "lesion", number)), film, taken, lesion.plan, lesion.look
        )
        if one is None:
            raise UsageError(
                f"the phantom {owner}_{side}_{view} has no room for lesion {number + 1}; "
                "use another seed"
            )
        drawn.append((lesion, one))
    film.image = np.where(film.breast, np.maximum(film.image, 1 / 255), 0).astype(np.float32)
    return film, drawn


def _streams(seed: int, path: tuple[int | str, ...]) -> Callable[[str], np.random.Generator]:
    return lambda purpose: generator(seed, *path, purpose)


def _levels(film: Film, traps: list[str]) -> npt.NDArray[np.unsignedinteger]:
    """Return stored values: 8 bits, air 0; one patient in 16, as full range or as 901 levels."""
    if "16 bits" in traps:
        top = 901 if "901 levels" in traps else 65535
        deep = np.rint(np.clip(film.image, 0, 1) * np.float32(top))
        return np.asarray(deep, dtype=np.uint16)
    return np.asarray(np.rint(np.clip(film.image, 0, 1) * np.float32(255)), dtype=np.uint8)


# ---- films


def _write_patient(release: _Release, case: PatientCase) -> list[FilmTruth]:
    seed = release.seed
    names = [(breast.side, view) for breast in case.breasts for view in ("CC", "MLO")]
    order = generator(seed, KEY, case.name, "order").permutation(len(names))
    for breast in case.breasts:
        _write_row(release, case, breast)
    films = []
    for number, place in enumerate(order.tolist(), start=1):
        side, view = names[place]
        file = StoredFile(
            case.name,
            uid(seed, KEY, case.name, "study"),
            uid(seed, KEY, case.name, "series"),
            uid(seed, KEY, case.name, side, view),
            number,
            release.shape,
        )
        films.append(_write_film(release, case, file, side, view))
    return films


def _write_film(
    release: _Release, case: PatientCase, file: StoredFile, side: str, view: str
) -> FilmTruth:
    """Write one image under the side of its header, `side`."""
    key, traps = f"{case.name}_{side}_{view}", case.traps.get(f"{side}_{view}", [])
    shown = OTHER[side] if "wrong side" in traps else side
    film, drawn = _picture(release, case, shown, view)
    if "second object" in traps:
        marks.film_letters(generator(release.seed, KEY, key, "object"), film)
    relative = file.path(release.layout)
    _store(release, case, file, _levels(film, traps), side, view, traps)
    seen = case.breast(shown)
    patient = draw_patient(generator(release.seed, KEY, "anatomy", case.name))
    truth = FilmTruth(
        film_key=key,
        path=relative,
        patient=case.name,
        side=side,
        view=view,
        rows=film.image.shape[0],
        columns=film.image.shape[1],
        pathology=(case.breast(side).classification or "unknown").lower(),
        label_basis="biopsy" if case.breast(side).classification else "unknown",
        annotation="none",
        modality="FFDM",
        age=case.age,
        exam=case.name,
        birads=str(seen.category) if release.tompei else None,
        density=DENSITIES[patient.birads_density - 1] if release.tompei else None,
        density_letter="ABCD"[patient.birads_density - 1] if release.tompei else None,
        nipple=[round(v, 2) for v in film.nipple],
        skin=[[round(x, 2), y] for x, y in film.skin[::8].tolist()],
        breast_mask=save_mask(release.root, f"{key}.breast", film.breast),
        px_per_mm=film.px_per_mm,
        traps=list(traps),
    )
    if "wrong side" in traps:
        truth.flags.append("laterality_conflict")
    for word in ("absent", "truncated"):
        if word in traps:
            truth.expect, truth.reason = ("absent" if word == "absent" else "reject"), word
    _tell_lesions(release, case, truth, drawn, shown)
    return truth


def _store(
    release: _Release,
    case: PatientCase,
    file: StoredFile,
    image: npt.NDArray[np.unsignedinteger],
    side: str,
    view: str,
    traps: list[str],
) -> None:
    path = release.root / file.path(release.layout)
    size = image.nbytes + 2400
    if "absent" in traps:
        release.stored.append((file, size))
        return
    if release.layout == "I":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(cv2.imencode(".png", image)[1].tobytes())
        return
    cmmd_layout.write_image(
        path,
        image,
        file,
        side=side,
        view=view,
        age=case.age,
        spacing_mm=PIXEL_MM / release.scale,
        explicit=int(file.series[-1]) % 2 == 0,
        window_bits=16 if traps == ["16 bits"] else 8,
    )
    if "truncated" in traps:
        path.write_bytes(path.read_bytes()[: int(size * 0.6)])
    release.stored.append((file, size))


# ---- lesions


def _tell_lesions(
    release: _Release,
    case: PatientCase,
    truth: FilmTruth,
    drawn: list[tuple[Lesion, Drawn]],
    shown: str,
) -> None:
    """Record what a reader must find on a film, and write TOMPEI's outlines of an MLO image."""
    row = case.breast(truth.side)
    told = [] if truth.view == "CC" or not release.tompei else drawn
    outlined = [(lesion, one) for lesion, one in told if lesion.outlined]
    trusted = None if "wrong side" in truth.traps else row
    items = []
    for number, (lesion, one) in enumerate(outlined, start=1):
        same = [other for other, _ in outlined if _soft(other) == _soft(lesion)]
        pathology = _pathology(trusted, lesion, alone=len(same) == 1)
        clicks = _clicks(one.mask, lesion.tool)
        items.append(
            {
                "_id": uid(truth.film_key, number)[-12:],
                "color": "#ff0000",
                "type": lesion.tool,
                "label": lesion.label,
                "cgPoints": [{"x": x, "y": y} for x, y in clicks],
            }
        )
        mask = save_mask(release.root, f"{truth.film_key}.{number}", one.mask)
        found = _lesion_truth(str(number), lesion, one, pathology, mask)
        found.geometry = "polygon"
        found.outline = {"rings": [[[x + 0.5, y + 0.5] for x, y in clicks]]}
        truth.lesions.append(found)
    if items:
        _write_outlines(release, f"{case.name}_MLO_{shown}", items)
    missed = _missed(row, [lesion for lesion, _ in outlined])
    truth.lesions += [_named_only(row, kind) for kind in missed]
    truth.annotation = ("partial" if missed else "complete") if items else "none"


def _soft(lesion: Lesion) -> bool:
    return lesion.label.strip() != "calc"


def _pathology(row: Breast | None, lesion: Lesion, *, alone: bool) -> str:
    """Return what is known of one outline: the row speaks of the breast, not of the outline."""
    if row is None or row.classification is None:
        return "unknown"
    if row.classification == "Benign":
        return "benign"
    named = row.abnormality in ("both", "mass" if _soft(lesion) else "calcification")
    return "malignant" if named and alone else "unknown"


def _missed(row: Breast, outlined: list[Lesion]) -> list[str]:
    """Return the kinds that the row names and no outline shows."""
    kinds = ["calcification", "mass"] if row.abnormality == "both" else [row.abnormality or ""]
    shown = {"mass" if _soft(lesion) else "calcification" for lesion in outlined}
    return [kind for kind in kinds if kind and kind not in shown]


def _named_only(row: Breast, kind: str) -> LesionTruth:
    return LesionTruth(
        lesion_id=kind,
        kind=kind,
        form="none",
        pathology=str(row.classification).lower(),
        label_basis="biopsy",
        raw={"abnormality": str(row.abnormality)},
    )


def _lesion_truth(
    number: str, lesion: Lesion, one: Drawn, pathology: str, mask: str
) -> LesionTruth:
    return LesionTruth(
        lesion_id=number,
        kind=one.lesion.kind,
        form=one.lesion.form,
        pathology=pathology,
        label_basis="unknown" if pathology == "unknown" else "biopsy",
        raw={"label": lesion.label.strip()},
        mask=mask,
        box=box_of(one.mask),
        area=int(one.mask.sum()),
    )


def _clicks(mask: npt.NDArray[np.bool_], tool: str) -> list[tuple[int, int]]:
    """Return the border pixels of a mask: all that a freehand line passes, or its corners."""
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    border = max(contours, key=cv2.contourArea)
    if tool == "Polyline":
        border = cv2.approxPolyDP(border, 0.8, closed=True)
    return [(int(x), int(y)) for x, y in border[:, 0]]


def _write_outlines(release: _Release, name: str, items: list[dict[str, Any]]) -> None:
    """Write an annotation file, and the resource fork that macOS left beside it."""
    folder = "TOMPEI-CMMD_v01_20250123"
    own = release.root / folder / f"{name}_AnnotationFile.json"
    fork = release.root / "__MACOSX" / folder / f"._{name}_AnnotationFile.json"
    for path in (own, fork):
        path.parent.mkdir(parents=True, exist_ok=True)
    own.write_text(json.dumps(items), encoding="utf-8", newline="\n")
    fork.write_bytes(b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X" + bytes(104))


# ---- tables


def _write_row(release: _Release, case: PatientCase, breast: Breast) -> None:
    patient = draw_patient(generator(release.seed, KEY, "anatomy", case.name))
    release.breasts.append(
        {
            "ID": case.name,
            "LeftRight": breast.side,
            "Age": case.age,
            "classification": breast.seen,
            "Breast density": DENSITIES[patient.birads_density - 1],
            "BI-RADS\nCategory": breast.category,
        }
    )
    if breast.classification:
        release.rows.append(
            {
                "ID1": case.name,
                "LeftRight": breast.side,
                "Age": case.age,
                "number": 2,
                "abnormality": breast.abnormality,
                "classification": breast.classification,
                "subtype": breast.subtype,
            }
        )


def _settle_twins(truth: Truth) -> None:
    """Join the films that are the same picture under two ids, and say whether labels agree."""
    films = {film.film_key: film for film in truth.films}
    for film in truth.films:
        name = f"{film.side}_{film.view}"
        shared = film.patient == "D2-0284" or (film.patient == "D1-1292" and name == "R_CC")
        other = films.get(f"{TWINS.get(film.patient)}_{name}") if shared else None
        if other is None:
            continue
        film.twin_of, other.twin_of = other.film_key, film.film_key
        film.pair = other.pair = f"{other.patient}={film.patient}_{name}"
        conflict = "unknown" not in (film.pathology, other.pathology)
        for one in (film, other):
            one.flags += ["twin_film", *(["label_conflict"] if conflict else [])]
            one.flags.sort()


def _write_tables(release: _Release, form: str) -> None:
    inner = {"A": release.root / MANIFEST, "H": release.root / "TheChineseMammographyDatabase"}
    folder = release.root if release.layout == "A" else inner.get(release.layout, release.root)
    rows = sorted(release.rows, key=lambda row: (row["ID1"], row["LeftRight"]))
    (folder / TABLES[form]).write_bytes(cmmd_layout.table(rows, form))
    if release.layout == "A":
        text = cmmd_layout.metadata_csv(release.stored)
        (inner["A"] / "metadata.csv").write_bytes(text)
        licence = "Phantom films, drawn by a program; free of any claim.\n"
        (inner["A"] / "LICENSE").write_bytes(licence.encode("ascii"))
    if release.tompei:
        breasts = sorted(release.breasts, key=lambda line: (line["ID"], line["LeftRight"]))
        name = "TOMPEI-CMMD_clinical_data_v01_20250121.xlsx"
        (release.root / name).write_bytes(cmmd_layout.tompei_workbook(breasts))
