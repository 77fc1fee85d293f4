"""Duke's series in a copy: which folder is which phase of which patient.

Layouts: NBIA descriptive (`Breast_MRI_001/01-01-1990-NA-MRI BREAST…-12345/
3.000000-ax dyn pre-54321/1-001.dcm`), NBIA classic (`Breast_MRI_001/<study>/<series>/1-001.dcm`),
and the public buckets (`<uuid>/<uuid>.dcm`, or `<PatientID>/<study>/MR_<series>/<uuid>.dcm`). One
folder is one series. Where its name does not say number and description, the header of one of its
files does, or the release's mapping of paths names the phase.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from etl.readers.listing import natural_key
from etl.readers.runs import SliceFiles, slice_files
from etl.sources.duke_mri.tables import PATIENT_ID, Mapped
from etl.sources.duke_mri.words import (
    FIRST_PASS_MISSING,
    UNNUMBERED_SERIES,
    phase_of,
    plain,
)
from schemas.errors import ContentError
from schemas.film import FileRef
from schemas.rejects import RejectReason
from schemas.release import Header, HeaderIndex, Release
from schemas.store import Entry

__all__ = ["Run", "Study", "folders_of", "runs_of", "study_of"]

_DESCRIPTIVE = re.compile(r"(\d+)(?:\.\d+)?-(.*)-[\d.]{1,5}")
_STUDY_FOLDER = re.compile(r"\d\d-\d\d-\d{4}-.*")
_BUCKET = re.compile(r"(MR|SEG)_[\d.]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One series of a copy: a folder of slices.

    Parameters
    ----------
    folder
        Ends with `/`.
    count, size
        Files, and bytes of all of them.
    numbers
        Smallest and largest number in the file names, None where names have none.
    unbroken
        The numbers have no gap; True where names have none.
    series_number, description
        From the folder's name or the header, None where neither is known.
    header
        Of one of its files, where it was indexed.
    """

    patient: str
    folder: str
    count: int
    size: int
    numbers: tuple[int, int] | None
    unbroken: bool
    series_number: int | None
    description: str | None
    modality: str | None
    mapped: Mapped | None
    header: Header

    def ref(self, role: str) -> FileRef:
        """Return the run as a film's file."""
        first, last = self.numbers or (1, self.count)
        return FileRef(role=role, path=self.folder, size=self.size, first=first, last=last)


@dataclass(frozen=True, slots=True)
class Study:
    """A patient's series that count.

    Parameters
    ----------
    pre, post
        Before contrast, and the first after it.
    copies
        Series that are there twice.
    """

    pre: Run
    post: Run
    copies: tuple[Run, ...] = ()


def folders_of(release: Release) -> Iterator[tuple[str, SliceFiles]]:
    """Yield folder and slices of every folder that holds DICOM files, in order of their paths."""
    by_folder: dict[str, list[Entry]] = {}
    for entry in release.entries:
        folder, slash, _ = entry.path.rpartition("/")
        if slash:
            by_folder.setdefault(folder + slash, []).append(entry)
    for folder in sorted(by_folder):
        files = slice_files(by_folder[folder], folder)
        if files.entries:
            yield folder, files


def runs_of(
    release: Release, index: HeaderIndex, mapping: Mapping[tuple[str, str], Mapped]
) -> dict[str, list[Run]]:
    """Return the series of each patient; those that neither names nor headers place are left out.

    The header overrules the name, because copies are renamed.
    """
    runs: dict[str, list[Run]] = {}
    for folder, files in folders_of(release):
        run = _run(folder, files, index[files.entries[0].path], mapping)
        if run is not None:
            runs.setdefault(run.patient, []).append(run)
    return runs


def named_series(folder: str) -> tuple[str | None, int | None, str | None, str | None]:
    """Return patient, series number, description and modality as far as folders name them."""
    parts = folder.rstrip("/").split("/")
    patient = next(filter(PATIENT_ID.fullmatch, parts), None)
    match = _DESCRIPTIVE.fullmatch(parts[-1])
    if match and len(parts) > 1 and _STUDY_FOLDER.fullmatch(parts[-2]):
        return patient, int(match[1]), match[2], None
    bucket = _BUCKET.fullmatch(parts[-1])
    return patient, None, None, bucket[1] if bucket else None


def _run(
    folder: str,
    files: SliceFiles,
    header: Header,
    mapping: Mapping[tuple[str, str], Mapped],
) -> Run | None:
    patient, number, description, modality = named_series(folder)
    patient = header.get("PatientID") or patient
    if patient is None or not PATIENT_ID.fullmatch(patient):
        return None
    entries, numbers = files
    ends = (numbers[0], numbers[-1]) if numbers else None
    said = header.get("SeriesNumber", "")
    return Run(
        patient=patient,
        folder=folder,
        count=len(entries),
        size=sum(entry.size for entry in entries),
        numbers=ends,
        unbroken=ends is None or ends[1] - ends[0] + 1 == len(entries),
        series_number=int(said) if said.isdecimal() else number,
        description=header.get("SeriesDescription") or description,
        modality=header.get("Modality") or modality,
        mapped=mapping.get((patient, folder.rstrip("/").rpartition("/")[2])),
        header=header,
    )


def study_of(patient: str, runs: Sequence[Run], last_slice: int) -> Study | None:
    """Return a patient's phases, None where this copy does not hold both of them whole.

    Ascending SeriesNumber among the dynamic series is the order of the phases in all 922 patients;
    the numbers in the series' names only tell whether one is missing.

    Raises
    ------
    ContentError
        `unknown_word`: a series has a name that no series of the release has.
    """
    dynamic, copies = _dynamic(runs)
    mapped = _by_mapping(dynamic)
    pair = mapped if mapped is not None else _by_number(patient, dynamic)
    if pair is None or not all(_is_whole(run, pair[0].count, last_slice) for run in pair):
        return None
    return Study(*pair, copies)


def _dynamic(runs: Sequence[Run]) -> tuple[list[Run], tuple[Run, ...]]:
    """Return the dynamic series by number, and second copies; SEG series are told by Modality.

    Folder names do not say the Modality: there a series of one file whose name no series has is
    a segmentation (the smallest series has 26 images).
    """
    found: dict[object, Run] = {}
    copies: list[Run] = []
    for run in sorted(runs, key=lambda run: natural_key(run.folder)):
        if run.modality == "SEG" or (run.mapped and run.mapped.sequence == "T1"):
            continue
        phase = phase_of(run.description or "")
        if phase == "T1":
            continue
        if phase is None and run.mapped is None:
            if run.count > 1 or run.modality == "MR":
                raise ContentError(
                    RejectReason.UNKNOWN_WORD,
                    f"{run.folder} has the SeriesDescription {run.description!r}, which no series "
                    "of the release has",
                )
            continue
        key = run.series_number if run.series_number is not None else run.folder
        if key in found:
            copies.append(run)
        else:
            found[key] = run
    ordered = sorted(found.values(), key=lambda run: (run.series_number or 0, run.folder))
    return ordered, tuple(copies)


def _by_mapping(dynamic: Sequence[Run]) -> tuple[Run, Run] | None:
    named = {run.mapped.sequence: run for run in dynamic if run.mapped}
    if "pre" in named and "post_1" in named:
        return named["pre"], named["post_1"]
    return None


def _by_number(patient: str, dynamic: Sequence[Run]) -> tuple[Run, Run] | None:
    if len(dynamic) < 2 or len(dynamic) < UNNUMBERED_SERIES.get(patient, 0):
        return None
    if any(run.series_number is None for run in dynamic):
        return None
    pre, post = dynamic[:2]
    firsts = (0, 1, 2) if patient in FIRST_PASS_MISSING else (0, 1)
    if phase_of(pre.description or "") != 0 or phase_of(post.description or "") not in firsts:
        return None
    return None if "pre" in plain(post.description or "") else (pre, post)


def _is_whole(run: Run, count: int, last_slice: int) -> bool:
    """Tell whether all slices are here: tables do not say how many a series has.

    Both phases have the same number of slices, the box ends within them, and numbers in names
    begin at 1, or where another phase of as many slices ended.
    """
    begins_well = run.numbers is None or (run.numbers[0] - 1) % run.count == 0
    return run.unbroken and begins_well and run.count == count >= last_slice
