"""Looking at a finished corpus: the contact sheet, what is garbage, and what is broken."""

from __future__ import annotations

import itertools
import json
import re
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import google_crc32c
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import schemas
from beam_jobs.cli_corpus import collect, show
from beam_jobs.cli_corpus import validate as validate_command
from beam_jobs.gc import find_garbage
from beam_jobs.job import run_job
from beam_jobs.settings import Settings
from beam_jobs.show import COLOURS, contact_sheet
from beam_jobs.validate import Problem, validate
from etl.phantoms import write
from schemas.corpus import Corpus
from schemas.errors import MammoError, UsageError
from schemas.store import open_store
from schemas.vocabulary import Pathology

CAPTION = 34
TILE = 256


def settings(out: Path, releases: Path, *keys: str, **more: Any) -> Settings:
    roots = tuple((key, str(releases / key)) for key in sorted(keys))
    return Settings(output=str(out), releases=roots, workers=2, **more)


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("phantoms")
    write(root, ["cbis_ddsm"], 6, traps=False, scale=0.5)
    write(root, ["mias"], 1, traps=False)
    return root


@pytest.fixture(scope="module")
def pristine(releases: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus of phantom CBIS-DDSM films, drawn with lesions of both kinds."""
    out = tmp_path_factory.mktemp("pristine") / "corpus"
    run_job(settings(out, releases, "cbis_ddsm"))
    return out


@pytest.fixture
def corpus(pristine: Path, tmp_path: Path) -> Corpus:
    """A copy to damage."""
    shutil.copytree(pristine, tmp_path / "corpus")
    return schemas.open(str(tmp_path / "corpus"))


def path_of(corpus: Corpus, *parts: str) -> Path:
    return Path(corpus.root).joinpath(*parts)


def split_up(sheet: npt.NDArray[np.uint8], tile: int) -> list[npt.NDArray[np.uint8]]:
    """Return the pictures of a sheet without their captions, row by row; blank ones too."""
    height = tile + CAPTION
    return [
        sheet[y : y + tile, x : x + tile]
        for y in range(0, sheet.shape[0], height)
        for x in range(0, sheet.shape[1], tile)
    ]


def shows(picture: npt.NDArray[np.uint8], pathology: Pathology) -> int:
    """Count pixels near a label's colour."""
    distance = np.abs(picture.astype(int) - COLOURS[pathology]).max(axis=-1)
    return int((distance < 40).sum())


# --- contact sheet ---------------------------------------------------------------------------


@pytest.mark.parametrize("count", [48, 5, 1])
def test_a_sheet_has_a_tile_for_each_sample(pristine: Path, count: int) -> None:
    corpus = schemas.open(str(pristine))
    sheet = contact_sheet(corpus, count=count, tile=96)
    assert sheet.dtype == np.uint8
    assert sheet.shape[0] % (96 + CAPTION) == 0
    assert sheet.shape[1] % 96 == 0
    tiles = sum(bool(picture.any()) for picture in split_up(sheet, 96))
    assert tiles == min(count, corpus.table().num_rows)


@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize("pathology", [Pathology.BENIGN, Pathology.MALIGNANT])
def test_lesions_are_outlined_in_the_colour_of_their_label_where_they_are(
    pristine: Path, releases: Path, pathology: Pathology, native: bool
) -> None:
    corpus = schemas.open(str(pristine))
    where = f"pathology = '{pathology}' AND n_lesions = 1 AND orientation = 'hflip'"
    [row, *_] = corpus.table(where).to_pylist()
    [lesion] = corpus.lesions(f"sample_id = '{row['sample_id']}'").to_dict("records")
    roots = {"cbis_ddsm": str(releases / "cbis_ddsm")} if native else None
    sheet = contact_sheet(corpus, where=f"sample_id = '{row['sample_id']}'", tile=TILE, roots=roots)
    [picture] = split_up(sheet, TILE)
    other = {Pathology.BENIGN: Pathology.MALIGNANT, Pathology.MALIGNANT: Pathology.BENIGN}
    assert shows(picture, pathology) > 12
    assert shows(picture, other[pathology]) == 0
    prefix = "native_" if native else ""
    scale = TILE / max(row[f"{prefix}height"], row[f"{prefix}width"])
    x0, y0, x1, y1 = (lesion[f"{prefix}{name}"] * scale for name in ("x0", "y0", "x1", "y1"))
    near = np.zeros((TILE, TILE, 1), bool)
    near[max(int(y0) - 2, 0) : int(y1) + 3, max(int(x0) - 2, 0) : int(x1) + 3] = True
    assert shows(np.where(near, 0, picture), pathology) == 0
    middle = int((x0 + x1) / 2)
    assert shows(picture[:, :middle], pathology) > 3
    assert shows(picture[:, middle:], pathology) > 3  # all around it


def test_a_native_tile_is_the_film_as_stored(pristine: Path, releases: Path) -> None:
    corpus = schemas.open(str(pristine))
    [row, *_] = corpus.table("orientation = 'hflip'").to_pylist()
    where = f"sample_id = '{row['sample_id']}'"
    roots = {"cbis_ddsm": str(releases / "cbis_ddsm")}
    [stored] = split_up(contact_sheet(corpus, where=where, tile=TILE, roots=roots), TILE)
    [standard] = split_up(contact_sheet(corpus, where=where, tile=TILE), TILE)
    width = round(row["native_width"] * TILE / row["native_height"])
    stored, half = stored[:, :width].mean(axis=-1), width // 2
    assert stored[:, half:].mean() > stored[:, :half].mean()  # a right breast, chest wall right
    assert standard[:, : TILE // 4].mean() > standard[:, -TILE // 4 :].mean()


def test_the_command_writes_the_sheet_as_png(
    pristine: Path, releases: Path, tmp_path: Path
) -> None:
    output = tmp_path / "new" / "sheet.png"
    native = [f"cbis_ddsm={releases / 'cbis_ddsm'}"]
    show(str(pristine), output=output, where="n_lesions > 0", count=4, tile=64, native=native)
    sheet = cv2.imread(str(output))
    assert sum(bool(picture.any()) for picture in split_up(sheet, 64)) == 4


@pytest.mark.parametrize("acknowledged", [False, True])
def test_films_that_may_not_be_passed_on_are_left_out_unless_the_licence_is_acknowledged(
    releases: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], acknowledged: bool
) -> None:
    run_job(settings(tmp_path / "out", releases, "mias", "cbis_ddsm"))
    corpus, sheet = str(tmp_path / "out"), tmp_path / "sheet.png"
    show(corpus, output=sheet, count=500, tile=32, acknowledge_licence=acknowledged)
    frame = schemas.open(corpus).frame(columns=["source"])
    tiles = sum(bool(picture.any()) for picture in split_up(cv2.imread(str(sheet)), 32))
    private = int((frame["source"] == "mias").sum())
    assert private
    assert tiles == len(frame) - (0 if acknowledged else private)
    remark = f"left out: {private} of mias, whose licence does not let pixels be passed on"
    assert (remark in capsys.readouterr().err) is not acknowledged


def test_a_sheet_of_private_films_alone_is_refused(releases: Path, tmp_path: Path) -> None:
    run_job(settings(tmp_path / "out", releases, "mias"))
    with pytest.raises(UsageError, match=r"of mias \(MIAS-research\): .*--acknowledge-licence"):
        show(str(tmp_path / "out"), output=tmp_path / "sheet.png")
    assert not (tmp_path / "sheet.png").exists()


@pytest.mark.parametrize(
    ("where", "native", "sentence"),
    [
        ("pathology = 'normal' AND age = 7", None, "no sample matches --where"),
        ("no_such_column = 1", None, "no_such_column"),
        (None, {"mias": "elsewhere"}, "add --release cbis_ddsm=PATH"),
    ],
)
def test_what_a_sheet_cannot_show_is_said_in_a_sentence(
    pristine: Path, where: str | None, native: dict[str, str] | None, sentence: str
) -> None:
    with pytest.raises(UsageError, match=sentence):
        contact_sheet(schemas.open(str(pristine)), where=where, roots=native)


def test_films_of_a_release_that_may_not_be_shared_are_not_looked_up_by_their_paths(
    releases: Path, tmp_path: Path
) -> None:
    run_job(settings(tmp_path / "out", releases, "mias"))
    corpus = schemas.open(str(tmp_path / "out"))
    with pytest.raises(MammoError, match="named only in the corpus's private/ folder"):
        contact_sheet(corpus, roots={"mias": str(releases / "mias")})


# --- garbage ---------------------------------------------------------------------------------

GARBAGE = {
    "shards/cbis_ddsm/train/0123456789abcdef-0123456789ab.tar": "no version names it",
    "shards/cbis_ddsm/train/0123456789abcdef.parquet": "no version names it",
    "v-0123456789ab/manifest/cbis_ddsm.parquet": "its version was never finished",
    ".tmp/20260101T000000Z-abcdef/part.tar": "left by a job that was killed",
    "plans/0123456789abcdef/tasks.parquet": "a plan; the next run writes its own",
}


def plant(corpus: Corpus) -> None:
    for name in GARBAGE:
        path = path_of(corpus, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"12345")


def test_only_what_was_planted_is_garbage(corpus: Corpus) -> None:
    shutil.rmtree(path_of(corpus, "plans"), ignore_errors=True)
    assert find_garbage(corpus.store) == []
    plant(corpus)
    found = find_garbage(open_store(corpus.root))
    assert {item.path: item.why for item in found} == GARBAGE
    assert {item.size for item in found} == {5}


def test_nothing_is_deleted_before_it_is_asked_for_and_nothing_needed_afterwards(
    corpus: Corpus, releases: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plant(corpus)
    collect(corpus.root)
    assert "not deleted" in capsys.readouterr().out
    assert all(path_of(corpus, name).exists() for name in GARBAGE)
    collect(corpus.root, delete=True)
    assert not any(path_of(corpus, name).exists() for name in GARBAGE)
    assert validate(schemas.open(corpus.root), deep=True) == []
    again = run_job(settings(Path(corpus.root), releases, "cbis_ddsm"))
    assert again.version == corpus.version
    assert again.report["sources"]["cbis_ddsm"]["shards_made"] == 0


def test_shards_stay_as_long_as_any_version_names_them(corpus: Corpus, releases: Path) -> None:
    first, root = corpus.version, Path(corpus.root)
    second = run_job(settings(root, releases, "mias", base="none")).version
    for plans in ("plans", "private/plans"):
        shutil.rmtree(root / plans, ignore_errors=True)
    assert find_garbage(corpus.store) == []
    shutil.rmtree(root / first)
    found = {item.path for item in find_garbage(corpus.store)}
    pool = {path.relative_to(root).as_posix() for path in (root / "shards").rglob("*.*")}
    assert found == {path for path in pool if path.startswith("shards/cbis_ddsm/")}
    assert validate(schemas.open(f"{root}/{second}"), deep=True) == []


# --- damage ----------------------------------------------------------------------------------

Rows = list[dict[str, Any]]


def edit(corpus: Corpus, table: str, change: Callable[[Rows], object]) -> None:
    """Rewrite the rows of `manifest` or `lesions`."""
    path = path_of(corpus, corpus.version, table, "cbis_ddsm.parquet")
    old = pq.read_table(path)
    rows = old.to_pylist()
    change(rows)
    pq.write_table(pa.Table.from_pylist(rows, schema=old.schema), path)


def edit_dataset(corpus: Corpus, **counts: int) -> None:
    path = path_of(corpus, corpus.version, "dataset.json")
    told = json.loads(path.read_text())
    told["sources"]["cbis_ddsm"]["counts"].update(counts)
    path.write_text(json.dumps(told))


def flip(corpus: Corpus, member: str) -> None:
    """Invert a byte in the middle of one sample's member."""
    [row, *_] = corpus.table("mask_offset IS NOT NULL").to_pylist()
    path = path_of(corpus, row["shard"])
    data = bytearray(path.read_bytes())
    data[row[f"{member}_offset"] + row[f"{member}_size"] // 2] ^= 0xFF
    path.write_bytes(data)


def shards(corpus: Corpus) -> list[Path]:
    return sorted(path_of(corpus, "shards").rglob("*.tar"))


def receipts(corpus: Corpus) -> list[Path]:
    return sorted(path_of(corpus, "shards").rglob("*.parquet"))


def swap(rows: Rows, member: str) -> None:
    """Let two rows of one shard and different size point to each other's member."""
    first, second = next(
        (a, b)
        for a, b in itertools.combinations(rows, 2)
        if a["shard"] == b["shard"]
        and a["width"] != b["width"]
        and a["mask_size"]
        and b["mask_size"]
    )
    for name in ("offset", "size", "crc32c"):
        key = f"{member}_{name}"
        first[key], second[key] = second[key], first[key]


def move(row: dict[str, Any]) -> None:
    """Let a row point a few bytes beside its image."""
    row["image_offset"] += 7


def redraw(corpus: Corpus) -> None:
    """Replace a mask by one that lies ten pixels lower, consistent in every checksum."""
    [row, *_] = corpus.table("mask_offset IS NOT NULL").to_pylist()
    path = path_of(corpus, row["shard"])
    old = path.read_bytes()
    stored = old[row["mask_offset"] : row["mask_offset"] + row["mask_size"]]
    mask = cv2.imdecode(np.frombuffer(stored, np.uint8), cv2.IMREAD_UNCHANGED)
    new = cv2.imencode(".png", np.roll(mask, 10, axis=0))[1].tobytes()
    member = tarfile.TarInfo(f"{row['sample_id']}.mask.png")
    member.size = len(new)
    head = member.tobuf(tarfile.USTAR_FORMAT)
    path.write_bytes(old + head + new)

    def point_there(rows: Rows) -> None:
        [mine] = [one for one in rows if one["sample_id"] == row["sample_id"]]
        mine["mask_offset"], mine["mask_size"] = len(old + head), len(new)
        mine["mask_crc32c"] = google_crc32c.value(new)

    edit(corpus, "manifest", point_there)


def shifted(rows: Rows) -> None:
    row = next(one for one in rows if one["rings_native"])
    row["rings_native"] = [[[x + 3, y] for x, y in ring] for ring in row["rings_native"]]


def leak(rows: Rows) -> None:
    several = next(one for one in rows if one["view"] == "CC" and one["split"] == "train")
    several["split"] = "test"


DAMAGE: dict[str, tuple[Callable[[Corpus], object], str]] = {
    "image of another": (
        lambda c: edit(c, "manifest", lambda rows: swap(rows, "image")),
        r"the manifest's place of its image is that of \S+\.png",
    ),
    "mask of another": (
        lambda c: edit(c, "manifest", lambda rows: swap(rows, "mask")),
        r"the manifest's place of its mask is that of \S+\.mask\.png",
    ),
    "place between members": (
        lambda c: edit(c, "manifest", lambda rows: move(rows[0])),
        "no member begins where the manifest says that its image is",
    ),
    "image byte": (lambda c: flip(c, "image"), "the image's bytes do not have the manifest's CRC"),
    "mask byte": (lambda c: flip(c, "mask"), "the mask's bytes do not have the manifest's CRC"),
    "json byte": (lambda c: flip(c, "json"), "KEY.json and the tables differ in"),
    "missing shard": (lambda c: shards(c)[0].unlink(), "the shard is missing"),
    "missing receipt": (lambda c: receipts(c)[0].unlink(), "the receipt is missing"),
    "longer shard": (
        lambda c: shards(c)[0].write_bytes(shards(c)[0].read_bytes() + b"x"),
        r"has \d+ bytes, its receipt says \d+",
    ),
    "count of samples": (
        lambda c: edit_dataset(c, made=99, planned=99),
        r"dataset\.json says 99 made, the tables have \d+",
    ),
    "count of patients": (
        lambda c: edit_dataset(c, patients=1),
        r"dataset\.json says 1 patients, the tables have 6",
    ),
    "balance": (
        lambda c: edit_dataset(c, planned=99),
        r"planned 99 is not made \+ rejected \+ absent",
    ),
    "lesion moved": (
        lambda c: edit(c, "lesions", shifted),
        "KEY.json and the tables differ in lesions",
    ),
    "lesion relabelled": (
        lambda c: edit(c, "lesions", lambda rows: rows[0].update(pathology="unknown")),
        "KEY.json and the tables differ in lesions",
    ),
    "lesion gone": (
        lambda c: edit(c, "lesions", lambda rows: rows.pop(0)),
        r"n_lesions is \d, the lesions table has \d",
    ),
    "lesion of nobody": (
        lambda c: edit(c, "lesions", lambda rows: rows[0].update(sample_id="cbis_ddsm-0")),
        "lesions point to a sample that the manifest does not have",
    ),
    "row twice": (
        lambda c: edit(c, "manifest", lambda rows: rows.append(rows[0])),
        "the manifest has 2 rows with this sample_id",
    ),
    "label": (
        lambda c: edit(c, "manifest", lambda rows: rows[0].update(label_basis="follow_up")),
        "KEY.json and the tables differ in label_basis",
    ),
    "unknown word": (
        lambda c: edit(c, "manifest", lambda rows: rows[0].update(pathology="odd")),
        "manifest: .*pathology.*odd",
    ),
    "leak": (lambda c: edit(c, "manifest", leak), "this patient_id stands on both test and train"),
    "mask forgotten": (
        lambda c: edit(
            c,
            "manifest",
            lambda rows: rows[0].update(mask_offset=None, mask_size=None, mask_crc32c=None),
        ),
        "annotation is 'complete' and the mask is absent",
    ),
}
DEEP: dict[str, tuple[Callable[[Corpus], object], str]] = {
    "mask drawn elsewhere": (redraw, r"drawn again from the lesions table, \d+ pixels"),
}


def said(problems: list[Problem]) -> str:
    return "\n".join(str(problem) for problem in problems)


def test_an_undamaged_version_has_no_problem(corpus: Corpus) -> None:
    assert validate(corpus, deep=True) == []


@pytest.mark.parametrize("name", DAMAGE)
def test_each_damage_is_found_and_named(corpus: Corpus, name: str) -> None:
    damage, sentence = DAMAGE[name]
    damage(corpus)
    assert re.search(sentence, said(validate(schemas.open(corpus.root))))


@pytest.mark.parametrize("name", DEEP)
def test_what_checksums_cannot_see_is_found_by_decoding(corpus: Corpus, name: str) -> None:
    damage, sentence = DEEP[name]
    damage(corpus)
    reopened = schemas.open(corpus.root)
    assert not re.search(sentence, said(validate(reopened)))
    assert re.search(sentence, said(validate(reopened, deep=True)))


def test_the_command_ends_with_the_number_of_problems_and_what_to_do(
    corpus: Corpus, capsys: pytest.CaptureFixture[str]
) -> None:
    flip(corpus, "image")
    with pytest.raises(MammoError, match="has 1 problems: make the version again"):
        validate_command(corpus.root)
    assert "the image's bytes" in capsys.readouterr().out


def test_a_broken_dataset_json_is_one_sentence(corpus: Corpus) -> None:
    path_of(corpus, corpus.version, "dataset.json").write_text("{}")
    with pytest.raises(MammoError, match=r"is no dataset\.json of this project"):
        validate(schemas.open(corpus.root))
