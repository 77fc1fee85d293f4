"""Regions that a U-Net proposes: kept in a file, drawn film by film, cut as several patches a film.

A stage that learns from them keeps them beside its checkpoints, as JSON: what they were made from,
and for each film its regions, best score first. The file decides as long as the stage lives, so
that a run which goes on draws what the undisturbed run draws, whatever machine it goes on on.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mammo_train.data.augment import Augmentation, change_for
from mammo_train.data.draws import Draw, Draws, HardNegatives
from mammo_train.data.order import mix64, sample_keys
from mammo_train.data.patches import cut_patch, standardise_patch
from mammo_train.data.selection import Selection
from schemas.errors import MammoError

__all__ = [
    "FilmRegion",
    "Found",
    "RegionDraws",
    "RegionTransform",
    "Regions",
    "hard_negatives",
    "settled",
]


class FilmRegion(NamedTuple):
    """A place on a film that the U-Net takes for a lesion.

    Parameters
    ----------
    x, y
        Centroid in standard pixels, corner coordinates.
    score
        Highest probability inside.
    label
        0 background, 1 benign, 2 malignant, -1 not known.
    """

    x: float
    y: float
    score: float
    label: int


Regions = Mapping[str, tuple[FilmRegion, ...]]
"""Regions by sample id."""


@dataclass(frozen=True)
class Found:
    """What a file of regions holds.

    Parameters
    ----------
    made_from
        The U-Net's digest (None where there was none), the films, the options.
    regions
        By sample id.
    """

    made_from: Mapping[str, Any]
    regions: Regions

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of the regions, for a stage's fingerprint."""
        text = json.dumps(self.regions, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


def settled(path: Path, made_from: Mapping[str, Any], make: Callable[[], Regions]) -> Found:
    """Give the regions of a stage: those of its file, or new ones, written before they are used.

    Parameters
    ----------
    path
        In the stage's folder.
    made_from
        JSON values, ``unet`` among them. A file made without a U-Net stays valid when there is one
        later: what has begun without goes on without.

    Raises
    ------
    MammoError
        The stage has begun on regions that were made from something else.
    """
    begun = (path.parent / "checkpoints").is_dir() or (path.parent / "done.json").is_file()
    kept = _read(path) if path.is_file() else None
    if kept is None and begun and path.is_file():
        raise MammoError(
            f"{path} cannot be read and the stage has begun: delete {path.parent} to train it again"
        )
    if kept is not None:
        differing = [name for name in made_from if kept.made_from.get(name) != made_from[name]]
        if not differing or (begun and kept.made_from.get("unet") is None):
            return kept
        if begun:
            raise MammoError(
                f"{path} was made with another {differing[0]} than this run has: go on with the "
                f"same data and options, or delete {path.parent} to train this stage again"
            )
    found = Found(made_from, make())
    _write(path, found)
    return found


def _read(path: Path) -> Found | None:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        regions = {
            name: tuple(FilmRegion(*region) for region in row)
            for name, row in values["films"].items()
        }
        return Found(values["made_from"], regions)
    except (ValueError, KeyError, TypeError):
        return None


def _write(path: Path, found: Found) -> None:
    films = [
        f"{json.dumps(name)}: {json.dumps(found.regions[name])}" for name in sorted(found.regions)
    ]
    made_from = json.dumps(found.made_from, sort_keys=True)
    text = f'{{"made_from": {made_from},\n"films": {{\n' + ",\n".join(films) + "\n}}\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def hard_negatives(selection: Selection, regions: Regions) -> HardNegatives:
    """Give the regions of a selection's films as places that background is drawn at."""
    row_of = {name: row for row, name in enumerate(selection.ids.tolist())}
    named = [
        (f"{name}/{number}", row_of[name], (region.x, region.y))
        for name in sorted(regions)
        for number, region in enumerate(regions[name])
    ]
    if not named:
        return HardNegatives.none()
    names, films, points = zip(*named, strict=True)
    return HardNegatives(
        np.array(films, np.int64), np.array(points, np.float64), sample_keys(names)
    )


@dataclass(frozen=True)
class RegionDraws(Sequence[Draw]):
    """Draws of whole films, each with its best regions.

    Parameters
    ----------
    films
        Which films.
    regions
        Of each of them, at least one.
    most
        How many of a film are taken.
    """

    films: Draws
    regions: Regions
    most: int

    def __len__(self) -> int:
        return len(self.films)

    def __getitem__(self, k: int) -> Draw:  # type: ignore[override]
        """Return draw k with its regions."""
        draw = self.films[k]
        best = self.regions[draw.sample_id][: self.most]
        return draw._replace(regions=tuple((r.x, r.y, r.label) for r in best))


@dataclass(frozen=True)
class RegionTransform:
    """Patches of a film's regions, as many of every film.

    Parameters
    ----------
    patch_mm, patch_px
        Side in millimetres and in pixels.
    count
        Patches of a film; where it has fewer regions they are shown again, with weight 0, so that
        BatchNorm sees tissue and the loss does not.
    augmentation
        None changes nothing.
    """

    patch_mm: float
    patch_px: int
    count: int
    augmentation: Augmentation | None = None

    def needs_mask(self, draw: Draw) -> bool:
        """Tell whether this draw's mask must be read: never, regions carry their label."""
        return False

    def padding(self) -> dict[str, npt.NDArray[Any]]:
        """Return a film of weight 0."""
        flat = np.zeros(self.count, dtype=np.float32)
        return {
            "image": np.zeros((self.count, self.patch_px, self.patch_px), dtype=np.float32),
            "target": np.zeros(self.count, dtype=np.int64),
            "known": flat,
            "present": flat,
            "film": np.array(0.0, dtype=np.float32),
            "film_known": np.array(0.0, dtype=np.float32),
            "weight": np.array(0.0, dtype=np.float32),
        }

    def __call__(
        self,
        draw: Draw,
        image: npt.NDArray[np.uint16],
        mask: npt.NDArray[np.uint8] | None,
    ) -> dict[str, npt.NDArray[Any]]:
        """Return the rows of a film with R patches of P pixels.

        Returns
        -------
        dict
            image (float32, R x P x P); target (int64, R) with known (float32, R) 1 where the class
            is known; present (float32, R) 1 for regions, 0 for repetitions; film (float32) 1 for a
            malignant film, 0 for others, with film_known; weight.
        """
        real = len(draw.regions)
        patches = [self._patch(draw, image, number) for number in range(real)]
        labels = np.array([label for _, _, label in draw.regions], dtype=np.int64)
        shown = np.arange(self.count) % real
        present = (np.arange(self.count) < real).astype(np.float32)
        found = labels[shown]
        # Everything is drawn and no region is on it: the film's label says nothing about them.
        missed = draw.label == 1 and bool((labels == 0).all())
        return {
            "image": np.stack([patches[index] for index in shown]),
            "target": np.maximum(found, 0),
            "known": present * (found >= 0),
            "present": present,
            "film": np.array(max(draw.label, 0), dtype=np.float32),
            "film_known": np.array(draw.label >= 0 and not missed, dtype=np.float32),
            "weight": np.array(draw.weight, dtype=np.float32),
        }

    def _patch(
        self, draw: Draw, image: npt.NDArray[np.uint16], number: int
    ) -> npt.NDArray[np.float32]:
        x, y, _ = draw.regions[number]
        seed = int(mix64(draw.seed, number, np.zeros(1, np.uint64))[0])
        change = change_for(seed, self.augmentation)
        patch = cut_patch(
            image, draw.mm, x, y, patch_mm=self.patch_mm, patch_px=self.patch_px, change=change
        )
        return standardise_patch(change.grey(patch))
