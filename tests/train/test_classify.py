"""Regions that a U-Net proposes: mined, kept, drawn, learnt, and made into a film's score."""

from __future__ import annotations

import importlib.util
import json
import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import schemas
from mammo_train.cli import main
from mammo_train.config import resolve_config
from mammo_train.data.draws import HardNegatives, film_draws, film_label_draws, patch_draws
from mammo_train.data.regions import FilmRegion, RegionDraws, RegionTransform, settled
from mammo_train.data.selection import Selection, build_selections
from mammo_train.evaluation.calibration import cross_entropy, fit_temperature
from mammo_train.models.regions import RegionClassifier, film_logit, film_loss, malignant_logit
from mammo_train.models.resnet import patch_classifier
from mammo_train.stages import open_classifier, open_classify
from mammo_train.stages.proposals import clear_regions, film_regions
from mammo_train.stages.segment import FilmPrediction
from mammo_train.tracking import read_metrics
from schemas.errors import MammoError, UsageError
from tests.train.corpus import Mark, TinyFilm, mask_of, sample_of, tiny_films, write_corpus

ROOT = Path(__file__).parents[2]
HIDDEN = TinyFilm("hidden", "hidden", "train", (Mark("malignant", 40, 60, drawn=False),),
                  annotation="none")  # fmt: skip
DOUBTFUL = TinyFilm("doubtful", "doubtful", "train", (Mark("unknown", 40, 60),))
STAGES = ("segment", "pretrain-classifier", "classify")
QUICK = [
    "--preset", "smoke", "--precision", "fp32",
    "--segment.tile-height", "80", "--segment.tile-width", "64", "--segment.levels", "4",
    "--segment.base-channels", "8", "--segment.epochs", "5", "--segment.validate-every", "5",
    "--segment.initial", "none",
    "--pretrain-classifier.epochs", "3", "--pretrain-classifier.draws-per-epoch", "96",
    "--pretrain-classifier.patch-px", "32", "--pretrain-classifier.validate-every", "3",
    "--pretrain-classifier.hard-share", "0.5", "--pretrain-classifier.hard-threshold", "0.01",
    "--pretrain-classifier.checkpoint-every", "3", "--pretrain-classifier.log-every", "1",
    "--classify.films-per-epoch", "24", "--classify.validate-every", "3",
    "--classify.checkpoint-every", "3", "--classify.log-every", "1",
]  # fmt: skip


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> str:
    root = str(tmp_path_factory.mktemp("corpus"))
    write_corpus(root, [*tiny_films(20), HIDDEN, DOUBTFUL])
    return root


@pytest.fixture(scope="module")
def trained(corpus: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    work = tmp_path_factory.mktemp("work")
    place = ["--data", corpus, "--work", str(work), "--workers", "0"]
    assert main(["run", *place, "--stages", ",".join(STAGES), *QUICK]) == 0
    return work


@pytest.fixture(scope="module")
def films(corpus: str) -> Selection:
    return build_selections(schemas.open(corpus), "classify").train


def losses(work: Path, stage: str) -> list[tuple[int, str]]:
    rows = read_metrics(work / "stages" / stage / "metrics.csv")
    return [(int(row["step"]), row["loss"]) for row in rows if row["kind"] == "train"]


def softmax(out: np.ndarray) -> np.ndarray:
    powers = np.exp(out.astype(np.float64))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


# --- the film's score


def random_films(count: int = 3) -> tuple[Tensor, Tensor]:
    made = torch.Generator().manual_seed(count)
    present = torch.tensor([[1.0, 1, 1, 1], [1, 1, 0, 0], [1, 0, 0, 0]])[:count]
    return torch.randn((count, 4, 5), generator=made) * 2, present


def test_noisy_or_is_one_minus_the_product_over_regions_that_are_there() -> None:
    out, present = random_films()
    malignant = softmax(out[..., :3].numpy())[..., 2]
    expected = 1 - np.prod(1 - malignant * present.numpy(), axis=1)
    found = torch.sigmoid(film_logit(out, present, "noisy-or"))
    assert found.numpy() == pytest.approx(expected, rel=1e-4)


def test_max_is_the_most_suspicious_region_that_is_there() -> None:
    out, present = random_films()
    malignant = softmax(out[..., :3].numpy())[..., 2] * present.numpy()
    found = torch.sigmoid(film_logit(out, present, "max"))
    assert found.numpy() == pytest.approx(malignant.max(axis=1), rel=1e-4)
    assert torch.sigmoid(malignant_logit(out))[0].numpy() == pytest.approx(malignant[0], rel=1e-4)


@pytest.mark.parametrize("kind", ["noisy-or", "max", "attention"])
def test_what_fills_a_row_has_no_say_and_no_gradient(kind: Any) -> None:
    out, present = random_films()
    other = torch.where(present[..., None] > 0, out, out + 5).requires_grad_()
    found = film_logit(other, present, kind)
    assert torch.allclose(found, film_logit(out, present, kind))
    found.sum().backward()
    assert other.grad is not None
    assert not other.grad[present == 0].any()


@pytest.mark.parametrize("size", [-80.0, 80.0])
@pytest.mark.parametrize("kind", ["noisy-or", "max"])
def test_certain_regions_give_finite_losses_and_gradients(size: float, kind: Any) -> None:
    out = torch.tensor([[[0.0, 0.0, size]] * 3]).requires_grad_()
    for film in (0.0, 1.0):
        loss = film_loss(film_logit(out, torch.ones(1, 3), kind), torch.tensor([film]),
                         torch.ones(1))  # fmt: skip
        (gradient,) = torch.autograd.grad(loss, out)
        assert torch.isfinite(loss)
        assert torch.isfinite(gradient).all()


def test_films_without_weight_do_not_count() -> None:
    logit, film = torch.tensor([1.0, -3.0, 8.0]), torch.tensor([1.0, 0.0, 0.0])
    alone = film_loss(logit[:2], film[:2], torch.ones(2))
    assert film_loss(logit, film, torch.tensor([1.0, 1.0, 0.0])) == pytest.approx(float(alone))
    assert film_loss(logit, film, torch.zeros(3)) == 0


@pytest.mark.parametrize(("depth", "parameters"), [(18, 11_171_779), (50, 23_507_907)])
def test_networks_have_the_size_of_the_published_ones(depth: Any, parameters: int) -> None:
    # torchvision's 11,689,512 and 25,557,032, less the 1000-class layer and two input channels.
    model = patch_classifier(depth=depth)
    assert sum(p.numel() for p in model.parameters()) == parameters


def test_fixed_norm_is_batchnorm_in_evaluation_and_shares_its_checkpoints() -> None:
    torch.manual_seed(1)
    plain = RegionClassifier(patch_classifier(), film_head=True)
    plain(torch.rand(4, 3, 32, 32))  # gives statistics that are neither 0 nor 1
    fixed = RegionClassifier(patch_classifier(), film_head=True, fixed_norm=True)
    fixed.load_state_dict(plain.state_dict())
    image = torch.rand(2, 3, 32, 32)
    out = fixed.train()(image)
    assert out.shape == (2, 3, 5)
    assert torch.allclose(out, plain.eval()(image), atol=1e-5)
    before = plain.state_dict()
    assert all(torch.equal(before[name], value) for name, value in fixed.state_dict().items())


# --- temperature


def test_temperature_is_the_factor_by_which_a_network_is_too_sure() -> None:
    made = np.random.default_rng(1)
    honest = made.normal(0, 2, 20_000)
    labels = made.random(20_000) < 1 / (1 + np.exp(-honest))
    assert fit_temperature(3 * honest, labels) == pytest.approx(3, rel=0.05)
    assert cross_entropy(honest, labels) < cross_entropy(3 * honest, labels)


def test_a_few_films_without_an_error_do_not_make_certainty() -> None:
    logits, labels = [5.0, 4, -4, -5], [1, 1, 0, 0]
    temperature = fit_temperature(logits, labels)
    assert 1 / (1 + np.exp(-4 / temperature)) == pytest.approx(0.75, abs=0.06)
    assert fit_temperature([1.0, 2.0], [1, 1]) == 1


# --- regions


def seen(
    selection: Selection, film: TinyFilm, *spots: tuple[float, float, float]
) -> FilmPrediction:
    """Give a film on a grid of its own pixels with bright discs of radius r at x, y."""
    row = selection.ids.tolist().index(sample_of(film))
    y, x = np.mgrid[: film.size[0], : film.size[1]] + 0.5
    probability = np.full(film.size, 0.02, np.float32)
    for number, (at_x, at_y, r) in enumerate(spots):
        probability[np.hypot(x - at_x, y - at_y) < r] = 0.9 - 0.1 * number
    probability[80, 50] += 0.01
    batch = {
        "row": torch.tensor([row]),
        "image": torch.ones((1, 1, *film.size)),
        "target": torch.from_numpy((mask_of(film) > 0).astype(np.uint8))[None, None],
        "scale": torch.ones((1, 2), dtype=torch.float64),
    }
    return FilmPrediction(batch, probability)


def lesion_film(kind: str) -> TinyFilm:
    return next(f for f in tiny_films(20) if f.split == "train" and f.label == kind)


@pytest.mark.parametrize(("kind", "label"), [("benign", 1), ("malignant", 2)])
def test_a_region_has_the_class_of_the_lesion_it_finds(
    kind: str, label: int, films: Selection
) -> None:
    film = lesion_film(kind)
    mark = film.marks[0]
    away = (mark.x, mark.y + (60 if mark.y < 80 else -60), 6.0)
    at = seen(films, film, (mark.x, mark.y, mark.r), away)
    found = film_regions(at, films, 0.5, 4)
    assert [region.label for region in found] == [label, 0]
    assert found[0].x == pytest.approx(mark.x, abs=0.6)
    assert found[0].score == pytest.approx(0.9, abs=0.02)


def test_a_region_that_brushes_a_lesion_is_nobodys(films: Selection) -> None:
    film = lesion_film("malignant")
    mark = film.marks[0]
    at = seen(films, film, (mark.x + mark.r + 2, mark.y, 3.0))
    assert [region.label for region in film_regions(at, films, 0.5, 4)] == [-1]


def test_regions_of_a_film_on_which_nothing_is_drawn_are_nobodys(films: Selection) -> None:
    at = seen(films, HIDDEN, (40, 60, 8), (40, 120, 8))
    assert [region.label for region in film_regions(at, films, 0.5, 4)] == [-1, -1]


def test_a_film_without_a_region_gives_its_highest_place(films: Selection) -> None:
    film = lesion_film("normal")
    (region,) = film_regions(seen(films, film), films, 0.5, 4)
    assert (region.x, region.y, region.label) == (50.5, 80.5, 0)


def test_mined_places_hold_nothing_drawn_within_half_a_patch(films: Selection) -> None:
    film = lesion_film("benign")
    mark = film.marks[0]
    far = mark.y + (60 if mark.y < 80 else -60)
    beside = mark.y + (22 if mark.y < 80 else -22)
    at = seen(films, film, (mark.x, mark.y, mark.r), (mark.x, far, 5), (mark.x, beside, 5))
    found = clear_regions(at, films, threshold=0.5, min_area=4, half=20, most=4)
    assert [round(region.y) for region in found] == [round(far)]
    assert not clear_regions(seen(films, film), films, threshold=0.5, min_area=4, half=2, most=4)


def test_regions_are_kept_and_another_source_of_them_is_refused(tmp_path: Path) -> None:
    path, calls = tmp_path / "stage" / "found.json", []

    def make() -> dict[str, tuple[FilmRegion, ...]]:
        calls.append(1)
        return {"b": (FilmRegion(1.0, 2.0, 0.5, 0),), "a": ()}

    first = settled(path, {"unet": "x"}, make)
    assert settled(path, {"unet": "x"}, make) == first
    assert len(calls) == 1
    settled(path, {"unet": "y"}, make)  # nothing has been learnt from it yet
    (path.parent / "checkpoints").mkdir()
    with pytest.raises(MammoError, match=r"made with another unet.*or delete .*stage to train"):
        settled(path, {"unet": "z"}, make)
    path.write_text("{")
    with pytest.raises(MammoError, match="cannot be read and the stage has begun"):
        settled(path, {"unet": "y"}, make)


def test_what_began_without_a_unet_goes_on_without(tmp_path: Path) -> None:
    path = tmp_path / "mined.json"
    settled(path, {"unet": None}, dict)
    (tmp_path / "checkpoints").mkdir()
    assert settled(path, {"unet": "new"}, lambda: pytest.fail("mined again")).regions == {}


# --- draws


def test_hard_negatives_take_their_share_of_the_background(films: Selection) -> None:
    rows = np.flatnonzero(films.background)[:3].astype(np.int64)
    hard = HardNegatives(rows, np.array([[1.0, 2], [3, 4], [5, 6]]), np.arange(3, dtype=np.uint64))
    plain = patch_draws(films, 1, 0, size=60, background_share=0.5)
    mixed = patch_draws(films, 1, 0, size=60, background_share=0.5, hard=hard, hard_share=0.4)
    places = [(draw.x, draw.y) for draw in mixed if draw.label == 0]
    assert len(places) == sum(draw.label == 0 for draw in plain) == 30
    counts = [places.count(point) for point in ((1, 2), (3, 4), (5, 6))]
    assert counts == [4, 4, 4]
    assert places.count((None, None)) == 18
    assert [draw.x for draw in plain if draw.label == 0] == [None] * 30


def test_malignant_films_take_their_share_and_all_come_by_turns(films: Selection) -> None:
    drawn = [film_label_draws(films, 1, e, size=20, malignant_share=0.4) for e in range(4)]
    for draws in drawn:
        assert sum(draw.label for draw in draws) == 8
    assert {draw.row for draws in drawn for draw in draws} == set(range(len(films)))
    assert all((films.pathology[d.row] == "malignant") == d.label for d in drawn[0])


def test_films_of_known_pathology_count_drawn_or_not(films: Selection) -> None:
    assert sample_of(HIDDEN) in films.ids
    assert sample_of(DOUBTFUL) not in films.ids


def test_a_row_is_filled_with_its_own_regions_and_says_which_are_real(films: Selection) -> None:
    row = int(np.flatnonzero(films.background)[0])
    name = str(films.ids[row])
    regions = {name: (FilmRegion(50, 80, 0.9, 1), FilmRegion(40, 60, 0.8, -1))}
    draw = RegionDraws(film_draws(films), regions, 4)[row]._replace(label=1)
    image = np.random.default_rng(1).integers(1, 60_000, (160, 120)).astype(np.uint16)
    made = RegionTransform(20.0, 32, 4)(draw, image, None)
    assert made["present"].tolist() == [1, 1, 0, 0]
    assert made["known"].tolist() == [1, 0, 0, 0]
    assert made["target"].tolist() == [1, 0, 1, 0]
    assert np.array_equal(made["image"][0], made["image"][2])
    assert made["film_known"] == 1
    missed = draw._replace(regions=((50.0, 80.0, 0), (40.0, 60.0, 0)))
    made = RegionTransform(20.0, 32, 4)(missed, image, None)
    assert (made["film"], made["film_known"]) == (1, 0)
    assert (made["known"] == [1, 1, 0, 0]).all()


# --- the stages


def test_classify_needs_a_finished_unet(
    corpus: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["classify", "--data", corpus, "--work", str(tmp_path), "--preset", "smoke"]) == 2
    assert "holds no finished one: train it first" in " ".join(capsys.readouterr().err.split())


def test_a_val_split_of_one_kind_is_refused_at_once(tmp_path: Path) -> None:
    kept = [f for f in tiny_films(20) if f.split != "val" or f.label == "malignant"]
    write_corpus(str(tmp_path), kept)
    with pytest.raises(UsageError, match="classify: the val split needs a malignant film and one"):
        open_classify(schemas.open(str(tmp_path)), resolve_config("smoke"), workers=0)


def test_files_name_every_film_and_are_made_alike_twice(
    trained: Path, corpus: str, tmp_path: Path
) -> None:
    files = {"pretrain-classifier": "mined.json", "classify": "proposals.json"}
    shutil.copytree(trained / "stages" / "segment", tmp_path / "stages" / "segment")
    config = resolve_config("smoke", None, base=saved_config(trained))
    opened = schemas.open(corpus)
    from mammo_train.runtime.cpu import CpuRuntime

    for open_one in (open_classifier, open_classify):
        stage = open_one(opened, config, workers=0)
        stage.start(tmp_path, lambda: CpuRuntime("fp32"))
        file = Path("stages") / stage.name / files[stage.name]
        assert (tmp_path / file).read_bytes() == (trained / file).read_bytes()
    proposed = json.loads((trained / "stages/classify/proposals.json").read_text())["films"]
    both = {*stage.selections.train.ids.tolist(), *stage.selections.val.ids.tolist()}
    assert set(proposed) == both
    mined = json.loads((trained / "stages/pretrain-classifier/mined.json").read_text())["films"]
    complete = stage.selections.train.ids[stage.selections.train.background].tolist()
    assert mined
    assert set(mined) <= {*complete, sample_of(DOUBTFUL)}


def saved_config(work: Path) -> dict[str, Any]:
    from mammo_train.config import load_config

    return load_config(work / "config.yaml").model_dump(exclude_none=True)


def test_films_are_told_apart_end_to_end(trained: Path, corpus: str, tmp_path: Path) -> None:
    place = ["--data", corpus, "--work", str(trained), "--workers", "0"]
    assert main(["evaluate", *place, "--output", str(tmp_path), "--pictures", "0"]) == 0
    found = json.loads((tmp_path / "metrics.json").read_text())
    films = found["films"]
    assert "by classify, noisy-or over the regions that the U-Net proposes" in films["score"]
    test = [film for film in tiny_films(20) if film.split == "test"]
    area = films["outcome"]["films"]["auroc"]
    malignant = sum(film.label == "malignant" for film in test)
    assert area["counts"]["positives"] == malignant
    assert area["counts"]["negatives"] == len(test) - malignant
    assert area["value"] >= 0.9
    assert found["classify"]["temperature"] > 0
    assert found["classify"]["regions"] >= len(test)


def start(stage: str, corpus: str, work: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "mammo_train.cli", stage, "--data", corpus]
    command += ["--work", str(work), "--workers", "0", "--precision", "fp32"]
    quiet = subprocess.DEVNULL
    return subprocess.Popen(command, cwd=ROOT, env={**os.environ}, stdout=quiet, stderr=quiet)


def without(trained: Path, stage: str, work: Path) -> None:
    """Copy a run directory as it was before a stage."""
    kept = STAGES[: STAGES.index(stage)]
    shutil.copy(trained / "config.yaml", work / "config.yaml")
    for name in kept:
        shutil.copytree(trained / "stages" / name, work / "stages" / name)


@pytest.mark.parametrize("stage", STAGES[1:])
def test_killed_and_resumed_the_losses_are_bitwise_the_same(
    trained: Path, corpus: str, tmp_path: Path, stage: str
) -> None:
    without(trained, stage, tmp_path)
    steps = random.randint(2, len(losses(trained, stage)) - 4)
    with start(stage, corpus, tmp_path) as process:
        for _ in range(6000):
            if len(losses(tmp_path, stage)) >= steps or process.poll() is not None:
                break
            time.sleep(0.02)
        process.kill()
    assert process.returncode == -9, "the run ended before it could be killed"
    place = ["--data", corpus, "--work", str(tmp_path), "--workers", "1"]
    assert main([stage, *place, "--precision", "fp32"]) == 0
    assert losses(tmp_path, stage) == losses(trained, stage), f"killed after {steps} steps"


def test_another_unet_is_refused_once_films_are_learnt(
    trained: Path, corpus: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    work = tmp_path / "work"
    shutil.copytree(trained, work)
    state = next((work / "stages/segment/checkpoints").glob("best-*")) / "state.json"
    state.unlink()  # the newest checkpoint takes its place
    newest = sorted((work / "stages/segment/checkpoints").glob("step-*"))[-1]
    changed = json.loads((newest / "state.json").read_text())
    other = newest / "model.safetensors"
    tensors = other.read_bytes()
    other.write_bytes(tensors[:-4] + b"\0\0\0\0")
    import hashlib

    changed["sha256"]["model.safetensors"] = hashlib.sha256(other.read_bytes()).hexdigest()
    (newest / "state.json").write_text(json.dumps(changed))
    assert main(["classify", "--data", corpus, "--work", str(work), "--workers", "0"]) == 1
    assert "made with another unet" in " ".join(capsys.readouterr().err.split())


# --- xla

PROGRAM = """
import json, shutil, sys, torch
from pathlib import Path
import schemas
import mammo_train.tracking as tracking
from mammo_train.config import load_config, resolve_config
from mammo_train.engine import train
from mammo_train.runtime import open_runtime
from mammo_train.stages import open_stage
from mammo_train.tracking import read_metrics

import torchvision.models
from torchvision.models.resnet import BasicBlock, ResNet

torch.set_num_threads(1)
# Half of ResNet-18 has all of its operations and takes half as long to compile.
def half(weights=None, **rest):
    return ResNet(BasicBlock, [1, 1, 1, 1], **rest)

torchvision.models.resnet18 = half
kind, data, work = sys.argv[1], sys.argv[2], Path(sys.argv[3])
out = work / "stages"
seen = {}
if kind == "xla":
    from mammo_train.runtime.xla import counters
    plain = tracking.Tracker.train
    def noted(self, step, *rest):
        seen[step] = counters()
        plain(self, step, *rest)
    tracking.Tracker.train = noted
values = load_config(work / "config.yaml").model_dump(exclude_none=True)
for part in ("pretrain_classifier", "classify"):
    values[part] |= {"epochs": 2, "validate_every": 1, "batch_size": 4, "keep_checkpoints": 9,
                     "log_every": 2, "checkpoint_every": 2}
values["pretrain_classifier"] |= {"draws_per_epoch": 23}
values["classify"] |= {"films_per_epoch": 23}
config = resolve_config("smoke", None, base=values)
corpus, found = schemas.open(data), {}

def losses(folder):
    return [float(row["loss"]) for row in read_metrics(folder / "metrics.csv")
            if row["kind"] == "train"]

for name in ("pretrain-classifier", "classify"):
    seen.clear()
    if name == "classify" and len(sys.argv) > 4:  # both begin from one device's weights
        shutil.rmtree(out / "pretrain-classifier")
        shutil.copytree(sys.argv[4], out / "pretrain-classifier")
    def ready():
        stage = open_stage(name, corpus, config, workers=0)
        stage.start(work, lambda: open_runtime(kind, "fp32"))
        return stage
    train(ready(), open_runtime(kind, "fp32"), out / name, bar=False)
    found[name] = {"losses": losses(out / name), "seen": dict(seen)}
    again = work / f"{name}-again"
    shutil.copytree(out / name, again)
    (again / "done.json").unlink()
    for path in sorted((again / "checkpoints").glob("step-*"))[2:]:
        shutil.rmtree(path)
    train(ready(), open_runtime(kind, "fp32"), again, bar=False)
    found[name]["again"] = losses(again)
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def pair(
    trained: Path, corpus: str, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, Any], dict[str, Any]]:
    if importlib.util.find_spec("torch_xla") is None:
        if os.environ.get("REQUIRE_XLA") == "1":
            pytest.fail("REQUIRE_XLA=1, but torch_xla is not installed")
        pytest.skip("torch_xla is not installed: XLA was NOT tested (pip install '.[tpu]')")
    env = {**os.environ, "PJRT_DEVICE": "CPU", "OMP_NUM_THREADS": "1", "CPU_NUM_DEVICES": "1"}
    found, first = [], []
    for kind in ("xla", "cpu"):
        work = tmp_path_factory.mktemp(kind)
        without(trained, "pretrain-classifier", work)
        command = [sys.executable, "-c", PROGRAM, kind, corpus, str(work), *first]
        done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True,
                              timeout=900, check=False)  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
        found.append(json.loads(done.stdout.splitlines()[-1]))
        first = [str(work / "stages" / "pretrain-classifier")]
    return found[0], found[1]


@pytest.mark.parametrize("stage", STAGES[1:])
class TestXla:
    def test_losses_are_those_of_the_cpu(self, stage: str, pair: Any) -> None:
        xla, cpu = (side[stage]["losses"] for side in pair)
        assert len(xla) == len(cpu) == 12
        assert xla[0] == pytest.approx(cpu[0], rel=1e-3, abs=1e-5)

    def test_no_operation_falls_to_the_host_but_reading_the_loss(
        self, stage: str, pair: Any
    ) -> None:
        seen = pair[0][stage]["seen"]
        fallen = {
            name: count - seen["2"].get(name, 0)
            for name, count in seen["12"].items()
            if name.startswith("aten::")
        }
        assert set(fallen) <= {"aten::_local_scalar_dense"}
        assert fallen.get("aten::_local_scalar_dense", 0) <= 10

    def test_nothing_is_compiled_after_warm_up(self, stage: str, pair: Any) -> None:
        seen = pair[0][stage]["seen"]
        assert seen["6"]["UncachedCompile"] == seen["4"]["UncachedCompile"]
        # Step 8 stands after a validation, which compiles its own graph once.
        assert seen["12"]["UncachedCompile"] == seen["8"]["UncachedCompile"]

    def test_a_resumed_run_has_the_same_losses(self, stage: str, pair: Any) -> None:
        for side, tolerance in zip(pair, (1e-6, 0), strict=True):
            found = side[stage]
            assert found["again"] == pytest.approx(found["losses"], rel=tolerance, abs=tolerance)
