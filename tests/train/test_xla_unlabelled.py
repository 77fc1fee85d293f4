"""The self-supervised stages on XLA: nothing falls to the host, nothing is compiled after warm-up.

In a process of its own, because torch_xla's counters are global.
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

from tests.train.corpus import tiny_films, write_corpus

ROOT = Path(__file__).parents[2]

PROGRAM = """
import json, sys, torch
from pathlib import Path
import schemas
import mammo_train.tracking as tracking
from mammo_train.config import resolve_config
from mammo_train.engine import train
from mammo_train.runtime import open_runtime
from mammo_train.stages import open_autoencoder, open_encoder
from mammo_train.tracking import read_metrics

torch.set_num_threads(1)
kind, corpus, folder = sys.argv[1], schemas.open(sys.argv[2]), Path(sys.argv[3])
seen = {}
if kind == "xla":
    from mammo_train.runtime.xla import counters
    plain = tracking.Tracker.train
    def noted(self, step, *rest):
        seen.setdefault(self.folder.name, {})[step] = counters()
        plain(self, step, *rest)
    tracking.Tracker.train = noted
same = dict(epochs=6, validate_every=3, batch_size=5, tile_height=32, tile_width=32, log_every=3,
            learning_rate=1e-3)
config = resolve_config("smoke", {
    "pretrain_encoder": {**same, "temperature": 0.2}, "pretrain_autoencoder": same,
    "segment": {"base_channels": 8, "levels": 3},
})
found = {}
for open_stage in (open_encoder, open_autoencoder):
    stage = open_stage(corpus, config, workers=0)
    place = folder / stage.name
    train(stage, open_runtime(kind, "fp32"), place, bar=False)
    rows = read_metrics(place / "metrics.csv")
    found[stage.name] = {
        "losses": [float(row["loss"]) for row in rows if row["kind"] == "train"],
        "seen": seen.get(stage.name, {}),
    }
print(json.dumps(found))
"""


def run(kind: str, corpus: str, folder: Path) -> dict[str, Any]:
    env = {**os.environ, "PJRT_DEVICE": "CPU", "OMP_NUM_THREADS": "1", "CPU_NUM_DEVICES": "1"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, kind, corpus, str(folder)],
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
    corpus = str(tmp_path_factory.mktemp("corpus"))
    write_corpus(corpus, tiny_films(10))  # 12 films to learn from: three batches, the last padded
    xla, cpu = (run(kind, corpus, tmp_path_factory.mktemp(kind)) for kind in ("xla", "cpu"))
    return xla, cpu


@pytest.mark.parametrize("stage", ["pretrain-encoder", "pretrain-autoencoder"])
def test_losses_are_those_of_the_cpu(
    pair: tuple[dict[str, Any], dict[str, Any]], stage: str
) -> None:
    xla, cpu = (side[stage]["losses"] for side in pair)
    assert len(xla) == len(cpu) == 18
    assert xla[0] == pytest.approx(cpu[0], rel=1e-4)
    assert xla[:6] == pytest.approx(cpu[:6], rel=2e-2)


@pytest.mark.parametrize("stage", ["pretrain-encoder", "pretrain-autoencoder"])
def test_nothing_falls_to_the_host_and_nothing_is_compiled_again(
    pair: tuple[dict[str, Any], dict[str, Any]], stage: str
) -> None:
    seen = pair[0][stage]["seen"]
    fallen = {name for at in seen.values() for name in at if name.startswith("aten::")}
    assert fallen <= {"aten::_local_scalar_dense"}
    # Steps 3 to 9 come before the first validation, 12 to 18 after it.
    assert seen["9"]["UncachedCompile"] == seen["6"]["UncachedCompile"] > 0
    assert seen["18"]["UncachedCompile"] == seen["12"]["UncachedCompile"]
