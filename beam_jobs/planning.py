"""From releases to a plan: tables are read, sides given, patients cut into tasks; no pixel is seen.

The plan of the same copies is the same plan, whatever the order of the listing: everything is
sorted, and its identity is that of its tasks, rejects and absents.
"""

from __future__ import annotations

import gc
import hashlib
import io
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from functools import cached_property
from operator import attrgetter

import pyarrow as pa
import pyarrow.parquet as pq

from beam_jobs.child import imported
from beam_jobs.cutting import cut
from beam_jobs.settings import Settings
from etl import split
from etl.readers.listing import natural_key
from schemas.columns import to_table
from schemas.errors import MammoError, UsageError
from schemas.film import Film
from schemas.plan import PLAN_SCHEMA, PlannedFilm, Task, task_id
from schemas.receipt import parquet_bytes
from schemas.rejects import ABSENT_SCHEMA, REJECT_SCHEMA, Absent, Reject, RejectReason
from schemas.release import HeaderIndex, Release, ReleaseInfo, Source
from schemas.sample import sample_id
from schemas.spec import Spec
from schemas.store import Store
from schemas.vocabulary import Split, SplitOrigin

__all__ = ["JOIN_SCHEMA", "Plan", "is_private", "load_task", "make_plan", "write_plan"]

JOIN_SCHEMA = pa.schema(
    [
        pa.field("source", pa.string(), nullable=False),
        pa.field("sample_id", pa.string(), nullable=False),
        pa.field("film_key", pa.string(), nullable=False),
        pa.field("patient_key", pa.string(), nullable=False),
        pa.field("split_key", pa.string(), nullable=False),
        pa.field("files", pa.list_(pa.string()), nullable=False),
    ]
)
"""The join table of `private/`: what a sample is called by its release."""


# `dataclasses.astuple` copies deeply: minutes for a partial copy's absents
_reject_cells = attrgetter(*(item.name for item in fields(Reject)))
_absent_cells = attrgetter(*(item.name for item in fields(Absent)))


@dataclass(frozen=True)
class Plan:
    """What will be made.

    Parameters
    ----------
    private
        Film keys or paths may not be shared, so the plan lies under `private/`.
    originals
        The release's own keys of each sample, where they may not be shared.
    """

    tasks: tuple[Task, ...]
    rejects: tuple[Reject, ...]
    absents: tuple[Absent, ...]
    private: bool
    originals: Mapping[str, Film]

    @cached_property
    def plan_id(self) -> str:
        """Sixteen hex digits over tasks, rejects and absents."""
        digest = hashlib.sha256()
        for task in self.tasks:
            digest.update(f"task\t{task.task_id}\n".encode())
        for reject in self.rejects:
            digest.update(repr(_reject_cells(reject)).encode())
        for absent in self.absents:
            digest.update(repr(_absent_cells(absent)).encode())
        return digest.hexdigest()[:16]

    @property
    def folder(self) -> str:
        """Where the plan lies in the corpus."""
        return f"{'private/' if self.private else ''}plans/{self.plan_id}"


def is_private(info: ReleaseInfo, settings: Settings) -> bool:
    """Tell whether the release's own keys and paths must stay in `private/`."""
    return settings.pseudonym_key is not None or not info.licence.redistributable


@contextmanager
def _uncollected() -> Iterator[None]:
    """Pause the search for cycles: a plan has none, and it walks half a million films each time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


@_uncollected()
def make_plan(
    settings: Settings, index: Callable[[Release, Source, Settings], HeaderIndex]
) -> Plan:
    """Read the tables of all releases and return what will be made.

    Parameters
    ----------
    index
        Gives the headers that a source needs before planning.
    """
    films: list[Film] = []
    rejects: list[Reject] = []
    absents: list[Absent] = []
    private = False
    _refuse_idle_slab(settings)
    for key, root in settings.releases:
        source = imported(settings.registry)(key)
        private = private or is_private(source.RELEASE, settings)
        release = Release.open(root)
        more = {"slabs": True} if settings.slabs_of(source.RELEASE) else {}
        for item in source.plan(release, index(release, source, settings), **more):
            if isinstance(item, Film):
                films.append(item)
            elif isinstance(item, Reject):
                rejects.append(item)
            else:
                absents.append(item)
    films, doubles = _without_doubles(films)
    secret = _secret(settings)
    if secret is None:
        registry = imported(settings.registry)
        shared = {
            key: registry(key).RELEASE.licence.redistributable for key, _ in settings.releases
        }
        films = [film if shared[film.source] else _without_own_keys(film) for film in films]
    tasks = list(_tasks(films, settings.spec, secret))
    return Plan(
        tasks=tuple(tasks),
        rejects=tuple(sorted((*rejects, *doubles), key=_reject_cells)),
        absents=tuple(sorted(_hidden(absents, secret), key=_absent_cells)),
        private=private,
        originals=_originals(films, secret) if private else {},
    )


def _refuse_idle_slab(settings: Settings) -> None:
    registry = imported(settings.registry)
    infos = [registry(key).RELEASE for key, _ in settings.releases]
    if settings.dbt_slab and not any(settings.slabs_of(info) for info in infos):
        named = ", ".join(info.key for info in infos)
        raise UsageError(
            f"--dbt-slab is given and {named} has no tomosynthesis volumes: leave it out, or name "
            "bcs_dbt with --release too"
        )


def _without_doubles(films: Iterable[Film]) -> tuple[list[Film], list[Reject]]:
    """Keep the first film of each key, in the order of their files; the others are rejects."""
    kept: dict[str, Film] = {}
    doubles: list[Reject] = []
    for film in sorted(films, key=lambda film: (film.source, film.film_key, film.files[0].path)):
        key = sample_id(film.source, film.film_key)
        first = kept.setdefault(key, film)
        if first is film:
            continue
        if first.film_key != film.film_key:
            raise MammoError(
                f"films {first.film_key!r} and {film.film_key!r} of {film.source} would share the "
                f"sample_id {key}: rename one of them in its release's table"
            )
        doubles.append(
            Reject(
                source=film.source,
                film_key=film.film_key,
                file=film.files[0].path,
                reason=RejectReason.DUPLICATE_FILE,
                detail=f"the film is planned from {first.files[0].path} already",
                stage="plan",
            )
        )
    return list(kept.values()), doubles


# ---- pseudonyms


def _secret(settings: Settings) -> bytes | None:
    if settings.pseudonym_key is None:
        return None
    from etl.deidentify import load_key

    return load_key(settings.pseudonym_key)


def pseudonymised(film: Film, secret: bytes) -> Film:
    """Return a film whose keys are keyed digests; sides and order were decided before."""
    from etl.deidentify import pseudonym

    def name(kind: str, value: str) -> str:
        return pseudonym(secret, kind, f"{film.source}:{value}")

    def maybe(kind: str, value: str | None) -> str | None:
        return None if value is None else name(kind, value)

    lesions = tuple(
        replace(lesion, lesion_key=maybe("lesion", lesion.lesion_key), source_ids=())
        for lesion in film.lesions
    )
    return replace(
        film,
        film_key=name("film", film.film_key),
        patient_key=name("patient", film.patient_key),
        split_key=name("patient", film.split_key),
        exam_key=maybe("exam", film.exam_key),
        pair_key=maybe("pair", film.pair_key),
        lesions=lesions,
    )


def _without_own_keys(film: Film) -> Film:
    """Return a film of a private release whose examination, pair and lesions have digests as keys.

    A release may name them by the very UIDs that film keys and paths are hidden for.
    """
    from etl.deidentify import veiled

    def maybe(kind: str, value: str | None) -> str | None:
        return None if value is None else veiled(kind, f"{film.source}:{value}")

    lesions = tuple(
        replace(lesion, lesion_key=maybe("lesion", lesion.lesion_key)) for lesion in film.lesions
    )
    return replace(
        film,
        exam_key=maybe("exam", film.exam_key),
        pair_key=maybe("pair", film.pair_key),
        lesions=lesions,
    )


def _hidden(absents: Iterable[Absent], secret: bytes | None) -> list[Absent]:
    if secret is None:
        return list(absents)
    from etl.deidentify import pseudonym

    return [
        replace(item, split_key=pseudonym(secret, "patient", f"{item.source}:{item.split_key}"))
        for item in absents
    ]


def _originals(films: Iterable[Film], secret: bytes | None) -> dict[str, Film]:
    shown = ((film, film if secret is None else pseudonymised(film, secret)) for film in films)
    return {sample_id(film.source, seen.film_key): film for film, seen in shown}


# ---- cutting


def _tasks(films: Sequence[Film], spec: Spec, secret: bytes | None) -> Iterator[Task]:
    sides = split.sides(films)
    patients: dict[tuple[str, Split], dict[str, list[Film]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for film in films:
        side, _ = sides[film.source, film.split_key]
        patients[film.source, side][film.split_key].append(film)
    digest = "" if secret is None else hashlib.sha256(b"key\0" + secret).hexdigest()
    for source, side in sorted(patients):
        groups = patients[source, side]
        keys = sorted(groups, key=natural_key)
        ends = cut([(f"{source}:{key}", len(groups[key])) for key in keys])
        for start, end in zip([0, *ends], ends, strict=False):
            chosen = [film for key in keys[start:end] for film in _in_order(groups[key])]
            planned = tuple(
                _planned(film, sides[source, film.split_key], secret) for film in chosen
            )
            yield Task(task_id(planned, spec, digest), source, side, planned)


def _in_order(films: Iterable[Film]) -> list[Film]:
    return sorted(films, key=lambda film: natural_key(film.film_key))


def _planned(film: Film, side: tuple[Split, SplitOrigin], secret: bytes | None) -> PlannedFilm:
    return PlannedFilm(film if secret is None else pseudonymised(film, secret), *side)


# ---- on disk


@_uncollected()
def write_plan(plan: Plan, store: Store) -> None:
    """Publish a plan under its id; one that is there already is the same."""
    store.create(f"{plan.folder}/tasks.parquet", _tasks_parquet(plan.tasks))
    tables = {
        "rejects": to_table([_reject_row(reject) for reject in plan.rejects], REJECT_SCHEMA),
        "absent": to_table([_absent_row(item) for item in plan.absents], ABSENT_SCHEMA),
    }
    if plan.private:
        tables["join"] = to_table(list(_join_rows(plan.originals)), JOIN_SCHEMA)
    for name, table in tables.items():
        store.create(f"{plan.folder}/{name}.parquet", parquet_bytes(table))


def _tasks_parquet(tasks: Iterable[Task]) -> bytes:
    sink = io.BytesIO()
    with pq.ParquetWriter(sink, PLAN_SCHEMA, compression="zstd") as writer:
        for task in tasks:
            writer.write_table(to_table([*_film_rows(task)], PLAN_SCHEMA), row_group_size=1 << 30)
    return sink.getvalue()


def _film_rows(task: Task) -> Iterator[dict[str, object]]:
    for position, planned in enumerate(task.films):
        film = planned.film
        yield {
            "task_id": task.task_id,
            "source": task.source,
            "split": planned.split.value,
            "split_origin": planned.split_origin.value,
            "position": position,
            "film_key": film.film_key,
            "split_key": film.split_key,
            "bytes": sum(ref.size for ref in film.files),
            "film": film.to_json(),
        }


def _reject_row(reject: Reject) -> dict[str, object]:
    return {
        "source": reject.source,
        "film_key": reject.film_key,
        "file": reject.file,
        "reason": reject.reason.value,
        "detail": reject.detail,
        "stage": reject.stage,
    }


def _absent_row(item: Absent) -> dict[str, object]:
    return {
        "source": item.source,
        "film_key": item.film_key,
        "file": item.file,
        "split_key": item.split_key,
    }


def _join_rows(originals: Mapping[str, Film]) -> Iterator[dict[str, object]]:
    for key, film in sorted(originals.items()):
        yield {
            "source": film.source,
            "sample_id": key,
            "film_key": film.film_key,
            "patient_key": film.patient_key,
            "split_key": film.split_key,
            "files": [ref.path for ref in film.files],
        }


def load_task(store: Store, folder: str, row_group: int) -> Task:
    """Return one task of a written plan; reads that slice of the file only."""
    filesystem, base = store.arrow()
    with filesystem.open_input_file(f"{base}/{folder}/tasks.parquet") as file:
        rows = pq.ParquetFile(file).read_row_group(row_group).to_pylist()
    films = tuple(
        PlannedFilm(
            Film.from_json(row["film"]), Split(row["split"]), SplitOrigin(row["split_origin"])
        )
        for row in rows
    )
    return Task(rows[0]["task_id"], rows[0]["source"], films[0].split, films)
