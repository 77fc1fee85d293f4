"""docs/labels.md: current, in the closed vocabulary, and made of the tables that sources use."""

from __future__ import annotations

import csv
from collections import Counter
from enum import StrEnum

import pytest

from etl import labels
from etl.sources import SOURCES, cbis_ddsm, mias, source
from etl.sources.cbis_ddsm import cases
from schemas import lesions, manifest, vocabulary
from schemas.release import Words
from schemas.vocabulary import Pathology

KINDS = {
    name: kind
    for name in vocabulary.__all__
    if isinstance(kind := getattr(vocabulary, name), type) and issubclass(kind, StrEnum)
}
COLUMNS = {column.name: column for column in (*manifest.MANIFEST_COLUMNS, *lesions.LESION_COLUMNS)}
ALL = [(key, words) for key in sorted(SOURCES) for words in source(key).WORDS]


def named(value):
    return f"{value[0]}-{value[1].column}-{value[1].becomes}"


def test_the_page_is_current():
    assert labels.PAGE.read_text(encoding="utf-8") == labels.labels_page(), (
        "docs/labels.md is out of date: run `python -m etl.labels`"
    )
    assert labels.main(["--check"]) == 0


def test_a_page_out_of_date_is_told(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(labels, "PAGE", tmp_path / "labels.md")
    assert labels.main(["--check"]) == 1
    assert "run `python -m etl.labels`" in capsys.readouterr().err
    assert labels.main([]) == 0
    assert labels.main(["--check"]) == 0


@pytest.mark.parametrize("item", ALL, ids=named)
def test_every_meaning_is_a_word_of_the_closed_vocabulary(item):
    _, words = item
    for word, value in words.words.items():
        for meaning in labels._flat(value):
            if isinstance(meaning, str):
                assert any(meaning in list(kind) for kind in KINDS.values()), (word, meaning)
            else:
                assert isinstance(meaning, (bool, int, float)), (word, meaning)


@pytest.mark.parametrize("item", ALL, ids=named)
def test_what_a_table_fills_is_a_column_with_that_vocabulary(item):
    _, words = item
    names = [part.strip().split(".")[0] for part in words.becomes.split(",")]
    assert set(names) <= set(COLUMNS), names
    allowed = {str(word) for name in names for word in COLUMNS[name].words or ()}
    free = any(COLUMNS[name].words is None for name in names)
    for value in words.words.values():
        meanings = {meaning for meaning in labels._flat(value) if isinstance(meaning, str)}
        assert free or meanings <= allowed, words.column


@pytest.mark.parametrize("item", ALL, ids=named)
def test_a_table_is_cited_and_counts_its_own_words(item):
    _, words = item
    assert isinstance(words, Words)
    assert words.words
    assert words.cited.strip()
    assert all(count >= 0 for count in words.counts.values())


def test_every_release_says_how_its_pathology_is_made():
    for key in SOURCES:
        becomes = {part.strip() for words in source(key).WORDS for part in words.becomes.split(",")}
        assert "pathology" in becomes, key


def test_the_tables_are_the_very_ones_that_sources_map_with():
    assert [words.words for words in mias.WORDS] == [
        *(mias.SEVERITIES, mias.NO_LESION, mias.FINDINGS, mias.TISSUES),
    ]
    assert mias.WORDS[2].words is mias.FINDINGS
    assert cbis_ddsm.WORDS[0].words is cases.LABELS
    assert next(w for w in cbis_ddsm.WORDS if w.becomes == "calc_type").words is cases.CALC_TYPES


def test_counts_of_cbis_ddsm_are_those_of_its_tables(shared):
    counts = {words.column: Counter() for words in cbis_ddsm.WORDS if words.counts}
    for path in sorted((shared / "data/tables/cbis-ddsm").glob("*case_description*.csv")):
        with path.open(newline="") as file:
            for row in csv.DictReader(file):
                for title, cell in row.items():
                    column = title.replace("_", " ")
                    if column in counts:
                        counts[column].update(parts(column, cell.strip()))
    for words in cbis_ddsm.WORDS:
        if words.counts:
            counts[words.column].pop("N/A", None)
            assert counts[words.column] == words.counts, words.column


def parts(column, cell):
    joined = column in ("mass shape", "mass margins", "calc type", "calc distribution")
    return cell.split("-") if joined else [cell]


def test_counts_of_mias_are_those_of_its_table(shared):
    text = (shared / "data/mias/Info.txt").read_text()
    lines = {line.strip() for line in text.splitlines() if line.startswith("mdb")}
    rows = [line.split() for line in lines if line[3:6].isdigit()]
    severity, normal, kind, _ = mias.WORDS
    assert Counter(row[3] for row in rows if len(row) > 3) == severity.counts
    assert Counter(row[2] for row in rows) == {**normal.counts, **kind.counts}


def test_a_cell_is_escaped_and_an_empty_meaning_says_that_the_word_is_kept():
    words = Words(
        column="a|b",
        becomes="raw",
        words={"x|y": None, "": Pathology.BENIGN},
        cited="c",
        counts={"x|y": 1234},
    )
    assert list(labels._cells(words)) == [
        ("`x\\|y`", "kept as the raw word", "1,234"),
        ("(empty)", "`benign`", ""),
    ]
