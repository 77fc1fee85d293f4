"""Tiny corpora with known content, written as design has them: tars, manifest, lesions, LATEST.

Films are grey noise on a half-disc of tissue; a benign lesion is a bright disc, a malignant one a
bright star of the same radius. Nothing here calls the kernel or the trainer.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import cv2
import google_crc32c
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from schemas.columns import to_table
from schemas.dataset import Dataset
from schemas.lesions import LESION_SCHEMA
from schemas.manifest import MANIFEST_SCHEMA, SAMPLE_COLUMNS
from schemas.store import Store, open_store
from schemas.version import FORMAT_VERSION, PIPELINE_VERSION

VERSION = "v-0123456789ab"
MASK_VALUES = {"benign": 1, "malignant": 2, "unknown": 3, "ignore": 255}


@dataclass(frozen=True)
class Mark:
    """A lesion: centre and radius in standard pixels. ``ignore`` draws 255 and flags it suspect."""

    pathology: str
    x: float
    y: float
    r: float = 12.0
    drawn: bool = True


@dataclass(frozen=True)
class TinyFilm:
    """One sample; `pathology` None is the worst of its marks, or normal."""

    key: str
    patient: str
    split: str = "train"
    marks: tuple[Mark, ...] = ()
    pathology: str | None = None
    annotation: str = "complete"
    size: tuple[int, int] = (160, 120)
    mm: float = 0.5
    source: str = "mias"
    row: dict[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        words = [mark.pathology for mark in self.marks]
        worst = next((w for w in ("malignant", "benign") if w in words), None)
        return self.pathology or worst or ("unknown" if words else "normal")


def tiny_films(
    patients: int = 20, seed: int = 0, size: tuple[int, int] = (160, 120)
) -> list[TinyFilm]:
    """Return two films a patient: normal, benign and malignant in turn; splits 3:1:1."""
    made = []
    for p in range(patients):
        split = ("train", "train", "train", "val", "test")[p % 5]
        for side in "LR":
            rng = np.random.default_rng([seed, p, ord(side)])
            kind = ("normal", "benign", "malignant")[(p + (side == "R")) % 3]
            x, y = rng.uniform(25, size[1] * 0.5), rng.uniform(40, size[0] - 40)
            marks = () if kind == "normal" else (Mark(kind, float(x), float(y)),)
            made.append(TinyFilm(f"p{p:03d}{side}", f"p{p:03d}", split, marks, size=size))
    return made


def picture(film: TinyFilm) -> npt.NDArray[np.uint16]:
    """Return the film's pixels (uint16), the same for the same key."""
    height, width = film.size
    rng = np.random.default_rng(list(film.key.encode()))
    noise = cv2.GaussianBlur(rng.standard_normal((height, width)), (0, 0), 3)
    image = 22000 + 6000 * noise / noise.std() + rng.normal(0, 600, (height, width))
    for mark in film.marks:
        image += 22000 * _shape(mark, film.size)
    y, x = np.mgrid[:height, :width] + 0.5
    tissue = ((y - height / 2) / (height / 2)) ** 2 + (x / width) ** 2 < 1
    return np.where(tissue, np.clip(image, 1, 65535), 0).astype(np.uint16)


def _shape(mark: Mark, size: tuple[int, int]) -> npt.NDArray[np.float64]:
    y, x = np.mgrid[: size[0], : size[1]] + 0.5
    far, angle = np.hypot(x - mark.x, y - mark.y), np.arctan2(y - mark.y, x - mark.x)
    star = 0.6 + 0.6 * np.cos(3.5 * angle) ** 2 if mark.pathology == "malignant" else 1.0
    return np.asarray(far < mark.r * star, dtype=np.float64)


def mask_of(film: TinyFilm) -> npt.NDArray[np.uint8]:
    """Return the film's mask (uint8): drawn marks as filled circles."""
    mask = np.zeros(film.size, np.uint8)
    y, x = np.mgrid[: film.size[0], : film.size[1]] + 0.5
    for mark in film.marks:
        if mark.drawn:
            inside = np.hypot(x - mark.x, y - mark.y) < mark.r
            mask[inside] = np.maximum(mask[inside], MASK_VALUES[mark.pathology])
    return mask


def sample_of(film: TinyFilm) -> str:
    """Return the film's sample id."""
    return f"{film.source}-{film.key}"


def write_corpus(
    root: str,
    films: Iterable[TinyFilm],
    *,
    payload: str = "png",
    per_shard: int = 8,
    lesion_columns: dict[str, Any] | None = None,
) -> Store:
    """Write one version with these films and return its store; `root` local or gs://.

    ``lesion_columns`` are set in all rows of the lesions table.
    """
    store = open_store(root)
    films = sorted(films, key=lambda film: (film.source, film.split, film.key))
    rows: dict[str, list[dict[str, Any]]] = {}
    marks: dict[str, list[dict[str, Any]]] = {}
    for source in sorted({film.source for film in films}):
        rows[source], marks[source] = [], []
        for split in ("test", "train", "val"):
            part = [f for f in films if (f.source, f.split) == (source, split)]
            for first in range(0, len(part), per_shard):
                shard = f"shards/{source}/{split}/{first // per_shard:04d}-tiny.tar"
                made = _write_shard(store, shard, part[first : first + per_shard], payload)
                rows[source] += made
        for film in films:
            if film.source == source:
                marks[source] += [row | (lesion_columns or {}) for row in lesion_rows(film)]
    for source in rows:
        _write_table(store, f"{VERSION}/manifest/{source}.parquet", rows[source], MANIFEST_SCHEMA)
        _write_table(store, f"{VERSION}/lesions/{source}.parquet", marks[source], LESION_SCHEMA)
    store.create(f"{VERSION}/dataset.json", _dataset(rows, marks).to_bytes())
    store.swap("LATEST", f"{VERSION}\n".encode(), None)
    return store


def _write_shard(
    store: Store, shard: str, films: Sequence[TinyFilm], payload: str
) -> list[dict[str, Any]]:
    out, rows = io.BytesIO(), []
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for film in films:
            row = manifest_row(film) | {"shard": shard}
            for name, suffix, data in _members(film, row, payload):
                entry = tarfile.TarInfo(f"{row['sample_id']}.{suffix}")
                entry.size = len(data)
                row[f"{name}_offset"], row[f"{name}_size"] = out.tell() + 512, len(data)
                if name != "json":
                    row[f"{name}_crc32c"] = google_crc32c.value(data)
                tar.addfile(entry, io.BytesIO(data))
            rows.append(row)
    assert store.create(shard, out.getvalue())
    return rows


def _members(film: TinyFilm, row: dict[str, Any], payload: str) -> list[tuple[str, str, bytes]]:
    if payload == "jxl":
        import imagecodecs

        image = imagecodecs.jpegxl_encode(picture(film), lossless=True, effort=1)
    else:
        image = cv2.imencode(".png", picture(film))[1].tobytes()
    facts = {c.name: row.get(c.name) for c in SAMPLE_COLUMNS} | {"lesions": lesion_rows(film)}
    members = [("image", payload, image)]
    if film.annotation != "none":
        members.append(("mask", "mask.png", cv2.imencode(".png", mask_of(film))[1].tobytes()))
    return [*members, ("json", "json", json.dumps(facts, sort_keys=True).encode())]


def manifest_row(film: TinyFilm) -> dict[str, Any]:
    """Return the film's manifest row without the columns of where."""
    height, width = film.size
    return {
        "sample_id": sample_of(film), "source": film.source, "film_key": film.key,
        "patient_id": f"{film.source}:{film.patient}", "split_key": f"{film.source}:{film.patient}",
        "modality": "SFM", "view": "MLO", "laterality": "L", "spot_mag": False,
        "frame_kind": "image", "pathology": film.label, "label_basis": "reader",
        "label_scope": "image", "findings": ["mass"] if film.marks else [],
        "annotation": film.annotation, "n_lesions": len(film.marks), "native_height": height,
        "native_width": width, "native_pixel_mm": [film.mm, film.mm],
        "spacing_source": "documented", "height": height, "width": width, "pixel_mm": film.mm,
        "mm_eff": film.mm, "mm_nominal": False, "orientation": "identity", "crop_x": 0, "crop_y": 0,
        "scale": [1.0, 1.0], "bits_stored": 8, "photometric": "MONOCHROME2", "window_kind": "none",
        "breast_fraction": 0.78, "p01": 1.0, "p50": 2.0, "p99": 3.0, "mean": 2.0,
        "source_sha256": "0" * 64, "pixel_sha256": "0" * 64, "phash": "0" * 64,
        "split": film.split, "split_origin": "hash", "quality_flags": [], "licence": "test",
        "redistributable": True, "weights_releasable": True, "citation": "none",
        "pipeline_version": PIPELINE_VERSION, "spec": "{}",
    } | film.row  # fmt: skip


def lesion_rows(film: TinyFilm) -> list[dict[str, Any]]:
    """Return the film's rows of the lesions table; a mark that is not drawn has no geometry."""
    rows = []
    for number, mark in enumerate(film.marks):
        x, y, r = mark.x, mark.y, mark.r
        box = {"x0": x - r, "y0": y - r, "x1": x + r, "y1": y + r}
        native = {f"native_{name}": value for name, value in box.items()}
        ignored = mark.pathology == "ignore"
        rows.append({
            "sample_id": sample_of(film), "lesion_id": str(number), "finding": "mass",
            "pathology": "unknown" if ignored else mark.pathology, "label_basis": "reader",
            "shape": [], "margin": [], "calc_type": [], "distribution": [],
            "flags": ["suspect"] if ignored else [],
            **({"geometry_kind": "circle", **box, **native} if mark.drawn else {}),
        })  # fmt: skip
    return rows


def _write_table(store: Store, path: str, rows: list[dict[str, Any]], schema: pa.Schema) -> None:
    rows = sorted(rows, key=lambda row: (row["sample_id"], row.get("lesion_id", "")))
    out = pa.BufferOutputStream()
    pq.write_table(to_table(rows, schema), out)
    assert store.create(path, out.getvalue().to_pybytes())


def _dataset(rows: dict[str, Any], marks: dict[str, Any]) -> Dataset:
    sources = {}
    for source, made in rows.items():
        counts = {
            "planned": len(made), "made": len(made), "rejected": 0, "absent": 0,
            "patients": len({row["patient_id"] for row in made}), "lesions": len(marks[source]),
            "shards": len({row["shard"] for row in made}),
            "by_split": _count(made, "split"), "by_pathology": _count(made, "pathology"),
            "by_reject_reason": {},
        }  # fmt: skip
        sources[source] = {
            "title": "tiny", "licence": "test", "licence_title": "test", "redistributable": True,
            "weights_releasable": True, "citation": "none", "url": "", "spec": {},
            "pipeline_versions": [PIPELINE_VERSION], "receipts_digest": "", "receipts": [],
            "counts": counts,
        }  # fmt: skip
    return Dataset.model_validate({
        "format_version": FORMAT_VERSION, "name": VERSION, "pseudonymised": False, "audit": {},
        "sources": sources,
    })  # fmt: skip


def _count(rows: list[dict[str, Any]], column: str) -> dict[str, int]:
    words = [row[column] for row in rows]
    return {word: words.count(word) for word in sorted(set(words))}


def with_row(film: TinyFilm, **columns: Any) -> TinyFilm:
    """Return the film with other values in its manifest row."""
    return replace(film, row=film.row | columns)
