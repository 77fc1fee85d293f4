"""CBIS-DDSM's official tables over every layout; truth is counted from the csv by other means."""

from __future__ import annotations

import random
import time
from collections import Counter, defaultdict

import pytest

from etl.sources import source
from etl.split import sides
from schemas.release import HeaderIndex, Release
from schemas.vocabulary import Split
from tests.sources.cbis_listing import FILM, TABLES, header, path_in, places, rows_of
from tests.sources.copies import absent, copy_of, films, planned, rejects

CBIS = source("cbis_ddsm")
KAGGLE_LACKS = "Calc-Training_P_01563_RIGHT_MLO_2"


@pytest.fixture(scope="module")
def tables(shared):
    folder = shared / "data/tables/cbis-ddsm"
    return {name: (folder / name).read_bytes() for name in TABLES}


@pytest.fixture(scope="module")
def rows(tables):
    return [row | {"table": name} for name in TABLES for row in rows_of(tables[name])]


@pytest.fixture(scope="module")
def truth(rows):
    """What each film must be, from the csv alone: label, lesions, official sides of its patient."""
    order = ["MALIGNANT", "BENIGN", "BENIGN_WITHOUT_CALLBACK"]
    views, official, of_film = defaultdict(list), defaultdict(set), defaultdict(list)
    for row in rows:
        views[row["patient_id"], row["left or right breast"], row["image view"]].append(row)
        official[row["patient_id"]].add("test" if "test" in row["table"] else "train")
        of_film[row[FILM].split("/")[0]].append(row)
    found = {}
    for key, own in of_film.items():
        seen = views[own[0]["patient_id"], own[0]["left or right breast"], own[0]["image view"]]
        found[key] = (
            min((row["pathology"] for row in seen), key=order.index),
            sorted((row["abnormality id"], row["pathology"]) for row in own),
            official[own[0]["patient_id"]],
        )
    return found


@pytest.fixture(scope="module")
def every_place(rows):
    return places(rows)


@pytest.fixture(scope="module")
def plan_a(tables, every_place, tmp_path_factory):
    root = tmp_path_factory.mktemp("a")
    return planned(CBIS, copy_of(root, tables, [path_in("A", place) for place in every_place]))


@pytest.fixture(scope="module")
def made(plan_a):
    return films(plan_a)


WORDS = {
    ("malignant", "biopsy"): "MALIGNANT",
    ("benign", "biopsy_or_imaging"): "BENIGN",
    ("benign", "reader"): "BENIGN_WITHOUT_CALLBACK",
}


def said(film):
    """Return a film in the terms of `truth`."""
    return (
        WORDS[film.pathology.value, film.label_basis.value],
        sorted((lesion.lesion_id, lesion.label_raw) for lesion in film.lesions),
        {side.value for side in film.official_sides},
    )


def joined(found):
    """Return which files each film and lesion was given, by the release's own ids."""
    return {
        key: {ref.lesion: len(film.rois(ref.lesion)) if ref.lesion else 1 for ref in film.files}
        for key, film in found.items()
    }


def test_every_film_says_what_its_rows_say(made, truth):
    assert {key: said(film) for key, film in made.items()} == truth


def test_the_published_counts_hold(plan_a, made, rows):
    assert len(plan_a) == len(made) == 3103
    assert sum(len(film.lesions) for film in made.values()) == len(rows) == 3568
    assert len({film.patient_key for film in made.values()}) == 1566
    views = {(film.patient_key, film.laterality, film.view) for film in made.values()}
    assert len(views) == 3032
    pairs = Counter(film.pair_key for film in made.values() if film.pair_key)
    assert (len(pairs), set(pairs.values())) == (71, {2})
    assert {film.annotation.value for film in made.values() if film.pair_key} == {"partial"}
    assert {film.annotation.value for film in made.values() if not film.pair_key} == {"complete"}


def test_labels_of_merged_views_are_the_published_ones(made):
    views = {(f.patient_key, f.laterality, f.view): said(f)[0] for f in made.values()}
    assert Counter(views.values()) == {
        **{"MALIGNANT": 1347, "BENIGN": 1305, "BENIGN_WITHOUT_CALLBACK": 380}
    }
    mixed = [key for key, film in made.items() if len({x.label_raw for x in film.lesions}) > 1]
    assert len(mixed) == 19


def test_lesions_by_table_have_the_published_labels(made):
    counts = defaultdict(Counter)
    for key, film in made.items():
        for lesion in film.lesions:
            counts[key.split("-")[0], film.official_split][lesion.label_raw] += 1
    words = ("MALIGNANT", "BENIGN", "BENIGN_WITHOUT_CALLBACK")
    assert {table: tuple(count[word] for word in words) for table, count in counts.items()} == {
        ("Mass", "train"): (637, 577, 104),
        ("Mass", "test"): (147, 194, 37),
        ("Calc", "train"): (544, 528, 474),
        ("Calc", "test"): (129, 130, 67),
    }


def test_patients_of_both_splits_are_all_in_test(made):
    where = sides(made.values())
    both = {film.patient_key for film in made.values() if len(film.official_sides) == 2}
    assert len(both) == 31
    assert {where["cbis_ddsm", patient][0] for patient in both} == {Split.TEST}
    test = {film.patient_key for film in made.values() if film.official_split == "test"}
    assert {patient for (_, patient), side in where.items() if side[0] is Split.TEST} == test
    assert len(test) == 349


def test_one_patient_alone_has_two_densities(made):
    flagged = {f.patient_key for f in made.values() if "density_conflict" in f.flags}
    assert flagged == {"P_01264"}
    assert {f.density for f in made.values() if f.patient_key == "P_01743"} == {None}


def test_every_file_of_the_release_is_given_to_one_film(made, every_place):
    given = Counter(ref.path for film in made.values() for ref in film.files)
    assert set(given) == {path_in("A", place) for place in every_place}
    assert set(given.values()) == {1}
    assert len(given) == 10_239


def test_films_come_patient_by_patient_in_order(plan_a):
    patients = [film.patient_key for film in plan_a]
    assert patients == sorted(patients)


def test_the_plan_of_all_tables_is_quick(tables, every_place, tmp_path):
    release = copy_of(tmp_path, tables, [path_in("B", place) for place in every_place])
    start = time.process_time()
    planned(CBIS, release)
    took = time.process_time() - start
    print(f"plan of 3,103 films over 10,239 files: {took:.2f} s of CPU")
    assert took < 20


@pytest.mark.parametrize("layout", ["B", "C", "E", "F"])
def test_layouts_join_without_headers(layout, made, tables, every_place, tmp_path):
    kept = [p for p in every_place if layout != "E" or p.patient != KAGGLE_LACKS]
    release = copy_of(tmp_path, tables, [path_in(layout, place) for place in kept])
    assert CBIS.files_to_index(release) == ()
    plan = planned(CBIS, release)
    expected = joined(made)
    if layout == "E":
        film = films(plan)["Calc-Training_P_01563_RIGHT_MLO"]
        assert (film.flags, film.annotation) == (("lossy", "mask_missing"), "partial")
        del expected[film.film_key]["2"]
    assert joined(films(plan)) == expected
    assert (absent(plan), rejects(plan)) == ([], [])
    lossy = sum("lossy" in film.flags for film in films(plan).values())
    assert lossy == (3103 if layout == "E" else 0)


def test_backslashes_and_plain_records_join_as_well(made, tables, every_place, tmp_path):
    changed = {
        name: data.replace(b'\n"', b'"').replace(b"/", b"\\").replace(b"N/A", b"NA")
        for name, data in tables.items()
    }
    changed = {name: data.replace(b"N\\A", b"NA") for name, data in changed.items()}
    release = copy_of(tmp_path, changed, [path_in("A", place) for place in every_place])
    assert films(planned(CBIS, release)) == made


def test_line_feeds_alone_change_nothing(made, tables, every_place, tmp_path):
    unix = {name: data.replace(b"\r\n", b"\n") for name, data in tables.items()}
    release = copy_of(tmp_path, unix, [path_in("A", place) for place in every_place])
    assert films(planned(CBIS, release)) == made


def test_a_flat_folder_needs_headers_and_joins_by_them(made, tables, every_place, tmp_path):
    paths = {path_in("flat", place): place for place in every_place}
    assert len(paths) == 10_239
    release = copy_of(tmp_path, tables, paths)
    assert set(CBIS.files_to_index(release)) == set(paths)
    index = HeaderIndex({path: header(place) for path, place in paths.items()})
    assert joined(films(planned(CBIS, release, index))) == joined(made)
    assert len(absent(planned(CBIS, release))) == 3103


def test_a_metadata_csv_stands_for_headers(made, tables, every_place, tmp_path):
    folders = {place: f"x/{n // 900}/{n}" for n, place in enumerate(every_place)}
    lines = ["Series UID,Collection,Subject ID,Study UID,Number of Images,File Location"]
    for place, folder in folders.items():
        location = ".\\" + folder.replace("/", "\\")
        lines.append(f"{place.series},CBIS-DDSM,{place.patient},{place.study},1,{location}")
    listing = [f"{folder}/1-1.dcm" for folder in folders.values()]
    metadata = {"metadata.csv": "\r\n".join(lines).encode()}
    release = copy_of(tmp_path, tables | metadata, listing)
    assert CBIS.files_to_index(release) == ()
    assert films(planned(CBIS, release)).keys() == made.keys()


def test_a_shuffled_listing_plans_the_same(plan_a, tables, every_place, tmp_path):
    release = copy_of(tmp_path, tables, [path_in("A", place) for place in every_place])
    entries = random.Random(7).sample(release.entries, len(release.entries))
    assert planned(CBIS, Release(root=release.root, entries=tuple(entries))) == plan_a


@pytest.mark.parametrize("kept", [TABLES[1:2], TABLES[2:]], ids=["one table", "two tables"])
def test_any_subset_of_the_tables_plans_its_own_films(kept, tables, rows, tmp_path):
    own = [row for row in rows if row["table"] in kept]
    images = [path_in("B", place) for place in places(own)]
    release = copy_of(tmp_path, {name: tables[name] for name in kept}, images)
    plan = planned(CBIS, release)
    assert set(films(plan)) == {row[FILM].split("/")[0] for row in own}
    assert len(plan) == len(films(plan))
    wrong = [remark.what for remark in CBIS.verify(release, HeaderIndex()) if not remark.ok]
    assert sum(what.startswith("no table") for what in wrong) == 4 - len(kept)


def test_verify_finds_nothing_wrong_with_a_complete_copy(tables, every_place, tmp_path):
    release = copy_of(tmp_path, tables, [path_in("B", place) for place in every_place])
    remarks = list(CBIS.verify(release, HeaderIndex()))
    assert [remark.what for remark in remarks if not remark.ok] == []
    said = [remark.what for remark in remarks]
    assert "table Calc test: 326 of 326 records in calc_case_description_test_set.csv" in said
    assert "patients in both official splits: 31 of 31" in said
    assert "3568 of 3568 lesions have mask and crop files" in said


# Three films by hand, from the rows printed in the tables.
def test_a_mass_film_written_by_hand(made):
    film = made["Mass-Test_P_00016_LEFT_CC"]
    (lesion,) = film.lesions
    assert (film.patient_key, film.laterality, film.view) == ("P_00016", "L", "CC")
    assert (film.pathology, film.label_basis, film.label_scope) == ("malignant", "biopsy", "lesion")
    assert (film.birads, film.density, film.density_scale) == ("5", "D", "birads")
    assert (lesion.shape, lesion.margin, lesion.subtlety) == (("irregular",), ("spiculated",), 5)
    assert film.image.path.split("/")[2].endswith("114172")
    assert [path[-16:] for path in (ref.path for ref in film.rois("1"))] == [
        *("26184/000001.dcm", "26184/000000.dcm")
    ]
    # this patient is also in the training table of the calcifications
    assert (film.official_split, film.official_sides) == ("test", ("train", "test"))
    assert (film.native_pixel_mm, film.image_size, film.age) == (None, None, None)


def test_a_calcification_film_written_by_hand(made):
    film = made["Calc-Training_P_00005_RIGHT_CC"]
    (lesion,) = film.lesions
    assert (film.laterality, film.view, film.pathology, film.density) == (
        "R",
        "CC",
        "malignant",
        "C",
    )
    assert (lesion.finding, lesion.calc_type) == ("calcification", ("amorphous",))
    assert (lesion.distribution, lesion.shape, lesion.margin) == (("clustered",), (), ())
    assert (film.annotation, film.annotation_kind) == ("complete", "coarse_outline")
    assert (film.official_split, film.official_sides, film.flags) == ("train", ("train",), ())
    assert film.raw.finding == "calcification AMORPHOUS CLUSTERED"


def test_a_film_with_crop_and_mask_in_two_series_written_by_hand(made):
    film = made["Mass-Training_P_00059_LEFT_CC"]
    assert [ref.path.split("/")[2][-6:] for ref in film.rois("1")] == ["282600", "102767"]
    assert (film.lesions[0].shape, film.lesions[0].margin) == (("oval",), ("obscured",))
    assert (film.pathology, film.birads, film.density) == ("malignant", "3", "A")
