"""The card of a version: what it counts, what it shows, and that it can be made again."""

from __future__ import annotations

import html
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import schemas
from etl.card import croissant, page, write_card
from etl.card.figures import histogram, stacked
from etl.card.meanings import meanings
from schemas import vocabulary
from schemas.corpus import Corpus
from schemas.release import Words
from schemas.vocabulary import LabelBasis, Modality, QualityFlag
from tests.train.corpus import tiny_films, with_row, write_corpus

VOID = {"meta", "img", "br", "rect", "path"}
HOSTILE = 'GE <script>alert("x")</script> & Söhne'


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    films = tiny_films(6)
    films[0] = with_row(films[0], manufacturer=HOSTILE, age=90, quality_flags=["lossy"])
    films[1] = with_row(films[1], label_basis="biopsy", density="C", birads="4A")
    write_corpus(str(tmp_path / "out"), films)
    return schemas.open(str(tmp_path / "out"))


class Checker(HTMLParser):
    """Collects tables by the heading above them, and refuses tags that are not closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tables: dict[str, list[list[str]]] = {}
        self.links: list[str] = []
        self.heading = ""

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.links += [str(value) for name, value in attributes if name in {"src", "href"}]
        if tag not in VOID:
            self.open.append(tag)
        if tag in {"h2", "h3"}:
            self.heading = ""
        if tag == "tr":
            self.tables.setdefault(self.heading, []).append([])

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] in (["h2"], ["h3"]):
            self.heading += data
        elif self.open[-1:] in (["td"], ["th"]):
            self.tables[self.heading][-1].append(data)


def read(corpus: Corpus, **more: Any) -> tuple[Checker, str]:
    text = page(corpus, **more).decode()
    checker = Checker()
    checker.feed(text)
    assert checker.open == []
    return checker, text


def test_the_page_counts_what_the_manifest_holds(corpus: Corpus) -> None:
    checker, _ = read(corpus)
    frame = corpus.frame()
    [head, row] = checker.tables["What is inside"]
    assert dict(zip(head[1:4], row[1:4], strict=True)) == {
        "images": "12",
        "patients": "6",
        "lesions": str(int(frame["n_lesions"].sum())),
    }
    labels = checker.tables["What the labels rest on"]
    assert [line[0] for line in labels[1:]] == ["biopsy", "reader"]
    assert sum(int(line[-1]) for line in labels[1:]) == 12
    benign = labels[0].index("benign")
    assert sum(int(line[benign]) for line in labels[1:]) == (frame["pathology"] == "benign").sum()
    flags = checker.tables["Known defects"]
    assert flags[1] == ["mias", "lossy", meanings(QualityFlag)["lossy"], "1"]


def test_words_of_a_release_are_shown_as_text(corpus: Corpus) -> None:
    _, text = read(corpus)
    assert "<script" not in text
    assert html.escape(HOSTILE) in text


def test_the_page_opens_without_a_network(corpus: Corpus) -> None:
    checker, text = read(corpus, sheets={"mias": b"\x89PNG picture"})
    loaded = [link for link in checker.links if not link.startswith("data:image/png;base64,")]
    assert loaded == [""]  # the release's own page, which is cited
    assert not re.search(r"@import|url\(", text)
    assert len(checker.links) == 2


def test_pictures_are_those_that_were_given_and_others_are_missed_by_name(corpus: Corpus) -> None:
    assert "No picture of mias" in read(corpus)[1]
    assert "No picture of" not in read(corpus, sheets={"mias": b"x"})[1]


def test_notes_of_the_sources_are_among_the_caveats(corpus: Corpus) -> None:
    note = Words(column="class", becomes="pathology", words={}, cited="Info.txt", note="no biopsy")
    assert (
        "class becomes pathology (Info.txt): no biopsy" in read(corpus, words={"mias": [note]})[1]
    )


def test_a_card_is_the_same_bytes_again_and_replaces_an_older_one(corpus: Corpus) -> None:
    first = write_card(corpus, sheets={"mias": b"a picture"})
    shown = [corpus.store.read(path) for path in first]
    again = write_card(corpus)
    assert (
        again
        == first
        == (f"cards/{corpus.version}/index.html", f"cards/{corpus.version}/croissant.json")
    )
    hidden = [corpus.store.read(path) for path in first]
    assert b"data:image" in shown[0]
    assert b"data:image" not in hidden[0]
    write_card(corpus, sheets={"mias": b"a picture"})
    assert [corpus.store.read(path) for path in first] == shown


# --- croissant -------------------------------------------------------------------------------


def test_croissant_describes_every_column_that_its_readers_can_take(corpus: Corpus) -> None:
    document = json.loads(croissant(corpus))
    assert document["@type"] == "sc:Dataset"
    assert "http://mlcommons.org/croissant/1.1" in document["conformsTo"]
    for name in ("description", "license", "name", "url", "creator"):
        assert document[name]
    sets = {one["@id"]: one for one in document["recordSet"]}
    table = corpus.source_table("mias")
    fields = {field["name"]: field for field in sets["manifest-mias"]["field"]}
    assert set(table.schema.names) - set(fields) == {"raw"}  # a struct
    assert fields["age"]["dataType"] == "sc:Integer"
    assert fields["redistributable"]["dataType"] == "sc:Boolean"
    assert fields["scale"]["dataType"] == "sc:Float"
    assert fields["scale"]["isArray"] is True
    assert "biopsy_or_imaging" in fields["label_basis"]["description"]


def test_croissant_points_to_files_by_relative_path_and_digest(corpus: Corpus) -> None:
    import hashlib

    write_card(corpus)
    folder = Path(corpus.root, "cards", corpus.version)
    document = json.loads((folder / "croissant.json").read_bytes())
    ids = [one["@id"] for one in document["distribution"]]
    assert len(set(ids)) == len(ids) == 2
    for one in document["distribution"]:
        data = (folder / one["contentUrl"]).read_bytes()
        assert hashlib.sha256(data).hexdigest() == one["sha256"]
        assert one["contentSize"] == f"{len(data)} B"


def test_croissant_knows_every_id_that_it_refers_to(corpus: Corpus) -> None:
    document = json.loads(croissant(corpus))
    known, asked = set(), set()

    def walk(value: Any) -> None:
        if isinstance(value, dict):
            if set(value) == {"@id"}:
                asked.add(value["@id"])
            elif "@id" in value and "@type" in value:
                known.add(value["@id"])
            for item in value.values():
                walk(item)
        elif isinstance(value, list):
            for item in value:
                walk(item)

    walk({key: value for key, value in document.items() if key != "@context"})
    assert asked <= known


# --- pieces ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [LabelBasis, Modality, QualityFlag, vocabulary.Annotation])
def test_every_word_has_its_meaning(kind: Any) -> None:
    assert set(meanings(kind)) == {word.value for word in kind}


def test_bars_are_as_long_as_their_counts() -> None:
    drawn = stacked({"a": {"x": 10, "y": 30}, "b": {"x": 20}}, "t", {"x": "#111", "y": "#222"})
    widths = [float(width) for width in re.findall(r'<rect [^>]*width="([\d.]+)"', drawn)]
    assert widths == pytest.approx([105, 315, 210])


def test_a_histogram_counts_outliers_in_its_outer_bins_and_says_what_is_unknown() -> None:
    drawn = histogram(np.array([-5, 1, 1, 99, np.nan]), [0, 1, 2, 3], "t", "mm")
    assert re.findall(r"<title>(.*?)</title>", drawn) == [
        "0 to 1 mm: 1",
        "1 to 2 mm: 2",
        "2 to 3 mm: 1",
    ]
    assert "4 of 5 known" in drawn
