"""TPUs, and XLA on the CPU for tests: every call of torch_xla in the project is here.

One process a host; together they drive all devices by SPMD: the batch is sharded over them, the
weights are replicated, BatchNorm and losses see the global batch. Host h of H feeds rows h::H of
it, which become its devices' blocks; the order of rows changes no loss. Shapes are static, the
graph is cut once a step, and nothing is read back between logging steps, so the device never waits
for Python. All hosts must run the same graphs in the same order: they validate together, each
feeding all samples, and copy a checkpoint's tensors together, of which the first writes.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mammo_train.runtime import Batch, Precision
from mammo_train.runtime.ranks import PATIENCE, Processes
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


class XlaRuntime(Processes):
    """All XLA devices of all hosts.

    Parameters
    ----------
    precision
        ``auto`` is bf16, but on the CPU fp32.
    cache
        Folder for compiled graphs, of no use to XLA on the CPU, which cannot read them back.
    """

    name = "xla"
    lockstep = True

    def __init__(self, precision: Precision = "auto", cache: Path | None = None) -> None:
        self._xla = _torch_xla()
        runtime = self._xla.runtime
        self.kind = str(runtime.device_type())
        self._keep_compiled(cache)
        self.devices = int(runtime.global_runtime_device_count())
        self._mesh: Any = None
        if self.devices > 1:
            import numpy as np
            from torch_xla.distributed import spmd

            runtime.use_spmd()
            self._mesh = spmd.Mesh(np.arange(self.devices), (self.devices,), ("data",))
        self.rank, self.world = int(runtime.process_index()), int(runtime.process_count())
        if self.world > 1:
            self._meet()
        self.device = self._xla.device()
        # On a CPU bf16 buys nothing, and the tests compare with fp32.
        free: Precision = "fp32" if self.kind == "CPU" else "bf16"
        self.precision = free if precision == "auto" else precision

    def _keep_compiled(self, cache: Path | None) -> None:
        variable = "XLA_PERSISTENT_CACHE_PATH"  # a second runtime of this process finds it set
        if cache is None or self.kind == "CPU" or variable in os.environ:
            return
        # Hosts that see one disk must not write each other's files.
        self._xla.runtime.initialize_cache(str(cache / f"host-{self._xla.runtime.host_index()}"))

    @staticmethod
    def _meet() -> None:
        import torch.distributed as dist
        import torch_xla.distributed.xla_backend  # noqa: F401 - makes xla:// known

        if not dist.is_initialized():
            dist.init_process_group("gloo", init_method="xla://", timeout=PATIENCE)

    def place(self, model: nn.Module) -> nn.Module:
        """Move the model, its weights whole on every device."""
        model = model.to(self.device)
        if self._mesh is not None:
            from torch_xla.distributed import spmd

            for tensor in [*model.parameters(), *model.buffers()]:
                spmd.mark_sharding(tensor, self._mesh, (None,) * tensor.ndim)  # type: ignore[attr-defined]
        return model

    def put(self, batch: Batch) -> Batch:
        """Move a batch that all hosts hold whole, its rows spread over the devices in blocks."""
        return {name: self._send(value, self.devices, part=False) for name, value in batch.items()}

    def feed(self, batch: Batch) -> Batch:
        """Move this host's rows of a global batch to its devices."""
        devices = self.devices // self.world
        return {name: self._send(value, devices, part=True) for name, value in batch.items()}

    def _send(self, value: Tensor, devices: int, *, part: bool) -> Tensor:
        if self._mesh is None:
            return value.to(self.device)
        if len(value) % devices:
            raise UsageError(
                f"a batch of {len(value)} does not divide over {devices} devices: "
                f"choose a batch size that is a multiple of {self.devices}"
            )
        from torch_xla.core import xla_model
        from torch_xla.distributed import spmd

        rows = ("data", *[None] * (value.ndim - 1))
        sharding = spmd.ShardingSpec(self._mesh, rows, minibatch=part and self.world > 1)
        send: Any = xla_model.send_cpu_data_to_device
        moved: Tensor = send([value], self.device, sharding)[0]
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
        hosts = f" on {self.world} hosts" if self.world > 1 else ""
        return f"xla, {self.devices} x {self.kind}{hosts}, {self.precision}"


def counters() -> dict[str, int]:
    """Give torch_xla's counters: ``aten::*`` fell to the host, ``UncachedCompile`` compiled."""
    _torch_xla()
    from torch_xla.debug import metrics

    read: Any = metrics.counter_value
    names: Any = metrics.counter_names
    return {name: int(read(name) or 0) for name in names()}
