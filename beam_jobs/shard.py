"""Make one shard: the films of a task, through the pool, into a tar and its receipt. No Beam here.

Order of events: the tar is written under `.tmp/`, flushed and published under a name that holds its
sha256; then the receipt is published. Both are create-only, so a task is done if and only if its
receipt exists, and two workers on one task publish the same bytes once. Killed in between, the tar
lies there without a receipt and the next run finds it made already.

A task is made again only on request: `verify_sources` where a file's content changed at equal size,
`retry_rejects` where a circumstance rejected a film. Then the new receipt is a revision of the old
one, `<task id>r2.parquet`; the newest revision counts, and older versions keep theirs.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any

import google_crc32c

from beam_jobs import child
from beam_jobs.child import FilmJob, Trouble, Unread
from beam_jobs.planning import is_private
from beam_jobs.pool import Pool
from beam_jobs.progress import film_done
from beam_jobs.settings import Settings
from beam_jobs.tar import TarWriter
from etl.deidentify import safe_detail
from schemas.columns import to_table
from schemas.errors import MammoError, StoreError
from schemas.film import Film
from schemas.lesions import LESION_SCHEMA
from schemas.manifest import SAMPLE_SCHEMA
from schemas.plan import PlannedFilm, Task
from schemas.receipt import Receipt, ReceiptEntry
from schemas.rejects import CIRCUMSTANCES, Reject, RejectReason
from schemas.sample import Sample, member_names, sample_id, to_json_bytes
from schemas.store import Store

__all__ = ["UnreadError", "known_receipts", "make_shard", "receipt_path", "time_limit"]

_RECEIPT = re.compile(r"/(?P<task>[0-9a-f]{16})(?:r(?P<revision>\d+))?\.parquet$")

BASE_SECONDS = 20.0
SECONDS_PER_MEGABYTE = 1.0
"""Five seconds for 10 million pixels, where a compressed pixel takes half a byte."""


class UnreadError(StoreError):
    """Files of a release could not be read; the other tasks go on, the job ends with status 1."""


def receipt_path(task: Task, revision: int) -> str:
    """Return where a task's receipt lies: `shards/<source>/<split>/<task id>.parquet`."""
    return f"{_stem(task, revision)}.parquet"


def _stem(task: Task, revision: int) -> str:
    mark = f"r{revision}" if revision > 1 else ""
    return f"shards/{task.source}/{task.split.value}/{task.task_id}{mark}"


def known_receipts(store: Store, sources: Iterable[str]) -> dict[str, int]:
    """Return the newest revision of each finished task, from one listing a source."""
    known: dict[str, int] = {}
    for source in sources:
        for entry in store.list(f"shards/{source}/"):
            match = _RECEIPT.search(entry.path)
            if match:
                revision = int(match["revision"] or 1)
                known[match["task"]] = max(revision, known.get(match["task"], 0))
    return known


def time_limit(job: FilmJob) -> float:
    """Return the seconds that one film may take, by the size of its files."""
    return BASE_SECONDS + SECONDS_PER_MEGABYTE * sum(ref.size for ref in job.film.files) / 1e6


def make_shard(
    task: Task, settings: Settings, store: Store, pool: Pool, known: int = 0
) -> tuple[Receipt, str, bool]:
    """Make a task's shard, unless its receipt exists.

    Parameters
    ----------
    known
        Newest revision that a listing showed, 0 for none.

    Returns
    -------
    tuple of Receipt, str and bool
        The receipt, its path, and whether it was made by this call.

    Raises
    ------
    UnreadError
        A file of the release could not be read: nothing is published.
    StoreError
        The shard could not be written.
    """
    revision = known or int(store.stat(receipt_path(task, 1)) is not None)
    if revision:
        path = receipt_path(task, revision)
        receipt = Receipt.from_parquet(store.read(path), path)
        if not _is_stale(task, receipt, settings, pool):
            return receipt, path, False
    path = receipt_path(task, revision + 1)
    receipt = _made(task, revision + 1, settings, store, pool)
    if store.create(path, receipt.to_parquet()):
        return receipt, path, True
    return Receipt.from_parquet(store.read(path), path), path, False


# ---- is a finished task still true


def _is_stale(task: Task, receipt: Receipt, settings: Settings, pool: Pool) -> bool:
    if settings.retry_rejects and any(_is_circumstance(entry) for entry in receipt.entries):
        return True
    return settings.verify_sources and _has_changed(task, receipt, settings, pool)


def _is_circumstance(entry: ReceiptEntry) -> bool:
    return entry.reject is not None and entry.reject["reason"] in CIRCUMSTANCES


def _has_changed(task: Task, receipt: Receipt, settings: Settings, pool: Pool) -> bool:
    """Compare files with what the receipt says of them; rejected films are simply tried again."""
    kept = [
        (planned, entry)
        for planned, entry in zip(task.films, receipt.entries, strict=True)
        if entry.row is not None
    ]
    rejected = [
        (planned, entry)
        for planned, entry in zip(task.films, receipt.entries, strict=True)
        if entry.reject is not None
    ]
    films = [planned for planned, _ in kept]
    digests = pool.run(child.digest, _jobs(films, settings), time_limit)
    for (_, entry), found in zip(kept, digests, strict=True):
        if _readable(found) != (entry.row or {}).get("source_sha256"):
            return True
    again = pool.run(child.make, _jobs([planned for planned, _ in rejected], settings), time_limit)
    for (planned, entry), result in zip(rejected, again, strict=True):
        told = (entry.reject or {}).get("reason")
        if isinstance(result, Sample) or _verdict(planned.film, result).reason != told:
            return True
    return False


def _readable(result: Any) -> str:
    if isinstance(result, str):
        return result
    raise UnreadError(result.detail)


# ---- making


def _jobs(films: Iterable[PlannedFilm], settings: Settings) -> Iterator[FilmJob]:
    for planned in films:
        yield FilmJob(
            film=planned.film,
            root=settings.root(planned.film.source),
            spec=settings.spec,
            registry=settings.registry,
            kernel=settings.kernel,
        )


def _made(task: Task, revision: int, settings: Settings, store: Store, pool: Pool) -> Receipt:
    """Write and publish the tar; return the receipt, which is not yet published."""
    private = is_private(child.imported(settings.registry)(task.source).RELEASE, settings)
    maker = _Maker(task, settings, private)
    with store.temporary(f"{settings.run or 'run'}-{task.task_id}") as folder:
        path = folder / "shard.tar"
        try:
            with TarWriter(path) as tar:
                results = pool.run(child.make, _jobs(task.films, settings), time_limit)
                for planned, result in zip(task.films, results, strict=True):
                    maker.take(tar, planned, result)
                    film_done(task.task_id)
            maker.refuse_if_unread()
        except MammoError:
            raise
        except OSError as error:
            raise StoreError(_why_not_written(str(folder), error)) from error
        if not maker.made:
            return maker.receipt("", 0, "")
        shard = f"{_stem(task, revision)}-{tar.sha256[:12]}.tar"
        store.create_from_file(shard, path, tar.crc32c)
        return maker.receipt(shard, tar.size, tar.sha256)


def _why_not_written(folder: str, error: OSError) -> str:
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    why = "the disk is full" if full else error.strerror or str(error)
    return f"cannot write a shard under {folder}: {why}; free some space or choose another --output"


@dataclass(slots=True)
class _Pending:
    """An entry of the receipt whose shard has no name yet."""

    row: dict[str, Any] | None = None
    lesions: tuple[dict[str, Any], ...] = ()
    thumbnail: bytes | None = None
    reject: Mapping[str, Any] | None = None


class _Maker:
    """Collects what the children return, in the plan's order."""

    def __init__(self, task: Task, settings: Settings, private: bool) -> None:
        self.task = task
        self.payload = settings.spec.payload
        self.private = private
        self.unread: list[str] = []
        self.entries: list[_Pending] = []

    @property
    def made(self) -> int:
        return sum(entry.row is not None for entry in self.entries)

    def take(self, tar: TarWriter, planned: PlannedFilm, result: Any) -> None:
        """Put a sample into the tar, or a reject into the receipt."""
        if isinstance(result, Unread):
            self.unread.append(result.detail)
        elif isinstance(result, Sample):
            self.entries.append(self._sample(tar, planned, result))
        else:
            reject = _verdict(planned.film, result)
            self.entries.append(_Pending(reject=self._reject_row(planned.film, reject)))

    def refuse_if_unread(self) -> None:
        """Raise `UnreadError` naming the files."""
        if self.unread:
            more = f" and {len(self.unread) - 3} more" if len(self.unread) > 3 else ""
            raise UnreadError("; ".join(self.unread[:3]) + more)

    def receipt(self, shard: str, size: int, sha256: str) -> Receipt:
        """Return the receipt, once the tar's name is known."""
        entries = tuple(
            ReceiptEntry(
                row=None if entry.row is None else {**entry.row, "shard": shard},
                lesions=entry.lesions,
                thumbnail=entry.thumbnail,
                reject=entry.reject,
            )
            for entry in self.entries
        )
        return Receipt(
            task_id=self.task.task_id,
            source=self.task.source,
            split=self.task.split.value,
            shard=shard,
            tar_size=size,
            tar_sha256=sha256,
            entries=entries,
        )

    def _sample(self, tar: TarWriter, planned: PlannedFilm, sample: Sample) -> _Pending:
        key = sample_id(planned.film.source, planned.film.film_key)
        row = {
            **sample.row,
            "sample_id": key,
            "split": planned.split.value,
            "split_origin": planned.split_origin.value,
        }
        lesions: list[dict[str, Any]] = [{**item, "sample_id": key} for item in sample.lesions]
        if self.private:
            row |= {"film_key": None, "source_files": None}
            lesions = [{**lesion, "source_ids": None} for lesion in lesions]
        row = to_table([row], SAMPLE_SCHEMA).to_pylist()[0]
        lesions = to_table(lesions, LESION_SCHEMA).to_pylist()
        members = (sample.image, sample.mask, to_json_bytes(row, tuple(lesions)))
        names = member_names(key, self.payload, sample.mask is not None)
        offsets = [
            tar.add(name, data) for name, data in zip(names, filter(None, members), strict=True)
        ]
        row |= _places(members, offsets)
        return _Pending(row=row, lesions=tuple(lesions), thumbnail=sample.thumbnail)

    def _reject_row(self, film: Film, reject: Reject) -> dict[str, Any]:
        if self.private:
            paths = [PurePosixPath(ref.path) for ref in film.files]
            names = [part for path in paths for part in (str(path), path.name, path.stem)]
            detail = safe_detail(
                reject.detail,
                stage=reject.stage,
                reason=reject.reason.value,
                hidden=(film.film_key, film.patient_key, *names),
            )
            reject = replace(reject, detail=detail)
        return {
            "source": reject.source,
            "film_key": None if self.private else film.film_key,
            "file": None if self.private else reject.file,
            "reason": reject.reason.value,
            "detail": reject.detail,
            "stage": reject.stage,
        }


def _places(members: tuple[bytes, bytes | None, bytes], offsets: list[int]) -> dict[str, Any]:
    image, mask, facts = members
    return {
        "image_offset": offsets[0],
        "image_size": len(image),
        "image_crc32c": google_crc32c.value(image),
        "mask_offset": None if mask is None else offsets[1],
        "mask_size": None if mask is None else len(mask),
        "mask_crc32c": None if mask is None else google_crc32c.value(mask),
        "json_offset": offsets[-1],
        "json_size": len(facts),
    }


def _verdict(film: Film, result: Any) -> Reject:
    """Return what stands for a film that gave no sample."""
    if isinstance(result, Reject):
        return result
    if isinstance(result, Unread):
        raise UnreadError(result.detail)
    trouble = result if isinstance(result, Trouble) else Trouble(RejectReason.CRASHED, repr(result))
    return Reject(
        source=film.source,
        film_key=film.film_key,
        file=film.files[0].path,
        reason=trouble.reason,
        detail=trouble.detail,
        stage="pool",
    )
