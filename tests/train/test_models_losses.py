"""Networks by their published sizes; losses against slow versions written out in numpy."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision.models import resnet18

from mammo_train.losses import (
    IGNORE,
    deep_loss,
    patch_loss,
    pixel_loss,
    region_loss,
    segmentation_loss,
)
from mammo_train.models.resnet import load_torchvision_weights, patch_classifier
from mammo_train.models.unet import UNet
from schemas.errors import UsageError


def count(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def test_unet_has_the_parameters_of_the_usual_form() -> None:
    assert count(UNet(32, 5, outputs=2)) == 7_765_442


@pytest.mark.parametrize("norm", ["batch", "group"])
@pytest.mark.parametrize("shape", [(32, 32), (48, 16)])
def test_unet_gives_logits_of_the_image_size(norm: str, shape: tuple[int, int]) -> None:
    logits = UNet(8, 4, norm=norm)(torch.rand(2, 1, *shape))  # type: ignore[arg-type]
    assert logits.shape == (2, 1, *shape)
    # A logit, not a probability: a fresh network leans far below zero, to the rarity of lesions.
    assert float(logits.detach().mean()) < -3


def test_a_deep_unet_has_logits_at_each_level_but_the_deepest() -> None:
    deep, plain = UNet(8, 4, deep=True), UNet(8, 4)
    weights = deep.state_dict()
    plain.load_state_dict({name: weights[name] for name in plain.state_dict()})
    image = torch.rand(2, 1, 32, 48)
    found = deep.pyramid(image)
    assert [tuple(logits.shape[2:]) for logits in found] == [(32, 48), (16, 24), (8, 12)]
    # The same weights otherwise, and inference computes nothing more.
    torch.testing.assert_close(found[0], plain(image), rtol=0, atol=0)
    assert [logits.shape for logits in plain.pyramid(image)] == [(2, 1, 32, 48)]


def test_coarse_levels_count_half_and_keep_small_lesions() -> None:
    target = torch.zeros(1, 1, 8, 8, dtype=torch.uint8)
    target[0, 0, 2, 3] = 1  # one pixel, and beside it in one coarse pixel one that is ignored
    target[0, 0, 2, 2] = IGNORE
    target[0, 0, 6:, 6:] = IGNORE
    seen: list[np.ndarray] = []

    def loss(logits: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
        seen.append(truth.float().numpy()[0, 0])
        return logits.mean()

    levels = [torch.full((1, 1, side, side), value) for side, value in ((8, 1.0), (4, 2.0))]
    assert float(deep_loss(levels, target, loss)) == pytest.approx((1 + 2 / 2) / 1.5)
    want = np.zeros((4, 4))
    want[1, 1], want[3, 3] = 1, IGNORE
    np.testing.assert_array_equal(seen[1], want)


def test_classifier_is_torchvisions_resnet18_but_for_its_ends() -> None:
    # torchvision documents 11,689,512; minus two input channels (2 * 64 * 49) and 997 classes.
    assert count(patch_classifier()) == 11_689_512 - 2 * 64 * 49 - 997 * 513
    assert patch_classifier()(torch.rand(2, 1, 64, 64)).shape == (2, 3)


def test_half_the_channels_are_a_quarter_of_the_weights(tmp_path: Path) -> None:
    torchvisions = [p for name, p in resnet18().named_parameters() if not name.startswith("fc.")]
    inner = [p.numel() // 4 for p in torchvisions[1:] if p.ndim == 4]
    norms = [p.numel() // 2 for p in torchvisions if p.ndim == 1]
    model = patch_classifier(width=0.5)
    assert count(model) == sum(inner) + sum(norms) + 32 * 49 + 257 * 3
    assert model(torch.rand(2, 1, 64, 64)).shape == (2, 3)
    save_file(resnet18().state_dict(), tmp_path / "w.safetensors")
    with pytest.raises(UsageError, match=r"tensor conv1.weight should have shape \(32, 1, 7, 7\)"):
        patch_classifier(tmp_path / "w.safetensors", width=0.5)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_torchvision_weights_start_the_classifier(tmp_path: Path, suffix: str) -> None:
    donor = resnet18(weights=None).eval()
    path = tmp_path / f"weights{suffix}"
    if suffix == ".pth":
        torch.save(donor.state_dict(), path)
    else:
        save_file(donor.state_dict(), path)
    model = patch_classifier(path).eval()
    grey = torch.rand(2, 1, 64, 64)
    want = nn.Sequential(*list(donor.children())[:-1])(grey.repeat(1, 3, 1, 1))
    got = nn.Sequential(*list(model.children())[:-1])(grey)
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        ({"conv1.weight": torch.zeros(64, 3, 7, 7)}, "tensor bn1.weight should have shape"),
        ({"conv1.weight": torch.zeros(8, 3, 7, 7)}, r"conv1.weight should .* is shape \(8, 1"),
    ],
)
def test_other_weights_are_refused_by_tensor(
    tmp_path: Path, tensors: dict[str, torch.Tensor], words: str
) -> None:
    save_file(tensors, tmp_path / "w.safetensors")
    with pytest.raises(UsageError, match=words):
        load_torchvision_weights(patch_classifier(), tmp_path / "w.safetensors")


def test_weights_that_would_run_code_are_refused(tmp_path: Path) -> None:
    class Attack:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (str(tmp_path / "ran"),)

    torch.save({"conv1.weight": Attack()}, tmp_path / "w.pth")
    with pytest.raises(UsageError, match="cannot be read"):
        load_torchvision_weights(patch_classifier(), tmp_path / "w.pth")
    assert not (tmp_path / "ran").exists()


def batch(seed: int = 0, lesion: float = 0.1) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    made = torch.Generator().manual_seed(seed)
    logits = torch.randn(3, 1, 8, 8, generator=made)
    target = (torch.rand(3, 1, 8, 8, generator=made) < lesion).to(torch.uint8)
    return logits, target, torch.ones(3)


def slow_loss(
    logits: np.ndarray, target: np.ndarray, kind: str, gamma: float, lesion: float
) -> float:
    overlap = predicted = truth = entropy = 0.0
    pixels = 0
    for z, t in zip(logits.ravel().tolist(), target.ravel().tolist(), strict=True):
        if t == 255:
            continue
        p = 1 / (1 + np.exp(-z))
        overlap += p * t
        predicted += p
        truth += t
        entropy -= lesion * (1 - p) ** gamma * np.log(p) if t else p**gamma * np.log(1 - p)
        pixels += 1
    if kind == "dice":
        region = 1 - (2 * overlap + 1) / (predicted + truth + 1)
    else:
        region = 1 - (overlap + 1) / (predicted + truth - overlap + 1)
    return region + entropy / pixels


@pytest.mark.parametrize("kind", ["dice", "iou"])
@pytest.mark.parametrize(("gamma", "lesion"), [(0.0, 1.0), (2.0, 1.0), (0.0, 10.0)])
def test_loss_equals_the_sum_written_out_pixel_by_pixel(
    kind: Literal["dice", "iou"], gamma: float, lesion: float
) -> None:
    logits, target, weight = batch()
    target[0, 0, :3] = IGNORE
    got = segmentation_loss(logits, target, weight, region=kind, gamma=gamma, lesion_weight=lesion)
    want = slow_loss(logits.double().numpy(), target.numpy(), kind, gamma, lesion)
    assert float(got) == pytest.approx(want, rel=1e-5)


def test_loss_works_on_logits_a_certain_network_has_none() -> None:
    # A sigmoid too many would leave a floor of 0.63 here.
    _, target, weight = batch()
    certain = (target.float() * 2 - 1) * 30
    assert float(segmentation_loss(certain, target, weight)) < 1e-3
    assert float(segmentation_loss(-certain, target, weight)) > 10


def test_empty_masks_teach_to_predict_nothing() -> None:
    logits, target, _ = batch(lesion=0.0)
    logits.requires_grad_()
    loss = region_loss(logits, target.float(), torch.ones_like(logits))
    loss.backward()
    assert torch.isfinite(loss)
    assert logits.grad is not None
    assert (logits.grad > 0).all()
    nothing = region_loss(torch.full_like(logits, -30), target.float(), torch.ones_like(logits))
    assert float(nothing) == pytest.approx(0, abs=1e-6)


def test_ignored_pixels_have_no_effect_and_no_gradient() -> None:
    logits, target, weight = batch()
    target[:, :, 2:4] = IGNORE
    changed = logits.clone()
    changed[:, :, 2:4] += 100
    changed.requires_grad_()
    loss = segmentation_loss(changed, target, weight)
    assert float(loss.detach()) == float(segmentation_loss(logits, target, weight))
    loss.backward()
    assert changed.grad is not None
    assert (changed.grad[:, :, 2:4] == 0).all()


def test_padding_samples_have_no_effect() -> None:
    logits, target, weight = batch()
    padded = segmentation_loss(
        torch.cat([logits, torch.full((1, 1, 8, 8), 50.0)]),
        torch.cat([target, torch.zeros(1, 1, 8, 8, dtype=torch.uint8)]),
        torch.tensor([1.0, 1.0, 1.0, 0.0]),
    )
    assert float(padded) == pytest.approx(float(segmentation_loss(logits, target, weight)))


def test_a_batch_of_nothing_but_padding_has_a_finite_loss() -> None:
    logits, target, _ = batch()
    assert torch.isfinite(segmentation_loss(logits, target, torch.zeros(3)))
    assert torch.isfinite(pixel_loss(logits, target, torch.zeros_like(logits)))
    assert float(patch_loss(torch.rand(2, 3), torch.tensor([0, 1]), torch.zeros(2))) == 0


def test_loss_is_float32_when_the_network_ran_in_bf16() -> None:
    logits, target, weight = batch()
    loss = segmentation_loss(logits.bfloat16(), target, weight)
    assert loss.dtype == torch.float32


def test_patch_loss_is_cross_entropy_of_the_samples_with_weight() -> None:
    logits = torch.randn(4, 3, generator=torch.Generator().manual_seed(1))
    target = torch.tensor([0, 1, 2, 0])
    want = nn.CrossEntropyLoss()(logits[:3], target[:3])
    assert float(patch_loss(logits, target, torch.tensor([1.0, 1, 1, 0]))) == pytest.approx(
        float(want)
    )
