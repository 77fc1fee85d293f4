"""Publish a version: its last files, then LATEST.

dataset.json is the last file of a version, LATEST moves after it, by compare-and-swap. Where
another job moved LATEST meanwhile, its releases are carried over and the version is made again with
them, so two jobs lose nothing of each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from beam_jobs.compact import audited, compact
from beam_jobs.draft import Compacted, Draft, pointer, reconcile
from beam_jobs.settings import Settings
from etl.audit import AuditSettings
from schemas.columns import to_table
from schemas.corpus import LATEST
from schemas.dataset import Dataset
from schemas.errors import MammoError
from schemas.receipt import parquet_bytes
from schemas.rejects import ABSENT_SCHEMA, REJECT_SCHEMA
from schemas.store import Store, open_store
from schemas.version import FORMAT_VERSION

__all__ = ["publish"]

_ATTEMPTS = 20


def publish(draft: Draft, parts: Iterable[Compacted], settings: Settings) -> Draft:
    """Publish a version and point LATEST (and the tag) to it; return what was published.

    Where LATEST moved since the draft, the draft is made anew on top of the other job's version.
    """
    store = open_store(settings.output)
    for _ in range(_ATTEMPTS):
        _write_version(store, draft, sorted(parts, key=lambda part: part.source), settings)
        if _move_latest(store, draft, settings):
            break
        draft = audited(reconcile(draft.outcomes, settings, draft.plan), settings)
        parts = [compact(draft, source, settings) for source in draft.sources]
    else:
        raise MammoError(
            f"version {draft.version} is complete, but {LATEST} at {store.root} kept moving: too "
            "many jobs publish there at once; run this one again"
        )
    if settings.tag is not None:
        _point(store, f"tags/{settings.tag}", draft.version)
    return draft


def _write_version(
    store: Store, draft: Draft, parts: Sequence[Compacted], settings: Settings
) -> None:
    path = f"{draft.version}/dataset.json"
    if store.stat(path) is not None:
        return
    for name, schema in (("rejects", REJECT_SCHEMA), ("absent", ABSENT_SCHEMA)):
        rows = [row for part in parts for row in (part.rejects, part.absents)[name == "absent"]]
        rows.sort(key=lambda row: tuple(str(row[column]) for column in schema.names))
        store.create(f"{draft.version}/{name}.parquet", parquet_bytes(to_table(rows, schema)))
    dataset = Dataset(
        format_version=FORMAT_VERSION,
        name=draft.version,
        pseudonymised=settings.pseudonym_key is not None,
        audit=AuditSettings().to_dict(),
        sources={part.source: part.summary for part in parts},
    )
    store.create(path, dataset.to_bytes())


def _move_latest(store: Store, draft: Draft, settings: Settings) -> bool:
    current = pointer(store, LATEST)
    if current == draft.version:
        return True
    if settings.base == LATEST and current != draft.latest:
        return False
    return store.swap(LATEST, _line(draft.version), None if current is None else _line(current))


def _point(store: Store, path: str, version: str) -> None:
    for _ in range(_ATTEMPTS):
        current = pointer(store, path)
        expected = None if current is None else _line(current)
        if current == version or store.swap(path, _line(version), expected):
            return
    raise MammoError(f"{path} at {store.root} kept moving: run again")


def _line(version: str) -> bytes:
    return f"{version}\n".encode()
