"""The bytes of four tiny films. When they change, `PIPELINE_VERSION` must."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest

from schemas.film import FilmLesion, Geometry
from schemas.release import TissueRule
from schemas.sample import Sample, to_json_bytes
from schemas.spec import Spec
from schemas.version import PIPELINE_VERSION
from schemas.vocabulary import Annotation, GeometryKind, Laterality, Pathology
from tests.pixels.helpers import dicom, grey_film, png, release, sample

GOLDEN_VERSION = 2
GOLDEN = {
    "pgm_with_circle": ("c17dba590b61ec26", "0e4c7e9d01ec710d", "5f207dcbe01675c0"),
    "monochrome1_with_window": ("a79bbfbf55891f85", "e3b0c44298fc1c14", "fdcdf2770d67d84e"),
    "long_side_with_mask": ("66554f8d3d8c6b20", "6c63de2a84f4d72c", "c354e18dbcf8d7b3"),
    "sigmoid_in_jxl": ("9b210d2616b3e1e9", "2fa847f1e467bac2", "c3f51b80a9921c9f"),
}
HOW_TO_RAISE = (
    "the kernel makes other bytes than before: if that is meant, add 1 to PIPELINE_VERSION in "
    "schemas/version.py (all shards are then made anew), set GOLDEN_VERSION here to it, and put "
    "these digests into GOLDEN: {name!r}: {digests}"
)


def pgm_with_circle() -> Sample:
    grey = grey_film(192, 160, right=True)
    data = b"P5\n160 192\n255\n" + grey.tobytes()
    geometry = Geometry(kind=GeometryKind.CIRCLE, values=(110.5, 80.5, 9))
    lesion = FilmLesion(lesion_id="1", pathology=Pathology.MALIGNANT, geometry=geometry)
    return sample(
        {"film": data}, (lesion,), laterality=Laterality.R, native_pixel_mm=(0.2, 0.2),
        annotation=Annotation.COMPLETE,
    )  # fmt: skip


def monochrome1_with_window() -> Sample:
    dark = (4095 - (grey_film(192, 160, depth=np.uint16) >> 4)).astype(np.uint16)
    tags: dict[str, Any] = {
        "BitsStored": 12, "PhotometricInterpretation": "MONOCHROME1", "PixelSpacing": [0.06, 0.06],
        "WindowCenter": 2000, "WindowWidth": 3000, "PixelPaddingValue": 4095,
    }  # fmt: skip
    return sample({"film": dicom(dark, **tags)}, info=release(TissueRule.DIGITAL))


def long_side_with_mask() -> Sample:
    mask = np.zeros((192, 160), np.uint8)
    mask[80:100, 20:50] = 255
    mask[86:90, 30:40] = 0
    lesion = FilmLesion(
        lesion_id="1", pathology=Pathology.BENIGN, geometry=Geometry(kind=GeometryKind.MASK)
    )
    files = {"film": png(grey_film(192, 160, depth=np.uint16)), "1/mask": png(mask)}
    return sample(files, (lesion,), spec=Spec(long_side=100), annotation=Annotation.COMPLETE)


def sigmoid_in_jxl() -> Sample:
    tags = {"WindowCenter": 30000, "WindowWidth": 40000, "VOILUTFunction": "SIGMOID"}
    lesion = FilmLesion(
        lesion_id="1", geometry=Geometry(kind=GeometryKind.POINT, values=(40.5, 90.5))
    )
    data = dicom(grey_film(192, 160, depth=np.uint16), **tags)
    spec = Spec(payload="jxl")
    return sample({"film": data}, (lesion,), spec=spec, annotation=Annotation.PARTIAL)


def digests(one: Sample) -> tuple[str, str, str]:
    facts = to_json_bytes({**one.row, "pipeline_version": 0}, one.lesions)
    members = (one.image, one.mask or b"", facts + one.thumbnail)
    first, second, third = (hashlib.sha256(member).hexdigest()[:16] for member in members)
    return first, second, third


@pytest.mark.parametrize(
    "make", [pgm_with_circle, monochrome1_with_window, long_side_with_mask, sigmoid_in_jxl]
)
def test_image_mask_and_facts_keep_their_bytes(make: Any) -> None:
    assert GOLDEN_VERSION == PIPELINE_VERSION, (
        f"PIPELINE_VERSION is {PIPELINE_VERSION}: set GOLDEN_VERSION to it and renew GOLDEN"
    )
    name = make.__name__
    got = digests(make())
    assert got == GOLDEN.get(name), HOW_TO_RAISE.format(name=name, digests=got)
