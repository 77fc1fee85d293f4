"""The self-supervised stages: their losses, that no label moves them, and where weights go on."""

from __future__ import annotations

import itertools
import json
import os
import random
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import schemas
from mammo_train.cli import main
from mammo_train.config import resolve_config
from mammo_train.data.selection import build_selections
from mammo_train.data.views import fixed_views, view_draws
from mammo_train.losses import contrastive_loss, local_contrast, reconstruction_losses
from mammo_train.models.contrastive import ContrastiveEncoder
from mammo_train.models.unet import UNet
from mammo_train.stages import open_autoencoder, open_encoder, open_segment
from mammo_train.stages.pretrain_encoder import nearest_is_partner, probe
from mammo_train.tracking import read_metrics
from schemas.errors import UsageError
from tests.train.corpus import TinyFilm, sample_of, tiny_films, with_row, write_corpus

ROOT = Path(__file__).parents[2]
STAGES = ("pretrain-encoder", "pretrain-autoencoder")
NETWORK = ["--segment.base-channels", "4", "--segment.levels", "3"]


def quick(epochs: int = 3) -> list[str]:
    """Give options of a run of seconds: six batches an epoch at most."""
    words = ["--preset", "smoke", "--precision", "fp32", *NETWORK]
    for stage in STAGES:
        for option, value in {
            "epochs": epochs, "validate-every": epochs, "batch-size": 4, "tile-height": 48,
            "tile-width": 48, "checkpoint-every": 2, "log-every": 1,
        }.items():  # fmt: skip
            words += [f"--{stage}.{option}", str(value)]
    return words


SEGMENT = ["--segment.epochs", "1", "--segment.tile-height", "48", "--segment.tile-width", "48",
           "--segment.validate-every", "1", "--segment.log-every", "1"]  # fmt: skip


def breasts(films: list[TinyFilm]) -> list[TinyFilm]:
    """Give each film a second projection of the same breast in the same examination."""
    views = []
    for film in films:
        visit = {"exam_id": f"exam-{film.patient}", "laterality": film.key[-1]}
        views.append(with_row(film, **visit, view="MLO"))
        views.append(with_row(replace(film, key=f"{film.key}cc"), **visit, view="CC"))
    return views


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> str:
    root = str(tmp_path_factory.mktemp("corpus"))
    write_corpus(root, breasts(tiny_films(10)))
    return root


def losses(work: Path, stage: str) -> list[tuple[int, str]]:
    rows = read_metrics(work / "stages" / stage / "metrics.csv")
    return [(int(row["step"]), row["loss"]) for row in rows if row["kind"] == "train"]


def train(stages: str, corpus: str, work: Path, *more: str, epochs: int = 3) -> int:
    place = ["--data", corpus, "--work", str(work), "--workers", "0"]
    return main(["run", "--stages", stages, *place, *quick(epochs), *SEGMENT, *more])


@pytest.fixture(scope="module")
def trained(corpus: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    work = tmp_path_factory.mktemp("work")
    assert train("segment,pretrain-encoder,pretrain-autoencoder", corpus, work) == 0
    return work


# --- losses ---------------------------------------------------------------------------------


def by_hand(z: np.ndarray, groups: list[int], temperature: float) -> float:
    """NT-Xent with loops, after equation 1 of Chen et al. 2020 and equation 2 of Khosla et al."""
    unit = z / np.linalg.norm(z, axis=1, keepdims=True)
    found = []
    for i in range(len(z)):
        others = [k for k in range(len(z)) if k != i]
        below = sum(np.exp(unit[i] @ unit[k] / temperature) for k in others)
        partners = [k for k in others if groups[k] == groups[i]]
        terms = [-np.log(np.exp(unit[i] @ unit[k] / temperature) / below) for k in partners]
        if terms:
            found.append(float(np.mean(terms)))
    return float(np.mean(found))


@pytest.mark.parametrize(
    "groups", [[0, 0, 1, 1, 2, 2], [0, 0, 0, 0, 1, 1], [0, 0, 1, 2, 3, 3]],
    ids=["two views", "four views of a breast", "views without partner"],
)  # fmt: skip
def test_the_contrastive_loss_is_that_of_the_papers(groups: list[int]) -> None:
    z = np.random.default_rng(0).normal(size=(6, 8))
    loss = contrastive_loss(
        torch.from_numpy(z), torch.tensor(groups), torch.ones(6), temperature=0.3
    )
    assert float(loss) == pytest.approx(by_hand(z, groups, 0.3), rel=1e-5)


def test_padding_is_nobodys_negative_and_gets_no_gradient() -> None:
    z = torch.from_numpy(np.random.default_rng(1).normal(size=(8, 8))).requires_grad_()
    group = torch.tensor([0, 0, 1, 1, 2, 2, 2, 2])
    weight = torch.tensor([1.0, 1, 1, 1, 1, 1, 0, 0])
    loss = contrastive_loss(z, group, weight, temperature=0.05)
    alone = contrastive_loss(z[:6], group[:6], torch.ones(6), temperature=0.05)
    assert loss.item() == pytest.approx(alone.item(), rel=1e-6)
    loss.backward()
    assert z.grad is not None
    assert torch.count_nonzero(z.grad[6:]) == 0
    nobody = contrastive_loss(z[:4], group[:4], torch.zeros(4), temperature=0.05)
    assert nobody.item() == 0


def test_every_film_of_a_batch_has_a_partner_and_negatives(corpus: str) -> None:
    """Views repeat no film and every label is that of two views: unlike one film of 64 copies."""
    config = resolve_config("smoke", {"segment": {"levels": 3}})
    stage = open_encoder(schemas.open(corpus), config, workers=0)
    (batch, *_) = stage.batches(0, 0)
    real = batch["row"][batch["weight"] > 0].tolist()
    assert len(set(real)) == len(real) >= 8
    assert len(set(batch["group"][batch["weight"] > 0].tolist())) == len(real)
    first, second = batch["image"][:, 0], batch["image"][:, 1]
    assert not torch.equal(first, second)


def test_only_scored_pixels_count_in_the_reconstruction() -> None:
    rng = np.random.default_rng(2)
    image = rng.uniform(0, 4, (2, 1, 8, 8)).astype(np.float32)
    guess = rng.uniform(0, 4, (2, 1, 8, 8)).astype(np.float32)
    scored = np.zeros((2, 1, 8, 8), np.uint8)
    scored[0, 0, 2:5, 3:7] = 1
    found = reconstruction_losses(*(torch.from_numpy(a) for a in (guess, image, scored)))
    truth, given = image[0, 0, 2:5, 3:7].ravel(), guess[0, 0, 2:5, 3:7].ravel()
    a, b = truth - truth.mean(), given - truth.mean()
    cosine = a @ b / (np.linalg.norm(a) * np.linalg.norm(b))
    assert found[0].tolist() == pytest.approx([np.abs(truth - given).mean(), 1 - cosine], rel=1e-4)
    assert found[1].tolist() == [0.0, 1.0]
    guess[scored == 0] = 99.0
    again = reconstruction_losses(*(torch.from_numpy(a) for a in (guess, image, scored)))
    assert torch.equal(again, found)


def test_contrast_is_measured_against_the_breast_around_a_pixel() -> None:
    made = np.random.default_rng(5)
    image = made.uniform(1, 3, (12, 15)).astype(np.float32)
    breast = made.uniform(size=image.shape) > 0.3
    breast[4, 7] = True
    image[~breast] = 0
    found = local_contrast(
        torch.from_numpy(image)[None, None], torch.from_numpy(breast)[None, None], 5
    )
    around = image[2:7, 5:10][breast[2:7, 5:10]]
    expected = (image[4, 7] - around.mean()) / np.sqrt(around.var() + 0.04**2)
    assert float(found[0, 0, 4, 7]) == pytest.approx(expected, abs=1e-4)
    assert (found[0, 0].numpy()[~breast] == 0).all()


def test_contrast_knows_neither_level_nor_gain_and_makes_no_structure_of_flat_tissue() -> None:
    made = torch.Generator().manual_seed(3)
    image = 2 + torch.randn((2, 1, 32, 32), generator=made)
    breast = torch.ones_like(image)
    plain, other = (local_contrast(x, breast, 9) for x in (image, 3 * image + 5))
    assert torch.allclose(plain, other, atol=0.02)
    assert float(plain.std()) == pytest.approx(1, abs=0.1)
    nearly_flat = 2 + 0.001 * torch.randn((1, 1, 32, 32), generator=made)
    assert float(local_contrast(nearly_flat, torch.ones_like(nearly_flat), 9).abs().max()) < 0.15


def test_nearest_views_are_counted() -> None:
    axis = torch.eye(4)
    views = torch.stack([axis[0], axis[0] + 0.1 * axis[1], axis[2], axis[2] + 0.1 * axis[3]])
    assert nearest_is_partner(views, torch.tensor([0, 0, 1, 1])) == 1.0
    assert nearest_is_partner(views, torch.tensor([0, 1, 0, 1])) == 0.0


def test_the_probe_finds_what_is_in_the_features_and_nothing_else() -> None:
    rng = np.random.default_rng(3)
    words = np.array(["malignant", "benign", "normal", "normal"] * 30)
    noise = rng.normal(size=(120, 6)).astype(np.float32)
    told = noise.copy()
    told[:, 0] += 4.0 * (words == "malignant")
    assert probe(told[:60], words[:60], told[60:], words[60:]) > 0.95
    assert 0.25 < probe(noise[:60], words[:60], noise[60:], words[60:]) < 0.75
    assert np.isnan(probe(noise[:60], words[:60], noise[60:], np.array(["normal"] * 60)))


@pytest.mark.parametrize("base", [32, 64])
def test_the_head_is_small_whatever_the_image(base: int) -> None:
    model = ContrastiveEncoder(base, 5)
    assert sum(p.numel() for p in model.project.parameters()) < 2e6


# --- selection and order ----------------------------------------------------------------------


def relabelled(films: list[TinyFilm]) -> list[TinyFilm]:
    """Deal the labels out anew: other pathology, basis and annotation on the same pictures."""
    words = ["malignant", "normal", "benign", "unknown"]
    bases = ["birads", "implied", "reader", "biopsy"]
    kinds = ["complete", "partial"]
    return [
        with_row(film, pathology=words[n % 4], label_basis=bases[n % 3], annotation=kinds[n % 2])
        for n, film in enumerate(films)
    ]


def test_other_labels_change_neither_selection_nor_losses(
    trained: Path, corpus: str, tmp_path: Path
) -> None:
    other = str(tmp_path / "corpus")
    write_corpus(other, relabelled(breasts(tiny_films(10))))
    for stage in STAGES:
        one, two = (build_selections(schemas.open(root), stage) for root in (corpus, other))
        assert [part.digest for part in one] == [part.digest for part in two]
        assert [len(part) for part in two] == [24, 8, 8]  # all films, implied normals too
    assert train(",".join(STAGES), other, tmp_path / "work") == 0
    for stage in STAGES:
        assert losses(tmp_path / "work", stage) == losses(trained, stage)


def test_of_two_pictures_of_an_exposure_the_first_is_taken_whatever_its_annotation(
    tmp_path: Path,
) -> None:
    films = [
        with_row(replace(film, annotation=kind), pair_key=f"pair-{film.patient}")
        for film, kind in zip(tiny_films(10), ["none", "complete"] * 10, strict=True)
    ]
    write_corpus(str(tmp_path), films)
    chosen = build_selections(schemas.open(str(tmp_path)), "pretrain-encoder")
    wanted = sorted(sample_of(film) for film in films if film.key.endswith("L"))
    assert sorted(name for part in chosen for name in part.ids.tolist()) == wanted


def test_the_views_of_a_breast_come_together_and_are_partners(corpus: str) -> None:
    config = resolve_config("smoke", {"pretrain_encoder": {"positives": "breast", "batch_size": 8}})
    stage = open_encoder(schemas.open(corpus), config, workers=0)
    train = stage.selections.train
    for epoch in range(2):
        for batch in stage.batches(epoch, 0):
            names = train.breast[batch["row"].numpy()]
            assert all(count == 2 for count in np.unique(names, return_counts=True)[1])
            for one, group in zip(names, batch["group"].tolist(), strict=True):
                same = batch["group"] == group
                assert set(names[same.numpy()]) == {one}


def test_every_film_once_an_epoch_in_another_order_each() -> None:
    class Few:
        keys = np.array([5, 1, 9, 7, 3], dtype=np.uint64)
        breast = np.array(["a", "b", "a", "b", "c"])

        def __len__(self) -> int:
            return 5

    few: Any = Few()
    orders = [view_draws(few, 1, epoch).film.tolist() for epoch in range(4)]
    assert all(sorted(order) == list(range(5)) for order in orders)
    assert len({tuple(order) for order in orders}) > 1
    together = [few.breast[view_draws(few, 1, e, breasts=True).film].tolist() for e in range(4)]
    for names in together:
        assert sum(a != b for a, b in itertools.pairwise(names)) == 2
    assert fixed_views(few, 3).film.tolist() == [0, 1, 4]


# --- runs -------------------------------------------------------------------------------------


def start(stage: str, corpus: str, work: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "mammo_train.cli", stage, "--data", corpus]
    command += ["--work", str(work), "--workers", "2", *quick()]
    quiet = subprocess.DEVNULL
    return subprocess.Popen(command, cwd=ROOT, env={**os.environ}, stdout=quiet, stderr=quiet)


@pytest.mark.parametrize("stage", STAGES)
def test_killed_and_resumed_with_other_workers_the_losses_are_bitwise_the_same(
    trained: Path, corpus: str, tmp_path: Path, stage: str
) -> None:
    wanted = losses(trained, stage)
    assert len(wanted) == 18
    if stage == "pretrain-autoencoder":
        first = "stages/pretrain-encoder"
        shutil.copytree(trained / first, tmp_path / first)
    steps = random.randint(2, len(wanted) - 3)
    with start(stage, corpus, tmp_path) as process:
        for _ in range(3000):
            if len(losses(tmp_path, stage)) >= steps or process.poll() is not None:
                break
            time.sleep(0.02)
        process.kill()
    assert process.returncode == -9, "the run ended before it could be killed"
    arguments = ["--data", corpus, "--work", str(tmp_path), "--workers", "1"]
    assert main([stage, *arguments, *quick()]) == 0
    assert losses(tmp_path, stage) == wanted, f"killed after {steps} steps"


def test_weights_go_on_from_stage_to_stage(
    trained: Path, corpus: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = {}
    for name in ("pretrain-autoencoder", "segment"):
        done = json.loads((trained / "stages" / name / "done.json").read_text())
        words[name] = done["fingerprint"]["initial_weights"]
    assert words["pretrain-autoencoder"].startswith("pretrain-encoder ")
    assert words["segment"].startswith("pretrain-autoencoder ")
    config = resolve_config("smoke", {"segment": {"base_channels": 4, "levels": 3}})
    stage = open_autoencoder(schemas.open(corpus), config, workers=0)
    stage.start(trained, lambda: pytest.fail("no network has to run"))
    (best,) = (trained / "stages/pretrain-encoder/checkpoints").glob("best-*")
    encoder, begun = load_file(best / "model.safetensors"), stage.build().state_dict()
    shared = [name for name in encoder if name.startswith("down.")]
    assert len(shared) > 10
    assert all(torch.equal(begun[name], encoder[name]) for name in shared)
    assert "starts with the encoder of" in stage.notes()[0]


def test_a_stage_whose_first_weights_changed_is_refused(
    trained: Path, corpus: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train("segment", corpus, tmp_path) == 0
    assert "segment starts from scratch" in capsys.readouterr().out
    assert train("pretrain-encoder,segment", corpus, tmp_path) == 2
    assert "segment has begun in" in " ".join(capsys.readouterr().err.split())
    assert train("pretrain-encoder", corpus, tmp_path) == 0
    assert train("segment", corpus, tmp_path) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert "made with initial_weights = scratch and this run has pretrain-encoder" in said


def test_first_weights_of_a_file_and_what_is_wrong_with_others(
    corpus: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(1)
    save_file(UNet(4, 3).state_dict(), tmp_path / "unet.safetensors")
    save_file(UNet(8, 3).state_dict(), tmp_path / "wide.safetensors")
    save_file({"fc.weight": torch.zeros(1)}, tmp_path / "other.safetensors")
    (tmp_path / "torn.safetensors").write_bytes(b"torn")
    for name, words in (
        ("wide", "and the network has"),
        ("other", "holds no tensor of a U-Net"),
        ("torn", "is no safetensors file"),
        ("missing", "give auto, none, or a safetensors file"),
    ):
        file = tmp_path / f"{name}.safetensors"
        assert train("segment", corpus, tmp_path / "w", "--segment.initial", str(file)) == 2
        assert words in " ".join(capsys.readouterr().err.split())
    file = tmp_path / "unet.safetensors"
    assert train("segment", corpus, tmp_path / "w", "--segment.initial", str(file)) == 0
    assert "starts with the encoder of" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("parts", "said"), [("encoder", "the encoder of"), ("all", "the encoder and decoder of")]
)
def test_the_decoder_comes_along_where_it_is_asked_for(
    parts: str, said: str, trained: Path, corpus: str
) -> None:
    network = {"base_channels": 4, "levels": 3, "initial_parts": parts}
    config = resolve_config("smoke", {"segment": network})
    stage = open_segment(schemas.open(corpus), config, workers=0)
    stage.start(trained, lambda: pytest.fail("no network has to run"))
    assert f"segment starts with {said}" in stage.notes()[0]
    (best,) = (trained / "stages/pretrain-autoencoder/checkpoints").glob("best-*")
    given, begun = load_file(best / "model.safetensors"), stage.build().state_dict()
    assert torch.equal(begun["down.2.3.weight"], given["down.2.3.weight"])
    for name in ("up.0.weight", "merge.1.3.weight"):
        assert torch.equal(begun[name], given[name]) == (parts == "all")
    assert not torch.equal(begun["head.weight"], given["head.weight"])


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--stages", "pretrain-encodr"], "did you mean pretrain-encoder"),
        (["--stages", STAGES[1], "--pretrain-autoencoder.block-px", "7"], "does not divide a side"),
    ],
)
def test_wrong_calls_end_with_a_sentence(
    more: list[str], words: str, corpus: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "--data", corpus, "--work", str(tmp_path), "--preset", "smoke", *more]) == 2
    assert words in " ".join(capsys.readouterr().err.split())


def test_a_val_split_of_one_film_is_refused_at_once(tmp_path: Path) -> None:
    films = [TinyFilm("a", "a"), TinyFilm("b", "b"), TinyFilm("c", "c", "val")]
    write_corpus(str(tmp_path), films)
    with pytest.raises(UsageError, match="train and val need two films each"):
        open_encoder(schemas.open(str(tmp_path)), resolve_config("smoke"), workers=0)


def test_both_learn_within_seconds(tmp_path: Path) -> None:
    write_corpus(str(tmp_path / "corpus"), tiny_films(10))  # 12 films to learn from: 23 others
    place = ["--data", str(tmp_path / "corpus"), "--work", str(tmp_path), "--workers", "0"]
    words = ["--preset", "smoke", "--precision", "fp32", "--segment.base-channels", "8",
             "--segment.levels", "4", "--segment.norm", "group"]  # fmt: skip
    for stage in STAGES:
        for option, value in {
            "epochs": 40, "validate-every": 40, "batch-size": 12, "tile-height": 48,
            "tile-width": 48, "learning-rate": 3e-3,
        }.items():  # fmt: skip
            words += [f"--{stage}.{option}", str(value)]
    words += ["--pretrain-encoder.temperature", "0.1"]
    assert main(["run", "--stages", ",".join(STAGES), *place, *words]) == 0
    found = {stage: [float(loss) for _, loss in losses(tmp_path, stage)] for stage in STAGES}
    chance = np.log(23)
    assert np.mean(found["pretrain-encoder"][-8:]) < 0.92 * chance
    rebuilt = found["pretrain-autoencoder"]
    assert np.mean(rebuilt[-8:]) < 0.75 * np.mean(rebuilt[:4])
