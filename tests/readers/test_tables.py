from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from etl.readers.nbia import by_folder, read_nbia
from etl.readers.tables import read_rows
from schemas.errors import ContentError
from schemas.rejects import RejectReason


@pytest.mark.parametrize(
    "data",
    [
        b"id,view\n001, CC \n",
        b"\xef\xbb\xbfid,view\r\n001,CC\r\n",
        b"id,view\r001,CC\r",
        b"id;view\n001;CC\n",
        b"id\tview\n001\tCC\n",
        b"id|view\n001|CC",
        b'"id","view"\n"001","CC"\n\n\n',
        b'"id", "view"\n"001", "CC"\n , \n',
        b"id,view\n001,CC,,\n",
        "id,view\n001,CC\n".encode("utf-16"),
    ],
)
def test_one_table_in_its_many_spellings(data: bytes) -> None:
    assert list(read_rows(data)) == [{"id": "001", "view": "CC"}]


@pytest.mark.parametrize("word", ["", "  ", "N/A", "NA", "nan", "NaN", "n/a", " null "])
def test_null_words_are_none(word: str) -> None:
    assert list(read_rows(f"id,density\n7,{word}\n".encode())) == [{"id": "7", "density": None}]


@pytest.mark.parametrize("word", ["0", "N", "none", "A", "-"])
def test_words_that_mean_something_are_kept(word: str) -> None:
    assert list(read_rows(f"id,density\n7,{word}\n".encode())) == [{"id": "7", "density": word}]


def test_newlines_and_delimiters_inside_quotes_belong_to_the_cell() -> None:
    data = b'id,path\n1,"a/b\n"\n2,"c,d"\n'
    assert [row["path"] for row in read_rows(data)] == ["a/b", "c,d"]


def test_the_delimiter_is_not_looked_for_inside_quotes() -> None:
    assert list(read_rows(b'"a,b,c";d\n1;2\n')) == [{"a,b,c": "1", "d": "2"}]


def test_a_named_delimiter_is_used() -> None:
    assert list(read_rows(b"a b\n1  2\n", " ")) == [{"a": "1", "b": "2"}]


def test_windows_1252_is_read_where_utf_8_is_not() -> None:
    assert list(read_rows("id,idade\n1,não\n".encode("cp1252"))) == [{"id": "1", "idade": "não"}]


def test_repeated_and_missing_titles_stay_apart() -> None:
    assert list(read_rows(b",x,x\n0,1,2\n")) == [{"": "0", "x": "1", "x.1": "2"}]


def test_only_the_wanted_columns_are_kept() -> None:
    assert list(read_rows(b"a,b,c\n1,2,3\n", columns=("c", "a"))) == [{"a": "1", "c": "3"}]


def test_long_cells_are_read() -> None:
    outline = "1 2 " * 100_000
    assert next(read_rows(f"id,outline\n1,{outline}\n".encode()))["outline"] == outline.strip()


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (b"", "the table has no title line"),
        (b" , \n", "the table has no title line"),
        (b"a,b\n1,2\n3\n", "line 3 has 1 cells, the title line 2"),
        (b"a,b\n1,2,3\n", "line 2 has 3 cells, the title line 2"),
        (b'a,b\n1,"2\n', "line 2 cannot be read"),
        (b"PK\x03\x04\x00\x00", "the table is no text"),
    ],
)
def test_damaged_tables_are_refused_with_their_line(data: bytes, match: str) -> None:
    with pytest.raises(ContentError, match=match) as caught:
        list(read_rows(data))
    assert caught.value.reason is RejectReason.BAD_ROW


def test_real_tables_are_those_of_pandas(shared: Path) -> None:
    tables = [
        path
        for path in sorted((shared / "data" / "tables").rglob("*.csv"))
        if path.stat().st_size < 600_000
    ]
    assert len(tables) >= 10
    for path in tables:
        data = path.read_bytes()
        separator = ";" if data.count(b";", 0, 200) > data.count(b",", 0, 200) else ","
        frame = pd.read_csv(path, sep=separator, dtype=str, keep_default_na=False, encoding="utf-8")
        frame = frame[frame.apply(lambda row: any(cell.strip() for cell in row), axis=1)]
        found = list(read_rows(data))
        assert len(found) == len(frame), path.name
        for row, (_, reference) in zip(found, frame.iterrows(), strict=True):
            cells = [(cell or "").strip() for cell in reference]
            nulls = {"", "N/A", "NA", "nan"}
            assert [None if cell in nulls else cell for cell in cells] == list(row.values())


def test_the_nbia_list_of_a_real_download(shared: Path) -> None:
    data = (shared / "data/tables/cmmd/metadata.csv").read_bytes()
    series = list(read_nbia(data))
    assert len(series) == 1775
    assert len({item.patient_id for item in series}) == 1775
    assert sum(item.num_images or 0 for item in series) == 5202
    assert by_folder(data)["CMMD/D1-0001/07-18-2010-NA-NA-79377/1.000000-NA-70244"].patient_id == (
        "D1-0001"
    )


@pytest.mark.parametrize(
    "data",
    [
        b"Series UID,Subject ID,File Location,Number of Images\n1.2.3,P_1,.\\C\\P_1\\x-y,2\n",
        b"SeriesInstanceUID,PatientID,File_Location,Number Of Images\n1.2.3,P_1,./C/P_1/x-y/,2\n",
        b"series uid;subject id;file location;image count\r\n1.2.3;P_1;C/P_1/x-y;2\r\n",
    ],
)
def test_nbia_titles_and_paths_as_they_differ_between_versions(data: bytes) -> None:
    (series,) = read_nbia(data)
    assert (series.series_uid, series.patient_id) == ("1.2.3", "P_1")
    assert (series.folder, series.num_images) == ("C/P_1/x-y", 2)


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (b"Series UID,Collection\n1.2.3,X\n", "series 1 of the NBIA table has no patient_id"),
        (b"Series UID,Subject ID\n,P_1\n", "series 1 of the NBIA table has no series_uid"),
        (b"Series UID,Subject ID,Number of Images\n1,P,two\n", "has 'two' images"),
    ],
)
def test_nbia_rows_that_name_no_series_are_refused(data: bytes, match: str) -> None:
    with pytest.raises(ContentError, match=match):
        list(read_nbia(data))
