"""Small and large tomosynthesis volumes for tests of their slices and slabs."""

from __future__ import annotations

import subprocess
import sys
from io import BytesIO
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from pydicom import dcmread
from pydicom.encaps import encapsulate

from etl.phantoms.tomosynthesis import write_tomosynthesis
from etl.pixels.standardise import standardise
from etl.readers import dicom_pixels
from etl.sources import bcs_dbt
from schemas.film import FileRef, Film, FilmLesion, Geometry
from schemas.sample import Sample
from schemas.spec import Spec
from schemas.vocabulary import (
    FrameKind,
    GeometryFrame,
    GeometryKind,
    Laterality,
    Modality,
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


TURNS = [
    ("L", False, "identity"),
    ("R", False, "hflip"),
    ("L", True, "rot180"),
    ("R", True, "vflip"),
]
"""Side, whether upside down, and the orientation that results."""


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


def counted_frames(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Give a list that grows by an entry for each frame that is decoded."""
    calls: list[int] = []
    decode = dicom_pixels.decode_frame

    def counted(stream: bytes, *rest: Any) -> Any:
        calls.append(len(stream))
        return decode(stream, *rest)

    monkeypatch.setattr(dicom_pixels, "decode_frame", counted)
    return calls


def large_volume(folder: Path, noise: tuple[int, ...]) -> int:
    """Write 1-1.dcm of 2457 x 1890 x 100, 929 MB decoded, and give its size.

    Its frames are code streams of these deviations of noise in turn, so that it is as large as
    real ones.
    """
    rng = np.random.default_rng(4)
    y, x = np.mgrid[:2457, :1890].astype(np.float32)
    inside = (x / 1500) ** 2 + ((y - 1228) / 1100) ** 2 < 1
    grain = rng.standard_normal(inside.shape, dtype=np.float32)
    codes = [
        bytes(
            imagecodecs.jpeg2k_encode(
                np.where(inside, 400 + level * grain, 8).astype(np.uint16),
                level=0,
                codecformat="j2k",
                reversible=True,
                bitspersample=16,
                numthreads=1,
            )
        )
        for level in noise
    ]
    header = dcmread(BytesIO(volume(folder, "L")))
    header.Rows, header.Columns, header.NumberOfFrames = 2457, 1890, 100
    header.PixelData = encapsulate(codes * (100 // len(codes)))
    header.save_as(folder / "1-1.dcm")
    return (folder / "1-1.dcm").stat().st_size


def peak_mib(folder: Path, *films: Film) -> int:
    """Standardise films of a folder in a process of their own and give its peak."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(folder), *(one.to_json() for one in films)],
        capture_output=True,
        text=True,
        check=False,
        timeout=220,
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout)
