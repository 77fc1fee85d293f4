"""CMMD: the join on patient and side, TOMPEI's outlines, counts of the real table, every layout."""

from __future__ import annotations

import csv
import json
import random
from collections import Counter
from dataclasses import replace

import pytest

from etl import phantoms
from etl.readers.dicom import read_header
from etl.sources import source
from etl.sources.cmmd.films import from_clicks, label
from etl.sources.cmmd.tables import Row
from schemas.errors import MammoError
from schemas.film import FileRef, Film, FilmLesion, Geometry, RawWords
from schemas.rejects import RejectReason
from schemas.release import HeaderIndex, Release
from schemas.vocabulary import (
    Annotation,
    AnnotationKind,
    Finding,
    GeometryKind,
    Intent,
    LabelBasis,
    LabelScope,
    Laterality,
    Modality,
    Pathology,
    View,
)
from tests.sources.copies import absent, copy_of, films, planned, rejects

CMMD = source("cmmd")
TABLE = "CMMD_clinicaldata_revision.csv"

# Rows verbatim from the table of the release.
ROWS = """ID1,LeftRight,Age,number,abnormality,classification,subtype
D1-0001,R,44,2,calcification,Benign,
D1-0087,L,59,2,calcification,Benign,
D1-0087,R,59,2,calcification,Malignant,
D2-0284,L,38,2,both,Malignant,Luminal A
D2-0749,L,42,2,mass,Malignant,Luminal B
"""
CC, MLO = ("399162004", "cranio-caudal"), ("399368009", "medio-lateral oblique")


def head(patient, side, view, uid="1.2.3.1", **more):
    code, meaning = view
    return {
        "PatientID": patient,
        "SOPInstanceUID": uid,
        "ImageLaterality": side,
        "ViewCodeValue": code,
        "ViewCodeMeaning": meaning,
        **more,
    }


def plan_of(root, headers, text=ROWS, **tables):
    files = {TABLE: text.replace("\n", "\r\n").encode(), **tables}
    copy = copy_of(root, files, headers)
    return planned(CMMD, copy, HeaderIndex(headers))


def outline(*points, name="5f0a", label="mass"):
    clicks = [{"x": x, "y": y} for x, y in points]
    return {"_id": name, "color": "#f00", "type": "Draw", "label": label, "cgPoints": clicks}


def outlines(*items):
    return json.dumps(items).encode()


TRIANGLE = ((100, 200), (140, 200), (120, 260))
BOX = ((900, 30), (960, 30), (960, 70), (900, 70))

GOLDEN = Film(
    source="cmmd",
    film_key="D2-0749_L_MLO",
    patient_key="D2-0749",
    exam_key="D2-0749",
    files=(FileRef(role="image", path="x/1-2.dcm", size=1_048_593),),
    modality=Modality.FFDM,
    view=View.MLO,
    laterality=Laterality.L,
    intent=Intent.PRESENTATION,
    pathology=Pathology.MALIGNANT,
    label_basis=LabelBasis.BIOPSY,
    label_scope=LabelScope.BREAST,
    raw=RawWords(
        label="Malignant", view="medio-lateral oblique", finding="mass", status="Luminal B"
    ),
    lesions=(
        FilmLesion(
            lesion_id="1",
            source_ids=("5f0a",),
            finding=Finding.MASS,
            pathology=Pathology.MALIGNANT,
            label_basis=LabelBasis.BIOPSY,
            label_raw="mass",
            geometry=Geometry(
                kind=GeometryKind.POLYGON, rings=(((100.5, 200.5), (140.5, 200.5), (120.5, 260.5)),)
            ),
        ),
    ),
    annotation=Annotation.COMPLETE,
    annotation_kind=AnnotationKind.OUTLINE,
    age=42,
    licence="CC-BY-4.0",
)


def test_a_row_and_an_outline_become_the_film_written_by_hand(tmp_path):
    headers = {"x/1-2.dcm": head("D2-0749", "L", MLO)}
    plan = plan_of(
        tmp_path, headers, **{"D2-0749_MLO_L_AnnotationFile.json": outlines(outline(*TRIANGLE))}
    )
    assert films(plan)["D2-0749_L_MLO"] == GOLDEN


def test_both_breasts_of_a_woman_keep_their_own_class(tmp_path):
    headers = {
        f"{n}.dcm": head("D1-0087", side, view)
        for n, (side, view) in enumerate([("L", CC), ("R", CC), ("L", MLO), ("R", MLO)])
    }
    found = films(plan_of(tmp_path, headers))
    assert {key: film.pathology.value for key, film in found.items()} == {
        "D1-0087_L_CC": "benign",
        "D1-0087_L_MLO": "benign",
        "D1-0087_R_CC": "malignant",
        "D1-0087_R_MLO": "malignant",
    }
    assert {film.raw.label for film in found.values()} == {"Benign", "Malignant"}


def test_the_other_breast_of_a_labelled_one_is_unknown(tmp_path):
    found = films(plan_of(tmp_path, {"1.dcm": head("D1-0001", "L", CC)}))["D1-0001_L_CC"]
    assert (found.pathology, found.label_basis) == (Pathology.UNKNOWN, LabelBasis.UNKNOWN)
    assert (found.lesions, found.annotation, found.age) == ((), Annotation.NONE, 44)


def test_a_row_names_findings_that_nobody_drew(tmp_path):
    found = films(plan_of(tmp_path, {"1.dcm": head("D2-0284", "L", CC)}))["D2-0284_L_CC"]
    assert [(x.lesion_id, x.pathology, x.geometry, x.flags) for x in found.lesions] == [
        ("calcification", Pathology.MALIGNANT, None, ()),
        ("mass", Pathology.MALIGNANT, None, ()),
    ]
    assert found.annotation is Annotation.NONE


def test_a_finding_without_outline_beside_others_makes_the_film_partial(tmp_path):
    plan = plan_of(
        tmp_path,
        {"1.dcm": head("D2-0284", "L", MLO)},
        **{"t/D2-0284_MLO_L_AnnotationFile.json": outlines(outline(*BOX, label="calc "))},
    )
    found = films(plan)["D2-0284_L_MLO"]
    assert [(x.lesion_id, x.finding, x.flags) for x in found.lesions] == [
        ("1", Finding.CALCIFICATION, ()),
        ("mass", Finding.MASS, ("unlinked",)),
    ]
    assert found.annotation is Annotation.PARTIAL


def test_outlines_belong_to_the_mlo_image_and_junk_copies_are_passed_over(tmp_path):
    headers = {"1.dcm": head("D2-0749", "L", CC), "2.dcm": head("D2-0749", "L", MLO)}
    junk = "__MACOSX/t/._D2-0749_MLO_L_AnnotationFile.json"
    name = "t/D2-0749_MLO_L_AnnotationFile.json"
    found = films(
        plan_of(tmp_path, headers, **{junk: b"\0\5\x16\7", name: outlines(outline(*TRIANGLE))})
    )
    assert found["D2-0749_L_CC"].annotation is Annotation.NONE
    assert found["D2-0749_L_MLO"].lesions == GOLDEN.lesions


def test_outlines_follow_the_corrected_side_where_the_tag_is_wrong(tmp_path):
    rows = ROWS.splitlines()[0] + "\nD1-0999,L,84,2,mass,Benign,\nD1-0999,R,84,2,mass,Benign,\n"
    plan = plan_of(
        tmp_path,
        {"1.dcm": head("D1-0999", "L", MLO), "2.dcm": head("D1-0999", "L", CC)},
        text=rows,
        **{"D1-0999_MLO_R_AnnotationFile.json": outlines(outline(*BOX))},
    )
    mlo, cc = films(plan)["D1-0999_L_MLO"], films(plan)["D1-0999_L_CC"]
    assert mlo.flags == ("laterality_conflict",)
    assert (mlo.laterality, mlo.pathology) == (Laterality.L, Pathology.BENIGN)
    assert mlo.lesions[0].geometry.rings[0][0] == (900.5, 30.5)
    assert mlo.lesions[0].pathology is Pathology.UNKNOWN
    assert cc.flags == ()


def row(abnormality, classification):
    return Row("D1-0001", Laterality.L, "row 1", "50", abnormality, classification, None)


@pytest.mark.parametrize(
    ("abnormality", "classification", "finding", "soft", "calcs", "expected"),
    [
        ("mass", "Malignant", Finding.MASS, 1, 0, "malignant"),
        ("mass", "Malignant", Finding.FOCAL_ASYMMETRY, 1, 1, "malignant"),
        ("mass", "Malignant", Finding.CALCIFICATION, 1, 1, "unknown"),
        ("mass", "Malignant", Finding.MASS, 2, 0, "unknown"),
        ("both", "Malignant", Finding.CALCIFICATION, 1, 1, "malignant"),
        ("both", "Malignant", Finding.CALCIFICATION, 1, 2, "unknown"),
        ("mass", "Benign", Finding.MASS, 3, 0, "benign"),
        ("calcification", "Benign", Finding.MASS, 1, 0, "benign"),
    ],
)
def test_a_row_tells_an_outline_only_what_follows(
    abnormality, classification, finding, soft, calcs, expected
):
    said = label(row(abnormality, classification), finding, {False: soft, True: calcs})
    assert said[0] == expected
    assert said[1] == ("unknown" if expected == "unknown" else "biopsy")


def test_identical_films_share_split_and_pair_and_say_where_labels_differ(tmp_path):
    rows = ROWS + "D1-0202,L,38,2,calcification,Malignant,\nD1-0202,R,38,2,calcification,Benign,\n"
    names = [("D1-0202", "L"), ("D1-0202", "R"), ("D2-0284", "L"), ("D2-0284", "R")]
    headers = {f"{n}.dcm": head(*name, CC) for n, name in enumerate(names)}
    found = films(plan_of(tmp_path, headers, text=rows))
    assert {film.split_key for film in found.values()} == {"D1-0202"}
    assert found["D1-0202_L_CC"].pair_key == found["D2-0284_L_CC"].pair_key
    assert found["D1-0202_L_CC"].pair_key != found["D1-0202_R_CC"].pair_key
    assert found["D2-0284_L_CC"].flags == ("label_conflict", "twin_film")
    assert found["D2-0284_R_CC"].flags == ("twin_film",)


def test_of_the_second_twins_one_film_is_shared_and_of_the_third_none_for_sure(tmp_path):
    rows = ROWS + "D1-0808,R,45,2,mass,Benign,\nD1-1292,R,45,2,mass,Malignant,\n"
    rows += "D1-0014,L,52,2,calcification,Benign,\nD1-0269,L,52,2,both,Benign,\n"
    names = [("D1-0808", "R"), ("D1-1292", "R"), ("D1-0014", "L"), ("D1-0269", "L")]
    headers = {f"{n}{v[1][0]}.dcm": head(*x, v) for n, x in enumerate(names) for v in (CC, MLO)}
    found = films(plan_of(tmp_path, headers, text=rows))
    assert {key for key, film in found.items() if film.pair_key} == {
        "D1-0808_R_CC",
        "D1-1292_R_CC",
    }
    assert {film.split_key for film in found.values()} == {"D1-0808", "D1-0014"}


@pytest.mark.parametrize(
    ("header", "reason", "detail"),
    [
        ({}, RejectReason.HEADER_INVALID, "no readable DICOM header"),
        (head("X-1", "L", CC), RejectReason.NO_TABLE_ROW, "'X-1', who is no CMMD patient"),
        (head("D1-0001", "", CC), RejectReason.BAD_ROW, "has no ImageLaterality"),
        (head("D1-0001", "B", CC), RejectReason.UNKNOWN_WORD, "ImageLaterality 'B'"),
        (head("D1-0001", "R", ("", "")), RejectReason.BAD_ROW, "has no ViewCodeSequence"),
        (
            head("D1-0001", "R", ("399260004", "medio-lateral")),
            *(RejectReason.UNKNOWN_WORD, "ViewCodeSequence '399260004'"),
        ),
    ],
)
def test_an_image_that_cannot_be_placed_is_rejected_with_its_word(tmp_path, header, reason, detail):
    (found,) = rejects(plan_of(tmp_path, {"a/b.dcm": header}))
    assert (found.film_key, found.reason) == ("a/b.dcm", reason)
    assert detail in found.detail


def test_view_position_serves_where_the_coded_view_was_lost(tmp_path):
    header = head("D1-0001", "R", ("", ""), ViewPosition="MLO ")
    assert list(films(plan_of(tmp_path, {"1.dcm": header}))) == ["D1-0001_R_MLO"]


@pytest.mark.parametrize(
    ("line", "reason", "detail"),
    [
        ("D1-0001,R,44,2,calcification,Normal,", RejectReason.UNKNOWN_WORD, "'Normal'"),
        ("D1-0001,R,44,2,calcification,,", RejectReason.BAD_ROW, "has no classification"),
        ("D1-0001,R,44,2,distortion,Benign,", RejectReason.UNKNOWN_WORD, "'distortion'"),
        ("D1-0001,X,44,2,mass,Benign,", RejectReason.UNKNOWN_WORD, "LeftRight 'X'"),
        ("0001,R,44,2,mass,Benign,", RejectReason.BAD_ROW, "has the ID1 '0001'"),
        ("D1-0001,R,44,2,mass,Benign,\nD1-0001,R,44,2,mass,Malignant,", *("bad_row", "contradict")),
    ],
)
def test_a_bad_row_is_a_reject_that_names_row_and_word(tmp_path, line, reason, detail):
    text = f"{ROWS.splitlines()[0]}\n{line}\nD2-0749,L,42,2,mass,Malignant,Luminal B\n"
    headers = {"1.dcm": head("D1-0001", "R", CC), "2.dcm": head("D2-0749", "L", CC)}
    plan = plan_of(tmp_path, headers, text=text)
    (found,) = rejects(plan)
    assert found.reason == reason
    assert detail in found.detail
    assert "row 1 of" in found.detail
    assert "D2-0749_L_CC" in films(plan)


def test_an_unknown_outline_label_rejects_its_film(tmp_path):
    plan = plan_of(
        tmp_path,
        {"1.dcm": head("D2-0749", "L", MLO)},
        **{"D2-0749_MLO_L_AnnotationFile.json": outlines(outline(*BOX, label="cyst"))},
    )
    (found,) = rejects(plan)
    assert (found.film_key, found.reason) == ("D2-0749_L_MLO", RejectReason.UNKNOWN_WORD)
    assert "AnnotationFile.json has the label 'cyst'" in found.detail


def test_a_row_or_outline_without_image_is_absent(tmp_path):
    text = ROWS.splitlines()[0] + "\nD2-0749,L,42,2,mass,Malignant,Luminal B\n"
    plan = plan_of(
        tmp_path,
        {"1.dcm": head("D2-0749", "L", CC)},
        text=text,
        **{"D2-0749_MLO_R_AnnotationFile.json": outlines(outline(*BOX))},
    )
    assert [item.film_key for item in absent(plan)] == ["D2-0749_L_MLO", "D2-0749_R_MLO"]


def test_the_same_image_twice_is_rejected_once(tmp_path):
    headers = {f"{name}/1-1.dcm": head("D1-0001", "R", CC) for name in "ba"}
    plan = plan_of(tmp_path, headers)
    assert films(plan)["D1-0001_R_CC"].image.path == "a/1-1.dcm"
    (second,) = rejects(plan)
    assert (second.film_key, second.reason) == ("b/1-1.dcm", RejectReason.DUPLICATE_FILE)


def test_spacing_comes_from_the_detector_s_own_tag(tmp_path):
    film = films(plan_of(tmp_path, {"1.dcm": head("D1-0001", "R", CC)}))["D1-0001_R_CC"]
    header = {"ImagerPixelSpacing": "0.0941\\0.0941", "PixelSpacing": "1\\1"}
    assert CMMD.resolve(film, header).native_pixel_mm == (0.0941, 0.0941)
    assert CMMD.resolve(film, {"PixelSpacing": "1\\1"}) == film


def test_clicks_become_a_closed_outline_through_pixel_centres():
    ring = ((10.5, 20.5), (12.5, 20.5), (12.5, 24.5))
    assert from_clicks([(10, 20), (12, 20), (12, 24)]).rings == (ring,)
    assert from_clicks([(10, 20), (12, 20), (12, 24), (10, 20)]).rings == (ring,)
    assert from_clicks([(10, 20)]).values == (10.5, 20.5)
    assert from_clicks([(10, 20), (12, 20)]).kind is GeometryKind.POLYLINE


def test_re_exports_to_png_are_refused_with_what_to_do(tmp_path):
    copy = copy_of(tmp_path, {TABLE: ROWS.encode()}, ["pngs/2294x1914/D1-0501/1-1.png"])
    with pytest.raises(MammoError, match="sides and views stand in DICOM headers alone"):
        planned(CMMD, copy)


def test_a_copy_without_table_is_refused_with_what_to_do(tmp_path):
    with pytest.raises(MammoError, match=r"put CMMD_clinicaldata_revision\.xlsx"):
        planned(CMMD, copy_of(tmp_path, {"other.csv": b"a,b\n1,2\n"}, ["1-1.dcm"]))


def test_files_to_index_are_the_dicom_files_whatever_their_names(tmp_path):
    names = ["a/1-1.dcm", "IM0001", "u-u-i-d.DCM", "LICENSE", "metadata.csv", "._1-1.dcm", "a.png"]
    assert CMMD.files_to_index(copy_of(tmp_path, {}, names)) == (
        *("IM0001", "a/1-1.dcm", "u-u-i-d.DCM"),
    )


# ---- the real table


@pytest.fixture(scope="module")
def official(shared, tmp_path_factory):
    """The release as its tables say it is: 5,202 files with headers, and the xlsx."""
    folder = shared / "data/tables/cmmd"
    with (folder / TABLE).open(newline="") as file:
        rows = list(csv.DictReader(file))
    with (folder / "metadata.csv").open(newline="") as file:
        series = list(csv.DictReader(file))
    labelled = {}
    for cells in rows:
        labelled.setdefault(cells["ID1"], []).append(cells["LeftRight"])
    headers = {}
    for cells in series:
        patient, where = cells["Subject ID"], cells["File Location"].replace("\\", "/")[2:]
        sides = "LR" if cells["Number of Images"] == "4" else labelled[patient]
        for number, (side, view) in enumerate(((s, v) for s in sides for v in (CC, MLO)), start=1):
            uid = f"{cells['Series UID']}.{number}"
            headers[f"{where}/1-{number}.dcm"] = head(patient, side, view, uid)
    tables = {
        name: (folder / name).read_bytes()
        for name in ("CMMD_clinicaldata_revision.xlsx", "metadata.csv")
    }
    return copy_of(tmp_path_factory.mktemp("cmmd"), tables, headers), HeaderIndex(headers), rows


def test_the_real_table_gives_the_counts_of_the_release(official):
    copy, index, rows = official
    plan = planned(CMMD, copy, index)
    found = films(plan)
    assert len(plan) == len(found) == 5202
    assert Counter(film.pathology.value for film in found.values()) == {
        **{"malignant": 2632, "benign": 1112, "unknown": 1458}
    }
    truth = {(cells["ID1"], cells["LeftRight"]): cells for cells in rows}
    for film in found.values():
        cells = truth.get((film.patient_key, film.laterality.value))
        said = (film.raw.label, film.raw.finding, film.raw.status)
        assert said == (
            (cells["classification"], cells["abnormality"], cells["subtype"] or None)
            if cells
            else (None, None, None)
        )
    assert len({film.patient_key for film in found.values()}) == 1775
    assert len({film.split_key for film in found.values()}) == 1772
    assert sum(film.pair_key is not None for film in found.values()) == 10
    mixed = Counter(cells["ID1"] for cells in rows)
    both = [p for p, n in mixed.items() if n == 2]
    classes = {
        p: {f.pathology for f in found.values() if f.patient_key == p and f.raw.label} for p in both
    }
    assert (len(both), sum(len(words) == 2 for words in classes.values())) == (97, 30)


def test_words_and_their_counts_are_those_of_the_real_table(official):
    *_, rows = official
    for words in CMMD.WORDS:
        column = words.column.split(",")[0]
        if column in rows[0]:
            counted = Counter(cells[column] for cells in rows)
            counted.pop("", None)
            assert counted == words.counts
            assert set(counted) <= set(words.words)


def test_verify_finds_nothing_wrong_with_a_complete_copy(official):
    copy, index, _ = official
    remarks = list(CMMD.verify(copy, index))
    assert [remark.what for remark in remarks if not remark.ok] == []
    said = " ".join(remark.what for remark in remarks)
    assert "1872 of 1872 rows, 1775 of 1775 patients" in said
    assert "5202 of 5202 images (2601 CC, 2601 MLO)" in said
    assert "images whose header has the wrong side: 17" in said
    assert "no TOMPEI-CMMD beside this copy" in said


def test_verify_asks_for_headers_before_it_judges_images(official):
    copy, _, _ = official
    (remark,) = [one for one in CMMD.verify(copy, HeaderIndex()) if not one.ok]
    assert "header has not been read: 5202" in remark.what
    assert "mammo-etl index" in remark.meaning


def test_one_percent_of_the_files_gives_absents_not_rejects(official):
    copy, index, _ = official
    images = [entry for entry in copy.entries if entry.path.endswith(".dcm")]
    kept = set(images[::100]) | {e for e in copy.entries if not e.path.endswith(".dcm")}
    partial = replace(copy, entries=tuple(sorted(kept)))
    plan = planned(CMMD, partial, index)
    assert rejects(plan) == []
    labelled = sum(film.raw.label is not None for film in films(plan).values())
    assert len(absent(plan)) + labelled == 3744


# ---- phantoms in every layout


def headers_of(release):
    return HeaderIndex(
        {path: read_header(release.read(path)) for path in CMMD.files_to_index(release)}
    )


@pytest.fixture(scope="module")
def layouts(tmp_path_factory):
    """Plans of the same release in several layouts, with the release and its truth."""
    made = {}
    for layout, table in zip("ABCDEFGH", ("xlsx", "csv", "semicolon") * 3, strict=False):
        root = tmp_path_factory.mktemp("layout")
        options = {"layout": layout, "table": table, "scale": 0.15, "damage": False}
        truth = phantoms.write(root, ["cmmd"], patients=8, seed=2, **options)["cmmd"]
        release = Release.open(str(root / "cmmd"))
        made[layout] = (release, truth, planned(CMMD, release, headers_of(release)))
    return made


@pytest.mark.parametrize("layout", "BCDEFGH")
def test_every_layout_and_table_plans_the_same_but_for_its_paths(layouts, layout):
    def told(plan):
        return [
            replace(film, files=(replace(film.image, path="-"),)) for film in films(plan).values()
        ]

    assert told(layouts[layout][2]) == told(layouts["A"][2])
    assert len(layouts[layout][2]) == 26


def test_a_shuffled_listing_plans_the_same(layouts):
    release, _, plan = layouts["F"]
    entries = random.Random(5).sample(release.entries, len(release.entries))
    shuffled = Release(root=release.root, entries=tuple(entries))
    assert planned(CMMD, shuffled, headers_of(release)) == plan


def test_the_plan_is_what_was_drawn(layouts):
    _, truth, plan = layouts["C"]
    found = films(plan)
    assert set(found) == {film.film_key for film in truth.films}
    for drawn in truth.films:
        film = found[drawn.film_key]
        assert (film.laterality, film.view, film.pathology, film.label_basis) == (
            *(drawn.side, drawn.view, drawn.pathology, drawn.label_basis),
        )
        assert (film.annotation, film.birads, film.density, film.age) == (
            *(drawn.annotation, drawn.birads, drawn.density_letter, drawn.age),
        )
        assert (film.raw.density, film.pair_key, sorted(film.flags)) == (
            *(drawn.density, drawn.pair, drawn.flags),
        )
        assert [(x.lesion_id, x.pathology, x.label_basis) for x in film.lesions] == [
            (x.lesion_id, x.pathology, x.label_basis) for x in drawn.lesions
        ]
        for lesion, one in zip(film.lesions, drawn.lesions, strict=True):
            rings = lesion.geometry.rings if lesion.geometry else ()
            drawn_rings = one.outline["rings"] if one.outline else []
            assert [[list(point) for point in ring] for ring in rings] == drawn_rings


def test_the_phantoms_words_are_those_of_the_word_tables(layouts):
    _, _, plan = layouts["A"]
    words = {item.column: set(item.words) for item in CMMD.WORDS}
    for film in films(plan).values():
        assert film.raw.label in {*words["classification"], None}
        assert film.raw.finding in {*words["abnormality"], None}
        assert film.raw.density in {*words["TOMPEI Breast density"], None}
        assert film.raw.view in words["ViewCodeSequence (0054,0220)"]


def test_verify_tells_what_of_tompei_is_here(layouts):
    release, _, _ = layouts["B"]
    said = " ".join(remark.what for remark in CMMD.verify(release, headers_of(release)))
    assert "TOMPEI-CMMD: 10 of 1385 annotation files, 13 of 2601 breasts" in said
    assert "outlines on breasts without a clinical row: 1, D2-0284 R" in said
    assert "D1-0202 = D2-0284, D1-0808 = D1-1292 (10 images)" in said
