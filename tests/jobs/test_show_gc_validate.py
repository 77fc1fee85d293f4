"""Looking at a finished corpus: the contact sheet, what is garbage, and what is broken."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
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


def settings(out: Path, release: Path, **more: Any) -> Settings:
    return Settings(output=str(out), releases=(("mias", str(release)),), workers=2, **more)


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("phantoms")
    write(root, ["mias"], 8, traps=False)
    return root / "mias"


@pytest.fixture(scope="module")
def pristine(release: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus of sixteen phantom films, drawn with lesions of both kinds."""
    out = tmp_path_factory.mktemp("pristine") / "corpus"
    run_job(settings(out, release))
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


@pytest.mark.parametrize(("count", "tiles"), [(48, 16), (5, 5), (1, 1)])
def test_a_sheet_has_a_tile_for_each_sample(pristine: Path, count: int, tiles: int) -> None:
    sheet = contact_sheet(schemas.open(str(pristine)), count=count, tile=96)
    assert sheet.dtype == np.uint8
    assert sheet.shape[0] % (96 + CAPTION) == 0
    assert sheet.shape[1] % 96 == 0
    assert sum(picture.any() for picture in split_up(sheet, 96)) == tiles


@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize("pathology", [Pathology.BENIGN, Pathology.MALIGNANT])
def test_lesions_are_outlined_in_the_colour_of_their_label_where_they_are(
    pristine: Path, release: Path, pathology: Pathology, native: bool
) -> None:
    corpus = schemas.open(str(pristine))
    frame = corpus.frame(f"pathology = '{pathology}' AND n_lesions = 1 AND annotation = 'complete'")
    row = frame.iloc[0]
    [lesion] = corpus.lesions(f"sample_id = '{row.sample_id}'").to_dict("records")
    if native:
        pytest.skip("its paths are private: see the test of the command")
    sheet = contact_sheet(corpus, where=f"sample_id = '{row.sample_id}'", tile=TILE)
    [picture] = split_up(sheet, TILE)
    assert shows(picture, pathology) > 20
    other = {Pathology.BENIGN: Pathology.MALIGNANT, Pathology.MALIGNANT: Pathology.BENIGN}
    assert shows(picture, other[pathology]) == 0
    scale = min(TILE / row.height, TILE / row.width)
    near = np.zeros((TILE, TILE), bool)
    x0, y0, x1, y1 = (lesion[name] * scale for name in ("x0", "y0", "x1", "y1"))
    near[max(int(y0) - 2, 0) : int(y1) + 3, max(int(x0) - 2, 0) : int(x1) + 3] = True
    assert shows(np.where(near[..., None], 0, picture), pathology) == 0
    picture = np.where(near[..., None], picture, 0)
    for half in (picture[:, : int((x0 + x1) / 2)], picture[:, int((x0 + x1) / 2) :]):
        assert shows(half, pathology) > 5  # all around, not on one side
