"""Identities planted into phantom releases, and a search for them in everything a corpus holds."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq
import pydicom
from pydicom.datadict import DicomDictionary
from pydicom.dataset import Dataset

IDENTITIES = (
    "QUARTERMAIN",
    "ZEBULON",
    "19570403",
    "1957-04-03",
    "MRN7744120",
    "ACC5551212",
    "04969770142",
)
"""A name, a first name, a day in two spellings, a hospital number, an order number, a telephone."""
FREE_TEXT = "Zebulon Quartermain born 1957-04-03, MRN7744120, ACC5551212, tel 04969770142"
_TEXT = {"LO": 64, "SH": 16, "LT": 80, "ST": 80, "UT": 80, "UC": 80, "PN": 64}


def _keywords() -> list[tuple[str, str]]:
    """Return keyword and VR of every text, person and date element of the standard."""
    return [
        (keyword, vr)
        for tag, (vr, _, _, retired, keyword) in sorted(DicomDictionary.items())
        if vr in (*_TEXT, "DA") and keyword and not retired and (tag >> 16) not in (0, 2, 4)
    ]


def plant_dicom(path: Path) -> Dataset:
    """Write identities into every text element, private tags, an overlay and the pixels' corner."""
    data = pydicom.dcmread(path)
    is_picture = "mask" not in str(data.SeriesDescription) and "crop" not in str(
        data.SeriesDescription
    )
    plant_text(data)
    item = Dataset()
    plant_text(item)
    data.RequestAttributesSequence = [item]
    private = data.private_block(0x0029, "QUARTERMAIN 1.0", create=True)
    private.add_new(0x01, "LO", "Zebulon Quartermain")
    private.add_new(0x02, "UN", FREE_TEXT.encode())
    image = data.pixel_array.copy()
    _overlay(data, image.shape)
    if is_picture:
        _burn(data, image)
    data.PixelData = image.astype(image.dtype.newbyteorder("<")).tobytes()
    data.save_as(path)
    return data


def plant_text(data: Dataset) -> None:
    """Fill every text, person and date element of a data set."""
    for keyword, vr in _keywords():
        if vr == "DA":
            setattr(data, keyword, "19570403")
        elif vr == "PN":
            setattr(data, keyword, "QUARTERMAIN^ZEBULON")
        else:
            words = "MRN7744120" if vr == "SH" else FREE_TEXT
            setattr(data, keyword, words[: _TEXT[vr]])


def _overlay(data: Dataset, shape: tuple[int, int]) -> None:
    bits = np.zeros(shape, np.uint8)
    cv2.putText(bits, "QUARTERMAIN", (2, shape[0] // 2), cv2.FONT_HERSHEY_SIMPLEX, 0.5, 1)
    data.add_new(0x60000010, "US", shape[0])
    data.add_new(0x60000011, "US", shape[1])
    data.add_new(0x60000022, "LO", "Zebulon Quartermain")
    data.add_new(0x60000040, "CS", "G")
    data.add_new(0x60000050, "SS", [1, 1])
    data.add_new(0x60000100, "US", 1)
    data.add_new(0x60000102, "US", 0)
    data.add_new(0x60001500, "LO", "MRN7744120")
    packed = np.packbits(bits.ravel(), bitorder="little").tobytes()
    data.add_new(0x60003000, "OW", packed + b"\0" * (len(packed) % 2))


def _burn(data: Dataset, image: np.ndarray) -> None:
    """Print a name into the air at the foot of the picture, opposite the chest wall."""
    height, width = image.shape
    patch = np.zeros((14, 60), np.uint8)
    cv2.putText(patch, "QUARTERMAIN", (0, 10), cv2.FONT_HERSHEY_SIMPLEX, 0.28, 255)
    heavy = image[:, : width // 2].mean() > image[:, width // 2 :].mean()
    inverted = data.PhotometricInterpretation == "MONOCHROME1"
    left = heavy == inverted  # breast tissue is bright, or dark where the picture is inverted
    x = 2 if left else width - 62
    part = image[height - 18 : height - 4, x : x + 60]
    part[patch > 100] = 0 if inverted else (1 << int(data.BitsStored)) * 3 // 4


def plant_json(path: Path) -> None:
    """Add identities to every object of a JSON file, as free text of fields nobody reads."""
    whole = json.loads(path.read_text())
    _fill(whole)
    path.write_text(json.dumps(whole))


def _fill(value: object) -> None:
    if not isinstance(value, dict):
        return
    for item in list(value.values()):
        _fill(item)
    value["LesionNotes"] = value["EquipmentMakeModel"] = value["Comment"] = FREE_TEXT
    value["Surname"] = "Quartermain"


# ---- searching


def everything(out: Path) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of all that is not private: raw, and unpacked where packed."""
    for path in sorted(item for item in out.rglob("*") if item.is_file()):
        name = path.relative_to(out).as_posix()
        if name.startswith("private/"):
            continue
        yield f"{name} (name)", name.encode()
        data = path.read_bytes()
        yield name, data
        if name.endswith(".parquet"):
            table = pq.read_table(io.BytesIO(data))
            yield f"{name} (values)", repr(table.to_pylist()).encode()
            yield f"{name} (schema)", repr(table.schema.to_string()).encode()
        if name.endswith(".tar"):
            yield from _members(name, data)


def _members(name: str, data: bytes) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        for member in tar:
            file = tar.extractfile(member)
            content = file.read() if file else b""
            yield f"{name}/{member.name}", content + member.name.encode()
            if member.name.endswith(".png"):
                assert _chunks(content) <= {b"IHDR", b"IDAT", b"IEND"}, member.name


def _chunks(png: bytes) -> set[bytes]:
    """Return the kinds of a PNG's chunks (PNG specification, 5.3)."""
    kinds, at = set(), 8
    while at < len(png):
        size = int.from_bytes(png[at : at + 4], "big")
        kinds.add(png[at + 4 : at + 8])
        at += 12 + size
    return kinds


def found(parts: Iterable[tuple[str, bytes]], words: Iterable[str]) -> list[tuple[str, str]]:
    """Return (place, word) for each word that stands in a part, in any case, also as UTF-16."""
    needles = [(word, form) for word in words for form in _forms(word)]
    return sorted(
        {
            (name, word)
            for name, content in parts
            for lowered in [content.lower()]
            for word, form in needles
            if form in lowered
        }
    )


def _forms(word: str) -> tuple[bytes, ...]:
    low = word.lower()
    return (low.encode(), low.encode("utf-16-le"))
