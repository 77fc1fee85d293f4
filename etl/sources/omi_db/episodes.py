"""What an episode of OMI-DB came to, and what that says of each breast.

The release has no label: status and outcome are computed from the episodes' types and opinions, in
the owner's order of rules (omidb 0.13.1, `episode.py`, `classificationtools.py`, without time
windows). A client's status and her episodes' can disagree, so labels come from episodes only.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from etl.readers.nbss import Episode, Event, Study
from etl.sources.omi_db.words import (
    EPISODE_TYPES,
    INTERVAL_CASE,
    OUTCOME_BASIS,
    SIDE_OPINIONS,
    known,
)
from schemas.vocabulary import LabelBasis, Pathology

__all__ = ["Judged", "SideLabel", "client_status", "episode_of", "judge", "side_label", "status"]

PROOFS = ("SURGERY", "BIOPSYWIDE", "BIOPSYFINE")
"""Events whose opinion rests on tissue, the most decisive first."""
FOLLOWING = ("ASSESSMENT", "CLINICAL")
SCREENS = ("SCREENING", "OTHERSCREENING")
DAYS_A_MONTH = 365.25 / 12

UNDEFINED = "undefined"
_PRIORS = {"CI": "CIP", "M": "MP"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """An episode with its status (CI, M, B, NAB, NA, N or undefined) and outcome.

    Parameters
    ----------
    outcome
        The status, or CIP or MP for the episode before a cancer; undefined where events are
        missing or contradict one another.
    followed
        The next episode is closed and without cancer.
    cancer
        Day of the cancer that the next episode found, for a prior.
    operated
        Sides on which an earlier episode has surgery.
    """

    episode: Episode
    status: str
    outcome: str
    followed: bool = False
    cancer: datetime.date | None = None
    operated: frozenset[str] = frozenset()

    @property
    def closed(self) -> bool:
        """Its outcome is final."""
        return is_closed(self.episode)


@dataclass(frozen=True, slots=True)
class SideLabel:
    """What an episode says of one breast; `prior` = a later episode found cancer."""

    pathology: Pathology
    basis: LabelBasis
    prior: bool = False
    conflict: bool = False


UNKNOWN = SideLabel(Pathology.UNKNOWN, LabelBasis.UNKNOWN)


# ---- episodes


def is_interval(episode: Episode) -> bool:
    """Say whether the episode is of the type CI, whatever its events say."""
    word = episode.fields.get("EpisodeType")
    if word is None:
        return False
    return known(EPISODE_TYPES, word, "EpisodeType", f"episode {episode.key}") == INTERVAL_CASE


def is_closed(episode: Episode) -> bool:
    """Say whether nothing is open; `EpisodeIsClosed` = N means that the outcome is not final."""
    return not episode.fields.get("EpisodeIsClosed", "Y").upper().startswith("N")


def opinion(event: Event, side: str) -> Pathology | None:
    """Return an event's opinion of a side, None where it has none."""
    word = event.opinions.get(side)
    if word is None:
        return None
    return known(SIDE_OPINIONS, word, f"opinion of {event.kind}", f"side {side}")


def _proved(episode: Episode, pathology: Pathology) -> bool:
    return any(
        opinion(event, side) is pathology
        for event in episode.of(*PROOFS)
        for side in event.opinions
    )


def _events(episode: Episode) -> tuple[Event, ...]:
    """Return the events that count; an interval cancer's entry is a diagnosis, not an event."""
    return tuple(event for event in episode.events if event.kind != "INTERVALCANCER")


def _is_valid(episode: Episode) -> bool:
    """Say whether no event beyond screening is silent on both sides: that outcome is unknown."""
    return all(event.opinions for event in _events(episode) if event.kind not in SCREENS)


def status(episode: Episode) -> str:
    """Return CI, M, B, NAB, NA, N or undefined, by the owner's rules in their order.

    Raises
    ------
    ContentError
        `unknown_word`: an opinion is no word of NBSS.
    """
    malignant = _proved(episode, Pathology.MALIGNANT)
    if is_interval(episode):
        return "CI" if malignant or not episode.of(*PROOFS) else UNDEFINED
    if malignant:
        return "M"
    if _proved(episode, Pathology.BENIGN):
        return "B"
    if not _events(episode) or not _is_valid(episode) or episode.of("SURGERY"):
        return UNDEFINED
    if episode.of("ASSESSMENT"):
        return "NAB" if episode.of("BIOPSYFINE", "BIOPSYWIDE") else "NA"
    return "N"


def client_status(episodes: Sequence[Episode]) -> str:
    """Return CI, M, B or N of a whole client: an index for people, never a label."""
    if any(is_interval(episode) for episode in episodes):
        return "CI"
    if any(_proved(episode, Pathology.MALIGNANT) for episode in episodes):
        return "M"
    return "B" if any(_proved(episode, Pathology.BENIGN) for episode in episodes) else "N"


def first_day(episode: Episode) -> datetime.date | None:
    """Return the day that orders episodes: the first event, else diagnosis (CI) or opening."""
    if days := [day for event in _events(episode) for day in event.dates]:
        return min(days)
    return episode.diagnosed if is_interval(episode) else episode.opened


def judge(episodes: Sequence[Episode]) -> dict[str, Judged]:
    """Return every episode of a client with status and outcome, by key.

    Raises
    ------
    ContentError
        `unknown_word`, see `status`.
    """
    dated = [(first_day(episode), episode) for episode in episodes]
    order = [
        episode
        for _, _, episode in sorted(
            (day, episode.key, episode) for day, episode in dated if day is not None
        )
    ]
    told = {episode.key: status(episode) for episode in episodes}
    undated = {episode.key for day, episode in dated if day is None}
    judged: dict[str, Judged] = {}
    for episode in episodes:
        before, after = _around(episode, order)
        word, own = told[episode.key], told[episode.key]
        following = after[0] if after else None
        if own not in ("CI", "M"):
            word = _outcome(episode, own, after, told, dated=not undated)
        judged[episode.key] = Judged(
            episode=episode,
            status=own,
            outcome=word,
            followed=bool(
                following
                and told[following.key] in ("N", "NA", "NAB", "B")
                and is_closed(following)
            ),
            cancer=_found(following) if following and word in _PRIORS.values() else None,
            operated=frozenset(
                side for one in before for e in one.of("SURGERY") for side in e.sides
            ),
        )
    return judged


def _around(episode: Episode, order: Sequence[Episode]) -> tuple[list[Episode], list[Episode]]:
    keys = [one.key for one in order]
    if episode.key not in keys:
        return [], []
    at = keys.index(episode.key)
    return list(order[:at]), list(order[at + 1 :])


def _outcome(
    episode: Episode, own: str, after: Sequence[Episode], told: dict[str, str], *, dated: bool
) -> str:
    """Return the outcome of an episode without cancer; priors come before negatives."""
    if own == UNDEFINED or not _is_valid(episode) or not all(map(_is_valid, after)):
        return UNDEFINED
    if not dated:
        return UNDEFINED
    if not after:
        return own
    following = after[0]
    if is_interval(following) and told[following.key] != "CI":
        return UNDEFINED
    return _PRIORS.get(told[following.key], own)


def _found(episode: Episode) -> datetime.date | None:
    return episode.diagnosed or first_day(episode)


# ---- studies


def episode_of(study: Study, episodes: Iterable[Episode]) -> str | None:
    """Return the key of a study's episode: its EpisodeID, else the one with an event that day.

    None where no episode, or more than one, has an event on the day of the study.
    """
    keys = {episode.key for episode in episodes}
    if study.episode in keys:
        return study.episode
    if study.day is None:
        return None
    found = [episode.key for episode in episodes if study.day in _linking_days(episode)]
    return found[0] if len(found) == 1 else None


def _linking_days(episode: Episode) -> set[datetime.date]:
    days = set(episode.dates)
    return days | ({episode.diagnosed} if episode.diagnosed else set())


def months_between(first: datetime.date, later: datetime.date) -> float:
    """Return months from one day to another, to a tenth."""
    return round((later - first).days / DAYS_A_MONTH, 1)


# ---- breasts


def side_label(judged: Judged, side: str) -> SideLabel:
    """Return what an episode says of a breast (`L` or `R`).

    Surgery and biopsy of this side decide first; else the episode's outcome, and for the other
    breast of a cancer its own opinions. A breast that no opinion mentions is unknown.
    """
    episode, prior = judged.episode, judged.outcome in ("CIP", "MP")
    if judged.status == UNDEFINED:
        return UNKNOWN
    tissue = [word for event in episode.of(*PROOFS) if (word := opinion(event, side))]
    for word in (Pathology.MALIGNANT, Pathology.BENIGN):
        if word in tissue:
            return SideLabel(word, LabelBasis.BIOPSY, prior)
    if judged.status == "CI" and _diagnosed_side(episode, side):
        # the registry's diagnosis: no tissue is recorded, so the basis is no biopsy
        return SideLabel(Pathology.MALIGNANT, LabelBasis.SCREENING_OUTCOME)
    if judged.outcome in ("CIP", "MP", UNDEFINED):
        return SideLabel(Pathology.UNKNOWN, LabelBasis.UNKNOWN, prior)
    return _without_cancer(judged, side)


def _diagnosed_side(episode: Episode, side: str) -> bool:
    return any(side in event.sides for event in episode.of("INTERVALCANCER"))


def _without_cancer(judged: Judged, side: str) -> SideLabel:
    """Return the label of a breast in which this episode proved nothing.

    The last examination that gives an opinion of the side speaks. Only normal and benign opinions
    of an episode that is closed make it normal: a suspicion that was never followed up is none.
    """
    if not judged.closed:
        return UNKNOWN
    episode = judged.episode
    examined = next(
        (
            (event.kind, word)
            for event in episode.of(*PROOFS, *FOLLOWING, *reversed(SCREENS))
            if (word := opinion(event, side)) is not None
        ),
        None,
    )
    if examined is None:
        return UNKNOWN
    kind, word = examined
    if word in (Pathology.MALIGNANT, Pathology.UNKNOWN):
        return SideLabel(Pathology.UNKNOWN, LabelBasis.UNKNOWN, conflict=judged.outcome == "N")
    return SideLabel(Pathology.NORMAL, _basis(judged, kind))


def _basis(judged: Judged, kind: str) -> LabelBasis:
    if kind not in SCREENS:
        return LabelBasis.ASSESSMENT
    basis = OUTCOME_BASIS.get(judged.outcome, LabelBasis.SCREENING_OUTCOME)
    if judged.outcome == "N" and judged.followed:
        return LabelBasis.FOLLOW_UP
    return basis
