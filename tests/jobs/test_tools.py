"""What is made of a finished corpus: card, differences, COCO; and what a run would take."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import schemas
from beam_jobs.cli import main
from beam_jobs.coco import _annotation, coco
from beam_jobs.diff import changes
from beam_jobs.estimate import COSTS
from beam_jobs.job import run_job
from beam_jobs.settings import Settings
from beam_jobs.show import contact_sheet
from etl.phantoms import write
from etl.pixels.encode import decode_mask
from etl.pixels.geometry import outline
from schemas.corpus import Corpus
from schemas.errors import UsageError
from schemas.film import Geometry
from schemas.vocabulary import GeometryKind, Modality


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("phantoms")
    write(root, ["cbis_ddsm"], 6, traps=False, scale=0.5)
    write(root, ["mias"], 3, traps=False)
    return root


@pytest.fixture(scope="module")
def versions(releases: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Corpus, Corpus]:
    """Two versions: MIAS, whose films may not be passed on; and CBIS-DDSM with it."""
    out = str(tmp_path_factory.mktemp("corpus") / "out")
    made = []
    for key in ("mias", "cbis_ddsm"):
        root = ((key, str(releases / key)),)
        made.append(run_job(Settings(output=out, releases=root, workers=2)).version)
    return schemas.open(f"{out}/{made[0]}"), schemas.open(f"{out}/{made[1]}")


@pytest.fixture
def both(versions: tuple[Corpus, Corpus]) -> Corpus:
    return versions[1]


# --- card ------------------------------------------------------------------------------------


def test_a_card_shows_pixels_only_where_the_licence_lets_them_be_passed_on(both: Corpus) -> None:
    path = Path(both.root, "cards", both.version, "index.html")
    assert main(["card", both.root, "--count", "2"]) == 0
    plain = path.read_text()
    assert plain.count("data:image/png;base64,") == 1
    assert "No picture of mias" in plain
    assert main(["card", both.root, "--count", "2", "--acknowledge-licence"]) == 0
    assert path.read_text().count("data:image/png;base64,") == 2
    assert json.loads(path.with_name("croissant.json").read_bytes())["name"].endswith(both.version)


def test_croissant_names_every_shard_with_its_digest(both: Corpus) -> None:
    import hashlib

    from etl.card import croissant

    tars = {
        one["@id"]: one
        for one in json.loads(croissant(both))["distribution"]
        if one.get("encodingFormat") == "application/x-tar"
    }
    assert set(tars) == set(both.frame(columns=["shard"])["shard"])
    for path, one in tars.items():
        assert hashlib.sha256(both.store.read(path)).hexdigest() == one["sha256"]


# --- diff ------------------------------------------------------------------------------------


def test_a_release_that_was_added_is_added_films_and_lesions(
    versions: tuple[Corpus, Corpus],
) -> None:
    found = list(changes(*versions))
    assert {(one.source, one.kind) for one in found} == {("cbis_ddsm", "added")}
    counts = versions[1].dataset.sources["cbis_ddsm"].counts
    assert sum(one.what == "film" for one in found) == counts.made
    assert sum(one.what == "lesion" for one in found) == counts.lesions
    assert {one.kind for one in changes(*versions[::-1])} == {"removed"}
    assert list(changes(versions[1], versions[1])) == []


def test_a_changed_label_is_named_with_both_words(
    both: Corpus, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(Path(both.root, both.version), tmp_path / "out" / both.version)
    (tmp_path / "out" / "LATEST").write_text(f"{both.version}\n")
    path = tmp_path / "out" / both.version / "manifest" / "mias.parquet"
    table = pq.read_table(path)
    rows = table.to_pylist()
    old = rows[0]["pathology"]
    new = "unknown" if old != "unknown" else "benign"
    rows[0].update(pathology=new, p50=rows[0]["p50"] * (1 + 1e-12))  # and a rounding, no change
    rows[1]["image_offset"] += 512  # where bytes lie is no difference
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), path)
    other = tmp_path / "changes.csv"
    assert main(["diff", both.root, str(tmp_path / "out"), "--csv", str(other)]) == 0
    shown = capsys.readouterr().out
    assert "pathology" in shown
    with other.open() as file:
        [line] = csv.DictReader(file)
    assert line["sample_id"] == rows[0]["sample_id"]
    assert (line["kind"], line["column"]) == ("changed", "pathology")
    assert (line["before"], line["after"]) == (old, new)


# --- estimate --------------------------------------------------------------------------------


def test_an_estimate_counts_films_and_bytes_from_the_plan(
    releases: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [f"{key}={releases / key}" for key in ("mias", "cbis_ddsm")]
    assert main(["estimate", "--release", words[0], "--release", words[1], "--workers", "4"]) == 0
    shown = capsys.readouterr().out
    rows = {
        cells[0].strip(): [cell.strip() for cell in cells[1:]]
        for line in shown.splitlines()
        if line.startswith("│")
        for cells in [line.strip("│").split("│")]
    }
    films = len(list((releases / "mias").glob("*.pgm")))
    assert rows["mias"][0] == str(films)
    size = sum(file.stat().st_size for file in (releases / "mias").glob("*.pgm"))
    assert float(rows["mias"][2]) == pytest.approx(size / 1e9, abs=0.006)
    assert int(rows["all"][0]) == films + int(rows["cbis_ddsm"][0])
    assert "dollars" in shown


def test_every_modality_has_its_cost() -> None:
    assert set(COSTS) == set(Modality)


# --- COCO ------------------------------------------------------------------------------------


def unpacked(segmentation: Any, size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Return a segmentation as a mask, by the format's own words."""
    if isinstance(segmentation, dict):
        values = np.arange(len(segmentation["counts"])) % 2
        flat = np.repeat(values, segmentation["counts"])
        return flat.reshape(segmentation["size"], order="F").astype(np.uint8)
    from matplotlib.path import Path as Outline

    y, x = np.mgrid[: size[0], : size[1]] + 0.5  # centres of pixels
    centres = np.stack([x.ravel(), y.ravel()], axis=1)
    inside = [Outline(np.array(r).reshape(-1, 2)).contains_points(centres) for r in segmentation]
    return np.any(inside, axis=0).reshape(size).astype(np.uint8)


def check_form(document: dict[str, Any]) -> None:
    """Fail where the document is not what cocodataset.org/#format-data says."""
    ids = {name: [one["id"] for one in document[name]] for name in ("images", "categories")}
    for listed in ids.values():
        assert len(set(listed)) == len(listed)
    sizes = {one["id"]: (one["height"], one["width"]) for one in document["images"]}
    licences = {one["id"] for one in document["licenses"]}
    assert {one["license"] for one in document["images"]} <= licences
    numbers = [one["id"] for one in document["annotations"]]
    assert numbers == list(range(1, len(numbers) + 1))
    for one in document["annotations"]:
        height, width = sizes[one["image_id"]]
        x, y, w, h = one["bbox"]
        assert one["category_id"] in ids["categories"]
        assert x >= 0
        assert y >= 0
        assert w > 0
        assert h > 0
        assert x + w <= width + 0.01
        assert y + h <= height + 0.01
        assert one["iscrowd"] == 0
        assert 0 < one["area"] <= (w + 1) * (h + 1)
        if isinstance(one["segmentation"], list):
            assert all(len(ring) >= 6 and len(ring) % 2 == 0 for ring in one["segmentation"])


def test_outlines_are_the_masks_of_the_shards(both: Corpus) -> None:
    made = coco(both)
    check_form(made.document)
    rows = dict(enumerate(made.rows, start=1))
    painted = {
        number: np.zeros((row["height"], row["width"]), np.uint8) for number, row in rows.items()
    }
    for one in made.document["annotations"]:
        mask = unpacked(one["segmentation"], painted[one["image_id"]].shape)
        ys, xs = np.nonzero(mask)
        x, y, w, h = one["bbox"]
        assert np.allclose([xs.min(), ys.min()], [x, y], atol=3)
        assert np.allclose([xs.max() + 1, ys.max() + 1], [x + w, y + h], atol=3)
        painted[one["image_id"]] |= mask
    compared = 0
    for number, row in rows.items():
        data = both.store.read_range(row["shard"], row["mask_offset"], row["mask_size"])
        stored = np.isin(decode_mask(data), (1, 2, 3))
        if stored.any():
            shared = (stored & (painted[number] > 0)).sum()
            either = (stored | (painted[number] > 0)).sum()
            assert shared / either > 0.9, row["sample_id"]
            compared += 1
    assert compared >= 6
    assert len(made.document["annotations"]) + made.unmarked == sum(
        row["n_lesions"] for row in made.rows
    )


def test_categories_may_be_pathologies(both: Corpus) -> None:
    made = coco(both, where="source = 'cbis_ddsm'", by="pathology").document
    names = {one["id"]: one["name"] for one in made["categories"]}
    assert {names[one["category_id"]] for one in made["annotations"]} == {"benign", "malignant"}
    assert all(names[one["category_id"]] == one["pathology"] for one in made["annotations"])


def test_images_without_drawn_lesions_do_not_go_out_as_empty(both: Corpus) -> None:
    made = coco(both)
    frame = both.frame()
    assert made.left_out == (frame["annotation"] == "none").sum()
    assert len(made.document["images"]) == len(frame) - made.left_out


def row_of(height: int, width: int) -> dict[str, Any]:
    return {
        "height": height, "width": width, "native_height": height, "native_width": width,
        "orientation": "identity", "crop_x": 0, "crop_y": 0, "scale": [1.0, 1.0],
    }  # fmt: skip


def lesion_of(kind: str, rings: Any, flags: tuple[str, ...] = ()) -> dict[str, Any]:
    return {
        "lesion_id": "1", "finding": "mass", "pathology": "benign", "label_basis": "reader",
        "geometry_kind": kind, "rings_native": rings, "flags": list(flags),
    }  # fmt: skip


SQUARE = [[10.0, 10.0], [30.0, 10.0], [30.0, 30.0], [10.0, 30.0]]
HOLE = [[15.0, 15.0], [25.0, 15.0], [25.0, 25.0], [15.0, 25.0]]
FAR = [[60.0, 60.0], [70.0, 60.0], [70.0, 70.0], [60.0, 70.0]]


@pytest.mark.parametrize(
    ("rings", "area"), [([SQUARE], 400), ([SQUARE, FAR], 500), ([SQUARE, HOLE], 300)]
)
def test_a_hole_stays_a_hole(rings: Any, area: int) -> None:
    [one] = _annotation(row_of(80, 90), lesion_of("mask", rings))
    assert one["area"] == area
    assert unpacked(one["segmentation"], (80, 90)).sum() == area
    assert isinstance(one["segmentation"], dict) == (HOLE in rings)


@pytest.mark.parametrize(
    ("kind", "flags"), [("point", ()), ("box", ("suspect",)), ("polyline", ())]
)
def test_what_has_no_extent_is_left_out(kind: str, flags: tuple[str, ...]) -> None:
    assert list(_annotation(row_of(80, 90), lesion_of(kind, [SQUARE], flags))) == []


def test_pixels_that_may_not_be_passed_on_are_refused_until_the_licence_is_acknowledged(
    both: Corpus, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "coco"
    words = ["export-coco", both.root, "--output", str(out), "--images"]
    assert main(words) == 2
    said = capsys.readouterr().err
    assert "mias (MIAS-research)" in said
    assert "--acknowledge-licence" in said
    assert not list(out.rglob("*.png"))
    assert main([*words, "--where", "redistributable"]) == 0
    assert {path.name.partition("-")[0] for path in out.rglob("*.png")} == {"cbis_ddsm"}
    assert main([*words, "--acknowledge-licence"]) == 0
    document = json.loads((out / "annotations.json").read_bytes())
    for image in document["images"]:
        pixels = cv2.imread(str(out / image["file_name"]), cv2.IMREAD_UNCHANGED)
        assert pixels.shape == (image["height"], image["width"])
        assert pixels.dtype == np.uint16
    assert main([*words[:3], str(tmp_path / "a.json"), "--images"]) == 2


def test_a_selection_without_drawn_lesions_is_said_in_a_sentence(both: Corpus) -> None:
    with pytest.raises(UsageError, match="no sample with drawn lesions"):
        coco(both, where="pathology = 'malignant' AND annotation = 'none'")


# --- show: each way of drawing ---------------------------------------------------------------

SHAPES = {
    "point": Geometry(kind=GeometryKind.POINT, values=(300.0, 400.0)),
    "circle": Geometry(kind=GeometryKind.CIRCLE, values=(300.0, 400.0, 60.0)),
    "ellipse": Geometry(kind=GeometryKind.ELLIPSE, values=(300.0, 400.0, 90.0, 40.0, 30.0)),
    "box": Geometry(kind=GeometryKind.BOX, values=(240.0, 340.0, 360.0, 460.0)),
}


@pytest.mark.parametrize("kind", SHAPES)
def test_each_kind_of_mark_is_seen_on_a_sheet_where_it_is(
    kind: str, both: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    [row, *_] = both.table("source = 'cbis_ddsm' AND orientation = 'identity'").to_pylist()
    rings = [[list(point) for point in ring] for ring in outline(SHAPES[kind])]
    lesions = both.lesions().iloc[:1].copy()
    lesions["sample_id"] = row["sample_id"]
    lesions["flags"] = [[]]
    lesions["pathology"] = "malignant"
    lesions["geometry_kind"] = kind
    lesions["rings_native"] = [rings]
    monkeypatch.setattr(Corpus, "lesions", lambda self, *_: lesions)
    sheet = contact_sheet(both, where=f"sample_id = '{row['sample_id']}'", tile=512)[:512]
    red = (sheet[..., 2].astype(int) - sheet[..., :2].max(axis=-1) > 80).nonzero()
    assert len(red[0]) >= 6
    scale = row["scale"][0] * 512 / max(row["height"], row["width"])
    centre = (400 - row["crop_y"]) * scale, (300 - row["crop_x"]) * scale
    assert np.allclose([np.mean([r.min(), r.max()]) for r in red], centre, atol=2)
