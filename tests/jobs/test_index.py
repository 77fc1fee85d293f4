from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

from beam_jobs import index
from beam_jobs.index import HEAD_BYTES, HeadJob, index_of, read_heads
from beam_jobs.job import plan_job
from beam_jobs.settings import Settings
from etl.phantoms import cbis_ddsm
from schemas.release import Release
from tests.jobs import fakes
from tests.jobs.run_fake import settings


def write_dicom(path: Path, patient: str, padding: int = 0) -> None:
    """Write a small image; `padding` bytes of private text come before the pixels."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[patient])
    dataset = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID = SecondaryCaptureImageStorage
    dataset.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    dataset.PatientID, dataset.Modality, dataset.Laterality = patient, "MG", "L"
    dataset.Rows = dataset.Columns = 8
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit, dataset.PixelRepresentation = 15, 0
    dataset.PixelData = np.zeros((8, 8), np.uint16).tobytes()
    if padding:
        dataset.add(pydicom.DataElement(0x00091010, "UN", b"x" * padding))
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)


@pytest.fixture
def release(tmp_path: Path) -> Path:
    root = tmp_path / "alpha"
    for number in range(3):
        write_dicom(root / f"{number}.dcm", f"P_{number}")
    write_dicom(root / "long.dcm", "P_long", padding=3 * HEAD_BYTES)
    (root / "page.dcm").write_bytes(b"<html>not found</html>")
    return root


def test_heads_are_read_also_where_the_pixels_start_late(release: Path) -> None:
    names = ["0.dcm", "long.dcm", "page.dcm"]
    job = HeadJob(str(release), tuple((name, (release / name).stat().st_size) for name in names))
    rows = read_heads(job)
    assert isinstance(rows, list)
    headers = [dict(row["header"]) for row in rows]  # type: ignore[call-overload]
    assert [header.get("PatientID") for header in headers] == ["P_0", "P_long", None]
    assert headers[0]["Laterality"] == "L"


def test_only_the_head_of_a_file_is_read(release: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    big = release / "big.dcm"
    write_dicom(big, "P_big")
    with big.open("ab") as file:
        file.truncate(50 << 20)
    from schemas._local import LocalStore

    read = LocalStore.read_range
    lengths: list[int] = []

    def counted(self: LocalStore, path: str, offset: int, size: int) -> bytes:
        lengths.append(size)
        return read(self, path, offset, size)

    monkeypatch.setattr(LocalStore, "read_range", counted)
    read_heads(HeadJob(str(release), (("big.dcm", big.stat().st_size),)))
    assert lengths == [HEAD_BYTES]


def _source() -> Any:
    return SimpleNamespace(
        RELEASE=fakes.source("alpha").RELEASE,
        files_to_index=lambda release: tuple(p for p in release.sizes if p.endswith(".dcm")),
    )


def test_headers_are_read_once_and_kept_while_path_and_size_stand(
    release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = settings(tmp_path / "out", [f"alpha={release}"])
    asked: list[list[str]] = []

    def indexer(told: Any, key: str, files: Any) -> None:
        asked.append([path for path, _ in files])
        index.write_part(told, _source(), files)

    known = index_of(Release.open(str(release)), _source(), run, indexer)
    assert known["long.dcm"]["PatientID"] == "P_long"
    assert known["page.dcm"] == {}
    index_of(Release.open(str(release)), _source(), run, indexer)
    assert len(asked) == 1
    write_dicom(release / "1.dcm", "P_other")
    write_dicom(release / "new.dcm", "P_new")
    known = index_of(Release.open(str(release)), _source(), run, indexer)
    assert asked[1:] == [["1.dcm", "new.dcm"]]
    assert known["1.dcm"]["PatientID"] == "P_other"
    assert len(known) == 6


def test_a_descriptive_layout_needs_no_index(release: Path, tmp_path: Path) -> None:
    refuse: Callable[..., None] = pytest.fail  # type: ignore[assignment]
    run = settings(tmp_path / "out", [f"alpha={release}"])
    assert len(index_of(Release.open(str(release)), fakes.source("alpha"), run, refuse)) == 0


def test_a_copy_without_names_is_indexed_by_the_job_and_gives_the_films_of_the_named_one(
    tmp_path: Path,
) -> None:
    named, nameless = tmp_path / "named", tmp_path / "nameless"
    cbis_ddsm.write(named, 2, 0, layout="B", traps=False)
    cbis_ddsm.write(nameless, 2, 0, layout="C", traps=False)
    for number, folder in enumerate(sorted(p for p in nameless.iterdir() if p.is_dir())):
        folder.rename(nameless / f"folder{number}")
    keys = []
    for root in (named, nameless):
        releases = (("cbis_ddsm", str(root)),)
        plan = plan_job(Settings(output=str(tmp_path / "out"), releases=releases))
        assert not plan.absents
        keys.append(sorted(p.film.film_key for task in plan.tasks for p in task.films))
    assert keys[0] == keys[1]
    assert keys[0]
    assert list((tmp_path / "out/index/cbis_ddsm").glob("*.parquet"))
