"""Breast-Cancer-Screening-DBT: rows as published, and what each of its oddities must become."""

from __future__ import annotations

import csv
import random
import re
from collections import Counter, defaultdict

import pytest

from etl.sources import bcs_dbt
from etl.sources.bcs_dbt.films import hashed_depth
from etl.sources.bcs_dbt.tables import VolumeId
from schemas.errors import MammoError
from schemas.film import FileRef, Film, FilmLesion, Geometry, RawWords
from schemas.release import HeaderIndex, Release
from schemas.vocabulary import (
    Annotation,
    AnnotationKind,
    ExamKind,
    Finding,
    FrameKind,
    GeometryFrame,
    GeometryKind,
    LabelBasis,
    LabelScope,
    Laterality,
    LesionFlag,
    Modality,
    Pathology,
    QualityFlag,
    Split,
    View,
)
from tests.sources.copies import absent, copy_of, films, planned, rejects

LABELS = "PatientID,StudyUID,View,Normal,Actionable,Benign,Cancer"
BOXES = "PatientID,StudyUID,View,Subject,Slice,X,Y,Width,Height,Class,AD,VolumeSlices"
PATHS = "PatientID,StudyUID,View,descriptive_path,classic_path"
ROOT = "Breast-Cancer-Screening-DBT"
P13 = (
    "1.2.826.0.1.3680043.8.498.97194784071397240980122342729639556865",
    "1.2.826.0.1.3680043.8.498.97979602815077649368346148322369132081",
)
"""Study and series of DBT-P00013's rmlo."""
FOLDER = f"{ROOT}/DBT-P00013/01-01-2000-DBT-S00163-MAMMO DIAGNOSTIC DIGITAL BILATERAL-56865"
NEW_FILE = f"m/manifest-1617905855234/{FOLDER}/20566.000000-NA-32081/1-1.dcm"


def study_uid(number):
    return f"1.2.826.0.1.3680043.8.498.1000000000000{number:05d}"


def series_uid(number):
    return f"1.2.826.0.1.3680043.8.498.2000000000000{number:05d}"


def path_row(patient, study, view, number, description="MAMMO SCREENING DIGITAL BILATERAL"):
    """Return a file-paths row of a volume whose UIDs end with `number`."""
    named = (
        f"{ROOT}/{patient}/01-01-2000-{study}-{description}-{number:05d}"
        f"/1{number:04d}.000000-{number:05d}/1-1.dcm"
    )
    classic = f"{ROOT}/{patient}/{study_uid(number)}/{series_uid(number)}/1-1.dcm"
    return f"{patient},{study},{view},{named},{classic}"


def tables(labels=(), boxes=(), paths=(), split="train", box_titles=BOXES):
    """Return three tables of one split by name."""
    contents = {"labels": (LABELS, labels), "boxes": (box_titles, boxes)}
    contents["file-paths"] = (PATHS, paths)
    return {
        f"BCS-DBT-{kind}-{split}-v2.csv": "".join(f"{row}\n" for row in (title, *rows)).encode()
        for kind, (title, rows) in contents.items()
    }


def one_volume(tmp_path, view="lcc", flags="0,0,1,0", boxes=(), **options):
    """Plan a copy of one volume, DBT-P00001/DBT-S00001."""
    key = f"DBT-P00001,DBT-S00001,{view}"
    names = tables(
        [f"{key},{flags}"],
        [f"{key},{box}" for box in boxes],
        [path_row("DBT-P00001", "DBT-S00001", view, 7)],
        **options,
    )
    return planned(bcs_dbt, copy_of(tmp_path, names, [f"{series_uid(7)}/1-1.dcm"]))


def box(lesion_id, values, pathology, word, finding=Finding.MASS):
    return FilmLesion(
        lesion_id=lesion_id,
        finding=finding,
        pathology=pathology,
        label_basis=LabelBasis.BIOPSY,
        label_raw=word,
        geometry=Geometry(kind=GeometryKind.BOX, values=values),
    )


# ---- rows as printed in the specification, films by hand


def test_the_first_volume_of_the_boxes_table(tmp_path):
    names = tables(
        ["DBT-P00013,DBT-S00163,rmlo,0,0,1,0"],
        ["DBT-P00013,DBT-S00163,rmlo,0,16,1116,1724,218,105,benign,0,49"],
        [
            f"DBT-P00013,DBT-S00163,rmlo,{FOLDER}/20566.000000-32081/1-1.dcm,"
            f"{ROOT}/DBT-P00013/{P13[0]}/{P13[1]}/1-1.dcm"
        ],
    )
    assert planned(bcs_dbt, copy_of(tmp_path, names, [NEW_FILE])) == [
        Film(
            source="bcs_dbt",
            film_key="DBT-P00013/DBT-S00163/rmlo/16",
            patient_key="DBT-P00013",
            exam_key="DBT-S00163",
            exam_kind=ExamKind.DIAGNOSTIC,
            files=(FileRef(role="image", path=NEW_FILE, size=1_048_593),),
            modality=Modality.DBT,
            view=View.MLO,
            laterality=Laterality.R,
            frame_kind=FrameKind.SLICE,
            frame=16,
            depth_fraction=0.3367,
            pathology=Pathology.BENIGN,
            label_basis=LabelBasis.BIOPSY,
            label_scope=LabelScope.EXAM,
            raw=RawWords(
                label="Benign",
                view="rmlo",
                finding="benign AD=0",
                status="MAMMO DIAGNOSTIC DIGITAL BILATERAL",
            ),
            lesions=(box("1", (1116.0, 1724.0, 1334.0, 1829.0), Pathology.BENIGN, "benign"),),
            annotation=Annotation.COMPLETE,
            annotation_kind=AnnotationKind.BOX,
            official_split="train",
            official_sides=(Split.TRAIN,),
            geometry_frame=GeometryFrame.DBT_UPRIGHT,
            licence="CC-BY-NC-4.0",
        )
    ]


def test_boxes_on_two_slices_are_two_samples_of_one_exposure(tmp_path):
    key = "DBT-P00024,DBT-S03255,lcc"
    names = tables(
        [f"{key},0,0,1,0"],
        [f"{key},0,19,267,488,64,64,benign,0,73", f"{key},0,37,169,384,93,85,benign,0,73"],
        [path_row("DBT-P00024", "DBT-S03255", "lcc", 91029)],
    )
    found = films(planned(bcs_dbt, copy_of(tmp_path, names, [f"x/{series_uid(91029)}.dcm"])))
    assert list(found) == ["DBT-P00024/DBT-S03255/lcc/19", "DBT-P00024/DBT-S03255/lcc/37"]
    first, second = found.values()
    assert (first.frame, first.depth_fraction) == (19, 0.2671)
    assert (second.frame, second.depth_fraction) == (37, 0.5137)
    assert first.pair_key == second.pair_key == "DBT-P00024/DBT-S03255/lcc"
    assert first.lesions == (box("1", (267.0, 488.0, 331.0, 552.0), Pathology.BENIGN, "benign"),)
    assert second.lesions == (box("2", (169.0, 384.0, 262.0, 469.0), Pathology.BENIGN, "benign"),)
    assert {film.annotation for film in found.values()} == {Annotation.COMPLETE}


def test_a_cancer_at_the_chest_wall_and_a_distortion(tmp_path):
    rows = ["34,0,1148,205,449,cancer,0,66", "34,1276,672,228,219,Cancer ,1,66"]
    (film,) = one_volume(tmp_path, flags="0,0,0,1", boxes=[f"0,{row}" for row in rows])
    assert film.film_key.endswith("/34")
    assert film.pair_key is None
    assert (film.pathology, film.laterality, film.view) == ("malignant", "L", "CC")
    assert film.lesions == (
        box("1", (0.0, 1148.0, 205.0, 1597.0), Pathology.MALIGNANT, "cancer"),
        box(
            *("2", (1276.0, 672.0, 1504.0, 891.0), Pathology.MALIGNANT, "cancer"),
            Finding.ARCHITECTURAL_DISTORTION,
        ),
    )


# ---- labels


@pytest.mark.parametrize(
    ("flags", "pathology", "basis", "annotation"),
    [
        ("1,0,0,0", "normal", "screening_outcome", "complete"),
        ("0,1,0,0", "unknown", "screening_outcome", "none"),
        ("0,0,1,0", "benign", "biopsy", "none"),
        ("0,0,0,1", "malignant", "biopsy", "none"),
        ("0,0,0,0", "unknown", "unknown", "none"),
    ],
)
def test_volumes_without_box_are_seen_at_two_depths(tmp_path, flags, pathology, basis, annotation):
    first, second = one_volume(tmp_path, flags=flags)
    assert first.film_key == "DBT-P00001/DBT-S00001/lcc/d0"
    assert second.film_key == "DBT-P00001/DBT-S00001/lcc/d1"
    assert first.pair_key == second.pair_key
    for film in (first, second):
        assert (film.pathology, film.label_basis, film.annotation) == (pathology, basis, annotation)
        assert film.frame is None
        assert not film.lesions
    assert 0.25 <= first.depth_fraction < 0.5 <= second.depth_fraction < 0.75


def test_the_gravest_word_counts_for_the_whole_study(tmp_path):
    key = "DBT-P00001,DBT-S00001"
    names = tables(
        [f"{key},lcc,0,0,0,1", f"{key},lmlo,0,0,1,0", "DBT-P00001,DBT-S00002,rcc,1,0,0,0"],
        [],
        [
            path_row("DBT-P00001", "DBT-S00001", "lcc", 1),
            path_row("DBT-P00001", "DBT-S00001", "lmlo", 2),
            path_row("DBT-P00001", "DBT-S00002", "rcc", 3),
        ],
    )
    release = copy_of(tmp_path, names, [f"{series_uid(n)}/1-1.dcm" for n in (1, 2, 3)])
    found = films(planned(bcs_dbt, release)).values()
    told = {(film.exam_key, film.pathology, film.flags) for film in found}
    assert told == {
        ("DBT-S00001", Pathology.MALIGNANT, (QualityFlag.LABEL_CONFLICT,)),
        ("DBT-S00002", Pathology.NORMAL, ()),
    }
    assert {film.raw.label for film in found} == {"Cancer; Benign", "Normal"}


def test_a_box_of_another_class_keeps_it_and_is_a_conflict(tmp_path):
    (film,) = one_volume(tmp_path, flags="0,0,0,1", boxes=["0,9,1,2,30,40,benign,0,50"])
    assert film.pathology == "malignant"
    assert film.lesions[0].pathology == "benign"
    assert film.flags == (QualityFlag.LABEL_CONFLICT,)


def test_a_missing_labels_table_means_unlabelled(tmp_path):
    names = tables(paths=[path_row("DBT-P00001", "DBT-S00001", "lcc", 7)], split="test")
    del names["BCS-DBT-labels-test-v2.csv"], names["BCS-DBT-boxes-test-v2.csv"]
    found = planned(bcs_dbt, copy_of(tmp_path, names, [f"{series_uid(7)}/1-1.dcm"]))
    assert {(film.pathology, film.label_basis, film.official_split) for film in found} == {
        ("unknown", "unknown", "test")
    }
    assert {film.annotation for film in found} == {Annotation.NONE}


def test_lesions_that_show_on_one_another_s_slices_are_not_all_drawn(tmp_path):
    boxes = ["0,20,100,100,64,64,benign,0,60", "0,26,300,300,64,64,benign,0,60"]
    assert [film.annotation for film in one_volume(tmp_path, boxes=boxes)] == ["partial"] * 2


# ---- views, ids, rejects


@pytest.mark.parametrize(
    ("view", "side", "projection"),
    [("rmlo1", "R", "MLO"), ("LCC2", "L", "CC"), ("lmlo", "L", "MLO"), ("RCC", "R", "CC")],
)
def test_views_of_repeated_acquisitions_and_in_capitals(tmp_path, view, side, projection):
    found = one_volume(tmp_path, view=view)
    assert {(film.laterality, film.view) for film in found} == {(side, projection)}
    assert all(f"/{view.lower()}/" in film.film_key for film in found)


def test_only_the_earlier_of_two_acquisitions_is_a_repeat(tmp_path):
    views = ("rmlo", "rmlo1", "rcc")
    names = tables(
        [f"DBT-P00001,DBT-S00001,{view},0,0,1,0" for view in views],
        [],
        [path_row("DBT-P00001", "DBT-S00001", view, n) for n, view in enumerate(views)],
    )
    release = copy_of(tmp_path, names, [f"{series_uid(n)}/1-1.dcm" for n in range(3)])
    flagged = {film.raw.view: film.flags for film in films(planned(bcs_dbt, release)).values()}
    assert flagged == {"rmlo": (QualityFlag.REPEAT,), "rmlo1": (), "rcc": ()}


@pytest.mark.parametrize(
    ("options", "reason", "detail"),
    [
        ({"view": "lxcc"}, "unknown_word", "view 'lxcc'"),
        ({"flags": "0,yes,0,0"}, "unknown_word", "Actionable is 'yes'"),
        ({"boxes": ["0,9,1,2,3,4,normal,0,50"]}, "unknown_word", "Class is 'normal'"),
        ({"boxes": ["0,9,1,2,3,4,benign,2,50"]}, "unknown_word", "AD is '2'"),
        ({"boxes": ["0,50,1,2,3,4,benign,0,50"]}, "bad_row", "slice 50 of 50"),
        ({"boxes": ["0,9,1,2,0,4,benign,0,50"]}, "bad_row", "cannot be drawn"),
        ({"boxes": ["0,9,1,2.5,3,4,benign,0,50"]}, "bad_row", "Y is '2.5'"),
    ],
)
def test_words_and_numbers_that_are_not_known_are_rejected(tmp_path, options, reason, detail):
    (reject,) = one_volume(tmp_path, **options)
    assert reject.reason == reason
    assert detail in reject.detail
    assert reject.film_key.startswith("DBT-P00001/DBT-S00001/")


def test_a_row_without_patient_is_a_reject(tmp_path):
    names = tables([",DBT-S00001,lcc,1,0,0,0"])
    (reject,) = planned(bcs_dbt, copy_of(tmp_path, names))
    assert reject.reason == "bad_row"
    assert "row 1 of BCS-DBT-labels-train-v2.csv" in reject.detail


def test_what_a_partial_copy_lacks_is_absent_whatever_else_the_patient_has(tmp_path):
    key = "DBT-P00001,DBT-S00001"
    names = tables(
        [f"{key},lcc,0,0,0,1", f"{key},lmlo,0,0,0,1"],
        [f"{key},lcc,0,9,1,2,30,40,cancer,0,50"],
        [path_row(*key.split(","), "lcc", 1), path_row(*key.split(","), "lmlo", 2)],
    )
    other = path_row(*key.split(","), "lmlo", 2).split(",")[3]
    for path in (other, f"DBT-P00001/{study_uid(1)}/MG_{series_uid(2)}/5f.dcm"):
        items = planned(bcs_dbt, copy_of(tmp_path, names, [path]))
        assert [item.film_key for item in absent(items)] == ["DBT-P00001/DBT-S00001/lcc/9"]
        assert {film.image.path for film in films(items).values()} == {path}


def test_label_rows_without_a_path_are_absent(tmp_path):
    items = planned(bcs_dbt, copy_of(tmp_path, tables(["DBT-P00001,DBT-S00001,lcc,1,0,0,0"])))
    assert [item.film_key[-2:] for item in absent(items)] == ["d0", "d1"]


def test_files_without_row_and_copies_are_rejected(tmp_path):
    names = tables(
        ["DBT-P00001,DBT-S00001,lcc,1,0,0,0"], [], [path_row("DBT-P00001", "DBT-S00001", "lcc", 7)]
    )
    paths = [f"{series_uid(7)}/1-1.dcm", f"{series_uid(7)}/1-2.dcm", f"{series_uid(8)}/1-1.dcm"]
    items = planned(bcs_dbt, copy_of(tmp_path, names, paths))
    assert {film.image.path for film in films(items).values()} == {paths[0]}
    assert [(item.film_key, str(item.reason)) for item in rejects(items)] == [
        (paths[1], "duplicate_file"),
        (paths[2], "no_table_row"),
    ]


# ---- tables by any name


@pytest.mark.parametrize(
    "names",
    [
        ("BCS-DBT labels-train-v2.csv", "BCS-DBT boxes-train-v2.csv", "file-paths-train.csv"),
        ("labels-train.csv", "boxes-train.csv", "BCS-DBT-file_paths-train.csv"),
        ("x/BCS-DBT-Labels-Train.csv", "y/BCS-DBT boxes_train.csv", "BCS-DBT-file-paths-train.csv"),
    ],
)
def test_tables_are_known_by_pattern(tmp_path, names):
    key = "DBT-P00001,DBT-S00001,lcc"
    old = tables(
        [f"{key},0,0,0,1"],
        [f"{key},0,9,1,2,30,40,cancer,0,50"],
        [path_row(*key.split(","), 7).replace("/", "\\")],
    )
    release = copy_of(
        tmp_path, dict(zip(names, old.values(), strict=True)), [f"a/{series_uid(7)}/1-1.dcm"]
    )
    assert list(films(planned(bcs_dbt, release))) == ["DBT-P00001/DBT-S00001/lcc/9"]


def test_of_two_editions_the_later_is_read_and_said(tmp_path):
    key = "DBT-P00001,DBT-S00001,lcc"
    names = tables([f"{key},0,1,0,0"], [], [path_row(*key.split(","), 7)], split="test")
    newer = tables([f"{key},0,0,0,1"])["BCS-DBT-labels-train-v2.csv"]
    names["BCS-DBT-labels-test-PHASE-2.csv"] = newer
    release = copy_of(tmp_path, names, [f"{series_uid(7)}/1-1.dcm"])
    assert {film.pathology for film in films(planned(bcs_dbt, release)).values()} == {"malignant"}
    said = [remark.what for remark in bcs_dbt.verify(release, HeaderIndex())]
    assert any("BCS-DBT-labels-test-v2.csv is not used" in what for what in said)


def test_boxes_of_the_first_edition_have_no_volume_slices(tmp_path):
    old = BOXES.removesuffix(",VolumeSlices")
    (film,) = one_volume(tmp_path, boxes=["0,9,1,2,30,40,benign,0"], box_titles=old)
    assert (film.frame, film.depth_fraction) == (9, None)


def test_a_folder_without_tables_is_refused_with_a_remedy(tmp_path):
    with pytest.raises(MammoError, match="no table of Breast-Cancer-Screening-DBT under"):
        planned(bcs_dbt, copy_of(tmp_path, {}, ["a.dcm"]))


def test_a_table_of_something_else_is_refused(tmp_path):
    release = copy_of(tmp_path, {"labels-train.csv": b"PatientID,StudyUID,View\na,b,c\n"})
    with pytest.raises(MammoError, match="has no column Cancer: it is no labels table"):
        planned(bcs_dbt, release)


# ---- layouts


LAYOUTS = {
    "descriptive": lambda n: path_row("DBT-P00001", "DBT-S00001", "x", n).split(",")[3],
    "with NA": lambda n: re.sub(r"\.0+-", ".000000-NA-", LAYOUTS["descriptive"](n)),
    "classic": lambda n: f"m/{ROOT}/DBT-P00001/{study_uid(n)}/{series_uid(n)}/00000001.dcm",
    "series": lambda n: f"{series_uid(n)}/1-1.dcm",
    "files": lambda n: f"Train/{series_uid(n)}.dcm",
    "idc": lambda n: f"x/DBT-P00001/{study_uid(n)}/MG_{series_uid(n)}/0a-{n}.dcm",
    "cloud": lambda n: f"c0ffee{n}/0a-{n}.dcm",
}


def four_volumes(tmp_path, layout):
    views = ("lcc", "lmlo", "rcc", "rmlo")
    names = tables(
        [f"DBT-P00001,DBT-S00001,{view},1,0,0,0" for view in views],
        [],
        [path_row("DBT-P00001", "DBT-S00001", view, n) for n, view in enumerate(views)],
    )
    return copy_of(tmp_path, names, [LAYOUTS[layout](n) for n in range(4)])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_plans_of_all_layouts_differ_in_paths_only(tmp_path, layout):
    release = four_volumes(tmp_path, layout)
    wanted = bcs_dbt.files_to_index(release)
    assert len(wanted) == (4 if layout == "cloud" else 0)
    headers = {path: {"SeriesInstanceUID": series_uid(int(path[-5]))} for path in wanted}
    plan = planned(bcs_dbt, release, HeaderIndex(headers))
    views = ("lcc", "lmlo", "rcc", "rmlo")
    assert {film.film_key: film.image.path for film in plan} == {
        f"DBT-P00001/DBT-S00001/{view}/d{k}": LAYOUTS[layout](n)
        for n, view in enumerate(views)
        for k in range(2)
    }
    entries = random.Random(1).sample(release.entries, len(release.entries))
    shuffled = Release(root=release.root, entries=tuple(entries))
    assert planned(bcs_dbt, shuffled, HeaderIndex(headers)) == plan


def test_unread_headers_are_said(tmp_path):
    remarks = list(bcs_dbt.verify(four_volumes(tmp_path, "cloud"), HeaderIndex()))
    assert any("only their header can place" in remark.what for remark in remarks)


# ---- depths and headers


def test_hashed_depths_fill_the_middle_half_evenly():
    depths = sorted(
        hashed_depth(VolumeId(f"DBT-P{n:05d}", "DBT-S00001", "lcc"), k)
        for n in range(2000)
        for k in range(2)
    )
    assert depths[0] >= 0.25
    assert depths[-1] <= 0.75
    for share in (0.1, 0.25, 0.5, 0.75, 0.9):
        assert depths[int(share * len(depths))] == pytest.approx(0.25 + share / 2, abs=0.02)


def test_a_header_fills_frame_and_depth(tmp_path):
    first, second = one_volume(tmp_path, flags="1,0,0,0")
    header = {"NumberOfFrames": "60", "PatientSex": "M", "BreastImplantPresent": "YES"}
    for film in (first, second):
        full = bcs_dbt.resolve(film, header)
        assert full.frame == int(film.depth_fraction * 60)
        assert full.flags == (QualityFlag.MALE,)
        assert full.implant is True
        assert (full.pathology, full.laterality) == (film.pathology, film.laterality)


def test_a_box_in_a_volume_of_another_depth_is_suspect(tmp_path):
    (film,) = one_volume(tmp_path, boxes=["0,9,1,2,30,40,benign,0,50"])
    assert bcs_dbt.resolve(film, {"NumberOfFrames": "50"}).flags == ()
    odd = bcs_dbt.resolve(film, {"NumberOfFrames": "40", "FrameLaterality": "R"})
    assert odd.flags == (QualityFlag.GEOMETRY_SUSPECT,)
    assert odd.lesions[0].flags == (LesionFlag.SUSPECT,)
    assert odd.laterality == "L"


def test_implants_are_known_from_the_study_s_description(tmp_path):
    row = path_row("DBT-P00001", "DBT-S00001", "lcc", 7, "Implant Screening - ComboHD")
    names = tables(["DBT-P00001,DBT-S00001,lcc,1,0,0,0"], [], [row])
    found = films(planned(bcs_dbt, copy_of(tmp_path, names, [f"{series_uid(7)}/1-1.dcm"])))
    assert {(film.implant, film.exam_kind) for film in found.values()} == {(True, "screening")}


# ---- the real tables, counted here by other means


@pytest.fixture(scope="module")
def real(shared, tmp_path_factory):
    """The real tables, and a listing in which every volume of the paths' excerpt has its file."""
    folder = shared / "data/tables/bcs-dbt"
    names = {path.name: path.read_bytes() for path in sorted(folder.glob("*.csv"))}
    rows = {
        kind: list(csv.DictReader(next(folder.glob(f"*{kind}-train*.csv")).open(newline="")))
        for kind in ("labels", "boxes", "file-paths")
    }
    files = [
        re.sub(r"(\d+\.0+-)", r"\1NA-" if number % 2 else r"\1", row["descriptive_path"])
        for number, row in enumerate(rows["file-paths"])
    ]
    release = copy_of(tmp_path_factory.mktemp("real"), names, files)
    return rows, release, planned(bcs_dbt, release)


def test_every_label_row_is_a_film_or_absent(real):
    rows, _, items = real
    planned_volumes = {item.film_key.rpartition("/")[0] for item in items}
    assert planned_volumes == {
        f"{row['PatientID']}/{row['StudyUID']}/{row['View']}" for row in rows["labels"]
    }
    assert len(planned_volumes) == 19_148
    assert rejects(items) == []
    assert len(absent(items)) == 2 * (19_148 - 200)


def test_every_real_box_is_where_the_table_says(real):
    rows, _, items = real
    truth = Counter(
        (
            f"{row['PatientID']}/{row['StudyUID']}/{row['View']}/{row['Slice']}",
            *(int(row[title]) for title in ("X", "Y")),
            int(row["X"]) + int(row["Width"]),
            int(row["Y"]) + int(row["Height"]),
            {"benign": "benign", "cancer": "malignant"}[row["Class"]],
            {"0": "mass", "1": "architectural_distortion"}[row["AD"]],
        )
        for row in rows["boxes"]
    )
    found = Counter(
        (film.film_key, *lesion.geometry.values, str(lesion.pathology), str(lesion.finding))
        for film in films(items).values()
        for lesion in film.lesions
    )
    assert found == truth
    assert found.total() == 224


def test_real_labels_slices_and_studies_give_the_published_counts(real):
    rows, _, items = real
    found = films(items).values()
    slices = {(row["PatientID"], row["View"], row["Slice"]) for row in rows["boxes"]}
    assert len(found) == len(slices) == 223
    by_volume = {(film.exam_key, film.raw.view): film for film in found}
    assert Counter(film.pathology for film in by_volume.values()) == {
        "benign": 124,
        "malignant": 76,
    }
    assert {film.label_basis for film in found} == {LabelBasis.BIOPSY}
    assert len({film.patient_key for film in found}) == 101
    assert sum(QualityFlag.LABEL_CONFLICT in film.flags for film in found) == 0
    odd = [view for _, view in by_volume if view[-1].isdigit()]
    assert Counter(odd) == {"rmlo1": 4, "lmlo1": 2, "rcc1": 2, "lcc2": 1}


def test_left_breasts_lie_left_in_the_frame_of_the_boxes(real):
    centres = defaultdict(list)
    for film in films(real[2]).values():
        for lesion in film.lesions:
            x0, _, x1, _ = lesion.geometry.values
            centres[str(film.laterality)].append((x0 + x1) / 2)
    means = {side: sum(values) / len(values) for side, values in centres.items()}
    assert means["L"] == pytest.approx(534, abs=1)
    assert means["R"] == pytest.approx(1504, abs=1)


def test_verify_says_what_the_real_tables_are_and_what_is_missing(real):
    said = {remark.what: remark for remark in bcs_dbt.verify(real[1], HeaderIndex())}
    assert said["labels of train: 19148 of 19148 rows in BCS-DBT-labels-train-v2.csv"].ok
    labels = "Cancer 76 of 76, Benign 124 of 124, Actionable 716 of 716, Normal 18232 of 18232"
    assert said[f"volumes of train by label: {labels}"].ok
    assert said["patients of train: 4362 of 4362"].ok
    assert said["volumes of train with a box: 200 of 200"].ok
    assert "unlabelled, not normal" in said["no labels table of validation"].meaning
    assert any(what.startswith("200 of 22032 volumes; rows without file: 18948") for what in said)


def test_the_counts_of_words_are_those_of_the_real_table(real):
    rows, _, _ = real
    counts = {words.column: words.counts for words in bcs_dbt.WORDS if words.counts}
    flags = Counter(
        word
        for row in rows["labels"]
        for word in ("Normal", "Actionable", "Benign", "Cancer")
        if row[word] == "1"
    )
    assert counts["Normal, Actionable, Benign, Cancer"] == flags
    assert counts["Class"] == Counter(row["Class"] for row in rows["boxes"])
    assert counts["AD"] == Counter(row["AD"] for row in rows["boxes"])
    views = Counter(row["View"] for row in rows["labels"] if not row["View"][-1].isdigit())
    assert counts["View"] == views
