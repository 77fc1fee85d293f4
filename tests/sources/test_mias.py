"""MIAS: rows of every shape, every layout in circulation, counts of the official table."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from etl.sources import source
from schemas.errors import MammoError
from schemas.rejects import RejectReason
from schemas.release import HeaderIndex
from schemas.store import Entry
from schemas.vocabulary import Annotation, Finding, Laterality, Margin, Modality, Pathology, View
from tests.sources.copies import absent, copy_of, films, planned, rejects

MIAS = source("mias")

# Rows verbatim from the official Info.txt; the legend is none of them.
ROWS = """REFNUM BG CLASS SEVERITY X Y RADIUS
mdb001 G CIRC B 535 425 197
mdb003 D NORM 
mdb005 F CIRC B 477 133 30
mdb005 F CIRC B 500 168 26
mdb059 F CIRC B
mdb144 F MISC B 233 994 29
mdb144 F MISC M 313 540 27
mdb216 D CALC M *NOTE 3* 
"""  # noqa: W291
NUMBERS = (1, 3, 5, 59, 144, 216)


def pgm(*numbers: int, folder: str = "all-mias") -> list[str]:
    return [f"{folder}/mdb{number:03d}.pgm" for number in numbers]


def plan_of(tmp_path, text: str, images=None, table: str = "Info.txt"):
    images = pgm(*NUMBERS) if images is None else images
    return planned(MIAS, copy_of(tmp_path, {table: text.encode()}, images))


@pytest.fixture
def official(shared):
    return (shared / "data/mias/Info.txt").read_bytes()


# key: side, patient, label, annotation, lesions as (finding, margins, label, circle).
# Circles by hand: column + 1/2, and 1023 - y + 1/2 from the top.
GOLDEN = {
    "mdb001": (
        *(Laterality.R, "mias-001", Pathology.BENIGN, Annotation.COMPLETE),
        [(Finding.MASS, (Margin.CIRCUMSCRIBED,), Pathology.BENIGN, (535.5, 598.5, 197))],
    ),
    "mdb003": (Laterality.R, "mias-002", Pathology.NORMAL, Annotation.COMPLETE, []),
    "mdb005": (
        *(Laterality.R, "mias-003", Pathology.BENIGN, Annotation.COMPLETE),
        [
            (Finding.MASS, (Margin.CIRCUMSCRIBED,), Pathology.BENIGN, (477.5, 890.5, 30)),
            (Finding.MASS, (Margin.CIRCUMSCRIBED,), Pathology.BENIGN, (500.5, 855.5, 26)),
        ],
    ),
    "mdb059": (
        *(Laterality.R, "mias-030", Pathology.BENIGN, Annotation.NONE),
        [(Finding.MASS, (Margin.CIRCUMSCRIBED,), Pathology.BENIGN, None)],
    ),
    "mdb144": (
        *(Laterality.L, "mias-072", Pathology.MALIGNANT, Annotation.COMPLETE),
        [
            (Finding.MASS, (Margin.ILL_DEFINED,), Pathology.BENIGN, (233.5, 29.5, 29)),
            (Finding.MASS, (Margin.ILL_DEFINED,), Pathology.MALIGNANT, (313.5, 483.5, 27)),
        ],
    ),
    "mdb216": (
        *(Laterality.L, "mias-108", Pathology.MALIGNANT, Annotation.NONE),
        [(Finding.CALCIFICATION, (), Pathology.MALIGNANT, None)],
    ),
}


@pytest.mark.parametrize("key", GOLDEN)
def test_rows_of_every_shape_become_the_film_written_by_hand(tmp_path, key):
    film = films(plan_of(tmp_path, ROWS))[key]
    side, patient, pathology, annotation, lesions = GOLDEN[key]
    assert (film.laterality, film.patient_key, film.pathology) == (side, patient, pathology)
    assert (film.annotation, film.view, film.modality) == (annotation, View.MLO, Modality.SFM)
    assert [
        (x.finding, x.margin, x.pathology, x.geometry.values if x.geometry else None)
        for x in film.lesions
    ] == lesions
    assert {x.label_basis.value for x in (film, *film.lesions)} == {"reader"}


def test_what_the_release_documents_outside_of_its_files_is_on_every_film(tmp_path):
    for film in films(plan_of(tmp_path, ROWS)).values():
        assert (film.native_pixel_mm, film.image_size) == ((0.2, 0.2), (1024, 1024))
        assert (film.density, film.density_scale) == (None, "mias")


def test_the_release_s_own_words_are_kept(tmp_path):
    raw = films(plan_of(tmp_path, ROWS))["mdb216"].raw
    assert (raw.label, raw.density, raw.finding, raw.status) == ("M", "D", "CALC", "*NOTE 3*")
    assert films(plan_of(tmp_path, ROWS))["mdb003"].raw.label == "NORM"


def test_a_film_with_one_lesion_of_two_drawn_is_partial(tmp_path):
    text = "mdb001 G CIRC B 535 425 197\nmdb001 G CALC M *NOTE 3*\n"
    assert films(plan_of(tmp_path, text, pgm(1)))["mdb001"].annotation is Annotation.PARTIAL


def test_a_film_called_normal_and_ill_keeps_the_lesion_and_a_flag(tmp_path):
    film = films(plan_of(tmp_path, "mdb001 G NORM\nmdb001 G CIRC M 1 2 3\n", pgm(1)))["mdb001"]
    assert (film.pathology, film.flags) == (Pathology.MALIGNANT, ("label_conflict",))


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace("*NOTE 3* ", ""),
        lambda text: "".join(text.splitlines(keepends=True)[1:]),
        lambda text: "\ufeff" + text,
        lambda text: text.replace("mdb", "MDB"),
        lambda text: text.replace(" ", "\t"),
    ],
    ids=["crlf", "note dropped", "no header", "byte order mark", "capitals", "tabs"],
)
def test_copies_of_the_table_say_the_same(tmp_path, change):
    def said(text):
        return {
            key: (film.pathology, [x.geometry for x in film.lesions])
            for key, film in films(plan_of(tmp_path, text)).items()
        }

    assert said(change(ROWS)) == said(ROWS)


def test_the_comma_file_of_a_public_copy_is_read(tmp_path):
    # first rows of labels_converted.csv as published, with its split note
    text = (
        "Name,Background Tissue,Abnormality,Type,x,y,r\nmdb001,G,CIRC,B,535,425,197\n"
        "mdb003,D,NORM,,,,\nmdb059,F,CIRC,B,,,\nmdb216,D,CALC,M,*NOTE,3*,\n"
    )
    found = films(plan_of(tmp_path, text, pgm(1, 3, 59, 216), table="data/labels_converted.csv"))
    assert [film.pathology.value for film in found.values()] == [
        *("benign", "normal", "benign", "malignant")
    ]
    assert found["mdb001"].lesions[0].geometry.values == (535.5, 598.5, 197)
    assert [found[key].annotation.value for key in ("mdb059", "mdb216")] == ["none", "none"]


@pytest.mark.parametrize("name", ["Info.txt", "info.txt", "README", "docs/labels.csv", "README.md"])
def test_the_table_is_found_under_any_name(tmp_path, name):
    assert len(films(plan_of(tmp_path, ROWS, table=name))) == len(NUMBERS)


def test_the_file_with_most_rows_is_the_table(tmp_path):
    tables = {"Info.txt": b"mdb001 G CIRC M 1 2 3\n", "labels.txt": ROWS.encode()}
    found = films(planned(MIAS, copy_of(tmp_path, tables, pgm(*NUMBERS))))
    assert found["mdb001"].pathology is Pathology.BENIGN


def test_films_are_found_in_any_folder_and_case_and_as_png(tmp_path):
    images = ["a/b/MDB001.PGM", "mdb003.png", "._mdb005.pgm", "__MACOSX/mdb005.pgm", "mdb0059.pgm"]
    plan = plan_of(tmp_path, ROWS, images)
    assert [film.image.path for film in films(plan).values()] == images[:2]
    assert [item.film_key for item in absent(plan)] == ["mdb005", "mdb059", "mdb144", "mdb216"]


def test_a_second_file_of_a_film_is_rejected_and_the_pgm_kept(tmp_path):
    plan = plan_of(tmp_path, ROWS, [*pgm(*NUMBERS), "png/mdb001.png"])
    assert films(plan)["mdb001"].image.path == "all-mias/mdb001.pgm"
    (second,) = rejects(plan)
    assert (second.reason, second.file) == (RejectReason.DUPLICATE_FILE, "png/mdb001.png")


def test_a_row_without_film_is_absent_and_a_film_without_row_rejected(tmp_path):
    plan = plan_of(tmp_path, ROWS, pgm(1, 3, 5, 59, 144, 17))
    assert [(item.film_key, item.split_key) for item in absent(plan)] == [("mdb216", "mias-108")]
    assert [(item.film_key, item.reason) for item in rejects(plan)] == [
        ("mdb017", RejectReason.NO_TABLE_ROW)
    ]


@pytest.mark.parametrize(
    ("row", "reason", "detail"),
    [
        ("mdb001 X CIRC B 1 2 3", RejectReason.UNKNOWN_WORD, "background tissue 'X'"),
        ("mdb001 G BENING B 1 2 3", RejectReason.UNKNOWN_WORD, "class 'BENING'"),
        ("mdb001 G CIRC N 1 2 3", RejectReason.UNKNOWN_WORD, "severity 'N'"),
        ("mdb001 G CIRC", RejectReason.BAD_ROW, "without severity"),
        ("mdb001 G", RejectReason.BAD_ROW, "has 2 words"),
        ("mdb001 G CIRC B 1 2", RejectReason.BAD_ROW, "x, y and radius"),
        ("mdb001 G CIRC B 1 2 three", RejectReason.BAD_ROW, "x, y and radius"),
        ("mdb001 G CIRC B 1 2 0", RejectReason.BAD_ROW, "cannot be drawn"),
        ("mdb001 G CIRC B 1 2 nan", RejectReason.BAD_ROW, "x, y and radius"),
        ("mdb001 G CIRC B 1 inf 3", RejectReason.BAD_ROW, "cannot be drawn"),
        ("mdb001 G NORM B 1 2 3", RejectReason.BAD_ROW, "NORM and yet"),
    ],
)
def test_a_bad_row_rejects_its_film_alone_and_says_why(tmp_path, row, reason, detail):
    plan = plan_of(tmp_path, f"{row}\nmdb002 G NORM\n", pgm(1, 2))
    assert list(films(plan)) == ["mdb002"]
    (reject,) = rejects(plan)
    assert (reject.film_key, reject.reason, reject.stage) == ("mdb001", reason, "plan")
    assert detail in reject.detail


def test_the_full_resolution_edition_is_named_and_refused(tmp_path):
    release = copy_of(tmp_path, {"Info.txt": ROWS.encode()}, ["mdb001lm.pgm", "mdb002rx.pgm"])
    with pytest.raises(MammoError, match=re.escape("edition 1.21 (mdb001lm.pgm, mdb002rx.pgm)")):
        planned(MIAS, release)


def test_a_copy_without_table_is_refused_with_what_to_do(tmp_path):
    with pytest.raises(MammoError, match=r"put the release's Info\.txt beside the films"):
        plan_of(tmp_path, "some text about mdb001.pgm\n")


def test_no_file_needs_its_header_read(tmp_path):
    assert MIAS.files_to_index(copy_of(tmp_path, {}, pgm(1))) == ()


def test_the_official_table_plans_to_its_published_counts(tmp_path, official):
    release = copy_of(tmp_path, {"Info.txt": official, "README": official}, pgm(*range(1, 323)))
    plan = planned(MIAS, release)
    found = films(plan)
    lesions = [lesion for film in found.values() for lesion in film.lesions]
    assert len(plan) == len(found) == 322
    assert len({film.patient_key for film in found.values()}) == 161
    assert Counter(film.pathology.value for film in found.values()) == {
        **{"normal": 207, "benign": 63, "malignant": 52}
    }
    assert Counter(lesion.label_raw for lesion in lesions) == {"B": 69, "M": 54}
    assert sum(lesion.geometry is not None for lesion in lesions) == 119
    assert sum(any(x.geometry for x in film.lesions) for film in found.values()) == 111
    assert Counter(film.raw.density for film in found.values()) == {"D": 112, "F": 106, "G": 104}
    worst = {}
    for film in found.values():
        worst.setdefault(film.patient_key, set()).add(film.pathology.value)
    order = ("malignant", "benign", "normal")
    assert Counter(next(w for w in order if w in said) for said in worst.values()) == {
        **{"normal": 53, "benign": 56, "malignant": 52}
    }
    assert all(0 < v < 1024 for x in lesions if x.geometry for v in x.geometry.values)


def test_the_subset_of_eighty_patients_has_its_published_counts(tmp_path, official):
    plan = planned(MIAS, copy_of(tmp_path, {"Info.txt": official}, pgm(*range(1, 161))))
    found = films(plan).values()
    lesions = [lesion for film in found for lesion in film.lesions]
    assert (len(found), len(absent(plan)), rejects(plan)) == (160, 162, [])
    assert Counter(film.pathology.value for film in found) == {
        **{"normal": 103, "benign": 33, "malignant": 24}
    }
    assert Counter(lesion.label_raw for lesion in lesions) == {"M": 24, "B": 36}
    assert sum(lesion.geometry is not None for lesion in lesions) == 59
    assert len({film.patient_key for film in found}) == 80


def remarks(release):
    return {remark.what: remark.ok for remark in MIAS.verify(release, HeaderIndex())}


def test_verify_finds_nothing_wrong_with_a_complete_copy(tmp_path, official):
    said = remarks(copy_of(tmp_path, {"Info.txt": official}, pgm(*range(1, 323))))
    assert all(said.values())
    assert "table Info.txt: 330 of 330 rows, 322 of 322 films" in said
    assert "films by label: normal 207 of 207, benign 63 of 63, malignant 52 of 52" in said


def test_verify_names_what_is_missing_and_edited(tmp_path):
    release = copy_of(tmp_path, {"Info.txt": ROWS.encode()}, pgm(1, 3, 5, 59))
    edited = Entry("all-mias/mdb144.pgm", 1_048_632)
    cut = Entry("all-mias/mdb017.pgm", 999)
    wrong = " ".join(
        what
        for what, ok in remarks(
            type(release)(root=release.root, entries=(*release.entries, edited, cut))
        ).items()
        if not ok
    )
    assert "table Info.txt: 8 of 330 rows, 6 of 322 films" in wrong
    assert "6 of 322 films; missing: mdb002, mdb004, mdb006, mdb007, mdb008 and 311 more" in wrong
    assert "no row for mdb017" in wrong
    assert "films with the size of copies saved by GIMP: 1" in wrong
    assert "PGM files that are not 1048593 bytes long: 1" in wrong


def test_verify_says_that_a_copy_cannot_be_read(tmp_path):
    (remark,) = MIAS.verify(copy_of(tmp_path, {}, pgm(1)), HeaderIndex())
    assert not remark.ok
    assert "no MIAS table" in remark.what
