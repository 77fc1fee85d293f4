"""The stages and the command line on a tiny corpus: from shards to a report, killed and resumed."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import schemas
from mammo_train.cli import main
from mammo_train.config import resolve_config
from mammo_train.data.dataset import make_loader
from mammo_train.data.draws import BatchPlan, film_draws
from mammo_train.data.transforms import SegmentTransform
from mammo_train.runtime.cpu import CpuRuntime
from mammo_train.stages import open_classifier, open_segment, repeat_real
from mammo_train.stages.segment import build_unet, predict_films
from mammo_train.tracking import read_metrics
from schemas.errors import UsageError
from tests.train.corpus import Mark, TinyFilm, sample_of, tiny_films, write_corpus

ROOT = Path(__file__).parents[2]
# A run of seconds: 12 steps of the U-Net, 6 of the ResNet.
QUICK = [
    "--preset", "smoke", "--precision", "fp32",
    "--segment.epochs", "2", "--segment.base-channels", "4", "--segment.levels", "3",
    "--segment.tile-height", "48", "--segment.tile-width", "48", "--segment.validate-every", "2",
    "--segment.checkpoint-every", "2", "--segment.log-every", "1",
    "--pretrain-classifier.epochs", "2", "--pretrain-classifier.draws-per-epoch", "24",
    "--pretrain-classifier.batch-size", "8", "--pretrain-classifier.patch-px", "32",
    "--pretrain-classifier.checkpoint-every", "2", "--pretrain-classifier.log-every", "1",
]  # fmt: skip
STAGES = ("segment", "pretrain-classifier")
COMMANDS = (
    "run", "pretrain-encoder", "pretrain-autoencoder", "segment", "pretrain-classifier",
    "classify", "evaluate",
)  # fmt: skip


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> str:
    root = str(tmp_path_factory.mktemp("corpus"))
    hidden = TinyFilm("hidden", "hidden", "train", (Mark("malignant", 40, 60, drawn=False),),
                      annotation="none")  # fmt: skip
    write_corpus(root, [*tiny_films(20), hidden])
    return root


def losses(work: Path, stage: str) -> list[tuple[int, str]]:
    rows = read_metrics(work / "stages" / stage / "metrics.csv")
    return [(int(row["step"]), row["loss"]) for row in rows if row["kind"] == "train"]


@pytest.fixture(scope="module")
def trained(corpus: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    work = tmp_path_factory.mktemp("work")
    place = ["--data", corpus, "--work", str(work), "--workers", "0"]
    assert main(["run", "--stages", ",".join(STAGES), *place, *QUICK]) == 0
    return work


def test_run_leaves_what_the_design_names(trained: Path) -> None:
    assert (trained / "config.yaml").is_file()
    for stage in STAGES:
        folder = trained / "stages" / stage
        assert Image.open(folder / "curves.png").size[0] > 500
        assert list((folder / "tensorboard").iterdir())
        assert list((folder / "checkpoints").glob("best-*"))
        steps = [step for step, _ in losses(trained, stage)]
        assert steps == list(range(1, len(steps) + 1))


def test_a_second_run_skips_what_is_finished(
    trained: Path, corpus: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {p: p.stat().st_mtime_ns for p in trained.rglob("checkpoints/*")}
    place = ["--data", corpus, "--work", str(trained)]
    assert main(["run", "--stages", ",".join(STAGES), *place]) == 0
    assert capsys.readouterr().out.count("finished before, skipped") == 2
    assert {p: p.stat().st_mtime_ns for p in trained.rglob("checkpoints/*")} == before


def test_evaluate_writes_figures_with_their_counts_and_pictures(
    trained: Path, corpus: str, tmp_path: Path
) -> None:
    arguments = ["--data", corpus, "--work", str(trained), "--output", str(tmp_path)]
    assert main(["evaluate", *arguments, "--pictures", "3", "--workers", "0"]) == 0
    found = json.loads((tmp_path / "metrics.json").read_text())
    test = [film for film in tiny_films(20) if film.split == "test"]
    marked = [film for film in test if film.marks]
    segment = found["segment"]
    assert found["split"] == "test"
    assert segment["dice_per_film"]["counts"]["films"] == len(marked)
    normal = segment["false_regions_per_normal_film"]
    assert normal["counts"]["films"] == len(test) - len(marked)
    assert segment["lesion_sensitivity"]["1"]["counts"]["lesions"] == len(marked)
    areas = found["classifier"]["true_patches"]["malignant_vs_benign_auroc"]
    malignant = sum(film.label == "malignant" for film in test)
    assert areas["counts"]["positives"] == malignant
    assert areas["counts"]["negatives"] == len(marked) - malignant
    assert set(segment["by_source"]) == {"mias"}
    assert Image.open(tmp_path / "samples.png").size[1] > 500


def options(stage: str) -> list[str]:
    own = [i for i, word in enumerate(QUICK) if word.startswith(f"--{stage}.")]
    return QUICK[:4] + [word for i in own for word in QUICK[i : i + 2]]


def start(stage: str, corpus: str, work: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "mammo_train.cli", stage, "--data", corpus]
    command += ["--work", str(work), "--workers", "2", *options(stage)]
    quiet = subprocess.DEVNULL
    return subprocess.Popen(command, cwd=ROOT, env={**os.environ}, stdout=quiet, stderr=quiet)


@pytest.mark.parametrize("stage", STAGES)
def test_killed_and_resumed_with_other_workers_the_losses_are_bitwise_the_same(
    trained: Path, corpus: str, tmp_path: Path, stage: str
) -> None:
    total = len(losses(trained, stage))
    steps = random.randint(2, total - 2)
    with start(stage, corpus, tmp_path) as process:
        for _ in range(1200):
            if len(losses(tmp_path, stage)) >= steps or process.poll() is not None:
                break
            time.sleep(0.02)
        process.kill()
    assert process.returncode == -9, "the run ended before it could be killed"
    arguments = ["--data", corpus, "--work", str(tmp_path), "--workers", "1"]
    assert main([stage, *arguments, *options(stage)]) == 0
    assert losses(tmp_path, stage) == losses(trained, stage), f"killed after {steps} steps"


def test_losses_from_gs_are_those_from_a_disk(trained: Path, gcs: str, tmp_path: Path) -> None:
    write_corpus(gcs, tiny_films(20))
    arguments = ["--data", gcs, "--work", str(tmp_path), "--workers", "0"]
    assert main(["segment", *arguments, *options("segment")]) == 0
    assert losses(tmp_path, "segment") == losses(trained, "segment")


def test_a_malignant_film_without_outline_never_enters_the_mask_loss(corpus: str) -> None:
    stage = open_segment(schemas.open(corpus), resolve_config("smoke"), workers=0)
    hidden = sample_of(TinyFilm("hidden", "hidden"))
    for part in stage.selections:
        assert hidden not in part.ids.tolist()
        assert set(part.annotation.tolist()) <= {"complete"}


def test_classes_are_drawn_equally_often(corpus: str) -> None:
    stage = open_classifier(schemas.open(corpus), resolve_config("smoke"), workers=0)
    drawn = np.concatenate([batch["target"].numpy() for batch in stage.batches(0, 0)])
    counts = np.bincount(drawn, minlength=3)
    assert abs(counts[1] - counts[2]) <= 1
    assert counts[0] == pytest.approx(stage.config.background_share * counts.sum(), abs=1)


def test_a_val_split_without_lesions_is_refused_at_once(tmp_path: Path) -> None:
    films = [film for film in tiny_films(20) if film.split != "val" or not film.marks]
    write_corpus(str(tmp_path), films)
    with pytest.raises(UsageError, match=r"segment: no film with a drawn lesion in the val split"):
        open_segment(schemas.open(str(tmp_path)), resolve_config("smoke"), workers=0)


def test_films_are_predicted_in_eval_mode_whatever_the_mode_before(corpus: str) -> None:
    # Statistics of the one film at hand would make its answer depend on that film's own grey
    # levels, and would drift with every film that is seen.
    stage = open_segment(schemas.open(corpus), resolve_config("smoke"), workers=0)
    runtime, model = CpuRuntime("fp32"), stage.build()
    arguments = (model, runtime, stage.config, stage.selections.test, stage.store, 0)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    first = next(predict_films(*arguments)).probability
    model.train()
    assert np.array_equal(next(predict_films(*arguments)).probability, first)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_the_network_sees_the_same_grey_levels_in_training_and_at_inference(corpus: str) -> None:
    stage = open_segment(schemas.open(corpus), resolve_config("smoke"), workers=0)
    config, test = stage.config, stage.selections.test
    (film, *_) = predict_films(stage.build(), CpuRuntime("fp32"), config, test, stage.store, 0)
    plain = SegmentTransform(256, 256, config.mm_per_pixel)  # larger than these films: no choice
    plan = BatchPlan(film_draws(test), 1)
    tile = next(iter(make_loader(stage.store, plan, plain)))["image"][0, 0].numpy()
    height, width = film.image.shape
    assert height <= 256
    assert width <= 256
    assert np.array_equal(tile[:height, :width], film.image)


def test_bright_lesions_are_learnt_within_seconds(tmp_path: Path) -> None:
    write_corpus(str(tmp_path / "corpus"), tiny_films(30))
    arguments = ["--data", str(tmp_path / "corpus"), "--work", str(tmp_path / "work")]
    small = ["--segment.tile-height", "80", "--segment.tile-width", "64", "--segment.levels", "4",
             "--segment.base-channels", "8", "--segment.epochs", "6"]  # fmt: skip
    options = ["--preset", "smoke", "--precision", "fp32", *small]
    assert main(["segment", *arguments, *options]) == 0
    assert main(["evaluate", *arguments, "--pictures", "0"]) == 0
    found = json.loads((tmp_path / "work" / "report" / "metrics.json").read_text())["segment"]
    assert found["dice_per_film"]["value"] >= 0.6
    assert found["false_regions_per_normal_film"]["value"] < 1


def test_deep_supervision_trains_and_evaluates(corpus: str, tmp_path: Path) -> None:
    arguments = ["--data", corpus, "--work", str(tmp_path)]
    deep = ["--segment.deep-supervision"]
    assert main(["segment", *arguments, *options("segment"), *deep]) == 0
    assert main(["evaluate", *arguments, "--pictures", "0"]) == 0
    stage = open_segment(schemas.open(corpus), resolve_config("smoke"), workers=0)
    plain = stage.build()
    deeper = build_unet(stage.config.model_copy(update={"deep_supervision": True}))
    heads = deeper.state_dict().keys() - plain.state_dict().keys()
    assert {name.split(".")[0] for name in heads} == {"coarse"}


def test_padding_shows_real_images_and_keeps_weight_zero() -> None:
    image = torch.arange(5.0).reshape(5, 1, 1, 1)
    weight = torch.tensor([1.0, 0.0, 1.0, 0.0, 0.0])
    hidden = torch.tensor([1.0, 0.0, 3.0, 0.0, 0.0])
    given = {"image": image, "weight": weight, "target": torch.zeros(5), "hidden": hidden}
    made = repeat_real(given)
    assert made["image"].flatten().tolist() == [0, 0, 2, 2, 0]
    assert made["hidden"].tolist() == [1, 1, 3, 3, 1]
    assert made["weight"] is weight


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["run", "--data", "{data}"], 2, "--work"),
        (["segment", "--data", "{data}", "--work", "{new}", "--segment.epocs", "3"], 2,
         "Did you mean --segment.epochs"),
        (["segment", "--data", "{data}", "--work", "{new}", "--segment.epochs", "0"], 2,
         "segment.epochs = 0"),
        (["segment", "--data", "{data}", "--work", "{new}", "--where", "modalty = 'x'"], 2,
         "did you mean modality"),
        (["segment", "--data", "{new}", "--work", "{new}"], 1, "no corpus at"),
        (["evaluate", "--data", "{data}", "--work", "{new}"], 2, "train first"),
        (["run", "--data", "{data}", "--work", "{work}", "--segment.epochs", "9"], 2,
         "give the same options, or another --work"),
        (["run", "--data", "{data}", "--work", "{work}", "--where", "height > 10"], 2,
         "give the same options, or another --work"),
        (["classify", "--data", "{data}", "--work", "{new}"], 2, "classify"),
        (["segment", "--data", "{data}", "--work", "{new}", "--device", "cuda"], 2,
         "torch sees no GPU"),
    ],
)  # fmt: skip
def test_wrong_calls_end_with_a_sentence(
    arguments: list[str], code: int, words: str, trained: Path, corpus: str, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    if "cuda" in arguments and torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    places = {"data": corpus, "work": trained, "new": tmp_path / "new"}
    assert main([argument.format(**places) for argument in arguments]) == code
    told = capsys.readouterr()
    said = " ".join((told.out + told.err).replace("│", " ").split())
    assert words in said
    assert "Traceback" not in said


def test_help_names_the_commands_that_are_built_and_no_others(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    for name in COMMANDS:
        assert f" {name} " in text
    for name in ("predict", "serve", "export", "compare"):
        assert f" {name} " not in text


@pytest.mark.parametrize("command", COMMANDS)
def test_each_help_shows_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    assert f"Example: mammo-train {command} --data OUT --work DIR" in capsys.readouterr().out


def test_importing_the_trainer_brings_in_neither_beam_nor_xla_nor_torch() -> None:
    program = "import sys, mammo_train.cli; print(sorted(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in ("'apache_beam'", "'torch_xla'", "'torch'", "'cv2'"):
        assert name not in done.stdout
