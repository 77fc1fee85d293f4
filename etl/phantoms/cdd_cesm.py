"""A phantom CDD-CESM: low-energy and subtracted JPEGs in two folders, a workbook and a csv.

Layout, tables and traps as the release has them (Khaled et al., Sci Data 9:122, 2022; its tables).
A subtracted image is drawn from the same breast without its coarse shading, in the middle of the
grey scale, on another size of picture and moved against its low-energy twin.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from etl.phantoms.anatomy import Patient, draw_patient
from etl.phantoms.cdd_words import Picture, Region, labels, segmentations, words_for
from etl.phantoms.contour import border
from etl.phantoms.film import Film, draw_film
from etl.phantoms.insert import Site
from etl.phantoms.lesions import draw_plan
from etl.phantoms.scene import Drawn, add_lesion, draw_pathology, enclosing_circle
from etl.phantoms.texture import generator
from etl.phantoms.truth import FilmTruth, LesionTruth, Truth, box_of, save_mask

__all__ = ["write"]

KEY = "cdd_cesm"
FULL = (2355, 1315)
"""Mean rows and columns of the release's images."""
FOLDERS = {
    "DM": "PKG - CDD-CESM/CDD-CESM/Low energy images of CDD-CESM",
    "CM": "PKG - CDD-CESM/CDD-CESM/Subtracted images of CDD-CESM",
}
WORKBOOK = "Radiology-manual-annotations.xlsx"
REGIONS = "Radiology_hand_drawn_segmentations_v2.csv"
GREY = 120
"""Background of subtracted images."""
MODALITIES = {"DM": "CESM_LE", "CM": "CESM_SUB"}
POINT_RADIUS = 25

TRAPS: dict[str, str] = {
    "P1_L_CM_CC": "blank",
    "P1_R_DM_MLO": "blank",
    "P2_L_DM_MLO": "doubled",
    "P2_L_CM_MLO": "doubled",
    "P3_L_CM_CC": "no_enhancement",
    "P3_L_CM_MLO": "no_enhancement",
    "P4_R_DM_CC": "seen_elsewhere",
    "P4_R_CM_CC": "seen_elsewhere",
    "P4_L_DM_CC": "response",
    "P5_L_DM_MLO": "point",
    "P5_L_DM_CC": "polyline",
    "P6_L_DM_CC": "operated",
    "P6_L_CM_CC": "operated",
    "P7_L_DM_CC": "beyond_the_border",
    "P7_L_CM_CC": "beyond_the_border",
    "P7_R_CM_CC": "absent",
    "P7_R_DM_MLO": "no_row",
    "P8_R_DM_CC": "truncated",
}
"""What is odd about an image of the first eight patients."""
DAMAGE = frozenset({"absent", "no_row", "truncated"})
TWO_KINDS = (2, "R")
"""A breast with a mass and calcifications, whose regions are linked to neither."""
TWO_DENSITIES = 6
ILL = {(3, "L"): "benign", (4, "R"): "malignant", (5, "L"): "benign", (7, "L"): "benign"}
HEALTHY = frozenset({(4, "L"), (6, "L"), (6, "R")})
ONE_SIDE = {5: "L"}
ONE_VIEW = {(8, "L"): "MLO"}


@dataclass(frozen=True)
class _Breast:
    """What is decided about a breast before it is drawn: kinds of its lesions, its label."""

    number: int
    side: str
    kinds: tuple[str | None, ...]
    pathology: str


@dataclass
class _Image:
    """Pixels of one kind of image, its lesions' masks, and where the chest wall's column lies."""

    pixels: npt.NDArray[np.uint8]
    lesions: list[tuple[Drawn, npt.NDArray[np.bool_]]]
    breast: npt.NDArray[np.bool_]


def write(
    root: Path,
    patients: int = 8,
    seed: int = 0,
    *,
    traps: bool = True,
    damage: bool | None = None,
    scale: float = 0.28,
    flat: bool = False,
) -> Truth:
    """Write a release and its truth.

    Parameters
    ----------
    root
        Folder of the release; the truth is written beside it (`etl.phantoms.truth`).
    patients
        The first patients of a larger release are the same files.
    traps
        Put the release's known oddities on images of the first eight patients.
    damage
        Also leave one image out, one out of the table, and cut one short; by default where there
        are traps.
    scale
        Size of the images in terms of the release's (2355 x 1315).
    flat
        The authors' working form: all images in `data/images`, tables of other names.
    """
    damaged = traps if damage is None else damage
    truth = Truth(KEY, seed, patients)
    pictures: list[Picture] = []
    for number in range(1, patients + 1):
        for picture, image in _patient(number, seed, traps, damaged, scale):
            truth.films.append(_written(root, picture, image, flat))
            pictures.append(picture)
    book, regions = (
        ("annotations.xlsx", "radiology_segmentations.csv") if flat else (WORKBOOK, REGIONS)
    )
    (root / book).write_bytes(labels(pictures))
    (root / regions).write_bytes(segmentations(pictures))
    if traps:
        _strays(root)
    truth.save(root)
    return truth


def _strays(root: Path) -> None:
    """Leave what Windows and Word leave behind."""
    reports = root / "Medical reports for cases"
    reports.mkdir(parents=True, exist_ok=True)
    (reports / "P1.docx").write_bytes(b"PK\x05\x06" + bytes(18))
    (reports / "~$P54.docx").write_bytes(bytes(162))
    (root / f"~${WORKBOOK}").write_bytes(bytes(165))
    for folder in FOLDERS.values():
        if (root / folder).is_dir():
            (root / folder / "desktop.ini").write_bytes(b"[.ShellClassInfo]\r\n")


def _patient(
    number: int, seed: int, traps: bool, damaged: bool, scale: float
) -> list[tuple[Picture, _Image]]:
    rng = generator(seed, KEY, number, "patient")
    traits, age = draw_patient(rng), int(rng.integers(30, 80))
    machine = 2 if rng.uniform() < 0.06 else 1
    sides = "LR" if rng.uniform() < 0.74 else "L"
    if traps and number <= 8:
        sides = ONE_SIDE.get(number, "LR")
    made = []
    for side in sides:
        breast = _breast(number, side, seed, traps)
        for view in ("CC", "MLO"):
            if traps and ONE_VIEW.get((number, side), view) != view:
                continue
            film, lesions, healthy = _exposure(breast, view, traits, seed, scale)
            for kind in ("DM", "CM"):
                picture = Picture(
                    f"P{number}_{side}_{kind}_{view}", number, side, kind, view, age, machine
                )
                trap = TRAPS.get(picture.name) if traps else None
                if trap in DAMAGE and not damaged:
                    trap = None
                shown = [] if trap == "no_enhancement" else lesions
                base = healthy if trap == "no_enhancement" else film
                image = _subtracted(base, shown) if kind == "CM" else _low_energy(base, shown)
                _describe(picture, breast, image, traits, seed, trap)
                if traps and number == TWO_DENSITIES:
                    picture.two_densities = True
                    picture.density = {"L": "B", "R": "C"}[side] if kind == "DM" else "_"
                made.append((picture, image))
            _share_density(made[-2][0], made[-1][0])
    return made


def _share_density(low: Picture, subtracted: Picture) -> None:
    """Give both images of an exposure the density of the low-energy one's row."""
    low.letter = subtracted.letter = low.density if low.in_table else "_"


def _breast(number: int, side: str, seed: int, traps: bool) -> _Breast:
    rng = generator(seed, KEY, number, side, "breast")
    count = 0 if rng.uniform() < 0.35 else 1 + int(rng.uniform() < 0.15)
    pathology = draw_pathology(rng) if count else "normal"
    kinds: tuple[str | None, ...] = (None,) * count
    if traps and (number, side) == TWO_KINDS:
        kinds, pathology = ("mass", "calcification"), "malignant"
    if traps and (number, side) in ILL:
        kinds, pathology = ("mass",), ILL[number, side]
    if traps and (number, side) in HEALTHY:
        kinds, pathology = (), "normal"
    return _Breast(number, side, kinds, pathology)


def _exposure(
    breast: _Breast, view: str, traits: Patient, seed: int, scale: float
) -> tuple[Film, list[Drawn], Film]:
    """Draw one view with its lesions, and the same view without them."""
    path = (KEY, breast.number, breast.side, view)
    rng = generator(seed, *path, "size")
    shape = (
        round(FULL[0] * scale * rng.uniform(0.94, 1.06)),
        round(FULL[1] * scale * rng.uniform(0.94, 1.06)),
    )
    film = draw_film(seed, traits, path, shape, side=breast.side, view=view)
    healthy = Film(**{**vars(film), "image": film.image.copy()})
    lesions: list[Drawn] = []
    taken: list[Site] = []
    for k, kind in enumerate(breast.kinds):
        plan = draw_plan(generator(seed, KEY, breast.number, breast.side, k, "plan"), kind)
        stream: Callable[[str], np.random.Generator] = _stream(seed, path, k)
        one = add_lesion(stream, film, taken, plan, breast.pathology)
        if one is not None:
            lesions.append(one)
    return film, lesions, healthy


def _stream(seed: int, path: tuple[int | str, ...], k: int) -> Callable[[str], np.random.Generator]:
    return lambda purpose: generator(seed, *path, "lesion", k, purpose)


def _low_energy(film: Film, lesions: list[Drawn]) -> _Image:
    levels = np.where(film.breast, np.clip(film.image, 0.02, 1), 0)
    pixels = np.rint(levels * 255).astype(np.uint8)
    return _Image(pixels, [(one, one.mask) for one in lesions], film.breast)


def _subtracted(film: Film, lesions: list[Drawn]) -> _Image:
    """Return the view without its coarse shading, cut and widened so that nothing fits its twin."""
    weight = film.breast.astype(np.float32)
    sigma = 7 * film.px_per_mm
    shade = cv2.GaussianBlur(film.image * weight, (0, 0), sigma)
    shade = shade / np.maximum(cv2.GaussianBlur(weight, (0, 0), sigma), 1e-3)
    fine = np.where(film.breast, film.image - shade, 0)
    pixels = np.clip(np.rint(GREY + 330 * fine), 0, 255).astype(np.uint8)

    def moved(array: npt.NDArray[Any], fill: int) -> npt.NDArray[Any]:
        cut, wider = array.shape[0] // 32, array.shape[1] // 40
        sides = (0, wider) if film.side == "L" else (wider, 0)
        return np.pad(array[cut:], ((0, 0), sides), constant_values=fill)

    masks = [(one, moved(one.mask, 0)) for one in lesions]
    return _Image(
        moved(pixels, GREY), [pair for pair in masks if pair[1].any()], moved(film.breast, 0)
    )


def _describe(
    picture: Picture,
    breast: _Breast,
    image: _Image,
    traits: Patient,
    seed: int,
    trap: str | None,
) -> None:
    """Say of an image what the tables say: label, scores, texts, and regions."""
    rng = generator(seed, KEY, picture.name, "words")
    if picture.kind == "DM" and rng.uniform() > 0.08:
        picture.density = "ABCD"[traits.birads_density - 1]
    picture.traps = [trap] if trap else []
    if image.lesions:
        picture.label = breast.pathology.capitalize()
        _lesion_words(rng, picture, breast, image)
        shape = trap if trap in ("point", "polyline") else None
        picture.regions = [
            _region(rng, one, mask, shape if k == 0 else None)
            for k, (one, mask) in enumerate(image.lesions)
        ]
    else:
        picture.findings = ["Normal" if picture.kind == "DM" else "No mass or non mass enhancement"]
    picture.blank, picture.doubled = trap == "blank", trap == "doubled"
    picture.in_table = trap != "no_row"
    if trap in _ODD:
        _ODD[trap](picture, image)


def _lesion_words(
    rng: np.random.Generator, picture: Picture, breast: _Breast, image: _Image
) -> None:
    told: dict[str, tuple[str, str, int]] = {}
    for one, _ in image.lesions:
        text, finding, tags, score = words_for(rng, picture.kind, one.lesion.kind, breast.pathology)
        told.setdefault(finding, (text, tags, score))
    picture.kinds = list(told)
    picture.findings = [text for text, _, _ in told.values()]
    picture.tags = ", ".join(tags for _, tags, _ in told.values())
    picture.birads = [score for _, _, score in told.values()]


def _region(
    rng: np.random.Generator, one: Drawn, mask: npt.NDArray[np.bool_], shape: str | None
) -> Region:
    """Draw a region as the annotators did: clicks on pixels, most shapes polygons."""
    column, row, radius = enclosing_circle(mask)
    draw = shape or ("polygon" if rng.uniform() < 0.68 else str(rng.choice(["ellipse", "circle"])))
    clicks = _clicks(mask)
    if len(clicks) < 3 and draw in ("polygon", "polyline"):
        draw = "circle"
    if draw in ("polygon", "polyline"):
        region = _polygon(clicks, draw)
    elif draw == "ellipse":
        x0, y0, x1, y1 = box_of(mask) or [0, 0, 1, 1]
        rx, ry = int(0.71 * (x1 - x0)) + 1, int(0.71 * (y1 - y0)) + 1
        region = _ellipse((x0 + x1 - 1) // 2, (y0 + y1 - 1) // 2, rx, ry)
    else:
        region = _round(column, row, radius if draw == "circle" else None)
    region.kind, region.form = one.lesion.kind, one.lesion.form
    region.box, region.area, region.trap = box_of(mask), int(mask.sum()), shape
    return region


def _clicks(mask: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return a mask's border pixels, those spared that add less than 0.6 pixels."""
    points = np.array(border(mask), dtype=np.int32).reshape(-1, 1, 2)
    spared = cv2.approxPolyDP(points, 0.6, closed=True).reshape(-1, 2)
    return [(int(x), int(y)) for x, y in spared]


def _polygon(clicks: list[tuple[int, int]], name: str) -> Region:
    """Write clicks as VIA does; closed polygons say their first point twice."""
    written = [*clicks, clicks[0]] if name == "polygon" else clicks
    shape = {
        "name": name,
        "all_points_x": [x for x, _ in written],
        "all_points_y": [y for _, y in written],
    }
    return Region(shape, "polygon", {"rings": [[[x + 0.5, y + 0.5] for x, y in clicks]]})


def _ellipse(column: int, row: int, rx: int, ry: int) -> Region:
    shape = {"name": "ellipse", "cx": column, "cy": row, "rx": rx, "ry": ry}
    return Region(shape, "ellipse", {"values": [column + 0.5, row + 0.5, rx, ry, 0]})


def _round(column: int, row: int, radius: int | None) -> Region:
    """Write a circle, or a point where there is no radius: its disc has 25 pixels."""
    outline = {"values": [column + 0.5, row + 0.5, radius or POINT_RADIUS]}
    if radius is None:
        return Region({"name": "point", "cx": column, "cy": row}, "circle", outline)
    return Region({"name": "circle", "cx": column, "cy": row, "r": radius}, "circle", outline)


def _seen_elsewhere(picture: Picture, image: _Image) -> None:
    """Call an image malignant on which nothing is seen: BI-RADS 1, no region."""
    del image
    picture.birads, picture.regions, picture.kinds = [1], [], []
    picture.findings, picture.tags, picture.label = ["Normal"], "normal", "Malignant"


def _response(picture: Picture, image: _Image) -> None:
    """Call an image normal after chemotherapy (BI-RADS 6) and outline where the tumour was."""
    ys, xs = np.nonzero(image.breast)
    picture.birads = [6]
    picture.regions = [_ellipse(int(np.median(xs)), int(np.median(ys)), 30, 22)]


def _operated(picture: Picture, image: _Image) -> None:
    """Call an image benign for its scar, which nobody outlined."""
    del image
    picture.label, picture.birads, picture.postoperative = "Benign", [2], True
    picture.kinds, picture.tags = ["postoperative"], "benign, postoperative"
    dm = picture.kind == "DM"
    picture.findings = ["Edema and postoperative scar" if dm else "Non enhancement "]


def _beyond_the_border(picture: Picture, image: _Image) -> None:
    """Add an outline that sticks out over the chest wall to negative columns."""
    wall = image.breast[:, 0] if picture.side == "L" else image.breast[:, -1]
    row = int(np.median(np.flatnonzero(wall)))
    clicks = [(-12, row - 14), (9, row - 20), (21, row), (10, row + 17), (-8, row + 12)]
    picture.regions.append(_polygon(clicks, "polygon"))
    picture.regions[-1].trap = "beyond_the_border"


_ODD: dict[str, Callable[[Picture, _Image], None]] = {
    "seen_elsewhere": _seen_elsewhere,
    "response": _response,
    "operated": _operated,
    "beyond_the_border": _beyond_the_border,
}


def _written(root: Path, picture: Picture, image: _Image, flat: bool) -> FilmTruth:
    """Write an image's file and return its truth."""
    folder = "data/images" if flat else FOLDERS[picture.kind]
    path = f"{folder}/{picture.name}{' ' if picture.blank else ''}.jpg"
    (root / folder).mkdir(parents=True, exist_ok=True)
    data = _jpeg(image.pixels, channels=1 if picture.patient % 4 == 0 else 3)
    trap = picture.traps[0] if picture.traps else None
    picture.size = len(data)
    if trap != "absent":
        cut = len(data) // 2 if trap == "truncated" else None
        (root / path).write_bytes(data[:cut])
    for k, (_, mask) in enumerate(image.lesions[: len(picture.regions)]):
        picture.regions[k].mask = save_mask(root, f"{picture.name}.{k}", mask)
    return _truth(root, path, picture, image, trap)


def _jpeg(pixels: npt.NDArray[np.uint8], channels: int) -> bytes:
    picture = pixels if channels == 1 else cv2.merge([pixels] * 3)
    done, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 96])
    if not done:
        raise RuntimeError("OpenCV cannot write JPEG")
    return bytes(data.tobytes())


def _truth(root: Path, path: str, picture: Picture, image: _Image, trap: str | None) -> FilmTruth:
    truth = FilmTruth(
        film_key=picture.name,
        path=path,
        patient=f"P{picture.patient}",
        side=picture.side,
        view=picture.view,
        rows=image.pixels.shape[0],
        columns=image.pixels.shape[1],
        pathology=picture.label.lower(),
        label_basis="biopsy_or_follow_up",
        annotation=_annotation(picture),
        modality=MODALITIES[picture.kind],
        birads=str(max(picture.birads)),
        density=None if picture.density == "_" else picture.density,
        density_letter=None if picture.letter == "_" else picture.letter,
        pair=f"P{picture.patient}_{picture.side}_{picture.view}",
        age=picture.age,
        breast_mask=save_mask(root, f"{picture.name}.breast", image.breast),
        lesions=_lesion_truths(picture),
        flags=_flags(picture, image.pixels.shape),
        traps=picture.traps,
    )
    if trap in DAMAGE:
        truth.expect = "absent" if trap == "absent" else "reject"
        truth.reason = {"no_row": "no_table_row"}.get(trap or "", trap)
    return truth


def _flags(picture: Picture, shape: tuple[int, ...]) -> list[str]:
    flags = ["lossy"]  # every image is a JPEG
    scored, normal = max(picture.birads), picture.label == "Normal"
    if (scored == 1 and not normal) or (scored == 6 and normal):
        flags.append("label_conflict")
    if picture.two_densities:
        flags.append("density_conflict")
    if picture.regions and not picture.kinds:
        flags.append("unlinked_geometry")
    if picture.postoperative:
        flags.append("postoperative")
    if any(_sticks_out(region, shape) for region in picture.regions):
        flags.append("geometry_clipped")
    return sorted(flags)


def _sticks_out(region: Region, shape: tuple[int, ...]) -> bool:
    if "rings" in region.outline:
        points = np.array(region.outline["rings"][0])
    else:
        x, y, rx, ry = (*region.outline["values"], region.outline["values"][2])[:4]
        points = np.array([(x - rx, y - ry), (x + rx, y + ry)])
    return bool((points < 0).any() or (points > (shape[1], shape[0])).any())


def _annotation(picture: Picture) -> str:
    if picture.regions or picture.label == "Normal":
        return "partial" if len(picture.regions) < len(picture.kinds) else "complete"
    return "none"


def _lesion_truths(picture: Picture) -> list[LesionTruth]:
    """Return the regions, and findings of their own where nothing links the two."""
    raw = {"label": picture.label, "findings": "$".join(picture.findings)}
    label = picture.label.lower()
    lesions = [
        LesionTruth(
            lesion_id=str(number),
            kind=region.kind,
            form=region.form,
            pathology=label,
            label_basis="biopsy_or_follow_up",
            raw=raw,
            mask=region.mask,
            box=region.box,
            area=region.area,
            geometry=region.geometry,
            outline=region.outline,
            trap=region.trap,
        )
        for number, region in enumerate(picture.regions)
    ]
    if picture.regions and len(picture.kinds) == 1:
        return lesions
    unsure = label == "malignant" and len(picture.kinds) > 1
    for number, kind in enumerate(picture.kinds, start=1):
        lesions.append(
            LesionTruth(
                lesion_id=f"finding-{number}",
                kind=kind,
                form="none",
                pathology="unknown" if unsure else label,
                label_basis="unknown" if unsure else "biopsy_or_follow_up",
                raw=raw,
            )
        )
    return lesions
