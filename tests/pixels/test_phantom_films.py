"""The kernel against phantom releases, whose breasts and lesions were drawn and recorded."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from etl import phantoms
from etl.pixels.encode import decode_image, decode_mask
from etl.pixels.placement import Placement
from etl.pixels.standardise import standardise
from etl.sources import source
from schemas.film import Film
from schemas.release import HeaderIndex, Release
from schemas.sample import Sample
from schemas.spec import Spec

Bools = np.ndarray[Any, np.dtype[np.bool_]]


@dataclass(frozen=True)
class Case:
    """A sample and what its drawer recorded."""

    sample: Sample
    truth: dict[str, Any]
    folder: Path

    @property
    def placement(self) -> Placement:
        return Placement.from_row(self.sample.row)

    def drawn(self, name: str) -> Bools:
        return np.asarray(cv2.imread(str(self.folder / name), cv2.IMREAD_UNCHANGED) > 0)

    def standard(self, native: Bools) -> Bools:
        """Move a native mask to the standard grid by the share of each pixel that it covers."""
        place = self.placement
        left, top = place.to_native((0, 0))
        step = place.to_native((1, 1)) - (left, top)
        shares = 8
        size = (self.sample.row["width"], self.sample.row["height"])
        grids = [
            np.floor(start + (np.arange(shares * length) + 0.5) / shares * delta).astype(int)
            for start, delta, length in ((top, step[1], size[1]), (left, step[0], size[0]))
        ]
        rows, columns = (
            np.clip(grid, 0, native.shape[axis] - 1) for axis, grid in enumerate(grids)
        )
        fine = native[rows][:, columns].astype(np.float32)
        return np.asarray(cv2.resize(fine, size, interpolation=cv2.INTER_AREA) >= 0.5)


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Case]]:
    root = tmp_path_factory.mktemp("phantoms")
    phantoms.write(root, ["cbis_ddsm"], patients=4, seed=5, scale=0.6)
    phantoms.write(root, ["mias"], patients=5, seed=5)
    return {key: list(made(root, key)) for key in ("cbis_ddsm", "mias")}


def made(root: Path, key: str) -> Iterator[Case]:
    reader = source(key)
    release = Release.open(str(root / key))
    truth = json.loads((root / f"{key}.truth.json").read_text())
    films = {film["film_key"]: film for film in truth["films"]}
    for film in reader.plan(release, HeaderIndex()):
        if isinstance(film, Film):
            one = standardise(
                film, lambda ref: release.read(ref.path), Spec(), reader.RELEASE, reader.resolve
            )
            if isinstance(one, Sample):
                yield Case(one, films[film.film_key], root / f"{key}.truth")


@pytest.mark.parametrize("key", ["cbis_ddsm", "mias"])
def test_skin_line_and_nipple_stay(cases: dict[str, list[Case]], key: str) -> None:
    shares = []
    for case in cases[key]:
        image = decode_image(case.sample.image)
        rows, columns = np.nonzero(case.drawn(case.truth["breast_mask"]))
        moved = case.placement.to_standard(np.stack([columns, rows], axis=1) + 0.5)
        places = np.floor(moved).astype(int)
        height, width = image.shape
        inside = (places >= 0).all(axis=1) & (places < (width, height)).all(axis=1)
        seen = image[places[inside, 1], places[inside, 0]] > 0
        shares.append(seen.sum() / len(places))
        x, y = np.floor(case.placement.to_standard(case.truth["nipple"])).astype(int)
        assert 0 <= x < width
        assert 0 <= y < height
    print(f"{key}: share of the true breast that stays: {min(shares):.4f} to {max(shares):.4f}")
    assert len(shares) >= 6
    assert min(shares) >= 0.99


@pytest.mark.parametrize("key", ["cbis_ddsm", "mias"])
def test_the_side_is_the_drawn_one(cases: dict[str, list[Case]], key: str) -> None:
    for case in cases[key]:
        expected = "identity" if case.truth["side"] == "L" else "hflip"
        assert case.sample.row["orientation"] == expected
        assert "laterality_conflict" not in case.sample.row["quality_flags"]


def test_masks_are_the_drawn_ones(cases: dict[str, list[Case]]) -> None:
    values = {"benign": 1, "malignant": 2}
    dices = []
    for case in cases["cbis_ddsm"]:
        if case.sample.mask is None or len(case.truth["lesions"]) != 1:
            continue
        (lesion,) = case.truth["lesions"]
        labels = decode_mask(case.sample.mask) == values[lesion["pathology"]]
        expected = case.standard(case.drawn(lesion["mask"]))
        dice = 2 * (labels & expected).sum() / (labels.sum() + expected.sum())
        dices.append(dice)
        assert (decode_image(case.sample.image)[labels] > 0).mean() > 0.99
    print(f"Dice of {len(dices)} masks: median {np.median(dices):.4f}, least {min(dices):.4f}")
    assert len(dices) >= 3
    assert np.median(dices) >= 0.97
    assert min(dices) >= 0.9


def test_flags_are_those_of_the_traps(cases: dict[str, list[Case]]) -> None:
    # the kernel tells crops from masks by content; the drawer notes it lesion by lesion
    about_tables = {"official_split_conflict", "roles_swapped"}
    for case in [*cases["cbis_ddsm"], *cases["mias"]]:
        flags = set(case.sample.row["quality_flags"])
        assert flags - about_tables == set(case.truth["flags"]) - about_tables
