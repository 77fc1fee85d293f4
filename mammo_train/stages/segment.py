"""``segment``: a U-Net learns where lesions are, on completely annotated films.

Batch: one canvas a draw (`SegmentTransform`), lesion or not, 255 ignored. Model: `UNet`, one
logit; its first weights are the encoder of ``pretrain-autoencoder``, or of ``pretrain-encoder``,
where one is finished. Loss: soft overlap of the batch plus cross-entropy.
Metric: mean Dice of the lesion films of the validation split, whole films, at the threshold that
is best there.

Cost, one thread of an AVX512-BF16 CPU: base 32 takes about 0.23 s a canvas of 256 x 256 pixels
forward and backward, base 16 about half; a canvas's cost grows with its area.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mammo_train.config import SegmentConfig
from mammo_train.data.augment import FILM_AUGMENTATION
from mammo_train.data.dataset import make_loader
from mammo_train.data.draws import BatchPlan, Draws, film_draws, segment_draws
from mammo_train.data.selection import Selection, Selections
from mammo_train.data.tiles import grid_to_standard, predict_film
from mammo_train.data.transforms import FilmTransform, SegmentTransform
from mammo_train.evaluation.metrics import DiceSweep
from mammo_train.evaluation.regions import Region, find_regions
from mammo_train.losses import deep_loss, segmentation_loss
from mammo_train.models.unet import UNet
from mammo_train.runtime import Batch, Runtime
from mammo_train.stages.base import DrawnStage
from mammo_train.stages.initial import SCRATCH, Initial, find_initial
from schemas.errors import UsageError

if TYPE_CHECKING:
    from schemas.store import Store

__all__ = [
    "FilmPrediction",
    "SegmentStage",
    "build_unet",
    "lesion_class",
    "lesion_index",
    "predict_films",
]


class FilmPrediction:
    """One film after the U-Net.

    Attributes
    ----------
    row
        Of the selection.
    image, probability
        float32 (H, W) on the stage's grid.
    target
        uint8 (H, W): 1 lesion, 0 none, 255 ignored.
    scale
        float64 (2,): grid pixels per standard pixel in x and y.
    """

    def __init__(self, batch: Batch, probability: NDArray[np.float32]) -> None:
        self.row = int(batch["row"][0])
        self.image: NDArray[np.float32] = batch["image"][0, 0].numpy()
        self.target: NDArray[np.uint8] = batch["target"][0, 0].numpy()
        self.scale: NDArray[np.float64] = batch["scale"][0].numpy()
        self.probability = probability


def predict_films(
    model: nn.Module,
    runtime: Runtime,
    config: SegmentConfig,
    selection: Selection,
    store: Store,
    workers: int,
    *,
    rows: Sequence[int] | None = None,
) -> Iterator[FilmPrediction]:
    """Run whole films of a selection, all or `rows` of it, through the U-Net in eval mode."""
    model.eval()

    def probabilities(tiles: NDArray[np.float32]) -> NDArray[np.float32]:
        image = runtime.put({"image": torch.from_numpy(tiles)})["image"]
        with torch.no_grad():
            with runtime.autocast():
                logits = model(image)
            found = torch.sigmoid(logits.float())
        runtime.end_step()
        return np.asarray(runtime.host(found)[:, 0].numpy())

    draws = film_draws(selection)
    plan = BatchPlan(draws if rows is None else [draws[row] for row in rows], 1)
    for batch in make_loader(store, plan, FilmTransform(config.mm_per_pixel), workers):
        film = batch["image"][0, 0].numpy()
        canvas = (config.tile_height, config.tile_width)
        size = runtime.devices * max(1, 4 // runtime.devices)
        yield FilmPrediction(batch, predict_film(film, canvas, probabilities, batch_size=size))


def build_unet(config: SegmentConfig) -> UNet:
    """Build the U-Net that a config describes, with random weights."""
    deep = config.deep_supervision
    return UNet(config.base_channels, config.levels, norm=config.norm, deep=deep)


def lesion_index(selection: Selection, film: FilmPrediction, lesion: Region) -> int:
    """Give the drawn lesion (row) that a component of a film's target covers best; -1 for none."""
    x0, y0, x1, y1 = lesion.box
    box = grid_to_standard(((x0, y0), (x1, y1)), film.scale).ravel()
    return selection.lesions.index_at(film.row, box)


def lesion_class(selection: Selection, film: FilmPrediction, lesion: Region) -> int:
    """Give the class of a component of a film's target: that of the drawn lesion it covers best.

    Returns
    -------
    int
        1 benign, 2 malignant; -1 for unknown pathology, which is no background either.
    """
    return selection.lesions.class_of(lesion_index(selection, film, lesion))


class SegmentStage(DrawnStage[SegmentConfig]):
    """See the module."""

    name = "segment"
    initial: Initial = SCRATCH
    metric = "dice"
    metrics = ("dice", "dice_overall", "threshold", "false_regions")

    def __init__(
        self, config: SegmentConfig, seed: int, selections: Selections, store: Store, workers: int
    ) -> None:
        if not selections.val.has_lesion.any():
            raise UsageError(
                "segment: no film with a drawn lesion in the val split, so no threshold and no "
                "best checkpoint can be chosen; loosen --where or add a release"
            )
        super().__init__(config, seed, selections, store, workers)

    def start(self, work: Path, device: Callable[[], Runtime]) -> None:
        """Find the first weights."""
        found = find_initial(self.config.initial, work, self.name)
        self.initial = found.encoder() if self.config.initial_parts == "encoder" else found

    def notes(self) -> Sequence[str]:
        """Say what it begins from."""
        return (self.initial.sentence(self.name),)

    def fingerprint(self) -> Mapping[str, Any]:
        """Name the first weights as well."""
        return {**super().fingerprint(), "initial_weights": self.initial.word}

    def build(self) -> nn.Module:
        """Build the U-Net with its first weights."""
        return self.initial.load(build_unet(self.config))

    def example(self) -> Tensor:
        """Give noise in the shape of a batch."""
        shape = (self.config.batch_size, 1, self.config.tile_height, self.config.tile_width)
        return torch.rand(shape, generator=torch.Generator().manual_seed(0))

    def draws(self, epoch: int) -> Draws:
        """Give tiles of films, lesions looked at as often as the config says."""
        return segment_draws(
            self.selections.train,
            self.seed,
            epoch,
            tiles_per_film=self.config.tiles_per_film,
            lesion_tile_share=self.config.lesion_tile_share,
            lesion_film_share=self.config.lesion_film_share,
        )

    def transform(self) -> SegmentTransform:
        """Give the canvas and its target, changed by the draw's seed."""
        config = self.config
        return SegmentTransform(
            config.tile_height,
            config.tile_width,
            config.mm_per_pixel,
            self.augmentation(FILM_AUGMENTATION),
        )

    def loss(self, model: nn.Module, batch: Batch, runtime: Runtime) -> Tensor:
        """Give overlap loss plus cross-entropy of lesion against the rest, at each level asked."""
        with runtime.autocast():
            levels = cast("UNet", model).pyramid(batch["image"])
        target, weight = runtime.gather(batch["target"]), runtime.gather(batch["weight"])
        one = functools.partial(
            segmentation_loss,
            weight=weight,
            region=self.config.region_loss,
            region_weight=self.config.region_weight,
            pixel_weight=self.config.pixel_weight,
            gamma=self.config.focal_gamma,
            lesion_weight=self.config.lesion_pixel_weight,
        )
        return deep_loss([runtime.gather(logits) for logits in levels], target, one)

    def validate(self, model: nn.Module, runtime: Runtime) -> Mapping[str, float]:
        """Measure whole validation films: Dice of lesion films, false regions of normal ones."""
        config, val = self.config, self.selections.val
        sweep, false, normal = DiceSweep(), np.zeros(len(DiceSweep.thresholds)), 0
        for film in predict_films(model, runtime, config, val, self.store, self.workers):
            sweep.add(film.probability, film.target)
            if not (film.target > 0).any():
                normal += 1
                false += _regions_at_each(film.probability, self.min_area)
        threshold, dice = sweep.best()
        index = sweep.at(threshold)
        return {
            "dice": dice,
            "dice_overall": float(sweep.overall()[index]),
            "threshold": threshold,
            "false_regions": float(false[index] / normal) if normal else float("nan"),
        }

    @property
    def min_area(self) -> float:
        """Smallest region that counts, in grid pixels."""
        return self.config.min_region_mm2 / self.config.mm_per_pixel**2


def _regions_at_each(probability: NDArray[np.float32], min_area: float) -> NDArray[np.float64]:
    counts = [len(find_regions(probability, t, min_area=min_area)) for t in DiceSweep.thresholds]
    return np.array(counts, np.float64)
