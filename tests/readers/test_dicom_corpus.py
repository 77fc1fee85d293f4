"""161 public DICOM files: each decodes to its reference hash, or is refused for its reason."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from etl.readers.dicom import decode, parse
from tests.readers import corpus

# What makes each of these files unusable, told by hand from INDEX.csv's column `why`.
REFUSED = {
    "ExplVR_BigEndNoMeta.dcm": "not_an_image",
    "ExplVR_LitEndNoMeta.dcm": "no_pixels",
    "GH177_D_CLUNIE_CT1_IVRLE_BigEndian_undefined_length.dcm": "header_invalid",
    "GH340.dcm": "header_invalid",
    "meta_missing_tsyntax.dcm": "header_invalid",
    "no_meta.dcm": "not_an_image",
    "rtstruct.dcm": "no_pixels",
    "badVR.dcm": "header_invalid",
    "GH1146.dcm": "truncated",
    "GH1376.dcm": "header_invalid",
    "MR_truncated.dcm": "truncated",
    "genFile.dcm": "decode_failed",
    "multiframe.dcm": "size_conflict",
    "JPEG-lossy.dcm": "decode_failed",
    "RG2_JPLY.dcm": "decode_failed",
    "emri_small_jpeg_2k_lossless_too_short.dcm": "truncated",
    "JPEG2000-embedded-sequence-delimiter.dcm": "decode_failed",
    "derived/html_error_page.dcm": "not_an_image",
    "derived/no_transfer_syntax.dcm": "header_invalid",
    "derived/preamble_only.dcm": "truncated",
    "derived/truncated_in_meta.dcm": "truncated",
    "derived/zero_bytes.dcm": "not_an_image",
    "derived/bitsstored_gt_allocated.dcm": "header_invalid",
    "derived/empty_pixeldata.dcm": "truncated",
    "derived/frames_3_data_1.dcm": "truncated",
    "derived/highbit_15_bitsstored_12.dcm": "header_invalid",
    "derived/no_photometric.dcm": "header_invalid",
    "derived/no_pixeldata.dcm": "no_pixels",
    "derived/no_rows.dcm": "header_invalid",
    "derived/truncated_half.dcm": "truncated",
    "derived/jpegls_corrupt_middle.dcm": "decode_failed",
    "derived/jpegls_truncated_60pct.dcm": "truncated",
    "derived/j2k_multiframe_says5_has4.dcm": "truncated",
    "derived/j2k_truncated_60pct.dcm": "decode_failed",
}
# Valid files without image whose last element is cut as well.
CUT = {"GH626.dcm", "rtplan_truncated.dcm", "GH179A.dcm"}
LOSSY_JPEG = ("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51")
SECONDS = 5.0


@pytest.fixture(scope="module")
def folder(shared: Path) -> Path:
    root = shared / "data" / "dicom-corpus"
    if not (root / "INDEX.csv").is_file():
        pytest.skip("needs the DICOM corpus of ../shared/data")
    return root


@pytest.fixture(scope="module")
def rows(folder: Path) -> dict[str, dict[str, str]]:
    return {row["file"]: row for row in corpus.index(folder)}


@pytest.fixture(scope="module")
def outcomes(folder: Path) -> dict[str, dict[str, object]]:
    """Decode all files in one child that may take one GiB beyond its libraries."""
    ended = subprocess.run(
        [sys.executable, "-m", "tests.readers.corpus", str(folder)],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
    found = [json.loads(line) for line in ended.stdout.splitlines()]
    return {str(item["file"]): item for item in found}


def of(rows: dict[str, dict[str, str]], expected: str) -> list[dict[str, str]]:
    return [row for row in rows.values() if row["expected"] == expected]


def is_lossy_jpeg(row: dict[str, str]) -> bool:
    return row["transfer_syntax"] in LOSSY_JPEG


def test_every_file_was_tried(
    rows: dict[str, dict[str, str]], outcomes: dict[str, dict[str, object]]
) -> None:
    assert len(rows) == 161
    assert rows.keys() == outcomes.keys()


def test_lossless_files_decode_to_their_reference_hash(
    rows: dict[str, dict[str, str]], outcomes: dict[str, dict[str, object]]
) -> None:
    wanted = {
        row["file"]: (row["pixel_sha256"], row["pixel_shape"], row["pixel_dtype"])
        for row in of(rows, "decodes")
        if not is_lossy_jpeg(row)
    }
    found = {
        name: (
            outcomes[name].get("sha256"),
            "x".join(map(str, outcomes[name].get("shape", []))),  # type: ignore[arg-type]
            outcomes[name].get("dtype"),
        )
        for name in wanted
    }
    assert len(wanted) == 93
    assert found == wanted


def test_lossy_jpeg_has_the_reference_shape_and_range_within_five_levels(
    rows: dict[str, dict[str, str]], outcomes: dict[str, dict[str, object]]
) -> None:
    chosen = [row for row in of(rows, "decodes") if is_lossy_jpeg(row)]
    assert len(chosen) == 14
    for row in chosen:
        found = outcomes[row["file"]]
        assert "x".join(map(str, found["shape"])) == row["pixel_shape"], row["file"]  # type: ignore[call-overload]
        assert found["dtype"] == row["pixel_dtype"]
        assert found["lossy"] is True
        reference = [float(row["pixel_min"]), float(row["pixel_max"])]
        assert np.abs(np.subtract(found["range"], reference)).max() <= 5, row["file"]  # type: ignore[arg-type]


def test_broken_files_are_refused_each_for_its_reason(
    rows: dict[str, dict[str, str]], outcomes: dict[str, dict[str, object]]
) -> None:
    found = {row["file"]: outcomes[row["file"]].get("reason") for row in of(rows, "broken")}
    assert found == REFUSED


def test_files_without_image_are_told_from_broken_ones(
    rows: dict[str, dict[str, str]], outcomes: dict[str, dict[str, object]]
) -> None:
    found = {row["file"]: outcomes[row["file"]].get("reason") for row in of(rows, "no-image")}
    wanted = {name: "truncated" if name in CUT else "no_pixels" for name in found}
    assert len(found) == 17
    assert found == wanted


def test_encodings_without_decoder_are_reported_as_unsupported(
    rows: dict[str, dict[str, str]], outcomes: dict[str, dict[str, object]]
) -> None:
    found = {row["file"]: outcomes[row["file"]].get("reason") for row in of(rows, "unsupported")}
    assert len(found) == 3
    assert set(found.values()) == {"unsupported"}


def test_every_file_takes_seconds_and_less_than_a_gigabyte(
    outcomes: dict[str, dict[str, object]],
) -> None:
    assert max(float(item["seconds"]) for item in outcomes.values()) < SECONDS  # type: ignore[arg-type]
    assert max(int(item["peak"]) for item in outcomes.values()) < corpus.GIB  # type: ignore[call-overload]


def test_8_bit_jpeg_agrees_with_pillow_within_five_levels(
    folder: Path, rows: dict[str, dict[str, str]]
) -> None:
    from pydicom import dcmread
    from pydicom.pixels.decoders.base import get_decoder

    chosen = [
        row for row in of(rows, "decodes") if is_lossy_jpeg(row) and row["bits_stored"] == "8"
    ]
    assert len(chosen) == 12
    for row in chosen:
        dataset = dcmread(folder / row["file"])
        decoder = get_decoder(dataset.file_meta.TransferSyntaxUID)
        reference, _ = decoder.as_array(dataset, raw=True, decoding_plugin="pillow")
        found = decode(parse((folder / row["file"]).read_bytes())).array
        assert np.abs(found.astype(int) - reference.astype(int)).max() <= 5, row["file"]


@pytest.mark.parametrize("name", ["JPGExtended.dcm", "RG2_JPLY_fixed.dcm"])
def test_12_bit_jpeg_agrees_with_simpleitk_within_five_levels(folder: Path, name: str) -> None:
    sitk = pytest.importorskip("SimpleITK")
    reference = sitk.GetArrayFromImage(sitk.ReadImage(str(folder / name))).squeeze()
    found = decode(parse((folder / name).read_bytes())).array
    assert np.abs(found.astype(int) - reference.astype(int)).max() <= 5


def test_mismatched_bits_are_not_flagged_while_values_fit(folder: Path) -> None:
    stored = decode(parse((folder / "derived/j2k_bits10_says16.dcm").read_bytes()))
    assert (stored.bits_stored, stored.bits_mismatch) == (10, False)


def test_padding_bits_of_native_pixels_are_cleared(folder: Path) -> None:
    stored = decode(parse((folder / "derived/high_bits_garbage_12in16.dcm").read_bytes()))
    assert stored.array.max() < 4096
    assert not stored.bits_mismatch


def test_native_pixels_are_a_view_of_the_files_bytes(folder: Path) -> None:
    data = (folder / "MR_small.dcm").read_bytes()
    array = decode(parse(data)).array
    assert np.shares_memory(array, np.frombuffer(data, np.uint8))


def test_a_run_of_frames_equals_the_same_frames_of_the_whole(folder: Path) -> None:
    for name in ("emri_small.dcm", "emri_small_RLE.dcm", "derived/j2k_multiframe5_10bit.dcm"):
        file = parse((folder / name).read_bytes())
        np.testing.assert_array_equal(decode(file, 2, 3).array, decode(file).array[2:4])
