"""OMI-DB: statuses of the owner's own parser, rows by hand, each trap, planted damage."""

from __future__ import annotations

import copy
import csv
import json
from collections import Counter

import pytest

from etl.readers.nbss import Mark
from etl.sources import source
from etl.sources.omi_db import words
from etl.sources.omi_db.episodes import client_status
from etl.sources.omi_db.images import read_ahead
from etl.sources.omi_db.lesions import box_of
from schemas.film import Geometry
from schemas.rejects import RejectReason
from schemas.release import HeaderIndex, Release
from schemas.store import Entry
from schemas.vocabulary import GeometryKind
from tests.sources.copies import absent, copy_of, films, planned, rejects

OMI = source("omi_db")
STUDY, SERIES = "1.2.826.1", "1.2.826.2"
CLIENT = "demd7"

# ---- the owner's synthetic clients: JSON invented, statuses by omidb 0.13.1


@pytest.fixture(scope="module")
def synthetic(shared):
    return shared / "data/tables/omi-db/synthetic"


@pytest.fixture(scope="module")
def summary(synthetic):
    with (synthetic / "expected_summary.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def with_images(synthetic, summary):
    """Return the synthetic JSON with the images in the listing only."""
    images = [
        f"images/{r['ClientID']}/{r['StudyInstanceUID']}/{r['SOPInstanceUID']}.dcm" for r in summary
    ]
    entries = (*Release.open(str(synthetic)).entries, *(Entry(path, 1000) for path in images))
    return Release(root=str(synthetic), entries=tuple(sorted(entries)))


@pytest.fixture(scope="module")
def clients(with_images):
    return {read.client.key: read for read in read_ahead(with_images)}


@pytest.fixture(scope="module")
def plan(with_images):
    return planned(OMI, with_images)


def test_every_episode_has_the_status_and_outcome_of_the_owner_s_parser(clients, summary):
    expected = {
        (row["ClientID"], row["EpisodeID"]): (row["EpisodeStatus"], row["EpisodeOutcome"])
        for row in summary
    }
    undefined = {"", "InvalidEvents"}
    found = {
        (name, key): (judged.status, judged.outcome)
        for name, read in clients.items()
        for key, judged in read.judged.items()
    }
    assert found.keys() == expected.keys()
    for key, told in expected.items():
        plain = tuple("undefined" if word in undefined else word for word in told)
        assert found[key] == plain, key


def test_client_statuses_are_those_of_the_specification(clients):
    told = {name: client_status(read.episodes) for name, read in clients.items()}
    assert [told[f"demd90000{n}"] for n in (1, 2, 4, 5, 6, 8)] == ["N", "M", "CI", "N", "M", "CI"]
    assert [told[f"optm90000{n}"] for n in (3, 7)] == ["B", "N"]


def test_one_film_an_exposure_with_side_view_and_age_of_the_summary(plan, summary):
    shown = {
        row["SOPInstanceUID"]: row
        for row in summary
        if row["PresentationIntentType"] == "FOR PRESENTATION"
    }
    found = films(plan)
    assert len(summary) == 44
    assert found.keys() == shown.keys()
    for uid, row in shown.items():
        film = found[uid]
        assert (film.laterality, film.view) == (row["ImageLaterality"], row["ViewPosition"])
        assert (film.patient_key, film.exam_key) == (row["ClientID"], row["StudyInstanceUID"])
        assert film.age == int(row["PatientAgeYears"])
        marks = [lesion for lesion in film.lesions if lesion.geometry]
        assert len(marks) == int(row["NumberOfMarks"])


@pytest.mark.parametrize(
    ("client", "side", "day", "label", "months"),
    [
        ("demd900001", "L", 0, ("normal", "follow_up"), None),
        ("demd900001", "R", 1100, ("normal", "screening_outcome"), None),
        ("demd900002", "R", 0, ("malignant", "biopsy"), None),
        ("demd900002", "L", 0, ("normal", "screening_outcome"), None),
        ("optm900003", "L", 0, ("benign", "biopsy"), None),
        ("demd900004", "L", 0, ("unknown", "unknown"), 14.4),
        ("demd900004", "R", 0, ("unknown", "unknown"), 14.4),
        ("demd900004", "L", 437, ("malignant", "screening_outcome"), None),
        ("demd900005", "L", 0, ("normal", "assessment"), None),
        ("demd900006", "L", 0, ("unknown", "unknown"), 36.1),
        ("demd900006", "L", 1098, ("malignant", "biopsy"), None),
        ("demd900006", "R", 1098, ("normal", "screening_outcome"), None),
        ("optm900007", "R", 0, ("normal", "screening_outcome"), None),
        ("demd900008", "R", 0, ("unknown", "unknown"), None),
    ],
)
def test_labels_are_those_of_the_specification(plan, client, side, day, label, months):
    views = [
        film
        for film in films(plan).values()
        if (film.patient_key, film.laterality, film.exam_day) == (client, side, day)
    ]
    assert {film.view for film in views} == {"CC", "MLO"}
    for film in views:
        assert (film.pathology, film.label_basis) == label
        assert film.months_to_cancer == months
        assert ("prior" in film.flags) == (months is not None)


def test_counts_of_labels_over_the_synthetic_tree(plan):
    # by hand from the table of clients: two views a side, pairs of 900001 counted once
    assert Counter(film.pathology.value for film in films(plan).values()) == {
        **{"normal": 22, "malignant": 6, "benign": 2, "unknown": 10}
    }


def test_without_images_every_exposure_is_absent(synthetic):
    items = planned(OMI, Release.open(str(synthetic)))
    assert (len(absent(items)), len(items)) == (40, 40)


# ---- golden rows: marks as printed in the synthetic tree, boxes by hand

GOLDEN = {
    "10001": ("RCC", "mass", "malignant", (756, 1487, 1184, 1734), "1"),
    "10002": ("RMLO", "mass", "malignant", (1450, 1810, 1703, 2056), "1"),
    "10004": ("LCC", "focal_asymmetry", "unknown", (300, 900, 521, 1161), None),
    "10006": ("LCC", "calcification", "malignant", (1200, 700, 1321, 831), "1"),
}


@pytest.mark.parametrize("key", GOLDEN)
def test_marks_become_the_lesions_written_by_hand(plan, key):
    film, lesion = next(
        (film, lesion)
        for film in films(plan).values()
        for lesion in film.lesions
        if key in lesion.source_ids
    )
    where, finding, pathology, box, number = GOLDEN[key]
    assert f"{film.laterality}{film.view}" == where
    assert (lesion.finding.value, lesion.pathology.value) == (finding, pathology)
    assert lesion.geometry == Geometry(kind=GeometryKind.BOX, values=tuple(map(float, box)))
    assert (lesion.lesion_key is None) == (number is None)
    assert film.image_size == (3328, 2560)


def test_the_mark_of_two_lesions_links_both_and_its_words_are_kept(plan):
    found = {x.source_ids[0]: x for film in films(plan).values() for x in film.lesions}
    lesion = found["10001"]
    assert (lesion.lesion_id, lesion.source_ids) == ("mark-1", ("10001", "1", "2"))
    assert (lesion.margin, lesion.label_raw) == (("spiculated",), "H5 B5 IDC ILC")
    assert lesion.lesion_key == found["10002"].lesion_key == "demd900002/201/R/1"


def test_a_lesion_without_mark_on_this_view_leaves_the_film_partial(plan):
    told = {
        f"{film.laterality}{film.view}": (film.annotation.value, len(film.lesions))
        for film in films(plan).values()
        if film.patient_key == "demd900002"
    }
    assert told == {
        "LCC": ("complete", 0),
        "LMLO": ("complete", 0),
        "RCC": ("complete", 1),
        "RMLO": ("partial", 2),
    }


@pytest.mark.parametrize(
    "corners", [("10", "20", "30", "60"), ("30", "60", "10", "20"), ("10", "60", "30", "20")]
)
def test_corners_are_indices_in_any_order_and_width_and_height_are_not_believed(corners):
    box = dict(zip(("X1", "Y1", "X2", "Y2"), corners, strict=True))
    one = Mark(key="1", words={**box, "Width": "5", "Height": "500"})
    assert box_of(one).values == (10, 20, 31, 61)


# ---- copies made here, one trap each


def image_json(side="R", view="CC", intent="FOR PRESENTATION", **tags):
    header = {
        "00080060": {"vr": "CS", "Value": ["MG"]},
        "00080068": {"vr": "CS", "Value": [intent]},
        "00101010": {"vr": "AS", "Value": ["061Y"]},
        "00185101": {"vr": "CS", "Value": [view]},
        "00200062": {"vr": "CS", "Value": [side]},
        "00280010": {"vr": "US", "Value": [3000]},
        "00280011": {"vr": "US", "Value": [2000]},
    }
    for tag, value in tags.items():
        header[tag.lstrip("t")] = value
    return {tag: item for tag, item in header.items() if item is not None}


def event(day="2012-05-24", **sides):
    """Return an event from L=(opinion, lesions), R=(…)."""
    names = {"L": "left_opinion", "R": "right_opinion"}
    block = {"left_opinion": None, "right_opinion": None, "dateperformed": day}
    for side, (opinion, lesions) in sides.items():
        block[names[side]] = opinion
        block[side] = lesions
    return block


def screening(day="2012-05-10", left="Normal", right="Normal"):
    sides = {side: {"DateTaken": day} for side in "LR"}
    return {**sides, "left_opinion": left, "right_opinion": right}


def episode(kind="R", **blocks):
    return {"EpisodeType": kind, "EpisodeIsClosed": "Y", "SCREENING": screening(), **blocks}


MALIGNANT = episode(
    BIOPSYWIDE=event(R=("Malignant", {"1": {"Opinion": "B5"}})),
    LESION={"R": {"1": {"LesionDescription": "Mass"}}},
)


def copy_with(tmp_path, nbss=None, images=None, *, study=None, tables=None, listed=None):
    """Make a copy of one client; `images`: UID to (header JSON or bytes or None, marks)."""
    images = {"1.2.9": (image_json(), None)} if images is None else images
    base = f"data/{CLIENT}"
    members = {SERIES: {uid: marks for uid, (_, marks) in images.items()}}
    study = {"StudyDate": "2012-05-10", "EpisodeID": "201"} if study is None else study
    files = {
        f"{base}/nbss_{CLIENT}.json": {"201": MALIGNANT} if nbss is None else nbss,
        f"{base}/imagedb_{CLIENT}.json": {"Site": "x", "STUDIES": {STUDY: {**study, **members}}},
    }
    for uid, (header, _) in images.items():
        if header is not None:
            files[f"{base}/{STUDY}/{uid}.json"] = header
    files |= tables or {}
    raw = {
        path: item if isinstance(item, bytes) else json.dumps(item).encode()
        for path, item in files.items()
        if item is not None
    }
    names = list(images) if listed is None else listed
    return copy_of(tmp_path, raw, [f"images/{CLIENT}/{STUDY}/{uid}.dcm" for uid in names])


def only(items):
    (film,) = films(items).values()
    return film


def test_the_plain_copy_is_malignant_on_the_right(tmp_path):
    film = only(planned(OMI, copy_with(tmp_path)))
    assert (film.pathology, film.label_basis, film.label_scope) == ("malignant", "biopsy", "breast")
    assert (film.annotation.value, film.exam_kind, film.age) == ("none", "screening", 61)
    assert film.raw.label == "SCREENING Normal; BIOPSYWIDE Malignant"
    assert (film.raw.finding, film.raw.status, film.raw.view) == ("Mass", "R M/M", "CC")


@pytest.mark.parametrize(
    ("blocks", "side", "expected"),
    [
        ({"BIOPSYWIDE": event(R=("Malignant", {}))}, "L", ("normal", "screening_outcome")),
        ({"BIOPSYFINE": event(R=("OM", {}))}, "R", ("malignant", "biopsy")),
        ({"SURGERY": event(L=("OB", {}))}, "L", ("benign", "biopsy")),
        ({"BIOPSYWIDE": event(L=("OB", {}), R=("OM", {}))}, "L", ("benign", "biopsy")),
        ({"ASSESSMENT": event(R=("Normal", {}))}, "R", ("normal", "assessment")),
        ({"ASSESSMENT": event(R=("Suspicious", {}))}, "R", ("unknown", "unknown")),
        ({"ASSESSMENT": event()}, "R", ("unknown", "unknown")),
        ({"SURGERY": event(R=("Normal", {}))}, "R", ("unknown", "unknown")),
        ({"SCREENING": screening(right=None)}, "R", ("unknown", "unknown")),
        ({"SCREENING": screening(right="Suspicious")}, "R", ("unknown", "unknown")),
        ({"SCREENING": None}, "R", ("unknown", "unknown")),
        ({"EpisodeIsClosed": "N"}, "R", ("unknown", "unknown")),
        ({"SCREENING": screening(left="ON", right="ON")}, "R", ("normal", "screening_outcome")),
    ],
    ids=[
        *("other breast", "fine needle, code", "operation", "both breasts", "assessed"),
        *("suspicion alone", "null opinions", "operation without verdict", "null screening"),
        *("screening suspicion", "no event", "open", "codes"),
    ],
)
def test_breasts_by_the_events_of_their_episode(tmp_path, blocks, side, expected):
    images = {"1.2.9": (image_json(side), None)}
    film = only(planned(OMI, copy_with(tmp_path, {"201": episode(**blocks)}, images)))
    assert (film.pathology.value, film.label_basis.value) == expected


@pytest.mark.parametrize(
    ("later", "expected"),
    [
        (episode("R"), ("normal", "follow_up", ())),
        (episode("R", EpisodeIsClosed="N"), ("normal", "screening_outcome", ())),
        (episode("CI"), ("unknown", "unknown", ("prior",))),
        (episode("Interval case"), ("unknown", "unknown", ("prior",))),
        (episode("CI", SURGERY=event(R=("Benign", {}))), ("unknown", "unknown", ())),
        (MALIGNANT, ("unknown", "unknown", ("prior",))),
        (episode(BIOPSYWIDE=event(R=("Benign", {}))), ("normal", "follow_up", ())),
        (episode(ASSESSMENT=event()), ("unknown", "unknown", ())),
    ],
    ids=["normal", "open", "CI", "CI as text", "CI contradicted", "malignant", "benign", "silent"],
)
def test_a_normal_round_by_what_came_later(tmp_path, later, expected):
    later = copy.deepcopy(later)
    later["SCREENING"] = screening("20150510")
    film = only(planned(OMI, copy_with(tmp_path, {"201": episode(), "202": later})))
    assert (film.pathology.value, film.label_basis.value, film.flags) == expected


def test_a_breast_that_was_operated_before_says_so(tmp_path):
    before = episode(
        SCREENING=screening("2009-01-01"), SURGERY=event("2009-02-01", R=("Benign", {}))
    )
    nbss = {"200": before, "201": episode()}
    for side, flags in (("R", ("postoperative",)), ("L", ())):
        images = {"1.2.9": (image_json(side), None)}
        assert only(planned(OMI, copy_with(tmp_path, nbss, images))).flags == flags


@pytest.mark.parametrize(
    ("study", "linked"),
    [
        ({"StudyDate": "20120510"}, True),
        ({"StudyDate": "2012-05-24", "EpisodeID": None}, True),
        ({"StudyDate": "2012-05-10", "EpisodeID": "999"}, True),
        ({"StudyDate": "2012-05-11"}, False),
        ({"StudyDate": None, "EpisodeID": "201"}, True),
        ({}, False),
    ],
)
def test_studies_find_their_episode_by_id_or_else_by_day(tmp_path, study, linked):
    film = only(planned(OMI, copy_with(tmp_path, study=study)))
    assert (film.pathology.value == "malignant") == linked


def test_a_day_of_two_episodes_links_to_neither(tmp_path):
    nbss = {"201": MALIGNANT, "202": episode()}
    film = only(planned(OMI, copy_with(tmp_path, nbss, study={"StudyDate": "2012-05-10"})))
    assert (film.pathology.value, film.label_basis.value) == ("unknown", "unknown")


def mark(**fields):
    box = {"X1": "10", "Y1": "20", "X2": "30", "Y2": "60"}
    return {"77": {"MarkID": 77, "Mass": 1, "LinkedNBSSLesionNumber": "1", **box, **fields}}


def test_lesion_one_of_the_other_side_is_another_lesion(tmp_path):
    nbss = {
        "201": episode(
            BIOPSYWIDE=event(
                L=("Benign", {"1": {"Opinion": "B2"}}), R=("Malignant", {"01": {"Opinion": "B5"}})
            )
        )
    }
    for side, word in (("L", "benign"), ("R", "malignant")):
        images = {"1.2.9": (image_json(side), mark())}
        (lesion,) = only(planned(OMI, copy_with(tmp_path, nbss, images))).lesions
        assert (lesion.pathology.value, lesion.lesion_key) == (word, f"{CLIENT}/201/{side}/1")


@pytest.mark.parametrize("link", ["UNLINKED", None, "", "8"])
def test_marks_of_no_lesion_are_drawn_unknown_and_flagged(tmp_path, link):
    images = {"1.2.9": (image_json(), mark(LinkedNBSSLesionNumber=link))}
    film = only(planned(OMI, copy_with(tmp_path, images=images)))
    drawn, named = film.lesions
    assert (drawn.pathology.value, drawn.flags) == ("unknown", ("unlinked",))
    assert (named.lesion_id, named.geometry, named.pathology.value) == ("nbss-1", None, "malignant")
    assert (film.annotation.value, film.flags) == ("partial", ("unlinked_geometry",))


@pytest.mark.parametrize(
    ("fields", "finding", "margin", "calc_type"),
    [
        ({"MassClassification": "spiculated"}, "mass", ("spiculated",), ()),
        ({"Mass": "Mass", "WithCalcification": 1}, "mass", (), ()),
        ({"Mass": None, "FocalAsymmetry": "FocalAsymmetry"}, "focal_asymmetry", (), ()),
        ({"Mass": None, "ArchitecturalDistortion": 1}, "architectural_distortion", (), ()),
        ({"Mass": 0, "SuspiciousCalcifications": 1}, "calcification", (), ("suspicious",)),
        ({"Mass": "", "Vascular": "Vascular"}, "calcification", (), ("vascular",)),
        (
            {"Mass": None, "BenignClassification": "rod-like"},
            *("calcification", (), ("large_rodlike",)),
        ),
        ({"MassClassification": "egg_shell_or_rim"}, "mass", (), ("eggshell",)),
    ],
)
def test_fields_of_a_mark_that_are_set_name_the_finding(
    tmp_path, fields, finding, margin, calc_type
):
    images = {"1.2.9": (image_json(), mark(**fields))}
    (lesion,) = only(planned(OMI, copy_with(tmp_path, images=images))).lesions
    assert (lesion.finding.value, lesion.margin, lesion.calc_type) == (finding, margin, calc_type)


def test_of_two_pictures_of_an_exposure_the_one_for_presentation_is_read(tmp_path):
    images = {
        "1.2.8": (image_json(intent="FOR PROCESSING"), None),
        "1.2.9": (image_json(), mark()),
        "1.2.7": (image_json(view="MLO", intent="FOR PROCESSING"), None),
    }
    found = films(planned(OMI, copy_with(tmp_path, images=images)))
    assert list(found) == ["1.2.9", "1.2.7"]
    assert (found["1.2.9"].pair_key, found["1.2.7"].pair_key) == ("1.2.9", None)
    assert found["1.2.7"].flags == ("processing_only",)


def test_the_twin_that_a_presentation_names_is_its_twin(tmp_path):
    named = {"vr": "SQ", "Value": [{"00081155": {"vr": "UI", "Value": ["1.2.4"]}}]}
    images = {
        "1.2.3": (image_json(intent="FOR PROCESSING"), None),
        "1.2.4": (image_json(intent="FOR PROCESSING"), None),
        "1.2.9": (image_json(t00082112=named), None),
    }
    assert list(films(planned(OMI, copy_with(tmp_path, images=images)))) == ["1.2.9", "1.2.3"]


@pytest.mark.parametrize(("rows", "boxes"), [(3000, 1), (2999, 0)])
def test_a_lone_processing_image_takes_the_marks_of_an_absent_twin_of_its_size(
    tmp_path, rows, boxes
):
    raw = image_json(intent="FOR PROCESSING", t00280010={"vr": "US", "Value": [rows]})
    images = {"1.2.8": (raw, None), "1.2.9": (image_json(), mark())}
    items = planned(OMI, copy_with(tmp_path, images=images, listed=["1.2.8"]))
    assert [item.film_key for item in absent(items)] == ["1.2.9"]
    film = only(items)
    assert sum(lesion.geometry is not None for lesion in film.lesions) == boxes
    assert film.flags == ("processing_only",)


def test_names_in_capitals_another_root_and_a_folder_of_the_site_are_read(tmp_path):
    release = copy_with(tmp_path)
    plain = only(planned(OMI, release))
    moved = tmp_path / "moved"
    entries = []
    for entry in release.entries:
        path = entry.path.replace("data/", "x/FFDM/DATA/site9/")
        path = path.replace("images/", "x/FFDM/IMAGES/").replace("nbss_", "NBSS_")
        path = path.replace("imagedb_", "IMAGEDB_").replace("9.json", "9.dcm.json")
        entries.append(Entry(path, entry.size))
        if path.endswith(".json"):
            (moved / path).parent.mkdir(parents=True, exist_ok=True)
            (moved / path).write_bytes(release.read(entry.path))
    film = only(planned(OMI, Release(root=str(moved), entries=tuple(entries))))
    assert film.image.path == f"x/FFDM/IMAGES/{CLIENT}/{STUDY}/1.2.9.dcm"
    assert (film.pathology, film.view, film.age) == (plain.pathology, plain.view, plain.age)


@pytest.mark.parametrize("table", ["nbss", "imagedb"])
@pytest.mark.parametrize(
    "data", [b"", b'{"201": {"EpisodeTy', b"[1]"], ids=["empty", "cut", "list"]
)
def test_damaged_tables_reject_the_client_s_images_and_say_so(tmp_path, table, data):
    release = copy_with(tmp_path, tables={f"data/{CLIENT}/{table}_{CLIENT}.json": data})
    (reject,) = rejects(planned(OMI, release))
    assert (reject.film_key, reject.reason) == ("1.2.9", RejectReason.BAD_ROW)
    assert f"{table}_{CLIENT}.json" in reject.detail
    assert any("damaged JSON" in remark.what for remark in OMI.verify(release, HeaderIndex()))


@pytest.mark.parametrize("table", ["nbss", "imagedb"])
def test_missing_tables_leave_the_label_unknown(tmp_path, table):
    release = copy_with(tmp_path, tables={f"data/{CLIENT}/{table}_{CLIENT}.json": None})
    film = only(planned(OMI, release))
    assert (film.pathology.value, film.label_basis.value, film.view) == ("unknown", "unknown", "CC")


def test_images_without_json_are_indexed_and_planned_alike(tmp_path):
    whole = only(planned(OMI, copy_with(tmp_path)))
    header = {
        "Modality": "MG",
        "PresentationIntentType": "FOR PRESENTATION",
        "PatientAge": "061Y",
        "ViewPosition": "CC",
        "ImageLaterality": "R",
        "Rows": "3000",
        "Columns": "2000",
    }
    for json_file in (None, b"", b"{}"):
        release = copy_with(tmp_path / str(json_file), images={"1.2.9": (json_file, None)})
        path = f"images/{CLIENT}/{STUDY}/1.2.9.dcm"
        assert OMI.files_to_index(release) == (path,)
        assert only(planned(OMI, release, HeaderIndex({path: header}))) == whole
    assert OMI.files_to_index(copy_with(tmp_path)) == ()


def test_a_cut_header_gives_what_stands_before_the_cut(tmp_path):
    text = json.dumps(image_json())
    cut = text[: text.index('"00280010"') + 20].encode()
    film = only(planned(OMI, copy_with(tmp_path, images={"1.2.9": (cut, mark())})))
    assert (film.laterality, film.view, film.image_size) == ("R", "CC", None)
    assert film.pathology.value == "malignant"


@pytest.mark.parametrize(
    ("header", "side", "view"),
    [
        (image_json(t00200062=None, t0008103E={"vr": "LO", "Value": ["R CC"]}), "R", "CC"),
        (image_json(t00200062=None, t0008103E={"vr": "LO", "Value": ["L-MLO"]}), "L", "CC"),
        (
            image_json(
                t00185101=None,
                t00540220={"vr": "SQ", "Value": [{"00080100": {"Value": ["R-10226"]}}]},
            ),
            *("R", "MLO"),
        ),
        (image_json(t00200062=None), None, "CC"),
    ],
)
def test_side_and_view_from_wherever_the_header_has_them(tmp_path, header, side, view):
    film = only(planned(OMI, copy_with(tmp_path, images={"1.2.9": (header, None)})))
    assert (film.laterality, film.view) == (side, view)


def test_without_a_side_only_what_holds_for_both_breasts_is_said(tmp_path):
    images = {"1.2.9": (image_json(t00200062=None), None)}
    sick = only(planned(OMI, copy_with(tmp_path, images=images)))
    well = only(planned(OMI, copy_with(tmp_path, {"201": episode()}, images)))
    assert (sick.pathology.value, well.pathology.value) == ("unknown", "normal")


def test_magnified_views_are_kept_and_flagged(tmp_path):
    code = {"vr": "SQ", "Value": [{"00080100": {"Value": ["R-102D6"]}}]}
    views = {"vr": "SQ", "Value": [{"00080100": {"Value": ["R-10242"]}, "00540222": code}]}
    film = only(
        planned(OMI, copy_with(tmp_path, images={"1.2.9": (image_json(t00540220=views), None)}))
    )
    assert (film.spot_mag, film.flags) == (True, ("spot",))


@pytest.mark.parametrize(
    ("nbss", "header", "marks", "reason", "says"),
    [
        (None, image_json(view="QQ"), None, "unknown_word", "View Position 'QQ'"),
        (None, image_json(t00080060={"Value": ["MR"]}), None, "unsupported", "modality MR"),
        (None, image_json(t00280008={"Value": ["60"]}), None, "unsupported", "60 frames"),
        (None, image_json(), mark(MassClassification="odd"), "unknown_word", "mark 77"),
        (
            {"201": episode(BIOPSYWIDE=event(R=("Malignat", {})))},
            *(image_json(), None, "unknown_word", "'Malignat'"),
        ),
        ({"201": episode("Q")}, image_json(), None, "unknown_word", "EpisodeType 'Q'"),
        (
            {"201": episode(BIOPSYWIDE=event(R=("OM", {"1": {"Opinion": "B9"}})))},
            *(image_json(), None, "unknown_word", "Opinion 'B9'"),
        ),
        (
            {"201": episode(LESION={"R": {"1": {"LesionDescription": "XX"}}})},
            *(image_json(), None, "unknown_word", "LesionDescription 'XX'"),
        ),
    ],
)
def test_what_cannot_be_read_is_a_reject_that_names_it(tmp_path, nbss, header, marks, reason, says):
    release = copy_with(tmp_path, nbss, {"1.2.9": (header, marks)})
    (reject,) = rejects(planned(OMI, release))
    assert (reject.reason.value, reject.film_key) == (reason, "1.2.9")
    assert says in reject.detail


def test_images_that_no_study_lists_and_second_copies_are_rejects(tmp_path):
    release = copy_with(tmp_path)
    second = f"backup/images/{CLIENT}/{STUDY}/1.2.9.dcm"
    stray = f"images/{CLIENT}/{STUDY}/1.2.10.dcm"
    entries = (*release.entries, Entry(second, 9), Entry(stray, 9))
    told = {
        item.file: item.reason.value
        for item in rejects(planned(OMI, Release(root=release.root, entries=entries)))
    }
    assert told == {
        f"images/{CLIENT}/{STUDY}/1.2.9.dcm": "duplicate_file",
        stray: "no_table_row",
    }


@pytest.mark.parametrize(
    ("table", "code", "text"),
    [
        (words.SIDE_OPINIONS, "OM", "Malignant"),
        (words.SIDE_OPINIONS, "ON", "Normal"),
        (words.DESCRIPTIONS, "MC", "Mass with calcification"),
        (words.DESCRIPTIONS, "NA", "No significant abnormality"),
        (words.OPINIONS, "H5", "Hist malignant"),
        (words.OPINIONS, "C2", "cyt benign"),
    ],
)
def test_codes_and_texts_of_a_value_mean_the_same(table, code, text):
    told = {words.known(table, word, "column", "place") for word in (code, text, code.lower())}
    assert len(told) == 1


def test_a_folder_without_clients_says_what_to_give(tmp_path):
    release = copy_of(tmp_path, {"readme.txt": b"hello"})
    assert planned(OMI, release) == []
    (remark,) = OMI.verify(release, HeaderIndex())
    assert not remark.ok
    assert "no client folder" in remark.what
