"""What a training run is told: typed, frozen, one preset plus what the command line changes.

`RunConfig` holds one model per stage, `mammo_train.presets` the values of ``smoke``, ``small`` and
``base``. `overrides_model` derives from the same classes the model that the
command line fills in, so each field exists once.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model, model_validator

from mammo_train.licences import KEY as LICENCES
from mammo_train.presets import PRESETS
from schemas.errors import UsageError

__all__ = [
    "FREE",
    "PRESETS",
    "ClassifyConfig",
    "PretrainAutoencoderConfig",
    "PretrainClassifierConfig",
    "PretrainEncoderConfig",
    "RunConfig",
    "SegmentConfig",
    "StageConfig",
    "config_changes",
    "load_config",
    "overrides_model",
    "resolve_config",
    "save_config",
]

Preset = Literal["smoke", "small", "base"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class StageConfig(_Frozen):
    """What every stage is told about its optimisation and its checkpoints."""

    epochs: int = Field(default=30, ge=1, description="passes over the training draws")
    batch_size: int = Field(default=8, ge=1, description="samples of one step, over all devices")
    learning_rate: float = Field(default=1e-3, gt=0, description="peak learning rate of AdamW")
    weight_decay: float = Field(default=1e-2, ge=0, description="decoupled weight decay")
    warmup_fraction: float = Field(
        default=0.05, ge=0, lt=1, description="share of all steps with a rising learning rate"
    )
    clip_norm: float = Field(default=1.0, gt=0, description="largest norm of the gradient")
    accumulate: int = Field(
        default=1,
        ge=1,
        description="parts of a batch that go through the network one after another before a step",
    )
    ema_decay: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="decay of the running mean of the weights that is validated; 0 is none",
    )
    early_stop: int = Field(
        default=0,
        ge=0,
        description="validations without a better metric after which a stage ends; 0 is never",
    )
    validate_every: int = Field(default=1, ge=1, description="epochs between two validations")
    checkpoint_every: int = Field(default=200, ge=1, description="steps between two checkpoints")
    keep_checkpoints: int = Field(default=2, ge=1, description="newest checkpoints that are kept")
    log_every: int = Field(default=10, ge=1, description="steps between two reads of the loss")
    blur: float = Field(default=0.0, ge=0, description="largest blur of a draw in pixels")
    elastic: float = Field(default=0.0, ge=0, description="largest bending of a draw in pixels")
    clahe: float = Field(
        default=0.0, ge=0, le=1, description="share of draws with locally equalised contrast"
    )
    marker: float = Field(
        default=0.0, ge=0, le=1, description="share of draws with a film's lead marker in the air"
    )


class PretrainEncoderConfig(StageConfig):
    """The U-Net's encoder by contrast of views; its widths and pixel size are ``segment``'s."""

    blur: float = Field(default=1.0, ge=0, description="largest blur of a view in pixels")
    tile_height: int = Field(default=256, ge=16, multiple_of=16, description="pixels of a view")
    tile_width: int = Field(default=192, ge=16, multiple_of=16, description="pixels of a view")
    positives: Literal["view", "breast"] = Field(
        default="view",
        description="what belongs together: two views of a film, or all of one breast in one exam",
    )
    temperature: float = Field(default=0.05, gt=0, description="temperature of NT-Xent")
    probe_films: int = Field(
        default=512,
        ge=0,
        description="training films of the linear probe at each validation; 0 is no probe",
    )


class PretrainAutoencoderConfig(StageConfig):
    """The U-Net by restoring hidden blocks; its widths and pixel size are ``segment``'s."""

    initial: str = Field(
        default="auto",
        description="first weights: auto (pretrain-encoder's, if finished), none, or a file",
    )
    tile_height: int = Field(default=256, ge=16, multiple_of=16, description="pixels of a window")
    tile_width: int = Field(default=192, ge=16, multiple_of=16, description="pixels of a window")
    hidden_share: float = Field(
        default=0.6, gt=0, lt=1, description="share of the blocks with breast that are hidden"
    )
    block_px: int = Field(default=16, ge=2, description="side of a hidden block in pixels")
    target: Literal["contrast", "grey"] = Field(
        default="contrast",
        description="what is restored: departures from the surroundings, or grey levels",
    )
    cosine_weight: float = Field(default=1.0, ge=0, description="weight of one minus the cosine")
    l1_weight: float = Field(default=1.0, ge=0, description="weight of the absolute error")


class SegmentConfig(StageConfig):
    """The U-Net: lesion against the rest on a canvas of fixed pixel size."""

    initial: str = Field(
        default="auto",
        description="first weights: auto (pretrain-autoencoder's, else pretrain-encoder's, "
        "if finished), none, or a file",
    )
    initial_parts: Literal["encoder", "all"] = Field(
        default="encoder", description="of the first weights: the encoder's, or the decoder's too"
    )
    mm_per_pixel: float = Field(default=0.4, gt=0, description="millimetres of one network pixel")
    tile_height: int = Field(
        default=512, ge=16, multiple_of=16, description="network pixels of a tile"
    )
    tile_width: int = Field(
        default=384, ge=16, multiple_of=16, description="network pixels of a tile"
    )
    tiles_per_film: int = Field(default=1, ge=1, description="training tiles a film gives an epoch")
    lesion_tile_share: float = Field(
        default=0.75, ge=0, le=1, description="share of tiles of a lesion film that hold a lesion"
    )
    lesion_film_share: float | None = Field(
        default=0.5,
        gt=0,
        lt=1,
        description="share of lesion films among the draws; none: as they are",
    )
    base_channels: int = Field(default=32, ge=4, description="channels of the first U-Net level")
    levels: int = Field(default=5, ge=2, le=6, description="U-Net levels")
    norm: Literal["batch", "group"] = Field(default="batch", description="normalisation layer")
    region_loss: Literal["dice", "iou"] = Field(
        default="dice", description="soft overlap that is learnt"
    )
    region_weight: float = Field(default=1.0, ge=0, description="weight of the overlap loss")
    pixel_weight: float = Field(default=1.0, ge=0, description="weight of the cross-entropy")
    lesion_pixel_weight: float = Field(
        default=1.0, ge=1, description="times that a lesion's pixel counts in the cross-entropy"
    )
    focal_gamma: float = Field(
        default=0.0, ge=0, description="focus of the cross-entropy; 0 is none"
    )
    deep_supervision: bool = Field(
        default=False, description="let coarser levels of the decoder learn from the mask too"
    )
    min_region_mm2: float = Field(
        default=12.0, ge=0, description="smaller predicted regions are dropped"
    )


class PretrainClassifierConfig(StageConfig):
    """The ResNet-18 on patches at drawn lesions and at background."""

    patch_mm: float = Field(default=40.0, gt=0, description="side of a patch in millimetres")
    patch_px: int = Field(
        default=128, ge=32, multiple_of=32, description="side of a patch in pixels"
    )
    draws_per_epoch: int = Field(
        default=0, ge=0, description="patches of an epoch; 0 is two a lesion"
    )
    background_share: float = Field(
        default=0.34, gt=0, lt=1, description="share of background among the drawn patches"
    )
    label_smoothing: float = Field(default=0.0, ge=0, lt=1, description="label smoothing")
    depth: Literal[18, 50] = Field(default=18, description="layers of the ResNet")
    width: float = Field(
        default=1.0,
        gt=0,
        le=1,
        multiple_of=0.125,
        description="share of the ResNet's channels; less than 1 takes no weights of torchvision",
    )
    weights: Path | None = Field(
        default=None,
        description="state dict in torchvision's layout of that ResNet (.safetensors or .pth)",
    )
    hard_share: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="share of background drawn where the finished U-Net raises a false alarm",
    )
    hard_threshold: float = Field(
        default=0.1, gt=0, lt=1, description="probability of the U-Net that is an alarm"
    )
    hard_per_film: int = Field(default=4, ge=1, description="false alarms of a film that are kept")


class ClassifyConfig(StageConfig):
    """The ResNet on the regions that the U-Net proposes, and the film they make up.

    Patches are those of ``pretrain-classifier``: its depth, millimetres and pixels.
    """

    learning_rate: float = Field(default=1e-4, gt=0, description="peak learning rate of AdamW")
    batch_size: int = Field(default=8, ge=1, description="films of one step, over all devices")
    regions_per_film: int = Field(default=8, ge=1, description="best regions of a film that count")
    proposal_threshold: float = Field(
        default=0.3,
        gt=0,
        lt=1,
        description="probability of a region, or the U-Net's own threshold where that is lower",
    )
    films_per_epoch: int = Field(
        default=0, ge=0, description="films of an epoch; 0 is as many as there are"
    )
    malignant_share: float = Field(
        default=0.4, gt=0, lt=1, description="share of malignant films among the draws"
    )
    film_score: Literal["noisy-or", "max", "attention"] = Field(
        default="noisy-or", description="how a film's regions make its score"
    )
    region_weight: float = Field(default=1.0, ge=0, description="weight of the regions' loss")
    film_weight: float = Field(default=0.5, ge=0, description="weight of the films' loss")
    initial: Literal["auto", "none"] = Field(
        default="auto", description="begin from pretrain-classifier where it is finished, or not"
    )


class RunConfig(_Frozen):
    """One run: what is shared by all stages, and one part per stage."""

    preset: Preset = "small"
    seed: int = Field(
        default=1, ge=0, description="seed of the weights, the order and the augmentation"
    )
    where: str | None = Field(default=None, description="SQL condition on the manifest's columns")
    fold: str | None = Field(
        default=None,
        description="K/N: patients of fold K are test, of K+1 val; the manifest's split is ignored",
    )
    test_source: str | None = Field(
        default=None, description="key of the source that is test; the others are train and val"
    )
    show_test_source: bool = Field(
        default=False,
        description="let self-supervised stages see the films of the test source, without labels",
    )
    birads4_as: Literal["unknown", "malignant"] = Field(
        default="unknown", description="what BI-RADS 4 without biopsy counts as"
    )
    implied_normals: bool = Field(
        default=False,
        description="keep normal films of val and test of whose breast nothing was said",
    )
    label_share: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="share of the train patients whose labels are used; stages without labels see "
        "all films",
    )
    pretrain_encoder: PretrainEncoderConfig = PretrainEncoderConfig()
    pretrain_autoencoder: PretrainAutoencoderConfig = PretrainAutoencoderConfig()
    segment: SegmentConfig = SegmentConfig()
    pretrain_classifier: PretrainClassifierConfig = PretrainClassifierConfig()
    classify: ClassifyConfig = ClassifyConfig()

    @model_validator(mode="after")
    def _sides_make_sense(self) -> RunConfig:
        from mammo_train.data.sides import parse_fold

        if self.fold is not None:
            parse_fold(self.fold)
        if self.fold is not None and self.test_source is not None:
            raise UsageError("--fold and --test-source both say what is test: give one of them")
        if self.show_test_source and self.test_source is None:
            raise UsageError("--show-test-source needs --test-source KEY")
        return self


def overrides_model(
    cls: type[BaseModel] = RunConfig,
    path: tuple[str, ...] = (),
    *,
    leave_out: tuple[str, ...] = (),
) -> type[BaseModel]:
    """Derive the model of the command line: every field optional, its help naming the presets.

    Parameters
    ----------
    cls
        The config model whose fields become options.
    path
        Where that model sits below `RunConfig`; empty at the top.
    leave_out
        Stages whose options a command does not have.

    Returns
    -------
    type
        A pydantic model with the same field names, each ``None`` when the user said nothing.
    """
    fields: dict[str, Any] = {}
    for name, info in cls.model_fields.items():
        if not path and name in {"preset", "where", *leave_out}:
            continue  # both have an option of their own in every command
        kind = info.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            nested = overrides_model(kind, (*path, name))
            fields[name] = (nested, nested())
        else:
            text = f"{info.description} [{_said(path, name, info.default)}]"
            fields[name] = (kind | None, Field(default=None, description=text))  # type: ignore[operator]
    made: type[BaseModel] = create_model(
        f"{cls.__name__}Overrides", __config__=ConfigDict(frozen=True, extra="forbid"), **fields
    )
    return made


def _said(path: tuple[str, ...], name: str, default: Any) -> str:
    values = {preset: _preset_value(preset, path, name, default) for preset in PRESETS}
    if len(set(values.values())) == 1:
        return str(default) if default is not None else "none"
    return ", ".join(f"{preset} {value}" for preset, value in values.items())


def _preset_value(preset: str, path: tuple[str, ...], name: str, default: Any) -> Any:
    values: Any = PRESETS[preset]
    for part in path:
        values = values.get(part, {})
    return values.get(name, default)


def resolve_config(
    preset: str,
    overrides: BaseModel | Mapping[str, Any] | None = None,
    *,
    where: str | None = None,
    base: Mapping[str, Any] | None = None,
) -> RunConfig:
    """Build the config of a run: the preset (or `base`), changed by what the user said.

    Raises
    ------
    UsageError
        Unknown preset or key (with the nearest right one), or a value outside its range.
    """
    if preset not in PRESETS:
        raise UsageError(_unknown("preset", preset, list(PRESETS)))
    said = (
        overrides.model_dump(exclude_none=True) if isinstance(overrides, BaseModel) else overrides
    )
    values: dict[str, Any] = {name: dict(part) for name, part in PRESETS[preset].items()}
    values = {**values, **(base or {})}
    for name, value in (said or {}).items():
        if isinstance(value, Mapping):
            values[name] = {**values.get(name, {}), **value}
        else:
            values[name] = value
    return _validated({**values, "preset": preset, "where": where})


# Options that change neither a weight nor a draw may differ between a run and its resumption.
FREE = frozenset({"log_every", "checkpoint_every", "keep_checkpoints"})


def config_changes(before: RunConfig, after: RunConfig) -> list[tuple[str, Any, Any]]:
    """Give (dotted name, old value, new value) of each option that differs and matters."""
    old, new = (_flat(config.model_dump(mode="json")) for config in (before, after))
    return [
        (name, old[name], new[name])
        for name in old
        if old[name] != new[name] and name.split(".")[-1] not in FREE
    ]


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat


def _validated(values: Mapping[str, Any]) -> RunConfig:
    _check_keys(RunConfig, values, ())
    try:
        return RunConfig.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UsageError(
            f"config {where} = {first['input']!r}: {first['msg'][0].lower()}{first['msg'][1:]}; "
            f"see mammo-train segment --help for what it means"
        ) from None


def _check_keys(cls: type[BaseModel], values: Mapping[str, Any], path: tuple[str, ...]) -> None:
    for name, value in values.items():
        if name not in cls.model_fields:
            raise UsageError(_unknown("config key", ".".join((*path, name)), _all_keys(RunConfig)))
        kind = cls.model_fields[name].annotation
        if isinstance(value, Mapping) and isinstance(kind, type) and issubclass(kind, BaseModel):
            _check_keys(kind, value, (*path, name))


def _all_keys(cls: type[BaseModel], prefix: str = "") -> list[str]:
    keys = []
    for name, info in cls.model_fields.items():
        kind = info.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            keys += _all_keys(kind, f"{prefix}{name}.")
        else:
            keys.append(prefix + name)
    return keys


def _unknown(what: str, word: str, known: list[str]) -> str:
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
    return f"unknown {what} {word!r}: {hint}"


def save_config(config: RunConfig, path: Path, licences: Mapping[str, Any] | None = None) -> str:
    """Write the resolved config as YAML and return the text.

    Parameters
    ----------
    licences
        What the stages' weights learnt from (`mammo_train.licences`); a section of its own, which
        is a fact about the run and no option.
    """
    import yaml

    values = config.model_dump(mode="json")
    if licences is not None:
        values[LICENCES] = dict(licences)
    text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return str(text)


def load_config(path: Path) -> RunConfig:
    """Read a saved config.

    Raises
    ------
    UsageError
        No such file, no YAML, or keys and values that `RunConfig` does not know.
    """
    import yaml

    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(
            f"no config at {path}: train first, for example mammo-train run --data OUT --work DIR"
        ) from None
    except yaml.YAMLError as error:
        first = str(error).splitlines()[0]
        raise UsageError(f"{path} is no YAML ({first}): delete it and train again") from None
    if not isinstance(values, Mapping):
        raise UsageError(f"{path} holds no config: delete it and train again")
    return _validated({name: value for name, value in values.items() if name != LICENCES})
