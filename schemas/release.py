"""A release: what it is (`ReleaseInfo`), and one user's copy of it (`Release`, `HeaderIndex`).

A source is a module with `RELEASE: ReleaseInfo` and
`plan(release: Release, index: HeaderIndex) -> Iterator[Film | Reject | Absent]`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Protocol

from schemas.errors import MammoError
from schemas.film import Film
from schemas.rejects import Absent, Reject
from schemas.store import Entry, Store, open_store
from schemas.vocabulary import Modality

__all__ = [
    "Header",
    "HeaderIndex",
    "Licence",
    "Release",
    "ReleaseInfo",
    "Remark",
    "Source",
    "TissueRule",
    "Words",
]

Header = Mapping[str, str]
"""Values of one file's header by DICOM keyword, as text; a missing or empty tag is no key."""


class TissueRule(StrEnum):
    """How tissue is told from background; chosen by source, never by pixel statistics."""

    FILM = "film"
    DIGITAL = "digital"
    MRI = "mri"
    SUBTRACTION = "subtraction"


@dataclass(frozen=True, slots=True, kw_only=True)
class Licence:
    """What may be done with a release's pixels, and with weights learnt from them."""

    key: str
    title: str
    redistributable: bool
    weights_releasable: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseInfo:
    """What a data set is, as published.

    Parameters
    ----------
    header_tags
        DICOM keywords that the index must hold for UID-only layouts.
    already_windowed
        Pixels of 8 bits were windowed before publication: a VOI LUT in the file is not applied
        again.
    image_files
        Glob of file names, for people (`mammo-etl sources`).
    slabs
        It holds volumes that can also be shown whole: `plan` takes `slabs=True` and then yields one
        film more of each.
    tissue, tissues
        How its pictures' background looks, and of which modalities it looks otherwise.
    """

    key: str
    title: str
    modalities: tuple[Modality, ...]
    licence: Licence
    citation: str
    url: str
    how_to_get: str
    tissue: TissueRule
    size: str = ""
    header_tags: tuple[str, ...] = ()
    already_windowed: bool = False
    image_files: str = "*.dcm"
    slabs: bool = False
    tissues: Mapping[Modality, TissueRule] = field(default_factory=dict)

    def tissue_of(self, modality: Modality) -> TissueRule:
        """Return the rule by which tissue is found on a film of this modality."""
        return self.tissues.get(modality, self.tissue)


@dataclass(frozen=True, slots=True)
class HeaderIndex:
    """What headers say, by path; empty where a layout needs no index."""

    headers: Mapping[str, Header] = field(default_factory=dict)

    def __getitem__(self, path: str) -> Header:
        """Return the header of a path; an empty one where it is unknown."""
        return self.headers.get(path, {})

    def __len__(self) -> int:
        """Return the number of files known."""
        return len(self.headers)


@dataclass(frozen=True)
class Release:
    """One user's copy: a root and one listing of it.

    Paths are relative to `root`, with `/`, NFC-normalised, in sorted order. Only tables are read
    through it while planning; images are opened by the kernel alone.
    """

    root: str
    entries: tuple[Entry, ...]

    @classmethod
    def open(cls, root: str) -> Release:
        """List a local folder or gs:// prefix once; `MammoError` where nothing is there."""
        entries = tuple(open_store(root).list())
        if not entries:
            raise MammoError(
                f"no file found under {root}: check the path; it must be the folder (or gs:// "
                "prefix) that holds the release's tables and images"
            )
        return cls(root=root, entries=tuple(sorted(entries, key=lambda entry: entry.path)))

    @cached_property
    def store(self) -> Store:
        """The copy's bytes."""
        return open_store(self.root)

    @cached_property
    def sizes(self) -> Mapping[str, int]:
        """Bytes of each file by path."""
        return {entry.path: entry.size for entry in self.entries}

    def read(self, path: str) -> bytes:
        """Return the bytes of a table."""
        return self.store.read(path)


@dataclass(frozen=True, slots=True, kw_only=True)
class Remark:
    """One line of `mammo-etl verify-release`: what differs and what it means for the corpus."""

    ok: bool
    what: str
    meaning: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """How one column of a release becomes words of the corpus; `docs/labels.md` is made of these.

    Parameters
    ----------
    column
        The release's own name of the column, folder or field.
    becomes
        The manifest's or lesions' column that it fills (`pathology`, `birads`, `finding`, …).
    words
        The release's word to the corpus's: the very table that the source maps with. Values are
        members of `schemas.vocabulary`, tuples of them, or None (kept raw, no word fits).
    cited
        Where the release or its paper says so.
    counts
        How often each word stands in the official table, where one was counted.
    note
        What a reader of labels must know.
    """

    column: str
    becomes: str
    words: Mapping[str, object]
    cited: str
    counts: Mapping[str, int] = field(default_factory=dict)
    note: str = ""


class Source(Protocol):
    """What a module under `etl/sources/` offers."""

    RELEASE: ReleaseInfo
    WORDS: tuple[Words, ...]

    @staticmethod
    def plan(release: Release, index: HeaderIndex) -> Iterator[Film | Reject | Absent]:
        """Yield every film of the release, patient by patient; opens no image."""
        ...

    @staticmethod
    def files_to_index(release: Release) -> tuple[str, ...]:
        """Return the files whose headers planning needs; empty for descriptive layouts."""
        ...

    @staticmethod
    def resolve(film: Film, header: Header) -> Film:
        """Fill nulls from the file's header; never change patient, side or label."""
        ...

    @staticmethod
    def verify(release: Release, index: HeaderIndex) -> Iterator[Remark]:
        """Compare a copy with the specification."""
        ...
