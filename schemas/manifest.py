"""The manifest: one row a sample. Every column is declared here, once.

`docs/manifest.md` is generated from this table (`python -m schemas.manifest`).
"""

from __future__ import annotations

import pyarrow as pa

from schemas.columns import Column, arrow_schema
from schemas.version import FORMAT_VERSION
from schemas.vocabulary import (
    Annotation,
    AnnotationKind,
    Birads,
    Density,
    ExamKind,
    Finding,
    FrameKind,
    Intent,
    LabelBasis,
    LabelScope,
    Laterality,
    Modality,
    Orientation,
    Pathology,
    QualityFlag,
    SpacingSource,
    Split,
    SplitOrigin,
    View,
    WindowKind,
)

__all__ = ["MANIFEST_COLUMNS", "MANIFEST_SCHEMA", "RAW_TYPE", "SAMPLE_COLUMNS", "SAMPLE_SCHEMA"]

_TEXT = pa.string()
_TEXTS = pa.list_(pa.string())
_FLOATS = pa.list_(pa.float64())

RAW_TYPE = pa.struct([(name, _TEXT) for name in ("label", "density", "view", "finding", "status")])


def _required(
    name: str, kind: pa.DataType, meaning: str, by: str, group: str, **more: object
) -> Column:
    return Column(name, kind, meaning, by, group, nullable=False, **more)  # type: ignore[arg-type]


MANIFEST_COLUMNS: tuple[Column, ...] = (
    # who
    _required(
        "sample_id",
        _TEXT,
        "Key of the sample: source and 12 hex digits of its film_key",
        "job",
        "who",
    ),
    _required("source", _TEXT, "Key of the release", "source", "who"),
    _required("patient_id", _TEXT, "`source:patient`; never an image", "source", "who"),
    _required(
        "split_key",
        _TEXT,
        "What stays on one side of a split: the patient, or known twins together",
        "source",
        "who",
    ),
    Column("exam_id", _TEXT, "Examination, within the source", "source", "who"),
    Column(
        "exam_day",
        pa.int32(),
        "Days since the patient's first examination; null where the release shifts dates",
        "source",
        "who",
        unit="day",
    ),
    Column("exam_kind", _TEXT, "Why the examination was made", "source", "who", words=ExamKind),
    Column(
        "pair_key",
        _TEXT,
        "Shared by the samples of one exposure or of one film under two ids",
        "source",
        "who",
    ),
    Column(
        "duplicate_group",
        _TEXT,
        "Shared by samples that the audit found to be one image",
        "audit",
        "who",
        version=True,
    ),
    # what
    _required("modality", _TEXT, "How the picture was made", "source", "what", words=Modality),
    Column("view", _TEXT, "Projection", "source", "what", words=View),
    Column("laterality", _TEXT, "The patient's side", "source", "what", words=Laterality),
    Column("intent", _TEXT, "Presentation Intent Type (0008,0068)", "kernel", "what", words=Intent),
    _required("spot_mag", pa.bool_(), "Spot compression or magnification view", "source", "what"),
    Column("implant", pa.bool_(), "An implant is present", "source", "what"),
    Column("manufacturer", _TEXT, "Manufacturer (0008,0070)", "kernel", "what"),
    Column("model", _TEXT, "Manufacturer's Model Name (0008,1090)", "kernel", "what"),
    Column(
        "age", pa.int16(), "Age in whole years; 90 means 90 or more", "source", "what", unit="year"
    ),
    _required(
        "frame_kind",
        _TEXT,
        "Part of the file that the sample is",
        "source",
        "what",
        words=FrameKind,
    ),
    Column("frame", pa.int32(), "0-based frame or slice", "source", "what"),
    Column(
        "depth_fraction",
        pa.float64(),
        "Depth of the slice within its volume, 0 to 1",
        "source",
        "what",
    ),
    Column("phase", _TEXT, "Phase of a dynamic series", "source", "what"),
    Column("native_frames", pa.int32(), "Frames in the file", "kernel", "what"),
    # labels
    _required(
        "pathology",
        _TEXT,
        "What the release says; unlabelled is `unknown`, never `normal`",
        "source",
        "labels",
        words=Pathology,
    ),
    _required(
        "label_basis", _TEXT, "On what the pathology rests", "source", "labels", words=LabelBasis
    ),
    _required(
        "label_scope", _TEXT, "What the pathology is said of", "source", "labels", words=LabelScope
    ),
    Column("birads", _TEXT, "BI-RADS assessment category", "source", "labels", words=Birads),
    Column(
        "birads_rank",
        pa.float64(),
        "Sorts as the categories do: 4 < 4A < 4B < 4C < 5",
        "source",
        "labels",
    ),
    Column("density", _TEXT, "Breast composition, A to D", "source", "labels", words=Density),
    Column("density_scale", _TEXT, "Whose scale the density was given in", "source", "labels"),
    _required(
        "findings",
        _TEXTS,
        "Kinds of findings on this image, sorted",
        "source",
        "labels",
        words=Finding,
    ),
    Column(
        "months_to_cancer",
        pa.float64(),
        "Months from this image to a later cancer",
        "source",
        "labels",
        unit="month",
    ),
    Column(
        "raw", RAW_TYPE, "The release's own words, from an allow-list; no dates", "source", "labels"
    ),
    # annotation
    _required(
        "annotation",
        _TEXT,
        "Is everything that the release calls a lesion drawn on this image?",
        "kernel",
        "annotation",
        words=Annotation,
    ),
    Column(
        "annotation_kind",
        _TEXT,
        "The coarsest way in which lesions are drawn here",
        "kernel",
        "annotation",
        words=AnnotationKind,
    ),
    _required("n_lesions", pa.int32(), "Rows of the lesions table", "source", "annotation"),
    # geometry
    _required(
        "native_height", pa.int32(), "Rows of the stored image", "kernel", "geometry", unit="px"
    ),
    _required(
        "native_width", pa.int32(), "Columns of the stored image", "kernel", "geometry", unit="px"
    ),
    Column(
        "native_pixel_mm",
        _FLOATS,
        "Spacing of the stored pixels: row, column",
        "kernel",
        "geometry",
        unit="mm",
    ),
    _required(
        "spacing_source",
        _TEXT,
        "Where the spacing came from",
        "kernel",
        "geometry",
        words=SpacingSource,
    ),
    _required("height", pa.int32(), "Rows of the standard image", "kernel", "geometry", unit="px"),
    _required(
        "width", pa.int32(), "Columns of the standard image", "kernel", "geometry", unit="px"
    ),
    Column(
        "pixel_mm",
        pa.float64(),
        "Spacing of the standard image; null where the native one is unknown",
        "kernel",
        "geometry",
        unit="mm",
    ),
    _required(
        "mm_eff",
        pa.float64(),
        "pixel_mm, or nominal: 204.8 mm over the long side of the breast box",
        "kernel",
        "geometry",
        unit="mm",
    ),
    _required("mm_nominal", pa.bool_(), "mm_eff is nominal", "kernel", "geometry"),
    _required(
        "orientation",
        _TEXT,
        "What was done so that the breast lies on the left edge",
        "kernel",
        "geometry",
        words=Orientation,
    ),
    _required(
        "crop_x",
        pa.int32(),
        "Left border of the crop in the oriented native image",
        "kernel",
        "geometry",
        unit="px",
    ),
    _required(
        "crop_y",
        pa.int32(),
        "Upper border of the crop in the oriented native image",
        "kernel",
        "geometry",
        unit="px",
    ),
    _required("scale", _FLOATS, "Standard pixels per native pixel: x, y", "kernel", "geometry"),
    # pixels
    _required(
        "bits_stored", pa.int16(), "Bits that the stored pixels use", "kernel", "pixels", unit="bit"
    ),
    Column(
        "photometric",
        _TEXT,
        "Photometric Interpretation (0028,0004) before inversion",
        "kernel",
        "pixels",
    ),
    _required(
        "window_kind",
        _TEXT,
        "Which grey levels were stretched to 16 bits",
        "kernel",
        "pixels",
        words=WindowKind,
    ),
    Column(
        "window",
        _FLOATS,
        "Grey levels of the modality's scale that became 0 and 65535",
        "kernel",
        "pixels",
    ),
    _required(
        "breast_fraction",
        pa.float64(),
        "Share of the standard image that is tissue",
        "kernel",
        "pixels",
    ),
    _required(
        "p01", pa.float64(), "1st percentile inside the tissue, 0 to 65535", "kernel", "pixels"
    ),
    _required("p50", pa.float64(), "Median inside the tissue, 0 to 65535", "kernel", "pixels"),
    _required(
        "p99", pa.float64(), "99th percentile inside the tissue, 0 to 65535", "kernel", "pixels"
    ),
    _required("mean", pa.float64(), "Mean inside the tissue, 0 to 65535", "kernel", "pixels"),
    # trust
    _required(
        "source_sha256",
        _TEXT,
        "sha256 of the image file (of the files' digests, in order, where several)",
        "kernel",
        "trust",
    ),
    _required("pixel_sha256", _TEXT, "sha256 of the decoded stored pixels", "kernel", "trust"),
    _required("phash", _TEXT, "256-bit perceptual hash of the standard image", "kernel", "trust"),
    _required("split", _TEXT, "Side of the split_key", "job", "trust", words=Split),
    _required("split_origin", _TEXT, "Who decided the side", "job", "trust", words=SplitOrigin),
    Column("official_split", _TEXT, "The release's own word", "source", "trust"),
    _required(
        "quality_flags",
        _TEXTS,
        "Things to know, sorted; those that begin with `audit:` belong to the version",
        "kernel",
        "trust",
        words=QualityFlag,
    ),
    Column(
        "near_duplicate_of",
        _TEXT,
        "First sample of the duplicate_group",
        "audit",
        "trust",
        version=True,
    ),
    # where
    _required("shard", _TEXT, "Tar file, relative to the corpus", "job", "where", place=True),
    _required(
        "image_offset",
        pa.int64(),
        "First byte of the image in the tar",
        "job",
        "where",
        unit="byte",
        place=True,
    ),
    _required(
        "image_size", pa.int64(), "Length of the image", "job", "where", unit="byte", place=True
    ),
    _required(
        "image_crc32c", pa.uint32(), "CRC32C of the image's bytes", "job", "where", place=True
    ),
    Column(
        "mask_offset",
        pa.int64(),
        "First byte of the mask in the tar; null where annotation is none",
        "job",
        "where",
        unit="byte",
        place=True,
    ),
    Column("mask_size", pa.int64(), "Length of the mask", "job", "where", unit="byte", place=True),
    Column("mask_crc32c", pa.uint32(), "CRC32C of the mask's bytes", "job", "where", place=True),
    _required(
        "json_offset",
        pa.int64(),
        "First byte of the JSON in the tar",
        "job",
        "where",
        unit="byte",
        place=True,
    ),
    _required(
        "json_size", pa.int64(), "Length of the JSON", "job", "where", unit="byte", place=True
    ),
    # licence
    _required("licence", _TEXT, "Licence key of the release", "source", "licence"),
    _required("redistributable", pa.bool_(), "Pixels may be passed on", "source", "licence"),
    _required(
        "weights_releasable",
        pa.bool_(),
        "Weights learnt from this sample may be released",
        "source",
        "licence",
    ),
    _required("citation", _TEXT, "What to cite", "source", "licence"),
    # provenance
    Column(
        "film_key",
        _TEXT,
        "The release's own image id; null where it may not be shared",
        "source",
        "provenance",
    ),
    Column(
        "source_files",
        _TEXTS,
        "Files read, relative to the release's root; null where they may not be shared",
        "source",
        "provenance",
    ),
    _required(
        "pipeline_version",
        pa.int32(),
        "schemas.version.PIPELINE_VERSION of the bytes",
        "kernel",
        "provenance",
    ),
    _required("spec", _TEXT, "Settings of the kernel, as JSON", "kernel", "provenance"),
)

MANIFEST_SCHEMA = arrow_schema(
    MANIFEST_COLUMNS, {"mammo_corpus": "manifest", "format_version": str(FORMAT_VERSION)}
)
"""Schema of `<version>/manifest/<source>.parquet`."""

SAMPLE_COLUMNS: tuple[Column, ...] = tuple(
    column for column in MANIFEST_COLUMNS if not column.place and not column.version
)
"""The sample's own facts: what KEY.json holds."""

SAMPLE_SCHEMA = arrow_schema(SAMPLE_COLUMNS)
"""Schema of the sample's own facts."""
