"""Presets, the command line derived from the models, and refusals that say what to do."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel, ValidationError

from mammo_train.config import (
    PRESETS,
    RunConfig,
    config_changes,
    load_config,
    overrides_model,
    resolve_config,
    save_config,
)
from schemas.errors import UsageError


def leaves(model: type[BaseModel], prefix: str = "") -> set[str]:
    found = set()
    for name, info in model.model_fields.items():
        kind = info.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            found |= leaves(kind, f"{prefix}{name}.")
        else:
            found.add(prefix + name)
    return found


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_are_valid_and_survive_saving(preset: str, tmp_path: Path) -> None:
    config = resolve_config(preset, where="modality = 'SFM'")
    save_config(config, tmp_path / "config.yaml")
    assert load_config(tmp_path / "config.yaml") == config
    assert config.preset == preset


def test_every_field_is_an_option() -> None:
    # preset and where have options of their own in every command.
    assert leaves(overrides_model()) == leaves(RunConfig) - {"preset", "where"}


def test_a_command_without_a_stage_has_none_of_its_options() -> None:
    named = leaves(overrides_model(leave_out=("segment",)))
    assert not [name for name in named if name.startswith("segment.")]


def test_what_the_user_says_wins_over_the_preset_and_leaves_the_rest() -> None:
    config = resolve_config("smoke", {"seed": 7, "segment": {"epochs": 3}})
    assert (config.seed, config.segment.epochs) == (7, 3)
    assert config.segment.mm_per_pixel == resolve_config("smoke").segment.mm_per_pixel


@pytest.mark.parametrize(
    ("preset", "said", "words"),
    [
        ("smal", {}, "unknown preset 'smal': did you mean small"),
        ("smoke", {"sed": 1}, "unknown config key 'sed': did you mean seed"),
        ("smoke", {"segment": {"epoch": 1}}, r"'segment\.epoch': did you mean segment\.epochs"),
        ("smoke", {"segment": {"epochs": 0}}, r"segment\.epochs = 0: input should be greater"),
        ("smoke", {"segment": {"tile_width": 100}}, r"tile_width = 100: .* multiple of 16"),
    ],
)
def test_wrong_keys_and_values_are_refused_with_advice(
    preset: str, said: dict[str, object], words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        resolve_config(preset, said)


def test_config_cannot_be_changed_once_made() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        resolve_config("smoke").seed = 2


def test_changes_leave_out_what_touches_no_weight() -> None:
    before = resolve_config("smoke")
    after = resolve_config("smoke", {"segment": {"log_every": 1, "batch_size": 2}})
    assert config_changes(before, after) == [("segment.batch_size", 8, 2)]


@pytest.mark.parametrize(
    ("text", "words"), [("a: [", "is no YAML"), ("- 1", "holds no config"), ("x: 1", "key 'x'")]
)
def test_a_broken_saved_config_is_refused(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(UsageError, match=words):
        load_config(tmp_path / "config.yaml")
