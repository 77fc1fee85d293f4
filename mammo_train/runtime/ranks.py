"""Processes that train together as torchrun starts them: one a GPU by NCCL, or on the CPU by gloo.

Rank r of W takes rows r::W of every global batch. A loss gathers logits and targets of all ranks
and is then computed in each, the same number as in one process; BatchNorm's statistics are those of
the global batch. Gradients are averaged once a step, after all parts of an accumulated batch: a
wrapper that reduces within `backward` would have to see every call of a model, and stages call
parts of theirs, some twice.

A rank that dies takes the others with it (torchrun ends them), so the process group's own time-out
only has to be longer than a validation, during which all ranks but the first wait.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, ClassVar, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from mammo_train.runtime import Runtime
from schemas.errors import MammoError, UsageError

__all__ = ["GlobalBatchNorm", "Processes", "RankedRuntime", "local_rank", "started_by_torchrun"]

PATIENCE = timedelta(hours=12)
T = TypeVar("T")


def started_by_torchrun() -> bool:
    """Tell whether this process is one of several; torchrun sets the variables."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def local_rank() -> int:
    """Give the number of this process on its machine."""
    return int(os.environ.get("LOCAL_RANK", "0"))


class Processes(Runtime):
    """What several processes tell each other on their hosts; with one, nothing.

    Attributes
    ----------
    alone
        True in a process while it does what not all do: it then waits for no other.
    """

    alone: ClassVar[bool] = False

    @property
    def _together(self) -> bool:
        return self.world > 1 and not Processes.alone

    def agree(self, asked: bool) -> bool:
        """Ask all processes."""
        if not self._together:
            return asked
        word = torch.tensor([int(asked)])
        dist.all_reduce(word, op=dist.ReduceOp.MAX)
        return bool(word)

    def share(self, work: Callable[[], T]) -> T:
        """Do `work` in the first and send its answer; a `MammoError` of it is raised in all."""
        if not self._together:
            return work()
        message: list[Any] = [None, None]
        if self.first:
            try:
                message[0] = _by_itself(work)
            except MammoError as error:
                message[1] = error
        dist.broadcast_object_list(message, device=torch.device("cpu"))
        if message[1] is not None:
            raise message[1]
        answer: T = message[0]
        return answer


class RankedRuntime(Processes):
    """One process among several that torchrun started, with one device of its own.

    Parameters
    ----------
    backend
        Of torch.distributed, such as ``gloo`` or ``cpu:gloo,cuda:nccl``.
    """

    def __init__(self, backend: str) -> None:
        if not started_by_torchrun():
            return
        if not dist.is_initialized():
            missing = [n for n in ("RANK", "MASTER_ADDR", "MASTER_PORT") if n not in os.environ]
            if missing:
                raise UsageError(
                    f"WORLD_SIZE is set but {missing[0]} is not: start several processes by "
                    f"torchrun --nproc-per-node N -m mammo_train ..., or unset WORLD_SIZE"
                )
            dist.init_process_group(backend, timeout=PATIENCE)
        self.rank, self.world = dist.get_rank(), dist.get_world_size()

    def gather(self, rows: Tensor) -> Tensor:
        """Give the rows of all ranks, in the order of the global batch."""
        if not self._together:
            return rows
        if rows.dtype == torch.bool:
            return self.gather(rows.byte()).bool()
        gathered: Tensor = _Gather.apply(rows.float() if rows.is_floating_point() else rows)  # type: ignore[no-untyped-call]
        return gathered

    def reduce(self, model: nn.Module) -> None:
        """Average the gradients, all in one message."""
        if not self._together:
            return
        found = [p.grad for p in model.parameters() if p.grad is not None]
        whole = torch.cat([gradient.reshape(-1) for gradient in found])
        dist.all_reduce(whole)
        whole /= self.world
        pieces = torch.split(whole, [gradient.numel() for gradient in found])
        for gradient, piece in zip(found, pieces, strict=True):
            gradient.copy_(piece.view(gradient.shape))

    def numbers(self, tensors: Sequence[Tensor]) -> list[float]:
        """Read scalars, averaged over ranks, so that all see the same and stop at the same."""
        if not self._together:
            return super().numbers(tensors)
        whole = torch.stack([tensor.detach().float() for tensor in tensors])
        dist.all_reduce(whole)
        return [float(value) for value in (whole / self.world).tolist()]

    def once(self, work: Callable[[], T]) -> T:
        """Do `work` in rank 0 alone, while the others wait."""
        return self.share(work)

    def in_turn(self, work: Callable[[], None]) -> None:
        """Do `work` in rank 0, then in the others."""
        self.share(work)
        if not self.first:
            _by_itself(work)

    def same(self, model: nn.Module) -> None:
        """Give all ranks the weights and buffers of the first."""
        if self._together:
            for tensor in [*model.parameters(), *model.buffers()]:
                dist.broadcast(tensor.detach(), 0)


def _by_itself(work: Callable[[], T]) -> T:
    before = Processes.alone
    Processes.alone = True
    try:
        return work()
    finally:
        Processes.alone = before


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(_context: Any, rows: Tensor) -> Tensor:
        rows = rows.contiguous()
        parts = [torch.empty_like(rows) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, rows)
        return torch.stack(parts, 1).flatten(0, 1)

    @staticmethod
    def backward(_context: Any, gradient: Tensor) -> Tensor:
        # Each rank holds a loss of its own; averaging the weights' gradients divides by the ranks.
        total = gradient.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total[dist.get_rank() :: dist.get_world_size()]


class _Total(torch.autograd.Function):
    @staticmethod
    def forward(_context: Any, value: Tensor) -> Tensor:
        total = value.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(_context: Any, gradient: Tensor) -> Tensor:
        total = gradient.contiguous().clone()
        dist.all_reduce(total)
        return total


class GlobalBatchNorm(nn.BatchNorm2d):
    """BatchNorm over the rows of all ranks, for the CPU: torch's SyncBatchNorm has no kernel there.

    All ranks must hold the same number of values, as rows r::W of a batch that divides by W do.
    """

    @staticmethod
    def convert(model: nn.Module) -> nn.Module:
        """Turn each BatchNorm2d of a model into this one, its weights and their names kept."""
        for module in model.modules():
            if type(module) is nn.BatchNorm2d:
                module.__class__ = GlobalBatchNorm
        return model

    def forward(self, image: Tensor) -> Tensor:
        """Normalise (N, C, H, W); in eval mode as BatchNorm2d."""
        if not self.training:
            return super().forward(image)
        value = image.float()
        count = value.numel() // value.shape[1] * dist.get_world_size()
        mean: Tensor = _Total.apply(value.sum((0, 2, 3))) / count  # type: ignore[no-untyped-call]
        centred = value - mean[:, None, None]
        variance: Tensor = _Total.apply(centred.square().sum((0, 2, 3))) / count  # type: ignore[no-untyped-call]
        self._remember(mean.detach(), variance.detach() * count / max(1, count - 1))
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return (centred * scale[:, None, None] + self.bias[:, None, None]).to(image.dtype)

    def _remember(self, mean: Tensor, variance: Tensor) -> None:
        if self.running_mean is None or self.running_var is None or self.momentum is None:
            return
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance, self.momentum)
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
