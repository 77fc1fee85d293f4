"""CBIS-DDSM: labels, twins, splits and lesions of single rows, and each oddity of the tables."""

from __future__ import annotations

import pytest

from etl.sources import source
from schemas.errors import MammoError
from schemas.rejects import RejectReason
from schemas.release import HeaderIndex
from schemas.vocabulary import Annotation, LabelBasis, Laterality, Pathology, Split
from tests.sources.cbis_listing import path_in, places, rows_of
from tests.sources.copies import absent, copy_of, films, planned, rejects

CBIS = source("cbis_ddsm")
UID = "1.3.6.1.4.1.9590.100.1.2."
SHARED = "left or right breast,image view,abnormality id,abnormality type"
TAIL = "assessment,pathology,subtlety,image file path,cropped image file path,ROI mask file path"
MASS = f"patient_id,breast_density,{SHARED},mass shape,mass margins,{TAIL}"
CALC = f"patient_id,breast density,{SHARED},calc type,calc distribution,{TAIL}"
TRAIN, TEST = "mass_case_description_train_set.csv", "mass_case_description_test_set.csv"
CALC_TRAIN = "calc_case_description_train_set.csv"
CALC_TEST = "calc_case_description_test_set.csv"


def row(
    patient="P_00001",
    side="LEFT",
    view="CC",
    number=1,
    pathology="BENIGN",
    *,
    kind="Mass",
    split="Training",
    density="2",
    words=("OVAL", "CIRCUMSCRIBED"),
    assessment="4",
    subtlety="3",
):
    """Write one record as the release does: CRLF at the end, LF inside the quoted last path."""
    film = f"{kind}-{split}_{patient}_{side}_{view}"
    study = UID + str(10**9 + sum(map(ord, film)) * 7919)
    roi = UID + str(2 * 10**9 + sum(map(ord, film)) * 7919 + sum(map(ord, str(number))))
    finding = "mass" if kind == "Mass" else "calcification"
    crop, mask = ("000000", "000001") if kind == "Mass" else ("000001", "000000")
    cells = [patient, density, side, view, str(number), finding, *words, assessment, pathology]
    cells += [subtlety, f"{film}/{study}/{study}5/000000.dcm"]
    cells += [f"{film}_{number}/{roi}/{roi}6/{crop}.dcm"]
    return ",".join(cells) + f',"{film}_{number}/{roi}/{roi}6/{mask}.dcm\n"\r\n'


def calc_row(*args, **options):
    return row(*args, kind="Calc", words=("PUNCTATE", "CLUSTERED"), **options)


def table(*rows: str, header: str = MASS) -> bytes:
    return (header + "\r\n" + "".join(rows)).encode("ascii")


def calc_table(*rows: str) -> bytes:
    return table(*rows, header=CALC)


def plan_of(tmp_path, tables, *, layout="A", without=()):
    rows = [record for data in tables.values() for record in rows_of(data)]
    images = [path_in(layout, place) for place in places(rows) if place.patient not in without]
    return planned(CBIS, copy_of(tmp_path, tables, images))


def one(tmp_path, *rows, **options):
    (film,) = films(plan_of(tmp_path, {TRAIN: table(*rows)}, **options)).values()
    return film


@pytest.mark.parametrize(
    ("word", "pathology", "basis"),
    [
        ("MALIGNANT", Pathology.MALIGNANT, LabelBasis.BIOPSY),
        ("BENIGN", Pathology.BENIGN, LabelBasis.BIOPSY_OR_IMAGING),
        ("BENIGN_WITHOUT_CALLBACK", Pathology.BENIGN, LabelBasis.READER),
    ],
)
def test_each_label_has_its_basis_and_keeps_its_word(tmp_path, word, pathology, basis):
    film = one(tmp_path, row(pathology=word))
    for labelled in (film, *film.lesions):
        assert (labelled.pathology, labelled.label_basis) == (pathology, basis)
    assert (film.raw.label, film.lesions[0].label_raw) == (word, word)


def test_an_image_takes_its_worst_lesion_and_lesions_keep_their_own(tmp_path):
    film = one(
        tmp_path,
        row(number=2, pathology="BENIGN", assessment="2"),
        row(number=1, pathology="BENIGN_WITHOUT_CALLBACK", assessment="0"),
    )
    assert (film.label_basis, film.birads) == (LabelBasis.BIOPSY_OR_IMAGING, "2")
    assert [(x.lesion_id, x.label_basis.value) for x in film.lesions] == [
        *(("1", "reader"), ("2", "biopsy_or_imaging"))
    ]
    assert film.raw.label == "BENIGN_WITHOUT_CALLBACK; BENIGN"


def test_side_view_and_patient_come_from_the_id(tmp_path):
    film = one(tmp_path, row("P_00123", "RIGHT", "MLO"))
    assert (film.film_key, film.patient_key) == ("Mass-Training_P_00123_RIGHT_MLO", "P_00123")
    assert (film.laterality, film.view.value) == (Laterality.R, "MLO")


def test_the_alleged_mask_comes_first_among_a_lesion_s_files(tmp_path):
    mass = films(plan_of(tmp_path / "m", {TRAIN: table(row())})).popitem()[1]
    calc = films(plan_of(tmp_path / "c", {CALC_TRAIN: calc_table(calc_row())})).popitem()[1]
    assert [ref.path[-10:] for ref in mass.rois("1")] == ["000001.dcm", "000000.dcm"]
    assert [ref.path[-10:] for ref in calc.rois("1")] == ["000000.dcm", "000001.dcm"]


def test_mask_and_crop_in_two_series_are_both_handed_on(tmp_path):
    record = row().replace("6/000001.dcm", "8/000000.dcm")
    film = one(tmp_path, record)
    assert [ref.path.split("/")[2][-1] for ref in film.rois("1")] == ["8", "6"]


def test_lesions_have_no_key_across_views(tmp_path):
    plan = plan_of(tmp_path, {TRAIN: table(row(view="CC"), row(view="MLO"))})
    assert {x.lesion_key for film in films(plan).values() for x in film.lesions} == {None}


def test_masses_are_outlined_and_calcifications_coarsely(tmp_path):
    calc = films(plan_of(tmp_path / "c", {CALC_TRAIN: calc_table(calc_row())})).popitem()[1]
    assert one(tmp_path / "m", row()).annotation_kind == "outline"
    assert calc.annotation_kind == "coarse_outline"


def test_joined_words_are_split_and_doubles_dropped(tmp_path):
    words = ("LUCENT_CENTER-LUCENT_CENTERED-PUNCTATE", "REGIONAL-REGIONAL")
    record = row(kind="Calc", words=words)
    (film,) = films(plan_of(tmp_path, {CALC_TRAIN: calc_table(record)})).values()
    assert film.lesions[0].calc_type == ("lucent_centered", "punctate")
    assert film.lesions[0].distribution == ("regional",)
    assert film.raw.finding == "calcification " + " ".join(words)


@pytest.mark.parametrize("word", ["N/A", "NA", ""])
def test_not_available_is_no_word(tmp_path, word):
    lesion = one(tmp_path, row(words=(word, word), subtlety=word, assessment=word)).lesions[0]
    assert (lesion.shape, lesion.margin, lesion.subtlety, lesion.birads) == ((), (), None, None)


@pytest.mark.parametrize(("word", "letter"), [("0", None), ("1", "A"), ("2", "B"), ("4", "D")])
def test_density_is_in_letters_and_0_is_none(tmp_path, word, letter):
    film = one(tmp_path, row(density=word))
    assert (film.density, film.raw.density) == (letter, word)
    assert film.density_scale == (letter and "birads")


def test_a_patient_with_two_densities_is_flagged_on_all_films(tmp_path):
    plan = plan_of(tmp_path, {TRAIN: table(row(density="2"), row(view="MLO", density="4"))})
    assert [(film.density, film.flags) for film in films(plan).values()] == [
        *(("B", ("density_conflict",)), ("D", ("density_conflict",)))
    ]


def test_twins_share_pair_key_and_label_and_are_partial(tmp_path):
    tables = {
        TRAIN: table(row(pathology="BENIGN_WITHOUT_CALLBACK"), row(side="RIGHT")),
        CALC_TRAIN: calc_table(calc_row(pathology="MALIGNANT")),
    }
    found = films(plan_of(tmp_path, tables))
    mass, calc = found["Mass-Training_P_00001_LEFT_CC"], found["Calc-Training_P_00001_LEFT_CC"]
    for film in (mass, calc):
        assert (film.pair_key, film.flags) == ("P_00001_L_CC", ("twin_film",))
        assert (film.pathology, film.label_basis) == (Pathology.MALIGNANT, LabelBasis.BIOPSY)
        assert (film.annotation, len(film.lesions)) == (Annotation.PARTIAL, 1)
    assert mass.lesions[0].pathology is Pathology.BENIGN
    assert found["Mass-Training_P_00001_RIGHT_CC"].pair_key is None


def test_a_patient_in_both_official_splits_carries_both_on_every_film(tmp_path):
    tables = {
        TRAIN: table(row(), row("P_00002")),
        CALC_TEST: calc_table(calc_row(side="RIGHT", split="Test")),
    }
    found = films(plan_of(tmp_path, tables))
    assert {key: (film.official_split, film.official_sides) for key, film in found.items()} == {
        "Calc-Test_P_00001_RIGHT_CC": ("test", (Split.TRAIN, Split.TEST)),
        "Mass-Training_P_00001_LEFT_CC": ("train", (Split.TRAIN, Split.TEST)),
        "Mass-Training_P_00002_LEFT_CC": ("train", (Split.TRAIN,)),
    }
    flagged = {
        film.patient_key for film in found.values() if "official_split_conflict" in film.flags
    }
    assert flagged == {"P_00001"}


def test_missing_masks_leave_the_film_with_a_flag(tmp_path):
    film = one(tmp_path, row(), row(number=2), without={"Mass-Training_P_00001_LEFT_CC_2"})
    assert (film.annotation, film.flags) == (Annotation.PARTIAL, ("mask_missing",))
    assert [lesion.geometry is not None for lesion in film.lesions] == [True, False]
    bare = one(tmp_path, row(), without={"Mass-Training_P_00001_LEFT_CC_1"})
    assert (bare.annotation, bare.annotation_kind) == (Annotation.NONE, None)
    assert [ref.role for ref in bare.files] == ["image"]


def test_a_film_that_this_copy_lacks_is_absent(tmp_path):
    plan = plan_of(
        tmp_path,
        {TRAIN: table(row(), row(side="RIGHT"))},
        without={"Mass-Training_P_00001_RIGHT_CC"},
    )
    (gone,) = absent(plan)
    assert (gone.film_key, gone.split_key) == ("Mass-Training_P_00001_RIGHT_CC", "P_00001")
    assert len(films(plan)) == 1


@pytest.mark.parametrize(
    ("record", "reason", "detail"),
    [
        (row(pathology="BENING"), RejectReason.UNKNOWN_WORD, "the pathology 'BENING'"),
        (row(pathology="N/A"), RejectReason.BAD_ROW, "has no pathology"),
        (row(words=("OVAL-SQUARE", "N/A")), RejectReason.UNKNOWN_WORD, "the mass shape 'SQUARE'"),
        (row(words=("OVAL", "FUZZY")), RejectReason.UNKNOWN_WORD, "the mass margins 'FUZZY'"),
        (row(density="5"), RejectReason.UNKNOWN_WORD, "the breast density '5'"),
        (row(assessment="4A"), RejectReason.UNKNOWN_WORD, "the assessment '4A'"),
        (row(subtlety="6"), RejectReason.UNKNOWN_WORD, "the subtlety '6'"),
        (row() + row(), RejectReason.BAD_ROW, "both describe abnormality 1"),
        (row().replace("P_00001,", "P_00007,", 1), RejectReason.BAD_ROW, "patient id 'P_00007'"),
        (row().replace(",CC,", ",MLO,", 1), RejectReason.BAD_ROW, "image view 'MLO'"),
        (row(number="x"), RejectReason.BAD_ROW, "abnormality id 'x'"),
        (row(side="MIDDLE"), RejectReason.BAD_ROW, "names no film"),
    ],
)
def test_a_row_that_cannot_be_believed_rejects_its_film_alone(tmp_path, record, reason, detail):
    good = row("P_00002")
    images = [path_in("A", place) for place in places(rows_of(table(row(), good)))]
    plan = planned(CBIS, copy_of(tmp_path, {TRAIN: table(record, good)}, images))
    assert list(films(plan)) == ["Mass-Training_P_00002_LEFT_CC"]
    first = rejects(plan)[0]
    assert (first.reason, first.stage) == (reason, "plan")
    assert detail in first.detail
    assert TRAIN in first.detail


def test_a_film_of_a_table_that_is_not_here_is_rejected(tmp_path):
    there = places(rows_of(table(row(), row("P_00002", split="Test"))))
    images = [path_in("A", place) for place in there]
    plan = planned(CBIS, copy_of(tmp_path, {TRAIN: table(row())}, images))
    (reject,) = rejects(plan)
    assert (reject.film_key, reject.reason) == (
        "Mass-Test_P_00002_LEFT_CC",
        RejectReason.NO_TABLE_ROW,
    )


def test_two_copies_of_one_film_make_one_sample(tmp_path):
    data = table(row())
    both = [path_in(layout, place) for layout in "AE" for place in places(rows_of(data))]
    plan = planned(CBIS, copy_of(tmp_path, {TRAIN: data}, both))
    (film,) = films(plan).values()
    assert [ref.path.endswith(".dcm") for ref in film.files] == [True] * 3
    (second,) = rejects(plan)
    assert second.reason is RejectReason.DUPLICATE_FILE
    assert second.file.startswith("jpeg/")


def test_of_two_copies_of_a_table_the_fuller_counts(tmp_path):
    tables = {f"a/{TRAIN}": table(row()), f"b/{TRAIN}": table(row(), row(side="RIGHT"))}
    assert len(films(plan_of(tmp_path, tables))) == 2


def test_tables_are_known_by_their_titles_not_their_names(tmp_path):
    tables = {"x/MY-COPY.CSV": table(row()), "other.csv": b"a,b\r\n1,2\r\n"}
    images = [path_in("A", place) for place in places(rows_of(table(row())))]
    assert len(films(planned(CBIS, copy_of(tmp_path, tables, images)))) == 1


def test_a_copy_without_tables_is_refused_with_what_to_do(tmp_path):
    with pytest.raises(MammoError, match="put the four csv files"):
        planned(CBIS, copy_of(tmp_path, {"other.csv": b"a,b\r\n1,2\r\n"}))


def test_a_damaged_table_is_refused_by_name_and_line(tmp_path):
    data = table(row()) + b"P_00003,2,LEFT\r\n"
    with pytest.raises(MammoError, match=rf"{TRAIN} cannot be read as a table \(.*line \d"):
        planned(CBIS, copy_of(tmp_path, {TRAIN: data}))


@pytest.mark.parametrize(
    ("said", "flags"),
    [
        ({"Laterality": "L", "PatientOrientation": "CC"}, ()),
        ({"Laterality": "R"}, ("laterality_conflict",)),
        ({"PatientID": "Mass-Training_P_00001_LEFT_CC"}, ()),
        ({"PatientID": "Mass-Test_P_00009_LEFT_CC"}, ("label_conflict",)),
    ],
)
def test_a_header_may_flag_but_never_moves_a_film(tmp_path, said, flags):
    film = one(tmp_path, row())
    told = CBIS.resolve(film, said)
    assert told.flags == flags
    assert (told.laterality, told.patient_key, told.pathology) == (
        *(film.laterality, film.patient_key, film.pathology),
    )


def test_verify_says_what_a_copy_lacks(tmp_path):
    tables = {TRAIN: table(row(), row(view="MLO"))}
    rows = rows_of(tables[TRAIN])
    images = [path_in("E", place) for place in places(rows) if not place.patient.endswith("CC_1")]
    release = copy_of(tmp_path, tables, images)
    wrong = " ".join(x.what for x in CBIS.verify(release, HeaderIndex()) if not x.ok)
    assert f"table Mass train: 2 of 1318 records in {TRAIN}" in wrong
    assert "no table Calc test" in wrong
    assert "2 of 3103 films" in wrong
    assert "films in 8-bit JPEG (the Kaggle copy): 2" in wrong
    assert (
        "1 of 2 lesions have mask and crop files; none for Mass-Training_P_00001_LEFT_CC_1" in wrong
    )


def test_verify_says_when_headers_have_not_been_read(tmp_path):
    release = copy_of(tmp_path, {TRAIN: table(row())}, ["films/a.dcm", "films/b.dcm"])
    wrong = " ".join(x.what + x.meaning for x in CBIS.verify(release, HeaderIndex()) if not x.ok)
    assert "it has not been read: 2, films/a.dcm, films/b.dcm" in wrong
    assert "mammo-etl index" in wrong
