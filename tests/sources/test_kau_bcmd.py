"""KAU-BCMD: golden rows, folders and names in every spelling, the sheet's oddities, each trap."""

from __future__ import annotations

import random
import re

import openpyxl
import pytest

from etl.phantoms.workbook import workbook
from etl.sources import kau_bcmd
from etl.sources.kau_bcmd.films import folder_category
from etl.sources.kau_bcmd.sheet import film_name
from schemas.errors import MammoError
from schemas.rejects import RejectReason
from schemas.release import HeaderIndex, Release
from schemas.vocabulary import Birads, Density, Laterality, Modality, View
from tests.sources.copies import absent, copy_of, films, planned, rejects

# Titles and rows as the specification prints them.
TITLES = [
    *("Percentage of\n grandular tissue(density)", "PatientID", "Patient age ", "Breast  type"),
    *("Breast view", "Assesment", "Image path"),
]
ROWS = [
    ["26%-50%", "BC 990001", "045Y", "R", "CC", "BIRAD 1", "x/BIRAD 1/2018_BC990001_ CC_R.dcm"],
    ["51%-75%", "BC9900021", "052Y", "L", "CC", "BIRAD 3", "x/BIRAD 3/2019_BC9900021_ CC_L.dcm"],
    [">75%", "BC990003", "061Y", "L", "MLO", "BIRAD 4", "x/BIRAD 4/2013_BC990003_ MLO_L.dcm"],
    ["0%-25%", "BC990004", "70", "R", "CC", "BIRAD 5", "x/BIRAD 5/2018_BC990004_CC_R.dcm"],
]
IMAGES = [
    "archive/BIRAD1/b1/2018_BC990001_ CC_R.jpg",
    "archive/Birad3/b3/2019_BC9900021_ CC_L.jpg",
    "archive/Birad4/b4/2013_BC990003_ MLO_L.jpg",
    "archive/Birad5/Birad5/2018_BC990004_ CC_R.jpg",
]


def sheet(*rows, name: str = "correctSheet", titles=None) -> bytes:
    return workbook({"tabel ": [["unknown"]], name: [titles or TITLES, *rows]})


def plan_of(tmp_path, images, *rows):
    tables = {"archive/correctSheetlast.xlsx": sheet(*rows)} if rows else {}
    return planned(kau_bcmd, copy_of(tmp_path, tables, images))


# key: view, side, patient, exam, category, label, annotation, density, age
GOLDEN = {
    "2018_BC990001_CC_R": (
        *(View.CC, Laterality.R, "BC990001", "2018_BC990001"),
        *(Birads.B1, "normal", "complete", Density.B, 45),
    ),
    "2019_BC9900021_CC_L": (
        *(View.CC, Laterality.L, "BC9900021", "2019_BC9900021"),
        *(Birads.B3, "benign", "none", Density.C, 52),
    ),
    "2013_BC990003_MLO_L": (
        *(View.MLO, Laterality.L, "BC990003", "2013_BC990003"),
        *(Birads.B4, "unknown", "none", Density.D, 61),
    ),
    "2018_BC990004_CC_R": (
        *(View.CC, Laterality.R, "BC990004", "2018_BC990004"),
        *(Birads.B5, "malignant", "none", Density.A, 70),
    ),
}


@pytest.mark.parametrize("key", GOLDEN)
def test_rows_as_printed_become_the_film_written_by_hand(tmp_path, key):
    plan = plan_of(tmp_path, IMAGES, *ROWS)
    assert len(plan) == len(films(plan)) == 4
    film = films(plan)[key]
    assert (
        *(film.view, film.laterality, film.patient_key, film.exam_key),
        *(film.birads, film.pathology, film.annotation, film.density, film.age),
    ) == GOLDEN[key]
    assert (film.modality, film.label_scope, film.label_basis) == (Modality.FFDM, "image", "birads")
    assert (film.native_pixel_mm, film.lesions, film.flags) == (None, (), ())


def test_the_synthetic_sheet_of_the_specification_is_read(tmp_path, shared):
    path = shared / "data/tables/kau-bcmd/SYNTHETIC_correctSheetlast.xlsx"
    lines = list(openpyxl.load_workbook(path)["correctSheet"].iter_rows(values_only=True))[1:]
    named = {str(line[6]).split("/")[-1].replace(" ", "") for line in lines if line[6]}
    plan = planned(kau_bcmd, copy_of(tmp_path, {"s.xlsx": path.read_bytes()}, IMAGES))
    assert len(films(plan)) + len(absent(plan)) == len(named) == 6
    assert [(x.film_key, x.reason) for x in rejects(plan)] == [
        (f"record {len(lines) - 1} of s.xlsx", RejectReason.BAD_ROW)
    ]
    found = films(plan)["2018_BC990001_CC_R"]
    assert (found.density, found.age, found.raw.label) == (Density.B, 45, "b1; BIRAD 1")
    assert {item.film_key for item in absent(plan)} == {
        *("2018_BC990001_MLO_R", "2018_BC990006_MLO_R")
    }


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("2018_BC0021981_ MLO_R.jpg", "2018_BC0021981_MLO_R"),
        ("2013_BC000541_ MLO_L.jpg", "2013_BC000541_MLO_L"),
        ("2013_BC003026_ CC_R.jpg", "2013_BC003026_CC_R"),
        ("2018_BC005421_CC_R.dcm", "2018_BC005421_CC_R"),
        ("2018_bc005421_cc_r.JPG", "2018_BC005421_CC_R"),
        ("a\\b\\2018_BC005421_ CC_R.dcm", "2018_BC005421_CC_R"),
        ("2018_BC005421_CC_R (1).jpg", None),
        ("kau-bcmd_17.jpg", None),
        ("1_LCC.jpg", None),
        ("18_BC005421_CC_R.jpg", None),
    ],
)
def test_names_follow_the_grammar_with_or_without_blanks(name, key):
    found = film_name(name)
    assert (found.key if found else None) == key


def test_digits_of_an_id_are_text(tmp_path):
    images = ["b1/2018_BC0021981_ CC_R.jpg", "b1/2018_BC21981_ CC_R.jpg"]
    found = films(plan_of(tmp_path, images))
    assert {film.patient_key for film in found.values()} == {"BC0021981", "BC21981"}


@pytest.mark.parametrize(
    ("folder", "category"),
    [
        *[("archive/BIRAD1/b1", "1"), ("archive/Birad3/b3", "3"), ("archive/Birad5/Birad5", "5")],
        *[("BIRAD 4/BIRAD 4", "4"), ("BIRADS_1", "1"), ("Birad1", "1"), ("b5", "5"), ("B2", "2")],
        *[("DICOM Images/BIRAD 3", "3"), ("Birad1/case 12", "1"), ("BI-RADS 4", "4")],
        *[("Birad5/Birad4", "4"), ("archive", None), ("b7", None), ("ab1", None)],
    ],
)
def test_the_nearest_folder_says_the_category(folder, category):
    assert folder_category(f"{folder}/x.jpg")[1] == category


@pytest.mark.parametrize(
    ("category", "pathology", "basis"),
    [
        *[("1", "normal", "birads"), ("2", "benign", "birads"), ("3", "benign", "birads")],
        *[("4", "unknown", "birads"), ("5", "malignant", "birads"), ("6", "malignant", "biopsy")],
    ],
)
def test_categories_follow_the_one_rule(tmp_path, category, pathology, basis):
    (film,) = films(plan_of(tmp_path, [f"b{category}/2018_BC1_ CC_R.jpg"])).values()
    assert (film.birads, film.pathology, film.label_basis) == (category, pathology, basis)


def test_a_film_in_two_folders_keeps_the_higher_and_says_so(tmp_path):
    # the four films of the release that public code names
    stems = ["2018_BC005421_CC_R", "2018_BC005421_MLO_R", "2018_BC0022482_CC_R"]
    images = [f"Birad{n}/b{n}/{stem}.jpg" for stem in stems for n in (4, 5)]
    images += ["BIRAD1/b1/2018_BC0022482_ MLO_R.jpg", "Birad5/Birad5/2018_BC0022482_MLO_R.jpg"]
    plan = plan_of(tmp_path, images)
    assert len(films(plan)) == 4
    for film in films(plan).values():
        assert (film.birads, film.flags) == ("5", ("label_conflict",))
    assert {(x.reason, x.file) for x in rejects(plan)} == {
        ("duplicate_file", path) for path in images if "5/" not in path
    }


def test_of_two_files_in_one_folder_dicom_is_read(tmp_path):
    images = ["b3/2018_BC1_CC_R.dcm", "b3/2018_BC1_ CC_R.jpg"]
    plan = plan_of(tmp_path, images)
    (film,) = films(plan).values()
    assert (film.image.path, film.flags) == (images[0], ())
    assert [item.film_key for item in rejects(plan)] == [images[1]]


def test_folder_and_sheet_that_differ_are_a_conflict_and_the_folder_counts(tmp_path):
    row = [*ROWS[0][:5], "BIRAD 4", ROWS[0][6]]
    film = films(plan_of(tmp_path, IMAGES[:1], row))["2018_BC990001_CC_R"]
    assert (film.birads, film.flags) == (Birads.B1, ("label_conflict",))
    assert film.raw.label == "b1; BIRAD 4"


@pytest.mark.parametrize(
    ("assessment", "category"),
    [
        ("BIRAD 4", "4"),
        ("birads 4", "4"),
        ("BI-RADS:4", "4"),
        ("4", "4"),
        ("nan", None),
        (None, None),
    ],
)
def test_without_folder_the_sheet_says_the_category(tmp_path, assessment, category):
    row = [*ROWS[0][:5], assessment, ROWS[0][6]]
    film = films(plan_of(tmp_path, ["x/2018_BC990001_ CC_R.jpg"], row))["2018_BC990001_CC_R"]
    assert film.birads == category
    assert film.label_basis == ("birads" if category else "unknown")


def test_an_unreadable_category_rejects_only_where_no_folder_says_one(tmp_path):
    row = [*ROWS[0][:5], "see report", ROWS[0][6]]
    told = plan_of(tmp_path / "a", IMAGES[:1], row)
    assert (films(told)["2018_BC990001_CC_R"].birads, rejects(told)) == ("1", [])
    (reject,) = plan_of(tmp_path / "b", ["x/2018_BC990001_ CC_R.jpg"], row)
    assert (reject.reason, reject.stage) == (RejectReason.UNKNOWN_WORD, "plan")
    assert "record 1 of archive/correctSheetlast.xlsx has the Assesment 'see report'" in (
        reject.detail
    )


@pytest.mark.parametrize(
    ("word", "letter"),
    [("0%-25%", "A"), (" 26% - 50% ", "B"), ("51%-75%", "C"), (">75%", "D"), ("> 75%", "D")],
)
def test_quarters_of_glandular_tissue_are_densities(tmp_path, word, letter):
    film = films(plan_of(tmp_path, IMAGES[:1], [word, *ROWS[0][1:]]))["2018_BC990001_CC_R"]
    assert (film.density, film.density_scale, film.raw.density) == (letter, "birads", word.strip())


def test_an_unknown_density_rejects_its_film_and_names_row_and_word(tmp_path):
    plan = plan_of(tmp_path, IMAGES[:2], ["75%-100%", *ROWS[0][1:]], ROWS[1])
    assert list(films(plan)) == ["2019_BC9900021_CC_L"]
    (reject,) = rejects(plan)
    assert (reject.film_key, reject.reason) == ("2018_BC990001_CC_R", "unknown_word")
    assert re.search(r"record 1 of .* has the density '75%-100%', known are 0%-25%", reject.detail)


@pytest.mark.parametrize(
    ("word", "age"),
    [("045Y", 45), ("70", 70), ("93Y", 90), ("061 Y", 61), ("600M", None), (None, None)],
)
def test_ages_are_years_and_ninety_is_the_oldest(tmp_path, word, age):
    row = [*ROWS[0][:2], word, *ROWS[0][3:]]
    assert films(plan_of(tmp_path, IMAGES[:1], row))["2018_BC990001_CC_R"].age == age


def test_a_row_twice_is_one_and_two_densities_are_a_conflict(tmp_path):
    same = films(plan_of(tmp_path / "a", IMAGES[2:3], ROWS[2], ROWS[2]))["2013_BC990003_MLO_L"]
    assert (same.density, same.flags, same.raw.label) == ("D", (), "b4; BIRAD 4")
    other = ["26%-50%", *ROWS[2][1:]]
    two = films(plan_of(tmp_path / "b", IMAGES[2:3], ROWS[2], other))["2013_BC990003_MLO_L"]
    assert (two.density, two.flags, two.raw.density) == (
        "D",
        ("density_conflict",),
        ">75%; 26%-50%",
    )


def test_the_name_says_side_and_view_and_the_sheet_can_only_disagree(tmp_path):
    row = [*ROWS[0][:3], "L", "MLO", *ROWS[0][5:]]
    film = films(plan_of(tmp_path, IMAGES[:1], row))["2018_BC990001_CC_R"]
    assert (film.laterality, film.view, film.flags) == ("R", "CC", ("laterality_conflict",))


def test_films_without_row_keep_the_folder_s_label_and_rows_without_film_are_absent(tmp_path):
    plan = plan_of(tmp_path, IMAGES[:1], ROWS[3])
    film = films(plan)["2018_BC990001_CC_R"]
    assert (film.pathology, film.density, film.age) == ("normal", None, None)
    (gone,) = absent(plan)
    assert (gone.film_key, gone.split_key) == ("2018_BC990004_CC_R", "BC990004")
    assert gone.file == "x/BIRAD 5/2018_BC990004_CC_R.dcm"


@pytest.mark.parametrize("name", ["correctSheet", "CorrectSheet ", "correct sheet", "Sheet1"])
def test_the_sheet_is_found_under_its_name_or_as_the_only_one(tmp_path, name):
    sheets = {name: [TITLES, *ROWS]}
    if name != "Sheet1":
        sheets = {"tabel ": [["unknown"]], **sheets}
    release = copy_of(tmp_path, {"x.xlsx": workbook(sheets)}, IMAGES)
    assert films(planned(kau_bcmd, release))["2018_BC990001_CC_R"].age == 45


def test_a_copy_without_sheet_is_read_by_its_folders(tmp_path):
    tables = {"notes.xlsx": workbook({"a": [["b"]]}), "bad.xlsx": b"PK no workbook"}
    plan = planned(kau_bcmd, copy_of(tmp_path, tables, IMAGES))
    assert {film.birads for film in films(plan).values()} == {"1", "3", "4", "5"}


def test_what_lies_beside_is_left_alone_and_foreign_names_are_rejected(tmp_path):
    images = [
        *(IMAGES[0], "BIRAD1/._2018_BC990001_ MLO_R.jpg", "__MACOSX/2018_BC1_ CC_R.jpg"),
        *("tumor masks/2018_BC2_ CC_R.jpg", "Reports/2018_BC3_ CC_R.jpg"),
        *("b1/2018_BC4_ CC_R mask.png", "Ultrasound/BC5_1.jpg", "US/BC6.png", "b1/IMG001.jpg"),
    ]
    plan = plan_of(tmp_path, images)
    assert list(films(plan)) == ["2018_BC990001_CC_R"]
    assert [(x.film_key, x.reason) for x in rejects(plan)] == [("b1/IMG001.jpg", "no_table_row")]


def test_a_patient_of_two_years_is_one_patient_with_two_examinations(tmp_path):
    images = ["b1/2013_BC7_ CC_R.jpg", "b3/2018_BC7_ CC_R.jpg"]
    found = films(plan_of(tmp_path, images)).values()
    assert {film.split_key for film in found} == {"BC7"}
    assert [film.exam_key for film in found] == ["2013_BC7", "2018_BC7"]


@pytest.mark.parametrize(
    ("images", "says"),
    [
        (["kau-bcmd/kau-bcmd_1.jpg", "kau-bcmd/kau-bcmd_2.jpg"], "as Mammo-Bench numbers it"),
        (["b1/IMG001.jpg"], r"no file under .* is named as a film .* such as b1/IMG001\.jpg"),
        (["readme.txt"], "and no image at all: check the path"),
    ],
)
def test_copies_without_patients_are_refused_in_words(tmp_path, images, says):
    with pytest.raises(MammoError, match=says):
        plan_of(tmp_path, images)


def test_a_shuffled_listing_plans_the_same(tmp_path):
    images = [*IMAGES, *(path.replace("archive", "copy") for path in IMAGES)]
    release = copy_of(tmp_path, {"s.xlsx": sheet(*ROWS)}, images)
    entries = random.Random(1).sample(release.entries, len(release.entries))
    shuffled = Release(root=release.root, entries=tuple(entries))
    assert planned(kau_bcmd, shuffled) == planned(kau_bcmd, release)


def test_the_header_of_the_dicom_edition_fills_the_device_only(tmp_path):
    (film,) = films(plan_of(tmp_path, ["BIRAD 1/BIRAD 1/2018_BC1_CC_R.dcm"])).values()
    header = {"Manufacturer": "HOLOGIC", "ImageLaterality": "L", "ViewPosition": "MLO"}
    resolved = kau_bcmd.resolve(film, header)
    assert (resolved.manufacturer, resolved.laterality, resolved.view) == ("HOLOGIC", "R", "CC")
    assert resolved.flags == ("laterality_conflict",)


def remarks(release):
    return {remark.what: remark.ok for remark in kau_bcmd.verify(release, HeaderIndex())}


def test_verify_tells_what_this_copy_holds(tmp_path):
    images = [*IMAGES, "b5/2013_BC990003_MLO_L.jpg", "US/a.jpg", "masks/b.png"]
    row = [*ROWS[1][:5], "see report", ROWS[1][6]]
    said = remarks(copy_of(tmp_path, {"s.xlsx": sheet(ROWS[0], row, ROWS[2])}, images))
    text = "\n".join(said)
    assert text.startswith("4 films of 4 patients in 4 examinations; the paper counts 5,662")
    assert said["films by category: 1 1, 3 1, 4 0, 5 2"]
    assert "sheet s.xlsx: 3 films; not in it: 2018_BC990004_CC_R" in text
    assert "cells of Assesment that are no category: see report" in text
    assert "more than one file for 2013_BC990003_MLO_L" in text
    assert "differ in the category of 2013_BC990003_MLO_L" in text
    assert said["ultrasound pictures: 1"]
    assert said["pictures in folders of masks and reports: 1"]
    assert said["files: 4 .jpg; 3 with a blank in their name"]


def test_verify_says_that_a_copy_cannot_be_read(tmp_path):
    (remark,) = kau_bcmd.verify(copy_of(tmp_path, {}, ["b1/IMG001.jpg"]), HeaderIndex())
    assert not remark.ok
    assert "is named as a film of KAU-BCMD" in remark.what
