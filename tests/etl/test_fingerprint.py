from __future__ import annotations

import hashlib

import cv2
import numpy as np
import pytest
from scipy.fft import dct

from etl.fingerprint import hamming, phash, pixel_sha256, sha256, thumbnail


def breast(seed: int, shape: tuple[int, int] = (512, 400)) -> np.ndarray:
    """Return a left-facing half ellipse with texture of its own, 16 bits."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[0], : shape[1]] / np.array(shape)[:, None, None]
    inside = (x / 0.95) ** 2 + ((y - 0.5) / 0.48) ** 2 < 1
    coarse = cv2.resize(random.random((24, 20)), shape[::-1], interpolation=cv2.INTER_CUBIC)
    fine = random.random(shape) * 0.05
    return np.where(inside, (0.1 + 0.7 * coarse.clip(0, 1) + fine) * 60000, 0).astype(np.uint16)


def reference_phash(picture: np.ndarray) -> str:
    """imagehash.phash(hash_size=16) from the picture on (imagehash 4.3, `phash`)."""
    pixels = picture.astype(float)
    low = dct(dct(pixels, axis=0), axis=1)[:16, :16]
    return np.packbits(low > np.median(low)).tobytes().hex()


def test_sha256_of_bytes() -> None:
    assert sha256(memoryview(b"abc")) == hashlib.sha256(b"abc").hexdigest()


def test_pixels_are_told_by_values_dtype_and_shape_alone() -> None:
    array = np.arange(12, dtype=np.uint16).reshape(3, 4)
    same = [array.copy(order="F"), array.astype(">u2"), np.repeat(array, 2, 0)[::2]]
    assert {pixel_sha256(other) for other in same} == {pixel_sha256(array)}
    others = [array.reshape(4, 3), array.astype(np.uint32), array.astype(np.int16), array + 1]
    assert len({pixel_sha256(other) for other in [array, *others]}) == 5


@pytest.mark.parametrize("seed", range(5))
def test_the_hash_is_imagehashs_over_the_thumbnail(seed: int) -> None:
    picture = thumbnail(breast(seed))
    assert phash(picture) == reference_phash(picture)
    assert len(phash(picture)) == 64


def test_the_thumbnail_is_ranks_of_area_means() -> None:
    image = breast(1, (640, 320))
    means = image.reshape(64, 10, 64, 5).mean(axis=(1, 3))
    found = thumbnail(image)
    order = np.argsort(means, axis=None)
    assert (np.diff(found.ravel()[order].astype(int)) >= 0).all()
    assert (found.min(), found.max()) == (0, 255)
    assert found.nbytes == 4096


def test_equal_cells_share_their_mean_rank() -> None:
    image = np.zeros((64, 64), np.uint16)
    image[32:] = 7
    image[-1, -1] = 9
    values = thumbnail(image)
    assert set(values[:32].ravel()) == {0}
    assert len(set(values[32:].ravel())) == 2
    # 2047 of 4096 cells lie above the 2048 darkest, in the middle of their ranks
    assert values[40, 40] == round(255 * 2047.5 / (4095 - 1023.5))


def test_ranks_do_not_change_with_window_and_gamma() -> None:
    image = breast(2)
    gamma = (65535 * (image / 65535) ** 0.5).astype(np.uint16)
    shifted = (image // 3 + 900).astype(np.uint16)
    for other in (gamma, shifted):
        assert hamming(phash(thumbnail(image)), phash(thumbnail(other))) <= 8


def test_copies_are_near_and_strangers_far() -> None:
    image = breast(3)
    smaller = cv2.resize(image, None, fx=0.73, fy=0.73, interpolation=cv2.INTER_AREA)
    noisy = (image + np.random.default_rng(0).normal(0, 250, image.shape)).clip(0, 65535)
    coded = cv2.imdecode(
        cv2.imencode(".jpg", (image >> 8).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 50])[1], 0
    )
    own = thumbnail(image)
    for copy in (smaller, noisy.astype(np.uint16), coded.astype(np.uint16)):
        assert hamming(phash(own), phash(thumbnail(copy))) <= 26
        assert np.corrcoef(own.ravel(), thumbnail(copy).ravel())[0, 1] > 0.99
    for seed in range(10, 20):
        assert hamming(phash(own), phash(thumbnail(breast(seed)))) > 51


@pytest.mark.parametrize("shape", [(1, 1), (20, 700), (64, 64), (65, 63)])
def test_small_and_odd_images_have_a_thumbnail(shape: tuple[int, int]) -> None:
    image = np.arange(shape[0] * shape[1], dtype=np.uint16).reshape(shape)
    assert thumbnail(image).shape == (64, 64)
    assert thumbnail(image, 256).shape == (256, 256)


def test_a_blank_image_gives_zeros() -> None:
    assert not thumbnail(np.full((100, 90), 65535, np.uint16)).any()


def test_bytes_are_those_of_any_machine() -> None:
    image = (np.arange(300 * 200, dtype=np.int64).reshape(300, 200) ** 2 % 65521).astype(np.uint16)
    assert sha256(thumbnail(image).tobytes()) == GOLDEN[0]
    assert phash(thumbnail(image)) == GOLDEN[1]


# Made once: integer arithmetic gives these everywhere.
GOLDEN = (
    "921debe7bd12b6df364e7f0c5fd5549284ce4715c80cbf9eb398c8fd075bbc4b",
    "ba71363935ae74b96bb1098a7486baf172b175851883dbf10dbb348a3620b6f1",
)


def test_pictures_too_small_to_hash_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 32 x 32"):
        phash(np.zeros((31, 31), np.uint8))
