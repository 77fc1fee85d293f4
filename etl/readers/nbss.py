"""NBSS and ImageDB JSON: what screening clinics noted, and which images and marks belong to it.

`nbss_<client>.json` holds the episodes of the National Breast Screening System, one key an
episode; `imagedb_<client>.json` the studies, series and images, with the marks that radiologists
drew. Structure as in the owner's parser (omidb 0.13.1, MIT). Values are strings, numbers or null;
empty strings and null are missing; dates are `2012-05-10` or `20120510`; keys that are empty are
skipped. Words are handed on as they stand: what they mean is the source's affair.
"""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from etl.readers.listing import natural_key
from schemas.errors import ContentError
from schemas.rejects import RejectReason

__all__ = [
    "EVENTS",
    "Episode",
    "Event",
    "ImageDb",
    "ImageEntry",
    "Mark",
    "Study",
    "read_imagedb",
    "read_nbss",
]

EVENTS = (
    "SCREENING",
    "OTHERSCREENING",
    "ASSESSMENT",
    "CLINICAL",
    "BIOPSYFINE",
    "BIOPSYWIDE",
    "SURGERY",
    "INTERVALCANCER",
)
"""Blocks of an episode that are events; `LESION` describes, and is none."""

SIDES = ("L", "R")
_UID = re.compile(r"[\d.]+")
_OPINIONS = {"L": "left_opinion", "R": "right_opinion"}
_DATE_FIELDS = ("DateTaken", "DatePerformed")

Words = Mapping[str, str]
"""Field to text; missing values are no key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One event of an episode.

    Parameters
    ----------
    kind
        A word of `EVENTS`.
    opinions
        Side (`L`, `R`) to the side's opinion.
    lesions
        (side, lesion number) to the lesion's fields; numbers without leading zeros.
    dates
        Every day that the block names, sorted.
    sides
        Sides that the block says anything of.
    """

    kind: str
    opinions: Words
    lesions: Mapping[tuple[str, str], Words]
    dates: tuple[datetime.date, ...]
    sides: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Episode:
    """One episode of a client: a screening round, an interval case, a referral.

    `lesions` are the block `LESION`: (side, number) to LesionDescription and LesionPosition.
    """

    key: str
    fields: Words
    events: tuple[Event, ...]
    lesions: Mapping[tuple[str, str], Words]
    opened: datetime.date | None = None
    diagnosed: datetime.date | None = None

    def of(self, *kinds: str) -> tuple[Event, ...]:
        """Return the events of some kinds, in the order asked for."""
        return tuple(event for kind in kinds for event in self.events if event.kind == kind)

    @property
    def dates(self) -> tuple[datetime.date, ...]:
        """Every day of its events, sorted."""
        return tuple(sorted({day for event in self.events for day in event.dates}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """One box that a radiologist drew; `words` are its fields as text, those not set left out."""

    key: str
    words: Words

    @property
    def linked(self) -> tuple[str, ...]:
        """NBSS lesion numbers without leading zeros; empty where the mark is not linked."""
        parts = self.words.get("LinkedNBSSLesionNumber", "").split(",")
        return tuple(sorted({_number(part) for part in parts if part.strip().isdecimal()}))

    @property
    def corners(self) -> tuple[int, int, int, int] | None:
        """Return X1, Y1, X2, Y2 as written (pixel indices, in any order), None if one is missing.

        `Width` and `Height` need not agree with them and are not used.
        """
        try:
            x1, y1, x2, y2 = (int(float(self.words[name])) for name in ("X1", "Y1", "X2", "Y2"))
        except (KeyError, ValueError, OverflowError):
            return None
        return x1, y1, x2, y2


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageEntry:
    """One image of a study; `marks` in the order of their keys."""

    uid: str
    series: str
    marks: tuple[Mark, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """One study of a client."""

    uid: str
    day: datetime.date | None
    episode: str | None
    images: tuple[ImageEntry, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageDb:
    """All studies of a client, sorted by UID; `site` is the owner's short name of the clinic."""

    site: str | None = None
    studies: tuple[Study, ...] = field(default=())


def read_nbss(data: bytes, name: str) -> tuple[Episode, ...]:
    """Return the episodes of a client, sorted by key; scalars of the top level are none.

    Raises
    ------
    ContentError
        `bad_row`: the file is empty, cut or no JSON object.
    """
    return tuple(
        _episode(key, value)
        for key, value in sorted(_object(data, name).items())
        if isinstance(value, dict) and key.strip()
    )


def read_imagedb(data: bytes, name: str) -> ImageDb:
    """Return the studies of a client.

    Raises
    ------
    ContentError
        `bad_row`: the file is empty, cut or no JSON object.
    """
    whole = _object(data, name)
    studies = whole.get("STUDIES")
    return ImageDb(
        site=_text(whole.get("Site")),
        studies=tuple(_study(uid, value) for uid, value in _by_uid(studies)),
    )


def _object(data: bytes, name: str) -> dict[str, Any]:
    try:
        whole = json.loads(data.decode("utf-8-sig"))
    except ValueError as error:  # also what cannot be decoded
        what = "is empty" if not data.strip() else "is cut or no JSON"
        raise ContentError(RejectReason.BAD_ROW, f"{name} {what}: copy it again") from error
    if not isinstance(whole, dict):
        raise ContentError(RejectReason.BAD_ROW, f"{name} holds no JSON object: copy it again")
    return whole


# ---- values


def _text(value: Any) -> str | None:
    """Return a value as text; null, blanks, containers and false are missing."""
    if value is None or value is False or isinstance(value, (dict, list)):
        return None
    return str(value).strip() or None


def _words(value: Any) -> dict[str, str]:
    if not isinstance(value, dict):
        return {}
    pairs = ((key, _text(item)) for key, item in sorted(value.items()))
    return {key: text for key, text in pairs if key and text is not None}


def _day(text: str | None) -> datetime.date | None:
    digits = (text or "")[:10].replace("-", "")
    try:
        return datetime.date(int(digits[:4]), int(digits[4:6]), int(digits[6:8]))
    except ValueError:
        return None


def _number(text: str) -> str:
    """Return a lesion number without leading zeros: 01 and 1 are one lesion."""
    plain = text.strip()
    return str(int(plain)) if plain.isdecimal() else plain


# ---- episodes


def _episode(key: str, value: Mapping[str, Any]) -> Episode:
    fields = _words(value)
    return Episode(
        key=key,
        fields=fields,
        events=tuple(_events(value)),
        lesions=_lesions(value.get("LESION")),
        opened=_day(fields.get("EpisodeOpenedDate")),
        diagnosed=_day(fields.get("IntervalCancerDateOfDiagnosis")),
    )


def _events(value: Mapping[str, Any]) -> Iterator[Event]:
    for kind in EVENTS:
        block = value.get(kind)
        if not isinstance(block, dict) or not block:
            continue
        if kind == "OTHERSCREENING":  # numbered screenings
            parts = [part for _, part in sorted(block.items()) if isinstance(part, dict)]
            yield from (_event(kind, part) for part in parts)
        else:
            yield _event(kind, block)


def _event(kind: str, block: Mapping[str, Any]) -> Event:
    plain = _words(block)
    opinions = {side: plain[name] for side, name in _OPINIONS.items() if name in plain}
    sides = {side: _words(block.get(side)) for side in SIDES}
    lesions = _lesions(block)
    days = {_day(plain.get("dateperformed"))}
    for words in (*sides.values(), *lesions.values()):
        days |= {_day(words.get(name)) for name in _DATE_FIELDS}
    told = {side for side in SIDES if sides[side] or side in opinions}
    told |= {side for side, _ in lesions}
    return Event(
        kind=kind,
        opinions=opinions,
        lesions=lesions,
        dates=tuple(sorted(day for day in days if day)),
        sides=tuple(sorted(told)),
    )


def _lesions(block: Any) -> dict[tuple[str, str], Words]:
    if not isinstance(block, dict):
        return {}
    return {
        (side, _number(number)): _words(value)
        for side in SIDES
        if isinstance(block.get(side), dict)
        for number, value in sorted(block[side].items())
        if isinstance(value, dict) and number.strip()
    }


# ---- images


def _by_uid(value: Any) -> list[tuple[str, Any]]:
    """Return the entries whose key is a UID; everything else there is a scalar or empty."""
    if not isinstance(value, dict):
        return []
    return sorted((key, item) for key, item in value.items() if _UID.fullmatch(key))


def _study(uid: str, value: Any) -> Study:
    plain = _words(value)
    images = [
        ImageEntry(uid=image, series=series, marks=_marks(marks))
        for series, members in _by_uid(value)
        for image, marks in _by_uid(members)
    ]
    return Study(
        uid=uid,
        day=_day(plain.get("StudyDate")),
        episode=plain.get("EpisodeID"),
        images=tuple(sorted(images, key=lambda image: image.uid)),
    )


def _marks(value: Any) -> tuple[Mark, ...]:
    if not isinstance(value, dict):
        return ()
    return tuple(
        Mark(key=key, words=_words(item))
        for key, item in sorted(value.items(), key=lambda pair: natural_key(pair[0]))
        if isinstance(item, dict) and key.strip()
    )
