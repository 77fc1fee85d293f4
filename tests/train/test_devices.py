"""Several devices and processes learn what one does: four of XLA, two of torchrun; gone on from.

XLA's devices are virtual, on the CPU, in a process of their own; torchrun's processes talk by gloo.
Each run keeps the checkpoint of every step, so that another number may go on from the middle of an
epoch, and so that the first step's gradients can be read: Adam's first moment is a tenth of them.
"""

from __future__ import annotations

import importlib.util
import json
import math
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from mammo_train.tracking import read_metrics

ROOT = Path(__file__).parents[2]
MIDDLE = 11  # steps: epoch 1, batch 3 of 8
KEEP = {"epochs": 3, "levels": 2, "checkpoint_every": 1, "keep_checkpoints": 99}
Told = list[dict[str, Any]]


def command(device: str, runs: list[dict[str, Any]], processes: int = 1) -> list[str]:
    start = [sys.executable, "-m"]
    if processes > 1:
        start += torchrun(processes)
    return [*start, "tests.train.several", device, json.dumps([{**KEEP, **run} for run in runs])]


def torchrun(processes: int) -> list[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ["--nproc-per-node", str(processes), "--master-addr", "127.0.0.1"]
    return ["torch.distributed.run", *words, "--master-port", str(port), "-m"]


def start(arguments: list[str], devices: int = 1) -> subprocess.Popen[str]:
    env = {**os.environ, "PJRT_DEVICE": "CPU", "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        arguments,
        cwd=ROOT,
        env={**env, "CPU_NUM_DEVICES": str(devices)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def told(process: subprocess.Popen[str]) -> Told:
    try:
        out, errors = process.communicate(timeout=600)
    finally:
        process.kill()
    assert process.returncode == 0, errors[-3000:]
    found: Told = json.loads(out.splitlines()[-1])
    return found


def losses(folder: Path) -> list[float]:
    rows = [row for row in read_metrics(folder / "metrics.csv") if row["kind"] == "train"]
    assert [int(row["step"]) for row in rows] == list(range(1, len(rows) + 1))
    return [float(row["loss"]) for row in rows]


def gradients(folder: Path) -> list[float]:
    found = load_file(folder / "checkpoints/step-00000001/optimizer.safetensors")
    moments = [found[name] for name in sorted(found) if name.endswith("exp_avg")]
    return [float(value) for moment in moments for value in moment.reshape(-1)]


def halfway(source: Path, target: Path) -> Path:
    """Copy a run as it stood at step MIDDLE."""
    shutil.copytree(source, target)
    (target / "done.json").unlink()
    for path in (target / "checkpoints").iterdir():
        if int(path.name.split("-")[1]) > MIDDLE:
            shutil.rmtree(path)
    return target


def same(found: Path, wanted: Path, *, first: float, gradient: float, later: float) -> None:
    few, many = losses(found), losses(wanted)
    assert len(few) == len(many) == 24
    assert few[0] == pytest.approx(many[0], rel=first)
    assert few[:20] == pytest.approx(many[:20], rel=later)
    one, other = gradients(found), gradients(wanted)
    assert math.dist(one, other) <= gradient * math.hypot(*other)
    assert many[-1] < 0.98 * many[0]


@pytest.fixture(scope="module")
def xla(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Told, Told, Told]:
    """Train on 1 and on 4 devices with both norms, and go on from the middle of 1 on 2."""
    if importlib.util.find_spec("torch_xla") is None:
        if os.environ.get("REQUIRE_XLA") == "1":
            pytest.fail("REQUIRE_XLA=1, but torch_xla is not installed")
        pytest.skip("torch_xla is not installed: XLA was NOT tested (pip install '.[tpu]')")
    root = tmp_path_factory.mktemp("xla")

    def both(devices: int) -> subprocess.Popen[str]:
        runs = [{"folder": f"{root}/{norm}{devices}", "norm": norm} for norm in ("group", "batch")]
        return start(command("xla", runs), devices)

    one, four = both(1), both(4)
    seen = told(one), told(four)
    half = halfway(root / "group1", root / "group2")
    two = told(start(command("xla", [{"folder": str(half), "norm": "group"}]), 2))
    return root, *seen, two


@pytest.mark.parametrize(("norm", "later"), [("group", 1e-5), ("batch", 1e-3)])
def test_four_xla_devices_learn_what_one_does(
    xla: tuple[Path, Told, Told, Told], norm: str, later: float
) -> None:
    root, one, four, _ = xla
    assert (one[0]["devices"], four[0]["devices"]) == (1, 4)
    same(root / f"{norm}4", root / f"{norm}1", first=1e-6, gradient=1e-5, later=later)


def test_four_xla_devices_compile_nothing_after_warm_up_and_leave_nothing_to_the_host(
    xla: tuple[Path, Told, Told, Told],
) -> None:
    for seen in xla[2]:
        counts = seen["counts"]
        assert counts["3"]["UncachedCompile"] > 0
        assert counts["16"]["UncachedCompile"] == counts["3"]["UncachedCompile"]
        # The validation after step 16 compiles once for itself.
        assert counts["24"]["UncachedCompile"] == counts["17"]["UncachedCompile"]
        fallen = {name for name in counts["24"] if name.startswith("aten::")}
        assert fallen <= {"aten::_local_scalar_dense"}


def test_two_xla_devices_go_on_where_one_was_stopped_in_mid_epoch(
    xla: tuple[Path, Told, Told, Told],
) -> None:
    root, one, _, two = xla
    assert two[0]["devices"] == 2
    assert two[0]["rows"] == one[0]["rows"][MIDDLE:]
    assert losses(root / "group2")[:MIDDLE] == losses(root / "group1")[:MIDDLE]
    assert losses(root / "group2") == pytest.approx(losses(root / "group1"), rel=1e-5)


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Told, Told]:
    """Train in 1 and in 2 processes: both norms, and parts of batches with padding."""
    root = tmp_path_factory.mktemp("ranks")
    kinds: dict[str, dict[str, Any]] = {
        "group": {"norm": "group"},
        "batch": {"norm": "batch"},
        "parts": {"norm": "group", "accumulate": 2, "padded": 1, "ema_decay": 0.9},
    }

    def all_kinds(count: int) -> subprocess.Popen[str]:
        runs = [{**kind, "folder": f"{root}/{name}{count}"} for name, kind in kinds.items()]
        return start(command("cpu", runs, count))

    one, two = all_kinds(1), all_kinds(2)
    return root, told(one), told(two)


# BatchNorm of several processes is computed by other kernels than torch's own for one: where the
# input of a ReLU is within rounding of 0, they differ in whether it passes.
@pytest.mark.parametrize(
    ("kind", "gradient", "later"),
    [("group", 1e-5, 1e-5), ("batch", 1e-3, 1e-3), ("parts", 1e-5, 1e-5)],
)
def test_two_processes_learn_what_one_does(
    ranks: tuple[Path, Told, Told], kind: str, gradient: float, later: float
) -> None:
    root, one, two = ranks
    assert (one[0]["world"], two[0]["world"]) == (1, 2)
    same(root / f"{kind}2", root / f"{kind}1", first=1e-6, gradient=gradient, later=later)
    wanted = load_file(root / f"{kind}1/checkpoints/step-00000024/model.safetensors")
    found = load_file(root / f"{kind}2/checkpoints/step-00000024/model.safetensors")
    assert set(found) == set(wanted)


def test_each_process_takes_every_other_row(ranks: tuple[Path, Told, Told]) -> None:
    for one, two in zip(*ranks[1:], strict=True):
        assert two["rows"] == [rows[0::2] for rows in one["rows"]]


def test_two_processes_go_on_where_one_was_stopped_in_mid_epoch(
    ranks: tuple[Path, Told, Told], tmp_path: Path
) -> None:
    root, one, _ = ranks
    half = halfway(root / "group1", tmp_path / "half")
    two = told(start(command("cpu", [{"folder": str(half), "norm": "group"}], 2)))
    assert two[0]["rows"] == [rows[0::2] for rows in one[0]["rows"][MIDDLE:]]
    assert losses(half) == pytest.approx(losses(root / "group1"), rel=1e-5)


def test_sigterm_stops_all_processes_at_one_step_and_the_next_run_goes_on(
    ranks: tuple[Path, Told, Told], tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    options = {"folder": str(folder), "norm": "group", "checkpoint_every": 99, "log_every": 2}
    process = start(command("cpu", [{**options, "pause": 0.1}], 2))
    try:
        for _ in range(1200):
            if len(read_metrics(folder / "metrics.csv")) >= 4:
                break
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        out, errors = process.communicate(timeout=120)
    finally:
        process.kill()
    assert out.count("tiny: stopped at step") == 2, errors[-3000:]
    steps = {line.split("at step ")[1].split(",")[0] for line in out.splitlines() if "at s" in line}
    assert len(steps) == 1
    assert len(list((folder / "checkpoints").glob(f"step-{int(steps.pop()):08d}"))) == 1
    told(start(command("cpu", [options], 2)))
    assert losses(folder) == pytest.approx(losses(ranks[0] / "group1"), rel=1e-5)
