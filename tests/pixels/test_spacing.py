"""Which millimetres a film has: the header's, the documented, or none; never an invented one."""

from __future__ import annotations

import pytest

from etl.pixels.rows import spacing_of
from schemas.film import FileRef, Film
from schemas.vocabulary import Modality


def film(modality: Modality = Modality.FFDM, mm: tuple[float, float] | None = None) -> Film:
    ref = FileRef(role="image", path="a.dcm", size=1)
    return Film(
        source="s",
        film_key="k",
        patient_key="p",
        files=(ref,),
        modality=modality,
        native_pixel_mm=mm,
        licence="x",
    )


@pytest.mark.parametrize(
    ("header", "documented", "spacing", "source"),
    [
        ({"PixelSpacing": r"0.1\0.2"}, None, (0.1, 0.2), "header"),
        ({"ImagerPixelSpacing": r"0.07\0.07"}, (0.085, 0.085), (0.07, 0.07), "header"),
        ({"PixelSpacing": r"1\1"}, (0.07, 0.07), (0.07, 0.07), "documented"),
        (
            {"PixelSpacing": r"1\1", "ImagerPixelSpacing": r"0.07\0.07"},
            None,
            (0.07, 0.07),
            "header",
        ),
        ({"PixelSpacing": r"1.0\1.0"}, None, None, "absent"),
        ({"PixelSpacing": r"0\0"}, None, None, "absent"),
        ({}, None, None, "absent"),
    ],
)
def test_a_millimetre_is_no_spacing_of_a_mammogram(header, documented, spacing, source):
    assert spacing_of(film(mm=documented), header, documented) == (spacing, source)


def test_a_magnetic_resonance_image_may_have_pixels_of_a_millimetre():
    assert spacing_of(film(Modality.MRI), {"PixelSpacing": r"1\1"}, None) == ((1.0, 1.0), "header")
