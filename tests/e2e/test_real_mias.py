"""The 160 real MIAS films through the command: sides, circles, and the axis that counts upwards."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

import schemas
from schemas.corpus import Corpus
from schemas.sample import sample_id
from tests.e2e.conftest import command
from tests.e2e.truth import point_to_standard

SIDE = 1024


@dataclass(frozen=True)
class Circle:
    """A row of the official table: centre from the bottom-left corner, radius, class."""

    film: str
    word: str
    x: int
    y: int
    radius: int


@pytest.fixture(scope="module")
def corpus(mias_root: Path) -> Corpus:
    return schemas.open(str(mias_root))


@pytest.fixture(scope="module")
def rows(corpus: Corpus) -> dict[str, dict[str, Any]]:
    names = {sample_id("mias", f"mdb{number:03d}"): f"mdb{number:03d}" for number in range(1, 323)}
    return {names[row["sample_id"]]: row for row in corpus.table().to_pylist()}


@pytest.fixture(scope="module")
def circles(shared: Path, rows: dict[str, Any]) -> list[Circle]:
    """The circles of the films that are there, read from the table by a pattern of our own."""
    text = (shared / "data/mias/Info.txt").read_text(encoding="latin-1")
    pattern = r"^(mdb\d{3}) [FGD] ([A-Z]{4}) [BM] +(\d+) +(\d+) +(\d+)\s*$"
    found = [
        Circle(film, word, int(x), int(y), int(radius))
        for film, word, x, y, radius in re.findall(pattern, text, re.MULTILINE)
    ]
    return [circle for circle in found if circle.film in rows]


@pytest.fixture(scope="module")
def pictures(corpus: Corpus, rows: dict[str, Any]) -> dict[str, npt.NDArray[np.uint16]]:
    return {film: member(corpus, row, "image") for film, row in rows.items()}


def member(corpus: Corpus, row: dict[str, Any], name: str) -> npt.NDArray[Any]:
    data = corpus.store.read_range(row["shard"], row[f"{name}_offset"], row[f"{name}_size"])
    return np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED))


def test_160_films_of_80_patients_and_nothing_is_rejected(
    corpus: Corpus, rows: dict[str, Any]
) -> None:
    labels = Counter(row["pathology"] for row in rows.values())
    assert labels == {"normal": 103, "benign": 33, "malignant": 24}
    assert len({row["patient_id"] for row in rows.values()}) == 80
    assert len(corpus.rejects()) == 0
    assert Counter(row["laterality"] for row in rows.values()) == {"L": 80, "R": 80}
    assert "160 samples" in command("validate", corpus.root, "--deep")


def test_every_breast_lies_on_the_left_edge(
    rows: dict[str, Any], pictures: dict[str, npt.NDArray[np.uint16]]
) -> None:
    shares = {}
    for film, image in pictures.items():
        columns = (image > 0).sum(axis=0)
        quarter = max(image.shape[1] // 4, 1)
        shares[film] = columns[:quarter].mean() / max(columns[-quarter:].mean(), 1)
        # the films from 131 on have a black frame of a dozen pixels, which the crop may keep
        assert columns[:14].max() > 0.3 * image.shape[0], film
    filled = {film for film, row in rows.items() if row["breast_fraction"] > 0.9}
    assert filled == {"mdb151", "mdb152"}  # the breast reaches beyond the film on every side
    assert {film for film, share in shares.items() if share < 1.4} == filled
    turned = Counter((row["laterality"], row["orientation"]) for row in rows.values())
    assert turned["L", "identity"] == 80
    assert turned["R", "hflip"] == 80


def test_all_circle_centres_lie_on_kept_tissue(
    circles: list[Circle], rows: dict[str, Any], pictures: dict[str, npt.NDArray[np.uint16]]
) -> None:
    assert len(circles) == 59
    for circle in circles:
        image, row = pictures[circle.film], rows[circle.film]
        x, y = point_to_standard(circle.x + 0.5, SIDE - 1 - circle.y + 0.5, row)
        assert 0 <= x < image.shape[1], circle
        assert 0 <= y < image.shape[0], circle
        assert image[int(y), int(x)] > 0, circle


def test_masks_hold_the_circles_of_the_table(
    corpus: Corpus, circles: list[Circle], rows: dict[str, Any]
) -> None:
    for film in sorted({circle.film for circle in circles}):
        row = rows[film]
        labels = member(corpus, row, "mask")
        down, across = np.mgrid[0 : row["height"], 0 : row["width"]] + 0.5
        expected = np.zeros(labels.shape, bool)
        for circle in (one for one in circles if one.film == film):
            x, y = point_to_standard(circle.x + 0.5, SIDE - 1 - circle.y + 0.5, row)
            radius = circle.radius * row["scale"][0]
            expected |= (across - x) ** 2 + (down - y) ** 2 <= radius**2
        both = np.count_nonzero(expected & (labels > 0))
        assert 2 * both / (np.count_nonzero(expected) + np.count_nonzero(labels)) > 0.97, film


def _brighter(image: npt.NDArray[np.uint16], x: float, y: float, radius: float) -> bool:
    """Tell whether a disc is brighter than the ring about it, among kept pixels."""
    down, across = np.mgrid[0 : image.shape[0], 0 : image.shape[1]] + 0.5
    distance = np.hypot(across - x, down - y) / radius
    disc, ring = image[(distance <= 1) & (image > 0)], image[(distance > 1.1) & (distance <= 1.6)]
    ring = ring[ring > 0]
    return bool(len(disc) and len(ring) and disc.mean() > ring.mean())


def test_circumscribed_masses_are_brighter_than_what_is_around_them_only_with_y_from_the_bottom(
    circles: list[Circle],
    rows: dict[str, Any],
    pictures: dict[str, npt.NDArray[np.uint16]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    masses = [circle for circle in circles if circle.word == "CIRC"]
    counts = {}
    for name, top in (("from the bottom", False), ("from the top", True)):
        counts[name] = 0
        for circle in masses:
            row = rows[circle.film]
            y = circle.y + 0.5 if top else SIDE - 1 - circle.y + 0.5
            x, y = point_to_standard(circle.x + 0.5, y, row)
            counts[name] += _brighter(pictures[circle.film], x, y, circle.radius * row["scale"][0])
    with capsys.disabled():
        print(f"\nbrighter than their ring, of {len(masses)} circumscribed masses: {counts}")
    assert counts["from the bottom"] >= 0.75 * len(masses)
    assert counts["from the top"] <= counts["from the bottom"] - 0.25 * len(masses)


def test_the_corpus_own_masks_cover_the_masses_and_their_mirror_images_do_not(
    corpus: Corpus,
    circles: list[Circle],
    rows: dict[str, Any],
    pictures: dict[str, npt.NDArray[np.uint16]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    films = sorted({circle.film for circle in circles if circle.word == "CIRC"})
    counts = {"as drawn": 0, "upside down": 0}
    for film in films:
        image = pictures[film]
        mask = member(corpus, rows[film], "mask") > 0
        for name, turned in (("as drawn", mask), ("upside down", mask[::-1])):
            size = max(int(0.3 * np.sqrt(mask.sum() / np.pi)), 2)
            kernel = np.ones((2 * size + 1, 2 * size + 1), np.uint8)
            grown = cv2.dilate(turned.astype(np.uint8), kernel) > 0
            disc, ring = image[turned & (image > 0)], image[grown & ~turned & (image > 0)]
            counts[name] += bool(len(disc) and len(ring) and disc.mean() > ring.mean())
    with capsys.disabled():
        print(f"\nbrighter than their ring, of {len(films)} films with such masses: {counts}")
    assert counts["as drawn"] >= 0.75 * len(films)
    assert counts["upside down"] <= counts["as drawn"] - 0.25 * len(films)


def test_the_audit_finds_no_film_twice(corpus: Corpus) -> None:
    assert "0 duplicate groups, 0 samples leak" in command("audit", corpus.root)
    assert corpus.table().column("duplicate_group").null_count == 160
