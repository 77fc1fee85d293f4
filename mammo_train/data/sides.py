"""Which side a film stands on, and what counts as malignant: the reader's choices, each said aloud.

The manifest's split is the default. ``fold`` deals patients out by the hash of their split_key and
``test_source`` holds one whole source out; both set the manifest's split aside, and then a film of
train whose near-duplicate stands in val or test is left out, as `audit:leak` films are by default.
"""

from __future__ import annotations

import difflib
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from schemas.errors import MammoError, UsageError
from schemas.vocabulary import LabelBasis, Pathology, Split

if TYPE_CHECKING:
    import pandas as pd

    from mammo_train.config import RunConfig

__all__ = [
    "SELF_SUPERVISED",
    "Rules",
    "fold_of",
    "labels_known",
    "parse_fold",
    "refuse_leaks",
    "twins_of_later_sides",
]

SELF_SUPERVISED = frozenset({"pretrain-encoder", "pretrain-autoencoder"})
"""Stages that use no label, and may therefore be shown a held-out source where asked to."""

_FOLD_SALT = "fold"  # other patients together than the hash of the manifest's split puts together
_LABEL_SALT = "labels"


def parse_fold(text: str) -> tuple[int, int]:
    """Give K and N of ``K/N``.

    >>> parse_fold("3/4")
    (3, 4)

    Raises
    ------
    UsageError
        Not two numbers, fewer than three folds, or K outside 0 to N - 1.
    """
    fold, _, folds = text.partition("/")
    if not (fold.isascii() and fold.isdigit() and folds.isascii() and folds.isdigit()):
        raise UsageError(f"fold {text!r} is not of the form K/N: say for example --fold 0/4")
    k, n = int(fold), int(folds)
    if n < 3:
        raise UsageError(f"fold {text!r}: test, val and train need 3 folds at least, say 0/4")
    if k >= n:
        raise UsageError(f"fold {text!r}: the folds of {n} are 0/{n} to {n - 1}/{n}")
    return k, n


def fold_of(split_key: str, folds: int) -> int:
    """Give the fold of a patient: a function of split_key and the number of folds alone.

    Adding patients moves nobody. In a corpus made with ``--pseudonym-key`` the key is another, and
    so are the folds.
    """
    digest = hashlib.sha256(f"{_FOLD_SALT}\n{split_key}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % folds


def labels_known(split_key: str, share: float) -> bool:
    """Tell whether a patient is among the `share` of all whose labels may be learnt from.

    A function of split_key alone, and nested: who is in a tenth is in a fifth as well.
    """
    digest = hashlib.sha256(f"{_LABEL_SALT}\n{split_key}".encode()).digest()
    return int.from_bytes(digest[:8], "big") < share * 2**64


@dataclass(frozen=True, kw_only=True)
class Rules:
    """The reader's choices that decide sides and labels; the defaults are the manifest's words.

    Parameters
    ----------
    fold
        ``K/N``: patients of fold K are test, of K + 1 (modulo N) val, the rest train.
    test_source
        This source is test; the others' val stays val, all else of theirs is train.
    show_test_source
        Self-supervised stages learn from the films of `test_source`, never from its labels.
    birads4_as
        What BI-RADS 4 (4A to 4C) without biopsy is read as.
    implied_normals
        Keep normal films of val and test of whose breast nothing was said.
    label_share
        Share of the train patients whose films the stages that need labels learn from; the
        self-supervised stages see all films of train.
    """

    fold: str | None = None
    test_source: str | None = None
    show_test_source: bool = False
    birads4_as: Literal["unknown", "malignant"] = "unknown"
    implied_normals: bool = False
    label_share: float = 1.0

    @classmethod
    def of(cls, config: RunConfig) -> Rules:
        """Take the choices out of a run's config."""
        return cls(
            fold=config.fold,
            test_source=config.test_source,
            show_test_source=config.show_test_source,
            birads4_as=config.birads4_as,
            implied_normals=config.implied_normals,
            label_share=config.label_share,
        )

    @property
    def own_sides(self) -> bool:
        """Whether the manifest's split is set aside."""
        return self.fold is not None or self.test_source is not None

    def sentences(self) -> list[str]:
        """Say what was chosen, for the console and the report."""
        said = ["Sides are those of the manifest's split."]
        if self.fold is not None:
            k, n = parse_fold(self.fold)
            said = [
                f"Fold {k} of {n}: its patients (by hash of split_key) are test, those of fold "
                f"{(k + 1) % n} val, the rest train; the manifest's split is ignored."
            ]
        elif self.test_source is not None:
            said = [
                f"All of source {self.test_source} is test; of the others the manifest's val is "
                "val and all else train, their test films too; the manifest's split is otherwise "
                "ignored."
            ]
            if self.show_test_source:
                said.append(
                    f"Self-supervised stages saw the films of {self.test_source}, without labels."
                )
        if self.birads4_as == "malignant":
            said.append("BI-RADS 4 without biopsy counts as malignant, by choice.")
        else:
            said.append("BI-RADS 4 without biopsy is unknown and counted nowhere.")
        if self.implied_normals:
            said.append("Normal films of whose breast nothing was said count as normal, by choice.")
        if self.label_share < 1:
            said.append(
                f"Labels of train are those of a share of {self.label_share:g} of its patients (by "
                f"hash of split_key); self-supervised stages see all films of train."
            )
        return said

    def sides(self, films: pd.DataFrame, stage: str) -> pd.DataFrame:
        """Return the films with column `split` as chosen.

        Raises
        ------
        UsageError
            No film is of the source that should be test.
        """
        if self.fold is not None:
            k, n = parse_fold(self.fold)
            names = {0: Split.TEST.value, 1: Split.VAL.value}
            keys = films["split_key"].fillna(films["patient_id"])
            sides = [names.get((fold_of(key, n) - k) % n, Split.TRAIN.value) for key in keys]
            return films.assign(split=sides)
        if self.test_source is None:
            return films
        known = sorted(films["source"].unique().tolist())
        if self.test_source not in known:
            near = difflib.get_close_matches(self.test_source, known, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known) or 'none'}"
            raise UsageError(f"no film of --test-source {self.test_source!r}: {hint}")
        held = films["source"] == self.test_source
        shown = self.show_test_source and stage in SELF_SUPERVISED
        others = films["split"].where(films["split"] == Split.VAL, Split.TRAIN.value)
        return films.assign(split=others.mask(held, (Split.TRAIN if shown else Split.TEST).value))

    def unlabelled(self, films: pd.DataFrame, stage: str) -> Any:
        """Mark films of train, bool (N,), whose labels a stage may not learn from."""
        share = 1.0 if stage in SELF_SUPERVISED else self.label_share
        keys = films["split_key"].fillna(films["patient_id"])
        known = {key: labels_known(key, share) for key in keys.unique()}
        return (films["split"] == Split.TRAIN) & ~keys.map(known).astype(bool)

    def relabel(self, rows: pd.DataFrame, category: Any) -> pd.DataFrame:
        """Return films or lesions with column `pathology` as chosen.

        Parameters
        ----------
        category
            bool (N,): rows of BI-RADS 4 to 4C.
        """
        if self.birads4_as == "unknown":
            return rows
        chosen = category & (rows["label_basis"] == LabelBasis.BIRADS)
        chosen &= rows["pathology"] == Pathology.UNKNOWN
        return rows.assign(pathology=rows["pathology"].mask(chosen, Pathology.MALIGNANT.value))


def twins_of_later_sides(films: pd.DataFrame) -> tuple[Any, Any]:
    """Mark films of train with a near-duplicate in val or test, and of val with one in test."""

    def beside(side: Split, others: tuple[Split, ...]) -> Any:
        theirs = films.loc[films["split"].isin([str(s) for s in others]), "duplicate_group"]
        return (films["split"] == side) & films["duplicate_group"].isin(theirs.dropna())

    return beside(Split.TRAIN, (Split.VAL, Split.TEST)), beside(Split.VAL, (Split.TEST,))


def refuse_leaks(films: pd.DataFrame) -> None:
    """Refuse films of which a patient, a near-duplicate or an exposure stands on two sides.

    Raises
    ------
    MammoError
        With how many, and the first five.
    """
    for column in ("split_key", "patient_id", "duplicate_group", "pair_key"):
        known = films.dropna(subset=[column])
        sides = known.groupby(column, sort=True)["split"].nunique()
        crossing = sides.index[sides > 1].tolist()
        if crossing:
            shown = ", ".join(str(name) for name in crossing[:5])
            more = f" and {len(crossing) - 5} more" if len(crossing) > 5 else ""
            raise MammoError(
                f"{len(crossing)} {column} stand on two sides of the split ({shown}{more}): "
                f"training on them would make the test worthless; make the corpus again with "
                f"mammo-etl run, or leave them out with --where"
            )
