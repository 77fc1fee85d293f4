"""A client's images: JSON and headers read, and the exposures that they show."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from etl.readers.dicom_json import SOURCE_IMAGES, read_json_header
from etl.readers.listing import natural_key
from etl.readers.nbss import Episode, ImageDb, ImageEntry, Study, read_imagedb, read_nbss
from etl.sources.omi_db import words
from etl.sources.omi_db.episodes import Judged, judge
from etl.sources.omi_db.listing import Client, clients, is_hollow
from schemas.errors import ContentError
from schemas.rejects import RejectReason
from schemas.release import Header, HeaderIndex, Release
from schemas.store import Entry
from schemas.vocabulary import Intent, Laterality, View

__all__ = [
    "ClientData",
    "Shot",
    "exposures",
    "listed",
    "read_ahead",
    "read_client",
    "same_view",
    "unlisted",
]

AHEAD = 32
"""Clients whose JSON is read while the one before is planned: each is many small files."""
MAGNIFIED = 1.3
"""Estimated Radiographic Magnification Factor (0018,1114) from which on a view is magnified."""

_DESCRIBED = re.compile(r"\s*([LR])\s*[-_ ]?\s*([A-Z]{2,4})\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shot:
    """One image of a client, as JSON and header describe it; `problem` = why it is no film."""

    uid: str
    entry: ImageEntry
    study: Study | None
    header: Header
    file: Entry | None = None
    view: View | None = None
    side: Laterality | None = None
    intent: Intent | None = None
    spot: bool = False
    problem: ContentError | None = None

    @property
    def size(self) -> tuple[int, int] | None:
        """(rows, columns) as the header says."""
        rows, columns = self.header.get("Rows", ""), self.header.get("Columns", "")
        return (int(rows), int(columns)) if rows.isdecimal() and columns.isdecimal() else None


@dataclass(slots=True)
class ClientData:
    """A client's JSON, read."""

    client: Client
    db: ImageDb = field(default_factory=ImageDb)
    episodes: tuple[Episode, ...] = ()
    judged: Mapping[str, Judged] = field(default_factory=dict)
    headers: dict[str, Header] = field(default_factory=dict)
    problem: ContentError | None = None


# ---- reading


def read_ahead(release: Release) -> Iterator[ClientData]:
    """Yield the clients in order while the next ones are read: most time is waiting for files."""
    store = release.store  # made once, before there are threads
    read_json_header(b"{}")  # so is pydicom loaded: threads that load it at once see it by half
    with ThreadPoolExecutor(max_workers=AHEAD) as threads:
        waiting: deque[Future[ClientData]] = deque()
        for client in clients(release):
            waiting.append(threads.submit(read_client, client, store.read))
            if len(waiting) > AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def read_client(client: Client, read: Callable[[str], bytes]) -> ClientData:
    """Return a client's JSON; a damaged table is its `problem`, a damaged header what is left."""
    out = ClientData(client)
    try:
        if files := client.tables.get("imagedb"):
            out.db = read_imagedb(read(files[0].path), files[0].path)
        if files := client.tables.get("nbss"):
            out.episodes = read_nbss(read(files[0].path), files[0].path)
            out.judged = judge(out.episodes)
    except ContentError as error:
        path = client.tables.get("nbss", client.tables.get("imagedb", []))[0].path
        whole = error.detail if client.key in error.detail else f"{path}: {error.detail}"
        out.problem = ContentError(error.reason, whole)
    for uid, entry in sorted(client.headers.items()):
        if not is_hollow(entry):
            out.headers[uid], _ = read_json_header(read(entry.path))
    return out


# ---- exposures


def listed(read: ClientData, index: HeaderIndex) -> list[Shot]:
    """Return the images that a client's studies list, in order, with what their headers say."""
    found = [
        _shot(read, entry, study, index) for study in read.db.studies for entry in study.images
    ]
    return sorted(found, key=lambda shot: natural_key(shot.uid))


def unlisted(read: ClientData, index: HeaderIndex) -> list[Shot]:
    """Return the images on disk that no study lists."""
    listed = {entry.uid for study in read.db.studies for entry in study.images}
    return [
        _shot(read, ImageEntry(uid=uid, series=""), None, index)
        for uid in sorted(read.client.images.keys() - listed, key=natural_key)
    ]


def _shot(read: ClientData, entry: ImageEntry, study: Study | None, index: HeaderIndex) -> Shot:
    files = read.client.images.get(entry.uid, [])
    header = read.headers.get(entry.uid) or (index[files[0].path] if files else {})
    described = _DESCRIBED.match(header.get("SeriesDescription", ""))
    view, problem = None, None
    try:
        _refuse_other_pictures(entry.uid, header)
        view = _view(entry.uid, header, described)
    except ContentError as error:
        problem = error
    return Shot(
        uid=entry.uid,
        entry=entry,
        study=study,
        header=header,
        file=files[0] if files else None,
        view=view,
        side=_side(header, described),
        intent=words.INTENTS.get(header.get("PresentationIntentType", "").upper()),
        spot=_is_spot(header),
        problem=problem,
    )


def _refuse_other_pictures(uid: str, header: Header) -> None:
    """Refuse what is no 2-D mammogram: later deliveries hold tomosynthesis, MRI and ultrasound."""
    modality, frames = header.get("Modality", "MG"), header.get("NumberOfFrames", "1")
    if modality != "MG":
        what = f"has the modality {modality}, only mammograms (MG) are read"
    elif frames != "1":
        what = f"has {frames} frames, only two-dimensional mammograms are read"
    else:
        return
    raise ContentError(RejectReason.UNSUPPORTED, f"image {uid} {what}")


def _view(uid: str, header: Header, described: re.Match[str] | None) -> View | None:
    place = f"image {uid}"
    if word := header.get("ViewPosition"):
        return words.known(words.VIEWS, word, "View Position", place)
    for code in header.get("ViewCodeValue", "").split("\\"):
        if code in words.VIEW_CODES:
            return words.VIEW_CODES[code]
    return words.VIEWS.get(described[2].upper()) if described else None


def _side(header: Header, described: re.Match[str] | None) -> Laterality | None:
    """Return the side from the header; some have it in the series description only (L CC)."""
    for keyword in ("ImageLaterality", "FrameLaterality", "Laterality"):
        if side := words.SIDES.get(header.get(keyword, "").upper()):
            return side
    return words.SIDES[described[1].upper()] if described else None


def _is_spot(header: Header) -> bool:
    codes = set(header.get("ViewModifierCodeValue", "").split("\\"))
    try:
        factor = float(header.get("EstimatedRadiographicMagnificationFactor", "1"))
    except ValueError:
        factor = 1.0
    return bool(codes & words.SPOT_CODES) or factor >= MAGNIFIED


def exposures(found: Sequence[Shot]) -> list[tuple[Shot, Shot | None]]:
    """Return each exposure once: the picture for presentation, and its twin for processing.

    A presentation names its twin in Source Image Sequence; where it does not, the twin is the
    picture of the same study, side and view, at the same time if times are known. An image for
    processing that has no twin stands alone.
    """
    shown = [shot for shot in found if shot.intent is not Intent.PROCESSING]
    raw = {shot.uid: shot for shot in found if shot.intent is Intent.PROCESSING}
    twins: dict[str, Shot] = {}
    for shot in shown:
        for uid in shot.header.get(SOURCE_IMAGES, "").split("\\"):
            if uid in raw:
                twins[shot.uid] = raw.pop(uid)
                break
    for shot in list(raw.values()):
        free = [one for one in shown if one.uid not in twins and same_view(one, shot)]
        if free:
            twins[min(free, key=lambda one: not _same_time(one, shot)).uid] = raw.pop(shot.uid)
    return [(shot, twins.get(shot.uid)) for shot in shown] + [(shot, None) for shot in raw.values()]


def same_view(one: Shot, other: Shot) -> bool:
    """Say whether two images of one study show the same side in the same view."""
    study = one.study is not None and other.study is not None and one.study.uid == other.study.uid
    known = one.side is not None and one.view is not None
    return (
        study and known and (one.side, one.view, one.spot) == (other.side, other.view, other.spot)
    )


def _same_time(one: Shot, other: Shot) -> bool:
    return one.header.get("AcquisitionTime") == other.header.get("AcquisitionTime")
