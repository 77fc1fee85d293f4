"""Films: breast, skin line, nipple, markers; and the files of digital phantoms."""

from __future__ import annotations

import itertools

import imagecodecs
import numpy as np
import pydicom
import pytest
from pydicom.uid import (
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGExtended12Bit,
    JPEGLosslessSV1,
    RLELossless,
)

from etl.phantoms import dicom
from etl.phantoms.anatomy import draw_patient
from etl.phantoms.film import draw_ffdm, draw_film
from etl.phantoms.insert import REACH, find_site, insert
from etl.phantoms.lesions import Plan, draw_lesion
from etl.phantoms.texture import generator, power_law
from etl.phantoms.truth import box_of
from schemas.errors import UsageError


def film_of(side="L", view="CC", seed=1, shape=(400, 260)):
    patient = draw_patient(generator(seed, "patient"))
    return draw_film(seed, patient, ("film", side, view), shape, side=side, view=view)


@pytest.mark.parametrize("view", ["CC", "MLO"])
@pytest.mark.parametrize("side", ["L", "R"])
def test_the_breast_hangs_on_the_chest_wall_of_its_side(side, view):
    film = film_of(side, view)
    columns = film.breast.sum(axis=0)
    near, far = (columns[0], columns[-1]) if side == "L" else (columns[-1], columns[0])
    assert near > 150
    assert far == 0
    assert film.muscle.any() == (view == "MLO")
    assert film.breast[film.muscle].all()


@pytest.mark.parametrize("side", ["L", "R"])
def test_skin_line_and_nipple_lie_on_the_border_of_the_breast(side):
    film = film_of(side, "CC")
    inward = -1 if side == "L" else 1
    for x, y in film.skin[:: len(film.skin) // 12]:
        row = int(y)
        if abs(y - film.nipple[1]) < 12:
            continue
        inside, outside = int(np.floor(x + 1.5 * inward)), int(np.floor(x - 1.5 * inward))
        width = film.breast.shape[1]
        assert not 0 <= inside < width or film.breast[row, inside]
        assert not 0 <= outside < width or not film.breast[row, outside]
    tip = np.flatnonzero(film.breast[int(film.nipple[1])])
    assert film.nipple[0] == pytest.approx(tip[-1] + 1 if side == "L" else tip[0], abs=1.5)


def test_tissue_is_brighter_than_the_film_base_up_to_the_skin():
    film = film_of("L", "MLO")
    rim = film.breast & ~np.roll(film.breast, -4, axis=1)
    assert np.median(film.image[rim]) > 2 * np.median(film.image[~film.breast])
    assert 0 < film.image[~film.breast].mean() < 0.1
    assert film.image.max() < 1


def test_the_nominal_breast_measures_204_8_mm():
    film = film_of("R", "CC")
    rows, columns = film.breast.any(axis=1).sum(), film.breast.any(axis=0).sum()
    assert max(rows, columns) / film.px_per_mm == pytest.approx(204.8, rel=0.01)


@pytest.mark.parametrize("exponent", [2.0, 3.0])
def test_texture_follows_its_power_law(exponent):
    size = 512
    field = power_law((size, size), generator(3), 1.0, exponent=exponent, longest_mm=1e6)
    power = np.abs(np.fft.fft2(field * np.outer(np.hanning(size), np.hanning(size)))) ** 2
    f = np.hypot(*np.meshgrid(np.fft.fftfreq(size), np.fft.fftfreq(size)))
    rings = np.geomspace(0.02, 0.3, 12)
    means = [power[(f >= a) & (f < b)].mean() for a, b in itertools.pairwise(rings)]
    slope = np.polyfit(np.log(np.sqrt(rings[1:] * rings[:-1])), np.log(means), 1)[0]
    assert slope == pytest.approx(-exponent, abs=0.25)


@pytest.mark.parametrize("pathology", ["benign", "malignant"])
@pytest.mark.parametrize("kind", ["mass", "calcification"])
def test_a_lesion_changes_nothing_outside_its_disc_and_hardly_its_box_s_mean_and_spread(
    kind, pathology
):
    film = film_of("L", "CC", shape=(800, 520))
    before = film.image.copy()
    plan = Plan(kind, 8.0, 3.0)
    site, plan = find_site(generator(4), film, plan, [])
    lesion = draw_lesion(generator(5), plan, pathology, film.px_per_mm)
    mask = insert(film, lesion, site)
    y, x = np.mgrid[: before.shape[0], : before.shape[1]] + 0.5
    disc = np.hypot(x - site.x, y - site.y) < REACH * site.radius
    assert mask[disc].any()
    assert not mask[~disc].any()
    assert np.array_equal(film.image[~disc], before[~disc])
    assert before[disc].min() <= film.image[disc].min()
    assert film.image[disc].max() <= before[disc].max()
    x0, y0, x1, y1 = box_of(mask)
    old, new = (a[y0:y1, x0:x1].astype(float) for a in (before, film.image))
    assert new.mean() == pytest.approx(old.mean() + 0.15 * old.std(), abs=0.1 * old.std())
    assert new.std() == pytest.approx(1.15 * old.std(), rel=0.1)


def test_masks_are_compact_and_of_the_planned_size():
    for k in range(12):
        pathology = ("benign", "malignant")[k % 2]
        lesion = draw_lesion(generator(k), Plan("mass", 8.0, 3.0), pathology, 5.0)
        ys, xs = np.nonzero(lesion.mask)
        centre = lesion.mask.shape[0] / 2
        far = np.hypot(xs + 0.5 - centre, ys + 0.5 - centre).max()
        assert far == pytest.approx(40, rel=0.08)
        assert 0.35 < lesion.mask.sum() / (np.pi * 40**2) < 0.9


def decoded(data):
    """Decode JPEG lossless without pydicom, whose decoders for it are not installed."""
    if data.file_meta.TransferSyntaxUID == JPEGLosslessSV1:
        (frame,) = pydicom.encaps.generate_frames(data.PixelData, number_of_frames=1)
        return imagecodecs.jpeg8_decode(frame)
    return data.pixel_array


SYNTAXES = [ExplicitVRLittleEndian, JPEGLosslessSV1, JPEG2000Lossless, RLELossless]


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda uid: uid.name)
@pytest.mark.parametrize("bits", [12, 14])
def test_digital_phantoms_come_back_as_they_were_written(tmp_path, syntax, bits):
    image, breast = draw_ffdm((320, 260), bits, seed=2)
    assert image.max() < 2**bits
    assert not image[~breast].any()
    assert image[breast].all()
    dicom.write_ffdm(tmp_path / "f.dcm", image, syntax, bits=bits)
    read = pydicom.dcmread(tmp_path / "f.dcm")
    assert read.file_meta.TransferSyntaxUID == syntax
    assert read.BitsStored == bits
    assert np.array_equal(decoded(read), image)


def test_jpeg_lossless_uses_predictor_one(tmp_path):
    image, _ = draw_ffdm((64, 64), 12)
    dicom.write_ffdm(tmp_path / "f.dcm", image, JPEGLosslessSV1)
    data = (tmp_path / "f.dcm").read_bytes()
    scan = data.index(b"\xff\xda")
    components = data[scan + 4]
    assert data[scan + 5 + 2 * components] == 1


def test_a_lossy_syntax_is_refused(tmp_path):
    image, _ = draw_ffdm((64, 64), 12)
    with pytest.raises(UsageError, match=r"cannot be written in transfer syntax 1\.2\.840"):
        dicom.write_ffdm(tmp_path / "f.dcm", image, JPEGExtended12Bit)
