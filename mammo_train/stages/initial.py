"""First weights of a stage: those of an earlier one, a file's, or fresh ones.

A choice is ``auto`` (the best checkpoint of the first of some stages that is trained to its end in
the run directory), ``none``, or the path of a safetensors file whose tensors have the U-Net's
names. What the weights are is part of a stage's fingerprint, so a run never goes on from others.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from torch import Tensor, nn

from mammo_train import checkpoint
from schemas.errors import MammoError, UsageError

__all__ = ["FEEDERS", "SCRATCH", "Initial", "find_initial", "refuse_late_feeders"]

FEEDERS: Mapping[str, tuple[str, ...]] = {
    "pretrain-autoencoder": ("pretrain-encoder",),
    "segment": ("pretrain-autoencoder", "pretrain-encoder"),
}
"""From which stages a stage begins by ``auto``, the best first."""

ENCODER = "down."
PARTS = (ENCODER, "up.", "merge.")  # the head has learnt another question


@dataclass(frozen=True)
class Initial:
    """Where a stage begins.

    Parameters
    ----------
    origin
        ``scratch``, the name of a stage, or ``file``.
    digest
        SHA-256 (hex) of the file; empty for fresh weights.
    place
        Path of the file, for people.
    """

    origin: str
    digest: str = ""
    place: str = ""
    tensors: Mapping[str, Tensor] = field(default_factory=dict, repr=False, compare=False)

    @property
    def word(self) -> str:
        """Origin and digest, for a fingerprint."""
        return f"{self.origin} {self.digest}".strip()

    def encoder(self) -> Initial:
        """Leave the decoder fresh."""
        kept = {name: value for name, value in self.tensors.items() if name.startswith(ENCODER)}
        return replace(self, tensors=kept)

    def sentence(self, stage: str) -> str:
        """Say where the stage begins."""
        if not self.tensors:
            return f"{stage} starts from scratch"
        parts = (
            "encoder and decoder" if any(n.startswith("up.") for n in self.tensors) else "encoder"
        )
        return f"{stage} starts with the {parts} of {self.place} (SHA-256 {self.digest[:12]})"

    def load(self, model: nn.Module) -> nn.Module:
        """Copy the weights that the model has a place for, and give it back.

        Raises
        ------
        UsageError
            A tensor has another shape: the widths differ.
        """
        own = model.state_dict()
        for name, tensor in self.tensors.items():
            if name not in own or own[name].shape != tensor.shape:
                shape = list(own[name].shape) if name in own else "no place"
                raise UsageError(
                    f"{self.place}: {name} is {list(tensor.shape)} and the network has {shape} for "
                    f"it: give the --segment.base-channels, --segment.levels and --segment.norm "
                    f"that it was trained with, or --segment.initial none"
                )
        model.load_state_dict({**own, **self.tensors})
        return model


SCRATCH = Initial("scratch")


def find_initial(choice: str, work: Path, stage: str) -> Initial:
    """Resolve a stage's choice of first weights.

    Raises
    ------
    UsageError
        The file that was named is not there, or holds no U-Net.
    MammoError
        A finished stage has no readable checkpoint.
    """
    if choice == "none":
        return SCRATCH
    if choice != "auto":
        return _of_file(Path(choice), "file")
    for name in FEEDERS[stage]:
        folder = work / "stages" / name
        if (folder / "done.json").is_file():
            return _of_file(_best(folder / "checkpoints"), name)
    return SCRATCH


def _best(folder: Path) -> Path:
    for path in [*checkpoint.saved(folder, "best"), *checkpoint.saved(folder)]:
        file = path / "model.safetensors"
        try:
            named = json.loads((path / "state.json").read_text())["sha256"]["model.safetensors"]
            if hashlib.sha256(file.read_bytes()).hexdigest() == named:
                return file
        except (OSError, ValueError, KeyError):
            continue
    raise MammoError(
        f"none of the checkpoints in {folder} can be read: train that stage again, or give "
        f"--segment.initial none"
    )


def _of_file(file: Path, origin: str) -> Initial:
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        data = file.read_bytes()
        tensors = load(data)
    except OSError as error:
        raise UsageError(
            f"initial {file}: {error.strerror or error}; give auto, none, or a safetensors file"
        ) from None
    except SafetensorError as error:
        raise UsageError(f"initial {file} is no safetensors file: {error}") from None
    chosen = {name: value for name, value in tensors.items() if name.startswith(PARTS)}
    if not any(name.startswith(ENCODER) for name in chosen):
        raise UsageError(
            f"initial {file} holds no tensor of a U-Net's encoder (their names begin with down.): "
            f"give a checkpoint's model.safetensors"
        )
    return Initial(origin, hashlib.sha256(data).hexdigest(), str(file), chosen)


def refuse_late_feeders(names: Sequence[str], work: Path) -> None:
    """Refuse to train what a stage begins from after that stage has begun without it.

    Raises
    ------
    UsageError
        With what to do: the stage's first weights would change, so it could not go on.
    """
    for name, feeders in FEEDERS.items():
        begun = (work / "stages" / name / "checkpoints").is_dir()
        late = [
            f for f in feeders if f in names and not (work / "stages" / f / "done.json").is_file()
        ]
        fed = any((work / "stages" / f / "done.json").is_file() for f in feeders)
        if name in names and begun and late and not fed:
            others = ",".join(other for other in names if other not in feeders)
            raise UsageError(
                f"{name} has begun in {work} without {late[0]}, which would be trained first now: "
                f"give --stages {others}, or another --work"
            )
