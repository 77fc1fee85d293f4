"""Runs of slices in memory: small volumes under headers of our own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from schemas.film import FileRef, Film
from schemas.vocabulary import FrameKind, Laterality, Modality
from tests.pixels.helpers import dicom, film

SIEMENS, GE = (1, 0, 0, 0, 1, 0), (-1, 0, 0, 0, -1, 0)
Array = np.ndarray[Any, Any]


def slice_bytes(pixels: Array, number: int | None, **tags: Any) -> bytes:
    """One MR slice; a millimetre from the next, unless its tags say otherwise."""
    words: dict[str, Any] = {
        "Modality": "MR",
        "InstanceNumber": number,
        "ImagePositionPatient": [-10.0, -10.0, float(number or 0)],
        "ImageOrientationPatient": list(SIEMENS),
        "PixelSpacing": [0.7, 0.7],
        "SeriesInstanceUID": "2.25.7",
    }
    return dicom(pixels, **{**words, **tags})


def run_of(volume: Array, **tags: Any) -> dict[str, bytes]:
    """Slices `1-01.dcm`, `1-02.dcm`, … with InstanceNumber 1, 2, …"""
    return {
        f"1-{number:02d}.dcm": slice_bytes(pixels, number, **tags)
        for number, pixels in enumerate(volume, start=1)
    }


@dataclass
class Runs:
    """A reader of two runs that lie in memory."""

    pre: dict[str, bytes]
    post: dict[str, bytes]
    read: list[str] = field(default_factory=list)

    def folder(self, path: str) -> dict[str, bytes]:
        return {"pre/": self.pre, "post/": self.post}[path]

    def __call__(self, ref: FileRef) -> bytes:
        folder, _, name = ref.path.rpartition("/")
        self.read.append(ref.path)
        return self.folder(f"{folder}/")[name]

    def members(self, ref: FileRef) -> tuple[FileRef, ...]:
        return tuple(
            FileRef(role=ref.role, path=f"{ref.path}{name}", size=len(data))
            for name, data in sorted(self.folder(ref.path).items())
        )

    def slices(self, ref: FileRef) -> Iterator[tuple[str, bytes]]:
        return ((member.path, self(member)) for member in self.members(ref))


def series_film(side: str = "L", frame: int | None = None, **changes: Any) -> Film:
    """A film of the two runs: a mip, or the slice `frame`."""
    plain = film(
        modality=Modality.MRI,
        laterality=Laterality(side),
        frame_kind=FrameKind.MIP if frame is None else FrameKind.SLICE,
        frame=frame,
        **changes,
    )
    refs = tuple(FileRef(role=role, path=f"{role}/", size=1) for role in ("pre", "post"))
    return replace(plain, files=refs)
