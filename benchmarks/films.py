"""A release of large digital films for timing: CBIS-DDSM's tables over phantom FFDM DICOMs."""

from __future__ import annotations

import csv
import os
from pathlib import Path

from etl.phantoms.dicom import uid, write_ffdm
from etl.phantoms.film import draw_ffdm

__all__ = ["SYNTAXES", "draw", "release"]

SYNTAXES = {"JPEG lossless": "1.2.840.10008.1.2.4.70", "JPEG 2000": "1.2.840.10008.1.2.4.90"}
SHAPE = (4096, 3328)
DISTINCT = 8
_HEAD = (
    "patient_id,breast_density,left or right breast,image view,abnormality id,abnormality type,"
    "mass shape,mass margins,assessment,pathology,subtlety,image file path,"
    "cropped image file path,ROI mask file path"
)


def draw(folder: Path, shape: tuple[int, int] = SHAPE) -> dict[str, list[Path]]:
    """Write eight distinct films in each transfer syntax; return their paths by syntax."""
    files: dict[str, list[Path]] = {name: [] for name in SYNTAXES}
    for seed in range(DISTINCT):
        image, _ = draw_ffdm(shape, 12, seed)
        for name, syntax in SYNTAXES.items():
            path = folder / name.replace(" ", "-") / f"{seed}.dcm"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_ffdm(path, image, syntax, key=f"{name}/{seed}")
            files[name].append(path)
    return files


def release(root: Path, films: list[Path], count: int) -> list[Path]:
    """Lay `count` films out as a CBIS-DDSM release; the files are links to the distinct ones."""
    rows, paths = [], []
    for number in range(count):
        patient = f"P_{10000 + number}"
        name = f"Mass-Training_{patient}_LEFT_CC"
        study, series, region = (uid("bench", number, part) for part in ("s", "f", "r"))
        path = root / name / study / series / "000000.dcm"
        path.parent.mkdir(parents=True, exist_ok=True)
        os.link(films[number % len(films)], path)
        roi = f"{name}_1/{study}1/{region}/00000"
        cells = [patient, 2, "LEFT", "CC", 1, "mass", "ROUND", "CIRCUMSCRIBED", 3, "BENIGN", 3]
        rows.append([*cells, path.relative_to(root).as_posix(), f"{roi}0.dcm", f"{roi}1.dcm\n"])
        paths.append(path)
    with (root / "mass_case_description_train_set.csv").open("w", newline="") as sink:
        sink.write(_HEAD + "\r\n")
        csv.writer(sink, lineterminator="\r\n").writerows(rows)
    return paths
