"""The phantom BCS-DBT release against its published layout, read here by the simplest means."""

from __future__ import annotations

import csv
import re
from collections import Counter, defaultdict
from dataclasses import replace

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.pixels import pixel_array
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from etl import phantoms
from etl.phantoms import bcs_dbt
from etl.phantoms.bcs_cases import plan_patient
from etl.phantoms.texture import generator
from etl.phantoms.truth import load_mask
from schemas.errors import UsageError
from tests.phantoms.conftest import SEED
from tests.phantoms.test_growth import digests

KINDS = ("labels", "boxes", "file-paths")


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    root = tmp_path_factory.mktemp("phantoms") / "bcs_dbt"
    return root, bcs_dbt.write(root, 8, SEED, scale=0.4)


def rows(root, kind):
    """Return the rows of a kind of table over all splits, each with its split."""
    found = []
    for split in ("train", "validation", "test"):
        (path,) = root.glob(f"*{kind}-{split}*")
        found += [{**row, "split": split} for row in csv.DictReader(path.open(newline=""))]
    return found


def key(row):
    return f"{row['PatientID']}/{row['StudyUID']}/{row['View']}"


def files(root, truth):
    """Return the whole files by path, unread those that were cut."""
    cut = {film.path for film in truth.films if "truncated" in film.traps}
    paths = {path.relative_to(root).as_posix(): path for path in root.rglob("*.dcm")}
    return {name: None if name in cut else dcmread(path) for name, path in paths.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_titles_are_those_of_the_real_tables(release, shared, kind):
    (real,) = (shared / "data/tables/bcs-dbt").glob(f"*-{kind}-train*.csv")
    with real.open("rb") as file:
        titles = file.readline()
    tables = sorted(release[0].glob(f"*{kind}*"))
    assert len(tables) == 3
    assert all(table.read_bytes().startswith(titles) for table in tables)


def test_studies_are_whole_or_hold_their_annotated_views_alone(release):
    root, _ = release
    boxed = {key(row) for row in rows(root, "boxes")}
    studies = defaultdict(list)
    for row in rows(root, "labels"):
        words = [word for word in ("Normal", "Actionable", "Benign", "Cancer") if row[word] == "1"]
        assert len(words) == 1
        studies[row["StudyUID"], words[0]].append(key(row))
    for (_, word), volumes in studies.items():
        if word in ("Benign", "Cancer"):
            assert set(volumes) <= boxed
        else:
            assert len(volumes) == 4
            assert not set(volumes) & boxed
    assert {row["split"] for row in rows(root, "labels")} == {"train", "validation", "test"}
    odd = {key(row)[-5:] for row in rows(root, "labels") if key(row)[-1].isdigit()}
    assert odd == {"rmlo1", "/lcc2", "lmlo1"}


def test_headers_are_as_misleading_as_the_real_ones(release):
    for header in filter(None, files(*release).values()):
        assert header.SOPClassUID == "1.2.840.10008.5.1.4.1.1.13.1.3"
        assert header.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.4.90"
        assert (header.BitsAllocated, header.BitsStored) == (16, 10)
        groups = header.SharedFunctionalGroupsSequence[0]
        assert groups.FrameAnatomySequence[0].FrameLaterality == "L"
        assert "WindowCenter" in groups.FrameVOILUTSequence[0]
        assert not {"WindowCenter", "PixelSpacing", "ImageLaterality"} & set(header.dir())
        at = header.PixelData.index(b"\xff\x4f\xff\x51")
        assert header.PixelData[at + 42] + 1 == 16  # T.800 A.5.1: precision less one


def test_folders_are_those_of_older_and_newer_retrievers(release):
    root, truth = release
    found = set(files(root, truth))
    pattern = re.compile(
        r"manifest-\d{13}/Breast-Cancer-Screening-DBT/DBT-P\d{5}/01-01-2000-DBT-S\d{5}-.*-\d{5}/"
        r"\d{5}\.000000-(NA-)?\d{5}/1-1\.dcm"
    )
    matches = [pattern.fullmatch(path) for path in found]
    assert all(matches)
    assert {bool(match[1]) for match in matches} == {True, False}
    gone = {film.path for film in truth.expected("absent")}
    assert {film.path for film in truth.films} == found | gone
    tabled = {row["descriptive_path"] for row in rows(root, "file-paths")}
    assert not any("NA-" in path for path in tabled)
    assert {path.split("/", 1)[1] for path in found} - tabled


def test_three_volumes_lie_upside_down_and_boxes_do_not(release):
    root, truth = release
    stored = files(root, truth)
    turned = {film.path for film in truth.films if film.upside_down}
    assert len(turned) == 3
    tabled = {(key(row), row["Slice"]): row for row in rows(root, "boxes")}
    for film in truth.expected("sample"):
        frame = pixel_array(stored[film.path], index=0).astype(int)
        right = frame[:, 0].sum() < frame[:, -1].sum()
        assert (right != (film.side == "R")) == film.upside_down
        volume, _, place = film.film_key.rpartition("/")
        if len(film.lesions) == 1 and "beyond" not in film.traps:
            row = tabled[volume, place]
            x0, y0, x1, y1 = film.lesions[0].outline["values"]
            if film.upside_down:
                x0, y0 = film.columns - x1, film.rows - y1
            assert (int(row["X"]), int(row["Y"])) == (x0, y0)


def test_boxes_hold_the_lesions_in_the_stored_picture(release):
    root, truth = release
    count = 0
    for film in truth.films:
        for lesion in film.lesions:
            x0, y0, x1, y1 = lesion.outline["values"]
            assert 0 <= x0 <= lesion.box[0] < lesion.box[2] <= x1 <= film.columns
            assert 0 <= y0 <= lesion.box[1] < lesion.box[3] <= y1 <= film.rows
            assert load_mask(root, lesion.mask).sum() == lesion.area > 0
            count += 1
    assert count >= 12


def test_a_lesion_is_sharpest_in_its_own_slice():
    study = plan_patient(0, SEED, traps=True, damage=False)[0]
    volume = bcs_dbt.draw(0, 0, study, study.views[1], SEED, scale=0.5)
    (focus,) = volume.foci
    without = replace(volume, foci=[])
    there = focus.drawn.mask
    contrast = [
        np.std(volume.frame(number)[there] - without.frame(number)[there].astype(float))
        for number in range(focus.slice, focus.slice + 4)
    ]
    assert contrast == sorted(contrast, reverse=True)
    assert contrast[0] > 1.5 * contrast[3] > 0


def test_every_trap_of_the_release_is_there(release):
    _, truth = release
    traps = Counter(trap for film in truth.films for trap in film.traps)
    assert set(traps) == {
        *("same_slice", "two_slices", "upside_down", "repeat", "bright", "beyond"),
        *("absent", "truncated", "no_table_row"),
    }
    flags = {flag for film in truth.films for flag in film.flags}
    assert flags == {"bits_mismatch", "geometry_clipped", "male", "repeat"}
    assert phantoms.Truth.load(release[0]) == truth


def test_same_seed_same_bytes_and_more_patients_begin_alike(release, tmp_path):
    root, _ = release
    bcs_dbt.write(tmp_path / "r", 2, SEED, scale=0.4, damage=True)
    few, many = digests(tmp_path / "r"), digests(root)
    volumes = [name for name in few if name.endswith(".dcm")]
    assert len(volumes) == 6
    assert all(many[name] == few[name] for name in volumes)
    for table in tmp_path.glob("r/*train*.csv"):
        assert (root / table.name).read_bytes().startswith(table.read_bytes())


def test_older_copies_lack_labels_of_validation_and_test(tmp_path):
    truth = bcs_dbt.write(tmp_path / "r", 6, SEED, scale=0.2, labels="train", spaced=True)
    names = {path.name for path in (tmp_path / "r").glob("*.csv")}
    assert "BCS-DBT labels-train-v2.csv" in names
    assert len(names) == 5
    last = [film for film in truth.films if film.official_split == "validation"]
    assert {(film.pathology, film.label_basis, film.annotation) for film in last} == {
        ("unknown", "unknown", "none")
    }
    assert {film.film_key[-2:] for film in last} == {"d0", "d1"}


def test_wrong_options_are_refused(tmp_path):
    with pytest.raises(UsageError, match="no layout 'flat'; there are descriptive, classic"):
        bcs_dbt.write(tmp_path / "r", 1, layout="flat")
    with pytest.raises(UsageError, match="1 to 9999 patients, not 0"):
        bcs_dbt.write(tmp_path / "r", 0)


# ---- nothing but the shape of a lesion tells


def numbers(volume, frame):
    frame = frame.astype(np.float64)
    inside = frame[volume.film.breast]
    return [
        *(volume.count, *frame.shape),
        *(frame.mean(), frame.std(), inside.mean(), inside.std(), volume.film.breast.mean()),
    ]


@pytest.fixture(scope="module")
def drawn():
    """Numbers, lesion, malignant and patient of slices as a reader takes them, and of slabs."""
    found = {"slices": [], "slabs": []}
    for index in range(120):
        (study,) = plan_patient(index, SEED, traps=False, damage=False)
        for view in study.views:
            volume = bcs_dbt.draw(index, 0, study, view, SEED, scale=0.3)
            rng = generator(SEED, "depths of a test", index, view.view)
            depths = rng.uniform((0.25, 0.5), (0.5, 0.75))
            places = [focus.slice for focus in volume.foci] or [
                int(depth * volume.count) for depth in depths
            ]
            told = (bool(volume.foci), study.word == "Cancer", index)
            frames = [volume.frame(number) for number in range(volume.count)]
            for place in places:
                facts = [(place + 0.5) / volume.count, *numbers(volume, frames[place])]
                found["slices"].append((facts, *told))
            found["slabs"].append((numbers(volume, np.mean(frames, axis=0)), *told))
    return found


@pytest.mark.parametrize("kind", ["slices", "slabs"])
@pytest.mark.parametrize("question", ["lesion or none", "malignant or benign"])
def test_kind_depth_size_mean_and_spread_tell_nothing(drawn, kind, question, capsys):
    chosen = [one for one in drawn[kind] if question == "lesion or none" or one[1]]
    facts = np.array([one[0] for one in chosen])
    label = np.array([one[1 if question == "lesion or none" else 2] for one in chosen])
    patients = np.array([one[3] for one in chosen])
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1))
    scores = cross_val_predict(
        *(model, facts, label), groups=patients, cv=GroupKFold(5), method="decision_function"
    )
    together = roc_auc_score(label, scores)
    alone = [roc_auc_score(label, column) if column.std() else 0.5 for column in facts.T]
    with capsys.disabled():
        print(f"\n{question}, {len(label)} {kind}: {together:.3f}; {np.round(alone, 3)}")
    assert 0.4 <= together <= 0.6
    assert all(0.4 <= one <= 0.6 for one in alone)
