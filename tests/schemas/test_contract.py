"""Manifest, lesions, rejects, receipts, plans and dataset.json."""

from __future__ import annotations

import subprocess
import sys

import pyarrow as pa
import pytest

from schemas import docs
from schemas.columns import problems, rounded, row_digest, to_table
from schemas.dataset import Dataset, version_name
from schemas.errors import MammoError, UsageError, missing_extra
from schemas.lesions import LESION_COLUMNS
from schemas.manifest import MANIFEST_COLUMNS, MANIFEST_SCHEMA, SAMPLE_COLUMNS
from schemas.plan import PlannedFilm, task_id
from schemas.receipt import Receipt, ReceiptEntry
from schemas.rejects import REMEDIES, Reject, RejectReason
from schemas.sample import member_names, sample_id, to_json_bytes
from schemas.spec import Spec
from schemas.vocabulary import Birads, Pathology, Split, SplitOrigin, birads_rank, worst

from .test_film import film, full_film

WHERE = {"shard", "image_offset", "image_size", "image_crc32c", "mask_offset", "mask_size"}
WHERE |= {"mask_crc32c", "json_offset", "json_size"}
VERSION = {"duplicate_group", "near_duplicate_of"}


def row() -> dict[str, object]:
    """Return a manifest row with every required column, made from the declared types."""
    fillers = {
        pa.string(): "x",
        pa.bool_(): False,
        pa.float64(): 1.5,
        pa.list_(pa.string()): [],
        pa.list_(pa.float64()): [1.0, 1.0],
    }
    values: dict[str, object] = {}
    for column in MANIFEST_COLUMNS:
        if not column.nullable:
            values[column.name] = fillers.get(column.type, 1)
            if column.words is not None and column.type == pa.string():
                values[column.name] = next(iter(column.words)).value
    return values


def receipt(**changes: object) -> Receipt:
    entries = (
        ReceiptEntry(row=row(), thumbnail=b"\x00\x01", lesions=()),
        ReceiptEntry(
            reject={
                "source": "mias",
                "film_key": "mdb002",
                "file": "mdb002.pgm",
                "reason": "truncated",
                "detail": "d",
                "stage": "decode",
            }
        ),
    )
    values = {
        "task_id": "t",
        "source": "mias",
        "split": "train",
        "shard": "shards/mias/train/t-1.tar",
        "tar_size": 3,
        "tar_sha256": "ab",
        "entries": entries,
    }
    return Receipt(**{**values, **changes})


def test_columns_are_declared_once():
    for columns in (MANIFEST_COLUMNS, LESION_COLUMNS):
        names = [column.name for column in columns]
        assert len(set(names)) == len(names)
        assert all(column.meaning and column.filled_by for column in columns)


def test_a_sample_knows_nothing_of_place_and_version():
    left_out = {c.name for c in MANIFEST_COLUMNS} - {c.name for c in SAMPLE_COLUMNS}
    assert left_out == WHERE | VERSION


def test_a_row_makes_a_table_without_problems():
    table = to_table([row()], MANIFEST_SCHEMA)
    assert list(problems(table, MANIFEST_COLUMNS)) == []


def test_a_word_outside_its_vocabulary_is_a_problem():
    table = to_table([{**row(), "pathology": "BENING"}], MANIFEST_SCHEMA)
    assert list(problems(table, MANIFEST_COLUMNS)) == [
        "column pathology holds 'BENING', which is not in its vocabulary"
    ]


def test_an_unknown_column_and_a_null_are_refused():
    with pytest.raises(ValueError, match="unknown columns"):
        to_table([{**row(), "colour": 1}], MANIFEST_SCHEMA)
    with pytest.raises(ValueError, match="column patient_id is null"):
        to_table([{**row(), "patient_id": None}], MANIFEST_SCHEMA)


def test_floats_are_rounded_to_seven_digits():
    assert rounded([1 / 3, 123456.789012, float("nan")]) == [0.3333333, 123456.8, None]


def test_the_digest_does_not_see_the_last_digits_of_a_float():
    assert row_digest([{"a": 0.1 + 0.2}]) == row_digest([{"a": 0.3}])
    assert row_digest([{"a": 0.31}]) != row_digest([{"a": 0.3}])


def test_a_receipt_survives_its_file():
    written = receipt()
    data = written.to_parquet()
    read = Receipt.from_parquet(data, "t.parquet")
    assert (read.made, read.rejected, read.shard) == (1, 1, written.shard)
    assert read.row_digest() == written.row_digest()
    assert read.to_parquet() == data


def test_a_receipt_with_another_pixel_has_another_digest():
    other = receipt(tar_sha256="cd")
    assert other.row_digest() != receipt().row_digest()


def test_a_file_that_is_no_receipt_is_named():
    with pytest.raises(MammoError, match=r"bad\.parquet is no receipt"):
        Receipt.from_parquet(b"PAR1 and so on", "bad.parquet")


def test_every_reason_has_a_remedy():
    assert set(REMEDIES) == set(RejectReason)


def test_a_reject_without_its_film_is_refused():
    with pytest.raises(ValueError, match="needs source, film_key and detail"):
        Reject(
            source="mias", film_key="", file="f", reason=RejectReason.BLANK, detail="d", stage="x"
        )


def test_the_worst_pathology_wins():
    assert worst(Pathology.BENIGN, Pathology.MALIGNANT, Pathology.NORMAL) is Pathology.MALIGNANT
    assert worst(Pathology.UNKNOWN, Pathology.NORMAL) is Pathology.NORMAL
    assert worst() is Pathology.UNKNOWN


def test_birads_rank_sorts_as_the_categories_do():
    ranks = [birads_rank(category) for category in Birads]
    assert ranks == sorted(ranks, key=float)
    assert birads_rank(None) is None


def test_sample_ids_are_stable_and_short():
    assert sample_id("mias", "mdb001") == "mias-b3485081ebb8"
    assert sample_id("mias", "mdb001") != sample_id("mia", "smdb001")


def test_members_of_a_sample():
    assert member_names("k", "png", True) == ("k.png", "k.mask.png", "k.json")
    assert member_names("k", "jxl", False) == ("k.jxl", "k.json")


def test_sample_json_is_one_sorted_line():
    data = to_json_bytes({"b": 1 / 3, "a": "ä"}, ({"x": 1.0},))
    assert data == b'{"a":"\\u00e4","b":0.3333333,"lesions":[{"x":1.0}]}\n'


def planned() -> list[PlannedFilm]:
    return [PlannedFilm(full_film(), Split.TEST, SplitOrigin.OFFICIAL)]


def test_a_task_id_changes_with_what_changes_bytes_and_with_nothing_else():
    same = task_id(planned(), Spec())
    assert same == task_id(planned(), Spec())
    assert same != task_id(planned(), Spec(pixel_mm=0.2))
    assert same != task_id(planned(), Spec(), key_digest="k")
    assert same != task_id([PlannedFilm(film(), Split.TEST, SplitOrigin.OFFICIAL)], Spec())
    assert same != task_id([PlannedFilm(full_film(), Split.TRAIN, SplitOrigin.HASH)], Spec())


@pytest.mark.parametrize(("name", "value"), [("pixel_mm", 0.0), ("long_side", 3)])
def test_a_spec_that_no_image_can_have_is_refused(name: str, value: float):
    with pytest.raises(UsageError, match=name.replace("_", "-")):
        Spec(**{name: value})


def test_the_version_name_follows_receipts_and_audit():
    name = version_name({"mias": "a"}, {"phash": 30})
    assert name.startswith("v-")
    assert len(name) == 14
    assert name == version_name({"mias": "a"}, {"phash": 30})
    assert name != version_name({"mias": "b"}, {"phash": 30})
    assert name != version_name({"mias": "a"}, {"phash": 31})


def test_a_file_that_is_no_dataset_json_is_named():
    with pytest.raises(MammoError, match=r"x/dataset\.json is no dataset\.json of this project"):
        Dataset.from_bytes(b"{}", "x/dataset.json")


def test_the_manifest_page_is_current():
    assert docs.PAGE.read_text(encoding="utf-8") == docs.manifest_page(), (
        "run `python -m schemas.docs`"
    )


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("schemas.corpus", ("apache_beam", "torch", "cv2", "google.cloud.storage", "pydicom")),
        ("mammo_train", ("apache_beam", "torch_xla", "etl")),
        ("etl", ("apache_beam", "torch")),
        ("beam_jobs", ("apache_beam", "torch")),
    ],
)
def test_an_import_pulls_in_nothing_heavy(module: str, unwanted: tuple[str, ...]):
    code = f"import sys, {module}; print(sorted(set(sys.modules) & set({unwanted!r})))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_missing_package_is_named_with_its_extra():
    error = ModuleNotFoundError("No module named 'pebble.pool'", name="pebble.pool")
    assert missing_extra(error, "etl,beam") == (
        'pebble is not installed: run pip install "mammo-corpus[etl,beam]"'
    )


def test_a_missing_module_of_our_own_is_a_defect():
    with pytest.raises(ModuleNotFoundError, match="schemas"):
        missing_extra(ModuleNotFoundError("No module named 'schemas.x'", name="schemas.x"), "etl")
