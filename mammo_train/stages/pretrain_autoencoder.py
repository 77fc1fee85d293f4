"""``pretrain-autoencoder``: the U-Net learns to restore hidden parts of a film, without any label.

Batch: every film of the train split once an epoch, one window of each, of whose blocks with breast
six tenths are set to 0. Model: the `UNet` that ``segment`` trains, with skips; its encoder begins
with the weights of ``pretrain-encoder`` where that is finished. Loss: absolute error plus one minus
cosine, on hidden pixels of the breast alone: air is what is 0 in the standard image, and a network
that restores air perfectly has learnt nothing. Restored is the contrast of a pixel with its
surroundings (`local_contrast`): grey levels are mostly thickness, and a network that is asked for
them spends its channels on thickness. Metric: minus that loss on fixed windows and blocks of
validation films.

Cost, one thread of an AVX512-BF16 CPU: about 0.07 s a window of 128 x 128 pixels, base 32.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from mammo_train.config import PretrainAutoencoderConfig, SegmentConfig
from mammo_train.data.augment import FILM_AUGMENTATION
from mammo_train.data.dataset import make_loader
from mammo_train.data.draws import BatchPlan, Draws
from mammo_train.data.selection import Selections
from mammo_train.data.transforms import GREY_UNIT
from mammo_train.data.views import BlocksTransform, fixed_views, view_draws
from mammo_train.losses import local_contrast, reconstruction_losses
from mammo_train.runtime import Batch, Runtime
from mammo_train.stages import repeat_real
from mammo_train.stages.base import DrawnStage
from mammo_train.stages.initial import SCRATCH, Initial, find_initial
from mammo_train.stages.pretrain_encoder import network_words
from mammo_train.stages.segment import build_unet
from schemas.errors import UsageError

if TYPE_CHECKING:
    from schemas.store import Store

__all__ = ["AutoencoderStage"]

VAL_FILMS = 1024
SURROUNDINGS = 2  # blocks to either side


class AutoencoderStage(DrawnStage[PretrainAutoencoderConfig]):
    """See the module."""

    name = "pretrain-autoencoder"
    metric = "minus_loss"
    metrics = ("minus_loss", "l1", "cosine")
    initial: Initial = SCRATCH

    def __init__(
        self,
        config: PretrainAutoencoderConfig,
        network: SegmentConfig,
        seed: int,
        selections: Selections,
        store: Store,
        workers: int,
    ) -> None:
        if not len(selections.val):
            raise UsageError(
                "pretrain-autoencoder: no film in the val split, so no best checkpoint can be "
                "chosen; loosen --where or add a release"
            )
        for side in (config.tile_height, config.tile_width):
            if side % config.block_px:
                raise UsageError(
                    f"pretrain-autoencoder.block_px = {config.block_px} does not divide a side of "
                    f"{side} pixels: choose --pretrain-autoencoder.block-px as a divisor of both"
                )
        super().__init__(config, seed, selections, store, workers)
        self.network = network

    def start(self, work: Path, device: Callable[[], Runtime]) -> None:
        """Find the first weights."""
        self.initial = find_initial(self.config.initial, work, self.name)

    def notes(self) -> Sequence[str]:
        """Say what it begins from."""
        return (self.initial.sentence(self.name),)

    def fingerprint(self) -> Mapping[str, object]:
        """Name what is drawn, the network and its first weights."""
        words = network_words(self.network)
        return {**super().fingerprint(), **words, "initial_weights": self.initial.word}

    def build(self) -> nn.Module:
        """Build the U-Net, whose one output is what is restored."""
        model = build_unet(self.network.model_copy(update={"deep_supervision": False}))
        # From the middle of the range: a lesion's prior would have to be unlearnt first.
        nn.init.kaiming_normal_(model.head.weight, nonlinearity="linear")
        if model.head.bias is not None:
            middle = 0.0 if self.config.target == "contrast" else 0.5 / GREY_UNIT
            nn.init.constant_(model.head.bias, middle)
        return self.initial.load(model)

    def example(self) -> Tensor:
        """Give noise in the shape of a batch."""
        shape = (self.config.batch_size, 1, self.config.tile_height, self.config.tile_width)
        return torch.rand(shape, generator=torch.Generator().manual_seed(0))

    def draws(self, epoch: int) -> Draws:
        """Give every film once."""
        return view_draws(self.selections.train, self.seed, epoch)

    def transform(self, *, plain: bool = False) -> BlocksTransform:
        """Give a window and its hidden blocks."""
        config = self.config
        return BlocksTransform(
            config.tile_height,
            config.tile_width,
            self.network.mm_per_pixel,
            config.block_px,
            config.hidden_share,
            None if plain else self.augmentation(FILM_AUGMENTATION),
        )

    def loss(self, model: nn.Module, batch: Batch, runtime: Runtime) -> Tensor:
        """Give absolute error plus one minus cosine, each film alike."""
        films = runtime.gather(self.restore(model, batch, runtime))
        counted = runtime.gather(_counted(batch))
        error, departure = (films * counted[:, None]).sum(dim=0) / counted.sum().clamp(min=1)
        total: Tensor = self.config.l1_weight * error + self.config.cosine_weight * departure
        return total

    def restore(self, model: nn.Module, batch: Batch, runtime: Runtime) -> Tensor:
        """Run windows with their hidden blocks at 0 through the U-Net.

        Returns
        -------
        Tensor
            (N, 2), see `reconstruction_losses`.
        """
        image = batch["image"]
        with runtime.autocast():
            prediction = model(image * (1 - batch["hidden"].float()))
        if self.config.target == "contrast":
            # Blocks larger than the window would be restored against themselves alone.
            side = 2 * SURROUNDINGS * self.config.block_px + 1
            image = local_contrast(image, image > 0, side)
        return reconstruction_losses(prediction, image, batch["scored"])

    def validate(self, model: nn.Module, runtime: Runtime) -> Mapping[str, float]:
        """Measure fixed windows of validation films."""
        plan = BatchPlan(fixed_views(self.selections.val, VAL_FILMS), self.config.batch_size)
        films, counts = [], []
        for batch in make_loader(self.store, plan, self.transform(plain=True), self.workers):
            with torch.no_grad():
                found = self.restore(model, runtime.put(repeat_real(batch)), runtime)
            runtime.end_step()
            films.append(runtime.host(found))
            counts.append(_counted(batch))
        whole, counted = torch.cat(films), torch.cat(counts)
        error, departure = (
            (whole * counted[:, None]).sum(dim=0) / counted.sum().clamp(min=1)
        ).tolist()
        loss = self.config.l1_weight * error + self.config.cosine_weight * departure
        return {"minus_loss": -loss, "l1": error, "cosine": 1 - departure}


def _counted(batch: Batch) -> Tensor:
    """Float32 (N,): 1 for films of weight of which a pixel is scored."""
    scored = batch["scored"].float().flatten(1).amax(dim=1)
    return batch["weight"].float() * scored
