"""Why a film did not become a sample: a closed list, one sentence and one remedy a word."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import pyarrow as pa

__all__ = [
    "ABSENT_SCHEMA",
    "CIRCUMSTANCES",
    "REJECT_SCHEMA",
    "REMEDIES",
    "Absent",
    "Reject",
    "RejectReason",
]


class RejectReason(StrEnum):
    """What was wrong. Content reasons are final, circumstances are tried once more, alone."""

    NOT_AN_IMAGE = "not_an_image"
    """The bytes are no file of the expected kind (wrong magic, a web page, empty)."""
    NO_PIXELS = "no_pixels"
    """A valid file without image."""
    TRUNCATED = "truncated"
    """The file ends before its pixels do."""
    UNSUPPORTED = "unsupported"
    """A valid encoding that no decoder here reads."""
    HEADER_INVALID = "header_invalid"
    """A header that contradicts itself or misses what decoding needs."""
    SIZE_IMPLAUSIBLE = "size_implausible"
    """Declared rows and columns are beyond reason or beyond the data."""
    SIZE_CONFLICT = "size_conflict"
    """Two declared sizes disagree, or the image is not of the size its coordinates need."""
    DECODE_FAILED = "decode_failed"
    """The decoder refused the code stream."""
    NOT_GREY = "not_grey"
    """A colour picture where a grey one is expected."""
    BLANK = "blank"
    """All pixels have one value."""
    UNKNOWN_WORD = "unknown_word"
    """A table holds a word that the source's vocabulary does not know."""
    BAD_ROW = "bad_row"
    """A table row misses a field or contradicts its own format."""
    NO_TABLE_ROW = "no_table_row"
    """A file that no table row describes, where the release requires one."""
    DUPLICATE_FILE = "duplicate_file"
    """The same film is there twice under one id."""
    CRASHED = "crashed"
    """The process that read this film died, also when it read it alone."""
    TIMEOUT = "timeout"
    """Reading took longer than the limit, also alone with twice the time."""
    MEMORY = "memory"
    """Reading needed more memory than the limit, also alone with twice the memory."""


CIRCUMSTANCES = frozenset({RejectReason.CRASHED, RejectReason.TIMEOUT, RejectReason.MEMORY})
"""Reasons that may lie in the machine, not in the file: retried, and by `--retry-rejects` again."""

REMEDIES: dict[RejectReason, str] = {
    RejectReason.NOT_AN_IMAGE: "download the file again; a web page or an empty file was saved",
    RejectReason.NO_PIXELS: "nothing to do; reports and plans have no image",
    RejectReason.TRUNCATED: "download the file again",
    RejectReason.UNSUPPORTED: "convert the file with dcmtk's dcmdjpeg or gdcmconv --raw",
    RejectReason.HEADER_INVALID: "compare with the publisher's checksum; the header is damaged",
    RejectReason.SIZE_IMPLAUSIBLE: "compare with the publisher's checksum; the header is damaged",
    RejectReason.SIZE_CONFLICT: "check that this copy was not resized or cropped",
    RejectReason.DECODE_FAILED: "download the file again",
    RejectReason.NOT_GREY: "check that this copy holds the original grey pictures",
    RejectReason.BLANK: "download the file again",
    RejectReason.UNKNOWN_WORD: "check the table's edition with `mammo-etl verify-release`",
    RejectReason.BAD_ROW: "check the table's edition with `mammo-etl verify-release`",
    RejectReason.NO_TABLE_ROW: "check that the table belongs to these files",
    RejectReason.DUPLICATE_FILE: "keep one of the files",
    RejectReason.CRASHED: "run again with --retry-rejects; send us the file if it persists",
    RejectReason.TIMEOUT: "run again with --retry-rejects on a less busy machine",
    RejectReason.MEMORY: "run again with --retry-rejects and fewer --workers",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reject:
    """A film that is in the release and could not become a sample.

    `stage` is `plan` (tables), `read`, `decode`, `kernel` or `pool`; `file` is relative to the
    release's root; `detail` is one sentence.
    """

    source: str
    film_key: str
    file: str
    reason: RejectReason
    detail: str
    stage: str

    def __post_init__(self) -> None:
        """Refuse a reject that would lose its film: `ValueError`."""
        if not self.source or not self.film_key or not self.detail:
            raise ValueError(f"a reject needs source, film_key and detail, got {self!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Absent:
    """A film that a table names and this copy does not hold: no task, no reject, its own table."""

    source: str
    film_key: str
    file: str
    split_key: str


REJECT_SCHEMA = pa.schema(
    [
        pa.field("source", pa.string(), nullable=False),
        pa.field("film_key", pa.string()),
        pa.field("file", pa.string()),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("detail", pa.string(), nullable=False),
        pa.field("stage", pa.string(), nullable=False),
    ]
)
"""Columns of `rejects.parquet`; film_key and file are null where they may not be shared."""

ABSENT_SCHEMA = pa.schema(
    [
        pa.field("source", pa.string(), nullable=False),
        pa.field("film_key", pa.string()),
        pa.field("file", pa.string()),
        pa.field("split_key", pa.string()),
    ]
)
"""Columns of `absent.parquet`."""
