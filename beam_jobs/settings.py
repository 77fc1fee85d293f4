"""What a job is asked to do, in one frozen value that travels to every worker."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from typing import Any

from beam_jobs.pool import DEFAULT_MEMORY_BYTES
from schemas.errors import UsageError
from schemas.release import ReleaseInfo
from schemas.spec import Spec

__all__ = ["Settings", "parse_releases"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One call of `mammo-etl index`, `plan` or `run`.

    Parameters
    ----------
    output
        OUT: a local folder or gs:// prefix.
    releases
        (source key, root), sorted by key.
    workers
        Child processes in each worker process; None for one a core, wherever that is.
    base
        `LATEST`, a version, a tag, or `none`: whose other releases are carried over.
    pseudonym_key
        File with the secret; read where the plan is made, never sent to a worker.
    verify_sources
        Read the files of finished shards again and make those anew whose content changed.
    retry_rejects
        Try films again that were rejected for a circumstance.
    dbt_slab
        Also make one slab of each tomosynthesis volume. It adds films and changes none, so that it
        is no part of `spec`, and shards of releases without volumes stay as they are.
    registry, kernel
        Importable names, see `beam_jobs.child.FilmJob`.
    run
        Name of this run: `<utc>-<id>`; never part of a result.
    """

    output: str
    releases: tuple[tuple[str, str], ...]
    spec: Spec = field(default_factory=Spec)
    workers: int | None = None
    base: str = "LATEST"
    tag: str | None = None
    pseudonym_key: str | None = None
    verify_sources: bool = False
    retry_rejects: bool = False
    dbt_slab: bool = False
    memory_bytes: int = DEFAULT_MEMORY_BYTES
    registry: str = "etl.sources:source"
    kernel: str = "etl.pixels.standardise:standardise"
    run: str = ""

    def __post_init__(self) -> None:
        """Refuse what no job can do: `UsageError`."""
        if self.workers is not None and self.workers < 1:
            raise UsageError(f"--workers is {self.workers}: give at least 1")
        if self.tag is not None and not _is_name(self.tag):
            raise UsageError(
                f"--tag is {self.tag!r}: use letters, digits, dots, dashes and underscores, and "
                "begin with a letter"
            )

    @property
    def children(self) -> int:
        """Child processes on this machine."""
        if self.workers is not None:
            return self.workers
        if hasattr(os, "sched_getaffinity"):
            return len(os.sched_getaffinity(0))
        return os.cpu_count() or 1

    def slabs_of(self, info: ReleaseInfo) -> bool:
        """Say whether slabs are to be made of this release's volumes."""
        return self.dbt_slab and info.slabs

    def made_with(self, info: ReleaseInfo) -> dict[str, Any]:
        """Return what dataset.json says of a release's making: the spec, and `dbt_slab` if so."""
        spec: dict[str, Any] = json.loads(self.spec.key())
        return {**spec, "dbt_slab": True} if self.slabs_of(info) else spec

    def root(self, source: str) -> str:
        """Return where this source's release lies."""
        return dict(self.releases)[source]


def _is_name(text: str) -> bool:
    plain = text.replace("-", "").replace("_", "").replace(".", "")
    return bool(plain) and plain.isalnum() and text[0].isalpha() and len(text) <= 64


def parse_releases(texts: list[str]) -> tuple[tuple[str, str], ...]:
    """Return (key, root) pairs from `KEY=PATH` texts, sorted by key.

    >>> parse_releases(["mias=gs://films/mias"])
    (('mias', 'gs://films/mias'),)
    """
    releases: dict[str, str] = {}
    for text in texts:
        key, equals, path = text.partition("=")
        if not (key and equals and path):
            raise UsageError(
                f"--release is {text!r}: write KEY=PATH, such as mias=/data/mias; "
                "`mammo-etl sources` lists the keys"
            )
        if key in releases:
            raise UsageError(f"--release names {key} twice: put its files under one root")
        releases[key] = path if "://" in path else os.path.abspath(os.path.expanduser(path))
    return tuple(sorted(releases.items()))
