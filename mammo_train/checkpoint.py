"""Checkpoints: safetensors for tensors, JSON for the rest, never pickle; each appears at once.

``checkpoints/step-00000200/`` holds ``model.safetensors``, ``optimizer.safetensors`` and
``state.json`` (written last inside a temporary folder, with the SHA-256 of the other two, before
the folder is renamed). The newest k stay, and ``best-00000150`` by the validation metric. What
cannot be read is passed over with a warning and the one before is taken.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mammo_train.averaging import Average
from mammo_train.runtime import Precision
from schemas.errors import MammoError

__all__ = ["Position", "check", "load_model", "model_digest", "restore", "save", "saved"]

FORMAT = 1
_MEAN = "mean:"  # begins the names of the running mean's tensors beside the optimiser's
Loaded = tuple[dict[str, Any], dict[str, Tensor], dict[str, Tensor]]
log = logging.getLogger("mammo_train")


@dataclass(frozen=True, slots=True)
class Position:
    """Where a stage stands: the next batch is number `batch` of `epoch`.

    Attributes
    ----------
    step
        Optimiser steps that are done.
    fingerprint
        What the order of draws depends on (selection digest, order version, seed, config); a
        resumed run must have the same.
    precision
        What the runtime ran in; a resumed run goes on in it.
    metrics
        Of the last validation before this checkpoint.
    best
        Best value of the stage's metric so far.
    stale
        Validations since then.
    licences
        Of the films that the weights learnt from (`mammo_train.licences`).
    """

    step: int = 0
    epoch: int = 0
    batch: int = 0
    fingerprint: Mapping[str, Any] = field(default_factory=dict)
    precision: Precision = "auto"
    metrics: Mapping[str, float] = field(default_factory=dict)
    best: float | None = None
    stale: int = 0
    licences: Mapping[str, Any] = field(default_factory=dict)


def save(
    folder: Path,
    position: Position,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    average: Average | None = None,
    *,
    keep: int,
    best: bool = False,
    host: Callable[[Tensor], Tensor] = Tensor.cpu,
    write: bool = True,
) -> Path:
    """Write ``folder/step-N`` (or ``best-N``) atomically and drop what is older than the newest k.

    Parameters
    ----------
    average
        Running mean of the weights, if one is kept: the best checkpoint holds it as its model,
        because it is what was validated; the others hold both.
    host
        Copies a tensor from the device; the model itself never moves, because on XLA that would
        part the parameters from the optimiser.
    write
        False only copies: on XLA all hosts must, of which the first writes.
    """
    name = f"{'best' if best else 'step'}-{position.step:08d}"
    judged = average.model if best and average else model
    weights = {key: _own(host(value)) for key, value in judged.state_dict().items()}
    moments = _flatten(optimizer, host)
    for key, value in (average.tensors() if average else {}).items():
        moments[f"{_MEAN}{key}"] = _own(host(value))
    target = folder / name
    if not write:
        return target
    place = folder / f".tmp-{name}-{os.getpid()}"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    digests = {
        "model.safetensors": _write_tensors(place / "model.safetensors", weights),
        "optimizer.safetensors": _write_tensors(
            place / "optimizer.safetensors", {**moments, "rng": torch.get_rng_state()}
        ),
    }
    state = {"format": FORMAT, **asdict(position), "sha256": digests}
    _write(place / "state.json", json.dumps(state, indent=1, sort_keys=True).encode())
    if target.exists():
        shutil.rmtree(target)
    place.rename(target)
    _sync(folder)
    for old in saved(folder, "best" if best else "step")[1 if best else keep :]:
        shutil.rmtree(old)
    return target


def saved(folder: Path, kind: str = "step") -> list[Path]:
    """List checkpoints of a kind (``step`` or ``best``), newest first."""
    return sorted(folder.glob(f"{kind}-*"), reverse=True) if folder.is_dir() else []


def restore(
    folder: Path,
    fingerprint: Mapping[str, Any],
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    average: Average | None = None,
    *,
    share: Callable[[Callable[[], Loaded | None]], Loaded | None] = lambda work: work(),
) -> Position:
    """Load the newest readable checkpoint into model, optimiser and running mean.

    Parameters
    ----------
    share
        Reads in one process for all, so that all go on from the same checkpoint wherever it lies.

    Returns
    -------
    Position
        Where to go on; step 0 when there is nothing to resume.

    Raises
    ------
    MammoError
        The checkpoint was made from another selection, order version, seed or config.
    """
    loaded = share(lambda: _newest(folder, fingerprint))
    if loaded is None:
        return Position()
    state, weights, moments = loaded
    model.load_state_dict(weights)
    torch.set_rng_state(moments.pop("rng"))
    mean = {key[len(_MEAN) :]: moments.pop(key) for key in list(moments) if key.startswith(_MEAN)}
    if average is not None:
        average.model.load_state_dict(mean)
    _load_moments(optimizer, moments)
    return _position(state)


def _newest(folder: Path, fingerprint: Mapping[str, Any]) -> Loaded | None:
    for stale in folder.glob(".tmp-*"):
        shutil.rmtree(stale, ignore_errors=True)
    for path in saved(folder):
        try:
            loaded = _read(path)
        except (OSError, ValueError, KeyError) as error:
            log.warning("checkpoint %s cannot be read (%s): taking the one before", path, error)
            continue
        check(path, _position(loaded[0]).fingerprint, fingerprint)
        return loaded
    if saved(folder):
        raise MammoError(
            f"none of the checkpoints in {folder} can be read: delete that folder to start again"
        )
    return None


def load_model(folder: Path, model: nn.Module) -> Position:
    """Load the best checkpoint's weights, or the newest where no validation was better.

    Raises
    ------
    MammoError
        There is no readable checkpoint.
    """
    for path in [*saved(folder, "best"), *saved(folder)]:
        try:
            state, weights, _ = _read(path)
        except (OSError, ValueError, KeyError) as error:
            log.warning("checkpoint %s cannot be read (%s): taking another", path, error)
            continue
        model.load_state_dict(weights)
        return _position(state)
    raise MammoError(f"no checkpoint in {folder}: train first, for example mammo-train run")


def model_digest(folder: Path) -> str | None:
    """Give the SHA-256 (hex) of the weights that `load_model` loads; None if there are none."""
    for path in [*saved(folder, "best"), *saved(folder)]:
        try:
            state, _, _ = _read(path)
        except (OSError, ValueError, KeyError):
            continue
        return str(state["sha256"]["model.safetensors"])
    return None


def check(path: Path, had: Mapping[str, Any], has: Mapping[str, Any]) -> None:
    """Refuse what was made from other data or options than this run has, naming the first."""
    for name in sorted({*had, *has}):
        before, now = had.get(name), has.get(name)
        if json.dumps(before, sort_keys=True) != json.dumps(now, sort_keys=True):
            raise MammoError(
                f"{path} was made with {name} = {_short(before)} and this run has {_short(now)}: "
                f"go on with the same data and options, or give another --work"
            )


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _position(state: Mapping[str, Any]) -> Position:
    names = Position.__dataclass_fields__
    return Position(**{name: value for name, value in state.items() if name in names})


def _read(path: Path) -> Loaded:
    state = json.loads((path / "state.json").read_text())
    if state["format"] != FORMAT:
        raise ValueError(f"format {state['format']}, this version reads {FORMAT}")
    tensors = []
    for name in ("model.safetensors", "optimizer.safetensors"):
        data = (path / name).read_bytes()
        if hashlib.sha256(data).hexdigest() != state["sha256"][name]:
            raise ValueError(f"{name} does not have the SHA-256 that state.json names")
        from safetensors.torch import load

        tensors.append(load(data))
    return state, tensors[0], tensors[1]


def _own(tensor: Tensor) -> Tensor:
    # safetensors stores row-major bytes; channels_last weights must be copied to it.
    return tensor.detach().clone(memory_format=torch.contiguous_format)


def _flatten(
    optimizer: torch.optim.Optimizer, host: Callable[[Tensor], Tensor]
) -> dict[str, Tensor]:
    return {
        f"{index}.{name}": _own(host(torch.as_tensor(value)))
        for index, values in optimizer.state_dict()["state"].items()
        for name, value in values.items()
    }


def _load_moments(optimizer: torch.optim.Optimizer, moments: Mapping[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in moments.items():
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = value
    # The optimiser's own options: another device may step in another way, the rate is the step's.
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})
    for weight, values in optimizer.state.items():
        for name, value in values.items():
            # A fused step goes through memory in order: row-major moments beside channels_last
            # weights would be paired with the wrong ones, without an error.
            if value.shape == weight.shape and value.stride() != weight.stride():
                values[name] = torch.empty_like(weight).copy_(value)


def _write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> str:
    from safetensors.torch import save as encode

    data = encode(dict(tensors))
    _write(path, data)
    return hashlib.sha256(data).hexdigest()


def _write(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
