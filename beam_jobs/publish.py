"""From receipts to a version: reconcile, audit, compact, publish. Rows and names, never pixels.

A version is a function of its receipts, rejects, absents and the audit's settings, so the same work
has the same name and the same bytes, and a version that is there already is only pointed to.
dataset.json is the last file of a version, LATEST moves after it. Where another job moved LATEST
meanwhile, its releases are carried over and the version is made again with them.
"""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from beam_jobs.child import imported
from beam_jobs.planning import is_private
from beam_jobs.privacy import carry_join, write_join
from beam_jobs.settings import Settings
from etl.audit import AUDIT_COLUMNS, AuditFinding, AuditSettings, audit
from schemas.columns import row_digest, to_table
from schemas.corpus import LATEST
from schemas.dataset import Dataset, SourceCounts, SourceSummary, version_name
from schemas.errors import MammoError, UsageError
from schemas.lesions import LESION_SCHEMA
from schemas.manifest import MANIFEST_SCHEMA
from schemas.receipt import parquet_bytes
from schemas.rejects import ABSENT_SCHEMA, REJECT_SCHEMA
from schemas.store import Store, open_store
from schemas.version import FORMAT_VERSION

__all__ = [
    "Compacted",
    "Draft",
    "Outcome",
    "audited",
    "base_of",
    "compact",
    "publish",
    "reconcile",
]

_READERS = 8
_ATTEMPTS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one task: its receipt's name and counts, or why there is none."""

    source: str
    task_id: str
    films: int
    receipt: str = ""
    digest: str = ""
    samples: int = 0
    rejected: int = 0
    fresh: bool = False
    seconds: float = 0.0
    failure: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceDraft:
    """One release of a version that is being made."""

    receipts: tuple[str, ...]
    digest: str
    planned: int = 0
    carried: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A version that is being made.

    Parameters
    ----------
    base
        The version whose other releases are carried over.
    latest
        What LATEST said when the draft was made.
    """

    version: str
    base: str | None
    latest: str | None
    plan: str
    sources: Mapping[str, SourceDraft]
    outcomes: tuple[Outcome, ...]
    findings: tuple[AuditFinding, ...] = ()


@dataclass(frozen=True, slots=True)
class Compacted:
    """What compacting one release gave: its summary, and its reject and absent rows."""

    source: str
    summary: SourceSummary
    rejects: tuple[dict[str, Any], ...] = field(default=())
    absents: tuple[dict[str, Any], ...] = field(default=())


# ---- reconcile


def base_of(store: Store, name: str) -> str | None:
    """Return the version that `--base` means: LATEST, none, a version or a tag."""
    if name == "none":
        return None
    if name == LATEST:
        return _pointer(store, LATEST)
    version = _pointer(store, f"tags/{name}") or name
    if store.stat(f"{version}/dataset.json") is None:
        raise UsageError(
            f"--base is {name!r} and {store.root} has no such version: leave it out for the "
            "newest one, or give `none`"
        )
    return version


def _pointer(store: Store, path: str) -> str | None:
    if store.stat(path) is None:
        return None
    return store.read(path).decode().strip()


def reconcile(outcomes: Iterable[Outcome], settings: Settings, plan: str) -> Draft:
    """Check that every planned film is a sample or a reject, and name the version.

    Raises
    ------
    MammoError
        A task failed, or a film is missing: nothing is published.
    """
    store = open_store(settings.output)
    real = [outcome for outcome in outcomes if outcome.task_id]
    done = tuple(sorted(real, key=lambda outcome: (outcome.source, outcome.task_id)))
    _refuse_failures(done)
    rejects, absents = _plan_rows(store, plan, "rejects"), _plan_rows(store, plan, "absent")
    _refuse_missing(store, plan, done)
    sources = {}
    for key, _ in settings.releases:
        mine = [outcome for outcome in done if outcome.source == key]
        extra = [row for row in (*rejects, *absents) if row["source"] == key]
        sources[key] = SourceDraft(
            receipts=tuple(sorted(outcome.receipt for outcome in mine)),
            digest=_digest(mine, extra, settings),
            planned=sum(o.films for o in mine) + sum(row["source"] == key for row in rejects),
        )
    latest = _pointer(store, LATEST)
    base = base_of(store, settings.base)
    sources |= _carried(store, base, settings)
    digests = {key: draft.digest for key, draft in sources.items()}
    return Draft(
        version=version_name(digests, AuditSettings().to_dict()),
        base=base,
        latest=latest,
        plan=plan,
        sources=dict(sorted(sources.items())),
        outcomes=done,
    )


def _refuse_failures(outcomes: Sequence[Outcome]) -> None:
    failed = [outcome for outcome in outcomes if outcome.failure]
    if failed:
        lines = "".join(f"\n  {o.source} task {o.task_id}: {o.failure}" for o in failed[:20])
        more = f"\n  and {len(failed) - 20} more" if len(failed) > 20 else ""
        raise MammoError(
            f"{len(failed)} of {len(outcomes)} shards could not be made, so no version was "
            f"published; the finished ones are kept, run again to make the rest:{lines}{more}"
        )


def _refuse_missing(store: Store, plan: str, outcomes: Sequence[Outcome]) -> None:
    planned = Counter(row["task_id"] for row in _plan_rows(store, plan, "tasks", ["task_id"]))
    made = {outcome.task_id: outcome.samples + outcome.rejected for outcome in outcomes}
    wrong = {task: made.get(task, 0) for task in planned if made.get(task, 0) != planned[task]}
    if wrong:
        table = "".join(
            f"\n  task {task}: {planned[task]} planned, {count} made or rejected"
            for task, count in sorted(wrong.items())[:20]
        )
        raise MammoError(
            f"{len(wrong)} shards do not hold what was planned, so no version was published; "
            f"delete their receipts and run again:{table}"
        )


def _plan_rows(
    store: Store, plan: str, name: str, columns: list[str] | None = None
) -> list[dict[str, Any]]:
    filesystem, base = store.arrow()
    table = pq.read_table(f"{base}/{plan}/{name}.parquet", columns=columns, filesystem=filesystem)
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows


def _digest(outcomes: Sequence[Outcome], rows: Sequence[Any], settings: Settings) -> str:
    names = sorted((outcome.receipt, outcome.digest) for outcome in outcomes)
    head = {"spec": settings.spec.key(), "receipts": [list(name) for name in names]}
    return row_digest([head, *rows])


def _carried(store: Store, base: str | None, settings: Settings) -> dict[str, SourceDraft]:
    if base is None:
        return {}
    dataset = _dataset(store, base)
    named = {key for key, _ in settings.releases}
    carried = {key: s for key, s in dataset.sources.items() if key not in named}
    if carried and dataset.pseudonymised != (settings.pseudonym_key is not None):
        raise UsageError(
            f"version {base} {'has' if dataset.pseudonymised else 'has no'} pseudonyms and this "
            "run is to do otherwise: use the same --pseudonym-key as before, or --base none"
        )
    return {
        key: SourceDraft(
            receipts=tuple(summary.receipts),
            digest=summary.receipts_digest,
            planned=summary.counts.planned,
            carried=True,
        )
        for key, summary in carried.items()
    }


def _dataset(store: Store, version: str) -> Dataset:
    path = f"{version}/dataset.json"
    return Dataset.from_bytes(store.read(path), f"{store.root}/{path}")


# ---- audit


def audited(draft: Draft, settings: Settings) -> Draft:
    """Return the draft with what the audit found over all its releases."""
    store = open_store(settings.output)
    if store.stat(f"{draft.version}/dataset.json") is not None:
        return draft
    rows: list[dict[str, Any]] = []
    thumbnails: dict[str, bytes] = {}
    paths = [path for source in draft.sources.values() for path in source.receipts]
    for table in _tables(store, paths):
        samples = _samples(table)
        rows += samples.select(list(AUDIT_COLUMNS)).to_pylist()
        pictures = table["thumbnail"].drop_null().to_pylist()
        thumbnails |= dict(zip(samples["sample_id"].to_pylist(), pictures, strict=True))
    return replace(draft, findings=tuple(audit(rows, thumbnails)))


def _tables(store: Store, paths: Sequence[str]) -> Iterable[pa.Table]:
    """Yield the receipts' tables in the order of their names, a few read ahead."""
    with ThreadPoolExecutor(_READERS) as readers:
        for start in range(0, len(paths), 4 * _READERS):
            batch = paths[start : start + 4 * _READERS]
            yield from readers.map(lambda path: pq.read_table(io.BytesIO(store.read(path))), batch)


def _samples(table: pa.Table) -> pa.Table:
    return pa.Table.from_struct_array(table["row"].drop_null())


# ---- compact


def compact(draft: Draft, source: str, settings: Settings) -> Compacted:
    """Write one release's manifest and lesions; return its summary."""
    store = open_store(settings.output)
    mine = draft.sources[source]
    if store.stat(f"{draft.version}/dataset.json") is not None:
        return Compacted(source, _dataset(store, draft.version).sources[source])
    tables = list(_tables(store, mine.receipts))
    manifest = _manifest(tables, draft.findings)
    lesions = _lesions(tables)
    store.create(f"{draft.version}/manifest/{source}.parquet", parquet_bytes(manifest))
    store.create(f"{draft.version}/lesions/{source}.parquet", parquet_bytes(lesions))
    if mine.carried and draft.base is not None:
        carry_join(store, draft.base, draft.version, source)
        return Compacted(
            source,
            _dataset(store, draft.base).sources[source],
            _version_rows(store, draft.base, "rejects", source),
            _version_rows(store, draft.base, "absent", source),
        )
    return _fresh(draft, source, settings, tables, manifest, lesions)


def _manifest(tables: Sequence[pa.Table], findings: Sequence[AuditFinding]) -> pa.Table:
    parts = [_samples(table) for table in tables]
    if not parts:
        return MANIFEST_SCHEMA.empty_table()
    rows = pa.concat_tables(parts)
    found = {finding.sample_id: finding for finding in findings}
    marks = [found.get(key) for key in rows["sample_id"].to_pylist()]
    flags = [
        sorted({*own, *(mark.flags if mark else ())})
        for own, mark in zip(rows["quality_flags"].to_pylist(), marks, strict=True)
    ]
    columns = {
        **{name: rows[name] for name in rows.column_names},
        "duplicate_group": pa.array([m and m.duplicate_group for m in marks], pa.string()),
        "near_duplicate_of": pa.array([m and m.near_duplicate_of for m in marks], pa.string()),
        "quality_flags": pa.array(flags, pa.list_(pa.string())),
    }
    arrays = [_cast(columns[item.name], item) for item in MANIFEST_SCHEMA]
    return pa.Table.from_arrays(arrays, schema=MANIFEST_SCHEMA).sort_by("sample_id")


def _cast(column: pa.Array | pa.ChunkedArray, item: pa.Field) -> pa.Array:
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    return array.cast(item.type)


def _lesions(tables: Sequence[pa.Table]) -> pa.Table:
    parts = [
        pa.Table.from_struct_array(pc.list_flatten(table["lesions"])).cast(LESION_SCHEMA)
        for table in tables
    ]
    if not parts:
        return LESION_SCHEMA.empty_table()
    table = pa.concat_tables(parts)
    order = pa.array(range(len(table)), pa.int64())
    keyed = table.append_column("order", order)
    return keyed.sort_by([("sample_id", "ascending"), ("order", "ascending")]).drop_columns("order")


def _fresh(
    draft: Draft,
    source: str,
    settings: Settings,
    tables: Sequence[pa.Table],
    manifest: pa.Table,
    lesions: pa.Table,
) -> Compacted:
    store = open_store(settings.output)
    info = imported(settings.registry)(source).RELEASE
    private = is_private(info, settings)
    if private:
        write_join(store, draft.plan, draft.version, source, draft.sources[source].receipts)
    planned = [row for row in _plan_rows(store, draft.plan, "rejects") if row["source"] == source]
    absents = [row for row in _plan_rows(store, draft.plan, "absent") if row["source"] == source]
    rejects = [*planned, *(row for t in tables for row in t["reject"].drop_null().to_pylist())]
    mine = draft.sources[source]
    counts = SourceCounts(
        planned=mine.planned,
        made=len(manifest),
        rejected=len(rejects),
        absent=len(absents),
        patients=len(manifest["patient_id"].unique()),
        lesions=len(lesions),
        shards=len(manifest["shard"].unique()),
        by_split=_counted(manifest["split"].to_pylist()),
        by_pathology=_counted(manifest["pathology"].to_pylist()),
        by_reject_reason=_counted(row["reason"] for row in rejects),
    )
    _refuse_imbalance(source, counts)
    summary = SourceSummary(
        title=info.title,
        licence=info.licence.key,
        licence_title=info.licence.title,
        redistributable=info.licence.redistributable,
        weights_releasable=info.licence.weights_releasable,
        citation=info.citation,
        url=info.url,
        spec=json.loads(settings.spec.key()),
        pipeline_versions=sorted(set(manifest["pipeline_version"].to_pylist())),
        receipts_digest=mine.digest,
        receipts=list(mine.receipts),
        counts=counts,
    )
    return Compacted(
        source,
        summary,
        tuple(_shareable(row, private) for row in rejects),
        tuple(_shareable(row, private) for row in absents),
    )


def _shareable(row: dict[str, Any], private: bool) -> dict[str, Any]:
    if not private:
        return row
    hidden = {"film_key": None, "file": None}
    if "detail" not in row:
        return {**row, **hidden}
    detail = row["detail"]
    for word in sorted(filter(None, (row["film_key"], row["file"])), key=len, reverse=True):
        detail = detail.replace(word, "the file")
    return {**row, **hidden, "detail": detail}


def _counted(words: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(words).items()))


def _refuse_imbalance(source: str, counts: SourceCounts) -> None:
    if counts.planned != counts.made + counts.rejected:
        raise MammoError(
            f"{source}: {counts.planned} films were planned, {counts.made} made and "
            f"{counts.rejected} rejected; no version was published, because nothing may disappear"
        )


def _version_rows(store: Store, version: str, name: str, source: str) -> tuple[Any, ...]:
    rows = _plan_rows(store, version, name)
    return tuple(row for row in rows if row["source"] == source)


# ---- publish


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
    current = _pointer(store, LATEST)
    if current == draft.version:
        return True
    if settings.base == LATEST and current != draft.latest:
        return False
    return store.swap(LATEST, _line(draft.version), None if current is None else _line(current))


def _point(store: Store, path: str, version: str) -> None:
    for _ in range(_ATTEMPTS):
        current = _pointer(store, path)
        expected = None if current is None else _line(current)
        if current == version or store.swap(path, _line(version), expected):
            return
    raise MammoError(f"{path} at {store.root} kept moving: run again")


def _line(version: str) -> bytes:
    return f"{version}\n".encode()
