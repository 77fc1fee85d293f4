"""``mammo-train``: train the stages on one corpus version, and measure them.

Every field of `mammo_train.config` is an option: ``--seed 3``, ``--segment.mm-per-pixel 0.4``,
``--pretrain-classifier.patch-px 96``. Research use only, not a medical device.
"""

from __future__ import annotations

import difflib
import logging
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

from cyclopts import App, CycloptsError, Parameter
from pydantic import BaseModel

from mammo_train.config import (
    RunConfig,
    config_changes,
    load_config,
    overrides_model,
    resolve_config,
    save_config,
)
from schemas.errors import MammoError, UsageError, missing_extra

if TYPE_CHECKING:
    from rich.console import Console

    from mammo_train.engine import Finished
    from mammo_train.mirror import Mirror
    from mammo_train.runtime import Runtime
    from schemas.corpus import Corpus

    Every: TypeAlias = BaseModel
    OfPretraining: TypeAlias = BaseModel
    OfSegment: TypeAlias = BaseModel
    OfClassifier: TypeAlias = BaseModel
    OfClassify: TypeAlias = BaseModel
else:
    Every = overrides_model()
    _UNLABELLED = ("pretrain_encoder", "pretrain_autoencoder")
    # With segment's options, because widths and pixel size are those of its network.
    OfPretraining = overrides_model(leave_out=("pretrain_classifier", "classify"))
    OfSegment = overrides_model(leave_out=(*_UNLABELLED, "pretrain_classifier", "classify"))
    OfClassifier = overrides_model(leave_out=(*_UNLABELLED, "segment", "classify"))
    OfClassify = overrides_model(leave_out=(*_UNLABELLED, "segment", "pretrain_classifier"))

__all__ = ["app", "main"]

app = App(
    name="mammo-train",
    help=(
        "Train on a corpus that mammo-etl made, and measure. Research use only, not a medical "
        "device.\n\nExample: mammo-train run --data OUT --work DIR --preset smoke"
    ),
    help_format="plaintext",
    version_flags=[],
    result_action="return_value",
)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Place:
    """Where things are and what to run on."""

    data: Annotated[
        str, Parameter(help="corpus: OUT (its newest version) or OUT/VERSION, also gs://")
    ]
    work: Annotated[Path, Parameter(help="run directory: config, checkpoints, curves, report")]
    device: Annotated[Literal["auto", "cpu", "cuda", "xla"], Parameter(help="xla is a TPU")] = (
        "auto"
    )
    precision: Annotated[
        Literal["auto", "fp32", "bf16"], Parameter(help="auto: a short probe on the CPU decides")
    ] = "auto"
    workers: Annotated[
        int | None, Parameter(help="loader processes; 0 reads in this one; default: one a core")
    ] = None
    mirror: Annotated[
        str | None,
        Parameter(help="gs:// prefix or folder that keeps a copy of the run directory"),
    ] = None

    def runtime(self) -> Runtime:
        """Open the device."""
        from mammo_train.runtime import open_runtime

        return open_runtime(self.device, self.precision, cache=self.work / "xla-cache")

    def copy(self) -> Mirror | None:
        """Open the copy of the run directory, if one is kept."""
        from mammo_train.mirror import Mirror

        return Mirror(self.mirror, self.work) if self.mirror else None


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Choice:
    """What to learn from, and the preset."""

    preset: Annotated[
        Literal["smoke", "small", "base"] | None,
        Parameter(help="default: what the run directory holds, else small"),
    ] = None
    where: Annotated[
        str | None,
        Parameter(help="SQL condition on the manifest, such as \"modality = 'SFM'\""),
    ] = None


@app.command
def run(
    *,
    place: Place,
    choice: Choice | None = None,
    stages: Annotated[
        str | None,
        Parameter(help="names of stages with commas between, such as segment,classify [all]"),
    ] = None,
    overrides: Annotated[Every | None, Parameter(name="*")] = None,
) -> int:
    """Train all stages in order; finished ones are skipped, a stopped one goes on.

    Example: mammo-train run --data OUT --work DIR --preset smoke
    """
    return _train(_named_stages(stages), place, choice, overrides)


@app.command(name="pretrain-encoder")
def pretrain_encoder(
    *,
    place: Place,
    choice: Choice | None = None,
    overrides: Annotated[OfPretraining | None, Parameter(name="*")] = None,
) -> int:
    """Train the U-Net's encoder to know views of a film again, without labels.

    Example: mammo-train pretrain-encoder --data OUT --work DIR --pretrain-encoder.positives breast
    """
    return _train(("pretrain-encoder",), place, choice, overrides)


@app.command(name="pretrain-autoencoder")
def pretrain_autoencoder(
    *,
    place: Place,
    choice: Choice | None = None,
    overrides: Annotated[OfPretraining | None, Parameter(name="*")] = None,
) -> int:
    """Train the U-Net to restore hidden parts of the breast, without labels.

    Example: mammo-train pretrain-autoencoder --data OUT --work DIR --preset small
    """
    return _train(("pretrain-autoencoder",), place, choice, overrides)


@app.command
def segment(
    *,
    place: Place,
    choice: Choice | None = None,
    overrides: Annotated[OfSegment | None, Parameter(name="*")] = None,
) -> int:
    """Train the U-Net: lesion against the rest, on completely annotated films.

    Example: mammo-train segment --data OUT --work DIR --preset small --segment.epochs 40
    """
    return _train(("segment",), place, choice, overrides)


@app.command(name="pretrain-classifier")
def pretrain_classifier(
    *,
    place: Place,
    choice: Choice | None = None,
    overrides: Annotated[OfClassifier | None, Parameter(name="*")] = None,
) -> int:
    """Train the ResNet on patches at drawn lesions, at background, and at the U-Net's false alarms.

    Example: mammo-train pretrain-classifier --data OUT --work DIR --where "source = 'mias'"
    """
    return _train(("pretrain-classifier",), place, choice, overrides)


@app.command
def classify(
    *,
    place: Place,
    choice: Choice | None = None,
    overrides: Annotated[OfClassify | None, Parameter(name="*")] = None,
) -> int:
    """Train the ResNet on what the finished U-Net proposes, to score whole films.

    Example: mammo-train classify --data OUT --work DIR --classify.film-score max
    """
    return _train(("classify",), place, choice, overrides)


@app.command
def evaluate(
    *,
    place: Place,
    output: Annotated[
        Path | None, Parameter(help="folder of the report; default WORK/report")
    ] = None,
    pictures: Annotated[int, Parameter(help="films that samples.png shows")] = 8,
) -> int:
    """Measure what a run directory holds on the test split: metrics.json, a table, pictures.

    Example: mammo-train evaluate --data OUT --work DIR
    """
    from rich.console import Console

    from mammo_train.evaluation.report import evaluate as measure
    from mammo_train.evaluation.tables import group_table, metrics_table

    runtime, mirror = place.runtime(), place.copy()
    if runtime.world > 1 and not runtime.lockstep:
        raise UsageError("evaluate runs in one process: start it without torchrun")
    if mirror:
        mirror.pull()
    config = load_config(place.work / "config.yaml")
    corpus = _corpus(place)
    folder = output or place.work / "report"
    found = measure(
        corpus,
        config,
        runtime,
        place.work,
        workers=_workers(place, corpus, config),
        output=folder,
        pictures=pictures,
    )
    console = Console()
    console.print(metrics_table(found))
    by_group = group_table(found)
    if by_group is not None:
        console.print(by_group)
    console.print(f"figures   {folder / 'metrics.json'}\npictures  {folder}/*.png")
    return 0


@app.command
def curves(
    *works: Path,
    stage: Annotated[str, Parameter(help="name of the stage that is compared")] = "segment",
    output: Annotated[Path, Parameter(help="the picture")] = Path("curves.png"),
) -> int:
    """Lay validation curves of run directories over one another, with and without pre-training.

    Example: mammo-train curves scratch-1 scratch-2 pretrained-1 pretrained-2 --output curves.png

    Parameters
    ----------
    works
        run directories; those that began with the same kind of weights share a colour
    """
    from mammo_train.curves import overlay_curves

    if not works:
        raise UsageError(
            "curves needs run directories: mammo-train curves WORK_A WORK_B --output curves.png"
        )
    _named_stages(stage)
    for line in overlay_curves(works, output, stage=stage):
        print(line)
    print(f"curves  {output}")
    return 0


def _train(
    names: Sequence[str], place: Place, choice: Choice | None, overrides: BaseModel | None
) -> int:
    from rich.console import Console

    from mammo_train.engine import fingerprint, finished, train
    from mammo_train.licences import describe, known_licences, licences_of, merged
    from mammo_train.stages import STAGES, open_stage
    from mammo_train.stages.initial import refuse_late_feeders

    # One of several processes speaks, writes, and reads the run directory for all.
    team, mirror = place.runtime(), place.copy()
    console = Console(highlight=False, quiet=not team.first)
    if mirror:
        team.in_turn(mirror.pull)
    config = team.share(lambda: _config(place.work, choice or Choice(), overrides))
    corpus = _corpus(place)
    workers = _workers(place, corpus, config)
    team.share(lambda: refuse_late_feeders(names, place.work))
    # All before the first step: what the last stage lacks should not be said an hour later.
    stages = [open_stage(name, corpus, config, workers=workers) for name in names]
    learnt = team.share(lambda: known_licences(place.work / "config.yaml")) | {
        name: licences_of(corpus, stage.selections.train.ids)
        for name, stage in zip(names, stages, strict=True)
    }
    licences = {**merged(learnt.values()), "stages": learnt}
    told = team.share(lambda: save_config(config, place.work / "config.yaml", licences))
    console.print(told.rstrip(), markup=False)
    console.print(f"corpus {corpus.root}/{corpus.version}")
    console.print(describe(licences), markup=False)
    ended = []
    for name, stage in zip(names, stages, strict=True):
        folder = place.work / "stages" / name
        team.in_turn(partial(_start, stage, place, mirror))
        if team.agree(team.share(partial(fingerprint, stage)) != fingerprint(stage)):
            raise UsageError(
                f"{name}: not all processes find the same films and weights in {place.work}: "
                f"put it on a disk that all see, or give --mirror"
            )
        done = team.share(partial(finished, stage, folder))
        if done is None:
            _describe(console, stage)
            runtime = place.runtime()
            before = [learnt[one] for one in STAGES[: STAGES.index(name) + 1] if one in learnt]
            done = train(
                stage,
                runtime,
                folder,
                say=console.print,
                licences=merged(before),
                saved=mirror.try_push if mirror else lambda: None,
            )
        else:
            console.print(f"{name}: finished before, skipped")
        ended.append((name, done))
    if mirror and team.first:
        mirror.push()
    _where_things_are(console, place, ended)
    return 0


def _start(stage: Any, place: Place, mirror: Mirror | None) -> None:
    if mirror:
        mirror.pull()
    stage.start(place.work, place.runtime)


def _named_stages(words: str | None) -> tuple[str, ...]:
    """Give the stages that were named, in the order in which they are trained."""
    from mammo_train.stages import STAGES

    if words is None:
        return STAGES
    named = [word.strip() for word in words.split(",")]
    for word in named:
        if word not in STAGES:
            near = difflib.get_close_matches(word, STAGES, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(STAGES)}"
            raise UsageError(f"unknown stage {word!r} in --stages: {hint}")
    return tuple(name for name in STAGES if name in named)


def _config(work: Path, choice: Choice, overrides: BaseModel | None) -> RunConfig:
    """Resolve the config: what the run directory holds or a preset, changed by what was said.

    A stage that has begun keeps its options; another answer for it is refused.
    """
    path = work / "config.yaml"
    before = load_config(path) if path.is_file() else None
    if choice.preset is None and before is not None:
        base = before.model_dump(exclude_none=True)
        where = choice.where if choice.where is not None else before.where
        config = resolve_config(before.preset, overrides, where=where, base=base)
    else:
        config = resolve_config(choice.preset or "small", overrides, where=choice.where)
    if before is None:
        return config
    for name, old, new in config_changes(before, config):
        part = name.split(".")[0].replace("_", "-")
        stages = work / "stages"
        begun = (stages / part).is_dir() if "." in name else stages.is_dir() and name != "preset"
        if begun:
            raise UsageError(
                f"{path} has {name} = {old!r} and this command says {new!r}, but that part has "
                f"been trained: give the same options, or another --work"
            )
    return config


def _corpus(place: Place) -> Corpus:
    from mammo_train.runtime import check_trio
    from schemas import open as open_corpus

    check_trio()
    return open_corpus(place.data)


def _workers(place: Place, corpus: Corpus, config: RunConfig) -> int:
    from mammo_train.data.dataset import default_workers

    if place.workers is not None:
        return place.workers
    # A smoke run's films are few: starting processes takes longer than reading them.
    return 0 if config.preset == "smoke" else default_workers(corpus.store)


def _describe(console: Console, stage: Any) -> None:
    from rich.table import Table

    rows = stage.selections.describe()
    table = Table(title=f"{stage.name}: what it learns from and is measured on")
    names = [name for name in rows[0] if name != "sources"]
    for name in names:
        table.add_column(name.replace("_", " "), justify="left" if name == "split" else "right")
    for row in rows:
        table.add_row(*(str(row[name]) for name in names))
    console.print(table)
    for sentence in (*stage.selections.rules.sentences(), *stage.notes()):
        console.print(sentence)
    for reason, count in stage.selections.left_out.items():
        console.print(f"left out: {count} films, {reason}")
    steps, config = stage.steps(0), stage.config
    console.print(
        f"{config.epochs} epochs of {steps} steps, batch {config.batch_size} over all devices"
    )


def _where_things_are(
    console: Console, place: Place, ended: Sequence[tuple[str, Finished]]
) -> None:
    from rich.table import Table

    table = Table(title="trained")
    for title in ("stage", "steps", "best on validation", "curves"):
        table.add_column(title)
    for name, done in ended:
        curves = str(done.folder / "curves.png")
        table.add_row(name, str(done.steps), f"{done.metric} {done.best:.3f}", curves)
    console.print(table)
    console.print(
        f"config       {place.work / 'config.yaml'}\n"
        f"checkpoints  {place.work}/stages/<stage>/checkpoints/\n"
        f"TensorBoard  tensorboard --logdir {place.work}/stages\n"
        f"next         mammo-train evaluate --data {place.data} --work {place.work}",
        markup=False,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; give 0 done, 1 failed with one sentence, 2 wrong usage."""
    # Threads that spin at barriers double the CPU use of a shared machine; read when torch loads.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    from mammo_train.errors import Stopped

    try:
        code = app(list(sys.argv[1:] if argv is None else argv), exit_on_error=False)
    except CycloptsError:
        return 2  # cyclopts has said what is wrong
    except Stopped as stopped:
        print(stopped, file=sys.stderr)
        return 0
    except UsageError as error:
        print(f"mammo-train: {error}", file=sys.stderr)
        return 2
    except MammoError as error:
        print(f"mammo-train: {error}", file=sys.stderr)
        return 1
    except ModuleNotFoundError as error:
        print(f"mammo-train: {missing_extra(error, 'train')}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("mammo-train: interrupted; the same command goes on", file=sys.stderr)
        return 130
    return int(code or 0)


if __name__ == "__main__":
    sys.exit(main())
