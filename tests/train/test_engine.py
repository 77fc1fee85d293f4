"""The loop: learning rate, losses written, resume, refusals."""

from __future__ import annotations

import copy
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from mammo_train import checkpoint
from mammo_train.averaging import Average
from mammo_train.config import SegmentConfig
from mammo_train.engine import _backward, _decay, finished, learning_rate, train
from mammo_train.runtime.cpu import CpuRuntime
from mammo_train.tracking import read_metrics
from schemas.errors import MammoError, UsageError
from tests.train.tiny import TinyStage, discs

ROOT = Path(__file__).parents[2]


def losses(folder: Path) -> list[tuple[int, str]]:
    rows = read_metrics(folder / "metrics.csv")
    return [(int(row["step"]), row["loss"]) for row in rows if row["kind"] == "train"]


def run(folder: Path, **changes: object) -> list[tuple[int, str]]:
    train(TinyStage(**changes), CpuRuntime("fp32"), folder, bar=False)  # type: ignore[arg-type]
    return losses(folder)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[int, str]]:
    torch.set_num_threads(1)
    return run(tmp_path_factory.mktemp("undisturbed"))


def test_learning_rate_rises_then_falls_to_nothing() -> None:
    config = SegmentConfig(learning_rate=1.0, warmup_fraction=0.1)
    rates = [learning_rate(step, 100, config) for step in range(100)]
    assert rates[:3] == pytest.approx([0.1, 0.2, 0.3])
    assert max(rates) == pytest.approx(1.0)
    assert rates[9:] == sorted(rates[9:], reverse=True)
    assert 0 < rates[-1] < 1e-3


def test_every_step_has_its_loss_and_the_same_seed_repeats_them(
    undisturbed: list[tuple[int, str]], tmp_path: Path
) -> None:
    assert [step for step, _ in undisturbed] == list(range(1, 25))
    assert run(tmp_path) == undisturbed


def test_another_seed_gives_other_losses(
    undisturbed: list[tuple[int, str]], tmp_path: Path
) -> None:
    assert run(tmp_path, seed=2) != undisturbed


def test_finished_stage_is_known_and_changed_options_are_refused(tmp_path: Path) -> None:
    run(tmp_path)
    done = finished(TinyStage(), tmp_path)
    assert done is not None
    assert done.steps == 24
    with pytest.raises(MammoError, match=r"tiny\.learning_rate = .* give another --work"):
        finished(TinyStage(learning_rate=1e-4), tmp_path)


def test_changed_selection_is_refused_with_a_sentence(tmp_path: Path) -> None:
    run(tmp_path)
    (tmp_path / "done.json").unlink()
    with pytest.raises(MammoError, match=r"made with selection = .* and this run has"):
        run(tmp_path, selection="other")


def test_only_the_newest_and_the_best_checkpoints_stay(tmp_path: Path) -> None:
    run(tmp_path)
    names = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert [name for name in names if name.startswith("step-")] == [
        "step-00000021",
        "step-00000024",
    ]
    assert len([name for name in names if name.startswith("best-")]) == 1


def test_torn_newest_checkpoint_falls_back_and_the_losses_do_not_change(
    undisturbed: list[tuple[int, str]], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run(tmp_path)
    newest = checkpoint.saved(tmp_path / "checkpoints")[0]
    data = bytearray((newest / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (newest / "model.safetensors").write_bytes(data)
    with caplog.at_level("WARNING"):
        assert run(tmp_path) == undisturbed
    assert "taking the one before" in caplog.text


def test_no_checkpoint_is_a_pickle(tmp_path: Path) -> None:
    run(tmp_path)
    kinds = {path.suffix for path in (tmp_path / "checkpoints").rglob("*") if path.is_file()}
    assert kinds == {".safetensors", ".json"}
    state = json.loads((checkpoint.saved(tmp_path / "checkpoints")[0] / "state.json").read_text())
    assert state["step"] == 24


def test_loss_that_is_not_finite_ends_with_advice(tmp_path: Path) -> None:
    with pytest.raises(MammoError, match=r"not finite .* lower the learning rate"):
        run(tmp_path, poison=5)


def start(folder: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.train.tiny", str(folder), "0.05"]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, cwd=ROOT, env=env, stderr=subprocess.DEVNULL)


def wait_for_steps(folder: Path, steps: int) -> None:
    for _ in range(600):
        if (folder / "metrics.csv").is_file() and len(losses(folder)) >= steps:
            return
        time.sleep(0.1)
    raise AssertionError(f"no {steps} steps within a minute")


def test_killed_at_a_random_step_and_resumed_the_losses_are_bitwise_the_same(
    undisturbed: list[tuple[int, str]], tmp_path: Path
) -> None:
    steps = random.randint(5, 20)
    with start(tmp_path) as process:
        wait_for_steps(tmp_path, steps)
        process.kill()
    assert len(losses(tmp_path)) < 24
    assert run(tmp_path) == undisturbed, f"killed after {steps} steps"


def test_sigterm_saves_and_the_next_run_goes_on(
    undisturbed: list[tuple[int, str]], tmp_path: Path
) -> None:
    with start(tmp_path) as process:
        wait_for_steps(tmp_path, 3)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    stopped = checkpoint.saved(tmp_path / "checkpoints")
    assert stopped
    assert run(tmp_path) == undisturbed


def weights(folder: Path, kind: str) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(checkpoint.saved(folder / "checkpoints", kind)[0] / "model.safetensors")


def test_parts_of_a_batch_add_up_to_its_gradient() -> None:
    """GroupNorm sees one sample at a time, so the parts are the batch, but for the soft Dice."""
    gradients = []
    for accumulate in (1, 2, 4):
        stage = TinyStage(norm="group", accumulate=accumulate, region_weight=0.0)
        torch.manual_seed(0)
        model, runtime = stage.build(), CpuRuntime("fp32")
        batch = discs(3)
        batch["weight"][3] = 0
        loss = _backward(PixelsOnly(stage), runtime, model, batch)
        gradients.append([loss, *(p.grad for p in model.parameters())])
    for parts in gradients[1:]:
        for one, other in zip(gradients[0], parts, strict=True):
            torch.testing.assert_close(other, one, rtol=2e-4, atol=2e-6)


class PixelsOnly:
    """A stage whose loss is a mean over samples: each sample's own pixels, then their mean."""

    def __init__(self, stage: TinyStage) -> None:
        self.config, self.name = stage.config, stage.name

    def loss(self, model: torch.nn.Module, batch: Any, runtime: Any) -> torch.Tensor:
        logits, weight = model(batch["image"]), batch["weight"].float()
        entropy = torch.nn.functional.binary_cross_entropy_with_logits(
            logits, batch["target"], reduction="none"
        ).mean(dim=(1, 2, 3))
        return (entropy * weight).sum() / weight.sum().clamp(min=1)


def test_a_batch_that_does_not_divide_into_its_parts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"does not divide into 3 parts: choose --tiny"):
        run(tmp_path, accumulate=3)


def test_the_running_mean_is_what_is_validated_and_kept_as_the_best(tmp_path: Path) -> None:
    run(tmp_path, ema_decay=0.9)
    best, last = weights(tmp_path, "best"), weights(tmp_path, "step")
    assert any(not torch.equal(best[name], last[name]) for name in best)
    source = torch.nn.Linear(2, 1)
    mean = Average(source, 0.5)
    before = source.weight.detach().clone()
    with torch.no_grad():
        source.weight.add_(1.0)
    mean.update(0)  # (1 + 0) / (10 + 0) of the old one stays
    torch.testing.assert_close(mean.model.weight, before + 0.9)


def test_a_killed_run_with_a_running_mean_goes_on_with_it(tmp_path: Path) -> None:
    whole = run(tmp_path / "whole", ema_decay=0.9)
    half = tmp_path / "half"
    train(TinyStage(ema_decay=0.9), CpuRuntime("fp32"), half, bar=False)
    for path in checkpoint.saved(half / "checkpoints")[:1]:
        shutil.rmtree(path)  # as if killed before the newest was written
    (half / "done.json").unlink()
    assert run(half, ema_decay=0.9) == whole
    for kind in ("best", "step"):
        found, wanted = weights(half, kind), weights(tmp_path / "whole", kind)
        assert all(torch.equal(found[name], wanted[name]) for name in wanted)


def test_a_stage_that_does_not_get_better_ends_early(tmp_path: Path) -> None:
    options = {"learning_rate": 1e-12, "validate_every": 1, "early_stop": 2, "epochs": 9}
    done = train(TinyStage(**options), CpuRuntime("fp32"), tmp_path, bar=False)  # type: ignore[arg-type]
    assert done.steps < 9 * 8
    assert finished(TinyStage(**options), tmp_path) == done  # type: ignore[arg-type]


def test_decay_is_that_of_adamw_and_leaves_norms_and_biases_alone() -> None:
    torch.manual_seed(0)
    ours = torch.nn.Sequential(torch.nn.Linear(6, 5), torch.nn.LayerNorm(5))
    theirs = copy.deepcopy(ours)
    weight, *rest = theirs.parameters()
    groups = [{"params": [weight], "weight_decay": 0.1}, {"params": rest, "weight_decay": 0.0}]
    other = torch.optim.AdamW(groups, lr=0.01)
    plain = torch.optim.AdamW(ours.parameters(), lr=0.01, weight_decay=0.0)
    for _ in range(5):
        batch = torch.randn(4, 6)
        for model, optimizer in ((ours, plain), (theirs, other)):
            optimizer.zero_grad()
            model(batch).square().sum().backward()
            if optimizer is plain:
                _decay(model, 0.01 * 0.1)
            optimizer.step()
    for mine, wanted in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(mine, wanted)


@pytest.mark.parametrize("fused", [(True, False), (False, True), (True, True)])
def test_a_device_that_steps_in_another_way_goes_on_from_a_checkpoint(
    fused: tuple[bool, bool], tmp_path: Path
) -> None:
    """Weights in channels_last, whose moments are stored row by row."""
    model = torch.nn.Conv2d(3, 5, 3).to(memory_format=torch.channels_last)
    other = copy.deepcopy(model)
    first = torch.optim.AdamW(model.parameters(), lr=0.1, fused=fused[0])
    second = torch.optim.AdamW(other.parameters(), lr=0.1, fused=fused[1])
    images = torch.randn(4, 2, 3, 8, 8)

    def step(network: torch.nn.Module, optimizer: torch.optim.Optimizer, image: Any) -> None:
        optimizer.zero_grad()
        network(image).square().mean().backward()
        optimizer.step()

    for image in images[:3]:
        step(model, first, image)
    checkpoint.save(tmp_path, checkpoint.Position(step=3), model, first, keep=1)
    checkpoint.restore(tmp_path, {}, other, second)
    for network, optimizer in ((model, first), (other, second)):
        step(network, optimizer, images[3])
    assert second.param_groups[0]["fused"] is fused[1]
    for wanted, found in zip(model.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6)
