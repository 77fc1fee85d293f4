"""BCDR: rows as printed in its specification, every trap, counts of the real pieces."""

from __future__ import annotations

import csv
from collections import Counter

import pytest

from etl.sources import source
from etl.sources.bcdr.tables import image_id
from etl.sources.bcdr.words import FINDINGS, WORDS
from schemas.errors import MammoError
from schemas.rejects import RejectReason
from schemas.release import HeaderIndex
from schemas.store import Entry
from schemas.vocabulary import QualityFlag
from tests.sources.copies import absent, copy_of, films, planned, rejects

BCDR = source("bcdr")

IMG = "patient_id,study_id,series,image_filename,image_type_name,image_type_id,age,density\n"
OUT = (
    "patient_id,study_id,series,lesion_id,segmentation_id,image_view,image_filename,lw_x_points,"
    "lw_y_points,mammography_type,mammography_nodule,mammography_calcification,"
    "mammography_microcalcification,mammography_axillary_adenopathy,"
    "mammography_architectural_distortion,mammography_stroma_distortion,age,density,classification\n"
)
FOLDER = "patient_3/study_4/"
# Rows as the specification prints them (point lists shortened to their first three).
IMAGES = "".join(
    f"3, 4, 1, {FOLDER}img_3_4_1_{view}.tif, {view}, {code}, 74, 1 \n"
    for view, code in (("LO", 3), ("RO", 2), ("LCC", 1), ("RCC", 0))
)
LCC = (
    f"3, 4, 1, 7, 10, 2, {FOLDER}img_3_4_1_LCC.tif, 378 379 380, 1277 1276 1275, "
    "1, 1, 0, 0, 0, 1, 0, 74, 1, Malign\n"
)
FILES = [f"{FOLDER}img_3_4_1_{view}.tif" for view in ("LO", "RO", "LCC", "RCC")]


def copy(tmp_path, tables=None, images=None):
    told = {"D01_img": IMG + IMAGES, "D01_outlines": OUT + LCC} if tables is None else tables
    files = {}
    for name, text in told.items():
        key = name.partition("_")[0]
        files[f"BCDR-{key}_dataset/bcdr_{name.lower()}.csv"] = text.encode()
    paths = [f"BCDR-D01_dataset/{file}" for file in FILES] if images is None else images
    return copy_of(tmp_path, files, paths)


def plan_of(tmp_path, tables=None, images=None):
    return planned(BCDR, copy(tmp_path, tables, images))


def outline(**changes):
    """The printed row with some cells changed."""
    cells = dict(zip(OUT.strip().split(","), LCC.strip().split(", "), strict=True)) | changes
    return OUT + ", ".join(cells.values()) + "\n"


def one(tmp_path, **changes):
    return films(plan_of(tmp_path, {"D01_outlines": outline(**changes)}))["D/img_3_4_1_LCC"]


def test_printed_rows_become_the_film_written_by_hand(tmp_path):
    film = films(plan_of(tmp_path))["D/img_3_4_1_LCC"]
    assert (film.patient_key, film.split_key, film.exam_key) == ("bcdr-3", "bcdr-3", "D-4")
    assert (film.laterality, film.view, film.modality) == ("L", "CC", "FFDM")
    assert (film.pathology, film.label_basis, film.label_scope) == ("malignant", "biopsy", "lesion")
    assert (film.annotation, film.annotation_kind) == ("complete", "outline")
    assert (film.age, film.density, film.density_scale) == (74, "A", "birads")
    assert (film.native_pixel_mm, film.flags) == ((0.07, 0.07), ())
    (lesion,) = film.lesions
    assert (lesion.lesion_id, lesion.source_ids, lesion.lesion_key) == ("10", ("7", "10"), "D-7")
    assert (lesion.finding, lesion.label_raw) == ("mass", "Malign")
    assert lesion.geometry.rings == (((378.5, 1277.5), (379.5, 1276.5), (380.5, 1275.5)),)
    assert film.raw.finding == "mammography_nodule; mammography_architectural_distortion"


def test_a_view_without_outline_is_unknown_and_not_normal(tmp_path):
    film = films(plan_of(tmp_path))["D/img_3_4_1_RO"]
    assert (film.laterality, film.view) == ("R", "MLO")
    assert (film.pathology, film.label_basis) == ("unknown", "unknown")
    assert (film.annotation, film.lesions) == ("none", ())


@pytest.mark.parametrize(
    ("name", "side", "view"),
    [("RCC", "R", "CC"), ("LCC", "L", "CC"), ("RO", "R", "MLO"), ("LO", "L", "MLO")],
)
def test_the_file_name_says_side_and_view(tmp_path, name, side, view):
    film = films(plan_of(tmp_path))[f"D/img_3_4_1_{name}"]
    assert (film.laterality, film.view, film.raw.view) == (side, view, name)


@pytest.mark.parametrize("name", ["img_9_10_1_RCC_mask_id_10.tif", "img_9_10_1_RCC_MASK.tif"])
def test_a_mask_s_name_is_no_image_s(name):
    assert image_id(name, "F") is None


def test_images_of_dn01_are_normal_by_their_readers(tmp_path):
    items = plan_of(
        tmp_path, {"DN01_img": IMG + IMAGES}, [f"BCDR-DN01_dataset/{file}" for file in FILES]
    )
    for film in films(items).values():
        assert (film.pathology, film.label_basis) == ("normal", "reader")
        assert film.annotation == "complete"


def test_an_outlined_image_that_dn01_holds_too_is_flagged(tmp_path):
    film = films(plan_of(tmp_path, {"DN01_img": IMG + IMAGES, "D01_outlines": OUT + LCC}))[
        "D/img_3_4_1_LCC"
    ]
    assert (film.pathology, film.flags) == ("malignant", (QualityFlag.LABEL_CONFLICT,))


def test_two_sets_share_an_image_and_its_outline(tmp_path):
    again = outline(mammography_nodule="0", mammography_microcalcification="1")
    more = LCC.replace("7, 10, 2", "8, 11, 2").replace("1, 1, 0, 0, 0, 1", "1, 0, 0, 1, 0, 0")
    images = [f"BCDR-{name}_dataset/{FILES[2]}" for name in ("D01", "D02")]
    tables = {"D01_outlines": OUT + LCC, "D02_outlines": again + more}
    (film,) = plan_of(tmp_path, tables, images)
    assert film.image.path.startswith("BCDR-D01")
    assert [(x.lesion_id, x.finding) for x in film.lesions] == [
        ("10", "mass"),
        ("11", "calcification"),
    ]
    assert film.raw.status == "D01; D02"
    assert "mammography_microcalcification" in film.raw.finding


def test_the_same_number_with_other_points_is_another_outline(tmp_path):
    tables = {"D01_outlines": OUT + LCC, "D02_outlines": outline(lw_x_points="1 2 9")}
    film = films(plan_of(tmp_path, tables))["D/img_3_4_1_LCC"]
    assert [lesion.lesion_id for lesion in film.lesions] == ["10", "10-D02"]


def test_the_larger_of_two_sets_files_is_read(tmp_path):
    release = copy(tmp_path, images=[])
    files = [Entry(f"BCDR-D01_dataset/{FILES[2]}", 10), Entry(f"BCDR-D02_dataset/{FILES[2]}", 20)]
    release = type(release)(root=release.root, entries=(*release.entries, *files))
    assert films(planned(BCDR, release))["D/img_3_4_1_LCC"].image.path == files[1].path


def test_a_second_file_of_one_set_is_a_duplicate(tmp_path):
    images = [f"BCDR-D01_dataset/{FILES[2]}", f"BCDR-D01_dataset/copy/{FILES[2]}"]
    (item,) = rejects(plan_of(tmp_path, images=images))
    assert (item.reason, item.file) == (RejectReason.DUPLICATE_FILE, images[1])


def test_film_and_digital_numbers_are_apart_but_on_one_side_of_a_split(tmp_path):
    tables = {"D01_img": IMG + IMAGES, "F01_img": IMG + IMAGES}
    images = [f"BCDR-{name}_dataset/{file}" for name in ("D01", "F01") for file in FILES]
    found = films(plan_of(tmp_path, tables, images))
    assert len(found) == 8
    assert {film.split_key for film in found.values()} == {"bcdr-3"}
    digitised = found["F/img_3_4_1_LO"]
    assert (digitised.modality, digitised.native_pixel_mm) == ("SFM", None)
    assert BCDR.RELEASE.tissue_of(digitised.modality) == "film"
    assert BCDR.RELEASE.tissue_of(found["D/img_3_4_1_LO"].modality) == "digital"


def test_f03_lies_deeper_and_has_no_image_table(tmp_path):
    root = "BCDR-F03_dataset/BCDR-F03"
    release = copy_of(
        tmp_path,
        {f"{root}/bcdr_f03_outlines.csv": (OUT + LCC).encode()},
        [f"{root}/{FILES[2]}", f"{root}/{FILES[3]}"],
    )
    found = films(planned(BCDR, release))
    assert [film.pathology.value for film in found.values()] == ["malignant", "unknown"]


def test_masks_and_resource_forks_are_no_films(tmp_path):
    stem = f"BCDR-D01_dataset/{FOLDER}"
    odd = ["img_3_4_1_LCC_mask_id_10.tif", "img_3_4_1_LCC_MASK.tif", "._img_3_4_1_LCC.tif"]
    items = plan_of(tmp_path, images=[*(stem + name for name in odd), f"{stem}img_3_4_1_LCC.tif"])
    assert [film.image.path for film in films(items).values()] == [f"{stem}img_3_4_1_LCC.tif"]
    assert rejects(items) == []


@pytest.mark.parametrize(
    ("table", "file"),
    [
        ("D01/bcdr_d01_outlines.csv", "D01/patient_3_study_4_img_3_4_1_LCC.tif"),
        ("BCDR-D01/outlines.csv", "BCDR-D01/patient_3/study_4/img_3_4_1_LCC.TIFF"),
        ("BCDR_D01_OUTLINES.CSV", "img_3_4_1_LCC.tif"),
    ],
    ids=["flattened", "renamed table", "everything in the root"],
)
def test_copies_in_circulation_say_the_same(tmp_path, table, file):
    (film,) = planned(BCDR, copy_of(tmp_path, {table: (OUT + LCC).encode()}, [file]))
    assert (film.film_key, film.pathology, film.image.path) == (
        *("D/img_3_4_1_LCC", "malignant"),
        file,
    )


def test_sets_of_both_kinds_in_one_folder_are_told_apart_by_their_rows(tmp_path):
    other = LCC.replace("3, 4, 1", "5, 6, 1").replace("patient_3/study_4/img_3_4", "p/img_5_6")
    tables = {
        "bcdr_d01_outlines.csv": (OUT + LCC).encode(),
        "bcdr_f01_outlines.csv": (OUT + other).encode(),
    }
    images = ["img_3_4_1_LCC.tif", "img_5_6_1_LCC.tif", "img_7_8_1_LCC.tif"]
    items = planned(BCDR, copy_of(tmp_path, tables, images))
    assert sorted(films(items)) == ["D/img_3_4_1_LCC", "F/img_5_6_1_LCC"]
    assert [item.reason for item in rejects(items)] == [RejectReason.NO_TABLE_ROW]


@pytest.mark.parametrize(
    "change", [lambda t: t.replace("/", "\\"), lambda t: t.replace("\n", "\r\n")]
)
def test_backslashes_and_line_ends_change_nothing(tmp_path, change):
    (film,) = plan_of(
        tmp_path, {"D01_outlines": change(OUT + LCC)}, [f"BCDR-D01_dataset/{FILES[2]}"]
    )
    assert film.pathology == "malignant"


@pytest.mark.parametrize(
    ("changes", "field", "value"),
    [
        ({"density": ""}, "density", None),
        ({"density": "NaN"}, "density", None),
        ({"density": "4"}, "density", "D"),
        ({"age": ""}, "age", None),
        ({"age": "93"}, "age", 90),
        ({"classification": "suspect"}, "pathology", "unknown"),
        ({"classification": "Benign"}, "pathology", "benign"),
        ({"image_view": "1"}, "flags", (QualityFlag.LATERALITY_CONFLICT,)),
        ({"image_view": "4"}, "flags", ()),
    ],
)
def test_cells_mean_what_the_words_say(tmp_path, changes, field, value):
    assert getattr(one(tmp_path, **changes), field) == value


@pytest.mark.parametrize(
    ("changes", "reason", "match"),
    [
        ({"classification": "Malignant?"}, "unknown_word", "line 2 of .* 'Malignant.'"),
        ({"lw_x_points": "1 2"}, "bad_row", "line 2 of .* cannot be drawn"),
        ({"lw_x_points": "1 1 1", "lw_y_points": "2 2 2"}, "bad_row", "1 different points"),
        ({"lw_x_points": "1 a 3"}, "bad_row", "cannot be drawn"),
    ],
)
def test_what_cannot_be_understood_is_a_reject_with_its_row(tmp_path, changes, reason, match):
    items = plan_of(
        tmp_path, {"D01_outlines": outline(**changes)}, [f"BCDR-D01_dataset/{FILES[2]}"]
    )
    (item,) = rejects(items)
    assert (item.reason, item.film_key) == (reason, "D/img_3_4_1_LCC")
    with pytest.raises(ValueError, match=match):
        raise ValueError(item.detail)


def test_special_projections_keep_their_side_and_an_unknown_view_is_a_reject(tmp_path):
    names = ["img_3_4_1_RF-CC.tif", "img_3_4_1_PLMLO.tif", "img_3_4_1_XX.tif"]
    items = plan_of(tmp_path, {"D01_img": IMG + IMAGES}, [f"BCDR-D01_dataset/{n}" for n in names])
    found = films(items)
    assert (found["D/img_3_4_1_RFCC"].laterality, found["D/img_3_4_1_RFCC"].view) == ("R", None)
    assert found["D/img_3_4_1_PLMLO"].laterality == "L"
    assert [item.reason for item in rejects(items)] == [RejectReason.UNKNOWN_WORD]


def test_images_of_the_tables_that_are_not_here_are_absent(tmp_path):
    items = plan_of(tmp_path, images=[f"BCDR-D01_dataset/{FILES[0]}"])
    assert len(films(items)) == 1
    assert {item.file for item in absent(items)} == {
        f"BCDR-D01_dataset/{file}" for file in FILES[1:]
    }


def test_a_row_that_names_no_image_is_not_lost(tmp_path):
    nameless = outline(image_filename="photo.tif", image_view="9")
    (item,) = rejects(plan_of(tmp_path, {"D01_outlines": nameless}))
    assert item.reason == RejectReason.BAD_ROW
    assert "names no image" in item.detail


def test_a_folder_without_any_set_is_refused(tmp_path):
    release = copy_of(tmp_path, {"notes.csv": b"a,b\n1,2\n"}, ["a.tif"])
    with pytest.raises(MammoError, match="no BCDR set under"):
        planned(BCDR, release)
    (remark,) = BCDR.verify(release, HeaderIndex())
    assert not remark.ok


def test_verify_says_which_sets_are_missing_and_which_code_the_copy_has(tmp_path):
    said = {r.what: r for r in BCDR.verify(copy(tmp_path), HeaderIndex())}
    assert not said["set D02 is not here"].ok
    assert "complete as far as D01 goes" in said["set D02 is not here"].meaning
    assert said["image_view agrees with the file name in 1 of 1 rows"].ok
    assert said["image_type_id agrees with the file name in 4 of 4 rows"].ok


# The real pieces, read here by the csv module alone.


@pytest.fixture(scope="module")
def tables(shared):
    return shared / "data/tables/bcdr"


def rows_of(path):
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream, skipinitialspace=True))


def test_the_pieces_of_d01_give_the_counts_of_the_specification(tables, tmp_path):
    images = rows_of(tables / "bcdr_d01_img.excerpt.csv")
    outlines = rows_of(tables / "bcdr_d01_outlines.excerpt.csv")
    told = {
        f"D01_{kind}": (tables / f"bcdr_d01_{kind}.excerpt.csv").read_text()
        for kind in ("img", "outlines")
    }
    paths = [f"BCDR-D01_dataset/{line['image_filename'].strip()}" for line in images]
    found = films(plan_of(tmp_path, told, paths))
    assert Counter(film.pathology.value for film in found.values()) == {
        "malignant": 2, "benign": 13, "unknown": 11,
    }  # fmt: skip
    assert Counter(film.raw.view for film in found.values()) == {
        "LO": 7,
        "LCC": 7,
        "RO": 6,
        "RCC": 6,
    }
    assert {film.patient_key for film in found.values()} == {f"bcdr-{n}" for n in (3, 4, 5, 8)}
    by_number = {x.lesion_id: x for film in found.values() for x in film.lesions}
    for line in outlines:
        ring = by_number[line["segmentation_id"].strip()].geometry.rings[0]
        xs = [int(x) for x in line["lw_x_points"].split()]
        ys = [int(y) for y in line["lw_y_points"].split()]
        assert [x for x, _ in ring] == [x + 0.5 for x in xs]
        assert [y for _, y in ring] == [y + 0.5 for y in ys]
    lcc = found["D/img_3_4_1_LCC"].lesions[0].geometry.rings[0]
    assert (len(lcc), min(x for x, _ in lcc), max(y for _, y in lcc)) == (706, 326.5, 1277.5)
    area = sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in zip(lcc, lcc[1:] + lcc[:1], strict=True))
    assert abs(area) / 2 == pytest.approx(35_147, rel=0.02)


def test_the_descriptors_of_f01_give_its_counts_when_written_as_outlines(tables, tmp_path):
    lines = rows_of(tables / "bcdr_f01_features.csv")
    views = {"1": "RCC", "2": "LCC", "3": "RO", "4": "LO"}
    text, images = OUT, set()
    for line in lines:
        cells = {title: line.get(title, "").strip() for title in OUT.strip().split(",")}
        name = "_".join(cells[t] for t in ("patient_id", "study_id", "series"))
        file = f"img_{name}_{views[cells['image_view']]}.tif"
        images.add(f"BCDR-F01_dataset/{file}")
        cells |= {"image_filename": file, "lw_x_points": "1 2 9", "lw_y_points": "3 8 4"}
        text += ", ".join(cells.values()) + "\n"
    found = films(plan_of(tmp_path, {"F01_outlines": text}, sorted(images)))
    lesions = [lesion for film in found.values() for lesion in film.lesions]
    assert Counter(film.pathology.value for film in found.values()) == {
        "malignant": 168, "benign": 181,
    }  # fmt: skip
    assert Counter(lesion.pathology.value for lesion in lesions) == {
        "malignant": 168,
        "benign": 184,
    }
    assert Counter(len(film.lesions) for film in found.values()) == {1: 346, 2: 3}
    assert len({film.patient_key for film in found.values()}) == 185
    assert len({film.exam_key for film in found.values()}) == 195
    assert Counter(Counter(x.lesion_key for x in lesions).values()) == {1: 40, 2: 154, 4: 1}
    table = {words.column: words.counts for words in WORDS}
    assert table["classification"] == Counter(line["classification"].strip() for line in lines)
    assert table["density"] == Counter(line["density"].strip() for line in lines)
    assert table["file name, last part"] == Counter(views[line["image_view"]] for line in lines)
    assert table["mammography_* flags"] == {
        title: sum(line[title].strip() == "1" for line in lines) for title in FINDINGS
    }
