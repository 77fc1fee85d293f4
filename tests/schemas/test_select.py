"""--where: one condition over known columns, the same rows every time, and no way out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq
import pytest

from schemas.errors import UsageError
from schemas.select import select

if TYPE_CHECKING:
    from pathlib import Path

SCHEMA = pa.schema(
    [
        pa.field("sample_id", pa.string(), nullable=False, metadata={"meaning": "the key"}),
        pa.field("modality", pa.dictionary(pa.int32(), pa.string())),
        pa.field("birads", pa.string()),
        pa.field("age", pa.int16()),
        pa.field("findings", pa.list_(pa.string())),
        pa.field("spot_mag", pa.bool_()),
    ],
    metadata={"version": "v-1"},
)
ROWS = pa.Table.from_pydict(
    {
        "sample_id": ["d", "b", "a", "c"],
        "modality": ["FFDM", "SFM", "DBT", None],
        "birads": ["4A", "4", "2", None],
        "age": [50, 61, None, 70],
        "findings": [["mass", "calcification"], [], None, ["mass"]],
        "spot_mag": [True, False, None, False],
    },
    schema=SCHEMA,
)


@pytest.fixture(params=["table", "dataset"])
def rows(request: pytest.FixtureRequest, tmp_path: Path) -> pa.Table | pads.Dataset:
    if request.param == "table":
        return ROWS
    pq.write_table(ROWS, tmp_path / "rows.parquet")
    return pads.dataset(tmp_path / "rows.parquet")


def ids(rows: pa.Table | pads.Dataset, where: str | None) -> str:
    return "".join(select(rows, where, ["sample_id"]).column("sample_id").to_pylist())


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (None, "abcd"),
        ("modality IN ('FFDM','SFM') AND list_contains(findings,'mass')", "d"),
        ("age > 55", "bc"),
        ("age IS NULL", "a"),
        ("NOT spot_mag", "bc"),
        ("spot_mag", "d"),
        ("birads LIKE '4%' -- with a note", "bd"),
        ("manifest.age = 70", "c"),
        ("age = (SELECT max(age) FROM manifest)", "c"),
        ("false", ""),
    ],
)
def test_rows_that_meet_the_condition_come_sorted(
    rows: pa.Table | pads.Dataset, where: str | None, expected: str
) -> None:
    assert ids(rows, where) == expected


@pytest.mark.parametrize("where", [None, "true"])
def test_types_and_metadata_are_those_of_the_input(
    rows: pa.Table | pads.Dataset, where: str | None
) -> None:
    found = select(rows, where)
    assert found.schema.equals(rows.schema, check_metadata=True)
    assert found.to_pylist() == ROWS.sort_by("sample_id").to_pylist()


def test_columns_come_in_the_order_asked_for(rows: pa.Table | pads.Dataset) -> None:
    assert select(rows, "age > 0", ["age", "birads"]).to_pydict() == {
        "age": [61, 70, 50],
        "birads": ["4", None, "4A"],
    }


def test_lesions_of_one_sample_come_in_their_order() -> None:
    lesions = pa.table({"lesion_id": [2, 1, 1], "sample_id": ["b", "b", "a"]})
    expected = [{"lesion_id": 1, "sample_id": "a"}, {"lesion_id": 1, "sample_id": "b"}]
    assert select(lesions, "lesion_id < 2").to_pylist() == expected
    assert select(lesions, None).column("lesion_id").to_pylist() == [1, 1, 2]


def test_only_the_columns_needed_are_read(tmp_path: Path) -> None:
    pq.write_table(ROWS, tmp_path / "rows.parquet")
    field = SCHEMA.get_field_index("birads")
    unreadable = SCHEMA.set(field, pa.field("birads", pa.timestamp("s")))
    careless = pads.dataset(tmp_path / "rows.parquet", schema=unreadable)
    assert ids(careless, "modality = 'SFM'") == "b"
    with pytest.raises(pa.ArrowInvalid, match=r"birads|timestamp"):
        select(careless, None, ["birads"])


@pytest.mark.parametrize(
    "where",
    [
        "1=1); DROP VIEW manifest; --",
        "1=1; DROP VIEW manifest",
        "1=1) UNION SELECT ('x'",
        "1=1); COPY manifest TO 'FILE'; --",
        "1=1); ATTACH ':memory:' AS other; --",
        "ATTACH 'FILE'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "PRAGMA database_list",
        "SET enable_external_access = true",
        "1=1); SET lock_configuration = false; --",
        "CREATE TABLE t AS SELECT 1",
        "EXISTS (SELECT * FROM read_csv('FILE'))",
        "EXISTS (SELECT * FROM read_parquet('FILE'))",
        "EXISTS (SELECT * FROM read_text('FILE'))",
        "EXISTS (SELECT * FROM 'FILE')",
        "EXISTS (SELECT * FROM glob('FILE'))",
        "EXISTS (SELECT * FROM ROWS)",
        "age > 1 ORDER BY age",
        "age > 1 LIMIT 1",
        "age > 1, age < 9",
        "count(*) > 1",
        "age > ?",
        "'unterminated",
        "",
        "   ",
    ],
)
def test_what_is_not_one_condition_is_refused(
    rows: pa.Table | pads.Dataset, where: str, tmp_path: Path
) -> None:
    file = tmp_path / "secret.csv"
    file.write_text("a\n1\n")
    with pytest.raises(UsageError, match=r"--where .* cannot be used: "):
        select(rows, where.replace("FILE", str(file)))
    assert file.read_text() == "a\n1\n"
    assert ids(rows, "true") == "abcd"


@pytest.mark.parametrize(
    ("where", "sentence"),
    [
        ("modlity = 'FFDM'", "there is no column modlity; did you mean modality"),
        ("zzz = 1", "there is no column zzz; there are sample_id, modality"),
        ("other.age = 1", "there is no column other"),
        ("age", "is not a condition but a value of type SMALLINT; compare it"),
        ("birads", "is not a condition but a value of type VARCHAR; compare it"),
        ("NULL", "is not a condition"),
        ("*", "is not a condition but a value of type BOOLEAN, SMALLINT, VARCHAR"),
        ("birads = 4", "birads is string: write birads = 'WORD'"),
    ],
)
def test_a_wrong_condition_is_explained(
    rows: pa.Table | pads.Dataset, where: str, sentence: str
) -> None:
    with pytest.raises(UsageError, match=sentence):
        select(rows, where)


@pytest.mark.parametrize(
    ("where", "word"),
    [
        ("random() < 0.5", "random"),
        ("RANDOM() < 0.5", "random"),
        ("age > 1 AND (age < 9 OR uuid() > 'a')", "uuid"),
        ("now() > TIMESTAMP '2026-01-01'", "now"),
        ("current_date > DATE '2026-01-01'", "current_date"),
        ("age > (SELECT max(random()) FROM manifest)", "random"),
    ],
)
def test_chance_and_the_clock_are_refused(
    rows: pa.Table | pads.Dataset, where: str, word: str
) -> None:
    with pytest.raises(UsageError, match=f"uses {word}, which gives other rows another time"):
        select(rows, where)


def test_a_column_named_like_a_function_is_a_column() -> None:
    named = pa.table({"sample_id": ["a", "b"], "random": [1, 2], "current_date": [3, 4]})
    assert ids(named, "random = 2") == "b"
    assert ids(named, "manifest.current_date = 3") == "a"


@pytest.mark.parametrize("columns", [["agee"], ["sample_id", "agee"]])
def test_an_unknown_column_of_the_result_is_named(
    rows: pa.Table | pads.Dataset, columns: list[str]
) -> None:
    with pytest.raises(UsageError, match="there is no column agee; did you mean age"):
        select(rows, None, columns)
