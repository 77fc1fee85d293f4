"""A copy of EMBED on disk: its two tables, and its files by the path that all copies share."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from etl.readers.listing import natural_key, wanted
from etl.readers.tables import read_columns, titles_in
from etl.sources.embed.exams import CLINICAL_COLUMNS
from etl.sources.embed.images import METADATA_COLUMNS
from schemas.errors import ContentError, MammoError
from schemas.release import Release
from schemas.store import Entry

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Files", "Table", "Tables", "by_patient", "exam_rows", "find_tables", "is_picture_copy"]

_NULL_WORDS = frozenset({"", "nan"})
"""`NA` is a code of `path1` to `path10` ("no abnormality") and no null."""
_HEAD_BYTES = 64 << 10
_CLINICAL = frozenset({"empi_anon", "acc_anon", "asses", "side", "path_severity"})
_METADATA = frozenset({"empi_anon", "acc_anon", "anon_dicom_path", "FinalImageType"})
_COHORTS = ("cohort_1/", "cohort_2/")
_ROWS_AT_ONCE = 4096

Cells = Mapping[str, str | None]


@dataclass(frozen=True, slots=True)
class Table:
    """One csv file of the release and its titles."""

    path: str
    titles: tuple[str, ...]
    size: int

    @property
    def is_nus(self) -> bool:
        """The datathon's edition, which adds columns of its own and codes severity otherwise."""
        return "exam_birads" in self.titles or "nus_datathon" in self.path.lower()

    def read(self, release: Release, columns: Sequence[str]) -> pa.Table:
        """Return columns as text; `MammoError` naming the table where it is damaged."""
        filesystem, base = release.store.arrow()
        try:
            with filesystem.open_input_stream(f"{base}/{self.path}") as stream:
                return read_columns(stream, self.titles, columns, _NULL_WORDS)
        except ContentError as error:
            raise MammoError(
                f"{self.path} of {release.root} is damaged: {error.detail}; download it again"
            ) from error


@dataclass(frozen=True, slots=True)
class Tables:
    """The tables that are read, and others of their kind."""

    metadata: Table
    clinical: Table
    others: tuple[str, ...]


def find_tables(release: Release) -> Tables:
    """Return the fullest table of each kind, told by their titles; the names differ by edition.

    Raises
    ------
    MammoError
        One of them is missing.
    """
    found: dict[str, list[tuple[int, Table]]] = {"metadata": [], "clinical": []}
    for entry in wanted(release.entries):
        if not entry.path.lower().endswith(".csv"):
            continue
        head = release.store.read_range(entry.path, 0, min(entry.size, _HEAD_BYTES))
        titles = titles_in(head)
        for kind, needed, columns in (
            ("metadata", _METADATA, METADATA_COLUMNS),
            ("clinical", _CLINICAL, CLINICAL_COLUMNS),
        ):
            if needed <= set(titles):
                known = len(set(columns) & set(titles))
                found[kind].append((known, Table(entry.path, titles, entry.size)))
    for kind, tables in found.items():
        if not tables:
            raise MammoError(
                f"no {kind} table of EMBED under {release.root}: put "
                f"EMBED_OpenData_{kind}.csv (from tables/ of the bucket) into it"
            )
        tables.sort(key=lambda item: (-item[0], -item[1].size, item[1].path))
    others = (table.path for tables in found.values() for _, table in tables[1:])
    return Tables(found["metadata"][0][1], found["clinical"][0][1], tuple(sorted(others)))


def exam_rows(release: Release, table: Table) -> dict[tuple[str, str], list[Cells]]:
    """Return the clinical rows by (patient, exam), in the table's order."""
    exams: dict[tuple[str, str], list[Cells]] = defaultdict(list)
    read = table.read(release, CLINICAL_COLUMNS)
    for batch in read.to_batches(_ROWS_AT_ONCE):
        for row in batch.to_pylist():
            exams[plain(row["empi_anon"]), plain(row["acc_anon"])].append(row)
    return exams


def plain(key: str | None) -> str:
    """Return an id as text; of a column that went through floats without its decimals."""
    text = key or ""
    return text.removesuffix(".0")


def by_patient(metadata: pa.Table) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Yield the metadata rows patient by patient in natural order, sorted by exam and path."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    metadata = metadata.combine_chunks()
    patients = pc.fill_null(metadata.column("empi_anon"), "").combine_chunks().dictionary_encode()
    names = [plain(name) for name in patients.dictionary.to_pylist()]
    rank = np.empty(len(names), np.int32)
    rank[sorted(range(len(names)), key=lambda place: natural_key(names[place]))] = np.arange(
        len(names)
    )
    keys = pa.table(
        {
            "patient": rank[patients.indices.to_numpy()],
            "exam": metadata.column("acc_anon"),
            "path": metadata.column("anon_dicom_path"),
        }
    )
    order = pc.sort_indices(keys, [("patient", "ascending"), ("exam", "ascending"),
                                   ("path", "ascending")])  # fmt: skip
    del keys

    def rows() -> Iterator[tuple[str, dict[str, Any]]]:
        for start in range(0, len(order), _ROWS_AT_ONCE):
            for row in metadata.take(order.slice(start, _ROWS_AT_ONCE)).to_pylist():
                yield plain(row["empi_anon"]), row

    for patient, group in groupby(rows(), key=itemgetter(0)):
        yield patient, [row for _, row in group]


class Files:
    """The DICOM files of a copy by the path that all copies share.

    `anon_dicom_path` begins with a folder of the hospital's server, so a file is looked for below
    every folder of this copy that holds `cohort_1` or `cohort_2` (`images/` before the root), and
    then by its name alone, which is unique.
    """

    def __init__(self, release: Release) -> None:
        self._sizes = release.sizes
        self._roots: list[str] = []
        self._by_name: dict[str, Entry] = {}
        self._files = 0
        roots = set()
        for entry in release.entries:
            if not _is_image(entry.path):
                continue
            self._files += 1
            at = max(entry.path.find(cohort) for cohort in _COHORTS)
            if at >= 0:
                roots.add(entry.path[:at])
            else:
                self._by_name.setdefault(entry.path.rpartition("/")[2], entry)
        self._roots = sorted(roots, key=lambda root: (not root.endswith("images/"), root))

    def find(self, tail: str) -> tuple[str, int] | None:
        """Return path and size of the file of a row, None where this copy lacks it."""
        for root in self._roots:
            size = self._sizes.get(root + tail)
            if size is not None:
                return root + tail, size
        entry = self._by_name.get(tail.rpartition("/")[2])
        return (entry.path, entry.size) if entry else None

    def __len__(self) -> int:
        """Return the number of DICOM files."""
        return self._files

    def unused(self, used: set[str]) -> Iterator[str]:
        """Yield the paths of files that no row names, sorted."""
        if self._files > len(used):
            yield from sorted(path for path in self._sizes if _is_image(path) and path not in used)


def _is_image(path: str) -> bool:
    name = path.rpartition("/")[2]
    return name.endswith(".dcm") and not name.startswith(".")


def is_picture_copy(release: Release) -> bool:
    """Tell a copy of converted PNG files: `<SOP>.dcm.png`, `<SOP>_conv.png`, `png_images/`."""
    names = [entry.path for entry in release.entries]
    pictures = any(
        name.endswith((".dcm.png", "_conv.png")) or name.startswith("png_images/") for name in names
    )
    return pictures and not any(_is_image(name) for name in names)
