"""torchvision's ResNet-18 and ResNet-50 (He et al. 2015, arXiv:1512.03385) for one-channel patches.

Classes are background 0, benign 1, malignant 2: "no lesion" and "benign lesion" are kept apart.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Literal, cast

import torch
from torch import Tensor, nn

from schemas.errors import UsageError

__all__ = ["CLASSES", "load_torchvision_weights", "patch_classifier", "weights_digest"]

CLASSES = ("background", "benign", "malignant")


def patch_classifier(
    weights: Path | None = None, *, depth: Literal[18, 50] = 18, width: float = 1.0
) -> nn.Module:
    """Build the classifier: (N, 1, S, S) float patches to (N, 3) logits.

    Parameters
    ----------
    weights
        A state dict in torchvision's layout of that ResNet (keys ``conv1.weight``,
        ``layer1.0.conv1.weight`` ...) to start from; three input channels are summed to one, which
        is what a grey picture repeated over three channels would give, and ``fc`` is left out.
    depth
        Layers.
    width
        Share of torchvision's channels in every layer: half of them is a quarter of the weights.

    Raises
    ------
    UsageError
        The weights do not fit, or are those of another width.
    """
    from torchvision.models import resnet18, resnet50  # type: ignore[import-untyped]

    build = {18: resnet18, 50: resnet50}[depth]
    model: nn.Module = build(weights=None, num_classes=len(CLASSES))
    if width != 1:
        _narrow(model, width)
        features = cast("nn.Linear", model.fc).in_features
        model.fc = nn.Linear(round(width * features), len(CLASSES))
    model.conv1 = _drawn(
        nn.Conv2d(1, round(width * 64), kernel_size=7, stride=2, padding=3, bias=False)
    )
    if weights is not None:
        load_torchvision_weights(model, weights, depth=depth)
    return model


def _drawn(conv: nn.Conv2d) -> nn.Conv2d:
    """Draw the weights as torchvision's ResNet does."""
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    return conv


def _narrow(module: nn.Module, width: float) -> None:
    for name, child in module.named_children():
        if isinstance(child, nn.Conv2d):
            narrow = nn.Conv2d(
                max(1, round(width * child.in_channels)),
                round(width * child.out_channels),
                kernel_size=child.kernel_size,  # type: ignore[arg-type]
                stride=child.stride,  # type: ignore[arg-type]
                padding=child.padding,  # type: ignore[arg-type]
                bias=False,
            )
            setattr(module, name, _drawn(narrow))
        elif isinstance(child, nn.BatchNorm2d):
            setattr(module, name, nn.BatchNorm2d(round(width * child.num_features)))
        else:
            _narrow(child, width)


def load_torchvision_weights(model: nn.Module, path: Path, *, depth: int = 18) -> None:
    """Copy a torchvision ResNet state dict into `model`, all but ``fc``.

    Raises
    ------
    UsageError
        The file is missing, is no state dict, or lacks or misshapes a tensor.
    """
    state = {name: value for name, value in _read(path).items() if not name.startswith("fc.")}
    first = state.get("conv1.weight")
    if first is not None and first.ndim == 4 and first.shape[1] == 3:
        state["conv1.weight"] = first.sum(dim=1, keepdim=True)
    own = {name: value for name, value in model.state_dict().items() if not name.startswith("fc.")}
    for name, value in own.items():
        found = state.get(name)
        if found is None or found.shape != value.shape:
            got = "nothing" if found is None else f"shape {tuple(found.shape)}"
            raise UsageError(
                f"weights {path}: tensor {name} should have shape {tuple(value.shape)} and is "
                f"{got}; give a state dict of torchvision's resnet{depth}"
            )
    model.load_state_dict({name: state[name] for name in own}, strict=False)


def weights_digest(path: Path | None) -> str | None:
    """Give the SHA-256 (hex) of a file of weights, None where there is no such file."""
    if path is None or not path.is_file():
        return None
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read(path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return dict(load_file(path))
        # weights_only: a pickle from elsewhere must not be able to run code.
        found = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UsageError(f"no weights at {path}: check the path") from None
    except Exception as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise UsageError(f"weights {path} cannot be read ({first}): is it a state dict?") from None
    if not isinstance(found, dict) or not all(isinstance(v, Tensor) for v in found.values()):
        raise UsageError(f"weights {path} hold no state dict (name to tensor)")
    return dict(found)
