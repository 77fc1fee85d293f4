"""A sample's manifest row and lesion rows, from what the kernel found."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from etl.deidentify import clean_device, clean_raw, clean_word
from etl.pixels.arrange import Scale
from etl.pixels.decode import Picture
from etl.pixels.geometry import area
from etl.pixels.placement import Placement
from etl.pixels.settle import Settled
from etl.pixels.window import Levels
from schemas.columns import rounded
from schemas.film import Film
from schemas.release import ReleaseInfo
from schemas.sample import NOMINAL_LONG_SIDE_MM
from schemas.spec import Spec
from schemas.version import PIPELINE_VERSION
from schemas.vocabulary import (
    Annotation,
    Intent,
    LesionFlag,
    Modality,
    QualityFlag,
    SpacingSource,
    birads_rank,
)

__all__ = ["Facts", "annotated", "lesion_row", "sample_row", "spacing_of"]

_PLAUSIBLE_MM = (0.005, 5.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Everything that a row is written from."""

    film: Film
    picture: Picture
    lesions: tuple[Settled, ...]
    placement: Placement
    scale: Scale
    levels: Levels
    spacing: tuple[float, float] | None
    spacing_source: SpacingSource
    flags: frozenset[QualityFlag]
    source_sha256: str


def spacing_of(
    film: Film, header: Mapping[str, str], documented: tuple[float, float] | None
) -> tuple[tuple[float, float] | None, SpacingSource]:
    """Return (row, column) mm: the source's reading of the header, the header, the documentation.

    Parameters
    ----------
    film
        After `resolve`.
    documented
        The film's spacing before `resolve`.
    """
    if film.native_pixel_mm is not None and film.native_pixel_mm != documented:
        return film.native_pixel_mm, SpacingSource.HEADER
    for keyword in ("PixelSpacing", "ImagerPixelSpacing"):
        spacing = _spacing(header.get(keyword))
        if spacing is not None and not _is_filler(film, spacing):
            return spacing, SpacingSource.HEADER
    if documented is not None:
        return documented, SpacingSource.DOCUMENTED
    return None, SpacingSource.ABSENT


def _spacing(text: str | None) -> tuple[float, float] | None:
    try:
        row, column = (float(word) for word in (text or "").split("\\"))
    except ValueError:
        return None
    low, high = _PLAUSIBLE_MM
    good = low <= row <= high and low <= column <= high
    return (row, column) if good else None


def _is_filler(film: Film, spacing: tuple[float, float]) -> bool:
    """Tell the 1 mm that converters write into mammograms whose spacing they do not know.

    No mammogram has such pixels; a magnetic resonance image may.
    """
    return spacing == (1.0, 1.0) and film.modality is not Modality.MRI


def annotated(film: Film, lesions: Sequence[Settled]) -> Annotation:
    """Return the film's annotation, lowered where a drawn lesion was lost or is suspect."""
    if film.annotation is Annotation.NONE or not any(lesion.lost for lesion in lesions):
        return film.annotation
    return Annotation.PARTIAL if any(lesion.rings for lesion in lesions) else Annotation.NONE


def sample_row(
    facts: Facts,
    image: npt.NDArray[np.uint16],
    tissue: npt.NDArray[np.bool_],
    phash: str,
    info: ReleaseInfo,
    spec: Spec,
) -> dict[str, Any]:
    """Return all `SAMPLE_COLUMNS` but sample_id, split and split_origin.

    `image` and `tissue` are the standard image and its tissue on the same coarse grid.
    """
    film, annotation = facts.film, annotated(facts.film, facts.lesions)
    row: dict[str, Any] = {
        **_who(film),
        **_what(film, facts.picture),
        **_labels(film),
        "annotation": annotation,
        "annotation_kind": None if annotation is Annotation.NONE else film.annotation_kind,
        "n_lesions": len(facts.lesions),
        **geometry(facts),
        "bits_stored": facts.picture.bits_stored,
        "photometric": facts.picture.photometric,
        "window_kind": facts.levels.kind,
        "window": list(facts.levels.window),
        **_statistics(image, tissue),
        "source_sha256": facts.source_sha256,
        "pixel_sha256": facts.picture.sha256,
        "phash": phash,
        "official_split": film.official_split,
        "quality_flags": sorted(facts.flags),
        "licence": film.licence,
        "redistributable": info.licence.redistributable,
        "weights_releasable": info.licence.weights_releasable,
        "citation": info.citation,
        "film_key": film.film_key,
        "source_files": [ref.path for ref in film.files],
        "pipeline_version": PIPELINE_VERSION,
        "spec": spec.key(),
    }
    return _plain(row)


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    words = {key: str(value) if isinstance(value, str) else value for key, value in row.items()}
    lists = {
        key: [str(item) if isinstance(item, str) else item for item in value]
        for key, value in words.items()
        if isinstance(value, list)
    }
    return dict(rounded({**words, **lists}))


def _scoped(source: str, key: str | None) -> str | None:
    return None if key is None else f"{source}:{key}"


def _who(film: Film) -> dict[str, Any]:
    return {
        "source": film.source,
        "patient_id": _scoped(film.source, film.patient_key),
        "split_key": _scoped(film.source, film.split_key),
        "exam_id": film.exam_key,
        "exam_day": film.exam_day,
        "exam_kind": film.exam_kind,
        "pair_key": _scoped(film.source, film.pair_key),
    }


def _what(film: Film, picture: Picture) -> dict[str, Any]:
    header = picture.header
    words = {"FOR PRESENTATION": Intent.PRESENTATION, "FOR PROCESSING": Intent.PROCESSING}
    intent = words.get(header.get("PresentationIntentType", "").strip().upper())
    maker, model = clean_device(
        film.manufacturer or header.get("Manufacturer"),
        film.model or header.get("ManufacturerModelName"),
    )
    return {
        "modality": film.modality,
        "view": film.view,
        "laterality": film.laterality,
        "intent": film.intent or intent,
        "spot_mag": film.spot_mag,
        "implant": film.implant,
        "manufacturer": maker,
        "model": model,
        "age": film.age,
        "frame_kind": film.frame_kind,
        "frame": film.frame,
        "depth_fraction": film.depth_fraction,
        "phase": film.phase,
        "native_frames": picture.frames,
    }


def _labels(film: Film) -> dict[str, Any]:
    return {
        "pathology": film.pathology,
        "label_basis": film.label_basis,
        "label_scope": film.label_scope,
        "birads": film.birads,
        "birads_rank": birads_rank(film.birads),
        "density": film.density,
        "density_scale": film.density_scale,
        "findings": sorted({lesion.finding for lesion in film.lesions}),
        "months_to_cancer": film.months_to_cancer,
        "raw": asdict(clean_raw(film.raw)),
    }


def geometry(facts: Facts) -> dict[str, Any]:
    """Return the columns that say where the standard image lies; `draw_labels` needs them."""
    placement, scale = facts.placement, facts.scale
    nominal = NOMINAL_LONG_SIDE_MM / max(scale.height, scale.width)
    return {
        "native_height": int(placement.native[0]),
        "native_width": int(placement.native[1]),
        "native_pixel_mm": list(facts.spacing) if facts.spacing else None,
        "spacing_source": facts.spacing_source,
        "height": scale.height,
        "width": scale.width,
        "pixel_mm": scale.mm,
        "mm_eff": rounded(nominal if scale.mm is None else scale.mm),
        "mm_nominal": scale.mm is None,
        "orientation": placement.orientation,
        "crop_x": int(placement.crop_x),
        "crop_y": int(placement.crop_y),
        "scale": [placement.scale_x, placement.scale_y],
    }


def _statistics(image: npt.NDArray[np.uint16], tissue: npt.NDArray[np.bool_]) -> dict[str, float]:
    values = image[tissue] if tissue.any() else image.ravel()
    low, middle, high = (float(level) for level in np.percentile(values, (1, 50, 99)))
    return {
        "breast_fraction": float(tissue.mean()),
        "p01": low,
        "p50": middle,
        "p99": high,
        "mean": float(values.mean()),
    }


def lesion_row(
    settled: Settled, placement: Placement, spacing: tuple[float, float] | None
) -> dict[str, Any]:
    """Return a row of the lesions table without sample_id."""
    lesion, kind = settled.lesion, settled.kind
    row: dict[str, Any] = {
        "lesion_id": lesion.lesion_id,
        "lesion_key": lesion.lesion_key,
        "source_ids": list(lesion.source_ids) or None,
        "finding": lesion.finding,
        "pathology": lesion.pathology,
        "label_basis": lesion.label_basis,
        "label_raw": clean_word(lesion.label_raw),
        "birads": lesion.birads,
        "shape": list(lesion.shape),
        "margin": list(lesion.margin),
        "calc_type": list(lesion.calc_type),
        "distribution": list(lesion.distribution),
        "subtlety": lesion.subtlety,
        "flags": sorted(settled.flags),
        "geometry_kind": kind,
        "rings_native": [[list(point) for point in ring] for ring in settled.rings] or None,
        "slice_first": lesion.slice_first,
        "slice_last": lesion.slice_last,
        **_boxes(settled, placement),
        "area_mm2": None,
    }
    if kind is not None and spacing is not None and LesionFlag.SUSPECT not in settled.flags:
        square_mm = area(kind, settled.rings) * spacing[0] * spacing[1]
        row["area_mm2"] = square_mm if math.isfinite(square_mm) and square_mm > 0 else None
    return _plain(row)


def _boxes(settled: Settled, placement: Placement) -> dict[str, float | None]:
    native, standard = settled.box, None
    if native is not None:
        height, width = placement.standard
        x0, y0, x1, y1 = placement.box_to_standard(native)
        moved = (max(x0, 0.0), max(y0, 0.0), min(x1, float(width)), min(y1, float(height)))
        standard = moved if moved[0] < moved[2] and moved[1] < moved[3] else None
    names = ("x0", "y0", "x1", "y1")
    out: dict[str, float | None] = {}
    for prefix, box in (("native_", native), ("", standard)):
        out |= {f"{prefix}{name}": box[i] if box else None for i, name in enumerate(names)}
    return out
