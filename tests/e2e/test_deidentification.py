"""No planted identity reaches what is shared: every byte of a corpus and of its logs is searched.

Identities stand in every text element, private tags, an overlay, burned into the pixels, in table
cells and in the names of folders. With a pseudonym key no key of the release may remain either;
of a private release without one, no file name, film key or UID.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import schemas
from etl import phantoms
from etl.phantoms.omi_files import header_json
from etl.phantoms.truth import Truth
from etl.pixels.encode import decode_image
from tests.e2e import identities
from tests.e2e.conftest import PROJECT
from tests.e2e.identities import IDENTITIES, everything, found

OPTIONS = {
    "cbis_ddsm": {"patients": 1, "scale": 0.3},
    "mias": {"patients": 1},
    "omi_db": {"patients": 2, "scale": 0.6},
}
PRIVATE = ("mias", "omi_db")


@dataclass
class Planted:
    """Two copies of one set of releases, without identities and with them."""

    clean: Path
    spoilt: Path
    truth: dict[str, Truth]
    key: Path

    def own_words(self, *sources: str) -> set[str]:
        """Return the film keys, examinations and file names of releases."""
        films = [film for key in sources for film in self.truth[key].films]
        words = {word for film in films for word in (film.film_key, film.exam, film.path) if word}
        return {word for word in words if len(word) > 5}

    def patients(self, *sources: str) -> set[str]:
        """Return the patients as the releases write them."""
        return {film.patient for key in sources for film in self.truth[key].films}


def plant(root: Path) -> None:
    """Write identities into all that a release holds."""
    for path in sorted((root / "cbis_ddsm").rglob("*.dcm")):
        identities.plant_dicom(path)
    for path in sorted((root / "omi_db/images").rglob("*.dcm")):
        data = identities.plant_dicom(path)
        (header,) = (root / "omi_db/data").rglob(f"{path.stem}*.json")
        header.write_text(json.dumps(header_json(data)))
    for path in sorted((root / "omi_db/data").rglob("*_demd*.json")):
        identities.plant_json(path)
    strange_client(root / "omi_db")
    with (root / "mias/Info.txt").open("a") as table:
        table.write("mdb002 G QUARTERMAIN B 100 200 30\n")


def strange_client(root: Path) -> None:
    """Add a client whose table holds a name where a word of NBSS should stand."""
    client, other = root / "data/demd9000002", root / "data/demd9000077"
    shutil.copytree(client, other)
    for path in other.glob("*_demd*.json"):
        text = path.read_text().replace('"EpisodeType": "R"', '"EpisodeType": "Zebulon"')
        path.with_name(path.name.replace("9000002", "9000077")).write_text(text)
        path.unlink()
    shutil.copytree(root / "images/demd9000002", root / "images/demd9000077")


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    base = tmp_path_factory.mktemp("identities")
    clean, spoilt = base / "clean", base / "QUARTERMAIN_ZEBULON_1957-04-03"
    truth = {
        key: phantoms.write(clean, [key], seed=3, traps=True, damage=False, **options)[key]
        for key, options in OPTIONS.items()
    }
    shutil.copytree(clean, spoilt)
    plant(spoilt)
    key = base / "key"
    key.write_bytes(bytes(range(65, 97)))
    key.chmod(0o600)
    return Planted(clean, spoilt, truth, key)


def made(root: Path, out: Path, sources, *options) -> bytes:
    """Make a corpus by the command; return all that it and its sisters printed."""
    words = ["run", "--output", out, "--workers", 1, *options]
    plans = ["plan", "--output", out, *options]
    for key in sources:
        words += ["--release", f"{key}={root / key}"]
        plans += ["--release", f"{key}={root / key}"]
    commands = [plans, words, ["validate", out], ["audit", out], ["card", out]]
    return b"".join(printed(command) for command in commands)


def printed(words) -> bytes:
    done = subprocess.run(
        [sys.executable, "-m", "beam_jobs", *map(str, words)],
        cwd=PROJECT,
        capture_output=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def keyed(planted, tmp_path_factory):
    """The planted releases, made with a pseudonym key; and what was printed."""
    out = tmp_path_factory.mktemp("keyed")
    log = made(planted.spoilt, out, sorted(OPTIONS), "--pseudonym-key", planted.key)
    return out, log


@pytest.fixture(scope="module")
def unkeyed(planted, tmp_path_factory):
    """The planted private releases, made without a key; and what was printed."""
    out = tmp_path_factory.mktemp("unkeyed")
    return out, made(planted.spoilt, out, PRIVATE)


def test_identities_are_in_the_releases_and_the_search_finds_them_there(planted):
    for source in OPTIONS:
        parts = everything(planted.spoilt / source)
        assert {word for _, word in found(parts, IDENTITIES)} >= {"QUARTERMAIN"}
    parts = everything(planted.spoilt / "omi_db")
    assert {word for _, word in found(parts, IDENTITIES)} == set(IDENTITIES)
    assert not found(everything(planted.clean), IDENTITIES)


def test_with_a_key_nothing_that_is_shared_holds_an_identity_or_a_key_of_a_release(planted, keyed):
    out, log = keyed
    words = {*IDENTITIES, *planted.own_words(*OPTIONS), *planted.patients(*OPTIONS)}
    assert found([*everything(out), ("printed", log)], words) == []


def test_without_a_key_a_private_release_shows_patients_and_nothing_else(planted, unkeyed):
    out, log = unkeyed
    words = {*IDENTITIES, *planted.own_words(*PRIVATE)} - planted.patients(*PRIVATE)
    assert found([*everything(out), ("printed", log)], words) == []
    assert found(everything(out), planted.patients("omi_db"))


def test_what_is_hidden_can_be_looked_up_in_the_private_folder(planted, unkeyed):
    out, _ = unkeyed
    hidden = [(path.name, path.read_bytes()) for path in (out / "private").rglob("*.parquet")]
    assert hidden
    name = schemas.open(str(out)).version
    rows = pq.read_table(out / f"private/{name}/omi_db.parquet").to_pylist()
    made = {film.film_key for film in planted.truth["omi_db"].expected("sample")}
    assert {row["film_key"] for row in rows} == made


def test_rejects_say_what_is_wrong_without_quoting_the_table(unkeyed):
    rejects = schemas.open(str(unkeyed[0])).rejects()
    assert set(rejects["reason"]) == {"unknown_word"}
    assert set(rejects["source"]) == set(PRIVATE)
    assert rejects["film_key"].isna().all()
    assert all("private folder says why" in text for text in rejects["detail"])


def test_examinations_and_pairs_still_belong_together(planted, unkeyed):
    frame = schemas.open(str(unkeyed[0])).frame("source = 'omi_db'")
    exams = {film.exam for film in planted.truth["omi_db"].films}
    assert frame["exam_id"].nunique() == len(exams)
    assert frame.groupby("exam_id")["patient_id"].nunique().max() == 1


def test_a_name_that_is_burned_into_the_air_is_not_in_the_picture(planted, keyed, tmp_path):
    out, _ = keyed
    made(planted.clean, tmp_path, ["cbis_ddsm", "omi_db"], "--pseudonym-key", planted.key)
    spoilt, clean = (pictures(schemas.open(str(root))) for root in (out, tmp_path))
    flags = schemas.open(str(tmp_path)).frame(columns=["quality_flags"])["quality_flags"]
    assert "label_conflict" not in {flag for some in flags for flag in some}  # of pseudonyms
    assert len(clean) > 10
    for name, image in clean.items():
        assert image.shape == spoilt[name].shape
        # a name on a scanned film moves the search for tissue by a pixel, and so the window a bit
        most = 0.001 * 65535 if name.startswith("cbis") else 0
        assert np.abs(image.astype(int) - spoilt[name]).max() <= most, name


def pictures(corpus):
    """Return the standard images of CBIS-DDSM and OMI-DB by sample."""
    columns = ["sample_id", "shard", "image_offset", "image_size"]
    return {
        row["sample_id"]: decode_image(
            corpus.store.read_range(row["shard"], row["image_offset"], row["image_size"])
        )
        for row in corpus.table("source <> 'mias'", columns).to_pylist()
    }
