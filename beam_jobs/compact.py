"""From receipts to tables: audit over all releases, then one manifest and one lesions table each.

Rows stay in Arrow and receipts are read a few at a time. A version that is there already is left
as it is.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from beam_jobs.child import imported
from beam_jobs.draft import Compacted, Draft, dataset_of, rows_of
from beam_jobs.planning import is_private
from beam_jobs.privacy import carry_join, write_join
from beam_jobs.settings import Settings
from beam_jobs.spool import Spool
from etl.audit import AUDIT_COLUMNS, AuditFinding, audit
from etl.deidentify import safe_detail
from schemas.dataset import SourceCounts, SourceSummary
from schemas.errors import MammoError
from schemas.lesions import LESION_SCHEMA
from schemas.manifest import MANIFEST_SCHEMA
from schemas.receipt import parquet_bytes
from schemas.store import Store, open_store

__all__ = ["audited", "compact"]

_READERS = 8


def audited(draft: Draft, settings: Settings) -> Draft:
    """Return the draft with what the audit found over all its releases."""
    store = open_store(settings.output)
    if store.stat(f"{draft.version}/dataset.json") is not None:
        return draft
    paths = [path for source in draft.sources.values() for path in source.receipts]
    rows = []
    with store.temporary(settings.run or "audit") as folder:
        spool = Spool(folder / "thumbnails")
        for table in _tables(store, paths):
            rows.append(_samples(table).select(list(AUDIT_COLUMNS)))
            spool.extend(table["thumbnail"].drop_null().to_pylist())
        if not rows:
            return draft
        findings = audit(pa.concat_tables(rows), spool)
    return replace(draft, findings=tuple(findings))


def _tables(store: Store, paths: Sequence[str]) -> Iterable[pa.Table]:
    """Yield the receipts' tables in the order of their names, a few read ahead."""
    with ThreadPoolExecutor(_READERS) as readers:
        for start in range(0, len(paths), 4 * _READERS):
            batch = paths[start : start + 4 * _READERS]
            yield from readers.map(lambda path: pq.read_table(io.BytesIO(store.read(path))), batch)


def _samples(table: pa.Table) -> pa.Table:
    return pa.Table.from_struct_array(table["row"].drop_null())


def compact(draft: Draft, source: str, settings: Settings) -> Compacted:
    """Write one release's manifest and lesions; return its summary."""
    store = open_store(settings.output)
    mine = draft.sources[source]
    if store.stat(f"{draft.version}/dataset.json") is not None:
        return Compacted(source, dataset_of(store, draft.version).sources[source])
    tables = list(_tables(store, mine.receipts))
    manifest = _manifest(tables, draft.findings)
    lesions = _lesions(tables)
    store.create(f"{draft.version}/manifest/{source}.parquet", parquet_bytes(manifest))
    store.create(f"{draft.version}/lesions/{source}.parquet", parquet_bytes(lesions))
    if mine.carried and draft.base is not None:
        carry_join(store, draft.base, draft.version, source)
        return Compacted(
            source,
            dataset_of(store, draft.base).sources[source],
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
        # one array, as a column without any lesion flattens to no chunk, which has no schema
        pa.Table.from_struct_array(pc.list_flatten(table["lesions"].combine_chunks())).cast(
            LESION_SCHEMA
        )
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
    planned = [row for row in rows_of(store, draft.plan, "rejects") if row["source"] == source]
    absents = [row for row in rows_of(store, draft.plan, "absent") if row["source"] == source]
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
        spec=settings.made_with(info),
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
    names = (row["film_key"] or "", row["file"] or "")
    detail = safe_detail(row["detail"], stage=row["stage"], reason=row["reason"], hidden=names)
    return {**row, **hidden, "detail": detail}


def _counted(words: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(words).items()))


def _refuse_imbalance(source: str, counts: SourceCounts) -> None:
    if counts.planned != counts.made + counts.rejected + counts.absent:
        raise MammoError(
            f"{source}: {counts.planned} films were planned, {counts.made} made, {counts.rejected} "
            f"rejected and {counts.absent} absent; no version was published, because nothing may "
            "disappear"
        )


def _version_rows(store: Store, version: str, name: str, source: str) -> tuple[Any, ...]:
    rows = rows_of(store, version, name)
    return tuple(row for row in rows if row["source"] == source)
