"""Runtimes: what they refuse, and that choosing a precision leaves the model as it was."""

from __future__ import annotations

import importlib.metadata
import sys

import pytest
import torch

from mammo_train.models.unet import UNet
from mammo_train.runtime import check_trio, open_runtime
from mammo_train.runtime.cpu import CpuRuntime
from schemas.errors import UsageError


def pretend(monkeypatch: pytest.MonkeyPatch, versions: dict[str, str | None]) -> None:
    def version(name: str) -> str:
        found = versions.get(name)
        if found is None:
            raise importlib.metadata.PackageNotFoundError(name)
        return found

    monkeypatch.setattr(importlib.metadata, "version", version)


@pytest.mark.parametrize(
    ("torch_version", "vision", "xla"),
    [
        ("2.9.1+cu128", "0.24.1", "2.9.0"),
        ("2.13.0+cpu", "0.28.0", None),
        ("2.14.1+cu130", "0.29.1", None),
    ],
)
def test_versions_that_belong_together_pass(
    monkeypatch: pytest.MonkeyPatch, torch_version: str, vision: str, xla: str | None
) -> None:
    pretend(monkeypatch, {"torch": torch_version, "torchvision": vision, "torch_xla": xla})
    check_trio()


@pytest.mark.parametrize(
    ("torch_version", "vision", "xla", "words"),
    [
        ("2.13.0+cpu", "0.24.1", None, r"torch 2\.13\.0\+cpu needs torchvision 0\.28, found 0\.24"),
        ("2.13.0+cpu", "0.28.0", "2.9.0", r"torch_xla 2\.9\.0 needs the same torch, found 2\.13"),
        (None, "0.24.1", None, r"torch is not installed: pip install 'mammo-corpus\[train\]'"),
        ("2.9.1", None, None, "torchvision is not installed"),
    ],
)
def test_versions_that_cannot_work_are_named_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch,
    torch_version: str | None,
    vision: str | None,
    xla: str | None,
    words: str,
) -> None:
    pretend(monkeypatch, {"torch": torch_version, "torchvision": vision, "torch_xla": xla})
    with pytest.raises(UsageError, match=words):
        check_trio()


def test_xla_without_torch_xla_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch_xla", None)
    with pytest.raises(UsageError, match=r"needs torch_xla: pip install 'mammo-corpus\[tpu\]'"):
        open_runtime("xla")


def test_the_probe_chooses_a_precision_and_leaves_the_model_as_it_was() -> None:
    model = UNet(4, 2)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    runtime = CpuRuntime()
    runtime.prepare(model, torch.rand(2, 1, 16, 16))
    assert runtime.precision in {"fp32", "bf16"}
    assert "--precision chooses" in runtime.describe()
    after = model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_chosen_precision_is_not_probed(precision: str) -> None:
    runtime = CpuRuntime(precision)  # type: ignore[arg-type]
    model = runtime.prepare(UNet(4, 2), torch.rand(1, 1, 16, 16))
    assert runtime.probe is None
    with runtime.autocast():
        assert (model(torch.rand(1, 1, 16, 16)).dtype == torch.bfloat16) == (precision == "bf16")


def test_bf16_and_fp32_agree_on_the_loss_of_a_step() -> None:
    torch.manual_seed(0)
    model, image = UNet(8, 3).train(), torch.rand(4, 1, 32, 32)
    losses = []
    for precision in ("fp32", "bf16"):
        with CpuRuntime(precision).autocast():  # type: ignore[arg-type]
            losses.append(float(model(image).detach().float().square().mean()))
    assert losses[0] == pytest.approx(losses[1], rel=2e-2)
