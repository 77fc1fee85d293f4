"""The stages: each file puts batch, model, loss, metric and cost side by side.

``run`` goes through `STAGES` in this order.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

import torch

if TYPE_CHECKING:
    from mammo_train.config import RunConfig
    from mammo_train.runtime import Batch
    from mammo_train.stages.classify import ClassifyStage
    from mammo_train.stages.pretrain_autoencoder import AutoencoderStage
    from mammo_train.stages.pretrain_classifier import ClassifierStage
    from mammo_train.stages.pretrain_encoder import EncoderStage
    from mammo_train.stages.segment import SegmentStage
    from schemas.corpus import Corpus

    AnyStage: TypeAlias = (
        EncoderStage | AutoencoderStage | SegmentStage | ClassifierStage | ClassifyStage
    )

__all__ = [
    "KEEP_BYTES",
    "STAGES",
    "open_autoencoder",
    "open_classifier",
    "open_classify",
    "open_encoder",
    "open_segment",
    "open_stage",
    "repeat_real",
]

STAGES = (
    "pretrain-encoder", "pretrain-autoencoder", "segment", "pretrain-classifier", "classify",
)  # fmt: skip

KEEP_BYTES = 1 << 30
"""Decoded pictures that a run without loader processes keeps: a small corpus is decoded once."""

SHOWN = ("image", "hidden")
"""Of a batch, what decides what the network sees."""


def open_stage(name: str, corpus: Corpus, config: RunConfig, *, workers: int) -> AnyStage:
    """Select a stage's data from a corpus version and make the stage.

    Raises
    ------
    UsageError
        The selection is empty, or has nothing to validate on.
    """
    openers: dict[str, Callable[..., AnyStage]] = {
        "pretrain-encoder": open_encoder,
        "pretrain-autoencoder": open_autoencoder,
        "segment": open_segment,
        "pretrain-classifier": open_classifier,
        "classify": open_classify,
    }
    return openers[name](corpus, config, workers=workers)


def open_encoder(corpus: Corpus, config: RunConfig, *, workers: int) -> EncoderStage:
    """Make the stage ``pretrain-encoder``; see `open_stage`."""
    from mammo_train.data.selection import build_selections
    from mammo_train.data.sides import Rules
    from mammo_train.stages.pretrain_encoder import EncoderStage

    chosen = build_selections(corpus, "pretrain-encoder", config.where, rules=Rules.of(config))
    part, network = config.pretrain_encoder, config.segment
    return EncoderStage(part, network, config.seed, chosen, corpus.store, workers)


def open_autoencoder(corpus: Corpus, config: RunConfig, *, workers: int) -> AutoencoderStage:
    """Make the stage ``pretrain-autoencoder``; see `open_stage`."""
    from mammo_train.data.selection import build_selections
    from mammo_train.data.sides import Rules
    from mammo_train.stages.pretrain_autoencoder import AutoencoderStage

    chosen = build_selections(corpus, "pretrain-autoencoder", config.where, rules=Rules.of(config))
    part, network = config.pretrain_autoencoder, config.segment
    return AutoencoderStage(part, network, config.seed, chosen, corpus.store, workers)


def open_segment(corpus: Corpus, config: RunConfig, *, workers: int) -> SegmentStage:
    """Make the stage ``segment``; see `open_stage`."""
    from mammo_train.data.selection import build_selections
    from mammo_train.data.sides import Rules
    from mammo_train.stages.segment import SegmentStage

    chosen = build_selections(corpus, "segment", config.where, rules=Rules.of(config))
    return SegmentStage(config.segment, config.seed, chosen, corpus.store, workers)


def open_classifier(corpus: Corpus, config: RunConfig, *, workers: int) -> ClassifierStage:
    """Make the stage ``pretrain-classifier``; see `open_stage`."""
    from mammo_train.data.selection import build_selections
    from mammo_train.data.sides import Rules
    from mammo_train.stages.pretrain_classifier import ClassifierStage

    rules = Rules.of(config)
    chosen = build_selections(corpus, "pretrain-classifier", config.where, rules=rules)
    part = config.pretrain_classifier
    unet = config.segment
    return ClassifierStage(part, config.seed, chosen, corpus.store, workers, unet=unet)


def open_classify(corpus: Corpus, config: RunConfig, *, workers: int) -> ClassifyStage:
    """Make the stage ``classify``; see `open_stage`."""
    from mammo_train.data.selection import build_selections
    from mammo_train.data.sides import Rules
    from mammo_train.stages.classify import ClassifyStage

    chosen = build_selections(corpus, "classify", config.where, rules=Rules.of(config))
    part, unet, patches = config.classify, config.segment, config.pretrain_classifier
    return ClassifyStage(
        part, config.seed, chosen, corpus.store, workers, unet=unet, patches=patches
    )


def repeat_real(batch: Batch) -> Batch:
    """Show the network real images in place of padding, whose weight stays 0.

    The loss leaves samples of weight 0 out, BatchNorm cannot: a black image in the batch, or one
    of which nothing is hidden, would shift the statistics of all others.
    """
    real = torch.nonzero(batch["weight"] > 0).flatten()
    if not len(real) or len(real) == len(batch["weight"]):
        return batch
    rows = torch.arange(len(batch["weight"]))
    rows[batch["weight"] == 0] = real[torch.arange(len(rows) - len(real)) % len(real)]
    return {**batch, **{name: batch[name][rows] for name in SHOWN if name in batch}}
