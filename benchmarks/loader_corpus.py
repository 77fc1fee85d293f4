"""A corpus of breast-like films for the loader's benchmark, written by the product's own writer.

Films are drawn: 1/f texture and noise in the outline of a breast, 16 bits, 2000 x 1000 pixels give
or take 30 %. Shards hold equally many, so that no reader that gives whole shards to its workers is
slowed down by an uneven last one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import google_crc32c
import numpy as np
import numpy.typing as npt

from beam_jobs.tar import TarWriter
from etl.pixels.encode import encode_image, encode_mask
from schemas.columns import to_table
from schemas.corpus import LATEST
from schemas.dataset import Dataset
from schemas.lesions import LESION_SCHEMA
from schemas.manifest import MANIFEST_SCHEMA
from schemas.receipt import parquet_bytes
from schemas.sample import member_names, to_json_bytes
from schemas.store import Store, open_store
from schemas.version import FORMAT_VERSION, PIPELINE_VERSION

__all__ = ["films", "write"]

Payload = Literal["png", "jxl"]
Picture = npt.NDArray[np.uint16]
Row = dict[str, Any]

VERSION = "v-0123456789ab"
SOURCE = "drawn"
_TEXTURES = 8
_SPREAD = 0.3


def films(count: int, shape: tuple[int, int] = (2000, 1000)) -> Iterator[Picture]:
    """Draw films (uint16) of about `shape`, always the same ones."""
    rng = np.random.default_rng(3)
    high, wide = (round(side * (1 + _SPREAD)) + 1 for side in shape)
    textures = [_texture(rng, (high, wide)) for _ in range(min(_TEXTURES, count))]
    for number in range(count):
        scale = rng.uniform(1 - _SPREAD, 1 + _SPREAD)
        rows, columns = (round(side * scale) for side in shape)
        top, left = rng.integers(high - rows + 1), rng.integers(wide - columns + 1)
        texture = textures[number % len(textures)][top : top + rows, left : left + columns]
        noise = rng.standard_normal((rows, columns), dtype=np.float32)
        grey = 30000 + 6000 * texture[:: rng.choice((-1, 1))] + 150 * noise
        y, x = np.mgrid[:rows, :columns].astype(np.float32)
        tissue = ((y - rows / 2) / (rows / 2)) ** 2 + (x / columns) ** 2 < 1
        yield np.where(tissue, np.clip(grey, 1, 65535), 0).astype(np.uint16)


def _texture(rng: np.random.Generator, shape: tuple[int, int]) -> npt.NDArray[np.float32]:
    down, right = np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])[None, :]
    fall = 1 / np.maximum(np.hypot(down, right), 1 / max(shape)) ** 1.5
    waves = np.fft.rfft2(rng.standard_normal(shape)) * fall
    field = np.fft.irfft2(waves, shape)
    return np.asarray((field - field.mean()) / field.std(), dtype=np.float32)


def write(root: str, drawn: Iterator[Picture], payload: Payload, per_shard: int) -> int:
    """Write a version of one source, all films in train; return the mean size of an image."""
    store, rows, batch = open_store(root), [], []
    for number, image in enumerate(drawn):
        batch.append((number, image))
        if len(batch) == per_shard:
            rows += _shard(store, batch, payload)
            batch = []
    rows += _shard(store, batch, payload) if batch else []
    manifest = parquet_bytes(to_table(rows, MANIFEST_SCHEMA))
    store.create(f"{VERSION}/manifest/{SOURCE}.parquet", manifest)
    lesions = parquet_bytes(to_table([], LESION_SCHEMA))
    store.create(f"{VERSION}/lesions/{SOURCE}.parquet", lesions)
    store.create(f"{VERSION}/dataset.json", _dataset(rows).to_bytes())
    store.swap(LATEST, f"{VERSION}\n".encode(), None)
    return sum(int(row["image_size"]) for row in rows) // len(rows)


def _shard(store: Store, batch: list[tuple[int, Picture]], payload: Payload) -> list[Row]:
    with store.temporary("benchmark") as folder:
        with TarWriter(folder / "shard.tar") as tar:
            rows = [_sample(tar, number, image, payload) for number, image in batch]
        path = f"shards/{SOURCE}/train/{batch[0][0]:016x}-{tar.sha256[:12]}.tar"
        store.create_from_file(path, folder / "shard.tar", tar.crc32c)
    return [row | {"shard": path} for row in rows]


def _sample(tar: TarWriter, number: int, image: Picture, payload: Payload) -> Row:
    row = _row(number, image)
    picture, mask = encode_image(image, payload), encode_mask(_mask(image))
    facts = to_json_bytes(row, ())
    names = member_names(row["sample_id"], payload, True)
    offsets = [
        tar.add(name, data) for name, data in zip(names, (picture, mask, facts), strict=True)
    ]
    return row | {
        "image_offset": offsets[0], "image_size": len(picture),
        "image_crc32c": google_crc32c.value(picture),
        "mask_offset": offsets[1], "mask_size": len(mask), "mask_crc32c": google_crc32c.value(mask),
        "json_offset": offsets[2], "json_size": len(facts),
    }  # fmt: skip


def _mask(image: Picture) -> npt.NDArray[np.uint8]:
    mask = np.zeros(image.shape, np.uint8)
    rows, columns = image.shape
    mask[rows // 2 : rows * 3 // 5, columns // 4 : columns // 2] = 1
    return mask


def _row(number: int, image: Picture) -> Row:
    height, width = image.shape
    return {
        "sample_id": f"{SOURCE}-{number:012x}", "source": SOURCE, "film_key": str(number),
        "patient_id": f"{SOURCE}:{number}", "split_key": f"{SOURCE}:{number}", "modality": "FFDM",
        "view": "MLO", "laterality": "L", "spot_mag": False, "frame_kind": "image",
        "pathology": "unknown", "label_basis": "unknown", "label_scope": "image", "findings": [],
        "annotation": "complete", "n_lesions": 0, "native_height": height, "native_width": width,
        "native_pixel_mm": [0.1, 0.1], "spacing_source": "header", "height": height,
        "width": width, "pixel_mm": 0.1, "mm_eff": 0.1, "mm_nominal": False,
        "orientation": "identity", "crop_x": 0, "crop_y": 0, "scale": [1.0, 1.0],
        "bits_stored": 16, "photometric": "MONOCHROME2", "window_kind": "none",
        "breast_fraction": 0.78, "p01": 0.0, "p50": 0.0, "p99": 0.0, "mean": 0.0,
        "source_sha256": "0" * 64, "pixel_sha256": "0" * 64, "phash": "0" * 64, "split": "train",
        "split_origin": "hash", "quality_flags": [], "licence": "none", "redistributable": True,
        "weights_releasable": True, "citation": "none", "pipeline_version": PIPELINE_VERSION,
        "spec": "{}",
    }  # fmt: skip


def _dataset(rows: list[Row]) -> Dataset:
    count, shards = len(rows), len({row["shard"] for row in rows})
    counts = {
        "planned": count, "made": count, "rejected": 0, "absent": 0, "patients": count,
        "lesions": 0, "shards": shards, "by_split": {"train": count},
        "by_pathology": {"unknown": count}, "by_reject_reason": {},
    }  # fmt: skip
    summary = {
        "title": SOURCE, "licence": "none", "licence_title": "none", "redistributable": True,
        "weights_releasable": True, "citation": "none", "url": "", "spec": {},
        "pipeline_versions": [PIPELINE_VERSION], "receipts_digest": "", "receipts": [],
        "counts": counts,
    }  # fmt: skip
    about = {"format_version": FORMAT_VERSION, "name": VERSION, "pseudonymised": False, "audit": {}}
    return Dataset.model_validate(about | {"sources": {SOURCE: summary}})
