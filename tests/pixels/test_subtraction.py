"""A release may hold low-energy and subtracted pictures: each film's modality chooses its rule."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from schemas.film import FilmLesion, Geometry
from schemas.release import TissueRule
from schemas.vocabulary import GeometryKind, Laterality, Modality, Pathology
from tests.pixels.helpers import breast, png, release, sample

SIZE = (512, 400)
BACKGROUND = 120
INFO = release(TissueRule.DIGITAL, tissues={Modality.CESM_SUB: TissueRule.SUBTRACTION})
LESION = (90, 260, 18)


def picture(right: bool) -> np.ndarray:
    """Tissue 10 darker and brighter than its background, one enhancing disc 100 brighter."""
    row, column = np.mgrid[: SIZE[0], : SIZE[1]]
    waves = 10 * np.sign(np.sin(row / 15) * np.cos(column / 17))
    grey = np.where(breast(*SIZE), BACKGROUND + waves, BACKGROUND)
    x, y, radius = LESION
    grey[(column - x) ** 2 + (row - y) ** 2 < radius**2] = BACKGROUND + 100
    grey = grey.astype(np.uint8)
    return np.ascontiguousarray(grey[:, ::-1]) if right else grey


@pytest.mark.parametrize("right", [False, True], ids=["left", "right"])
def test_a_subtraction_is_windowed_about_its_background(right):
    x = SIZE[1] - LESION[0] if right else LESION[0]
    lesion = FilmLesion(
        lesion_id="1",
        pathology=Pathology.MALIGNANT,
        geometry=Geometry(kind=GeometryKind.CIRCLE, values=(x + 0.5, LESION[1] + 0.5, LESION[2])),
    )
    one = sample(
        {"film": png(picture(right))},
        (lesion,),
        info=INFO,
        modality=Modality.CESM_SUB,
        laterality=Laterality.R if right else Laterality.L,
        annotation="complete",
    )
    assert one.row["quality_flags"] == []
    assert one.row["orientation"] == ("hflip" if right else "identity")
    low, high = one.row["window"]
    assert (low + high) / 2 == pytest.approx(BACKGROUND, abs=0.5)
    assert high == pytest.approx(BACKGROUND + 100, abs=1)
    image = cv2.imdecode(np.frombuffer(one.image, np.uint8), cv2.IMREAD_UNCHANGED)
    mask = cv2.imdecode(np.frombuffer(one.mask, np.uint8), cv2.IMREAD_UNCHANGED)
    assert image[mask == 2].mean() > 60000
    # tissue that takes up nothing stays in the middle of the grey scale
    tissue = image[(mask == 0) & (image > 0)]
    assert abs(float(np.median(tissue)) - 32768) < 4000


def test_the_low_energy_twin_of_the_same_release_is_read_as_a_digital_mammogram():
    grey = np.where(breast(*SIZE), 90, 0).astype(np.uint8)
    grey[200:300, 40:90] = 190
    one = sample({"film": png(grey)}, info=INFO, modality=Modality.CESM_LE)
    assert one.row["window"] == [90, 190]
    assert one.row["quality_flags"] == []
