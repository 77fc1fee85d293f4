"""The command under torchrun, and draws that are neither lost nor repeated by another number."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import schemas
from mammo_train.cli import main
from mammo_train.data.augment import FILM_AUGMENTATION
from mammo_train.data.dataset import Loader, default_workers
from mammo_train.data.draws import BatchPlan, segment_draws
from mammo_train.data.selection import build_selections
from mammo_train.data.transforms import SegmentTransform
from mammo_train.engine import train
from mammo_train.runtime.cpu import CpuRuntime
from mammo_train.tracking import read_metrics
from schemas.errors import UsageError
from schemas.store import open_store
from tests.train.corpus import tiny_films, write_corpus
from tests.train.test_devices import ROOT, start, torchrun
from tests.train.tiny import TinyStage

SEGMENT = SegmentTransform(96, 80, 0.6, FILM_AUGMENTATION)
QUICK = [
    "--preset", "smoke", "--precision", "fp32", "--device", "cpu", "--segment.norm", "group",
    "--segment.epochs", "1", "--segment.base-channels", "4", "--segment.levels", "3",
    "--segment.tile-height", "48", "--segment.tile-width", "48", "--segment.validate-every", "1",
    "--segment.tiles-per-film", "1", "--segment.batch-size", "4",
    "--segment.checkpoint-every", "2", "--segment.log-every", "1",
]  # fmt: skip


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("corpus")
    write_corpus(str(root), tiny_films(20))
    return root


def seen(loader: Loader, batches: int | None = None) -> Iterator[tuple[int, int, float]]:
    """Give (batch, film, mean) of real rows: two draws of a film differ by their augmentation."""
    for number, batch in enumerate(loader, loader.start):
        if number == batches:
            return
        for row, weight, image in zip(batch["row"], batch["weight"], batch["image"], strict=True):
            if weight > 0:
                yield number, int(row), float(image.double().mean())


def test_three_workers_of_two_processes_go_on_where_two_of_one_stopped(corpus: Path) -> None:
    opened = schemas.open(str(corpus))
    films = build_selections(opened, "segment").train
    plan = BatchPlan(segment_draws(films, 7, 0, tiles_per_film=3), 10)
    assert len(plan.draws) % 10 != 0  # so the last batch is padded
    whole = Counter(seen(Loader(opened.store, SEGMENT, plan=plan)))
    first = Loader(opened.store, SEGMENT, workers=2, plan=plan)
    begun = Counter(seen(first, batches=4))
    first.close()
    for rank in (0, 1):
        part = BatchPlan(plan.draws, 10, (rank, 2))
        then = Loader(opened.store, SEGMENT, workers=3, plan=part, start=4)
        begun += Counter(seen(then))
        then.close()
    assert begun == whole
    assert sum(whole.values()) == len(plan.draws)


def test_padding_of_a_part_shows_real_films_with_no_weight(corpus: Path) -> None:
    films = build_selections(schemas.open(str(corpus)), "segment").train
    draws = [segment_draws(films, 7, 0)[k] for k in range(5)]
    last = [BatchPlan(draws, 4, (rank, 4))[1] for rank in range(4)]
    assert [[draw.weight for draw in part] for part in last] == [[1.0], [0.0], [0.0], [0.0]]
    assert all(part[0].sample_id == draws[4].sample_id for part in last)


def test_processes_of_one_machine_share_its_cores(
    corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(str(corpus))
    alone = default_workers(store)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert default_workers(store) == max(1, alone // 2)


def losses(work: Path) -> list[float]:
    rows = read_metrics(work / "stages/segment/metrics.csv")
    return [float(row["loss"]) for row in rows if row["kind"] == "train"]


def test_the_command_under_torchrun_trains_as_one_process_and_speaks_once(
    corpus: Path, tmp_path: Path
) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    said = {}
    for work, program in (
        (one, [sys.executable, "-m"]),
        (two, [sys.executable, "-m", *torchrun(2)]),
    ):
        words = ["mammo_train", "segment", "--data", str(corpus), "--work", str(work)]
        process = start([*program, *words, "--workers", "0", *QUICK])
        said[work], errors = process.communicate(timeout=600)
        assert process.returncode == 0, errors[-3000:]
    assert len(losses(one)) >= 4
    assert losses(two) == pytest.approx(losses(one), rel=1e-5)
    done = [json.loads((work / "stages/segment/done.json").read_text()) for work in (one, two)]
    assert done[0]["steps"] == done[1]["steps"]
    assert "cpu, 2 processes of 1 thread(s), fp32" in said[two]
    assert said[two].count("best on validation") == 1


def several(_device: str, _precision: str, **_: object) -> CpuRuntime:
    runtime = CpuRuntime("fp32")
    runtime.world = 2
    return runtime


def test_a_batch_that_does_not_divide_over_processes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"5 does not divide .* --tiny\.batch-size as a multiple"):
        train(TinyStage(batch_size=5), several("cpu", "fp32"), tmp_path, bar=False)


def test_evaluate_in_several_processes_is_refused(
    corpus: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("mammo_train.runtime.open_runtime", several)
    assert main(["evaluate", "--data", str(corpus), "--work", str(tmp_path)]) == 2
    assert "evaluate runs in one process: start it without torchrun" in capsys.readouterr().err


def test_world_size_without_torchrun_is_refused_with_a_sentence(
    corpus: Path, tmp_path: Path
) -> None:
    words = ["segment", "--data", str(corpus), "--work", str(tmp_path), *QUICK]
    done = subprocess.run(
        ["env", "-u", "RANK", "WORLD_SIZE=2", sys.executable, "-m", "mammo_train", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 2
    assert "WORLD_SIZE is set but RANK is not: start several processes by torchrun" in done.stderr


def test_the_command_keeps_its_copy_and_a_fresh_machine_skips_what_is_finished(
    corpus: Path, tmp_path: Path, gcs: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--data", str(corpus), "--workers", "0", "--mirror", f"{gcs}/run"]
    first, second = tmp_path / "first", tmp_path / "second"
    assert main(["segment", *words, "--work", str(first), *QUICK]) == 0
    kept = {entry.path for entry in open_store(f"{gcs}/run").list()}
    assert {"config.yaml", "stages/segment/done.json", "stages/segment/metrics.csv"} <= kept
    capsys.readouterr()
    assert main(["segment", *words, "--work", str(second)]) == 0
    assert "segment: finished before, skipped" in capsys.readouterr().out
    assert losses(second) == losses(first)
