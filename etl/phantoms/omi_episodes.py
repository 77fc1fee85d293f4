"""Words of a phantom OMI-DB release: clients, rounds and images, and the JSON of episodes.

Structure as the owner's parser reads it (omidb 0.13.1).
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass, field
from typing import Any

from etl.phantoms.lesions import Plan

__all__ = [
    "KEY",
    "SIDES",
    "VIEWS",
    "Client",
    "Growth",
    "Image",
    "Json",
    "Label",
    "Round",
    "described",
    "episode_json",
    "event",
    "screening",
]

KEY = "omi_db"
SIDES = ("L", "R")
VIEWS = ("CC", "MLO")
CODES = {"Normal": "ON", "Benign": "OB", "Malignant": "OM", "Suspicious": "OS", "Uncertain": "OU"}
NAMES = {"L": "left_opinion", "R": "right_opinion"}

Json = dict[str, Any]
Label = tuple[str, str]


@dataclass
class Growth:
    """One lesion of a breast.

    Attributes
    ----------
    number
        NBSS's number; it begins anew on each side.
    pathology, basis
        As the corpus must have them.
    drawn
        What is drawn, `benign` or `malignant`.
    plan
        Size and contrast; None where the release only names it.
    marked
        Views on which a radiologist drew a box.
    link
        `LinkedNBSSLesionNumber` of the box, by view; UNLINKED where it is none of NBSS's.
    """

    number: int
    pathology: str
    basis: str
    drawn: str
    plan: Plan | None
    marked: tuple[str, ...] = VIEWS
    link: dict[str, str] = field(default_factory=dict)


@dataclass
class Image:
    """One exposure.

    Attributes
    ----------
    twin
        There is a picture for processing beside it; `raw` = there is only that.
    traps
        What is odd about its files.
    """

    side: str
    view: str
    twin: bool = False
    raw: bool = False
    spot: bool = False
    traps: tuple[str, ...] = ()


@dataclass
class Round:
    """One study, with the episode that it belongs to.

    Attributes
    ----------
    episode
        Key in the NBSS file; None where an earlier round has it already.
    labels
        (pathology, basis) of each breast.
    flags
        Quality flags of each breast's films.
    months
        Months to a later cancer.
    """

    key: str
    day: datetime.date
    episode: Json | None
    labels: dict[str, Label]
    images: list[Image]
    growths: dict[str, list[Growth]] = field(default_factory=dict)
    flags: dict[str, list[str]] = field(default_factory=dict)
    months: float | None = None
    linked: bool = True


@dataclass
class Client:
    """One woman with her rounds, and how her files are spelt.

    Attributes
    ----------
    capitals
        `NBSS_`, `IMAGEDB_`.
    coded
        Codes instead of texts.
    dotted
        `.dcm.json` beside the images instead of `.json`.
    digits
        Dates without dashes in the ImageDB file.
    dark
        Pictures for presentation are MONOCHROME1.
    empty_keys
        Empty keys among studies and images, a scalar among the episodes.
    """

    name: str
    rounds: list[Round]
    capitals: bool = False
    coded: bool = False
    dotted: bool = False
    digits: bool = False
    dark: bool = False
    empty_keys: bool = False

    def nbss(self) -> Json:
        """Return the content of the NBSS file."""
        episodes = {one.key: one.episode for one in self.rounds if one.episode is not None}
        told = _coded(episodes) if self.coded else episodes
        return {"Classification": "N", **told} if self.empty_keys else told


def _coded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _coded(item) for key, item in value.items()}
    return CODES.get(value, value) if isinstance(value, str) else value


# ---- episodes


def episode_json(kind: str, opened: datetime.date, **blocks: Json) -> Json:
    """Return an episode of a type, closed after three months."""
    return {
        "EpisodeType": kind,
        "EpisodeAction": "ST" if "SURGERY" in blocks else "RR",
        "EpisodeIsClosed": "Y",
        "EpisodeOpenedDate": opened.isoformat(),
        "EpisodeClosedDate": (opened + datetime.timedelta(90)).isoformat(),
        "ActualEpisodeOpenedYear": str(opened.year),
        "PatientAge": "64",
        **blocks,
    }


def screening(day: datetime.date, left: str = "Normal", right: str = "Normal") -> Json:
    """Return a screening with an opinion of each side."""
    words = {"Normal": "R1", "Suspicious": "R4", "Uncertain": "R3"}
    sides = {
        side: {
            "DateTaken": day.isoformat(),
            "EquipmentMakeModel": "PHANTOM",
            "Opinion": words[opinion],
            "AgeAtScreening": "64",
        }
        for side, opinion in (("L", left), ("R", right))
    }
    return {**sides, "left_opinion": left, "right_opinion": right}


def event(day: datetime.date, lesions: dict[str, tuple[str, dict[str, Json]]]) -> Json:
    """Return an event: side to (the side's opinion, lesion number to fields)."""
    block: Json = {NAMES[side]: None for side in SIDES}
    block["dateperformed"] = day.isoformat()
    for side, (opinion, numbered) in lesions.items():
        block[NAMES[side]] = opinion
        block[side] = {
            number: {"DatePerformed": day.isoformat(), "SideCode": side, **fields}
            for number, fields in numbered.items()
        }
    return block


def described(*lesions: tuple[str, str, str]) -> Json:
    """Return the block LESION from side, number and description."""
    block: Json = {}
    for side, number, words in lesions:
        fields = {"LesionDescription": words, "LesionPosition": f"{side}B3", "LesionNotes": None}
        block.setdefault(side, {})[number] = fields
    return block
