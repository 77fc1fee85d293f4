"""Tomosynthesis volumes: which frame is shown, which way up, and what it costs."""

from __future__ import annotations

import sys
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from etl.phantoms.tomosynthesis import write_tomosynthesis
from etl.pixels.decode import load
from etl.pixels.frames import settle_frame
from etl.pixels.standardise import standardise
from etl.readers import dicom
from etl.sources import bcs_dbt
from schemas.film import FileRef, FilmLesion, Geometry
from schemas.rejects import Reject
from schemas.spec import Spec
from schemas.vocabulary import (
    FrameKind,
    GeometryKind,
    Orientation,
    SpacingSource,
)
from tests.pixels.dbt_volumes import (
    COUNT,
    TURNS,
    breast,
    counted_frames,
    film,
    large_volume,
    peak_mib,
    sample,
    volume,
)


@pytest.mark.parametrize(("side", "upside_down", "orientation"), TURNS)
def test_pixels_are_turned_and_boxes_found_where_the_bright_square_is_stored(
    tmp_path: Path, side: str, upside_down: bool, orientation: str
) -> None:
    data = volume(tmp_path, side, upside_down=upside_down)
    made = sample(data, film(data, side))
    assert made.row["orientation"] == orientation
    assert made.row["quality_flags"] == []
    stored = dcmread(BytesIO(data)).pixel_array[6]
    rows, columns = np.nonzero(stored > 600)
    box = [made.lesions[0][f"native_{name}"] for name in ("x0", "y0", "x1", "y1")]
    assert box == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


@pytest.mark.parametrize("side", ["L", "R"])
def test_what_the_header_says_of_side_and_orientation_counts_for_nothing(
    tmp_path: Path, side: str
) -> None:
    header = dcmread(BytesIO(volume(tmp_path, side)))
    header.PatientOrientation = ["P", "F"] if side == "L" else ["A", "F"]
    header.ImageLaterality = "R" if side == "L" else "L"
    stream = BytesIO()
    header.save_as(stream)
    made = sample(stream.getvalue(), film(stream.getvalue(), side))
    assert made.row["quality_flags"] == []
    assert made.row["orientation"] == ("identity" if side == "L" else "hflip")


def test_frame_0_decides_for_every_slice(tmp_path: Path) -> None:
    """A frame that is brighter at its other side is turned with its volume, and says so."""
    frames = [breast("L"), breast("R"), breast("L")]
    path = tmp_path / "odd.dcm"
    words = {"patient_id": "a", "sex": "F", "study_id": "b", "description": "", "view": "CC"}
    uids = {"study": "2.25.111", "series": "2.25.222", "number": 1}
    write_tomosynthesis(path, frames, spacing_mm=0.5, window=(450.0, 900.0), **words, **uids)
    data = path.read_bytes()
    turned = {}
    for number in range(3):
        one = film(data, "L", number)
        picture = load(data, one.image, one.frame, one.frame_kind, edges=True)
        turned[number] = settle_frame(one, picture)[1]
    assert set(turned.values()) == {Orientation.IDENTITY}
    mirrored = film(data, "L", 1, lesions=())
    assert sample(data, mirrored).row["quality_flags"] == ["laterality_conflict"]


def test_all_shapes_are_turned_about_the_middle_of_the_picture(tmp_path: Path) -> None:
    data = volume(tmp_path, "L", upside_down=True)
    shapes = {
        GeometryKind.POINT: ((10.5, 20.5), (169.5, 219.5)),
        GeometryKind.CIRCLE: ((10.5, 20.5, 4.0), (169.5, 219.5, 4.0)),
        GeometryKind.ELLIPSE: ((10.0, 20.0, 4.0, 2.0, 30.0), (170.0, 220.0, 4.0, 2.0, 30.0)),
    }
    lesions = [
        FilmLesion(lesion_id=kind, geometry=Geometry(kind=kind, values=given))
        for kind, (given, _) in shapes.items()
    ]
    ring = Geometry(kind=GeometryKind.POLYGON, rings=(((0.0, 0.0), (5.0, 0.0), (5.0, 9.0)),))
    lesions += [FilmLesion(lesion_id="ring", geometry=ring), FilmLesion(lesion_id="none")]
    one = film(data, "L", lesions=tuple(lesions))
    picture = load(data, one.image, one.frame, one.frame_kind, edges=True)
    settled, _ = settle_frame(one, picture)
    *plain, polygon, nothing = (lesion.geometry for lesion in settled.lesions)
    assert [shape and shape.values for shape in plain] == [after for _, after in shapes.values()]
    assert polygon
    assert polygon.rings == (((180.0, 240.0), (175.0, 240.0), (175.0, 231.0)),)
    assert nothing is None


def test_window_and_spacing_come_from_the_functional_groups(tmp_path: Path) -> None:
    data = volume(tmp_path, "L")
    row = sample(data, film(data, "L")).row  # LINEAR: PS3.3 C.11.2.1.2.1
    assert (row["window_kind"], row["window"]) == ("device", [0.0, 899.0])
    assert row["native_pixel_mm"] == [0.5, 0.5]
    assert row["spacing_source"] == SpacingSource.HEADER
    assert row["native_frames"] == COUNT


def test_spacing_is_also_found_with_the_first_frame(tmp_path: Path) -> None:
    header = dcmread(BytesIO(volume(tmp_path, "L")))
    shared = header.SharedFunctionalGroupsSequence[0]
    for groups in header.PerFrameFunctionalGroupsSequence:
        groups.PixelMeasuresSequence = shared.PixelMeasuresSequence
    del shared.PixelMeasuresSequence
    stream = BytesIO()
    header.save_as(stream)
    data = stream.getvalue()
    assert sample(data, film(data, "L")).row["native_pixel_mm"] == [0.5, 0.5]


def test_each_frame_may_have_its_own_window(tmp_path: Path) -> None:
    header = dcmread(BytesIO(volume(tmp_path, "L")))
    del header.SharedFunctionalGroupsSequence[0].FrameVOILUTSequence
    for number, groups in enumerate(header.PerFrameFunctionalGroupsSequence):
        voi = Dataset()
        voi.WindowCenter, voi.WindowWidth = 400 + number, 800
        groups.FrameVOILUTSequence = Sequence([voi])
    stream = BytesIO()
    header.save_as(stream)
    data = stream.getvalue()
    assert sample(data, film(data, "L", 6)).row["window"] == [6.0, 805.0]
    unframed = film(data, "L", None, depth_fraction=0.7, lesions=())
    assert sample(data, unframed).row["window"] == [8.0, 807.0]


def test_values_above_the_header_s_ten_bits_are_kept_and_said(tmp_path: Path) -> None:
    data = volume(tmp_path, "L", level=2000)
    row = sample(data, film(data, "L")).row
    assert row["bits_stored"] == 16
    assert row["quality_flags"] == ["bits_mismatch"]
    picture = load(data, film(data, "L").image, 6, FrameKind.SLICE)
    assert picture.array.max() > 2000


@pytest.mark.parametrize(("depth", "frame"), [(0.25, 3), (0.4999, 5), (0.74, 8), (1.0, 11)])
def test_a_depth_becomes_the_frame_that_holds_it(tmp_path: Path, depth: float, frame: int) -> None:
    data = volume(tmp_path, "L")
    one = film(data, "L", None, depth_fraction=depth, lesions=(), annotation="none")
    picture = load(data, one.image, None, FrameKind.SLICE, depth=depth)
    assert np.array_equal(picture.array, breast("L") + frame)
    row = sample(data, one).row
    assert (row["frame"], row["depth_fraction"]) == (frame, depth)


def test_a_frame_that_the_file_lacks_is_a_reject(tmp_path: Path) -> None:
    data = volume(tmp_path, "L")
    one = film(data, "L", COUNT)
    made = standardise(one, lambda _: data, Spec(), bcs_dbt.RELEASE, bcs_dbt.resolve)
    assert isinstance(made, Reject)
    assert made.reason == "size_conflict"


@pytest.mark.parametrize(("frame", "decoded"), [(6, 2), (0, 1)])
def test_no_frame_is_decoded_that_is_not_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, frame: int, decoded: int
) -> None:
    calls = counted_frames(monkeypatch)
    data = volume(tmp_path, "L")
    sample(data, film(data, "L", frame))
    assert len(calls) == decoded


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc to measure a process")
def test_a_hundred_large_frames_take_less_than_600_mib(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """2457 x 1890 x 100: 929 MB decoded; one code stream stands for all, as large as real ones."""
    size = large_volume(tmp_path, (3,))
    assert size > 68_000_000  # the release's median
    ref = FileRef(role="image", path="1-1.dcm", size=size)
    one = film(b"", "L", 50, lesions=(), files=(ref,))
    other = replace(one, frame=None, depth_fraction=0.3)
    peak = peak_mib(tmp_path, one, other)
    with capsys.disabled():
        print(f"\npeak of a volume of {size / 1e6:.0f} MB: {peak} MiB")
    assert peak < 600


def test_the_reader_reads_what_pydicom_reads(tmp_path: Path) -> None:
    data = volume(tmp_path, "R")
    ours = dicom.decode(dicom.parse(data)).array
    assert np.array_equal(ours, dcmread(BytesIO(data)).pixel_array)
