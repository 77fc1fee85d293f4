"""XLA on the CPU against eager: equal losses, nothing falls to the host, nothing is recompiled.

The work runs once, in a process of its own: torch_xla's counters are global, and its device
client may not be shared with other tests.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]

PROGRAM = """
import json, sys, torch
from pathlib import Path
from mammo_train.engine import train
from mammo_train.runtime import open_runtime
from mammo_train.tracking import read_metrics
from tests.train.tiny import TinyStage
import mammo_train.tracking as tracking

torch.set_num_threads(1)
kind, folder = sys.argv[1], Path(sys.argv[2])
seen = {}
if kind == "xla":
    from mammo_train.runtime.xla import counters
    plain = tracking.Tracker.train
    def noted(self, step, *rest):
        seen[step] = counters()
        plain(self, step, *rest)
    tracking.Tracker.train = noted
train(TinyStage(epochs=3, log_every=4), open_runtime(kind, "fp32"), folder, bar=False)
rows = read_metrics(folder / "metrics.csv")
print(json.dumps({
    "losses": [float(row["loss"]) for row in rows if row["kind"] == "train"],
    "seen": seen,
    "val": [float(row["dice"]) for row in rows if row["kind"] == "val"],
}))
"""


def run(kind: str, folder: Path) -> dict[str, Any]:
    env = {**os.environ, "PJRT_DEVICE": "CPU", "OMP_NUM_THREADS": "1", "CPU_NUM_DEVICES": "1"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, kind, str(folder)],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], dict[str, Any]]:
    if importlib.util.find_spec("torch_xla") is None:
        if os.environ.get("REQUIRE_XLA") == "1":
            pytest.fail("REQUIRE_XLA=1, but torch_xla is not installed")
        pytest.skip("torch_xla is not installed: XLA was NOT tested (pip install '.[tpu]')")
    return run("xla", tmp_path_factory.mktemp("xla")), run("cpu", tmp_path_factory.mktemp("cpu"))


def test_losses_are_those_of_the_cpu(pair: tuple[dict[str, Any], dict[str, Any]]) -> None:
    xla, cpu = (side["losses"] for side in pair)
    assert len(xla) == len(cpu) == 24
    assert xla[0] == pytest.approx(cpu[0], rel=1e-4)
    assert xla[:20] == pytest.approx(cpu[:20], rel=1e-2)
    assert cpu[-1] < 0.95 * cpu[0]


def test_no_operation_falls_to_the_host_but_reading_the_loss(
    pair: tuple[dict[str, Any], dict[str, Any]],
) -> None:
    last = pair[0]["seen"]["16"]
    fallen = {name: count for name, count in last.items() if name.startswith("aten::")}
    assert set(fallen) <= {"aten::_local_scalar_dense"}
    # At logging steps only: no more reads than losses that were written.
    assert fallen.get("aten::_local_scalar_dense", 0) <= 16


def test_nothing_is_compiled_after_warm_up(pair: tuple[dict[str, Any], dict[str, Any]]) -> None:
    seen = pair[0]["seen"]
    first, later = seen["4"]["UncachedCompile"], seen["16"]["UncachedCompile"]
    assert first > 0
    assert later == first
    # Step 24 stands after a validation and a checkpoint: they may compile once, not the step.
    assert seen["24"]["UncachedCompile"] == seen["20"]["UncachedCompile"]
