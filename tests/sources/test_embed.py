"""EMBED: its printed example, every trap, and the kernel's reading of its boxes."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from etl.phantoms import embed as phantom
from etl.phantoms.embed_words import CLINICAL_TITLES, METADATA_TITLES
from etl.pixels.decode import Picture
from etl.pixels.frames import mirrored, settle_frame
from etl.pixels.settle import Settled, settle_lesion
from etl.pixels.standardise import standardise
from etl.sources import embed
from etl.sources.embed import words
from etl.sources.embed.tables import by_patient
from schemas.errors import MammoError
from schemas.release import HeaderIndex, Release
from schemas.sample import Sample
from schemas.spec import Spec
from schemas.vocabulary import GeometryFrame, LesionFlag, Orientation, QualityFlag
from tests.sources.copies import absent, copy_of, films, planned, rejects

SERVER = "/mnt/NAS2/mammo/anon_dicom/"
EMPTY = dict.fromkeys(METADATA_TITLES, "")


def image(number=1, **cells):
    """Return one row of the metadata table, a left CC of exam 99…1."""
    path = f"{SERVER}cohort_1/90000001/1.2.1/1.2.2/1.2.3.{number}.dcm"
    return EMPTY | {
        "empi_anon": "90000001",
        "acc_anon": "9900000000000001",
        "anon_dicom_path": path,
        "FinalImageType": "2D",
        "ImageLateralityFinal": "L",
        "ViewPosition": "CC",
        "num_roi": "0",
        "ROI_coords": "()",
        **cells,
    }


def finding(**cells):
    """Return one row of the clinical table, a negative screening exam of both breasts."""
    return dict.fromkeys(CLINICAL_TITLES, "") | {
        "empi_anon": "90000001",
        "acc_anon": "9900000000000001",
        "study_date_anon": "2015-02-04",
        "desc": "MG Screening Bilateral",
        "tissueden": "3.0",
        "asses": "N",
        "numfind": "1",
        **cells,
    }


def text(rows, titles=None):
    lines = [list(titles or rows[0]), *([row[title] for title in titles or row] for row in rows)]
    quoted = ('"' + str(cell).replace('"', '""') + '"' for line in lines for cell in line)
    cells = list(quoted)
    width = len(lines[0])
    whole = [",".join(cells[at : at + width]) for at in range(0, len(cells), width)]
    return ("\n".join(whole) + "\n").encode()


def copy(root, images, findings, *, folder="images/", missing=(), files=None):
    paths = [
        folder + row["anon_dicom_path"].strip().removeprefix(SERVER)
        for at, row in enumerate(images)
        if at not in missing
    ]
    tables = {
        "tables/EMBED_OpenData_metadata.csv": text(images),
        "tables/EMBED_OpenData_clinical.csv": text(findings),
    }
    return copy_of(root, tables, paths if files is None else files)


def plan(root, images, findings, **options):
    return planned(embed, copy(root, images, findings, **options))


def one(root, cells=(), *findings):
    """Return the only film of one image row and some clinical rows."""
    made = films(plan(root, [image(**dict(cells))], list(findings) or [finding()]))
    [film] = made.values()
    return film


# ---- golden rows


@pytest.fixture
def synthetic(shared, tmp_path):
    """Return the films of the specification's invented tables, in a copy as the bucket has it."""
    tables = shared / "data/tables/embed"
    data = {
        f"tables/{name}.csv": (tables / f"SYNTHETIC_{name}.csv").read_bytes()
        for name in ("metadata", "clinical")
    }
    with (tables / "SYNTHETIC_metadata.csv").open(newline="") as file:
        paths = [row["anon_dicom_path"].partition("anon_dicom/")[2] for row in csv.DictReader(file)]
    made = planned(embed, copy_of(tmp_path, data, [f"images/{path}" for path in paths]))
    assert not rejects(made)
    return films(made)


def test_the_specification_s_eight_images_have_its_labels(synthetic):
    told = {
        key: (film.laterality, film.pathology, film.label_basis, film.birads)
        for key, film in synthetic.items()
    }
    assert told == {
        "1.2.999.3.1": ("L", "malignant", "biopsy", "0"),
        "1.2.999.3.2": ("R", "normal", "implied", None),
        "1.2.999.3.3": ("L", "normal", "birads", "1"),
        "1.2.999.3.4": ("R", "normal", "birads", "1"),
        "1.2.999.3.5": ("R", "benign", "biopsy", "4"),
        "1.2.999.3.6": ("R", "benign", "biopsy", "4"),
        "1.2.999.3.7": ("L", "benign", "birads", "2"),
        "1.2.999.3.8": ("R", "malignant", "biopsy", "0"),
    }


def test_golden_row_with_one_box_is_one_finding_with_its_box(synthetic):
    film = synthetic["1.2.999.3.1"]
    assert (film.patient_key, film.exam_key) == ("90000001", "9000000000000001")
    assert (film.exam_kind, film.modality, film.view) == ("screening", "FFDM", "CC")
    assert (film.density, film.age, film.exam_day) == ("C", 55, None)
    assert (film.annotation, film.annotation_kind) == ("complete", "box")
    assert film.image_size == (3328, 2560)
    assert film.geometry_frame is GeometryFrame.EMBED_PNG
    [lesion] = film.lesions
    assert (lesion.lesion_id, lesion.finding) == ("1", "mass")
    assert (lesion.shape, lesion.margin) == (("irregular",), ("spiculated",))
    assert lesion.geometry.values == pytest.approx((300, 1200, 621, 1501), abs=0.5)
    settled, _ = settle_frame(film, picture(film, "A\\R", 2560))
    assert settled.lesions[0].geometry.values == pytest.approx((300, 1200, 621, 1501), abs=0.5)


def test_golden_row_with_two_boxes_is_mirrored_and_unlinked(synthetic):
    film = synthetic["1.2.999.3.6"]
    assert film.density == "D"
    assert film.flags == (QualityFlag.UNLINKED_GEOMETRY,)
    assert film.annotation == "partial"
    assert [x.lesion_id for x in film.lesions] == ["1", "2", "roi1", "roi2"]
    assert all(LesionFlag.UNLINKED in x.flags for x in film.lesions)
    assert [x.pathology for x in film.lesions] == ["benign", "benign", "unknown", "unknown"]
    settled, _ = settle_frame(film, picture(film, "P\\L", 2560))
    boxes = [x.geometry.values for x in settled.lesions if x.geometry]
    # x0' = Columns - (xmax + 1), x1' = Columns - xmin
    assert boxes[0] == pytest.approx((2560 - 401, 800, 2560 - 150, 1001), abs=0.5)
    assert boxes[1] == pytest.approx((2560 - 901, 1900, 2560 - 500, 2301), abs=0.5)


def test_golden_row_of_a_c_view_is_synthetic(synthetic):
    film = synthetic["1.2.999.3.4"]
    assert (film.modality, film.view, film.density) == ("S2D", "MLO", "B")
    assert (film.annotation, film.lesions, film.pair_key) == ("complete", (), None)


# ---- boxes in the stored file


def picture(film, orientation, width=640):
    size = film.image_size or (800, width)
    header = {"PatientOrientation": orientation} if orientation else {}
    return Picture(array=np.zeros(size, np.uint16), bits_stored=12, header=header)


@pytest.mark.parametrize(
    ("orientation", "side", "view", "is_mirrored"),
    [
        ("P\\L", "R", "CC", True),
        ("P\\FL", "L", "MLO", True),
        ("A\\R", "R", "ML", False),
        ("A\\R", "L", "CC", False),
        ("", "R", "MLO", True),
        ("", "L", "MLO", False),
        ("P\\L", "R", "XCCL", False),
        ("", "R", "LM", False),
    ],
)
def test_boxes_are_mirrored_as_the_png_copy_was(tmp_path, orientation, side, view, is_mirrored):
    cells = {"ImageLateralityFinal": side, "ViewPosition": view, "num_roi": "1"}
    cells |= {"ROI_coords": "((10, 20, 29, 49),)", "Rows": "800", "Columns": "640"}
    film = one(tmp_path, cells)
    settled, turned = settle_frame(film, picture(film, orientation))
    values = settled.lesions[0].geometry.values
    assert values == ((590, 10, 620, 30) if is_mirrored else (20, 10, 50, 30))
    assert turned is Orientation.IDENTITY


def test_a_lesion_can_be_mirrored_against_the_rule(tmp_path):
    film = one(tmp_path, {"num_roi": "1", "ROI_coords": "[[[10, 20, 29, 49]]]"})
    settled = settle_lesion(film, film.lesions[0], lambda ref: b"", (800, 640))
    other = mirrored(settled, 640)
    assert other.box == (590, 10, 620, 30)
    assert other.film_flags == {QualityFlag.GEOMETRY_MIRRORED}
    assert mirrored(Settled(film.lesions[0]), 640).film_flags == frozenset()


def test_boxes_of_the_dicom_are_taken_before_those_of_the_png(tmp_path):
    cells = {"num_roi": "1.0", "PNG_ROI_coords": "[[[1, 2, 3, 4]]]"}
    film = one(tmp_path, cells | {"DCM_ROI_coords": "[[[10, 20, 29, 49]]]"})
    assert film.geometry_frame is GeometryFrame.NATIVE
    assert film.lesions[0].geometry.values == (20, 10, 50, 30)


@pytest.mark.parametrize(
    "words_of_numpy", ["[[np.int64(10), np.int64(20), 29, 49]]", "((10.0, 20.0, 29.0, 49.0),)"]
)
def test_any_spelling_of_four_numbers_is_a_box(tmp_path, words_of_numpy):
    film = one(tmp_path, {"num_roi": "1", "ROI_coords": words_of_numpy})
    assert film.lesions[0].geometry.values == (20, 10, 50, 30)


@pytest.mark.parametrize("broken", ["((10, 20, 29),)", "((29, 49, 10, 20),)"])
def test_a_box_that_cannot_be_read_is_dropped_and_said(tmp_path, broken):
    film = one(tmp_path, {"num_roi": "1", "ROI_coords": broken})
    assert film.flags == (QualityFlag.GEOMETRY_DROPPED,)
    assert (film.lesions, film.annotation) == ((), "none")


@pytest.mark.parametrize(
    ("count", "rows", "ids"),
    [
        ("1", ["L"], ["1"]),
        ("2", ["L"], ["1", "roi1"]),
        ("1", ["L", "L"], ["1", "2", "roi1"]),
        ("1", ["R"], ["roi1"]),
        ("1", ["L", "R"], ["1"]),
    ],
)
def test_a_box_is_a_finding_s_only_where_both_are_single(tmp_path, count, rows, ids):
    cells = {"num_roi": count, "ROI_coords": "((10, 20, 29, 49),)"}
    told = [finding(side=side, asses="A", numfind=str(at)) for at, side in enumerate(rows, start=1)]
    film = one(tmp_path, cells, *told)
    assert [lesion.lesion_id for lesion in film.lesions] == ids
    linked = len(ids) == 1 and ids != ["roi1"]
    assert film.annotation == ("complete" if linked else "partial")
    assert (QualityFlag.UNLINKED_GEOMETRY in film.flags) == (not linked)


def test_boxes_copied_to_another_image_are_rough(tmp_path):
    cells = {"num_roi": "1", "ROI_coords": "((10, 20, 29, 49),)", "match_level": "[2]"}
    film = one(tmp_path, cells, finding(side="L", asses="A"))
    assert film.lesions[0].flags == (LesionFlag.ROUGH,)


# ---- labels


@pytest.mark.parametrize(
    ("severity", "label", "flags"),
    [
        ("0.0", ("malignant", "biopsy"), ()),
        ("1", ("malignant", "biopsy"), ()),
        ("2.0", ("benign", "biopsy"), ("high_risk",)),
        ("3", ("benign", "biopsy"), ("high_risk",)),
        ("4", ("benign", "biopsy"), ()),
        ("5", ("benign", "biopsy"), ()),
        ("6", ("unknown", "unknown"), ()),
    ],
)
def test_a_specimen_decides(tmp_path, severity, label, flags):
    row = finding(side="L", asses="M", bside="L", path_severity=severity, path1="NA")
    film = one(tmp_path, (), row)
    assert (film.pathology, film.label_basis) == label
    assert film.flags == flags
    assert "NA" in film.raw.label


@pytest.mark.parametrize(
    ("asses", "label", "birads"),
    [
        ("N", ("normal", "birads"), "1"),
        ("B", ("benign", "birads"), "2"),
        ("P", ("benign", "birads"), "3"),
        ("A", ("unknown", "birads"), "0"),
        ("S", ("unknown", "birads"), "4"),
        ("M", ("malignant", "birads"), "5"),
        ("K", ("malignant", "biopsy"), "6"),
        ("X", ("unknown", "unknown"), None),
    ],
)
def test_without_a_specimen_the_assessment_decides(tmp_path, asses, label, birads):
    film = one(tmp_path, (), finding(side="L", asses=asses))
    assert (film.pathology, film.label_basis) == label
    assert film.birads == birads


def test_every_assessment_has_its_place_among_the_worst():
    assert set(words.WORST_FIRST) == {word for word, rank in words.ASSESSMENTS.items() if rank}


@pytest.mark.parametrize(
    ("rows", "birads"), [("NBA", "0"), ("NBP", "3"), ("BSP", "4"), ("SMK", "6"), ("XB", "2")]
)
def test_the_gravest_assessment_of_a_breast_counts(tmp_path, rows, birads):
    told = [finding(side="L", asses=word, numfind=str(at)) for at, word in enumerate(rows)]
    assert one(tmp_path, (), *told).birads == birads


@pytest.mark.parametrize("addended", ["N", "B"])
def test_an_addended_screening_exam_counts_as_recalled(tmp_path, addended):
    row = finding(side="L", asses=addended, bside="L", path_severity="1.0")
    film = one(tmp_path, (), row)
    assert (film.pathology, film.birads, film.raw.label) == (
        *("malignant", "0"),
        f"{addended} path 1",
    )
    diagnostic = row | {"desc": "MG Diagnostic Bilateral"}
    assert one(tmp_path / "again", (), diagnostic).birads in ("1", "2")


@pytest.mark.parametrize(
    ("day", "label", "flags"),
    [
        ("2015-02-04", "malignant", ()),
        ("2016-02-04", "malignant", ()),
        ("2016-02-05", "unknown", ("prior",)),
        ("2015-02-03", "normal", ()),
    ],
)
def test_a_specimen_of_another_year_is_no_label(tmp_path, day, label, flags):
    row = finding(side="L", bside="L", path_severity="0", procdate_anon=day)
    film = one(tmp_path, (), row)
    assert (film.pathology, film.flags) == (label, flags)
    assert (film.months_to_cancer is not None) == bool(flags)


def test_a_specimen_belongs_to_the_breast_it_was_taken_from(tmp_path):
    row = finding(side="L", asses="A", bside="R", path_severity="0")
    both = [image(1), image(2, ImageLateralityFinal="R")]
    left, right = films(plan(tmp_path, both, [row])).values()
    assert (left.pathology, left.birads) == ("unknown", "0")
    assert (right.pathology, right.label_basis) == ("malignant", "biopsy")


@pytest.mark.parametrize(
    ("desc", "side", "label"),
    [
        ("MG Screening Bilateral", "L", ("normal", "implied")),
        ("MG Diagnostic Left w/CAD", "L", ("unknown", "unknown")),
        ("MG Screening Bilateral", "B", ("unknown", "birads")),
        ("MG Screening Bilateral", "", ("unknown", "birads")),
        ("", "L", ("normal", "implied")),
    ],
)
def test_only_the_other_breast_of_a_one_sided_bilateral_exam_is_implied(
    tmp_path, desc, side, label
):
    cells = {"ImageLateralityFinal": "R", "StudyDescription": "MG Screening Bilateral"}
    film = one(tmp_path, cells, finding(side=side, asses="A", desc=desc))
    assert (film.pathology, film.label_basis) == label


def test_findings_are_joined_on_the_side_too(tmp_path):
    sides = [image(1), image(2, ImageLateralityFinal="R")]
    told = [finding(side="L", asses="A"), finding(side="R", asses="B", numfind="2")]
    left, right = films(plan(tmp_path, sides, told)).values()
    assert [x.lesion_id for x in left.lesions] == ["1"]
    assert [x.lesion_id for x in right.lesions] == ["2"]


def test_an_exam_without_clinical_row_is_kept_unknown(tmp_path):
    film = one(tmp_path, (), finding(acc_anon="9900000000000002"))
    assert (film.pathology, film.label_basis, film.annotation) == ("unknown", "unknown", "none")


def test_sixteen_digits_stay_what_they_are(tmp_path):
    rows = [image(acc_anon="9900000000000001.0"), image(2, acc_anon="9900000000000003")]
    keys = [film.exam_key for film in films(plan(tmp_path, rows, [finding()])).values()]
    assert keys == ["9900000000000001", "9900000000000003"]


# ---- words


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        ({"massshape": "O"}, "mass"),
        ({"massshape": "Q"}, "architectural_distortion"),
        ({"massshape": "F"}, "focal_asymmetry"),
        ({"massshape": "N"}, "lymph_node"),
        ({"massdens": "0"}, "mass"),
        ({"massdens": "-"}, "mass"),
        ({"calcfind": "9"}, "calcification"),
        ({"calcnumber": "1"}, "calcification"),
        ({"calcnumber": "0"}, "unknown"),
        ({"otherfind": "2"}, "other"),
        ({"massshape": "O", "calcfind": "P"}, "mass"),
    ],
)
def test_kinds_of_findings(tmp_path, cells, kind):
    [lesion] = one(tmp_path, (), finding(side="L", asses="A", **cells)).lesions
    assert lesion.finding == kind


@pytest.mark.parametrize(
    ("where", "column", "word"),
    [
        ("clinical", "asses", "Z"),
        ("clinical", "side", "Q"),
        ("clinical", "path_severity", "7"),
        ("clinical", "massmargin", "W"),
        ("clinical", "tissueden", "6"),
        ("metadata", "FinalImageType", "3D"),
        ("metadata", "ImageLateralityFinal", "B"),
        ("metadata", "ViewPosition", "FROM ABOVE"),
    ],
)
def test_an_unknown_word_is_a_reject_that_names_it(tmp_path, where, column, word):
    row = {"side": "L", "asses": "A"} | ({column: word} if where == "clinical" else {})
    cells = {column: word} if where == "metadata" else {}
    [reject] = rejects(plan(tmp_path, [image(**cells)], [finding(**row)]))
    assert reject.reason == "unknown_word"
    assert column in reject.detail
    assert repr(word) in reject.detail


def test_views_by_their_code_where_the_position_is_empty(tmp_path):
    meaning = "0_ViewCodeSequence_CodeMeaning"
    film = one(tmp_path, {"ViewPosition": "", meaning: "medio-lateral oblique"})
    assert film.view == "MLO"


# ---- images of one exam


@pytest.mark.parametrize(
    ("cells", "is_spot"),
    [
        ({"spot_mag": "1.0"}, True),
        ({"spot_mag": "0"}, False),
        ({"SeriesDescription": "L CC MAG"}, True),
        ({"SeriesDescription": "L MLO Spot"}, True),
        ({"SeriesDescription": "L CC Image"}, False),
    ],
)
def test_spot_views_are_kept_and_flagged(tmp_path, cells, is_spot):
    film = one(tmp_path, cells)
    assert film.spot_mag == is_spot
    assert (QualityFlag.SPOT in film.flags) == is_spot


def test_a_2d_image_and_its_c_view_share_one_exposure(tmp_path):
    rows = [
        image(1, AcquisitionTime="100000.0"),
        image(2, AcquisitionTime="101000.0"),
        image(3, FinalImageType="C-view", AcquisitionTime="101000.0"),
        image(4, ViewPosition="MLO"),
    ]
    made = list(films(plan(tmp_path, rows, [finding()])).values())
    assert [film.pair_key is not None for film in made] == [False, True, True, False]
    assert made[1].pair_key == made[2].pair_key
    assert [film.flags for film in made] == [(QualityFlag.REPEAT,), (), (), ()]


def test_a_raw_image_is_kept_only_without_its_processed_twin(tmp_path):
    raw = {"PresentationIntentType": "FOR PROCESSING"}
    made = plan(tmp_path, [image(1), image(2, **raw), image(3, ViewPosition="ML", **raw)],
                [finding()])  # fmt: skip
    assert [x.reason for x in rejects(made)] == ["duplicate_file"]
    lone = films(made)["1.2.3.3"]
    assert (lone.intent, lone.flags) == ("processing", (QualityFlag.PROCESSING_ONLY,))


@pytest.mark.parametrize("cells", [{"tissueden": "5.0"}, {"GENDER_DESC": "Male"}])
def test_men_are_flagged(tmp_path, cells):
    film = one(tmp_path, (), finding(**cells))
    assert film.flags == (QualityFlag.MALE,)
    assert (film.density is None) == ("tissueden" in cells)


def test_implants_of_either_table(tmp_path):
    assert one(tmp_path / "a", {"BreastImplantPresent": "YES"}).implant is True
    assert one(tmp_path / "b", {"BreastImplantPresent": "NO"}).implant is False
    assert one(tmp_path / "c", (), finding(implanfind="1")).implant is True
    assert one(tmp_path / "d").implant is None


# ---- copies


@pytest.mark.parametrize("folder", ["images/", "", "EMBED/images/", "deep/er/"])
@pytest.mark.parametrize("prefix", [SERVER, "./images/", "images/", f"  {SERVER}"])
def test_a_file_is_found_wherever_a_copy_has_its_cohorts(tmp_path, folder, prefix):
    tail = "cohort_2/90000001/1.2.1/1.2.2/1.2.3.1.dcm"
    release = copy(
        tmp_path, [image(anon_dicom_path=prefix + tail)], [finding()], files=[folder + tail]
    )
    [film] = films(planned(embed, release)).values()
    assert (film.film_key, film.image.path) == ("1.2.3.1", folder + tail)


def test_a_file_below_no_cohort_is_found_by_its_name(tmp_path):
    release = copy(tmp_path, [image()], [finding()], files=["flat/1.2.3.1.dcm"])
    [film] = films(planned(embed, release)).values()
    assert film.image.path == "flat/1.2.3.1.dcm"


def test_a_row_without_file_is_absent_and_a_file_without_row_a_reject(tmp_path):
    rows = [image(1), image(2)]
    extra = "images/cohort_1/90000001/1.2.1/1.2.2/1.2.3.9.dcm"
    kept = "images/cohort_1/90000001/1.2.1/1.2.2/1.2.3.1.dcm"
    made = plan(tmp_path, rows, [finding()], files=[kept, extra])
    assert [(x.film_key, x.split_key) for x in absent(made)] == [("1.2.3.2", "90000001")]
    assert [(x.film_key, x.reason) for x in rejects(made)] == [("1.2.3.9", "no_table_row")]
    assert list(films(made)) == ["1.2.3.1"]


def test_a_copy_of_converted_pictures_is_refused(tmp_path):
    release = copy(tmp_path, [image()], [finding()], files=["png_images/1.2.3.1.dcm.png"])
    with pytest.raises(MammoError, match=r"PNG files that were converted .* sync images/"):
        planned(embed, release)
    [remark] = embed.verify(release, HeaderIndex())
    assert not remark.ok


@pytest.mark.parametrize("kind", ["metadata", "clinical"])
def test_a_copy_without_a_table_is_refused(tmp_path, kind):
    copy(tmp_path, [image()], [finding()])
    (tmp_path / f"tables/EMBED_OpenData_{kind}.csv").unlink()
    with pytest.raises(MammoError, match=f"no {kind} table .* put EMBED_OpenData_{kind}.csv"):
        planned(embed, Release.open(str(tmp_path)))


def test_a_damaged_table_is_named(tmp_path):
    release = copy(tmp_path, [image()], [finding()])
    path = tmp_path / "tables/EMBED_OpenData_metadata.csv"
    path.write_bytes(path.read_bytes() + b"cut,short\n")
    with pytest.raises(MammoError, match=r"metadata\.csv of .* is damaged: .* download it again"):
        planned(embed, release)


def test_the_datathon_s_severity_5_is_no_benign(tmp_path):
    row = finding(side="L", asses="S", bside="L", path_severity="5")
    assert one(tmp_path / "open", (), row).pathology == "benign"
    assert one(tmp_path / "nus", (), row | {"exam_birads": "4"}).pathology == "unknown"


def test_the_fullest_tables_are_read(tmp_path):
    copy(tmp_path, [image()], [finding(asses="B")])
    few = {key: image()[key] for key in ("empi_anon", "acc_anon", "anon_dicom_path")}
    few |= {"FinalImageType": "cview"}
    (tmp_path / "tables/EMBED_OpenData_metadata_reduced.csv").write_bytes(text([few] * 50))
    (tmp_path / "images/cohort_1/90000001/1.2.1/1.2.2").mkdir(parents=True)
    (tmp_path / "images/cohort_1/90000001/1.2.1/1.2.2/1.2.3.1.dcm").touch()
    [film] = films(planned(embed, Release.open(str(tmp_path)))).values()
    assert film.modality == "FFDM"


def test_patients_come_in_natural_order_and_one_after_the_other():
    rows = [("20", "b", "2"), ("3", "a", "1"), ("20", "a", "9"), ("20", "a", "1")]
    names = ("empi_anon", "acc_anon", "anon_dicom_path")
    table = pa.table(dict(zip(names, zip(*rows, strict=True), strict=True)))
    found = [(name, [row["anon_dicom_path"] for row in group]) for name, group in by_patient(table)]
    assert found == [("3", ["1"]), ("20", ["1", "9", "2"])]


# ---- the phantom


@pytest.mark.parametrize(
    ("layout", "edition"), [("A", "open"), ("B", "open"), ("A", "nus")], ids="-".join
)
def test_every_layout_and_edition_is_read_as_it_was_drawn(tmp_path, layout, edition):
    root = tmp_path / "embed"
    truth = phantom.write(root, 8, 5, layout=layout, edition=edition, scale=0.4)
    made = planned(embed, Release.open(str(root)))
    told = films(made)
    assert Counter(film.expect for film in truth.films) == {"sample": 36, "reject": 3, "absent": 1}
    for film in truth.expected("sample"):
        found = told[film.film_key]
        assert (found.pathology, found.label_basis) == (film.pathology, film.label_basis)
        assert (found.birads, found.density, found.age) == (
            *(film.birads, film.density_letter, film.age),
        )
        assert (found.annotation, found.pair_key, found.modality) == (
            *(film.annotation, film.pair, film.modality),
        )
        kernel = {"geometry_mirrored", "geometry_suspect"}
        assert set(found.flags) == set(film.flags) - kernel
        assert_boxes(root, found, film)


def assert_boxes(root: Path, found, film) -> None:
    """Hold a film's boxes, settled by its file's own header, against the drawer's."""
    from etl.readers.dicom import read_header

    header = read_header((root / film.path).read_bytes(), whole=True)
    picture = Picture(array=np.zeros((film.rows, film.columns), np.uint16), bits_stored=12,
                      header=header)  # fmt: skip
    settled, _ = settle_frame(found, picture)
    drawn = {lesion.lesion_id: lesion.outline for lesion in film.lesions}
    for lesion in settled.lesions:
        assert (lesion.geometry is None) == (drawn[lesion.lesion_id] is None)
        if lesion.geometry and "geometry_mirrored" not in film.flags:
            values = drawn[lesion.lesion_id]["values"]
            assert lesion.geometry.values == pytest.approx(values, abs=0.5)


def test_verify_says_what_a_copy_lacks(tmp_path):
    root = tmp_path / "embed"
    phantom.write(root, 8, 5, scale=0.4)
    said = "\n".join(
        f"{x.what} {x.meaning}" for x in embed.verify(Release.open(str(root)), HeaderIndex())
    )
    for part in (
        "39 images, 12 findings, 8 patients",
        "38 of 39 images are in this copy",
        "1 DICOM files have no row in tables/EMBED_OpenData_metadata.csv",
        "1 exams have images and no clinical row",
        "in coordinates of the PNG",
        "spot_mag holds 1.0 (1), of HOLOGIC, Inc.",
    ):
        assert part in said, said


def test_the_kernel_tries_the_mirror_where_a_box_lies_beside_the_breast(tmp_path):
    root = tmp_path / "embed"
    truth = phantom.write(root, 8, 0, scale=0.5)
    told = films(planned(embed, Release.open(str(root))))
    drawn = [film for film in truth.expected("sample") if film.patient == "90000007"]
    assert len(drawn) == 5
    for film in drawn:
        made = standardise(
            told[film.film_key],
            lambda ref: (root / ref.path).read_bytes(),
            Spec(),
            embed.RELEASE,
            embed.resolve,
        )
        assert isinstance(made, Sample)
        [lesion], [wanted] = made.lesions, film.lesions
        box = [lesion[f"native_{name}"] for name in ("x0", "y0", "x1", "y1")]
        assert made.row["quality_flags"] == film.flags, film.traps
        if "suspect" not in film.traps:  # which way round it lies nobody can tell
            assert box == pytest.approx(wanted.outline["values"], abs=0.5), film.traps
