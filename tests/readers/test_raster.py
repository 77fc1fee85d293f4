from __future__ import annotations

import io
import struct
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import cv2
import imagecodecs
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from etl.readers.pictures import read_stored
from etl.readers.raster import read_raster
from schemas.errors import ContentError
from schemas.rejects import RejectReason
from tests.readers.dicom_files import phantom

GREY8 = (phantom(bits=8) & 0xFF).astype(np.uint8)
GREY16 = phantom(bits=16)


def saved(array: NDArray[Any], kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, format=kind, **options)
    return stream.getvalue()


def pgm(array: NDArray[Any], header: bytes) -> bytes:
    return header + array.astype(">u2" if array.dtype.itemsize == 2 else "u1").tobytes()


def reason_of(data: bytes) -> RejectReason:
    with pytest.raises(ContentError, match="film") as caught:
        read_raster(data, "film")
    return caught.value.reason


@pytest.mark.parametrize("array", [GREY8, GREY16], ids=["8", "16"])
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_grey_pictures_are_what_pillow_saved(array: NDArray[Any], kind: str) -> None:
    found = read_raster(saved(array, kind), "film")
    np.testing.assert_array_equal(found.array, array)
    assert found.array.dtype == array.dtype
    assert (found.edited, found.lossy) == (False, False)


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits", None])
def test_tiff_compressions_agree_with_pillow(compression: str | None) -> None:
    data = saved(GREY8, "TIFF", compression=compression)
    np.testing.assert_array_equal(read_raster(data, "film").array, GREY8)


def test_tiff_of_many_strips_and_other_byte_order() -> None:
    stream = io.BytesIO()
    tifffile.imwrite(stream, GREY16, byteorder=">", rowsperstrip=7, compression="zlib")
    np.testing.assert_array_equal(read_raster(stream.getvalue(), "film").array, GREY16)


def test_tiff_in_which_white_is_zero_is_turned() -> None:
    stream = io.BytesIO()
    tifffile.imwrite(stream, 255 - GREY8, photometric="miniswhite")
    np.testing.assert_array_equal(read_raster(stream.getvalue(), "film").array, GREY8)


def test_jpeg_agrees_with_pillow() -> None:
    data = saved(GREY8, "JPEG", quality=90)
    found = read_raster(data, "film")
    reference = np.asarray(Image.open(io.BytesIO(data)))
    assert np.abs(found.array.astype(int) - reference).max() <= 1
    assert found.lossy
    assert found.bits == 8


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF"])
def test_equal_channels_become_one(kind: str) -> None:
    grey = read_raster(saved(GREY8, kind), "film").array
    found = read_raster(saved(np.dstack([GREY8] * 3), kind), "film").array
    assert found.shape == GREY8.shape
    assert np.abs(found.astype(int) - grey).max() <= (2 if kind == "JPEG" else 0)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF"])
def test_colour_is_refused(kind: str) -> None:
    colour = np.dstack([GREY8, GREY8 // 2, GREY8 // 3])
    assert reason_of(saved(colour, kind, **({"quality": 95} if kind == "JPEG" else {}))) is (
        RejectReason.NOT_GREY
    )


def test_opaque_alpha_is_dropped_and_a_veil_refused() -> None:
    opaque = np.dstack([GREY8] * 3 + [np.full_like(GREY8, 255)])
    np.testing.assert_array_equal(read_raster(saved(opaque, "PNG"), "film").array, GREY8)
    assert reason_of(saved(np.dstack([GREY8] * 4), "PNG")) is RejectReason.NOT_GREY


def test_a_palette_of_greys_is_looked_up() -> None:
    picture = Image.fromarray(GREY8).convert("P")
    for kind in ("PNG", "TIFF"):
        stream = io.BytesIO()
        picture.save(stream, format=kind)
        np.testing.assert_array_equal(read_raster(stream.getvalue(), "film").array, GREY8)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_one_bit_masks_become_0_and_255(kind: str) -> None:
    stream = io.BytesIO()
    Image.fromarray(GREY8 > 40).save(stream, format=kind)
    found = read_raster(stream.getvalue(), "mask").array
    np.testing.assert_array_equal(found, np.where(GREY8 > 40, 255, 0))


@pytest.mark.parametrize(
    ("header", "array", "bits"),
    [
        (b"P5\n96 96\n255\n", GREY8, 8),
        (b"P5 96\t96 255 ", GREY8, 8),
        (b"P5\n# a remark\n96 # width\n96\n# 7 8 9\n255\n", GREY8, 8),
        (b"P5\r96 96\r255\r", GREY8, 8),
        (b"P5\n96 96\n4095\n", phantom(), 12),
        (b"P5\n96 96\n65535\n", GREY16, 16),
    ],
)
def test_pgm_headers_as_they_occur(header: bytes, array: NDArray[Any], bits: int) -> None:
    found = read_raster(pgm(array, header), "film")
    np.testing.assert_array_equal(found.array, array)
    assert found.bits == bits


def test_plain_pgm() -> None:
    text = b"P2 # plain\n96 96\n4095\n" + b"\n".join(
        b" ".join(b"%d" % value for value in row) for row in phantom()
    )
    np.testing.assert_array_equal(read_raster(text, "film").array, phantom())


@pytest.mark.parametrize(
    ("data", "edited"),
    [
        (pgm(GREY8, b"P5\n# CREATOR: GIMP PNM Filter Version 1.1\n96 96\n255\n"), True),
        (pgm(GREY8, b"P5\n# mdb001\n96 96\n255\n"), False),
        (saved(GREY8, "JPEG", comment=b"Created with GIMP"), True),
        (saved(GREY8, "TIFF", software="Adobe Photoshop 7.0"), True),
    ],
)
def test_files_that_name_an_editor_are_said_to_be_edited(data: bytes, edited: bool) -> None:
    assert read_raster(data, "film").edited is edited


def test_png_text_names_an_editor() -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("Software", "ImageJ 1.53")
    assert read_raster(saved(GREY8, "PNG", pnginfo=info), "film").edited


@pytest.mark.parametrize(
    "data",
    [
        saved(GREY8, "PNG"),
        saved(GREY16, "PNG"),
        saved(GREY8, "JPEG"),
        saved(GREY8, "JPEG", progressive=True),
        saved(GREY8, "TIFF"),
        saved(GREY8, "TIFF", compression="tiff_lzw"),
        pgm(GREY8, b"P5\n96 96\n255\n"),
        pgm(GREY16, b"P5\n96 96\n65535\n"),
    ],
    ids=["png8", "png16", "jpeg", "progressive", "tiff", "tiff-lzw", "pgm8", "pgm16"],
)
def test_100_truncations_are_refused(data: bytes) -> None:
    for cut in np.linspace(0.02, 0.98, 100):
        assert reason_of(data[: int(len(data) * cut)]) in (
            RejectReason.TRUNCATED,
            RejectReason.DECODE_FAILED,
            RejectReason.NOT_AN_IMAGE,
        ), cut


def test_bytes_behind_the_end_marker_do_no_harm() -> None:
    data = saved(GREY8, "JPEG")
    np.testing.assert_array_equal(
        read_raster(data + b"\0\0trailer", "film").array, read_raster(data, "film").array
    )


def test_a_flipped_bit_in_a_png_is_found_by_its_checksum() -> None:
    data = bytearray(saved(GREY8, "PNG"))
    data[len(data) // 2] ^= 4
    assert reason_of(bytes(data)) is RejectReason.DECODE_FAILED


def png_claiming(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)

    def chunk(kind: bytes, content: bytes) -> bytes:
        body = kind + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    pixels = chunk(b"IDAT", zlib.compress(bytes(100)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + pixels + chunk(b"IEND", b"")


def test_sizes_beyond_reason_are_refused_before_anything_is_allocated() -> None:
    jpeg = bytearray(saved(GREY8, "JPEG"))
    at = jpeg.index(b"\xff\xc0") + 5
    jpeg[at : at + 4] = struct.pack(">HH", 65535, 65535)
    tiff = saved(GREY8, "TIFF")
    huge = tiff.replace(
        struct.pack("<HHIHH", 256, 4, 1, 96, 0), struct.pack("<HHII", 256, 4, 1, 1 << 20)
    )
    huge = huge.replace(
        struct.pack("<HHIHH", 257, 4, 1, 96, 0), struct.pack("<HHII", 257, 4, 1, 1 << 20)
    )
    assert huge != tiff
    files = [png_claiming(60000, 60000), bytes(jpeg), huge, b"P5\n60000 60000\n255\n" + bytes(100)]
    tracemalloc.start()
    try:
        reasons = [reason_of(data) for data in files]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert reasons == [RejectReason.SIZE_IMPLAUSIBLE] * 4
    assert peak < 1 << 20


@pytest.mark.parametrize("data", [b"", b"<html>not found</html>", b"BM" + bytes(100), bytes(64)])
def test_what_is_no_picture_is_said_to_be_none(data: bytes) -> None:
    assert reason_of(data) is RejectReason.NOT_AN_IMAGE


def test_a_12_bit_jpeg_keeps_its_bits() -> None:
    data = bytes(imagecodecs.jpeg8_encode(phantom(), lossless=True, bitspersample=12))
    found = read_raster(data, "film")
    np.testing.assert_array_equal(found.array, phantom())
    assert (found.bits, found.lossy) == (12, False)


def test_flipped_bits_end_in_pixels_or_a_refusal() -> None:
    files = [saved(GREY8, kind) for kind in ("PNG", "JPEG", "TIFF", "PPM")]
    refused = 0
    for seed in range(240):
        random = np.random.default_rng(seed)
        bits = np.unpackbits(np.frombuffer(files[seed % 4], np.uint8))
        bits[random.integers(0, 8 * 400 if seed % 8 < 4 else len(bits), size=3)] ^= 1
        try:
            read_raster(np.packbits(bits).tobytes(), "film")
        except ContentError:
            refused += 1
    assert refused > 60


def test_real_mias_films_agree_with_pillow(shared: Path) -> None:
    films = sorted((shared / "data" / "mias").glob("mdb*.png"))
    if not films:
        pytest.skip("needs the MIAS films of ../shared/data")
    for path in films[:4]:
        found = read_raster(path.read_bytes(), path.name)
        np.testing.assert_array_equal(found.array, np.asarray(Image.open(path)))
        assert found.array.shape == (1024, 1024)
        assert found.bits == 8


def test_stored_pixels_of_either_kind_of_file() -> None:
    from tests.readers.dicom_files import compressed, encoded

    stack = [phantom(seed=seed) for seed in range(3)]
    file = compressed("jpeg70", [encoded(frame, "jpeg70") for frame in stack], (96, 96))
    np.testing.assert_array_equal(read_stored(file, "volume", 2), stack[2])
    np.testing.assert_array_equal(read_stored(saved(GREY8, "PNG"), "film"), GREY8)


@pytest.mark.parametrize("share", [0.3, 0.9])
def test_a_tiff_that_ends_before_its_directory_was_cut(share: float) -> None:
    grey = np.arange(64 * 48, dtype=np.uint16).reshape(64, 48)
    data = cv2.imencode(".tif", grey, [cv2.IMWRITE_TIFF_COMPRESSION, 1])[1].tobytes()
    assert (read_raster(data, "whole.tif").array == grey).all()
    with pytest.raises(ContentError, match="directory lies beyond its end") as caught:
        read_raster(data[: int(share * len(data))], "cut.tif")
    assert caught.value.reason == "truncated"
