"""Find the files of a DICOM series in a listing, however the NBIA download was laid out.

Layouts in circulation, and what names a series in each:

- `<PatientID>/<StudyUID>/<SeriesUID>/000000.dcm` and `<SeriesUID>/1-1.dcm`: the deepest folder
  that is a UID;
- `<Collection>/<PatientID>/<MM-DD-YYYY>-<StudyID>-<last 5 of StudyUID>/
  <n>-<description>-<last 5 of SeriesUID>/1-1.dcm` (NBIA Data Retriever since 3.6): patient and
  two tails;
- a `metadata.csv` beside such folders: its File Location;
- `<PatientID>/<StudyUID>/MG_<SeriesUID>/<uuid>.dcm` (idc-index): the UID after the last `_`;
- `<SeriesUID>.dcm`: one file a series, where the source knows that UID from its tables;
- anything else: the header, through an index made before planning.

The same rules serve copies converted to PNG or JPEG, as long as their folders kept those names.
File names (`000000`, `1-1`, `00000001`) are never trusted for more than the order in a series.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import chain

from etl.readers.listing import natural_key, suffix, wanted
from etl.readers.nbia import NbiaSeries, by_folder
from schemas.errors import ContentError
from schemas.release import HeaderIndex, Release
from schemas.store import Entry

__all__ = ["SeriesFiles", "file_uid", "listed_folders", "uid_in"]

_UID = re.compile(r"(?:.*_)?((?=.{15,64}$)[012](?:\.\d+){2,})")
_TAIL = re.compile(r".*-([\d.]{1,5})")
_BARE_DICOM_NAME = re.compile(r"[\d.-]+")
_RANKS = {".dcm": 0, ".dicom": 0, ".ima": 0, "": 0, ".png": 1, ".tif": 1, ".tiff": 1}
_RANKS |= {".jpg": 2, ".jpeg": 2}


class SeriesFiles:
    """The image files of a listing by series.

    Parameters
    ----------
    entries
        The release's listing.
    patient_pattern
        What a PatientID looks like, as a whole folder name.
    index
        Headers, where they were read; they overrule names.
    folders
        Series by folder, from a `metadata.csv`; true folders end with these texts.
    """

    def __init__(
        self,
        entries: Iterable[Entry],
        patient_pattern: re.Pattern[str],
        index: HeaderIndex | None = None,
        folders: Mapping[str, NbiaSeries] | None = None,
    ) -> None:
        self._pattern = patient_pattern
        self._index = index if index is not None else HeaderIndex()
        self._folders = folders or {}
        self.entries = tuple(entry for entry in wanted(entries) if _rank(entry) is not None)
        self._groups: dict[tuple[str, ...], dict[str, list[Entry]]] = {}
        for entry in self.entries:
            group, keys = self._placed(entry)
            for key in keys:
                self._groups.setdefault(key, {}).setdefault(group, []).append(entry)

    def find(
        self, patient: str, study: str, series: str, *, alone: bool = True
    ) -> tuple[tuple[Entry, ...], ...]:
        """Return the copies of a series, the preferred one first; each is its files in order.

        A copy is what lies in one folder, in one format: DICOM before PNG and TIFF before JPEG.
        The UID counts before tails, and those before the study's UID and the bare PatientID.
        The last two name a series only where a study or patient has no other (`alone`); all files
        of a bare PatientID are one copy, in whatever folders they are.
        """
        ways: tuple[tuple[str, ...], ...] = (
            ("uid", series),
            ("tail", patient, study[-5:], series[-5:]),
        )
        if alone:
            ways += (("uid", study), ("patient", patient))
        way = next((way for way in ways if way in self._groups), None)
        if way is None:
            return ()
        groups = self._groups[way]
        if way[0] == "patient":
            groups = {"": list(chain.from_iterable(groups.values()))}
        names = sorted(groups, key=natural_key) if len(groups) > 1 else groups
        copies = [_best_format(groups[name]) for name in names]
        return tuple(sorted(copies, key=lambda copy: _rank(copy[0]) or 0))

    def identity(self, entry: Entry) -> tuple[str | None, str | None]:
        """Return series UID and PatientID of a file, as far as names or headers tell."""
        header = self._index[entry.path]
        folders = entry.path.split("/")[:-1]
        if header.get("SeriesInstanceUID"):
            return header["SeriesInstanceUID"], header.get("PatientID")
        if listed := self._listed(folders):
            return listed.series_uid, listed.patient_id
        uid = next(filter(None, map(uid_in, reversed(folders))), None)
        return uid, next(filter(self._pattern.fullmatch, folders), None)

    def unnamed(self) -> Iterator[Entry]:
        """Yield the DICOM files that only their header can place."""
        for entry in self.entries:
            if _rank(entry) == 0 and self.identity(entry) == (None, None):
                yield entry

    def _placed(self, entry: Entry) -> tuple[str, list[tuple[str, ...]]]:
        uid, patient = self.identity(entry)
        folder = entry.path.rpartition("/")[0]
        keys: list[tuple[str, ...]] = []
        if uid:
            keys.append(("uid", uid))
        if (own := file_uid(entry.path)) and own != uid:
            keys.append(("uid", own))
        if patient:
            keys.append(("patient", patient))
            tails = [_TAIL.fullmatch(name) for name in folder.split("/")[-2:]]
            if len(tails) == 2 and tails[0] and tails[1]:
                keys.append(("tail", patient, tails[0][1], tails[1][1]))
        group = "" if entry.path in self._index.headers else folder
        return group, keys

    def _listed(self, folders: list[str]) -> NbiaSeries | None:
        if not self._folders:
            return None
        ends = ("/".join(folders[start:]) for start in range(len(folders)))
        return next((self._folders[end] for end in ends if end in self._folders), None)


def listed_folders(release: Release) -> dict[str, NbiaSeries]:
    """Return the series of every NBIA `metadata.csv` of a copy by folder.

    File Location is relative to the csv, and copies move: `SeriesFiles` compares ends of paths.
    A file of this name that is no NBIA table lists nothing.
    """
    folders: dict[str, NbiaSeries] = {}
    for entry in wanted(release.entries):
        if entry.path.rsplit("/", 1)[-1].lower() == "metadata.csv":
            with suppress(ContentError):
                folders |= by_folder(release.read(entry.path))
    return folders


def uid_in(name: str) -> str | None:
    """Return the UID that a folder is named after, or whose name ends with `_` and it.

    >>> uid_in("MG_1.2.826.0.1.3680043"), uid_in("20566.000000-NA-32081")
    ('1.2.826.0.1.3680043', None)
    """
    match = _UID.fullmatch(name)
    return match[1] if match else None


def file_uid(path: str) -> str | None:
    """Return the UID that a file is named after: a series' or an instance's, the name is silent.

    >>> file_uid("films/1.2.826.0.1.3680043.dcm")
    '1.2.826.0.1.3680043'
    """
    name = path.rpartition("/")[2]
    return uid_in(name[: -len(ending)] if (ending := suffix(name)) else name)


def _rank(entry: Entry) -> int | None:
    ending = suffix(entry.path)
    if not ending and not _BARE_DICOM_NAME.fullmatch(entry.path.rsplit("/", 1)[-1]):
        return None
    return _RANKS.get(ending)


def _best_format(entries: list[Entry]) -> tuple[Entry, ...]:
    if len(entries) == 1:
        return tuple(entries)
    best = min(_rank(entry) or 0 for entry in entries)
    kept = [entry for entry in entries if _rank(entry) == best]
    return tuple(sorted(kept, key=lambda entry: natural_key(entry.path)))
