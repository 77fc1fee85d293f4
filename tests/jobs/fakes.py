"""Two small releases and a kernel that a job can be run on without any other room.

A release is a folder of `<patient>/<film>.bin`; the first word of a file says what happens to it.
`table.csv` may name films whose files are not there.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from schemas.errors import ContentError, UsageError
from schemas.film import FileRef, Film, RawWords
from schemas.rejects import Absent, Reject, RejectReason
from schemas.release import HeaderIndex, Licence, Release, ReleaseInfo, TissueRule
from schemas.sample import Sample
from schemas.spec import Spec
from schemas.version import PIPELINE_VERSION
from schemas.vocabulary import Annotation, LabelBasis, Modality, Pathology

REGISTRY = "tests.jobs.fakes:source"
KERNEL = "tests.jobs.fakes:kernel"


def _release(key: str, redistributable: bool) -> ReleaseInfo:
    return ReleaseInfo(
        key=key,
        title=key.title(),
        modalities=(Modality.SFM,),
        licence=Licence(
            key="test",
            title="Test licence",
            redistributable=redistributable,
            weights_releasable=True,
        ),
        citation="nobody",
        url="https://example.invalid",
        how_to_get="draw it",
        tissue=TissueRule.FILM,
    )


def _plan(key: str, release: Release, index: HeaderIndex) -> Iterator[Film | Reject | Absent]:
    sizes = release.sizes
    for path in sizes:
        if path.endswith(".bin"):
            yield _film(key, path, sizes[path])
    if "table.csv" in sizes:
        for line in release.read("table.csv").decode().split():
            if line not in sizes:
                yield Absent(
                    source=key, film_key=Path(line).stem, file=line, split_key=line.split("/")[0]
                )


def _film(key: str, path: str, size: int) -> Film:
    pathology = (Pathology.NORMAL, Pathology.BENIGN)[len(path) % 2]
    return Film(
        source=key,
        film_key=Path(path).stem,
        patient_key=path.split("/")[0],
        files=(FileRef(role="image", path=path, size=size),),
        modality=Modality.SFM,
        pathology=pathology,
        label_basis=LabelBasis.READER,
        raw=RawWords(label=pathology.value),
        annotation=Annotation.NONE,
        licence="test",
    )


def _resolve(film: Film, header: Any) -> Film:
    return film


def _source(key: str, redistributable: bool) -> SimpleNamespace:
    return SimpleNamespace(
        RELEASE=_release(key, redistributable),
        plan=lambda release, index: _plan(key, release, index),
        files_to_index=lambda release: (),
        resolve=_resolve,
    )


_SOURCES = {"alpha": _source("alpha", True), "beta": _source("beta", False)}


def source(key: str) -> Any:
    """Return a fake source."""
    if key not in _SOURCES:
        raise UsageError(f"there is no source {key!r}: the sources are alpha, beta")
    return _SOURCES[key]


def kernel(
    film: Film, read: Callable[[FileRef], bytes], spec: Spec, info: ReleaseInfo, resolve: Any
) -> Sample | Reject:
    """Do what the first word of the film's file says."""
    data = read(film.image)
    word = data.split(b" ", 1)[0].decode()
    if word == "segfault":
        ctypes.string_at(0)
    if word == "loop":
        ctypes.PyDLL(None).sleep(3600)
    if word.startswith("slow"):
        time.sleep(float(word[4:]))
    if word == "bad":
        raise ContentError(RejectReason.TRUNCATED, f"{film.image.path} ends early")
    if log := os.environ.get("FAKE_KERNEL_LOG"):
        with open(log, "a") as file:
            file.write(f"{film.film_key}\n")
    return _sample(film, spec, info, data)


def _sample(film: Film, spec: Spec, info: ReleaseInfo, data: bytes) -> Sample:
    digest = hashlib.sha256(data).hexdigest()
    number = int(digest[:8], 16)
    row = {
        "source": film.source,
        "patient_id": f"{film.source}:{film.patient_key}",
        "split_key": f"{film.source}:{film.split_key}",
        "modality": film.modality.value,
        "spot_mag": False,
        "frame_kind": film.frame_kind.value,
        "pathology": film.pathology.value,
        "label_basis": film.label_basis.value,
        "label_scope": film.label_scope.value,
        "findings": ["mass"],
        "raw": {"label": film.raw.label},
        "annotation": "complete",
        "annotation_kind": "circle",
        "n_lesions": 1,
        **dict.fromkeys(("native_height", "native_width", "height", "width"), 8),
        "spacing_source": "absent",
        "mm_eff": 204.8 / (1 + number % 9),
        "mm_nominal": True,
        "orientation": "identity",
        **dict.fromkeys(("crop_x", "crop_y"), 0),
        "scale": [1.0, 1.0],
        "bits_stored": 8,
        "window_kind": "none",
        **dict.fromkeys(("breast_fraction", "p01", "p50", "p99", "mean"), number / 7),
        "source_sha256": digest,
        "pixel_sha256": digest,
        "phash": digest,
        "quality_flags": [],
        "licence": film.licence,
        "redistributable": info.licence.redistributable,
        "weights_releasable": True,
        "citation": info.citation,
        "film_key": film.film_key,
        "source_files": [film.image.path],
        "pipeline_version": PIPELINE_VERSION,
        "spec": spec.key(),
    }
    lesion = {
        "lesion_id": "1",
        "source_ids": ["a"],
        "finding": "mass",
        "pathology": film.pathology.value,
        "label_basis": film.label_basis.value,
        **{name: [] for name in ("shape", "margin", "calc_type", "distribution", "flags")},
        "geometry_kind": "circle",
        "x0": number / 3,
    }
    return Sample(
        row=row,
        lesions=(lesion,),
        image=hashlib.sha512(data).digest() * 8,
        mask=b"mask" + digest.encode(),
        thumbnail=hashlib.shake_256(data).digest(64 * 64),
    )


def write_release(
    root: Path, patients: int, films: int = 4, words: dict[str, str] | None = None, first: int = 1
) -> Path:
    """Write a fake release: `films` files for each patient; `words` by film name."""
    for number in range(first, first + patients):
        for film in range(films):
            name = f"P_{number}_{film}"
            word = (words or {}).get(name, "good")
            path = root / f"P_{number}" / f"{name}.bin"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(f"{word} {name} {'x' * (number % 50)}".encode())
    return root


def files_of(root: Path, *prefixes: str) -> dict[str, str]:
    """Return the sha256 of every published file, but for reports of runs and the temporary."""
    found = {}
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if path.is_file() and not name.startswith((".tmp/", "runs/")):
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return {name: digest for name, digest in found.items() if name.startswith(prefixes or "")}


def dump(value: Any) -> str:
    """Return JSON for a report from a child process."""
    return json.dumps(value, sort_keys=True)
