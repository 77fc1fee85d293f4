"""The only files that know a device; everything else sees a `Runtime`.

A successor of torch_xla takes its place by adding one file here and one line to `open_runtime`.
"""

from __future__ import annotations

import contextlib
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Literal, TypeVar

from torch import Tensor, nn

from schemas.errors import UsageError

__all__ = ["Batch", "Device", "Precision", "Runtime", "check_trio", "open_runtime"]

Device = Literal["auto", "cpu", "cuda", "xla"]
Precision = Literal["auto", "fp32", "bf16"]
Batch = dict[str, Tensor]
T = TypeVar("T")


class Runtime(ABC):
    """A device, or several behind one face, and its arithmetic.

    Several processes may train together, one a GPU (`mammo_train.runtime.ranks`) or one a host of
    TPUs. Each feeds its rows of every global batch; a loss that gathers what it compares is then
    the loss of the global batch, and gradients are averaged over processes. With one process every
    method of theirs does nothing.

    Attributes
    ----------
    name
        ``cpu``, ``cuda`` or ``xla``.
    devices
        How many devices this process drives; what `put` is given must divide by it.
    rank, world
        Number of this process, from 0, and of all that train together; global batches must divide
        by `world`.
    lockstep
        All processes must do the same with the device at all times, also to read from it.
    precision
        ``fp32`` or ``bf16``, settled by `prepare`.
    fused_optimizer
        Let AdamW go through weights and moments once a step, not once an operation.
    """

    name: str
    devices: int = 1
    rank: int = 0
    world: int = 1
    lockstep: bool = False
    precision: Precision = "auto"
    fused_optimizer: bool = False

    @property
    def first(self) -> bool:
        """Whether this process is the one that prints and writes."""
        return self.rank == 0

    def prepare(self, model: nn.Module, example: Tensor) -> nn.Module:
        """Bring the model to the device and settle the precision; before the optimiser is built.

        Parameters
        ----------
        example
            One batch of images (N, 1, H, W) in the stage's shape, for a probe; the model is not
            changed by it.
        """
        if self.precision == "auto":
            self.precision = "bf16"
        return self.place(model)

    @abstractmethod
    def place(self, model: nn.Module) -> nn.Module:
        """Bring the model to the device."""

    @abstractmethod
    def put(self, batch: Batch) -> Batch:
        """Bring a batch to the device."""

    def feed(self, batch: Batch) -> Batch:
        """Bring this process's rows of a global batch to the device."""
        return self.put(batch)

    def gather(self, rows: Tensor) -> Tensor:
        """Give the rows of all processes, in the order of the global batch; differentiable.

        Floats come back as float32. Identity where one process sees the whole batch.
        """
        return rows

    def reduce(self, model: nn.Module) -> None:
        """Average the gradients over processes."""
        return

    def agree(self, asked: bool) -> bool:
        """Give True in all processes when it is True in one."""
        return asked

    def share(self, work: Callable[[], T]) -> T:
        """Do `work` in the first process and give its answer, or its error, to all."""
        return work()

    def once(self, work: Callable[[], T]) -> T:
        """Do `work` on the device in as few processes as may, and give its answer to all."""
        return work()

    def in_turn(self, work: Callable[[], None]) -> None:
        """Do `work` in the first process, then in the others, which find the files it left."""
        work()

    def autocast(self) -> AbstractContextManager[object]:
        """Give the context in which the network runs."""
        return contextlib.nullcontext()

    def end_step(self) -> None:
        """Tell the device that a step is complete; it may go on working behind."""
        return

    def numbers(self, tensors: Sequence[Tensor]) -> list[float]:
        """Read scalars; this waits for the device."""
        return [float(t) for t in tensors]

    def host(self, tensor: Tensor) -> Tensor:
        """Copy a tensor to the host as it is; this waits for the device."""
        return tensor.detach().cpu()

    def describe(self) -> str:
        """Say in one line what this runtime is."""
        return f"{self.name}, {self.devices} device(s), {self.precision}"


def open_runtime(
    device: Device = "auto", precision: Precision = "auto", *, cache: Path | None = None
) -> Runtime:
    """Open the runtime of a device word; ``auto`` takes cuda, then xla on a TPU host, then cpu.

    Parameters
    ----------
    cache
        Folder for what xla has compiled, so that a run that goes on need not compile again.

    Raises
    ------
    UsageError
        The device is not there, or torch_xla is not installed.
    """
    if device == "auto":
        device = _best_device()
    if device == "xla":
        from mammo_train.runtime.xla import XlaRuntime

        return XlaRuntime(precision, cache)
    if device == "cuda":
        from mammo_train.runtime.cuda import CudaRuntime

        return CudaRuntime(precision)
    from mammo_train.runtime.cpu import CpuRuntime

    return CpuRuntime(precision)


def _best_device() -> Device:
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if os.environ.get("PJRT_DEVICE", "").upper() == "TPU" or os.path.exists("/dev/accel0"):
        return "xla"
    return "cpu"


def check_trio() -> None:
    """Refuse torch, torchvision and torch_xla that cannot work together.

    torchvision X of torch Y is fixed: 0.(N + 15) for torch 2.N. torch_xla declares no torch in
    its metadata, so a resolver pairs it with anything, and the import then dies on a symbol.

    Raises
    ------
    UsageError
        One sentence that names the versions and the command that repairs them.
    """
    from importlib.metadata import PackageNotFoundError, version

    try:
        torch, vision = _minor(version("torch")), _minor(version("torchvision"))
    except PackageNotFoundError as error:
        raise UsageError(
            f"{error.name} is not installed: pip install 'mammo-corpus[train]'"
        ) from None
    if vision != (0, torch[1] + 15):
        raise UsageError(
            f"torch {version('torch')} needs torchvision 0.{torch[1] + 15}, found "
            f"{version('torchvision')}: pip install 'torchvision==0.{torch[1] + 15}.*'"
        )
    with contextlib.suppress(PackageNotFoundError):
        if _minor(version("torch_xla")) != torch:
            raise UsageError(
                f"torch_xla {version('torch_xla')} needs the same torch, found "
                f"{version('torch')}: pip install 'mammo-corpus[tpu]', or remove torch_xla"
            )


def _minor(text: str) -> tuple[int, int]:
    major, minor = text.split(".")[:2]
    return int(major), int(minor)
