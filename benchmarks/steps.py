"""What a training step costs: the engine against a bare loop, waiting for data, the CPU's default.

Engine and bare loop take turns in one process, block by block, on the same batches in memory and
from the same weights; `mammo_train.engine.train` runs whole, and its losses must be the bare
loop's. Waiting is what `mammo-train` itself writes into ``metrics.csv``.
"""

from __future__ import annotations

import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

__all__ = ["main"]

ENGINE = (
    # stage, device, precision, preset, steps of a block, blocks
    ("segment", "cpu", "fp32", "small", 3, 5),
    ("segment", "cpu", "bf16", "small", 5, 5),
    ("pretrain-classifier", "cpu", "fp32", "small", 4, 5),
    ("pretrain-classifier", "cpu", "bf16", "small", 6, 5),
    ("pretrain-encoder", "cpu", "bf16", "smoke", 6, 5),
    ("pretrain-autoencoder", "cpu", "bf16", "smoke", 10, 5),
    ("segment", "cpu", "bf16", "smoke", 16, 7),
    ("pretrain-classifier", "cpu", "bf16", "smoke", 16, 7),
    ("segment", "xla", "fp32", "smoke", 3, 5),
    ("pretrain-classifier", "xla", "fp32", "smoke", 3, 5),
)
DEFAULT = (
    # stage, preset, batch size, steps of a block, blocks
    ("segment", "small", 8, 4, 3),
    ("segment", "base", 4, 1, 3),  # its 16 need more memory in fp32 than many machines have
    ("pretrain-classifier", "small", 32, 6, 3),
    ("pretrain-classifier", "base", 64, 1, 3),
)
WAITING = (
    ("segment", ("--segment.tiles-per-film", "4")),
    ("pretrain-classifier", ("--pretrain-classifier.draws-per-epoch", "384")),
)
FILMS, SIZE = 36, (1920, 1100)
LIMIT, WAIT, FASTER, FASTER_PLAIN = 1.05, 0.03, 2.0, 1.15
ROOT = Path(__file__).resolve().parents[1]
HELD = 4  # batches in memory, taken in turn
PLAIN = {"pretrain-autoencoder": {"target": "grey"}}
"""Options without which a stage's loss is more than the bare loop's."""
TOLERANCE = {"fp32": 1e-3, "bf16": 2e-2}


def main() -> list[str]:
    """Print the tables; return the bounds that were missed."""
    with tempfile.TemporaryDirectory() as folder:
        corpus = str(Path(folder) / "corpus")
        _write(corpus)
        return [*_engines(corpus), *_waiting(corpus, Path(folder)), *_defaults(corpus)]


def _write(root: str) -> None:
    """Write films of two megapixels at 0.1 mm with lesions of about 8 to 16 mm."""
    from tests.train.corpus import tiny_films, write_corpus

    films = [
        replace(
            film,
            mm=0.1,
            marks=tuple(replace(mark, r=40.0 + 10 * (n % 5)) for mark in film.marks),
        )
        for n, film in enumerate(tiny_films(FILMS // 2, size=SIZE))
    ]
    write_corpus(root, films)


def _child(kind: str, **words: Any) -> dict[str, Any]:
    """Measure in a process of its own: the wait policy and XLA are settled when torch loads."""
    environment = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE", "PJRT_DEVICE": "CPU"}
    command = [sys.executable, "-m", "benchmarks.steps", kind, json.dumps(words)]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@dataclass(frozen=True)
class Block:
    """What a step of a block of steps took: wall and processor seconds."""

    wall: float
    busy: float


def _timed(work: Callable[[], object], steps: int) -> Block:
    wall, busy = time.perf_counter(), time.process_time()
    work()
    return Block((time.perf_counter() - wall) / steps, (time.process_time() - busy) / steps)


# --- the engine against the bare loop -----------------------------------------------------------


def _engines(corpus: str) -> list[str]:
    print("Milliseconds a step, median over blocks; ratio: median of neighbouring blocks' ratios\n")
    print("| stage | device | preset | engine | bare loop | ratio | range | ratio of CPU time |")
    print("| --- | --- | --- | ---: | ---: | ---: | --- | ---: |")
    missed = []
    for stage, device, precision, preset, steps, blocks in ENGINE:
        words = {"stage": stage, "device": device, "precision": precision, "preset": preset}
        found = _child("engine", corpus=corpus, steps=steps, blocks=blocks, **words)
        ratio, low, high = _ratio(found["engine"], found["bare"], "wall")
        busy = _ratio(found["engine"], found["bare"], "busy")[0]
        print(
            f"| {stage} | {device} {precision} | {preset} | {_ms(found['engine'])} | "
            f"{_ms(found['bare'])} | {ratio:.3f} | {low:.2f}-{high:.2f} | {busy:.3f} |",
            flush=True,
        )
        name = f"{stage}, {device} {precision}, {preset}"
        if ratio > LIMIT:
            missed.append(f"{name}: a step takes {ratio:.3f} of the bare loop's, bound {LIMIT}")
        if found["apart"] > TOLERANCE[precision]:
            missed.append(f"{name}: losses differ by {found['apart']:.1e}, so the work does too")
    return missed


def _ms(blocks: Sequence[Mapping[str, float]]) -> str:
    return f"{statistics.median(block['wall'] for block in blocks) * 1e3:.0f}"


def _ratio(
    ours: Sequence[Mapping[str, float]], theirs: Sequence[Mapping[str, float]], key: str
) -> tuple[float, float, float]:
    ratios = [one[key] / other[key] for one, other in zip(ours, theirs, strict=True)]
    return statistics.median(ratios), min(ratios), max(ratios)


class Turns:
    """A stage that holds its batches in memory and, between blocks, lets the bare loop run.

    The engine asks for the next batch when it is done with the one before, so the time from a
    block's first batch to the question after its last is what the engine took for it.
    """

    def __init__(
        self,
        stage: Any,
        batches: Sequence[Any],
        steps: int,
        blocks: int,
        other: Callable[[int], object],
    ) -> None:
        self.stage, self.held, self.other = stage, batches, other
        self.block, self.blocks = steps, blocks
        self.engine: list[Block] = []
        self.bare: list[Block] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stage, name)

    def steps(self, epoch: int) -> int:
        """Count the steps of all blocks."""
        return self.block * self.blocks

    def batches(self, epoch: int, start: int, part: tuple[int, int] = (0, 1)) -> Iterator[Any]:
        """Give the engine its blocks, and run the other's between them."""
        turn = itertools.cycle(self.held)
        for _ in range(self.blocks):
            wall, busy = time.perf_counter(), time.process_time()
            yield from itertools.islice(turn, self.block)
            wall, busy = time.perf_counter() - wall, time.process_time() - busy
            self.engine.append(Block(wall / self.block, busy / self.block))
            self.bare.append(_timed(lambda: self.other(self.block), self.block))

    def validate(self, model: Any, runtime: Any) -> Mapping[str, float]:
        """Nothing is validated."""
        return dict.fromkeys(self.stage.metrics, 0.0)


def _engine_child(
    corpus: str, stage: str, device: str, precision: str, preset: str, steps: int, blocks: int
) -> dict[str, Any]:
    import torch

    from benchmarks.bare import Bare
    from mammo_train.engine import learning_rate, train
    from mammo_train.runtime import open_runtime
    from mammo_train.tracking import read_metrics

    runtime = open_runtime(device, precision)  # type: ignore[arg-type]
    made = _stage(corpus, stage, preset, {"log_every": steps, "epochs": 1, **PLAIN.get(stage, {})})
    config, total = made.config, steps * (blocks + 1)
    batches = _held(made)
    torch.manual_seed(made.seed)
    model = made.build()
    xla = device == "xla"
    model = model.to("xla") if xla else model.to(memory_format=torch.channels_last)
    bare = Bare(
        stage,
        model,
        rate=config.learning_rate,
        decay=config.weight_decay,
        clip=config.clip_norm,
        bf16=precision == "bf16",
        xla=xla,
        fused=not xla,
    )
    losses: list[float] = []
    todo = iter(zip(itertools.cycle(batches), range(total), strict=False))

    def by_hand(count: int) -> None:
        rows = [
            bare.step(batch, learning_rate(n, total, config))
            for batch, n in itertools.islice(todo, count)
        ]
        losses.extend(row.item() for row in rows)

    turns = Turns(made, batches, steps, blocks + 1, by_hand)
    with tempfile.TemporaryDirectory() as folder:
        train(turns, runtime, Path(folder), bar=False, say=lambda _: None)
        rows = read_metrics(Path(folder) / "metrics.csv")
    ours = [float(row["loss"]) for row in rows if row["kind"] == "train"]
    # Rounding grows from step to step: the first block shows whether the work is the same.
    pairs = zip(ours[:steps], losses[:steps], strict=True)
    return {
        "engine": [vars(block) for block in turns.engine[1:]],
        "bare": [vars(block) for block in turns.bare[1:]],
        "apart": max(abs(one - other) / abs(other) for one, other in pairs),
    }


def _stage(corpus: str, name: str, preset: str, options: Mapping[str, Any]) -> Any:
    import schemas
    from mammo_train.config import resolve_config
    from mammo_train.stages import open_stage

    plain = {**options, "checkpoint_every": 10**6}
    config = resolve_config(preset, {name.replace("-", "_"): plain})
    return open_stage(name, schemas.open(corpus), config, workers=0)


def _held(stage: Any) -> list[Any]:
    """Take the first batches; padding shows real images, as the engine has it."""
    from mammo_train.stages import repeat_real

    found = itertools.chain.from_iterable(stage.batches(epoch, 0) for epoch in range(HELD))
    return [repeat_real(batch) for batch in itertools.islice(found, HELD)]


# --- waiting for data ---------------------------------------------------------------------------


def _waiting(corpus: str, folder: Path) -> list[str]:
    print("\nThe base preset on the CPU, default loader, two epochs: share of the time that the")
    print(f"loop waits for data; films of {SIZE[0]} x {SIZE[1]} as PNG\n")
    print("| stage | steps | s a step | waiting | without the loader's start |")
    print("| --- | ---: | ---: | ---: | ---: |")
    missed = []
    for stage, options in WAITING:
        work = folder / f"work-{stage}"
        command = [sys.executable, "-m", "mammo_train", stage, "--data", corpus]
        command += ["--work", str(work), "--preset", "base", "--device", "cpu", *options]
        for name, value in (("epochs", 2), ("log-every", 1), ("validate-every", 2)):
            command += [f"--{stage}.{name}", str(value)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr}")
        seconds, waited = _waits(work / "stages" / stage / "metrics.csv")
        whole, later = sum(waited) / sum(seconds), sum(waited[1:]) / sum(seconds[1:])
        a_step = statistics.median(seconds)
        print(
            f"| {stage} | {len(seconds)} | {a_step:.1f} | {whole:.1%} | {later:.1%} |", flush=True
        )
        if later >= WAIT:
            missed.append(f"{stage}, base on the CPU: {later:.1%} waiting, bound {WAIT:.0%}")
    return missed


def _waits(path: Path) -> tuple[list[float], list[float]]:
    """Give seconds and seconds of waiting of each step."""
    from mammo_train.presets import PRESETS
    from mammo_train.tracking import read_metrics

    rows = [row for row in read_metrics(path) if row["kind"] == "train"]
    batch = PRESETS["base"][path.parent.name.replace("-", "_")]["batch_size"]
    seconds = [batch / float(row["images_per_second"]) for row in rows]
    shares = [float(row["waiting_share"]) for row in rows]
    return seconds, [a * b for a, b in zip(seconds, shares, strict=True)]


# --- the CPU's default against plain float32 ----------------------------------------------------


def _defaults(corpus: str) -> list[str]:
    fast = "avx512_bf16" in _cpu_flags()
    bound = FASTER if fast else FASTER_PLAIN
    print("\nThe CPU's default against fp32, eager, NCHW, plain AdamW; milliseconds a step\n")
    print("| stage | preset | batch | default | chosen | fp32 NCHW | times as fast | range |")
    print("| --- | --- | ---: | ---: | --- | ---: | ---: | --- |")
    missed = []
    for stage, preset, batch, steps, blocks in DEFAULT:
        words = {"corpus": corpus, "stage": stage, "preset": preset, "batch": batch}
        found = _sides(steps=steps, blocks=blocks, **words)
        ratio, low, high = _ratio(found["plain"], found["default"], "wall")
        print(
            f"| {stage} | {preset} | {batch} | {_ms(found['default'])} | {found['precision']} | "
            f"{_ms(found['plain'])} | {ratio:.2f} | {low:.2f}-{high:.2f} |",
            flush=True,
        )
        if ratio < bound:
            missed.append(
                f"{stage}, {preset}: the default is {ratio:.2f} times as fast as fp32 NCHW"
            )
    print(f"\navx512_bf16 {'yes' if fast else 'no'}: bound {bound}")
    return missed


def _sides(**words: Any) -> dict[str, Any]:
    """Run both in processes of their own, in turn: what one tells the C library counts for all."""
    found: dict[str, list[Any]] = {"default": [], "plain": []}
    chosen: dict[str, str] = {}
    for _ in range(2):
        for name, blocks in found.items():
            once = _child("default", side=name, **words)
            blocks += once["blocks"]
            chosen[name] = once["precision"]
    return {**found, "precision": chosen["default"]}


def _cpu_flags() -> set[str]:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.is_file() else []
    return {flag for line in lines if line.startswith("flags") for flag in line.split()}


def _default_child(
    corpus: str, stage: str, preset: str, batch: int, steps: int, blocks: int, side: str
) -> dict[str, Any]:
    from benchmarks.bare import Bare
    from mammo_train.runtime.cpu import CpuRuntime

    made = _stage(corpus, stage, preset, {"batch_size": batch})
    turn, config, model = itertools.cycle(_held(made)), made.config, made.build()
    words = {"rate": config.learning_rate, "decay": config.weight_decay, "clip": config.clip_norm}
    precision = "fp32"
    if side == "default":
        runtime = CpuRuntime()
        model = runtime.prepare(model, made.example())
        precision, words["fused"] = runtime.precision, runtime.fused_optimizer
    loop = Bare(stage, model, bf16=precision == "bf16", **words)

    def some() -> None:
        for one in itertools.islice(turn, steps):
            loop.step(one, 1e-3)

    found = [vars(_timed(some, steps)) for _ in range(blocks + 1)][1:]
    return {"blocks": found, "precision": precision}


if __name__ == "__main__":
    kinds: dict[str, Callable[..., dict[str, Any]]] = {
        "engine": _engine_child,
        "default": _default_child,
    }
    print(json.dumps(kinds[sys.argv[1]](**json.loads(sys.argv[2]))))
