"""The presets: what each changes of the defaults in `mammo_train.config`.

``smoke`` is a proof that the path works (about a minute on two cores), ``small`` takes minutes on
two cores for phantoms and hours for real films, ``base`` is for an accelerator.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["PRESETS"]

PRESETS: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "smoke": {
        "pretrain_encoder": {
            "epochs": 2,
            "batch_size": 16,
            "learning_rate": 2e-3,
            "tile_height": 96,
            "tile_width": 96,
            "validate_every": 2,
            "checkpoint_every": 50,
            "probe_films": 64,
        },
        "pretrain_autoencoder": {
            "epochs": 2,
            "batch_size": 8,
            "learning_rate": 2e-3,
            "tile_height": 96,
            "tile_width": 96,
            "block_px": 8,
            "validate_every": 2,
            "checkpoint_every": 50,
        },
        "segment": {
            "epochs": 8,
            "batch_size": 8,
            "learning_rate": 3e-3,
            "mm_per_pixel": 0.8,
            "tile_height": 64,
            "tile_width": 64,
            "base_channels": 16,
            "validate_every": 4,
            "tiles_per_film": 2,
            "lesion_tile_share": 0.9,
            "lesion_film_share": 0.7,
            "checkpoint_every": 50,
        },
        "pretrain_classifier": {
            "epochs": 4,
            "batch_size": 8,
            "patch_mm": 20.0,
            "patch_px": 64,
            "validate_every": 2,
            "draws_per_epoch": 576,
            "background_share": 0.2,
            "hard_share": 0.0,
        },
        "classify": {
            "epochs": 3,
            "batch_size": 4,
            "regions_per_film": 3,
            "films_per_epoch": 64,
            "validate_every": 3,
            "checkpoint_every": 50,
        },
    },
    "small": {
        "pretrain_encoder": {
            "epochs": 20,
            "batch_size": 32,
            "tile_height": 192,
            "tile_width": 192,
            "validate_every": 5,
        },
        "pretrain_autoencoder": {
            "epochs": 20,
            "batch_size": 16,
            "tile_height": 192,
            "tile_width": 192,
            "validate_every": 5,
        },
        "segment": {
            "epochs": 10,
            "batch_size": 8,
            "learning_rate": 2e-3,
            "tile_height": 192,
            "tile_width": 192,
            "mm_per_pixel": 0.4,
            "base_channels": 16,
            "tiles_per_film": 2,
            "lesion_tile_share": 0.9,
            "lesion_film_share": 0.7,
            "validate_every": 2,
        },
        "pretrain_classifier": {
            "epochs": 12,
            "batch_size": 32,
            "patch_mm": 32.0,
            "patch_px": 96,
            "validate_every": 2,
            "draws_per_epoch": 1024,
        },
        "classify": {
            "epochs": 6,
            "regions_per_film": 6,
            "validate_every": 2,
        },
    },
    "base": {
        "pretrain_encoder": {
            "epochs": 100,
            "batch_size": 256,
            "learning_rate": 2e-3,
            "tile_height": 384,
            "tile_width": 384,
            "validate_every": 5,
            "checkpoint_every": 500,
            "log_every": 50,
        },
        "pretrain_autoencoder": {
            "epochs": 100,
            "batch_size": 64,
            "tile_height": 512,
            "tile_width": 512,
            "block_px": 32,
            "validate_every": 5,
            "checkpoint_every": 500,
            "log_every": 50,
        },
        "segment": {
            "epochs": 100,
            "batch_size": 16,
            "mm_per_pixel": 0.2,
            "tile_height": 512,
            "tile_width": 512,
            "checkpoint_every": 500,
            "log_every": 50,
        },
        "pretrain_classifier": {
            "epochs": 60,
            "batch_size": 64,
            "patch_px": 256,
            "checkpoint_every": 500,
            "log_every": 50,
        },
        "classify": {
            "epochs": 30,
            "batch_size": 16,
            "checkpoint_every": 500,
            "log_every": 50,
        },
    },
}
