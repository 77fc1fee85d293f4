"""dataset.json: the last file of a version, and the first that a reader opens.

It names the version's releases with their licences and counts, the spec, and the digests that
make its name. No times, no hosts: same work, same bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from schemas.errors import MammoError
from schemas.version import FORMAT_VERSION

__all__ = ["Dataset", "SourceCounts", "SourceSummary", "version_name"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SourceCounts(_Frozen):
    """planned = made + rejected + absent: every film that the release speaks of."""

    planned: int
    made: int
    rejected: int
    absent: int
    patients: int
    lesions: int
    shards: int
    by_split: dict[str, int]
    by_pathology: dict[str, int]
    by_reject_reason: dict[str, int]


class SourceSummary(_Frozen):
    """One release of a version."""

    title: str
    licence: str
    licence_title: str
    redistributable: bool
    weights_releasable: bool
    citation: str
    url: str
    spec: dict[str, Any]
    pipeline_versions: list[int]
    receipts_digest: str
    receipts: list[str]
    counts: SourceCounts


class Dataset(_Frozen):
    """Content of dataset.json."""

    format_version: int
    name: str
    tags: list[str] = []
    pseudonymised: bool
    audit: dict[str, Any]
    sources: dict[str, SourceSummary]

    def to_bytes(self) -> bytes:
        """Return the file's bytes: sorted, indented for people, one final newline."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True, indent=1)
        return text.encode() + b"\n"

    @classmethod
    def from_bytes(cls, data: bytes, name: str) -> Dataset:
        """Return the content of a dataset.json; `MammoError` naming the file if it is none."""
        try:
            dataset = cls.model_validate_json(data)
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"])
            raise MammoError(
                f"{name} is no dataset.json of this project ({field}: {first['msg']}): check the "
                "path, or make the version again with `mammo-etl run`"
            ) from error
        if dataset.format_version > FORMAT_VERSION:
            raise MammoError(f"{name} was written by a newer mammo-corpus: upgrade this one")
        return dataset


def version_name(receipt_digests: Mapping[str, str], audit: Mapping[str, Any]) -> str:
    """Return `v-<12 hex>` from each source's digest of its receipts and the audit's parameters."""
    text = json.dumps(
        {"format": FORMAT_VERSION, "sources": dict(receipt_digests), "audit": dict(audit)},
        sort_keys=True,
        separators=(",", ":"),
    )
    return f"v-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
