"""One NVIDIA GPU: channels_last and bf16 autocast."""

from __future__ import annotations

import contextlib
from contextlib import AbstractContextManager

import torch
from torch import nn

from mammo_train.runtime import Batch, Precision, Runtime
from schemas.errors import UsageError

__all__ = ["CudaRuntime"]


class CudaRuntime(Runtime):
    """The current CUDA device."""

    name = "cuda"

    def __init__(self, precision: Precision = "auto") -> None:
        if not torch.cuda.is_available():
            raise UsageError(
                "--device cuda, but torch sees no GPU: check nvidia-smi, or use --device cpu"
            )
        self.device = torch.device("cuda", torch.cuda.current_device())
        self.precision = self._settle(precision)

    @staticmethod
    def _settle(precision: Precision) -> Precision:
        if precision != "auto":
            return precision
        return "bf16" if torch.cuda.is_bf16_supported() else "fp32"

    def place(self, model: nn.Module) -> nn.Module:
        """Move the model and turn its weights to channels_last."""
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
        return f"cuda, {torch.cuda.get_device_name(self.device)}, {self.precision}"
