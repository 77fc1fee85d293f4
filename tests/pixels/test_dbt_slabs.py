"""Slabs of tomosynthesis volumes: the mean of all frames, upright, with all boxes."""

from __future__ import annotations

import sys
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import ExplicitVRLittleEndian

from etl.phantoms.tomosynthesis import write_tomosynthesis
from etl.pixels.decode import Picture, load
from etl.pixels.encode import decode_mask
from etl.pixels.frames import settle_frame
from etl.pixels.standardise import standardise
from etl.sources import bcs_dbt
from schemas.film import FileRef, Film, FilmLesion, Geometry
from schemas.rejects import Reject
from schemas.spec import Spec
from schemas.vocabulary import FrameKind, GeometryKind, Orientation
from tests.pixels.dbt_volumes import (
    BOX,
    COUNT,
    TURNS,
    WIDTH,
    breast,
    counted_frames,
    film,
    large_volume,
    peak_mib,
    sample,
    volume,
)

OTHER = (70, 120, 90, 150)
"""A second lesion's box, of the upright picture of a left breast."""
WORDS: dict[str, Any] = {
    **{"patient_id": "a", "sex": "F", "study_id": "b", "description": "", "view": "CC"},
    **{"study": "2.25.111", "series": "2.25.222", "number": 1},
    **{"spacing_mm": 0.5, "window": (450.0, 900.0)},
}


def slab(data: bytes, side: str = "L", **changes: Any) -> Film:
    return film(data, side, None, frame_kind=FrameKind.SLAB, **changes)


def picture(data: bytes) -> Picture:
    ref = FileRef(role="image", path="1-1.dcm", size=len(data))
    return load(data, ref, None, FrameKind.SLAB, edges=True)


def written(folder: Path, frames: list[Any]) -> bytes:
    write_tomosynthesis(folder / "v.dcm", frames, **WORDS)
    return (folder / "v.dcm").read_bytes()


def rounded_mean(frames: Any) -> Any:
    """Return the mean as exact fractions have it: half goes up."""
    return np.floor(np.asarray(frames, np.float64).mean(axis=0) + 0.5)


def test_the_slab_is_the_mean_of_what_pydicom_reads(tmp_path: Path) -> None:
    data = volume(tmp_path, "R", upside_down=True)
    frames = dcmread(BytesIO(data)).pixel_array
    assert frames.shape[0] == COUNT
    made = picture(data)
    assert made.array.dtype == np.uint16
    assert np.array_equal(made.array, rounded_mean(frames))
    assert made.frames == COUNT


def test_halves_go_up_and_the_largest_values_do_not_wrap(tmp_path: Path) -> None:
    rng = np.random.default_rng(8)
    frames = list(rng.integers(0, 1 << 16, (6, 64, 48), dtype=np.uint16))
    for frame in frames:
        frame[:8] = 65535
    frames[5][8:16] = frames[4][8:16] + np.uint16(1)
    made = picture(written(tmp_path, frames))
    assert np.array_equal(made.array, rounded_mean(frames))
    assert made.array.max() == 65535


def test_plain_pixels_give_the_same_slab(tmp_path: Path) -> None:
    data = volume(tmp_path, "L")
    plain = dcmread(BytesIO(data))
    plain.decompress()
    assert plain.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    stream = BytesIO()
    plain.save_as(stream)
    assert np.array_equal(picture(stream.getvalue()).array, picture(data).array)


@pytest.mark.parametrize(("side", "upside_down", "orientation"), TURNS)
def test_boxes_of_all_slices_lie_where_their_squares_are_stored(
    tmp_path: Path, side: str, upside_down: bool, orientation: str
) -> None:
    turn = -1 if upside_down else 1
    mirror = 1 if side == "L" else -1
    frames = []
    for number in range(8):
        frame = breast("L")
        frame[BOX[1] : BOX[3], BOX[0] : BOX[2]] -= 200
        if number in (2, 6):
            x0, y0, x1, y1 = BOX if number == 2 else OTHER
            frame[y0:y1, x0:x1] += 3000
        frames.append(np.ascontiguousarray(frame[:, ::mirror][::turn, ::turn]))
    lesions = []
    for name, place, box in (("1", 2, BOX), ("2", 6, OTHER)):
        x0, y0, x1, y1 = box if side == "L" else (WIDTH - box[2], box[1], WIDTH - box[0], box[3])
        shape = Geometry(kind=GeometryKind.BOX, values=(float(x0), float(y0), float(x1), float(y1)))
        depth = {"slice_first": place, "slice_last": place}
        lesions.append(FilmLesion(lesion_id=name, pathology="malignant", geometry=shape, **depth))
    data = written(tmp_path, frames)
    made = sample(data, slab(data, side, lesions=tuple(lesions)))
    assert made.row["orientation"] == orientation
    assert made.row["frame_kind"] == "slab"
    assert (made.row["frame"], made.row["depth_fraction"]) == (None, None)
    assert made.row["quality_flags"] == ["bits_mismatch"]
    assert [lesion["slice_first"] for lesion in made.lesions] == [2, 6]
    for lesion, frame in zip(made.lesions, (frames[2], frames[6]), strict=True):
        rows, columns = np.nonzero(frame > 2000)
        box = [lesion[f"native_{corner}"] for corner in ("x0", "y0", "x1", "y1")]
        assert box == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    assert made.mask is not None
    drawn = decode_mask(made.mask) == 2
    for box in (BOX, OTHER):  # in the standard picture every breast is a left one
        x0, y0, x1, y1 = box
        assert drawn[y0 : y1 - 1, x0 - made.row["crop_x"] : x1 - 1].mean() > 0.9
    assert drawn.sum() == pytest.approx(30 * 40 + 20 * 30, rel=0.05)


def test_frame_0_decides_for_the_slab_as_for_the_slices(tmp_path: Path) -> None:
    data = written(tmp_path, [breast("L"), breast("R"), breast("R")])
    turned = settle_frame(slab(data), picture(data))[1]
    assert turned is Orientation.IDENTITY
    upside_down = [np.ascontiguousarray(frame[::-1, ::-1]) for frame in [breast("L")] * 3]
    data = written(tmp_path, upside_down)
    assert settle_frame(slab(data), picture(data))[1] is Orientation.ROT180


def test_one_frame_beyond_ten_bits_is_believed_and_said(tmp_path: Path) -> None:
    frames = [breast("L", 2000 if number == 4 else 400) for number in range(6)]
    data = written(tmp_path, frames)
    made = sample(data, slab(data))
    assert made.row["bits_stored"] == 16
    assert made.row["quality_flags"] == ["bits_mismatch"]
    assert np.array_equal(picture(data).array, rounded_mean(frames))


def test_slabs_and_slices_of_one_volume_share_window_spacing_and_files(tmp_path: Path) -> None:
    data = volume(tmp_path, "L")
    whole, part = sample(data, slab(data)).row, sample(data, film(data, "L", 3)).row
    for name in ("window", "window_kind", "native_pixel_mm", "pixel_mm", "source_sha256"):
        assert whole[name] == part[name]
    assert whole["pixel_sha256"] != part["pixel_sha256"]
    assert whole["native_frames"] == COUNT


@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_a_truncated_volume_gives_neither_slab_nor_slice(tmp_path: Path, share: float) -> None:
    data = volume(tmp_path, "L")
    data = data[: int(len(data) * share)]
    for one in (slab(data), film(data, "L", 1)):
        made = standardise(one, lambda _: data, Spec(), bcs_dbt.RELEASE, bcs_dbt.resolve)
        assert isinstance(made, Reject)
        assert (made.reason, made.stage) == ("truncated", "decode")


def test_a_slab_with_one_broken_frame_is_rejected_and_other_slices_are_not(tmp_path: Path) -> None:
    header = dcmread(BytesIO(volume(tmp_path, "L")))
    frames = list(generate_frames(header.PixelData, number_of_frames=COUNT))
    frames[9] = frames[9][: len(frames[9]) // 2] + bytes(len(frames[9]) // 2)
    header.PixelData = encapsulate(frames)
    stream = BytesIO()
    header.save_as(stream)
    data = stream.getvalue()
    made = standardise(slab(data), lambda _: data, Spec(), bcs_dbt.RELEASE, bcs_dbt.resolve)
    assert isinstance(made, Reject)
    assert made.stage == "decode"
    assert sample(data, film(data, "L", 6)).row["frame"] == 6


def test_frames_are_decoded_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = counted_frames(monkeypatch)
    data = volume(tmp_path, "L")
    sample(data, slab(data))
    assert len(calls) == COUNT + 1  # frame 0 once more, for the side of the breast


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc to measure a process")
@pytest.mark.timeout(240)
def test_the_slab_of_a_hundred_large_frames_takes_less_than_600_mib(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """2457 x 1890 x 100: 929 MB decoded; every other frame is smooth, which saves half the time."""
    size = large_volume(tmp_path, (4, 0))
    assert size > 68_000_000  # the release's median
    ref = FileRef(role="image", path="1-1.dcm", size=size)
    one = replace(slab(b"", lesions=()), files=(ref,))
    peak = peak_mib(tmp_path, one)
    with capsys.disabled():
        print(f"\npeak of the slab of a volume of {size / 1e6:.0f} MB: {peak} MiB")
    assert peak < 600
