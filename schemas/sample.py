"""The sample: an image as the corpus has it, and its members in a shard.

Members of sample KEY: `KEY.png` or `KEY.jxl` (16-bit grey), `KEY.mask.png` (uint8, only where
annotation is not `none`), `KEY.json` (the sample's own facts and its lesions). Same film, same
spec, same `PIPELINE_VERSION`: same bytes.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from schemas.columns import rounded
from schemas.vocabulary import Pathology

__all__ = [
    "MASK_BENIGN",
    "MASK_IGNORE",
    "MASK_MALIGNANT",
    "MASK_NONE",
    "MASK_UNKNOWN",
    "MASK_VALUE",
    "NOMINAL_LONG_SIDE_MM",
    "Sample",
    "member_names",
    "sample_id",
    "to_json_bytes",
]

MASK_NONE = 0
MASK_BENIGN = 1
MASK_MALIGNANT = 2
MASK_UNKNOWN = 3
MASK_IGNORE = 255

MASK_VALUE = {
    Pathology.BENIGN: MASK_BENIGN,
    Pathology.MALIGNANT: MASK_MALIGNANT,
    Pathology.UNKNOWN: MASK_UNKNOWN,
    Pathology.NORMAL: MASK_UNKNOWN,
}
"""Value of a lesion's pixels. A region that a release draws and calls normal is a lesion of unknown
pathology. Where lesions overlap the worse wins: 2 over 3 over 1; 255 only where nothing else is."""

NOMINAL_LONG_SIDE_MM = 204.8
"""Assumed long side of a breast box where the spacing is unknown: 0.1 mm at 2048 pixels."""


def sample_id(source: str, film_key: str) -> str:
    """Return `<source>-<12 hex>` for a film.

    >>> sample_id("mias", "mdb001")
    'mias-b3485081ebb8'
    """
    digest = hashlib.sha256(f"{source}\0{film_key}".encode()).hexdigest()
    return f"{source}-{digest[:12]}"


def member_names(key: str, payload: str, has_mask: bool) -> tuple[str, ...]:
    """Return the member names of a sample in the order in which they lie in the tar."""
    names = [f"{key}.{payload}", f"{key}.mask.png", f"{key}.json"]
    return tuple(name for name in names if has_mask or not name.endswith(".mask.png"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What the kernel made of one film.

    Parameters
    ----------
    row
        Columns of the manifest that kernel and source fill: all of `SAMPLE_COLUMNS` but
        sample_id, split and split_origin, which the job adds.
    lesions
        Rows of the lesions table, without sample_id.
    image
        Encoded standard image (uint16, height x width of the row).
    mask
        Encoded mask (uint8, same size), or None where annotation is `none`.
    thumbnail
        Small grey picture for the audit: raw bytes, see `etl.fingerprint`.
    """

    row: dict[str, Any]
    lesions: tuple[dict[str, Any], ...]
    image: bytes
    mask: bytes | None
    thumbnail: bytes


def to_json_bytes(row: dict[str, Any], lesions: tuple[dict[str, Any], ...]) -> bytes:
    """Return KEY.json: sorted keys, floats rounded, lesions under `lesions`, one line."""
    text = json.dumps(
        rounded({**row, "lesions": list(lesions)}),
        sort_keys=True,
        separators=(",", ":"),
        ensure_ascii=True,
    )
    return text.encode() + b"\n"
