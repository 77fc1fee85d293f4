"""NVIDIA GPUs, one a process: channels_last and bf16 autocast.

Several are driven by ``torchrun --nproc-per-node N -m mammo_train ...``.
"""

from __future__ import annotations

import contextlib
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn

from mammo_train.runtime import Batch, Precision
from mammo_train.runtime.ranks import RankedRuntime, local_rank
from schemas.errors import UsageError

__all__ = ["CudaRuntime"]


class CudaRuntime(RankedRuntime):
    """The CUDA device of this process."""

    name = "cuda"

    def __init__(self, precision: Precision = "auto") -> None:
        if not torch.cuda.is_available():
            raise UsageError(
                "--device cuda, but torch sees no GPU: check nvidia-smi, or use --device cpu"
            )
        if local_rank() >= torch.cuda.device_count():
            raise UsageError(
                f"torchrun started process {local_rank()} on a machine with "
                f"{torch.cuda.device_count()} GPU(s): lower --nproc-per-node"
            )
        self.device = torch.device("cuda", local_rank())
        torch.cuda.set_device(self.device)
        super().__init__("cpu:gloo,cuda:nccl")
        self.precision = self._settle(precision)

    @staticmethod
    def _settle(precision: Precision) -> Precision:
        if precision != "auto":
            return precision
        return "bf16" if torch.cuda.is_bf16_supported() else "fp32"

    def prepare(self, model: nn.Module, example: Tensor) -> nn.Module:
        """Place the model and give all ranks the same weights."""
        model = super().prepare(model, example)
        self.same(model)
        return model

    def place(self, model: nn.Module) -> nn.Module:
        """Move the model, turn its weights to channels_last, make BatchNorm's statistics global."""
        if self.world > 1:
            model = nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
        return model.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]

    def put(self, batch: Batch) -> Batch:
        """Copy the batch from pinned memory without waiting."""
        return {k: v.pin_memory().to(self.device, non_blocking=True) for k, v in batch.items()}

    def autocast(self) -> AbstractContextManager[object]:
        """bf16 unless fp32 was asked for."""
        if self.precision == "bf16":
            return torch.autocast("cuda", dtype=torch.bfloat16)
        return contextlib.nullcontext()

    def describe(self) -> str:
        """Name the card."""
        return f"cuda, {self.world} x {torch.cuda.get_device_name(self.device)}, {self.precision}"
