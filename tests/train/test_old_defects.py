"""Defects of a student prototype of this method that must not come back, each with its test.

| defect | test |
| --- | --- |
| no split: training films shown as results | here: `nobody_who_is_drawn_in_training_is_measured` |
| stored copies without a patient, split at random | `test_data_selection`: a_key_on_two_sides_is_refused; `test_sides`: every_patient_is_tested_in_one_fold..., a_near_duplicate_of_a_tested_film...; here: `a_split_over_stored_copies_would_leak...` |
| sigmoid before softmax: a loss with a floor of 0.63 | here: `the_loss_tells_a_perfect_network...`, `the_loss_gets_below_the_floor...`; `test_models_losses`: loss_works_on_logits..., unet_gives_logits... |
| empty masks: a constant penalty without gradient | `test_models_losses`: empty_masks_teach_to_predict_nothing, a_batch_of_nothing_but_padding... |
| contrastive batch: one film repeated, no partners for the rest | here: `every_film_of_a_contrastive_batch_has_a_partner...` |
| unreadable picture: a crash, or a tensor of zeros as an example | `test_data_loader`: eight_bit_picture_is_refused, wrong_checksum...; here: `a_picture_that_cannot_be_decoded...` |
| processes shuffle each for themselves; one order for all epochs | `test_data_order`: each_epoch_is_another_permutation; `test_data_loader`: rows_of_the_devices_are_the_global_batch, batches_are_the_same_for_any_number_of_workers |
| masks as JPEG; overlays that show pixels of 255 alone | `test_data_loader`: pixels_and_mask_are_those_written; here: `a_prediction_is_drawn_wherever...` |
| a batch size written into the target | `test_data_draws`: last_batch_is_filled_with_weight_zero |
| patch at the mean of all lesions, of unknown millimetres | `test_data_patches`: two_lesions_are_two_patches..., a_lesion_of_so_many_millimetres_has_one_size, patch_beyond_the_film_is_zero_there |
| no lesion counts as benign, even on malignant films | `test_data_patches`: film_without_a_drawn_lesion_never_gets_a_lesion_label; `test_data_selection`: malignant_film_without_outline_gives_no_patch... |
| a network of another name; a learning rate that is ignored | `test_models_losses`: classifier_is_torchvisions_resnet18...; here: `the_learning_rate_asked_for_is_the_one_used` |
| trained on true places, used on predicted ones | here: `the_report_measures_the_classifier_where_it_will_be_used` |
| the model moved in mid-training, the optimiser left behind; weights that never move | here: `saving_and_validating_change_no_step`, `every_weight_is_learnt` |
| the last epoch taken, no validation | here: `the_network_that_is_measured_is_the_best_on_validation` |
| inference in training mode | `test_stages`: films_are_predicted_in_eval_mode...; here: `patches_are_scored_in_eval_mode...` |
| other grey levels at inference; a threshold moved without a word | `test_stages`: the_network_sees_the_same_grey_levels...; here: `the_threshold_is_that_of_validation` |
"""  # noqa: E501

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import schemas
from mammo_train import checkpoint
from mammo_train.cli import main
from mammo_train.config import load_config
from mammo_train.data.draws import film_draws, patch_draws, segment_draws
from mammo_train.data.reading import decode_image
from mammo_train.data.selection import build_selections
from mammo_train.engine import train
from mammo_train.evaluation.metrics import DiceSweep
from mammo_train.evaluation.pictures import PREDICTION, draw_samples, films_to_show
from mammo_train.evaluation.report import evaluate
from mammo_train.evaluation.segmentation import Segmented
from mammo_train.losses import contrastive_loss, patch_loss, region_loss
from mammo_train.models.resnet import patch_classifier
from mammo_train.models.unet import UNet
from mammo_train.runtime import Batch, Runtime
from mammo_train.runtime.cpu import CpuRuntime
from mammo_train.stages import open_segment
from mammo_train.stages.pretrain_classifier import score_patches
from mammo_train.stages.segment import FilmPrediction
from mammo_train.tracking import read_metrics
from schemas.errors import MammoError
from tests.train.corpus import TinyFilm, sample_of, tiny_films, with_row, write_corpus
from tests.train.test_stages import QUICK
from tests.train.tiny import TinyStage, discs


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> str:
    root = str(tmp_path_factory.mktemp("corpus"))
    write_corpus(root, tiny_films(20))
    return root


def test_nobody_who_is_drawn_in_training_is_measured_or_shown(corpus: str) -> None:
    patients = {sample_of(film): film.patient for film in tiny_films(20)}
    drawn = set()
    for stage in ("segment", "pretrain-classifier"):
        chosen = build_selections(schemas.open(corpus), stage).train
        for epoch in range(3):
            draws = segment_draws if stage == "segment" else patch_draws
            made = draws(chosen, 1, epoch)
            drawn |= {patients[made[k].sample_id] for k in range(len(made))}
    test = build_selections(schemas.open(corpus), "evaluate").test
    shown = {patients[str(test.ids[row])] for row in films_to_show(test, 100)}
    assert len(drawn) == 12
    assert shown == {film.patient for film in tiny_films(20) if film.split == "test"}
    assert not drawn & shown


def test_a_split_over_stored_copies_would_leak_and_one_by_patient_keeps_them_together(
    tmp_path: Path,
) -> None:
    # 24 turned copies of each film lie beside it, each with a side of its own.
    sides = ("train", "val", "test")
    copies = [
        with_row(TinyFilm(f"p{p}c{c}", f"p{p}", sides[c % 3]), duplicate_group=f"g{p}")
        for p in range(4)
        for c in range(24)
    ]
    write_corpus(str(tmp_path), copies)
    with pytest.raises(MammoError, match="4 split_key stand on two sides of the split"):
        build_selections(schemas.open(str(tmp_path)), "evaluate")


@pytest.mark.parametrize("share", [0.0025, 0.005, 0.01, 0.02, 0.05])
def test_the_loss_tells_a_perfect_network_from_one_that_finds_nothing(share: float) -> None:
    """Computed for the prototype: 0.6283 against 0.6333 where half a per cent is lesion."""
    side = 200
    target = torch.zeros(1, 1, side, side)
    target.view(-1)[: round(share * side * side)] = 1
    valid, perfect = torch.ones_like(target), (target * 2 - 1) * 30
    nothing = torch.full_like(target, -30.0)
    old = [prototype_loss(torch.cat([1 - s, s], 1), target) for s in (target, target * 0)]
    assert old[1] - old[0] < 0.05 < 0.57 < old[0]
    for kind in ("dice", "iou"):
        good = float(region_loss(perfect, target, valid, kind=kind))  # type: ignore[arg-type]
        bad = float(region_loss(nothing, target, valid, kind=kind))  # type: ignore[arg-type]
        assert good < 1e-4
        assert bad > 0.97


def prototype_loss(sigmoids: torch.Tensor, target: torch.Tensor) -> float:
    """One minus the mean soft IoU of softmax(sigmoid(.)), as the prototype had it."""
    p = torch.softmax(sigmoids, 1)
    truth = torch.cat([1 - target, target], 1)
    common = (p * truth).sum((2, 3))
    return float(1 - (common / (p + truth - p * truth).sum((2, 3))).mean())


def test_the_loss_gets_below_the_floor_and_held_out_films_confirm_it(tmp_path: Path) -> None:
    """A floor of 0.62 hid whether anything was learnt; only held-out films can tell."""
    stage = TinyStage(epochs=5, learning_rate=1e-2, validate_every=5)
    done = train(stage, CpuRuntime("fp32"), tmp_path, bar=False, say=lambda _: None)
    model = stage.build()
    checkpoint.load_model(tmp_path / "checkpoints", model)
    held_out = discs(7)
    with torch.no_grad():
        logits = model.eval()(held_out["image"])
    valid = torch.ones_like(held_out["target"])
    assert float(region_loss(logits, held_out["target"], valid)) < 0.4
    assert done.best > 0.75


def test_every_film_of_a_contrastive_batch_has_a_partner_that_it_is_drawn_to() -> None:
    made = torch.Generator().manual_seed(0)
    films, width = 6, 16
    first = torch.randn(films, width, generator=made)
    second = torch.randn(films, width, generator=made)
    group, weight = torch.arange(films).repeat(2), torch.ones(2 * films)

    def loss(other: torch.Tensor) -> torch.Tensor:
        return contrastive_loss(torch.cat([first, other]), group, weight, temperature=0.05)

    before = float(loss(second))
    for film in range(films):
        closer = second.clone()
        closer[film] = first[film]
        assert float(loss(closer)) < before - 0.1
    # One film in place of all others has nothing to be told from: that is no low loss.
    same = contrastive_loss(first[:1].repeat(2 * films, 1), group, weight, temperature=0.05)
    assert float(same) == pytest.approx(np.log(2 * films - 1), rel=1e-4)


def test_a_picture_that_cannot_be_decoded_ends_with_its_name_and_is_no_example(
    tmp_path: Path,
) -> None:
    write_corpus(str(tmp_path), tiny_films(5))
    store = schemas.open(str(tmp_path)).store
    draw = film_draws(build_selections(schemas.open(str(tmp_path)), "segment").train)[0]
    whole = store.read_range(draw.shard, draw.image_offset, draw.image_size)
    cut = whole[: len(whole) // 2]
    draw = draw._replace(image_size=len(cut), image_crc32c=google_crc32c.value(cut))
    with pytest.raises(MammoError, match=draw.sample_id):
        decode_image(cut, draw)


def test_a_prediction_is_drawn_wherever_it_is_above_the_threshold(
    corpus: str, tmp_path: Path
) -> None:
    opened = schemas.open(corpus)
    test = build_selections(opened, "evaluate").test
    image = torch.full((1, 1, 60, 50), 0.3)
    map_ = np.zeros((60, 50), np.float32)
    map_[20:40, 10:30] = 0.6  # far from 1, above the threshold
    batch = {"row": torch.tensor([0]), "image": image, "scale": torch.ones(1, 2),
             "target": torch.zeros(1, 1, 60, 50, dtype=torch.uint8)}  # fmt: skip
    pixels = []
    for threshold in (0.5, 0.7):
        kept = {0: FilmPrediction(batch, map_)}
        seen = Segmented(DiceSweep(), [], [], [], [], [], np.zeros(len(test)), [], kept)
        path = tmp_path / "samples.png"
        draw_samples(path, seen, test, None, threshold, opened.store, patch_mm=30, rows=[0])
        colour = np.array([int(PREDICTION[i : i + 2], 16) for i in (1, 3, 5)])
        shown = np.asarray(Image.open(path).convert("RGB"), int)
        pixels.append(int((np.abs(shown - colour).max(axis=2) < 30).sum()))
    assert pixels[0] > 100
    assert pixels[1] == 0


@pytest.mark.parametrize("rate", [1e-3, 4e-3])
def test_the_learning_rate_asked_for_is_the_one_used(tmp_path: Path, rate: float) -> None:
    train(TinyStage(epochs=1, learning_rate=rate, validate_every=1), CpuRuntime("fp32"), tmp_path,
          bar=False, say=lambda _: None)  # fmt: skip
    rows = read_metrics(tmp_path / "metrics.csv")
    used = [float(row["learning_rate"]) for row in rows if row["kind"] == "train"]
    assert max(used) == pytest.approx(rate, rel=1e-4)


class Hasty(TinyStage):
    """Its metric is best at the first validation."""

    def validate(self, model: nn.Module, runtime: Runtime) -> Mapping[str, float]:
        self.seen: list[dict[str, torch.Tensor]] = getattr(self, "seen", [])
        self.seen.append({k: v.clone() for k, v in model.state_dict().items()})
        return {"dice": 1.0 / len(self.seen)}


def test_the_network_that_is_measured_is_the_best_on_validation(tmp_path: Path) -> None:
    stage = Hasty(validate_every=1)
    train(stage, CpuRuntime("fp32"), tmp_path, bar=False, say=lambda _: None)
    model = stage.build()
    at = checkpoint.load_model(tmp_path / "checkpoints", model)
    assert at.metrics["dice"] == 1.0
    first, last = stage.seen[0], stage.seen[-1]
    assert all(torch.equal(value, first[name]) for name, value in model.state_dict().items())
    assert any(not torch.equal(value, last[name]) for name, value in model.state_dict().items())


def test_saving_and_validating_change_no_step(tmp_path: Path) -> None:
    losses = []
    for name, options in (("often", {"checkpoint_every": 1, "validate_every": 1}),
                          ("never", {"checkpoint_every": 999, "validate_every": 3})):  # fmt: skip
        train(TinyStage(**options), CpuRuntime("fp32"), tmp_path / name, bar=False,
              say=lambda _: None)  # fmt: skip
        rows = read_metrics(tmp_path / name / "metrics.csv")
        losses.append([row["loss"] for row in rows if row["kind"] == "train"])
    assert losses[0] == losses[1]


@pytest.mark.parametrize("network", ["unet", "resnet"])
def test_every_weight_is_learnt(network: str) -> None:
    torch.manual_seed(0)
    model = UNet(8, 3) if network == "unet" else patch_classifier()
    batch: Batch = discs(1)
    if network == "unet":
        loss = region_loss(model(batch["image"]), batch["target"], torch.ones_like(batch["target"]))
    else:
        target = torch.tensor([0, 1, 2, 0])
        loss = patch_loss(model(batch["image"]), target, batch["weight"])
    loss.backward()  # type: ignore[no-untyped-call]
    # A bias in front of BatchNorm is taken off again by it; networks here have none.
    still = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert not still


def test_patches_are_scored_in_eval_mode_whatever_the_mode_before() -> None:
    model = patch_classifier().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    many = {**discs(2), "target": torch.zeros(4), "row": torch.zeros(4), "lesion": torch.zeros(4)}
    alone = {name: value[:1] for name, value in many.items()}
    together = score_patches(model, CpuRuntime("fp32"), [many]).logits
    model.train()
    single = score_patches(model, CpuRuntime("fp32"), [alone]).logits
    assert single[0] == pytest.approx(together[0], rel=1e-4, abs=1e-5)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


@pytest.fixture(scope="module")
def measured(corpus: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    work = tmp_path_factory.mktemp("work")
    place = ["--data", corpus, "--work", str(work), "--workers", "0"]
    assert main(["run", "--stages", "segment,pretrain-classifier", *place, *QUICK]) == 0
    config = load_config(work / "config.yaml")
    found = evaluate(
        schemas.open(corpus), config, CpuRuntime("fp32"), work, workers=0,
        output=work / "report", pictures=0,
    )  # fmt: skip
    return work, found


def test_the_report_measures_the_classifier_where_it_will_be_used(
    measured: tuple[Path, dict[str, Any]],
) -> None:
    """True places flatter: the report has both, and the film's score is made of the proposed."""
    _, found = measured
    for key in ("true_patches", "proposed_regions"):
        assert "malignant_vs_benign_auroc" in found["classifier"][key]
    marked = sum(bool(film.marks) for film in tiny_films(20) if film.split == "test")
    true = found["classifier"]["true_patches"]["lesion_vs_background_auroc"]["counts"]
    assert true["positives"] == marked
    assert "region" in found["films"]["score"]


def test_the_threshold_is_that_of_validation(
    measured: tuple[Path, dict[str, Any]], corpus: str
) -> None:
    work, found = measured
    stage = open_segment(schemas.open(corpus), load_config(work / "config.yaml"), workers=0)
    model = stage.build()
    at = checkpoint.load_model(work / "stages" / "segment" / "checkpoints", model)
    again = stage.validate(model, CpuRuntime("fp32"))
    assert found["segment"]["threshold"] == at.metrics["threshold"] == again["threshold"]
