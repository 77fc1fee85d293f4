"""The lesions table: one row a lesion, flat, joined to the manifest by sample_id."""

from __future__ import annotations

import pyarrow as pa

from schemas.columns import Column, arrow_schema
from schemas.version import FORMAT_VERSION
from schemas.vocabulary import (
    Birads,
    CalcDistribution,
    CalcType,
    Finding,
    GeometryKind,
    LabelBasis,
    LesionFlag,
    Margin,
    MassShape,
    Pathology,
)

__all__ = ["LESION_COLUMNS", "LESION_SCHEMA", "RINGS_TYPE"]

_TEXT = pa.string()
_TEXTS = pa.list_(pa.string())
_FLOAT = pa.float64()

RINGS_TYPE = pa.list_(pa.list_(pa.list_(pa.float64())))
"""Rings of points (x, y)."""

LESION_COLUMNS: tuple[Column, ...] = (
    Column("sample_id", _TEXT, "Sample that shows the lesion", "job", "who", nullable=False),
    Column("lesion_id", _TEXT, "Unique within the sample", "source", "who", nullable=False),
    Column(
        "lesion_key",
        _TEXT,
        "Shared by the same lesion on other views, where the release links them",
        "source",
        "who",
    ),
    Column(
        "source_ids",
        _TEXTS,
        "The release's own ids of finding and region; null where they may not be shared",
        "source",
        "who",
    ),
    Column("finding", _TEXT, "Kind of finding", "source", "labels", nullable=False, words=Finding),
    Column(
        "pathology",
        _TEXT,
        "What the release says of this lesion",
        "source",
        "labels",
        nullable=False,
        words=Pathology,
    ),
    Column(
        "label_basis",
        _TEXT,
        "On what the pathology rests",
        "source",
        "labels",
        nullable=False,
        words=LabelBasis,
    ),
    Column("label_raw", _TEXT, "The release's own word", "source", "labels"),
    Column("birads", _TEXT, "BI-RADS category of this lesion", "source", "labels", words=Birads),
    Column("shape", _TEXTS, "Shape of a mass", "source", "labels", nullable=False, words=MassShape),
    Column("margin", _TEXTS, "Margin of a mass", "source", "labels", nullable=False, words=Margin),
    Column(
        "calc_type",
        _TEXTS,
        "Morphology of calcifications",
        "source",
        "labels",
        nullable=False,
        words=CalcType,
    ),
    Column(
        "distribution",
        _TEXTS,
        "Distribution of calcifications",
        "source",
        "labels",
        nullable=False,
        words=CalcDistribution,
    ),
    Column("subtlety", pa.int16(), "1 (subtle) to 5 (obvious)", "source", "labels"),
    Column(
        "flags",
        _TEXTS,
        "Things to know about this lesion, sorted",
        "kernel",
        "labels",
        nullable=False,
        words=LesionFlag,
    ),
    Column(
        "geometry_kind",
        _TEXT,
        "How the release marks it; null where it does not",
        "source",
        "geometry",
        words=GeometryKind,
    ),
    Column(
        "rings_native",
        RINGS_TYPE,
        "Outline in native pixels, even-odd; masks are traced along pixel edges",
        "kernel",
        "geometry",
        unit="px",
    ),
    Column("native_x0", _FLOAT, "Left border in native pixels", "kernel", "geometry", unit="px"),
    Column("native_y0", _FLOAT, "Upper border in native pixels", "kernel", "geometry", unit="px"),
    Column(
        "native_x1",
        _FLOAT,
        "Right border in native pixels, exclusive",
        "kernel",
        "geometry",
        unit="px",
    ),
    Column(
        "native_y1",
        _FLOAT,
        "Lower border in native pixels, exclusive",
        "kernel",
        "geometry",
        unit="px",
    ),
    Column("slice_first", pa.int32(), "First slice of the lesion, 0-based", "source", "geometry"),
    Column("slice_last", pa.int32(), "Last slice of the lesion, inclusive", "source", "geometry"),
    Column("x0", _FLOAT, "Left border in standard pixels", "kernel", "geometry", unit="px"),
    Column("y0", _FLOAT, "Upper border in standard pixels", "kernel", "geometry", unit="px"),
    Column(
        "x1", _FLOAT, "Right border in standard pixels, exclusive", "kernel", "geometry", unit="px"
    ),
    Column(
        "y1", _FLOAT, "Lower border in standard pixels, exclusive", "kernel", "geometry", unit="px"
    ),
    Column(
        "area_mm2",
        _FLOAT,
        "Area; null where the spacing is unknown or nothing is drawn",
        "kernel",
        "geometry",
        unit="mm2",
    ),
)

LESION_SCHEMA = arrow_schema(
    LESION_COLUMNS, {"mammo_corpus": "lesions", "format_version": str(FORMAT_VERSION)}
)
"""Schema of `<version>/lesions/<source>.parquet`."""
