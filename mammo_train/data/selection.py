"""Which samples a stage learns from and is measured on: from the manifest, with the defaults said.

Always left out: spot and magnification views (unless asked for); of several pictures of one
exposure (`pair_key`) all but one a modality; normal films whose label is only `implied` from val
and test; `audit:leak` films from train, and from val where their twin is in test. `segment` takes
`annotation = 'complete'` alone, so a malignant film without outline can enter neither its loss nor
its count of false regions. The self-supervised stages choose without labels: neither ``implied``
nor how well a film is annotated moves one, no lesion is listed, the digest names none. A patient
or a group of near-duplicates on two sides is refused.
Other sides than the manifest's, and what BI-RADS 4 means, are `mammo_train.data.sides`.

Everything is numpy columns: a table of Python objects walked in a forked worker is copied page by
page. Workers get none of it anyway, a draw carries what they need.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mammo_train.data.order import ORDER_VERSION, sample_keys
from mammo_train.data.sides import SELF_SUPERVISED, Rules, refuse_leaks, twins_of_later_sides
from schemas.errors import UsageError
from schemas.vocabulary import (
    Annotation,
    FrameKind,
    LabelBasis,
    LesionFlag,
    Pathology,
    QualityFlag,
    Split,
)

if TYPE_CHECKING:
    import pandas as pd

    from schemas.corpus import Corpus

__all__ = [
    "BACKGROUND",
    "BENIGN",
    "CLASSES",
    "MALIGNANT",
    "Lesions",
    "Selection",
    "Selections",
    "build_selections",
]

CLASSES = ("background", "benign", "malignant")
BACKGROUND, BENIGN, MALIGNANT = 0, 1, 2
_CLASS_OF = {Pathology.BENIGN.value: BENIGN, Pathology.MALIGNANT.value: MALIGNANT}

_LESION_COLUMNS = (
    "sample_id", "lesion_id", "pathology", "label_basis", "birads", "flags", "x0", "y0", "x1", "y1",
)  # fmt: skip
_COLUMNS = (
    "sample_id", "source", "patient_id", "exam_id", "laterality", "split_key", "pair_key",
    "duplicate_group", "modality", "frame_kind", "spot_mag", "pathology", "label_basis",
    "birads_rank", "annotation", "annotation_kind", "n_lesions", "height", "width", "mm_eff",
    "mm_nominal", "split", "quality_flags", "shard", "image_offset", "image_size", "image_crc32c",
    "mask_offset", "mask_size", "mask_crc32c",
)  # fmt: skip
_BYTES = ("image_offset", "image_size", "image_crc32c", "mask_offset", "mask_size", "mask_crc32c")
DEFAULT_RULES = Rules()
_ANNOTATION_RANK = {Annotation.COMPLETE.value: 0, Annotation.PARTIAL.value: 1}

_STAGES = (*sorted(SELF_SUPERVISED), "segment", "pretrain-classifier", "classify", "evaluate")
_JUDGED = (Pathology.MALIGNANT.value, Pathology.BENIGN.value, Pathology.NORMAL.value)

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Lesions:
    """Lesions of a selection that have a place and a known pathology.

    Parameters
    ----------
    film
        int64 (M,): row of the selection.
    lesion_id
        str (M,).
    label
        int8 (M,): 1 benign, 2 malignant, 0 where the pathology is unknown (not for patches).
    basis
        str (M,): on what the pathology rests.
    box
        float64 (M, 4): x0, y0, x1, y1 in standard pixels, corner coordinates, half-open.
    """

    film: Ints
    lesion_id: npt.NDArray[np.str_]
    label: npt.NDArray[np.int8]
    basis: npt.NDArray[np.str_]
    box: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.film)

    def index_at(self, film: int, box: npt.ArrayLike) -> int:
        """Give the row of the lesion of a film (row) that overlaps a box best; -1 where none."""
        rows = np.flatnonzero(self.film == film)
        overlaps = [_box_iou(np.asarray(box, np.float64), self.box[index]) for index in rows]
        if not overlaps or max(overlaps) == 0:
            return -1
        return int(rows[int(np.argmax(overlaps))])

    def class_of(self, index: int) -> int:
        """Give 1 benign or 2 malignant; -1 for no lesion or unknown pathology."""
        return (int(self.label[index]) or -1) if index >= 0 else -1

    def class_at(self, film: int, box: npt.ArrayLike) -> int:
        """Give the class (see `class_of`) of the lesion of a film that overlaps a box best."""
        return self.class_of(self.index_at(film, box))


def _box_iou(one: npt.NDArray[np.float64], other: npt.NDArray[np.float64]) -> float:
    sides = np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])
    common = float(np.prod(np.clip(sides, 0, None)))
    areas = float(np.prod(one[2:] - one[:2]) + np.prod(other[2:] - other[:2]))
    return common / (areas - common)


@dataclass(frozen=True)
class Selection:
    """The films of one split, sorted by sample id; every array has one entry a film.

    Parameters
    ----------
    ids, patient, source, modality, pathology, basis, annotation, annotation_kind
        str (N,); empty where null. `basis` is what the pathology rests on.
    height, width
        int64 (N,): standard pixels.
    mm
        float64 (N,): mm_eff, millimetres of a standard pixel.
    mm_nominal
        bool (N,): whether that number is nominal because the spacing is unknown.
    shard
        int64 (N,): position in `shards`.
    places
        int64 (N, 6): image offset, size, crc32c, mask offset, size, crc32c; mask size 0 is none.
    background
        bool (N,): everything outside drawn lesions is known to be none.
    lesions
        What is drawn on these films.
    breast
        str (N,): the same for films of one breast in one examination; a film whose side is not
        known is alone.
    labelled
        Whether the stage learns from labels, so that the digest has to name them.
    """

    split: str
    ids: npt.NDArray[np.str_]
    patient: npt.NDArray[np.str_]
    source: npt.NDArray[np.str_]
    modality: npt.NDArray[np.str_]
    pathology: npt.NDArray[np.str_]
    basis: npt.NDArray[np.str_]
    annotation: npt.NDArray[np.str_]
    annotation_kind: npt.NDArray[np.str_]
    height: Ints
    width: Ints
    mm: npt.NDArray[np.float64]
    mm_nominal: npt.NDArray[np.bool_]
    shards: tuple[str, ...]
    shard: Ints
    places: Ints
    background: npt.NDArray[np.bool_]
    lesions: Lesions
    breast: npt.NDArray[np.str_]
    keys: npt.NDArray[np.uint64] = field(repr=False)
    labelled: bool = True

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def has_lesion(self) -> npt.NDArray[np.bool_]:
        """Bool (N,): films on which at least one lesion is drawn."""
        return np.isin(np.arange(len(self)), self.lesions.film)

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of the order version, the films with bytes and labels, and the lesions.

        It does not depend on the order of rows or shards. A checkpoint keeps it, so that training
        never goes on with other data than it began with.
        """
        made = hashlib.sha256(f"order {ORDER_VERSION}\n".encode())
        words = self.pathology if self.labelled else self.breast
        for name, place, word in zip(self.ids, self.places, words, strict=True):
            made.update(f"{name} {place[2]} {place[5]} {word}\n".encode())
        marks = self.lesions
        rows = zip(marks.film, marks.lesion_id, marks.label, marks.box, strict=True)
        for film, lesion, label, box in rows:
            corners = " ".join(f"{value:.2f}" for value in box)
            made.update(f"{self.ids[film]} {lesion} {label} {corners}\n".encode())
        return made.hexdigest()


@dataclass(frozen=True)
class Selections:
    """The three sides of one stage's data.

    Parameters
    ----------
    stage
        ``segment``, ``pretrain-classifier`` or ``classify``.
    left_out
        Films that `where` chose and a default left out, by reason.
    rules
        Of sides and labels.
    """

    stage: str
    train: Selection
    val: Selection
    test: Selection
    left_out: dict[str, int]
    rules: Rules = DEFAULT_RULES

    def __iter__(self) -> Iterator[Selection]:
        return iter((self.train, self.val, self.test))

    def describe(self) -> list[dict[str, Any]]:
        """Return one row a split for the log: patients, films, lesions by label, sources."""
        return [
            {
                "split": part.split,
                "patients": len(set(part.patient.tolist())),
                "films": len(part),
                **(_lesion_counts(part) if part.labelled else {}),
                "films_nominal_mm": int(part.mm_nominal.sum()),
                "sources": dict(sorted(Counter(part.source.tolist()).items())),
            }
            for part in self
        ]


def _lesion_counts(part: Selection) -> dict[str, int]:
    marks = Counter(part.lesions.label.tolist())
    return {
        "films_with_lesion": int(part.has_lesion.sum()),
        "lesions_benign": marks[BENIGN],
        "lesions_malignant": marks[MALIGNANT],
        "lesions_unknown": marks[BACKGROUND],
    }


def build_selections(
    corpus: Corpus,
    stage: str,
    where: str | None = None,
    *,
    spot_views: bool = False,
    rules: Rules = DEFAULT_RULES,
) -> Selections:
    """Select the films of a stage from a corpus version.

    Parameters
    ----------
    corpus
        From `schemas.open`.
    stage
        Name of a stage, or ``evaluate`` (all films and all drawn lesions, however little there is
        to train on).
    where
        SQL condition on the manifest's columns; narrows, never widens.
    spot_views
        Keep spot and magnification views, which are left out by default.
    rules
        Of sides and labels; by default the manifest's words.

    Raises
    ------
    UsageError
        Unknown stage or source, a condition that DuckDB refuses, or nothing left to train on.
    MammoError
        A patient or a group of near-duplicates stands on two sides of the split.
    """
    if stage not in _STAGES:
        raise UsageError(f"unknown stage {stage!r}: known are {', '.join(_STAGES)}")
    chosen = rules.sides(corpus.table(where, list(_COLUMNS)).to_pandas(), stage)
    chosen = rules.relabel(chosen, chosen["birads_rank"].between(4, 5, inclusive="left"))
    films, left_out = _apply_defaults(chosen, stage, spot_views, rules)
    refuse_leaks(films)
    lesions = corpus.lesions(columns=_LESION_COLUMNS)
    fours = lesions["birads"].astype("string").str.startswith("4").fillna(False).astype(bool)
    lesions = rules.relabel(lesions, fours)
    parts = [_selection(films[films["split"] == split], split, lesions, stage) for split in Split]
    by_split = {part.split: part for part in parts}
    made = Selections(stage, by_split["train"], by_split["val"], by_split["test"], left_out, rules)
    if stage != "evaluate":
        _refuse_empty(made, chosen, where)
    return made


def _apply_defaults(
    films: pd.DataFrame, stage: str, spot_views: bool, rules: Rules
) -> tuple[pd.DataFrame, dict[str, int]]:
    left_out: dict[str, int] = {}

    def drop(reason: str, out: Any) -> None:
        nonlocal films
        left_out[reason] = int(out.sum())
        films = films[~out]

    def flagged(flag: QualityFlag) -> Any:
        return films["quality_flags"].map(lambda flags: flags is not None and flag in list(flags))

    if not spot_views:
        drop("spot or magnification view", films["spot_mag"].fillna(False).astype(bool))
    if not rules.implied_normals and stage not in SELF_SUPERVISED:
        implied = (films["label_basis"] == LabelBasis.IMPLIED) & (films["pathology"] == "normal")
        drop("implied normal outside train", implied & (films["split"] != Split.TRAIN))
    if rules.own_sides:
        # The audit's flag speaks of the manifest's split; its groups hold for any.
        drop("near-duplicate in val or test", twins_of_later_sides(films)[0])
        drop("near-duplicate in test", twins_of_later_sides(films)[1])
    else:
        leak = flagged(QualityFlag.AUDIT_LEAK).astype(bool)
        drop("audit:leak in train", leak & (films["split"] == Split.TRAIN))
        tested = films.loc[films["split"] == Split.TEST, "duplicate_group"].dropna()
        twins = flagged(QualityFlag.AUDIT_LEAK).astype(bool) & films["duplicate_group"].isin(tested)
        drop("audit:leak in val", twins & (films["split"] == Split.VAL))
    drop("labels set aside by label_share", rules.unlabelled(films, stage))
    if stage == "segment":
        drop("annotation not complete", films["annotation"] != Annotation.COMPLETE)
    if stage == "classify":
        drop("pathology unknown", ~films["pathology"].isin(_JUDGED))
    drop("another picture of the same exposure", _later_twins(films, stage not in SELF_SUPERVISED))
    return films, {reason: count for reason, count in left_out.items() if count}


def _later_twins(films: pd.DataFrame, labelled: bool) -> Any:
    """Mark all but one film of each (pair_key, modality): the best annotated, then the first id.

    Of a volume the slab comes before its slices: how many of those there are depends on the label,
    so a choice among all of them would tell it.
    """
    rank = films["annotation"].map(_ANNOTATION_RANK).fillna(2) if labelled else 0
    part = films["frame_kind"] != FrameKind.SLAB
    order = ["_part", "_rank", "sample_id"]
    ordered = films.assign(_part=part, _rank=rank).sort_values(order, kind="stable")
    repeated = ordered.duplicated(["pair_key", "modality"]) & ordered["pair_key"].notna()
    return repeated.reindex(films.index)


def _refuse_empty(made: Selections, chosen: pd.DataFrame, where: str | None) -> None:
    needs = _needs(made)
    if not needs:
        return
    counts = Counter(zip(chosen["split"], chosen["pathology"], strict=True))
    found = ", ".join(f"{split} {label} {n}" for (split, label), n in sorted(counts.items()))
    out = "; left out: " + ", ".join(f"{n} {why}" for why, n in made.left_out.items())
    raise UsageError(
        f"nothing to train {made.stage} on: it needs {needs} in train, and "
        f"{f'--where {where!r}' if where else 'this corpus'} gives {found or 'no film'}"
        f"{out if made.left_out else ''}; loosen --where or add a release with drawn lesions"
    )


def _needs(made: Selections) -> str:
    if made.stage == "segment":
        return "" if len(made.train.lesions) else "a film with a drawn lesion"
    if made.stage == "classify":
        malignant = made.train.pathology == Pathology.MALIGNANT
        if malignant.any() and not malignant.all():
            return ""
        return "a malignant film and one that is benign or normal"
    if made.stage in SELF_SUPERVISED:
        return "" if len(made.train) else "a film"
    return _missing_class(made.train)


def _missing_class(train: Selection) -> str:
    labels = set(train.lesions.label.tolist())
    missing = [f"a {CLASSES[c]} lesion" for c in (BENIGN, MALIGNANT) if c not in labels]
    if not train.background.any():
        missing.append("a completely annotated or normal film for background")
    return " and ".join(missing)


def _strings(column: Any) -> npt.NDArray[np.str_]:
    return np.array(column.fillna("").astype(str).tolist(), dtype=np.str_)


def _selection(films: pd.DataFrame, split: str, lesions: pd.DataFrame, stage: str) -> Selection:
    films = films.sort_values("sample_id", kind="stable")
    ids = _strings(films["sample_id"])
    shards, shard = np.unique(_strings(films["shard"]), return_inverse=True)
    annotation, pathology = _strings(films["annotation"]), _strings(films["pathology"])
    places = np.column_stack([films[name].fillna(0).to_numpy(np.int64) for name in _BYTES])
    return Selection(
        split=str(split),
        ids=ids,
        patient=_strings(films["patient_id"]),
        source=_strings(films["source"]),
        modality=_strings(films["modality"]),
        pathology=pathology,
        basis=_strings(films["label_basis"]),
        annotation=annotation,
        annotation_kind=_strings(films["annotation_kind"]),
        height=films["height"].to_numpy(np.int64),
        width=films["width"].to_numpy(np.int64),
        mm=films["mm_eff"].to_numpy(np.float64),
        mm_nominal=films["mm_nominal"].to_numpy(bool),
        shards=tuple(shards.tolist()),
        shard=shard.astype(np.int64),
        places=places,
        background=(annotation == Annotation.COMPLETE) | (pathology == Pathology.NORMAL),
        lesions=_lesions(lesions, ids, stage),
        breast=_breasts(films),
        keys=sample_keys(ids.tolist()),
        labelled=stage not in SELF_SUPERVISED,
    )


def _breasts(films: pd.DataFrame) -> npt.NDArray[np.str_]:
    visit = films["exam_id"].fillna(films["patient_id"]).astype(str)
    name = visit + " " + films["laterality"].astype("string")
    return _strings(name.fillna(films["sample_id"].astype("string")))


def _lesions(table: pd.DataFrame, ids: npt.NDArray[np.str_], stage: str) -> Lesions:
    corners = ["x0", "y0", "x1", "y1"]
    known = table[table["sample_id"].isin(ids.tolist())].dropna(subset=corners)
    placed = (known["x1"] > known["x0"]) & (known["y1"] > known["y0"])
    suspect = known["flags"].map(
        lambda flags: flags is not None and LesionFlag.SUSPECT in list(flags)
    )
    known = known[placed & ~suspect.astype(bool)]
    if stage in SELF_SUPERVISED:
        known = known[:0]
    label = known["pathology"].map(_CLASS_OF).fillna(BACKGROUND)
    if stage not in ("segment", "evaluate"):
        known, label = known[label != BACKGROUND], label[label != BACKGROUND]
    known = known.assign(_label=label).sort_values(["sample_id", "lesion_id"], kind="stable")
    names: Sequence[str] = known["sample_id"].tolist()
    film = np.searchsorted(ids, np.array(names, dtype=ids.dtype)) if names else np.zeros(0)
    return Lesions(
        film=film.astype(np.int64),
        lesion_id=_strings(known["lesion_id"]),
        label=known["_label"].to_numpy(np.int8),
        basis=_strings(known["label_basis"]),
        box=known[corners].to_numpy(np.float64).reshape(-1, 4),
    )
