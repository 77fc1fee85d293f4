"""docs/adding-a-source.md does what it says: its twelfth source is read by the real commands."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

import schemas
from etl import sources
from etl.phantoms.film import draw_ffdm
from schemas.rejects import Reject, RejectReason
from schemas.release import HeaderIndex, Release, Source

PROJECT = Path(__file__).parents[1]
PAGE = PROJECT / "docs/adding-a-source.md"

# Each interpreter, the children's too, meets the new module and line as if they were in the tree.
SITE = """import etl.sources
etl.sources.__path__.append({folder!r})
etl.sources.SOURCES["clinic"] = "etl.sources.clinic"
"""


def block(language: str) -> str:
    (found,) = re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    return str(found)


@pytest.fixture
def clinic(tmp_path: Path) -> Path:
    """The release of the page: its table and three small films."""
    root = tmp_path / "release"
    (root / "films").mkdir(parents=True)
    (root / "labels.csv").write_text(block("csv"))
    for number in (1, 2, 3):
        image, _ = draw_ffdm((320, 260), bits=8, seed=number)
        cv2.imwrite(str(root / f"films/c{number}.png"), image.astype(np.uint8))
    return root


@pytest.fixture
def module(tmp_path: Path) -> Source:
    path = tmp_path / "clinic.py"
    path.write_text(block("python"))
    spec = importlib.util.spec_from_file_location("clinic_of_the_page", path)
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def test_the_page_is_short_and_its_line_is_how_the_registry_reads() -> None:
    assert len(PAGE.read_text(encoding="utf-8").splitlines()) < 60
    assert sources.SOURCES["mias"] == "etl.sources.mias"


def test_the_twelfth_source_goes_from_plan_to_a_valid_version(tmp_path: Path, clinic: Path) -> None:
    folder, site = tmp_path / "more", tmp_path / "site"
    for made in (folder, site):
        made.mkdir()
    (folder / "clinic.py").write_text(block("python"))
    (site / "sitecustomize.py").write_text(SITE.format(folder=str(folder)))
    out = tmp_path / "corpus"

    def command(*words: object) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "beam_jobs", *map(str, words)],
            cwd=PROJECT,
            env={**os.environ, "PYTHONPATH": f"{site}{os.pathsep}{PROJECT}"},
            capture_output=True,
            text=True,
            timeout=240,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    release = f"clinic={clinic}"
    command("plan", "--release", release, "--output", out)
    command("run", "--release", release, "--output", out, "--workers", 1)
    assert "3 samples and 0 lesions are as they say" in command("validate", out, "--deep")
    corpus = schemas.open(str(out))
    rows = corpus.frame().set_index("film_key").sort_index()
    assert rows["pathology"].to_dict() == {"c1": "malignant", "c2": "benign", "c3": "benign"}
    assert rows["view"].tolist() == ["CC", "CC", "MLO"]
    assert set(rows["label_basis"]) == {"biopsy"}
    assert corpus.absent()["film_key"].tolist() == ["c4"]
    assert len(corpus.rejects()) == 0


def test_an_unknown_word_becomes_a_reject_and_verify_counts(clinic: Path, module: Source) -> None:
    table = clinic / "labels.csv"
    table.write_text(table.read_text().replace("L,MLO,benign", "L,MLO,bening"))
    release = Release.open(str(clinic))
    (bad,) = [x for x in module.plan(release, HeaderIndex()) if isinstance(x, Reject)]
    assert (bad.film_key, bad.reason) == ("c3", RejectReason.UNKNOWN_WORD)
    assert "'bening'" in bad.detail
    (remark,) = module.verify(release, HeaderIndex())
    assert (remark.ok, remark.what) == (False, "3 of 4 films")
