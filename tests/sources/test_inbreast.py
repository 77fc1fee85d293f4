"""INbreast: golden rows, every trap of the tables and outlines, counts of the official tables."""

from __future__ import annotations

import csv
import re
from collections import Counter

import pytest

from etl.phantoms.workbook import workbook
from etl.sources import inbreast
from schemas.errors import MammoError
from schemas.film import Geometry
from schemas.rejects import RejectReason
from schemas.release import HeaderIndex
from schemas.vocabulary import Birads, Density, Finding, GeometryKind, Laterality, Modality, View
from tests.sources.copies import absent, copy_of, films, planned, rejects

# Verbatim from the official INbreast.csv, and from Sheet1 of INbreast.xls.
TITLES = "Patient ID;Patient age;Laterality;View;Acquisition date;File Name;ACR;Bi-Rads"
ROWS = [
    "removed;removed;R;CC;201001;22678622;4;1",
    "removed;removed;L;CC;201001;22678646;4;3",
    "removed;removed;R;MLO;201001;50997461;3;4a",
]
SHEET = [
    *("Patient ID", "Patient age", "Laterality", "View", "Acquisition date", "File Name", "ACR"),
    *("Bi-Rads", "Mass ", "Micros", "Distortion", "Asymmetry", "Findings Notes (in Portuguese)"),
    *("Other Notes", "Lesion Annotation Status", "Pectoral Muscle Annotation"),
    "Other Annotations",
]
PATIENT = "6c613a14b80a8591"


def csv_of(*rows: str) -> bytes:
    return "".join(f"{row}\r\n" for row in (TITLES, *rows)).encode()


def image(file: str, side: str = "R", view: str = "CC", patient: str = PATIENT) -> str:
    return f"AllDICOMs/{file}_{patient}_MG_{side}_{view}_ANON.dcm"


IMAGES = [image("22678622"), image("22678646", "L"), image("50997461", view="ML")]


def outlines(*regions: tuple[str | None, list[tuple[float, float]]]) -> bytes:
    rois = ""
    for name, points in regions:
        title = "" if name is None else f"<key>Name</key><string>{name}</string>"
        texts = "".join(f"<string>({x:f}, {y:f})</string>" for x, y in points)
        rois += f"<dict>{title}<key>Point_px</key><array>{texts}</array></dict>"
    return (
        '<?xml version="1.0"?><!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" '
        '"http://www.apple.com/DTDs/PropertyList-1.0.dtd"><plist version="1.0"><dict>'
        f"<key>Images</key><array><dict><key>ROIs</key><array>{rois}</array></dict></array></dict>"
        "</plist>"
    ).encode()


SQUARE = [(10.25, 20.5), (30.75, 20.5), (30.75, 60.0), (10.25, 60.0)]


def sheet_row(file: str, category: str, *marks: str, acr: object = 2.0, status: str | None = None):
    numbers = [201001.0, float(file), acr, category]
    found = ["X" if title in marks else None for title in ("Mass", "Micros", "Dist", "Asymmetry")]
    return ["removed", "removed", "R", "CC", *numbers, *found, None, None, status, None, None]


def sheet1(*rows, totals: bool = True) -> bytes:
    last = [[None], [*[None] * 6, 28.0, 49.0, 108.0, 308.0, 3.0, 14.0]] if totals else []
    secret = [
        ["Nome", "File Name", "Bi-Rads", "Laterality", "View"],
        ["Maria", 1e7, "5", "L", "CC"],
    ]
    return workbook({"Sheet1": [SHEET, *rows, *last], "Sheet2": secret})


def one(tmp_path, category: str, *regions, marks: tuple[str, ...] | None = None, xml: bool = True):
    """Plan one film with this category, these regions and (with a workbook) these marks."""
    row = f"removed;removed;R;CC;201001;20000001;2;{category}"
    tables = {"INbreast.csv": csv_of(row)}
    if xml:
        tables["AllXML/20000001.xml"] = outlines(*regions)
    if marks is not None:
        tables["INbreast.xlsx"] = sheet1(sheet_row("20000001", category, *marks))
    plan = planned(inbreast, copy_of(tmp_path, tables, [image("20000001")]))
    return films(plan).get("20000001") or rejects(plan)[0]


def test_golden_rows_become_the_films_written_by_hand(tmp_path):
    tables = {"INbreast.csv": csv_of(*ROWS), "AllXML/22678646.xml": outlines(("Mass", SQUARE))}
    plan = films(planned(inbreast, copy_of(tmp_path, tables, IMAGES)))
    normal, mass, suspicious = (plan[key] for key in ("22678622", "22678646", "50997461"))
    assert [film.patient_key for film in plan.values()] == [PATIENT] * 3
    assert {film.exam_key for film in plan.values()} == {f"{PATIENT}_2010_01"}
    assert {film.modality for film in plan.values()} == {Modality.FFDM}
    assert {film.native_pixel_mm for film in plan.values()} == {(0.07, 0.07)}
    assert (normal.laterality, normal.view, normal.density) == (Laterality.R, View.CC, Density.D)
    assert (normal.pathology, normal.birads, normal.annotation) == ("normal", "1", "complete")
    assert (mass.laterality, mass.pathology, mass.label_basis) == ("L", "benign", "birads")
    (lesion,) = mass.lesions
    assert lesion.geometry == Geometry(kind=GeometryKind.POLYGON, rings=(tuple(SQUARE),))
    assert (lesion.lesion_id, lesion.finding, lesion.birads) == ("001", Finding.MASS, Birads.B3)
    assert (mass.annotation, mass.annotation_kind) == ("complete", "outline")
    assert (suspicious.view, suspicious.birads) == (View.MLO, Birads.B4A)
    assert (suspicious.pathology, suspicious.label_basis) == ("unknown", "birads")
    assert (suspicious.annotation, suspicious.flags) == ("none", ("mask_missing",))


def test_the_real_mass_lies_where_the_release_draws_it(tmp_path, shared):
    data = (shared / "data/tables/inbreast/AllXML/22678646.xml").read_bytes()
    tables = {"INbreast.csv": csv_of(*ROWS), "AllXML/22678646.xml": data}
    film = films(planned(inbreast, copy_of(tmp_path, tables, IMAGES)))["22678646"]
    (ring,) = film.lesions[0].geometry.rings
    xs, ys = zip(*ring, strict=True)
    box = (min(xs), min(ys), max(xs), max(ys))
    assert box == pytest.approx((97.17, 1611.37, 401.18, 1937.72), abs=0.01)
    assert len(ring) == 133


@pytest.mark.parametrize(
    ("category", "pathology", "basis"),
    [
        *[("1", "normal", "birads"), ("2", "benign", "birads"), ("3", "benign", "birads")],
        *[(f"4{letter}", "unknown", "birads") for letter in "abc"],
        *[("5", "malignant", "birads"), ("6", "malignant", "biopsy")],
    ],
)
def test_categories_follow_the_one_rule(tmp_path, category, pathology, basis):
    film = one(tmp_path, category, ("Mass", SQUARE)) if category != "1" else one(tmp_path, "1")
    assert (film.pathology, film.label_basis, film.label_scope) == (pathology, basis, "image")
    assert film.birads == category.upper()
    assert film.raw.label == category


@pytest.mark.parametrize(
    ("name", "finding", "more"),
    [
        ("Mass", "mass", ()),
        ("Calcification", "calcification", ()),
        ("Calcifications", "calcification", ()),
        ("Unnamed", "calcification", ()),
        ("Point 1", "calcification", ()),
        ("Point 3", "calcification", ()),
        ("Cluster", "calcification", ("clustered",)),
        ("Spiculated Region", "mass", ("spiculated",)),
        ("Spiculated region", "mass", ("spiculated",)),
        ("Espiculated Region", "mass", ("spiculated",)),
        ("Distortion", "architectural_distortion", ()),
        ("Asymmetry", "asymmetry", ()),
        ("Assymetry", "asymmetry", ()),
        ("", "unknown", ()),
        (None, "unknown", ()),
    ],
)
def test_every_name_of_a_region_is_known(tmp_path, name, finding, more):
    (lesion,) = one(tmp_path, "2", (name, SQUARE)).lesions
    assert (lesion.finding, lesion.margin + lesion.distribution) == (finding, more)


def test_an_unknown_name_rejects_its_film_and_names_file_and_word(tmp_path):
    reject = one(tmp_path, "2", ("Nodule", SQUARE))
    assert (reject.film_key, reject.reason) == ("20000001", RejectReason.UNKNOWN_WORD)
    assert "20000001.xml has a region 'Nodule', known are mass" in reject.detail


@pytest.mark.parametrize(
    ("points", "kind", "where"),
    [
        ([(2336.5, 1301.25)], "point", (2336.5, 1301.25)),
        ([(10.0, 20.0), (12.0, 23.0)], "point", (11.0, 21.5)),
        ([(5.0, 5.0), (9.0, 5.0), (7.0, 5.0)], "point", (7.0, 5.0)),
        ([(5.0, 5.0), (9.0, 5.0), (7.0, 5.5)], "polygon", ()),
    ],
)
def test_what_encloses_nothing_is_a_point(tmp_path, points, kind, where):
    film = one(tmp_path, "2", ("Calcification", points))
    assert (film.lesions[0].geometry.kind, film.lesions[0].geometry.values) == (kind, where)
    assert film.annotation_kind == {"point": "point", "polygon": "outline"}[kind]


MASS, MASS2, SPIC = ("Mass", SQUARE), ("Mass", SQUARE), ("Spiculated Region", SQUARE)
CALC, CLUSTER = ("Calcification", [(1.0, 2.0)]), ("Cluster", SQUARE)


@pytest.mark.parametrize(
    ("category", "regions", "labels"),
    [
        ("2", [MASS, MASS2, CALC], "benign benign benign"),
        ("5", [MASS], "malignant"),
        ("5", [MASS, CALC], "malignant unknown"),
        ("5", [SPIC, MASS], "malignant malignant"),
        ("5", [MASS, MASS2], "unknown unknown"),
        ("5", [MASS, CLUSTER], "unknown unknown"),
        ("6", [CALC, CALC], "malignant malignant"),
        ("4c", [MASS, CALC], "unknown unknown"),
    ],
)
def test_a_lesion_has_the_image_s_category_only_where_it_must_be_its_own(
    tmp_path, category, regions, labels
):
    film = one(tmp_path, category, *regions)
    assert [lesion.pathology for lesion in film.lesions] == labels.split()
    basis = "biopsy" if category == "6" else "birads"
    for lesion in film.lesions:
        told = lesion.birads is not None
        assert lesion.label_basis == (basis if told else "unknown")
        assert lesion.label_raw == (category if told else None)


def test_findings_of_table_and_outlines_are_united_each_with_its_source(tmp_path):
    # 24065380: X under Asymmetry, calcifications drawn
    film = one(tmp_path, "2", CALC, CALC, marks=("Asymmetry",))
    found = [(x.lesion_id, x.finding, x.flags) for x in film.lesions]
    assert found == [
        ("001", "calcification", ()),
        ("002", "calcification", ()),
        ("asymmetry", "asymmetry", ("unlinked",)),
    ]
    assert (film.annotation, film.flags) == ("partial", ("unlinked_geometry",))
    assert film.raw.finding == "table: asymmetry; outlines: calcification"


def test_a_drawn_mass_without_a_mark_is_kept_and_flagged(tmp_path):
    # 24065584: category 4c, a mass drawn, no X
    film = one(tmp_path, "4c", MASS, marks=())
    assert (film.annotation, film.flags) == ("complete", ("unlinked_geometry",))
    assert [x.finding for x in film.lesions] == ["mass"]


def test_without_its_outline_file_only_a_normal_film_is_complete(tmp_path):
    told = {}
    for category, marks in (("1", ()), ("2", ("Mass",)), ("2", None)):
        film = one(tmp_path / f"{category}{marks}", category, marks=marks, xml=False)
        told[category, marks] = (film.annotation, film.flags, len(film.lesions))
    assert told == {
        ("1", ()): ("complete", (), 0),
        ("2", ("Mass",)): ("none", ("mask_missing",), 1),
        ("2", None): ("none", ("mask_missing",), 0),
    }


def test_a_region_on_a_normal_film_is_a_conflict_and_no_label(tmp_path):
    film = one(tmp_path, "1", MASS)
    assert (film.pathology, film.lesions[0].pathology) == ("normal", "unknown")
    assert "label_conflict" in film.flags


def test_a_density_of_193_blanks_is_none(tmp_path):
    row = f"removed;removed;L;CC;200901;53582540;{' ' * 193};2"
    tables = {"INbreast.csv": csv_of(row)}
    film = films(planned(inbreast, copy_of(tmp_path, tables, [image("53582540", "L")])))["53582540"]
    assert (film.density, film.density_scale, film.raw.density) == (None, None, None)


def test_the_one_view_from_below_stays_one(tmp_path):
    row = "removed;removed;R;FB;201001;50994300;3;2"
    tables = {"INbreast.csv": csv_of(row)}
    found = films(planned(inbreast, copy_of(tmp_path, tables, [image("50994300", view="FB")])))
    assert found["50994300"].view is View.FB


def test_the_workbook_alone_is_a_table_without_its_totals_and_without_sheet2(tmp_path):
    rows = [
        sheet_row("22678622", "1", status="No annotation (Normal)"),
        sheet_row("20000001", "4a"),
    ]
    release = copy_of(tmp_path, {"INbreast.xlsx": sheet1(*rows)}, [image("22678622")])
    plan = planned(inbreast, release)
    film = films(plan)["22678622"]
    assert (film.density, film.birads, film.raw.label) == (Density.B, Birads.B1, "1")
    assert film.raw.status == "No annotation (Normal)"
    assert [item.film_key for item in absent(plan)] == ["20000001"]
    assert rejects(plan) == []


def test_csv_and_workbook_that_disagree_are_a_conflict_and_the_csv_counts(tmp_path):
    tables = {
        "INbreast.csv": csv_of("removed;removed;R;CC;201001;20000001;2;2"),
        "INbreast.xlsx": sheet1(sheet_row("20000001", "5")),
        "AllXML/20000001.xml": outlines(),
    }
    film = films(planned(inbreast, copy_of(tmp_path, tables, [image("20000001")])))["20000001"]
    assert (film.pathology, film.flags) == ("benign", ("label_conflict",))


@pytest.mark.parametrize(
    ("row", "reason", "detail"),
    [
        ("removed;removed;X;CC;201001;20000001;2;2", "unknown_word", "laterality 'X'"),
        ("removed;removed;R;XCC;201001;20000001;2;2", "unknown_word", "view 'XCC'"),
        ("removed;removed;R;CC;201001;20000001;5;2", "unknown_word", "acr '5'"),
        ("removed;removed;R;CC;201001;20000001;2;7", "unknown_word", "bi-rads '7'"),
        ("removed;removed;;CC;201001;20000001;2;2", "bad_row", "has no laterality"),
    ],
)
def test_a_bad_row_rejects_its_film_and_says_why(tmp_path, row, reason, detail):
    plan = planned(inbreast, copy_of(tmp_path, {"a.csv": csv_of(row)}, [image("20000001")]))
    (reject,) = rejects(plan)
    assert (reject.film_key, reject.reason, reject.stage) == ("20000001", reason, "plan")
    assert detail in reject.detail


def test_files_that_are_no_films_are_left_alone_and_copies_are_rejected(tmp_path):
    film = image("22678622")
    images = [
        *(film, f"__MACOSX/{film}", "AllDICOMs/._x_ANON.dcm", "AllDICOMs/.DS_Store"),
        *("AllDICOMs/readme.m", "AllROI/22678622.roi", "masks/22678622_mask.png"),
        *(f"png/{film.split('/')[1][:-4]}.png", "INbreast.pdf"),
    ]
    muscle = {"PectoralMuscle/Pectoral Muscle XML/22678622_muscle.xml": b"no plist"}
    plan = planned(inbreast, copy_of(tmp_path, {"t.csv": csv_of(ROWS[0]), **muscle}, images))
    assert films(plan)["22678622"].image.path == film
    assert [(x.reason, x.file) for x in rejects(plan)] == [("duplicate_file", images[-2])]


def test_films_without_row_are_rejected_and_rows_without_film_absent(tmp_path):
    plan = planned(inbreast, copy_of(tmp_path, {"t.csv": csv_of(*ROWS)}, [image("20000009")]))
    assert [(x.film_key, x.reason) for x in rejects(plan)] == [("20000009", "no_table_row")]
    assert [x.film_key for x in absent(plan)] == ["22678622", "22678646", "50997461"]


def test_renamed_films_are_refused_because_nobody_knows_whose_they_are(tmp_path):
    release = copy_of(tmp_path, {"t.csv": csv_of(*ROWS)}, ["a/22678622.dcm", "a/22678646.png"])
    with pytest.raises(MammoError, match=r"renamed \(a/22678622.dcm, a/22678646.png\).*restore"):
        planned(inbreast, release)


def test_one_renamed_film_among_others_is_a_reject(tmp_path):
    images = [IMAGES[0], "AllDICOMs/22678646.dcm"]
    plan = planned(inbreast, copy_of(tmp_path, {"t.csv": csv_of(*ROWS)}, images))
    assert [(x.film_key, x.reason) for x in rejects(plan)] == [(images[1], "bad_row")]


def test_the_augmented_patches_are_refused(tmp_path):
    patches = [f"Benign Masses/20586934 ({n}).png" for n in (1, 2, 3)]
    with pytest.raises(MammoError, match=re.escape("augmented 227 x 227 patches made of INbreast")):
        planned(inbreast, copy_of(tmp_path, {"t.csv": csv_of(*ROWS)}, patches))


def test_a_copy_without_table_is_refused_with_what_to_do(tmp_path):
    with pytest.raises(MammoError, match=r"put the release's INbreast\.csv or INbreast\.xls"):
        planned(inbreast, copy_of(tmp_path, {"other.csv": b"a,b\n1,2\n"}, IMAGES))


def test_the_header_fills_the_device_and_flags_the_other_breast(tmp_path):
    film = films(planned(inbreast, copy_of(tmp_path, {"t.csv": csv_of(*ROWS)}, IMAGES)))["22678622"]
    bare = inbreast.resolve(film, {})
    assert (bare.manufacturer, bare.model, bare.flags) == ("Siemens", "MammoNovation", film.flags)
    other = inbreast.resolve(film, {"ImageLaterality": "L", "Manufacturer": "SIEMENS"})
    assert (other.manufacturer, other.laterality) == ("SIEMENS", Laterality.R)
    assert "laterality_conflict" in other.flags


# The release's tables, held against counts made here with the csv module alone.


@pytest.fixture
def official(shared, tmp_path):
    """Return the official tables in a copy whose files' names are made from them."""
    folder = shared / "data/tables/inbreast"
    with (folder / "INbreast.csv").open(newline="", encoding="ascii") as file:
        rows = list(csv.DictReader(file, delimiter=";"))
    images = [
        image(
            row["File Name"], row["Laterality"], row["View"].replace("MLO", "ML"), f"{k // 4:016x}"
        )
        for k, row in enumerate(rows)
    ]
    tables = {
        "INbreast.csv": (folder / "INbreast.csv").read_bytes(),
        "INbreast_Sheet1.csv": (folder / "INbreast_xls_Sheet1.csv").read_bytes(),
    }
    tables |= {f"AllXML/{path.name}": path.read_bytes() for path in folder.glob("AllXML/*.xml")}
    return rows, copy_of(tmp_path, tables, images)


def test_the_official_table_plans_to_its_counts(official):
    rows, release = official
    plan = planned(inbreast, release)
    found = films(plan)
    assert len(plan) == len(found) == len(rows) == 410
    assert Counter(film.raw.label for film in found.values()) == Counter(r["Bi-Rads"] for r in rows)
    assert Counter(film.pathology.value for film in found.values()) == {
        **{"normal": 67, "benign": 243, "malignant": 57, "unknown": 43}
    }
    assert Counter(film.label_basis.value for film in found.values()) == {
        "birads": 402,
        "biopsy": 8,
    }
    sides = Counter(f"{film.laterality} {film.view}" for film in found.values())
    assert sides == {"L MLO": 105, "L CC": 104, "R MLO": 101, "R CC": 99, "R FB": 1}
    densities = Counter(str(film.density) for film in found.values())
    assert densities == {"A": 136, "B": 146, "C": 99, "D": 28, "None": 1}
    by_file = {row["File Name"]: row for row in rows}
    for key, film in found.items():
        assert (film.laterality, film.view) == (by_file[key]["Laterality"], by_file[key]["View"])


def test_marks_of_sheet1_have_their_counts(official, shared):
    _, release = official
    with (shared / "data/tables/inbreast/INbreast_xls_Sheet1.csv").open(encoding="utf-8") as file:
        sheet = [row for row in csv.DictReader(file) if row["File Name"]]
    found = films(planned(inbreast, release))
    told = Counter(
        word
        for film in found.values()
        for word in re.findall(r"\w+", (film.raw.finding or "").split(";")[0].partition(":")[2])
        if (film.raw.finding or "").startswith("table")
    )
    titles = {"mass": "Mass ", "micros": "Micros", "distortion": "Distortion"}
    titles["asymmetry"] = "Asymmetry"
    assert told == {
        word: sum(row[title].strip() == "X" for row in sheet) for word, title in titles.items()
    }
    assert told == {"mass": 108, "micros": 308, "distortion": 3, "asymmetry": 14}
    unmarked = [key for key, film in found.items() if not (film.raw.finding or "").startswith("t")]
    assert len(unmarked) == 68
    assert "24065584" in unmarked
    lost = sum("mask_missing" in film.flags for film in found.values())
    assert lost == 343 - 4  # four of the outline files are at hand


def remarks(release):
    return {remark.what: remark.ok for remark in inbreast.verify(release, HeaderIndex())}


def test_verify_counts_the_official_tables_and_names_what_is_missing(official):
    _, release = official
    said = remarks(release)
    assert said["table INbreast.csv: 410 of 410 images"]
    assert said["410 of 410 films"]
    assert said["images by acr: 1 136 of 136, 2 146 of 146, 3 99 of 99, 4 28 of 28"]
    wrong = [what for what, ok in said.items() if not ok]
    assert len(wrong) == 1
    assert wrong[0].startswith("4 of 343 outline files; none for ")


def test_verify_says_that_a_copy_cannot_be_read(tmp_path):
    (remark,) = inbreast.verify(copy_of(tmp_path, {}, IMAGES), HeaderIndex())
    assert not remark.ok
    assert "no INbreast table" in remark.what


def test_every_word_of_the_tables_is_in_the_words_shown_to_readers():
    columns = {words.column for words in inbreast.WORDS}
    assert columns >= {"Bi-Rads", "ACR", "View", "Laterality", "ROI Name"}
    for words in inbreast.WORDS:
        assert set(words.counts) <= set(words.words)
