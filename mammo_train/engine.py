"""The one training loop: build, restore, step, validate, save. It knows a device as `runtime` only.

A stage brings the model, the batches of an epoch, the loss and the validation; `train` runs it to
its end from wherever its folder stands. Killed at any moment and started again, the sequence of
losses is that of an undisturbed run: draws are a function of (seed, epoch, selection), and the
checkpoint holds model, optimiser, random state and the number of the next batch.
"""

from __future__ import annotations

import json
import math
import signal
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from mammo_train import checkpoint
from mammo_train.averaging import Average
from mammo_train.checkpoint import Position
from mammo_train.config import FREE, StageConfig
from mammo_train.curves import draw_curves
from mammo_train.data.dataset import loader_errors
from mammo_train.errors import Stopped
from mammo_train.runtime import Batch, Runtime
from mammo_train.stages import repeat_real
from mammo_train.tracking import Tracker
from schemas.errors import MammoError, UsageError

__all__ = ["Finished", "Stage", "fingerprint", "finished", "learning_rate", "train"]


class Stage(Protocol):
    """What the loop asks of a stage."""

    @property
    def name(self) -> str:
        """Folder and command name."""
        ...

    @property
    def config(self) -> StageConfig:
        """What the user chose."""
        ...

    @property
    def seed(self) -> int:
        """Of weights and draws."""
        ...

    @property
    def metric(self) -> str:
        """Name of the validation metric that chooses the best checkpoint; larger is better."""
        ...

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of all validation metrics."""
        ...

    def fingerprint(self) -> Mapping[str, Any]:
        """Say what the order of draws depends on; JSON values."""
        ...

    def build(self) -> nn.Module:
        """Build the model on the host."""
        ...

    def example(self) -> Tensor:
        """Give images (N, 1, H, W) in the training shape, for a probe."""
        ...

    def steps(self, epoch: int) -> int:
        """Count the global batches of an epoch; the same for all epochs."""
        ...

    def batches(self, epoch: int, start: int, part: tuple[int, int] = (0, 1)) -> Iterable[Batch]:
        """Give the batches of an epoch from number `start` on, padded samples with weight 0.

        With part (r, W) only rows r::W of each, for process r of W.
        """
        ...

    def loss(self, model: nn.Module, batch: Batch, runtime: Runtime) -> Tensor:
        """Give the loss of a batch on the device, a float32 scalar.

        What it compares it gathers first (`Runtime.gather`), so that it is the global batch's.
        """
        ...

    def validate(self, model: nn.Module, runtime: Runtime) -> Mapping[str, float]:
        """Measure on the validation split; the model is in eval mode."""
        ...


@dataclass(frozen=True, slots=True)
class Finished:
    """How a stage ended: its folder, steps, and the best value of its metric with its step."""

    folder: Path
    steps: int
    metric: str
    best: float


def train(
    stage: Stage,
    runtime: Runtime,
    folder: Path,
    *,
    bar: bool = True,
    say: Callable[[str], None] = print,
    licences: Mapping[str, Any] | None = None,
    saved: Callable[[], None] = lambda: None,
) -> Finished:
    """Train a stage to its end, from its newest checkpoint where it has one.

    Parameters
    ----------
    folder
        ``WORK/stages/<stage>/``; gets ``checkpoints/``, ``metrics.csv``, ``curves.png``,
        ``tensorboard/`` and, at the end, ``done.json``.
    bar
        Show a progress bar.
    say
        Gets one line about the device and, on the CPU, the probe of its precision.
    licences
        Of the films that the weights learn from; each checkpoint's JSON repeats them.
    saved
        Called after each checkpoint that is on the disk and at the end, in the first process.

    Raises
    ------
    MammoError
        The checkpoints belong to other data or options, or the loss is no longer finite.
    Stopped
        SIGTERM came; everything is saved.
    """
    settings, saves = stage.config, folder / "checkpoints"
    _check_batch(stage, runtime)
    per_epoch = stage.steps(0)
    total = per_epoch * settings.epochs
    torch.manual_seed(stage.seed)
    model = stage.build()
    torch.manual_seed(stage.seed)  # the probe below must not shift what follows
    newest = runtime.share(lambda: _precision_of(saves))
    if newest is not None:
        runtime.precision = newest
    model = runtime.prepare(model, stage.example())
    if runtime.first:
        say(runtime.describe())
    optimizer = _adamw(model, settings, fused=runtime.fused_optimizer)
    average = Average(model, settings.ema_decay) if settings.ema_decay else None
    judged = average.model if average else model
    identity = fingerprint(stage)
    at = checkpoint.restore(saves, identity, model, optimizer, average, share=runtime.share)
    at = replace(
        at, fingerprint=identity, precision=runtime.precision, licences=dict(licences or {})
    )

    keep = _Keeper(runtime, saves, settings.keep_checkpoints, saved, model, optimizer, average)
    tracker = Tracker(
        folder, stage.metrics, steps=total, title=stage.name, bar=bar, quiet=not runtime.first
    )
    with tracker, loader_errors(), _asked_to_stop() as stop:
        tracker.start(at.step)
        while at.epoch < settings.epochs and not _given_up(at, settings):
            pending = _Pending(tracker, runtime)
            model.train()
            part = (runtime.rank, runtime.world)
            for batch in tracker.waited(stage.batches(at.epoch, at.batch, part)):
                rate = learning_rate(at.step, total, settings)
                loss = _step(stage, runtime, model, optimizer, batch, rate, average, at.step)
                at = replace(at, step=at.step + 1, batch=at.batch + 1)
                pending.add(loss, rate, len(batch["weight"]) * runtime.world)
                due = at.step % settings.checkpoint_every == 0 and at.batch < per_epoch
                reads = due or at.step % settings.log_every == 0
                # Several processes must stop at one step; asking at each would wait at each.
                stops = (reads or runtime.world == 1) and runtime.agree(stop())
                if reads or stops:
                    pending.flush(at)
                if due or stops:
                    keep(at)
                if stops:
                    raise Stopped(f"{stage.name}: stopped at step {at.step}, saved; run it again")
            pending.flush(at)
            if at.batch != per_epoch:
                raise MammoError(f"{stage.name}: the loader gave {at.batch} of {per_epoch} batches")
            at = replace(at, epoch=at.epoch + 1, batch=0)
            if at.epoch % settings.validate_every == 0 or at.epoch == settings.epochs:
                at = _validate(stage, runtime, judged, tracker, keep, at)
            keep(at)
    return runtime.share(lambda: _finish(stage, folder, at, saved))


@dataclass(frozen=True, slots=True)
class _Keeper:
    """Writes checkpoints in the first process."""

    runtime: Runtime
    saves: Path
    number: int
    saved: Callable[[], None]
    model: nn.Module
    optimizer: torch.optim.Optimizer
    average: Average | None

    def __call__(self, at: Position, *, best: bool = False) -> None:
        first = self.runtime.first
        if first or self.runtime.lockstep:
            checkpoint.save(
                self.saves,
                at,
                self.model,
                self.optimizer,
                self.average,
                keep=self.number,
                best=best,
                host=self.runtime.host,
                write=first,
            )
        if first:
            self.saved()


def _check_batch(stage: Stage, runtime: Runtime) -> None:
    size, parts = stage.config.batch_size, stage.config.accumulate
    if size % (parts * runtime.world):
        among = f" in each of {runtime.world} processes" if runtime.world > 1 else ""
        raise UsageError(
            f"{stage.name}: a batch of {size} does not divide into {parts} parts{among}: choose "
            f"--{stage.name}.batch-size as a multiple of {parts * runtime.world}"
        )


def _step(
    stage: Stage,
    runtime: Runtime,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    batch: Batch,
    rate: float,
    average: Average | None,
    step: int,
) -> Tensor:
    for group in optimizer.param_groups:
        group["lr"] = rate
    loss = _backward(stage, runtime, model, batch)
    nn.utils.clip_grad_norm_(model.parameters(), stage.config.clip_norm)
    _decay(model, rate * stage.config.weight_decay)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    if average is not None:
        average.update(step)
    runtime.end_step()
    return loss


def _backward(stage: Stage, runtime: Runtime, model: nn.Module, batch: Batch) -> Tensor:
    """Give a batch's loss and leave its gradients, its parts one after another.

    Each part counts by its real samples, so that sums over samples are those of the whole batch;
    a loss over the batch as a whole (soft Dice) becomes the mean of its parts.
    """
    count = stage.config.accumulate
    # A part of a batch for one of several processes has real images already (see BatchPlan).
    batch = repeat_real(batch) if runtime.world == 1 else batch
    size = len(batch["weight"]) // count
    parts = [
        runtime.feed({name: value[n * size : (n + 1) * size] for name, value in batch.items()})
        for n in range(count)
    ]
    if count == 1:
        loss = stage.loss(model, parts[0], runtime)
        loss.backward()  # type: ignore[no-untyped-call]
        runtime.reduce(model)
        return loss.detach()
    real = torch.stack([runtime.gather(part["weight"]).float().sum() for part in parts])
    losses = []
    for part, share in zip(parts, real / real.sum().clamp(min=1), strict=True):
        loss = stage.loss(model, part, runtime) * share
        loss.backward()
        losses.append(loss.detach())
    runtime.reduce(model)
    return torch.stack(losses).sum()


def _validate(
    stage: Stage,
    runtime: Runtime,
    model: nn.Module,
    tracker: Tracker,
    keep: _Keeper,
    at: Position,
) -> Position:
    model.eval()
    metrics = runtime.once(lambda: dict(stage.validate(model, runtime)))
    tracker.validation(at.step, at.epoch - 1, metrics)
    value = metrics[stage.metric]
    better = math.isfinite(value) and (at.best is None or value > at.best)
    best, stale = (value, 0) if better else (at.best, at.stale + 1)
    at = replace(at, metrics=metrics, best=best, stale=stale)
    if better:
        keep(at, best=True)
    if runtime.first:
        draw_curves(tracker.path, tracker.folder / "curves.png", title=stage.name)
    return at


def _given_up(at: Position, settings: StageConfig) -> bool:
    """Say whether the metric has not become better for as long as was asked for."""
    return 0 < settings.early_stop <= at.stale


class _Pending:
    """Losses that still lie on the device; reading waits for it, so they are read in groups."""

    def __init__(self, tracker: Tracker, runtime: Runtime) -> None:
        self._tracker, self._runtime = tracker, runtime
        self._losses: list[Tensor] = []
        self._rates: list[float] = []

    def add(self, loss: Tensor, rate: float, images: int) -> None:
        self._losses.append(loss)
        self._rates.append(rate)
        self._tracker.saw(images)

    def flush(self, at: Position) -> None:
        if not self._losses:
            return
        losses = self._runtime.numbers(self._losses)
        self._tracker.train(at.step, at.epoch, losses, self._rates)
        self._losses, self._rates = [], []
        if not all(math.isfinite(loss) for loss in losses):
            raise MammoError(
                f"the loss is not finite within {len(losses)} steps before step {at.step}: "
                f"lower the learning rate, or use --precision fp32"
            )


def learning_rate(step: int, total: int, config: StageConfig) -> float:
    """Give the rate of a step: linear warm-up, then half a cosine down to 0.

    Loshchilov and Hutter 2016 (arXiv:1608.03983) without restarts; a pure function, so that a
    resumed run needs no scheduler state.
    """
    warm = max(1, round(config.warmup_fraction * total))
    if step < warm:
        return config.learning_rate * (step + 1) / warm
    done = (step - warm) / max(1, total - warm)
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * done))


def _adamw(model: nn.Module, config: StageConfig, *, fused: bool) -> torch.optim.AdamW:
    return torch.optim.AdamW(
        model.parameters(), lr=config.learning_rate, weight_decay=0.0, fused=fused
    )


@torch.no_grad()
def _decay(model: nn.Module, share: float) -> None:
    """Shrink the weights that have a gradient by a share of them: AdamW's decoupled decay.

    Loshchilov and Hutter 2017 (arXiv:1711.05101). Norms and biases are left alone: shrinking a
    scale changes no function that a norm follows. Done here and by a tensor of one element,
    because AdamW multiplies by a number, which at the end of the cosine rounds to 1: torch_xla
    makes 0 and 1 constants of the graph, in tensors without axes too, and compiles the step again.
    """
    decayed = [p for p in model.parameters() if p.ndim >= 2 and p.grad is not None]
    if share and decayed:
        factor = torch.tensor([1 - share], dtype=torch.float32).to(decayed[0].device)
        for weight in decayed:
            weight.mul_(factor)


def fingerprint(stage: Stage) -> dict[str, Any]:
    """Say what a checkpoint of this stage depends on, as JSON values.

    Each option stands alone, so that a refusal can name the one that changed.
    """
    options = {
        f"{stage.name}.{name}": value
        for name, value in stage.config.model_dump(mode="json").items()
        if name not in FREE
    }
    return {**stage.fingerprint(), "seed": stage.seed, **options}


def finished(stage: Stage, folder: Path) -> Finished | None:
    """Tell whether a stage has been trained to its end in this folder, with these options.

    Raises
    ------
    MammoError
        It was, but from other data or options.
    """
    path = folder / "done.json"
    if not path.is_file():
        return None
    found = json.loads(path.read_text())
    checkpoint.check(path, found["fingerprint"], fingerprint(stage))
    return Finished(folder, found["steps"], found["metric"], found["best"])


def _finish(stage: Stage, folder: Path, at: Position, saved: Callable[[], None]) -> Finished:
    if at.best is None:
        raise MammoError(
            f"{stage.name}: {stage.metric} was never a number; is the val split empty?"
        )
    values = {
        "steps": at.step,
        "metric": stage.metric,
        "best": at.best,
        "fingerprint": at.fingerprint,
    }
    temporary = folder / "done.tmp"
    temporary.write_text(json.dumps(values, indent=1, sort_keys=True))
    temporary.replace(folder / "done.json")
    saved()
    return Finished(folder, at.step, stage.metric, at.best)


def _precision_of(saves: Path) -> Any:
    # A probe on a busy machine may choose otherwise than the first time.
    for path in checkpoint.saved(saves):
        try:
            return json.loads((path / "state.json").read_text())["precision"]
        except (OSError, ValueError, KeyError):
            continue
    return None


@contextmanager
def _asked_to_stop() -> Iterator[Any]:
    asked: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        asked.append(number)

    try:
        before = signal.signal(signal.SIGTERM, note)
    except ValueError:  # not the main thread: nobody can send us signals
        yield lambda: False
        return
    try:
        yield lambda: bool(asked)
    finally:
        signal.signal(signal.SIGTERM, before)
