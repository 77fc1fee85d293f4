"""`mammo-etl show`: a contact sheet, lesions drawn; the picture that catches a wrong axis.

Standard images come from the shards; with release roots the films themselves are drawn as stored,
with the lesions' native outlines.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from schemas.corpus import Corpus
from schemas.errors import MammoError, UsageError
from schemas.film import FileRef, Film
from schemas.store import Store, open_store
from schemas.vocabulary import (
    FrameKind,
    GeometryKind,
    Laterality,
    LesionFlag,
    Modality,
    Orientation,
    Pathology,
)

__all__ = ["choose", "contact_sheet", "film_tile", "sample_tile"]

Row = Mapping[str, Any]
Picture = npt.NDArray[np.uint8]

COLOURS = {
    Pathology.MALIGNANT: (60, 60, 255),
    Pathology.BENIGN: (80, 220, 80),
    Pathology.UNKNOWN: (0, 210, 255),
    Pathology.NORMAL: (255, 200, 80),
}
"""Blue, green, red: malignant red, benign green, unknown yellow."""
_SUSPECT = (200, 200, 200)
_INK = (235, 235, 235)
_CAPTION = 34
_FONT = cv2.FONT_HERSHEY_SIMPLEX


def choose(rows: Sequence[Row], count: int) -> list[Row]:
    """Return up to `count` rows, taking turns between sources and labels, in a fixed order."""
    groups: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: str(row["sample_id"])):
        groups[row["source"], row["pathology"]].append(row)
    queues = [groups[key] for key in sorted(groups)]
    chosen: list[Row] = []
    for turn in range(max(map(len, queues), default=0)):
        chosen.extend(queue[turn] for queue in queues if turn < len(queue))
    chosen = chosen[:count]
    return sorted(chosen, key=lambda row: (row["source"], row["pathology"], row["sample_id"]))


def contact_sheet(
    corpus: Corpus,
    *,
    where: str | None = None,
    count: int = 48,
    tile: int = 256,
    roots: Mapping[str, str] | None = None,
    only: Callable[[list[Row]], list[Row]] | None = None,
) -> Picture:
    """Return a sheet of samples (or, with `roots`, of the films themselves).

    Parameters
    ----------
    where
        Condition on the manifest's columns.
    count
        Largest number of tiles.
    tile
        Side of a tile in pixels; the picture is fitted into it.
    roots
        Release root by source: draws stored pixels with native outlines.
    only
        Chooses among the rows that `where` selects.

    Returns
    -------
    ndarray
        uint8 (height, width, 3), blue, green, red.
    """
    found = corpus.table(where).to_pylist()
    if not found:
        raise UsageError(f"no sample matches --where {where!r}: try `schemas.open(...).frame()`")
    rows = choose(only(found) if only else found, count)
    lesions: dict[str, list[Row]] = defaultdict(list)
    for lesion in corpus.lesions().to_dict("records"):
        lesions[str(lesion["sample_id"])].append({str(key): lesion[key] for key in lesion})
    tiles = []
    for row in rows:
        marks = lesions[row["sample_id"]]
        picture = (
            film_tile(row, marks, roots, tile) if roots else sample_tile(corpus, row, marks, tile)
        )
        tiles.append(_captioned(picture, row, tile))
    return _grid(tiles)


def sample_tile(corpus: Corpus, row: Row, lesions: Sequence[Row], tile: int) -> Picture:
    """Return one standard image with its lesions, fitted into a square."""
    from etl.pixels.encode import decode_image
    from etl.pixels.placement import Placement

    data = corpus.store.read_range(row["shard"], row["image_offset"], row["image_size"])
    placement = Placement.from_row(row)
    outlines = [_moved(lesion, placement) for lesion in lesions]
    return _drawn(decode_image(data), outlines, lesions, tile)


def film_tile(
    row: Row, lesions: Sequence[Row], roots: Mapping[str, str] | None, tile: int
) -> Picture:
    """Return one film as stored, with the lesions' native outlines."""
    root = (roots or {}).get(row["source"])
    if root is None:
        raise UsageError(f"--native needs the release: add --release {row['source']}=PATH")
    if row["source_files"] is None or not len(row["source_files"]):
        raise MammoError(
            f"{row['sample_id']}: its files are named only in the corpus's private/ folder, "
            "because the release may not be shared; show it without --native"
        )
    pixels = _stored(row, open_store(root))
    if row["photometric"] == "MONOCHROME1":
        pixels = pixels.max() - pixels
    outlines = [
        [np.array(list(ring), dtype=float) for ring in _rings(lesion)] for lesion in lesions
    ]
    return _drawn(pixels, outlines, lesions, tile)


def _stored(row: Row, store: Store) -> npt.NDArray[Any]:
    from etl.pixels.decode import load
    from etl.pixels.volume import load_series
    from etl.readers.pictures import read_stored
    from etl.readers.runs import slice_files

    paths = list(row["source_files"])
    if row["frame_kind"] == FrameKind.SLAB:
        data = store.read(paths[0])
        ref = FileRef(role="image", path=paths[0], size=len(data))
        return load(data, ref, None, FrameKind.SLAB).array
    if not paths[0].endswith("/"):
        return read_stored(store.read(paths[0]), paths[0], row["frame"])
    series = Film(
        source=row["source"],
        film_key=row["sample_id"],
        patient_key=row["patient_id"],
        files=tuple(
            FileRef(role=role, path=path, size=0)
            for role, path in zip(("pre", "post"), paths, strict=True)
        ),
        modality=Modality(row["modality"]),
        laterality=Laterality(row["laterality"]),
        frame_kind=FrameKind(row["frame_kind"]),
        frame=row["frame"],
        licence=row["licence"],
    )

    def slices(ref: FileRef) -> Iterator[tuple[str, bytes]]:
        for entry in slice_files(store.list(ref.path), ref.path).entries:
            yield entry.path, store.read(entry.path)

    return load_series(series, slices).array


def _rings(lesion: Row) -> list[Any]:
    rings = lesion["rings_native"]
    if rings is not None and len(rings):
        return [[tuple(point) for point in ring] for ring in rings]
    if lesion["native_x0"] is None or math.isnan(lesion["native_x0"]):
        return []
    x0, y0, x1, y1 = (lesion[f"native_{name}"] for name in ("x0", "y0", "x1", "y1"))
    return [[(x0, y0), (x1, y0), (x1, y1), (x0, y1)]]


def _moved(lesion: Row, placement: Any) -> list[npt.NDArray[np.float64]]:
    return [placement.to_standard(np.array(ring, dtype=float)) for ring in _rings(lesion)]


def _drawn(
    pixels: npt.NDArray[Any], outlines: Sequence[Any], lesions: Sequence[Row], tile: int
) -> Picture:
    height, width = pixels.shape
    scale = min(tile / height, tile / width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(pixels.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    low, high = np.percentile(small, (0.5, 99.8))
    grey = np.clip((small - low) / max(high - low, 1e-6) * 255, 0, 255).astype(np.uint8)
    picture = cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR)
    for rings, lesion in zip(outlines, lesions, strict=True):
        suspect = LesionFlag.SUSPECT in list(lesion["flags"])
        colour = _SUSPECT if suspect else COLOURS[Pathology(lesion["pathology"])]
        closed = lesion["geometry_kind"] != GeometryKind.POLYLINE
        _outline(picture, rings, scale, colour, closed)
    canvas = np.zeros((tile, tile, 3), dtype=np.uint8)
    canvas[: size[1], : size[0]] = picture
    return canvas


def _outline(
    picture: Picture, rings: Sequence[Any], scale: float, colour: tuple[int, ...], closed: bool
) -> None:
    """Draw rings, open ones (polylines) as they are, and a point as a cross, dark edges below."""
    for ring in rings:
        points = np.round(np.asarray(ring).reshape(-1, 1, 2) * scale - 0.5).astype(np.int32)
        for ink, width in (((0, 0, 0), 2), (colour, 1)):
            if len(points) == 1:
                cv2.drawMarker(picture, points[0, 0].tolist(), ink, cv2.MARKER_CROSS, 11, width)
            else:
                cv2.polylines(picture, [points], closed, ink, width, cv2.LINE_AA)


def _captioned(picture: Picture, row: Row, tile: int) -> Picture:
    strip = np.zeros((_CAPTION, tile, 3), dtype=np.uint8)
    view = "-".join(str(row[name]) for name in ("laterality", "view") if row[name])
    turned = "" if row["orientation"] == Orientation.IDENTITY else f" {row['orientation']}"
    lines = (
        f"{row['source']} {view} {row['split']}{turned}",
        f"{row['pathology']} ({row['label_basis']}) {row['annotation']}",
    )
    for number, text in enumerate(lines):
        colour = _INK if number == 0 else COLOURS[Pathology(row["pathology"])]
        cv2.putText(strip, text, (3, 13 + 14 * number), _FONT, 0.38, colour, 1, cv2.LINE_AA)
    return np.concatenate([picture, strip])


def _grid(tiles: Sequence[Picture]) -> Picture:
    columns = min(len(tiles), max(1, math.ceil(math.sqrt(len(tiles) * 1.5))))
    blank = np.zeros_like(tiles[0])
    padded = [*tiles, *[blank] * (-len(tiles) % columns)]
    lines = [
        np.concatenate(padded[start : start + columns], axis=1)
        for start in range(0, len(padded), columns)
    ]
    return np.concatenate(lines)
