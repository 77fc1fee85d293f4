"""Tomosynthesis volumes: which frame is shown, which way up, and what it costs."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence

from etl.phantoms.tomosynthesis import write_tomosynthesis
from etl.pixels.decode import load
from etl.pixels.frames import settle_frame
from etl.pixels.standardise import standardise
from etl.readers import dicom, dicom_pixels
from etl.sources import bcs_dbt
from schemas.film import FileRef, Film, FilmLesion, Geometry
from schemas.rejects import Reject
from schemas.sample import Sample
from schemas.spec import Spec
from schemas.vocabulary import (
    FrameKind,
    GeometryFrame,
    GeometryKind,
    Laterality,
    Modality,
    Orientation,
    SpacingSource,
)

HEIGHT, WIDTH, COUNT = 240, 180, 12
BOX = (20, 60, 50, 100)
"""Of the upright picture of a left breast: X, Y, X + Width, Y + Height."""


def breast(side: str, level: int = 400) -> np.ndarray[Any, np.dtype[np.uint16]]:
    """Half an ellipse on one side, brighter where the box is, of a little noise."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    inside = ((x + 0.5) / 130) ** 2 + ((y - 119.5) / 110) ** 2 < 1
    noise = np.random.default_rng(2).integers(0, 60, (HEIGHT, WIDTH))
    image = np.where(inside, level + noise, 8)
    image[BOX[1] : BOX[3], BOX[0] : BOX[2]] += 200
    return (image if side == "L" else image[:, ::-1]).astype(np.uint16)


def upright_box(side: str) -> tuple[int, ...]:
    return BOX if side == "L" else (WIDTH - BOX[2], BOX[1], WIDTH - BOX[0], BOX[3])


def volume(folder: Path, side: str, *, upside_down: bool = False, level: int = 400) -> bytes:
    turn = -1 if upside_down else 1
    frames = []
    for number in range(COUNT):
        frame = breast(side, level) + np.uint16(number)
        frames.append(np.ascontiguousarray(frame[::turn, ::turn]))
    path = folder / "1-1.dcm"
    write_tomosynthesis(
        path,
        frames,
        patient_id="DBT-P90001",
        sex="F",
        study_id="DBT-S90001",
        description="",
        study="2.25.11111111111111111",
        series="2.25.22222222222222222",
        number=1,
        view="CC",
        spacing_mm=0.5,
        window=(450.0, 900.0),
    )
    return path.read_bytes()


def film(data: bytes, side: str, frame: int | None = 6, **changes: Any) -> Film:
    values = tuple(float(value) for value in upright_box(side))
    lesion = FilmLesion(lesion_id="1", geometry=Geometry(kind=GeometryKind.BOX, values=values))
    fields: dict[str, Any] = {
        "source": "bcs_dbt",
        "film_key": "one",
        "patient_key": "anna",
        "files": (FileRef(role="image", path="1-1.dcm", size=len(data)),),
        "modality": Modality.DBT,
        "laterality": Laterality(side),
        "frame_kind": FrameKind.SLICE,
        "frame": frame,
        "geometry_frame": GeometryFrame.DBT_UPRIGHT,
        "lesions": (lesion,),
        "annotation": "complete",
        "annotation_kind": "box",
        "licence": "free",
    }
    return Film(**{**fields, **changes})


def sample(data: bytes, one: Film) -> Sample:
    made = standardise(one, lambda _: data, Spec(), bcs_dbt.RELEASE, bcs_dbt.resolve)
    assert isinstance(made, Sample), made
    return made


@pytest.mark.parametrize(
    ("side", "upside_down", "orientation"),
    [
        ("L", False, "identity"),
        ("R", False, "hflip"),
        ("L", True, "rot180"),
        ("R", True, "vflip"),
    ],
)
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
    calls = []
    decode = dicom_pixels.decode_frame

    def counted(stream: bytes, *rest: Any) -> Any:
        calls.append(len(stream))
        return decode(stream, *rest)

    monkeypatch.setattr(dicom_pixels, "decode_frame", counted)
    data = volume(tmp_path, "L")
    sample(data, film(data, "L", frame))
    assert len(calls) == decoded


MEASURE = """
import sys
from etl.pixels.standardise import standardise
from etl.sources import bcs_dbt
from schemas.film import Film
from schemas.sample import Sample
from schemas.spec import Spec
from schemas.store import open_store

store = open_store(sys.argv[1])
for text in sys.argv[2:]:
    film = Film.from_json(text)
    read = lambda ref: store.read(ref.path)
    made = standardise(film, read, Spec(), bcs_dbt.RELEASE, bcs_dbt.resolve)
    assert isinstance(made, Sample), made
# not ru_maxrss, which begins with what the parent held when it forked
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(int(status["VmHWM"].split()[0]) // 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc to measure a process")
def test_a_hundred_large_frames_take_less_than_600_mib(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """2457 x 1890 x 100: 929 MB decoded; one code stream stands for all, as large as real ones."""
    rng = np.random.default_rng(4)
    y, x = np.mgrid[:2457, :1890].astype(np.float32)
    inside = (x / 1500) ** 2 + ((y - 1228) / 1100) ** 2 < 1
    noise = rng.standard_normal(inside.shape, dtype=np.float32)
    frame = np.where(inside, 400 + 3 * noise, 8).astype(np.uint16)
    code = imagecodecs.jpeg2k_encode(
        frame, level=0, codecformat="j2k", reversible=True, bitspersample=16, numthreads=1
    )
    header = dcmread(BytesIO(volume(tmp_path, "L")))
    header.Rows, header.Columns, header.NumberOfFrames = 2457, 1890, 100
    header.PixelData = encapsulate([bytes(code)] * 100)
    header.save_as(tmp_path / "1-1.dcm")
    size = (tmp_path / "1-1.dcm").stat().st_size
    assert size > 68_000_000  # the release's median
    ref = FileRef(role="image", path="1-1.dcm", size=size)
    one = film(b"", "L", 50, lesions=(), files=(ref,))
    other = replace(one, frame=None, depth_fraction=0.3)
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(tmp_path), one.to_json(), other.to_json()],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    with capsys.disabled():
        print(f"\npeak of a volume of {size / 1e6:.0f} MB: {done.stdout.strip()} MiB")
    assert int(done.stdout) < 600


def test_the_reader_reads_what_pydicom_reads(tmp_path: Path) -> None:
    data = volume(tmp_path, "R")
    ours = dicom.decode(dicom.parse(data)).array
    assert np.array_equal(ours, dcmread(BytesIO(data)).pixel_array)
