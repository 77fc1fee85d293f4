"""The bare loop does a stage's arithmetic, or its time would be that of other work."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmarks.bare import LOSSES, Bare
from mammo_train.engine import learning_rate, train
from mammo_train.losses import (
    contrastive_loss,
    patch_loss,
    reconstruction_losses,
    segmentation_loss,
)
from mammo_train.runtime.cpu import CpuRuntime
from mammo_train.tracking import read_metrics
from tests.train.tiny import TinyStage

made = torch.Generator().manual_seed(3)
WEIGHT = torch.tensor([1.0, 1.0, 1.0, 0.0])


def test_segmentation_by_hand_is_that_of_the_stage() -> None:
    logits = torch.randn(4, 1, 8, 8, generator=made)
    target = torch.randint(0, 3, (4, 1, 8, 8), generator=made)
    target[target == 2] = 255
    batch = {"image": logits, "target": target, "weight": WEIGHT}
    found = LOSSES["segment"](lambda image: image, batch)
    torch.testing.assert_close(found, segmentation_loss(logits, target, WEIGHT))


def test_patches_by_hand_are_those_of_the_stage() -> None:
    logits, target = torch.randn(4, 3, generator=made), torch.tensor([0, 1, 2, 1])
    batch = {"image": logits, "target": target, "weight": WEIGHT}
    found = LOSSES["pretrain-classifier"](lambda image: image, batch)
    torch.testing.assert_close(found, patch_loss(logits, target, WEIGHT))


def test_contrast_by_hand_is_that_of_the_stage() -> None:
    output = torch.randn(8, 160, generator=made)
    batch = {"image": torch.zeros(4, 2, 1, 1), "group": torch.arange(4), "weight": WEIGHT}
    found = LOSSES["pretrain-encoder"](lambda _: output, batch)
    group, weight = batch["group"].repeat_interleave(2), WEIGHT.repeat_interleave(2)
    wanted = contrastive_loss(output[:, -128:], group, weight, temperature=0.05)
    torch.testing.assert_close(found, wanted)


def test_restoring_by_hand_is_that_of_the_stage() -> None:
    image, given = torch.rand(2, 4, 1, 8, 8, generator=made)
    hidden = torch.rand(4, 1, 8, 8, generator=made) > 0.4
    batch = {"image": image, "hidden": hidden, "scored": hidden, "weight": WEIGHT}
    found = LOSSES["pretrain-autoencoder"](lambda _: given, batch)
    wanted = reconstruction_losses(given, image, hidden)[:3].mean(dim=0).sum()
    torch.testing.assert_close(found, wanted)


def test_engine_and_bare_loop_have_the_same_losses(tmp_path: Path) -> None:
    """Two programs of one arithmetic: schedule, clipping and decay are those of the formulas."""
    torch.set_num_threads(1)
    stage = TinyStage(epochs=1)
    train(stage, CpuRuntime("fp32"), tmp_path, bar=False, say=lambda _: None)
    rows = read_metrics(tmp_path / "metrics.csv")
    config, batches = stage.config, list(stage.batches(0, 0))
    torch.manual_seed(stage.seed)
    model = stage.build().to(memory_format=torch.channels_last)
    rate, decay, clip = config.learning_rate, config.weight_decay, config.clip_norm
    bare = Bare("segment", model, rate=rate, decay=decay, clip=clip, fused=True)
    rates = [learning_rate(step, len(batches), config) for step in range(len(batches))]
    wanted = [float(bare.step(*pair)) for pair in zip(batches, rates, strict=True)]
    found = [float(row["loss"]) for row in rows if row["kind"] == "train"]
    assert found == pytest.approx(wanted, rel=1e-4)
    assert found[-1] < found[0]
