"""What a phantom writer drew: the truth that tests hold a corpus against.

The release lies in `NAME/`; beside it `NAME.truth.json` holds these records and `NAME.truth/` the
masks as 8-bit PNG (0 or 255) of the film's own size. Coordinates are pixels of the film file,
x right, y down, origin at the top-left corner of the top-left pixel, boxes half-open. Nothing here
is read back from the release.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from schemas.errors import StoreError

__all__ = ["FilmTruth", "LesionTruth", "Truth", "box_of"]


@dataclass(kw_only=True)
class LesionTruth:
    """One drawn lesion, or one that the table names without drawing it.

    Attributes
    ----------
    lesion_id
        The release's number of the lesion on its film.
    kind
        `mass` or `calcification`.
    form
        The drawn shape: round, oval, lobulated, spiculated, cluster_round, cluster_linear, none.
    pathology
        `benign` or `malignant`.
    label_basis
        The basis that the release's words imply.
    raw
        The release's own words, by column.
    mask
        File in the truth's folder, or None where nothing was drawn.
    box
        x0, y0, x1, y1 of the drawn mask.
    area
        Pixels of the drawn mask.
    circle
        x, y (counted from the bottom), radius as written in a MIAS table.
    geometry
        What the release gives a reader: a word of `schemas.vocabulary.GeometryKind`, or None.
    outline
        The shape that a perfect reader of the release would draw, where it gives no mask:
        `values` (circle: x, y, r; ellipse: x, y, rx, ry, degrees; box: x0, y0, x1, y1; point:
        x, y) or `rings`, in pixels of the film file, corner coordinates, boxes half-open.
    trap
        Why the release's geometry is missing or odd, or None.
    files
        Role (`mask`, `crop`) to file in the release, told by what was written into it.
    """

    lesion_id: str
    kind: str
    form: str
    pathology: str
    label_basis: str
    raw: dict[str, str]
    mask: str | None = None
    box: list[int] | None = None
    area: int = 0
    circle: list[int] | None = None
    geometry: str | None = None
    outline: dict[str, Any] | None = None
    trap: str | None = None
    files: dict[str, str] = field(default_factory=dict)


@dataclass(kw_only=True)
class FilmTruth:
    """One film of the release, whether or not its file can be read.

    Attributes
    ----------
    film_key
        The release's own image id.
    path
        Film file, relative to the release's root.
    patient, side, view
        Patient as the release writes it; `L` or `R`; `CC` or `MLO`.
    official_split, patient_split
        The split of the film's own table; the strictest of the patient's (test before train).
    rows, columns
        Size of the film file.
    pathology, label_basis
        The worst of its lesions; `normal` where the release says so.
    annotation
        `complete`, `partial` or `none`: is everything that the release calls a lesion outlined?
    expect, reason
        `sample`, `reject` or `absent`, and why.
    twin_of
        film_key of the same film in the other folder.
    modality, frame_kind, frame
        Words of the vocabulary; the frame or slice that the sample shows, counted from 0.
    birads, age
        As the corpus must have them.
    density, density_letter
        The release's own word; A to D where it is one of BI-RADS.
    exam, pair
        Examination as the release writes it; films of one exposure share `pair`.
    upside_down
        The stored pixels are turned by 180 degrees.
    nipple, skin
        Tip of the nipple; points on the skin line.
    breast_mask
        File in the truth's folder.
    flags
        Quality flags of the corpus (`schemas.vocabulary.QualityFlag`) that the traps must raise.
    traps
        What is odd about the film, in our own words.
    """

    film_key: str
    path: str
    patient: str
    side: str
    view: str | None
    official_split: str | None = None
    patient_split: str | None = None
    rows: int
    columns: int
    pathology: str
    label_basis: str
    annotation: str
    modality: str | None = None
    frame_kind: str = "image"
    frame: int | None = None
    birads: str | None = None
    density: str | None = None
    density_letter: str | None = None
    exam: str | None = None
    pair: str | None = None
    age: int | None = None
    upside_down: bool = False
    nipple: list[float] | None = None
    skin: list[list[float]] = field(default_factory=list)
    breast_mask: str | None = None
    px_per_mm: float | None = None
    lesions: list[LesionTruth] = field(default_factory=list)
    expect: str = "sample"
    reason: str | None = None
    twin_of: str | None = None
    flags: list[str] = field(default_factory=list)
    traps: list[str] = field(default_factory=list)


@dataclass
class Truth:
    """Everything about one phantom release.

    Attributes
    ----------
    source
        Release key.
    seed, patients
        How it was drawn.
    films
        In the order of the tables.
    """

    source: str
    seed: int
    patients: int
    films: list[FilmTruth] = field(default_factory=list)

    def expected(self, what: str) -> list[FilmTruth]:
        """Return the films that end as `sample`, `reject` or `absent`."""
        return [film for film in self.films if film.expect == what]

    def save(self, root: Path) -> None:
        """Write `NAME.truth.json` beside the release root."""
        text = json.dumps(dataclasses.asdict(self), indent=1, sort_keys=True)
        try:
            truth_file(root).write_text(text + "\n", encoding="utf-8", newline="\n")
        except OSError as error:
            raise StoreError(f"cannot write {truth_file(root)}: {error.strerror}") from error

    @classmethod
    def load(cls, root: Path) -> Truth:
        """Read the truth of the release at `root`."""
        raw: dict[str, Any] = json.loads(truth_file(root).read_text(encoding="utf-8"))
        films = []
        for item in raw.pop("films"):
            lesions = [LesionTruth(**lesion) for lesion in item.pop("lesions")]
            films.append(FilmTruth(**item, lesions=lesions))
        return cls(**raw, films=films)


def truth_file(root: Path) -> Path:
    """Return the path of the truth of the release at `root`."""
    return root.with_name(root.name + ".truth.json")


def truth_folder(root: Path) -> Path:
    """Return the folder of the truth's masks of the release at `root`."""
    return root.with_name(root.name + ".truth")


def save_mask(root: Path, name: str, mask: npt.NDArray[np.bool_]) -> str:
    """Write a mask into the truth's folder and return its file name."""
    folder = truth_folder(root)
    folder.mkdir(parents=True, exist_ok=True)
    done, data = cv2.imencode(".png", mask.astype(np.uint8) * 255, [cv2.IMWRITE_PNG_BILEVEL, 1])
    if not done:
        raise StoreError(f"cannot encode the mask {name} as PNG")
    (folder / f"{name}.png").write_bytes(data.tobytes())
    return f"{name}.png"


def load_mask(root: Path, name: str) -> npt.NDArray[np.bool_]:
    """Read a mask of the truth, bool, rows x columns."""
    path = truth_folder(root) / name
    image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if image is None:
        raise StoreError(f"cannot read the truth's mask {path}")
    return np.asarray(image >= 128)


def box_of(mask: npt.NDArray[np.bool_]) -> list[int] | None:
    """Return x0, y0, x1, y1 (half-open) of a mask, or None where it is empty."""
    if not mask.any():
        return None
    ys, xs = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return [int(xs[0]), int(ys[0]), int(xs[-1]) + 1, int(ys[-1]) + 1]
