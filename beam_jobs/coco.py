"""A version as COCO: boxes and outlines in standard-image coordinates, for detectors.

https://cocodataset.org/#format-data. Only images on which every lesion is drawn, or some are, go
out: an image whose lesions nobody drew would teach a detector that there is nothing. Point marks
and suspect lesions have no extent that could be learnt; images that carry one go out without it and
are named in `incomplete`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from beam_jobs.licences import refuse_private
from schemas.corpus import Corpus
from schemas.errors import UsageError
from schemas.vocabulary import Annotation, Finding, GeometryKind, LesionFlag, Pathology

__all__ = ["Categories", "Coco", "coco", "write_images"]

Categories = Literal["finding", "pathology"]
Json = dict[str, Any]
Row = Mapping[str, Any]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Coco:
    """A document and what did not fit into it.

    Parameters
    ----------
    rows
        Manifest rows of the images, in their order.
    left_out
        Images that match the condition and have no drawn lesions (annotation `none`).
    unmarked
        Lesions without an extent: points, suspect ones, those that are not drawn.
    """

    document: Json
    rows: list[Json] = field(default_factory=list)
    left_out: int = 0
    unmarked: int = 0


def coco(corpus: Corpus, *, where: str | None = None, by: Categories = "finding") -> Coco:
    """Return the COCO document of a selection.

    Parameters
    ----------
    where
        SQL condition on the manifest's columns.
    by
        What the categories are: kinds of finding, or pathologies.
    """
    rows = corpus.table(where).to_pylist()
    kept = [row for row in rows if row["annotation"] != Annotation.NONE]
    if not kept:
        raise UsageError(
            f"no sample with drawn lesions matches --where {where!r}: look at the columns "
            "annotation and n_lesions"
        )
    lesions: dict[str, list[Json]] = defaultdict(list)
    for lesion in corpus.lesions().to_dict("records"):
        lesions[str(lesion["sample_id"])].append({str(key): lesion[key] for key in lesion})
    names = [word.value for word in (Finding if by == "finding" else Pathology)]
    numbers = {name: number for number, name in enumerate(names, start=1)}
    annotations: list[Json] = []
    unmarked: dict[int, int] = {}
    for number, row in enumerate(kept, start=1):
        own = lesions[row["sample_id"]]
        made = [one for lesion in own for one in _annotation(row, lesion)]
        for one in made:
            place = {"id": len(annotations) + 1, "image_id": number}
            annotations.append({**place, "category_id": numbers[one[by]], **one})
        if len(made) < len(own):
            unmarked[number] = len(own) - len(made)
    licences = _licences(kept)
    document = {
        "info": {
            "description": f"{corpus.version}, standard images; research use only",
            "version": corpus.version,
        },
        "licenses": [{"id": number, "name": name, "url": ""} for name, number in licences.items()],
        "categories": [
            {"id": number, "name": name, "supercategory": by} for name, number in numbers.items()
        ],
        "images": [
            _image(number, row, licences, number in unmarked)
            for number, row in enumerate(kept, start=1)
        ],
        "annotations": annotations,
    }
    return Coco(document, kept, len(rows) - len(kept), sum(unmarked.values()))


def _licences(rows: Sequence[Row]) -> dict[str, int]:
    return {name: n for n, name in enumerate(sorted({row["licence"] for row in rows}), start=1)}


def _image(number: int, row: Row, licences: Mapping[str, int], unmarked: bool) -> Json:
    kept = ("sample_id", "source", "patient_id", "split", "modality", "view", "laterality")
    return {
        "id": number,
        "file_name": f"images/{row['sample_id']}.png",
        "height": row["height"],
        "width": row["width"],
        "license": licences[row["licence"]],
        **{name: row[name] for name in (*kept, "pathology", "label_basis")},
        "incomplete": unmarked or row["annotation"] != Annotation.COMPLETE,
    }


def _annotation(row: Row, lesion: Row) -> Iterator[Json]:
    """Yield the lesion's annotation, where it has an extent on the standard image."""
    from etl.pixels.geometry import fill
    from etl.pixels.placement import Placement

    rings = lesion["rings_native"]
    suspect = LesionFlag.SUSPECT in list(lesion["flags"])
    if rings is None or not len(rings) or suspect or lesion["geometry_kind"] == GeometryKind.POINT:
        return
    placement = Placement.from_row(row)
    size = (row["height"], row["width"])
    moved = [
        placement.to_standard(np.array([tuple(point) for point in ring], float)) for ring in rings
    ]
    if lesion["geometry_kind"] == GeometryKind.POLYLINE:
        return
    patch = fill(moved, size)
    if patch is None or not patch.pixels.any():
        return
    mask = np.zeros(size, np.uint8)
    height, width = patch.pixels.shape
    mask[patch.y : patch.y + height, patch.x : patch.x + width] = patch.pixels
    inside = [np.clip(ring, 0, (row["width"], row["height"])) for ring in moved]
    points = np.concatenate(inside)
    (x0, y0), (x1, y1) = points.min(axis=0), points.max(axis=0)
    plain = len(inside) == 1 or _apart(inside)
    yield {
        "bbox": _rounded([x0, y0, x1 - x0, y1 - y0]),
        "area": int(mask.sum()),
        "iscrowd": 0,
        "segmentation": [_rounded(ring.ravel()) for ring in inside] if plain else _runs(mask),
        "lesion_id": lesion["lesion_id"],
        "finding": lesion["finding"],
        "pathology": lesion["pathology"],
        "label_basis": lesion["label_basis"],
    }


def _rounded(values: Any) -> list[float]:
    return [round(float(value), 2) for value in values]


def _apart(rings: Sequence[Floats]) -> bool:
    """Tell rings whose boxes do not meet: polygons of one annotation are united, never cut out."""
    boxes = [(*ring.min(axis=0), *ring.max(axis=0)) for ring in rings]
    for number, (x0, y0, x1, y1) in enumerate(boxes):
        for a0, b0, a1, b1 in boxes[number + 1 :]:
            if x0 < a1 and a0 < x1 and y0 < b1 and b0 < y1:
                return False
    return True


def _runs(mask: npt.NDArray[np.uint8]) -> Json:
    """Return a mask as COCO's uncompressed runs: column by column, zeros first."""
    flat = mask.ravel(order="F")
    ends = np.flatnonzero(np.diff(flat)) + 1
    edges = np.concatenate([[0], ends, [flat.size]])
    counts = np.diff(edges).tolist()
    return {"size": list(mask.shape), "counts": counts if not flat[0] else [0, *counts]}


def write_images(corpus: Corpus, rows: Sequence[Row], folder: Path, acknowledged: bool) -> int:
    """Write the images as PNG to `folder`/images; return how many.

    Raises
    ------
    UsageError
        A licence does not let pixels be passed on, and the user did not acknowledge it.
    """
    from etl.pixels.encode import decode_image, encode_image

    refuse_private(rows, acknowledged, f"{folder}/images")
    target = folder / "images"
    target.mkdir(parents=True, exist_ok=True)
    for row in rows:
        data = corpus.store.read_range(row["shard"], row["image_offset"], row["image_size"])
        if not data.startswith(b"\x89PNG"):
            data = encode_image(decode_image(data))
        (target / f"{row['sample_id']}.png").write_bytes(data)
    return len(rows)
