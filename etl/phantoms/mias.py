"""A phantom mini-MIAS release: flat folder of PGM films and `Info.txt`.

Layout, table and traps as the release documents them (Suckling et al. 1994; note 1: odd films
are right breasts, even ones left; note 3: the coordinate origin is the bottom-left corner). The
text of the table's legend is our own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from etl.phantoms import marks
from etl.phantoms.anatomy import Patient, draw_patient
from etl.phantoms.film import Film, draw_film
from etl.phantoms.insert import Site
from etl.phantoms.lesions import Plan, draw_plan
from etl.phantoms.scene import Drawn, add_lesion, draw_pathology, enclosing_circle
from etl.phantoms.texture import generator
from etl.phantoms.truth import FilmTruth, LesionTruth, Truth, box_of, save_mask
from schemas.errors import UsageError

__all__ = ["draw", "write"]

Scalar = TypeVar("Scalar", bound=np.generic)

KEY = "mias"
SIDE = 1024
PX_PER_MM = 5.0
MOST_PATIENTS = 499
LEGEND = """PHANTOM FILMS IN THE LAYOUT OF THE MIAS MINIMAMMOGRAPHIC DATABASE

Drawn by a program; no patient was ever imaged. Columns of the list below:
1 film, 2 background tissue (F fatty, G fatty-glandular, D dense-glandular),
3 class (CALC, CIRC, SPIC, MISC, ARCH, ASYM, NORM), 4 severity (B, M),
5 and 6 x and y of the centre, the origin being the bottom-left corner,
7 radius of a circle that encloses the abnormality, in pixels.
*NOTE 3* stands where calcifications are spread too widely for a circle.

"""

TRAPS = {
    3: "several_rows",
    5: "mixed",
    6: "absent",
    8: "note_3",
    9: "no_coordinates",
    12: "suspect",
    13: "tiny",
    15: "comment",
    16: "truncated",
}
"""Film number to what is odd about it; all lie in the first eight patients."""
QUALITY = {"suspect": "geometry_suspect", "comment": "edited_pixels"}


@dataclass
class _Drawing:
    film: Film
    lesions: list[Drawn]
    offset: int


@dataclass(frozen=True)
class _Options:
    traps: bool
    damage: bool
    crlf: bool
    headed: bool

    def trap(self, number: int) -> str | None:
        trap = TRAPS.get(number) if self.traps else None
        return None if trap in ("absent", "truncated") and not self.damage else trap


def draw(
    number: int, seed: int, *, trap: str | None = None, side_px: int = SIDE
) -> tuple[Patient, _Drawing]:
    """Draw one film before it is written.

    Parameters
    ----------
    number
        Film number, 1-based; odd films are right breasts.
    trap
        A word of `TRAPS`.
    side_px
        Side of the square the film will lie in; 1024 in the release, less for quick studies.

    Returns
    -------
    The patient, and the film strip with its lesions and its column offset in the square.
    """
    patient = draw_patient(generator(seed, KEY, "patient", (number + 1) // 2))
    rng = generator(seed, KEY, number, "strip")
    width = int(side_px * rng.uniform(0.54, 0.70))
    offset = (side_px - width) // 2 + int(rng.uniform(-0.02, 0.02) * side_px)
    side = "R" if number % 2 else "L"
    film = draw_film(
        seed,
        patient,
        (KEY, number),
        (side_px, width),
        side=side,
        view="MLO",
        px_per_mm=PX_PER_MM * side_px / SIDE,
        base=float(rng.uniform(0.015, 0.045)),
    )
    artefacts = generator(seed, KEY, number, "marks")
    marks.lead_plate(artefacts, film)
    marks.scratches(artefacts, film)
    return patient, _Drawing(film, _lesions(number, seed, film, trap), offset)


def _lesions(number: int, seed: int, film: Film, trap: str | None) -> list[Drawn]:
    drawn: list[Drawn] = []
    taken: list[Site] = []
    for k, (plan, pathology) in enumerate(_planned(number, seed, trap)):
        stream: Callable[[str], np.random.Generator] = _stream(seed, number, k)
        one = add_lesion(stream, film, taken, plan, pathology, tiny=trap == "tiny")
        if one is not None:
            drawn.append(one)
    return drawn


def _stream(seed: int, number: int, k: int) -> Callable[[str], np.random.Generator]:
    return lambda purpose: generator(seed, KEY, number, "lesion", k, purpose)


def _planned(number: int, seed: int, trap: str | None) -> list[tuple[Plan, str]]:
    """Say how many lesions a film has, of what size and, last, of what pathology."""
    rng = generator(seed, KEY, number, "count")
    count = 0 if rng.uniform() < 0.5 else 1 + int(rng.uniform() < 0.12)
    forced = {"suspect": 0, "several_rows": 3, "mixed": 2, "note_3": 3}
    if trap in ("tiny", "no_coordinates"):
        count = 1
    count = forced.get(trap or "", count)
    kind = {"note_3": "calcification", "no_coordinates": "mass", "tiny": "mass"}.get(trap or "")
    plans = []
    for k in range(count):
        plan = draw_plan(generator(seed, KEY, number, "lesion", k, "plan"), kind)
        if trap == "tiny":
            plan = Plan("mass", 0.44, 4.0)
        if trap in ("note_3", "several_rows", "mixed"):
            plan = Plan(plan.kind, min(plan.radius_mm, 7.0), plan.contrast)
        pathology = draw_pathology(generator(seed, KEY, number, "lesion", k, "pathology"))
        pathology = {"note_3": "malignant", "no_coordinates": "benign", "tiny": "benign"}.get(
            trap or "", ("benign", "malignant")[k % 2] if trap == "mixed" else pathology
        )
        plans.append((plan, pathology))
    return plans


def _word(lesion: Drawn, rng: np.random.Generator) -> str:
    if lesion.lesion.kind == "calcification":
        return "CALC"
    malignant = lesion.lesion.pathology == "malignant"
    words = ("SPIC", "SPIC", "ARCH", "MISC") if malignant else ("CIRC", "CIRC", "CIRC", "MISC")
    return words[int(rng.integers(len(words)))]


def _pgm(pixels: npt.NDArray[np.uint8], comment: bool) -> bytes:
    remark = b"# CREATOR: GIMP PNM Filter Version 1.1\n" if comment else b""
    return b"P5\n" + remark + b"1024 1024\n255\n" + pixels.tobytes()


def _square(array: npt.NDArray[Scalar], offset: int) -> npt.NDArray[Scalar]:
    """Lay a film strip into the black square."""
    return np.pad(array, ((0, 0), (offset, SIDE - offset - array.shape[1])))


def write(
    root: Path,
    patients: int = 8,
    seed: int = 0,
    *,
    traps: bool = True,
    damage: bool | None = None,
    crlf: bool = False,
    headed: bool = False,
) -> Truth:
    """Write a release of `2 * patients` films and its truth.

    Parameters
    ----------
    root
        Folder of the release; the truth is written beside it (`etl.phantoms.truth`).
    patients
        1 to 499. The first patients of a larger release are the same bytes.
    traps
        Put the release's known oddities on films of the first eight patients.
    damage
        Also leave one film out and cut one short; by default where there are traps.
    crlf
        End the table's lines with CR LF, as some copies do.
    headed
        Write the table of the re-releases: a header, no legend, no `*NOTE 3*`.

    Raises
    ------
    UsageError
        For a number of patients that three digits of film number cannot hold.
    """
    if not 1 <= patients <= MOST_PATIENTS:
        raise UsageError(
            f"a phantom MIAS release holds 1 to {MOST_PATIENTS} patients, not {patients}: "
            "its film numbers have three digits"
        )
    options = _Options(traps, traps if damage is None else damage, crlf, headed)
    root.mkdir(parents=True, exist_ok=True)
    truth = Truth(KEY, seed, patients)
    rows: list[str] = []
    for number in range(1, 2 * patients + 1):
        film, lines = _write_film(root, number, seed, options)
        truth.films.append(film)
        rows += lines
    _write_table(root, rows, options)
    truth.save(root)
    return truth


def _write_film(
    root: Path, number: int, seed: int, options: _Options
) -> tuple[FilmTruth, list[str]]:
    trap = options.trap(number)
    patient, drawing = draw(number, seed, trap=trap)
    film, key = drawing.film, f"mdb{number:03d}"
    levels = np.clip(np.rint(_square(film.image, drawing.offset) * 255), 0, 255).astype(np.uint8)
    data = _pgm(levels, trap == "comment")
    if trap != "absent":
        (root / f"{key}.pgm").write_bytes(data[: 700_000 if trap == "truncated" else None])
    density = "FGD"[min(int(patient.density * 3), 2)]
    truth = _film_truth(root, key, drawing, density, number)
    lines = _rows(root, key, drawing, density, generator(seed, KEY, number, "words"), trap, truth)
    worst = {lesion.pathology for lesion in truth.lesions}
    truth.pathology = next((p for p in ("malignant", "benign") if p in worst), "normal")
    truth.traps = [trap] if trap else []
    truth.flags = [QUALITY[trap]] if trap in QUALITY else []
    if trap in ("absent", "truncated"):
        truth.expect, truth.reason = ("absent" if trap == "absent" else "reject"), trap
    return truth, lines


def _film_truth(root: Path, key: str, drawing: _Drawing, density: str, number: int) -> FilmTruth:
    film = drawing.film
    breast = _square(film.breast, drawing.offset)
    return FilmTruth(
        film_key=key,
        path=f"{key}.pgm",
        patient=f"mias-{(number + 1) // 2:03d}",
        side=film.side,
        view=film.view,
        official_split=None,
        patient_split=None,
        rows=SIDE,
        columns=SIDE,
        pathology="normal",
        label_basis="reader",
        annotation="complete",
        density=density,
        nipple=[round(film.nipple[0] + drawing.offset, 2), round(film.nipple[1], 2)],
        skin=[[round(x + drawing.offset, 2), y] for x, y in film.skin[::8].tolist()],
        breast_mask=save_mask(root, f"{key}.breast", breast),
        px_per_mm=film.px_per_mm,
    )


def _rows(
    root: Path,
    key: str,
    drawing: _Drawing,
    density: str,
    rng: np.random.Generator,
    trap: str | None,
    truth: FilmTruth,
) -> list[str]:
    """Write the film's table rows and note its lesions in the truth."""
    if trap == "suspect":
        return [_suspect_row(key, drawing, density, truth)]
    lines = []
    for k, drawn in enumerate(drawing.lesions):
        mask = _square(drawn.mask, drawing.offset)
        word = _word(drawn, rng)
        severity = drawn.lesion.pathology[0].upper()
        column, row, radius = enclosing_circle(mask)
        circle = [column, SIDE - 1 - row, 3 if trap == "tiny" else radius]
        located = trap not in ("note_3", "no_coordinates")
        line = f"{key} {density} {word} {severity}"
        line += f" {circle[0]} {circle[1]} {circle[2]}" if located else ""
        lines.append(line + (" " if trap == "several_rows" and k == 0 else ""))
        truth.lesions.append(
            LesionTruth(
                lesion_id=str(k + 1),
                kind=drawn.lesion.kind,
                form=drawn.lesion.form,
                pathology=drawn.lesion.pathology,
                label_basis="reader",
                raw={"class": word, "severity": severity},
                mask=save_mask(root, f"{key}.{k + 1}", mask),
                box=box_of(mask),
                area=int(mask.sum()),
                circle=circle if located else None,
                geometry="circle" if located else None,
                trap=trap,
            )
        )
    if trap in ("note_3", "no_coordinates"):
        return [_unlocated_row(root, key, density, drawing, trap, truth)]
    return lines or [f"{key} {density} NORM "]


def _unlocated_row(
    root: Path, key: str, density: str, drawing: _Drawing, trap: str, truth: FilmTruth
) -> str:
    """Merge what was drawn into the one row without coordinates that the table has for it."""
    first = truth.lesions[0]
    whole = np.logical_or.reduce([_square(d.mask, drawing.offset) for d in drawing.lesions])
    first.mask = save_mask(root, f"{key}.1", whole)
    first.box, first.area = box_of(whole), int(whole.sum())
    truth.lesions = [first]
    truth.annotation = "none"
    note = " *NOTE 3* " if trap == "note_3" else ""
    return f"{key} {density} {first.raw['class']} {first.raw['severity']}{note}"


def _suspect_row(key: str, drawing: _Drawing, density: str, truth: FilmTruth) -> str:
    """Name a benign mass whose centre lies in the black outside the breast, drawing nothing."""
    film = drawing.film
    air = np.argwhere(~film.breast[SIDE // 2 : SIDE // 2 + 200, 40:-40])
    row, column = (int(v) for v in air[len(air) // 2] + [SIDE // 2, 40])
    circle = [column + drawing.offset, SIDE - 1 - row, 20]
    truth.annotation = "partial"  # a place that cannot be right is not drawn, so not all are
    truth.lesions.append(
        LesionTruth(
            lesion_id="1",
            kind="mass",
            form="none",
            pathology="benign",
            label_basis="reader",
            raw={"class": "CIRC", "severity": "B"},
            circle=circle,
            geometry="circle",
            trap="suspect",
        )
    )
    return f"{key} {density} CIRC B {circle[0]} {circle[1]} {circle[2]}"


def _write_table(root: Path, rows: list[str], options: _Options) -> None:
    end = "\r\n" if options.crlf else "\n"
    head = LEGEND
    if options.headed:
        head = "REFNUM BG CLASS SEVERITY X Y RADIUS \n"
        rows = [row.replace(" *NOTE 3* ", "") for row in rows]
    text = head.replace("\n", end) + "".join(row + end for row in rows)
    (root / "Info.txt").write_bytes(text.encode("ascii"))
    if not options.headed:
        (root / "README").write_bytes(text.encode("ascii"))
    licence = "Phantom films, drawn by a program; free of any claim.\n"
    (root / "Licence.txt").write_bytes(licence.encode("ascii"))
