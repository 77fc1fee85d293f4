"""TPUs, and XLA on the CPU for tests: every call of torch_xla in the project is here.

One process drives all local devices by SPMD: the batch is sharded over them, the weights are
replicated, BatchNorm sees the global batch. Shapes are static, the graph is cut once a step, and
nothing is read back between logging steps, so the device never waits for Python.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn

from mammo_train.runtime import Batch, Precision, Runtime
from schemas.errors import UsageError

__all__ = ["XlaRuntime", "counters"]


def _torch_xla() -> Any:
    try:
        import torch_xla
        import torch_xla.runtime
    except ModuleNotFoundError:
        raise UsageError(
            "--device xla needs torch_xla: pip install 'mammo-corpus[tpu]' "
            "(on a TPU host also pip install 'torch_xla[tpu]==2.9.0')"
        ) from None
    except ImportError as error:
        first = str(error).splitlines()[0]
        raise UsageError(
            f"torch_xla does not fit this torch {torch.__version__} ({first}): "
            "pip install 'mammo-corpus[tpu]'"
        ) from None
    return torch_xla


class XlaRuntime(Runtime):
    """All XLA devices of this host."""

    name = "xla"

    def __init__(self, precision: Precision = "auto") -> None:
        self._xla = _torch_xla()
        runtime = self._xla.runtime
        self.devices = int(runtime.global_runtime_device_count())
        self._mesh: Any = None
        if self.devices > 1:
            import numpy as np
            from torch_xla.distributed import spmd

            runtime.use_spmd()
            self._mesh = spmd.Mesh(np.arange(self.devices), (self.devices,), ("data",))
            self._shard: Any = spmd.mark_sharding  # type: ignore[attr-defined]
        self.device = self._xla.device()
        self.kind = str(runtime.device_type())
        # On a CPU bf16 buys nothing, and the tests compare with fp32.
        free: Precision = "fp32" if self.kind == "CPU" else "bf16"
        self.precision = free if precision == "auto" else precision

    def place(self, model: nn.Module) -> nn.Module:
        """Move the model."""
        return model.to(self.device)

    def put(self, batch: Batch) -> Batch:
        """Move the batch, its rows spread over the devices in blocks."""
        return {name: self._send(value) for name, value in batch.items()}

    def _send(self, value: Tensor) -> Tensor:
        if self._mesh is None:
            return value.to(self.device)
        if len(value) % self.devices:
            raise UsageError(
                f"a batch of {len(value)} does not divide over {self.devices} devices: "
                f"choose a batch size that is a multiple of {self.devices}"
            )
        moved = value.to(self.device)
        self._shard(moved, self._mesh, ("data", *[None] * (value.ndim - 1)))
        return moved

    def autocast(self) -> AbstractContextManager[object]:
        """bf16 on a TPU."""
        if self.precision == "bf16":
            return torch.autocast("xla", dtype=torch.bfloat16)
        return contextlib.nullcontext()

    def end_step(self) -> None:
        """Cut the graph here and start it; Python goes on to the next batch."""
        self._xla.sync()

    def numbers(self, tensors: Sequence[Tensor]) -> list[float]:
        """Read scalars that `end_step` has made; no new graph is compiled."""
        return [t.item() for t in tensors]

    def describe(self) -> str:
        """Name the kind of device."""
        return f"xla, {self.devices} x {self.kind}, {self.precision}"


def counters() -> dict[str, int]:
    """Give torch_xla's counters: ``aten::*`` fell to the host, ``UncachedCompile`` compiled."""
    _torch_xla()
    from torch_xla.debug import metrics

    read: Any = metrics.counter_value
    names: Any = metrics.counter_names
    return {name: int(read(name) or 0) for name in names()}
