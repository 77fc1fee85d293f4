"""Under which licences the films stand that a network learnt from, and what follows for weights.

A release's licence decides whether weights that were learnt from it may be passed on. The answer is
kept where the weights are: in `config.yaml`, by stage, and in the JSON of every checkpoint. A stage
may begin from, or look through, the networks of the stages before it, so a checkpoint names their
releases too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from schemas.corpus import Corpus

__all__ = ["KEY", "Licences", "describe", "known_licences", "licences_of", "merged"]

KEY = "licences"
"""Of the section in `config.yaml` and in a checkpoint's JSON."""

Licences = Mapping[str, Any]
"""`weights_releasable`, and `releases`: source to licence, citation, films, weights_releasable."""


def licences_of(corpus: Corpus, sample_ids: Iterable[str]) -> dict[str, Any]:
    """Return the licences of the samples with these ids.

    Weights may be released only where every release that was learnt from allows it.
    """
    columns = ["sample_id", "source", "licence", "weights_releasable", "citation"]
    frame = corpus.frame(columns=columns)
    chosen = frame[frame["sample_id"].isin(list(sample_ids))]
    releases: dict[str, dict[str, Any]] = {}
    for source, rows in chosen.groupby("source", sort=True):
        releases[str(source)] = {
            "licence": ", ".join(sorted(set(rows["licence"]))),
            "films": len(rows),
            "weights_releasable": bool(rows["weights_releasable"].all()),
            "citation": str(rows["citation"].iloc[0]),
        }
    return _judged(releases)


def merged(parts: Iterable[Licences]) -> dict[str, Any]:
    """Return the licences of several stages as one; of films, the most that one stage used."""
    releases: dict[str, dict[str, Any]] = {}
    for part in parts:
        for source, release in part["releases"].items():
            before = releases.get(source, release)
            releases[source] = {
                **release,
                "films": max(before["films"], release["films"]),
                "weights_releasable": before["weights_releasable"]
                and release["weights_releasable"],
            }
    return _judged(dict(sorted(releases.items())))


def _judged(releases: dict[str, dict[str, Any]]) -> dict[str, Any]:
    allowed = all(release["weights_releasable"] for release in releases.values())
    return {"weights_releasable": bool(releases) and allowed, "releases": releases}


def known_licences(path: Path) -> dict[str, dict[str, Any]]:
    """Return what a saved `config.yaml` says of its stages; nothing where there is none."""
    import yaml

    if not path.is_file():
        return {}
    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    section = values.get(KEY) if isinstance(values, Mapping) else None
    stages = section.get("stages") if isinstance(section, Mapping) else None
    return dict(stages) if isinstance(stages, Mapping) else {}


def describe(licences: Licences) -> str:
    """Return one line about the weights for the log.

    >>> describe({"weights_releasable": True, "releases": {}})
    'weights may be released: yes'
    """
    if licences["weights_releasable"]:
        return "weights may be released: yes"
    named = ", ".join(
        f"{source} ({release['licence']})"
        for source, release in licences["releases"].items()
        if not release["weights_releasable"]
    )
    return f"weights may be released: no, they learnt from {named or 'nothing'}"
