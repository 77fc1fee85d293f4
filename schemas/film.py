"""A film as its release has it: what to read, what it shows, what the release says of it.

`Film` is what a source hands to the kernel; one Film becomes one sample. Building one checks what
would otherwise fail silently (an empty patient, a word outside the vocabulary, a NaN coordinate)
and raises `ValueError` naming source, film and field. Contradictions that real releases contain
are flags, never exceptions.

Coordinates are *native*: stored pixels of the image file, x to the right, y down, origin at the
top-left corner of the top-left pixel (its centre is (0.5, 0.5)); boxes are half-open.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, Self

from schemas.vocabulary import (
    Annotation,
    AnnotationKind,
    Birads,
    CalcDistribution,
    CalcType,
    Density,
    ExamKind,
    Finding,
    FrameKind,
    GeometryFrame,
    GeometryKind,
    Intent,
    LabelBasis,
    LabelScope,
    Laterality,
    LesionFlag,
    Margin,
    MassShape,
    Modality,
    Pathology,
    QualityFlag,
    Split,
    View,
)

__all__ = ["FileRef", "Film", "FilmLesion", "Geometry", "Point", "RawWords", "Ring"]

Point = tuple[float, float]
Ring = tuple[Point, ...]

_NUM_VALUES = {
    GeometryKind.MASK: 0,
    GeometryKind.POLYGON: 0,
    GeometryKind.POLYLINE: 0,
    GeometryKind.ELLIPSE: 5,
    GeometryKind.CIRCLE: 3,
    GeometryKind.BOX: 4,
    GeometryKind.POINT: 2,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Geometry:
    """Where a lesion lies, in the release's own form.

    Parameters
    ----------
    kind
        `circle`: values (cx, cy, r). `ellipse`: (cx, cy, rx, ry, angle in degrees from +x towards
        +y). `box`: (x0, y0, x1, y1), half-open. `point`: (x, y). `polygon`: rings, even-odd.
        `polyline`: rings that are open curves. `mask`: the film's files with role `roi` and this
        lesion's id.
    """

    kind: GeometryKind
    values: tuple[float, ...] = ()
    rings: tuple[Ring, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a wrong number of values, or one that is not finite: `ValueError`."""
        if len(self.values) != _NUM_VALUES[self.kind]:
            raise ValueError(
                f"a {self.kind} needs {_NUM_VALUES[self.kind]} values, got {len(self.values)}"
            )
        if self.kind in (GeometryKind.POLYGON, GeometryKind.POLYLINE) and not self.rings:
            raise ValueError(f"a {self.kind} needs at least one ring")
        numbers = [*self.values, *(c for ring in self.rings for point in ring for c in point)]
        if not all(math.isfinite(number) for number in numbers):
            raise ValueError(f"a {self.kind} has a coordinate that is not finite: {numbers}")


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRef:
    """One file (or run of slices) that a film is read from.

    Parameters
    ----------
    role
        `image`; `roi` = a lesion's mask or crop, which of the two is told by content; for series
        `pre`, `post`.
    path
        Relative to the release's root, with `/`. For a run of slices: their folder, which ends
        with `/`; its DICOM files are the slices.
    size
        Bytes, from the listing, of all files of a run; part of the task id.
    lesion
        lesion_id that a `roi` belongs to.
    first, last
        0-based inclusive frames, where not all are read; of a run the smallest and largest number
        of its slices.
    """

    role: str
    path: str
    size: int
    lesion: str | None = None
    first: int | None = None
    last: int | None = None

    def __post_init__(self) -> None:
        """Refuse a path that leaves the root: `ValueError`."""
        if not self.path or self.path.startswith("/") or "\\" in self.path:
            raise ValueError(f"path must be relative with '/', got {self.path!r}")

    @property
    def is_run(self) -> bool:
        """A folder of slices, not one file."""
        return self.path.endswith("/")


@dataclass(frozen=True, slots=True, kw_only=True)
class FilmLesion:
    """One finding and/or one drawn region of a film.

    A finding without geometry has `geometry=None`; a region without finding has
    `finding=unknown`; both carry the flag `unlinked` where the release should have linked them.
    `rois` of a mask lesion are found among the film's files by `lesion_id`.
    """

    lesion_id: str
    lesion_key: str | None = None
    source_ids: tuple[str, ...] = ()
    finding: Finding = Finding.UNKNOWN
    pathology: Pathology = Pathology.UNKNOWN
    label_basis: LabelBasis = LabelBasis.UNKNOWN
    label_raw: str | None = None
    birads: Birads | None = None
    shape: tuple[MassShape, ...] = ()
    margin: tuple[Margin, ...] = ()
    calc_type: tuple[CalcType, ...] = ()
    distribution: tuple[CalcDistribution, ...] = ()
    subtlety: int | None = None
    flags: tuple[LesionFlag, ...] = ()
    geometry: Geometry | None = None
    slice_first: int | None = None
    slice_last: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RawWords:
    """The release's own words, unchanged, from an allow-list of columns. Never a date or a name."""

    label: str | None = None
    density: str | None = None
    view: str | None = None
    finding: str | None = None
    status: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Film:
    """Everything that tables and listings say about one image. One Film becomes one sample.

    Parameters
    ----------
    source, film_key
        Together unique and stable over editions of the copy.
    patient_key, split_key
        The patient, and what must stay on one side of a split (default: the patient).
    exam_key, exam_day
        Examination, and days since the patient's first one (None where dates are shifted).
    pair_key
        One exposure or one film under two ids.
    files
        What to read; exactly one has the role `image` unless the film is a series.
    native_pixel_mm
        (row, column) spacing that the release documents outside of the files.
    image_size
        (height, width) that the coordinates need; the kernel rejects another size.
    """

    source: str
    film_key: str
    patient_key: str
    split_key: str = ""
    exam_key: str | None = None
    exam_day: int | None = None
    exam_kind: ExamKind | None = None
    pair_key: str | None = None
    files: tuple[FileRef, ...]
    modality: Modality
    view: View | None = None
    laterality: Laterality | None = None
    intent: Intent | None = None
    spot_mag: bool = False
    implant: bool | None = None
    frame_kind: FrameKind = FrameKind.IMAGE
    frame: int | None = None
    depth_fraction: float | None = None
    phase: str | None = None
    pathology: Pathology = Pathology.UNKNOWN
    label_basis: LabelBasis = LabelBasis.UNKNOWN
    label_scope: LabelScope = LabelScope.IMAGE
    birads: Birads | None = None
    density: Density | None = None
    density_scale: str | None = None
    months_to_cancer: float | None = None
    raw: RawWords = field(default_factory=RawWords)
    lesions: tuple[FilmLesion, ...] = ()
    annotation: Annotation = Annotation.NONE
    annotation_kind: AnnotationKind | None = None
    age: int | None = None
    manufacturer: str | None = None
    model: str | None = None
    official_split: str | None = None
    official_sides: tuple[Split, ...] = ()
    geometry_frame: GeometryFrame = GeometryFrame.NATIVE
    native_pixel_mm: tuple[float, float] | None = None
    image_size: tuple[int, int] | None = None
    flags: tuple[QualityFlag, ...] = ()
    licence: str

    def __post_init__(self) -> None:
        """Refuse what cannot be a film: `ValueError` naming source, film and field."""
        for name in ("source", "film_key", "patient_key", "licence"):
            if not getattr(self, name).strip():
                raise ValueError(self._says(f"{name} is empty"))
        if not self.split_key:
            object.__setattr__(self, "split_key", self.patient_key)
        if not self.files:
            raise ValueError(self._says("it has no file"))
        ids = [lesion.lesion_id for lesion in self.lesions]
        if len(set(ids)) != len(ids):
            raise ValueError(self._says(f"lesion ids repeat: {ids}"))
        for value, name in ((self.age, "age"), (self.depth_fraction, "depth_fraction")):
            if value is not None and not (math.isfinite(value) and value >= 0):
                raise ValueError(self._says(f"{name} is {value}"))
        for spacing in self.native_pixel_mm or ():
            if not (math.isfinite(spacing) and spacing > 0):
                raise ValueError(self._says(f"native_pixel_mm is {self.native_pixel_mm}"))

    def _says(self, what: str) -> str:
        return f"film {self.film_key!r} of source {self.source!r}: {what}"

    @property
    def image(self) -> FileRef:
        """The file with the role `image`; of a series its first run of slices."""
        return next((ref for ref in self.files if ref.role == "image"), self.files[0])

    @property
    def is_series(self) -> bool:
        """The film is computed from runs of slices."""
        return any(ref.is_run for ref in self.files)

    def rois(self, lesion_id: str) -> tuple[FileRef, ...]:
        """Return the files that hold this lesion's mask or crop, in the table's order."""
        return tuple(ref for ref in self.files if ref.role == "roi" and ref.lesion == lesion_id)

    def to_json(self) -> str:
        """Return canonical JSON: sorted keys, no blanks, defaults left out."""
        return _CANONICAL.encode(_without_defaults(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return the Film that `to_json` wrote."""
        return cls(**_revived(json.loads(text)))


_ENUM_FIELDS: dict[str, type] = {
    "modality": Modality,
    "view": View,
    "laterality": Laterality,
    "intent": Intent,
    "exam_kind": ExamKind,
    "frame_kind": FrameKind,
    "pathology": Pathology,
    "label_basis": LabelBasis,
    "label_scope": LabelScope,
    "birads": Birads,
    "density": Density,
    "annotation": Annotation,
    "annotation_kind": AnnotationKind,
    "geometry_frame": GeometryFrame,
    "finding": Finding,
}
_ENUM_LISTS: dict[str, type] = {
    "official_sides": Split,
    "shape": MassShape,
    "margin": Margin,
    "calc_type": CalcType,
    "distribution": CalcDistribution,
}


_ATOMS = frozenset(
    {
        *(str, int, float, bool, GeometryKind, LesionFlag, QualityFlag),
        *_ENUM_FIELDS.values(),
        *_ENUM_LISTS.values(),
    }
)
"""Types that JSON writes as they are."""
_GETTERS = {
    kind: attrgetter(*kind.__slots__) for kind in (Film, FileRef, FilmLesion, Geometry, RawWords)
}
_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"))
_EMPTY: tuple[Any, ...] = ()


def _without_defaults(value: Any) -> Any:
    """Return dataclasses as dictionaries without what is empty, tuples as lists.

    `dataclasses.asdict` does the same many times slower, and a plan can have half a million films.
    """
    kind = value.__class__
    if kind in _ATOMS:
        return value
    if kind is tuple or kind is list:
        return [_without_defaults(item) for item in value]
    if value is None or isinstance(value, (str, int, float)):
        return value
    kept = {}
    for name, item in zip(kind.__slots__, _GETTERS[kind](value), strict=True):
        if item is None or item is _EMPTY:
            continue
        if item.__class__ in _ATOMS:
            kept[name] = item
            continue
        plain = _without_defaults(item)
        if plain not in ({}, []):
            kept[name] = plain
    return kept


def _enums(data: dict[str, Any], flags: type) -> dict[str, Any]:
    out = dict(data)
    for name, kind in _ENUM_FIELDS.items():
        if name in out:
            out[name] = kind(out[name])
    for name, kind in {**_ENUM_LISTS, "flags": flags}.items():
        if name in out:
            out[name] = tuple(kind(word) for word in out[name])
    return out


def _revived(data: dict[str, Any]) -> dict[str, Any]:
    out = _enums(data, QualityFlag)
    out["files"] = tuple(FileRef(**ref) for ref in out["files"])
    out["raw"] = RawWords(**out.get("raw", {}))
    out["lesions"] = tuple(_revived_lesion(lesion) for lesion in out.get("lesions", ()))
    for name in ("native_pixel_mm", "image_size"):
        if name in out:
            out[name] = tuple(out[name])
    return out


def _revived_lesion(data: dict[str, Any]) -> FilmLesion:
    out = _enums(data, LesionFlag)
    if "source_ids" in out:
        out["source_ids"] = tuple(out["source_ids"])
    if "geometry" in out:
        shape = out["geometry"]
        out["geometry"] = Geometry(
            kind=GeometryKind(shape["kind"]),
            values=tuple(shape.get("values", ())),
            rings=tuple(
                tuple((float(x), float(y)) for x, y in ring) for ring in shape.get("rings", ())
            ),
        )
    return FilmLesion(**out)
