"""CDD-CESM: rows as printed in its specification, every trap, counts of the real tables."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from dataclasses import replace

import openpyxl
import pytest

from etl.phantoms.workbook import workbook
from etl.sources import source
from etl.sources.cdd_cesm.words import MARGINS, SHAPES, WORDS, findings_of
from schemas.errors import MammoError
from schemas.rejects import RejectReason
from schemas.release import HeaderIndex
from schemas.store import Entry
from schemas.vocabulary import Finding, LesionFlag, Modality, QualityFlag
from tests.sources.copies import absent, copy_of, films, planned, rejects

CESM = source("cdd_cesm")

TITLES = (
    *("Image_name", "Patient_ID", "Side", "Type", "Age", "Breast density (ACR)", "BIRADS"),
    *("Findings", "View", "Tags", "Machine", "Pathology Classification/ Follow up"),
)
# Rows verbatim from sheet `all`; the fourth name ends with a blank.
ROWS = [
    ("P1_L_DM_MLO", 1, "L", "DM", 46, "C", 4, "Architectural distortion ", "MLO", "", 1,
     "Malignant"),
    ("P1_L_CM_MLO", 1, "L", "CESM", 46, "_", 4, "Heterogenous non mass enhancement ", "MLO", "", 1,
     "Malignant"),
    ("P2_R_DM_CC", 2, "R", "DM", 31, "C", "3$2",
     "Multiple equal density  masses$Benign macrocalcifications", "CC", "", 2, "Benign"),
    ("P3_L_CM_CC ", 3, "L", "CESM", 45, "_", 5,
     "Heterogenously enhancing mass with speculated margin ", "CC", "", 1, "Malignant"),
]  # fmt: skip
MASS_TITLES = ("Image_name", "Mass shape", "Mass margin")
CSV_TITLES = (
    "#filename,file_size,file_attributes,region_count,region_id,"
    "region_shape_attributes,region_attributes"
)
POLYGON = {
    "name": "polygon",
    "all_points_x": [350, 423, 1005, 350],
    "all_points_y": [1179, 1296, 1560, 1179],
}
CIRCLE = {"name": "circle", "cx": 693, "cy": 814, "r": 64}
ELLIPSE = {"name": "ellipse", "cx": 713, "cy": 2236, "rx": 177, "ry": 153}


def regions(*rows):
    """A csv of (name, shapes) pairs."""
    stream = io.StringIO()
    stream.write(CSV_TITLES + "\n")
    writer = csv.writer(stream, lineterminator="\n")
    for name, shapes in rows:
        for number, shape in enumerate(shapes):
            writer.writerow([name, 939216, "{}", len(shapes), number, json.dumps(shape), "{}"])
    return stream.getvalue().encode()


def row(name, **changes):
    """A row of sheet `all`, normal unless said otherwise."""
    _, side, kind, view = name.strip().split("_")
    cells = {
        **dict(zip(TITLES, ROWS[0], strict=True)),
        **{"Image_name": name, "Side": side, "Type": kind, "View": view},
        **{"BIRADS": 1, "Findings": "Normal", TITLES[-1]: "Normal"},
        **changes,
    }
    return tuple(cells[title] for title in TITLES)


def names(rows):
    return [f"images/{cells[0]}.jpg" for cells in rows]


def copy(tmp_path, rows=ROWS, shapes=(), images=None, sheets=None, table="data/annotations.xlsx"):
    tables = {
        table: workbook({"all": [TITLES, *rows], **(sheets or {})}),
        "data/Radiology_hand_drawn_segmentations_v2.csv": regions(*shapes),
    }
    return copy_of(tmp_path, tables, names(rows) if images is None else images)


def plan_of(tmp_path, rows=ROWS, shapes=(), **options):
    return planned(CESM, copy(tmp_path, rows, shapes, **options))


def one(tmp_path, shapes=(), name="P5_L_DM_CC", sheets=None, **changes):
    rows = [row(name, **changes)]
    drawn = [(f"{name.strip()}.jpg", shapes)] if shapes else []
    return next(iter(films(plan_of(tmp_path, rows, drawn, sheets=sheets)).values()))


# Film by hand from the printed row and region: half a pixel is added to every click.
GOLDEN = {
    "P1_L_DM_MLO": {
        "modality": "CESM_LE", "view": "MLO", "laterality": "L", "pathology": "malignant",
        "birads": "4", "density": "C", "age": 46, "annotation": "none",
        "lesion": ("architectural_distortion", None, ()), "number": "finding-1",
    },
    "P1_L_CM_MLO": {
        "modality": "CESM_SUB", "view": "MLO", "laterality": "L", "pathology": "malignant",
        "birads": "4", "density": "C", "age": 46, "annotation": "complete",
        "lesion": ("non_mass_enhancement", "polygon",
                   ((350.5, 1179.5), (423.5, 1296.5), (1005.5, 1560.5))), "number": "0",
    },
    "P3_L_CM_CC": {
        "modality": "CESM_SUB", "view": "CC", "laterality": "L", "pathology": "malignant",
        "birads": "5", "density": None, "age": 45, "annotation": "complete",
        "lesion": ("enhancement", "circle", (693.5, 814.5, 64)), "number": "0",
    },
}  # fmt: skip
DRAWN = [("P1_L_CM_MLO.jpg", [POLYGON]), ("P3_L_CM_CC.jpg", [CIRCLE])]


@pytest.mark.parametrize("key", GOLDEN)
def test_printed_rows_become_the_film_written_by_hand(tmp_path, key):
    film, told = films(plan_of(tmp_path, shapes=DRAWN))[key], dict(GOLDEN[key])
    finding, kind, points = told.pop("lesion")
    number = told.pop("number")
    assert {name: getattr(film, name) for name in told} == told
    assert (film.patient_key, film.label_basis) == (f"P{key[1]}", "biopsy_or_follow_up")
    assert (film.pair_key, film.native_pixel_mm) == (f"{key[:4]}_{told['view']}", None)
    (lesion,) = film.lesions
    assert (lesion.lesion_id, lesion.finding, lesion.pathology) == (number, finding, "malignant")
    geometry = lesion.geometry
    assert (geometry.kind if geometry else None) == kind
    if kind:
        assert (geometry.values or geometry.rings[0]) == points


def test_a_score_a_finding_and_regions_that_belong_to_neither(tmp_path):
    film = films(plan_of(tmp_path, shapes=[("P2_R_DM_CC.jpg", [ELLIPSE, CIRCLE])]))["P2_R_DM_CC"]
    assert (film.birads, film.raw.status, film.annotation) == ("3", "BIRADS 3$2", "complete")
    assert film.annotation_kind == "circle"
    first, second, mass, calcification = film.lesions
    assert first.geometry.values == (713.5, 2236.5, 177, 153, 0)
    assert (first.finding, second.finding) == ("unknown", "unknown")
    assert (mass.finding, mass.birads, mass.geometry) == ("mass", "3", None)
    assert (calcification.finding, calcification.birads) == ("calcification", "2")
    assert {flag for lesion in film.lesions for flag in lesion.flags} == {LesionFlag.UNLINKED}
    assert {lesion.pathology for lesion in film.lesions} == {"benign"}


def test_which_finding_of_a_malignant_image_is_malignant_is_not_said(tmp_path):
    film = one(
        tmp_path,
        [CIRCLE],
        Findings="High density mass$Benign macrocalcification",
        BIRADS="5$2",
        **{TITLES[-1]: "Malignant"},
    )
    assert [lesion.pathology for lesion in film.lesions] == ["malignant", "unknown", "unknown"]
    assert (film.birads, film.annotation) == ("5", "partial")


def test_blanks_in_names_do_not_part_image_row_and_region(tmp_path):
    items = plan_of(tmp_path, [ROWS[3]], [("P3_L_CM_CC.jpg", [CIRCLE])])
    (film,) = items
    assert (film.film_key, film.image.path) == ("P3_L_CM_CC", "images/P3_L_CM_CC .jpg")
    assert film.lesions[0].geometry is not None


def test_doubled_rows_are_one_film_and_say_when_they_differ(tmp_path):
    twice = [row("P9_L_DM_CC"), row("P9_L_DM_CC")]
    (film,) = plan_of(tmp_path, twice, images=["P9_L_DM_CC.jpg"])
    assert film.flags == ()
    twice[1] = row("P9_L_DM_CC", **{TITLES[-1]: "Benign"})
    (film,) = plan_of(tmp_path, twice, images=["P9_L_DM_CC.jpg"])
    assert (film.pathology, film.flags) == ("normal", (QualityFlag.LABEL_CONFLICT,))


@pytest.mark.parametrize(
    ("score", "label", "conflict"),
    [(1, "Malignant", True), (1, "Benign", True), (6, "Normal", True), (6, "Malignant", False),
     (1, "Normal", False), (5, "Benign", False)],
)  # fmt: skip
def test_scores_and_labels_that_exclude_each_other_are_flagged(tmp_path, score, label, conflict):
    film = one(tmp_path, BIRADS=score, **{TITLES[-1]: label})
    assert (QualityFlag.LABEL_CONFLICT in film.flags) is conflict
    assert film.raw.label == label


def test_a_normal_image_is_complete_and_a_region_on_it_is_unlinked(tmp_path):
    assert one(tmp_path).annotation == "complete"
    film = one(tmp_path, [ELLIPSE])
    assert (film.annotation, film.flags) == ("complete", (QualityFlag.UNLINKED_GEOMETRY,))
    assert (film.lesions[0].pathology, film.lesions[0].finding) == ("normal", "unknown")


@pytest.mark.parametrize("label", ["Benign", "Malignant"])
def test_a_lesion_without_region_is_not_drawn(tmp_path, label):
    film = one(tmp_path, Findings="IMLN", BIRADS=2, **{TITLES[-1]: label})
    assert (film.annotation, film.annotation_kind) == ("none", None)
    assert [(x.lesion_id, x.finding, x.flags) for x in film.lesions] == [
        ("finding-1", "lymph_node", ())
    ]


def test_points_become_the_authors_disc_and_say_so(tmp_path):
    film = one(tmp_path, [{"name": "point", "cx": 456, "cy": 687}, {**CIRCLE, "r": 25}])
    point, circle = film.lesions
    assert point.geometry.values == (456.5, 687.5, 25)
    assert LesionFlag.ROUGH in point.flags
    assert LesionFlag.ROUGH not in circle.flags


def test_open_lines_are_outlines_and_empty_shapes_are_not_drawn(tmp_path):
    line = {**POLYGON, "name": "polyline"}
    film = one(tmp_path, [line, {}], Findings="IMLN", **{TITLES[-1]: "Benign"})
    assert [lesion.geometry.kind for lesion in film.lesions] == ["polygon"]
    assert film.annotation == "partial"


def test_a_subtracted_image_has_the_density_of_its_low_energy_twin(tmp_path):
    found = films(plan_of(tmp_path))
    assert (found["P1_L_CM_MLO"].density, found["P1_L_CM_MLO"].raw.density) == ("C", None)
    assert found["P3_L_CM_CC"].density_scale is None


def test_two_densities_of_a_patient_are_flagged_on_all_her_images(tmp_path):
    rows = [row("P6_L_DM_CC"), row("P6_R_DM_CC", **{"Breast density (ACR)": "D"})]
    for film in films(plan_of(tmp_path, rows)).values():
        assert film.flags == (QualityFlag.DENSITY_CONFLICT,)


def test_operated_breasts_are_known_by_sheet_or_tag(tmp_path):
    by_tag = one(tmp_path, Tags="benign, postoperative", Findings="Non enhancement")
    sheet = {"postoperative": [("Image_name",), ("P5_L_DM_CC ",)]}
    by_sheet = one(tmp_path, sheets=sheet, Findings="Non enhancement")
    for film in (by_tag, by_sheet):
        assert QualityFlag.POSTOPERATIVE in film.flags
        assert [lesion.finding for lesion in film.lesions] == ["postoperative"]


def test_masses_have_the_shapes_and_margins_of_their_sheet(tmp_path):
    sheet = {"mass_description": [MASS_TITLES, ("P5_L_DM_CC", "Round- Irregular ", "Speculated ")]}
    film = one(tmp_path, [CIRCLE], sheets=sheet, Findings="Mass", **{TITLES[-1]: "Malignant"})
    assert film.lesions[0].shape == ("round", "irregular")
    assert film.lesions[0].margin == ("spiculated",)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({TITLES[-1]: "BENING"}, "'P5_L_DM_CC' of data/annotations.xlsx has the .* 'BENING'"),
        ({"BIRADS": "4$9"}, "has the BIRADS '9'"),
        ({"Breast density (ACR)": "E"}, r"has the Breast density \(ACR\) 'E'"),
    ],
)
def test_a_word_outside_the_tables_is_a_reject(tmp_path, changes, match):
    (item,) = rejects(plan_of(tmp_path, [row("P5_L_DM_CC", **changes)]))
    assert (item.film_key, item.reason) == ("P5_L_DM_CC", RejectReason.UNKNOWN_WORD)
    with pytest.raises(ValueError, match=match):
        raise ValueError(item.detail)


def test_nothing_is_lost_between_table_and_folder(tmp_path):
    rows = [row("P1_L_DM_CC"), row("P1_R_DM_CC"), ("Scout", *row("P1_L_DM_CC")[1:])]
    images = ["P1_L_DM_CC.jpg", "copy/P1_L_DM_CC .jpg", "P8_L_DM_CC.jpg", "scout.jpg",
              "P1_L_DM_CC_MASK.png", "desktop.ini", "~$annotations.xlsx"]  # fmt: skip
    items = plan_of(tmp_path, rows, images=images)
    assert [film.image.path for film in films(items).values()] == ["P1_L_DM_CC.jpg"]
    assert [(item.film_key, item.file) for item in absent(items)] == [
        ("P1_R_DM_CC", "P1_R_DM_CC.jpg")
    ]
    assert sorted((item.film_key, item.reason.value) for item in rejects(items)) == [
        ("P8_L_DM_CC", "no_table_row"),
        ("copy/P1_L_DM_CC .jpg", "duplicate_file"),
        ("row 'Scout'", "bad_row"),
        ("scout.jpg", "no_table_row"),
    ]


def test_copies_sorted_into_class_folders_are_refused(tmp_path):
    release = copy(tmp_path, images=["Benign/P2_R_DM_CC.jpg", "Malignant/P1_L_CM_MLO.png"])
    with pytest.raises(MammoError, match=r"sorted into class folders .* not supported"):
        planned(CESM, release)
    (remark,) = CESM.verify(release, HeaderIndex())
    assert not remark.ok


def test_a_copy_without_table_says_which_is_missing(tmp_path):
    release = copy_of(
        tmp_path, {"x.xlsx": workbook({"Sheet1": [("a",), (1,)]})}, ["P1_L_DM_CC.jpg"]
    )
    with pytest.raises(MammoError, match=r"no CDD-CESM table .* Radiology-manual-annotations"):
        planned(CESM, release)


def test_without_the_csv_lesions_are_undrawn_and_verify_says_so(tmp_path):
    release = copy_of(tmp_path, {"a.xlsx": workbook({"all": [TITLES, *ROWS]})}, names(ROWS))
    assert {film.annotation for film in films(planned(CESM, release)).values()} == {"none"}
    said = [remark.what for remark in CESM.verify(release, HeaderIndex()) if not remark.ok]
    assert any("no Radiology_hand_drawn" in what for what in said)


def test_the_newer_export_is_used(tmp_path):
    release = copy(tmp_path, [ROWS[3]], [("P3_L_CM_CC.jpg", [CIRCLE])])
    older = regions(("P3_L_CM_CC.jpg", [ELLIPSE, POLYGON]))
    (tmp_path / "old.csv").write_bytes(older)
    entries = (*release.entries, Entry("old.csv", len(older)))
    (film,) = planned(CESM, replace(release, entries=entries))
    assert [lesion.geometry.kind for lesion in film.lesions] == ["circle"]


def test_verify_tells_resized_copies_by_the_size_of_their_files(tmp_path):
    said = {r.what: r for r in CESM.verify(copy(tmp_path, shapes=DRAWN), HeaderIndex())}
    (what,) = [what for what in said if what.startswith("outlined images of the size")]
    assert "0 of 2" in what
    assert "resized" in said[what].meaning


@pytest.mark.parametrize(
    ("text", "kind", "found"),
    [
        ("No mass or non mass enhancement", "CESM_SUB", []),
        ("Normal", "CESM_LE", []),
        ("Two heterogenously enhancing masses and segmental non mass enhancement", "CESM_SUB",
         ["non_mass_enhancement", "enhancement"]),
        ("Non enhancing mass", "CESM_SUB", ["mass"]),
        ("Foci of enhancement ", "CESM_SUB", ["non_mass_enhancement"]),
        ("Heterogenously enahncing mass with ductal extension", "CESM_SUB", ["enhancement"]),
        ("Asymmetrcial increased density and overlying microcalcifications", "CESM_LE",
         ["calcification", "asymmetry"]),
        ("Edema and postoperative scar with flap", "CESM_LE", ["postoperative"]),
        ("Global asymmetrial increased density", "CESM_LE", ["global_asymmetry"]),
        ("Diffuse edematous changes", "CESM_LE", ["other"]),
    ],
)  # fmt: skip
def test_phrases_of_the_findings_are_understood(text, kind, found):
    assert list(findings_of(text, Modality(kind))) == found


# The real tables, read here by openpyxl and csv alone.


@pytest.fixture(scope="module")
def tables(shared):
    return shared / "data/tables/cdd-cesm"


@pytest.fixture(scope="module")
def sheets(tables):
    book = openpyxl.load_workbook(
        tables / "Radiology-manual-annotations.xlsx", read_only=True, data_only=True
    )
    found = {}
    for sheet in book.worksheets:
        lines = list(sheet.iter_rows(values_only=True))
        found[sheet.title] = [dict(zip(lines[0], line, strict=True)) for line in lines[1:]]
    return found


@pytest.fixture(scope="module")
def real(tables, sheets, tmp_path_factory):
    folder = "PKG - CDD-CESM/CDD-CESM/{} images of CDD-CESM/{}.jpg"
    images = {
        folder.format("Low energy" if line["Type"] == "DM" else "Subtracted", line["Image_name"])
        for line in sheets["all"]
    }
    files = [path for path in tables.iterdir() if path.suffix in (".xlsx", ".csv")]
    release = copy_of(
        tmp_path_factory.mktemp("real"), {file.name: file.read_bytes() for file in files}, images
    )
    return release, planned(CESM, release)


def test_the_real_tables_give_the_counts_of_the_specification(real):
    found = films(real[1])
    assert len(found) == len(real[1]) == 2002
    assert Counter(film.pathology.value for film in found.values()) == {
        "normal": 753, "malignant": 662, "benign": 587,
    }  # fmt: skip
    by_kind = Counter((film.modality.value, film.pathology.value) for film in found.values())
    assert by_kind == {
        ("CESM_LE", "benign"): 331, ("CESM_LE", "malignant"): 331, ("CESM_LE", "normal"): 339,
        ("CESM_SUB", "benign"): 256, ("CESM_SUB", "malignant"): 331, ("CESM_SUB", "normal"): 414,
    }  # fmt: skip
    assert Counter((f.modality.value, f.view.value) for f in found.values()) == {
        (kind, view): n
        for kind in ("CESM_LE", "CESM_SUB")
        for view, n in (("CC", 500), ("MLO", 501))
    }
    assert len({film.patient_key for film in found.values()}) == 326
    pairs = Counter(film.pair_key for film in found.values())
    assert (len(pairs), set(pairs.values())) == (1001, {2})
    none = Counter(f.pathology.value for f in found.values() if f.annotation == "none")
    assert none == {"benign": 13, "malignant": 11}
    drawn = [f for f in found.values() if any(x.geometry for x in f.lesions)]
    assert Counter(film.pathology.value for film in drawn) == {
        "malignant": 651, "benign": 574, "normal": 8,
    }  # fmt: skip
    assert sum(film.image.path.endswith(" .jpg") for film in found.values()) == 5
    kinds = Counter(x.geometry.kind.value for f in drawn for x in f.lesions if x.geometry)
    assert kinds == {"polygon": 2028 + 10, "ellipse": 598, "circle": 331 + 4}
    flags = Counter(flag.value for film in found.values() for flag in film.flags)
    assert (flags["postoperative"], flags["label_conflict"]) == (159, 19 + 40 + 6)


def test_breasts_and_patients_by_their_worst_image(real):
    rank = ["normal", "benign", "malignant"]
    for key, expected in (
        (lambda film: (film.patient_key, film.laterality), (189, 194, 183)),
        (lambda film: film.patient_key, (42, 105, 179)),
    ):
        worst = {}
        for film in films(real[1]).values():
            worst[key(film)] = max(worst.get(key(film), 0), rank.index(film.pathology))
        assert tuple(Counter(worst.values())[k] for k in range(3)) == expected


def test_every_region_lies_half_a_pixel_from_its_clicks(real, tables):
    found = films(real[1])
    with (tables / "Radiology_hand_drawn_segmentations_v2.csv").open(newline="") as stream:
        for line in csv.DictReader(stream):
            film = found[line["#filename"].removesuffix(".jpg").strip()]
            lesion = next(x for x in film.lesions if x.lesion_id == line["region_id"])
            shape = json.loads(line["region_shape_attributes"])
            if "cx" in shape:
                radii = [shape.get("rx", shape.get("r", 25)), shape.get("ry")]
                told = (shape["cx"] + 0.5, shape["cy"] + 0.5, radii[0])
                assert lesion.geometry.values[:3] == told
                assert radii[1] is None or lesion.geometry.values[3:] == (radii[1], 0)
            else:
                xs, ys = zip(*lesion.geometry.rings[0], strict=True)
                assert (min(xs), max(xs)) == (
                    min(shape["all_points_x"]) + 0.5, max(shape["all_points_x"]) + 0.5
                )  # fmt: skip
                assert (min(ys), max(ys)) == (
                    min(shape["all_points_y"]) + 0.5, max(shape["all_points_y"]) + 0.5
                )  # fmt: skip


SHEETS = {
    "mass_description": ({"mass", "lymph_node"}, 6),
    "distortion": ({"architectural_distortion"}, 4),
    "calcifications": ({"calcification"}, 6),
    "mass enhancement_description": ({"enhancement", "lymph_node", "mass"}, 12),
    "nonmass enhancement_description": ({"non_mass_enhancement"}, 9),
}


@pytest.mark.parametrize("sheet", SHEETS)
def test_texts_are_understood_as_the_authors_sorted_them_into_sheets(real, sheets, sheet):
    kinds, most = SHEETS[sheet]
    found = films(real[1])
    other = [
        name
        for name in {line["Image_name"].strip() for line in sheets[sheet]}
        if not kinds & {lesion.finding.value for lesion in found[name].lesions}
    ]
    assert len(other) <= most


def test_few_texts_are_other(real):
    texts = Counter(
        film.raw.finding
        for film in films(real[1]).values()
        if Finding.OTHER in {lesion.finding for lesion in film.lesions}
    )
    assert sum(texts.values()) <= 45
    assert not [
        text for text in texts if "mass" in text.replace("non mass", "") and "$" not in text
    ]


def test_counts_of_the_words_are_those_of_the_table(sheets):
    table = {words.column: words for words in WORDS}
    label = "Pathology Classification/ Follow up"
    assert table[label].counts == Counter(line[label] for line in sheets["all"])
    density = "Breast density (ACR)"
    assert table[density].counts == Counter(line[density] for line in sheets["all"])
    scores = Counter(str(line["BIRADS"]) for line in sheets["all"])
    assert table["BIRADS"].counts == {k: n for k, n in scores.items() if "$" not in k}
    for column, words in (("Mass shape", SHAPES), ("Mass margin", MARGINS)):
        lines = [*sheets["mass_description"], *sheets["mass enhancement_description"]]
        told = Counter(
            " ".join(word.lower().split()) for line in lines for word in line[column].split("-")
        )
        assert table[column].counts == told
        assert set(told) <= set(words)


def test_verify_finds_nothing_wrong_with_the_real_tables_but_the_stand_ins(real):
    remarks = list(CESM.verify(real[0], HeaderIndex()))
    assert [r.what[:44] for r in remarks if not r.ok] == [
        "outlined images of the size that the annotat"
    ]
    assert any("different labels: 83" in remark.what for remark in remarks)
