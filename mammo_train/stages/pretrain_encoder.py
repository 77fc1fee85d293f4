"""``pretrain-encoder``: the U-Net's encoder learns to know a breast again, without any label.

Batch: every film of the train split once an epoch, two views of each (`ViewsTransform`); which
films, their order and their loss depend on no label. Model: the U-Net's encoder and a projection
head (`ContrastiveEncoder`). Loss: NT-Xent over all views of the global batch; partners are the two
views of a film, or all views of one breast in one examination. Metric: minus the same loss on fixed
views of validation films; beside it the share of views whose nearest neighbour is a partner, and a
linear probe: the area under the ROC curve of a logistic regression on pooled features, which is
looked at but chooses nothing.

Views are windows of the canvas, so ``--pretrain-encoder.positives breast`` asks for a canvas about
as large as a breast: windows of two projections that show different parts have little in common.
With ``accumulate`` a view sees the negatives of its own part of the batch only.

Cost, one thread of an AVX512-BF16 CPU: about 0.05 s a film, two views of
128 x 128 pixels, base 32.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mammo_train.config import PretrainEncoderConfig, SegmentConfig
from mammo_train.data.augment import VIEW_AUGMENTATION
from mammo_train.data.dataset import make_loader
from mammo_train.data.draws import BatchPlan, Draws
from mammo_train.data.selection import Selection, Selections
from mammo_train.data.views import ViewsTransform, fixed_views, view_draws
from mammo_train.evaluation.metrics import auroc
from mammo_train.losses import contrastive_loss
from mammo_train.models.contrastive import ContrastiveEncoder
from mammo_train.runtime import Batch, Runtime
from mammo_train.stages import repeat_real
from mammo_train.stages.base import DrawnStage
from schemas.errors import UsageError
from schemas.vocabulary import LabelBasis, Pathology

if TYPE_CHECKING:
    from schemas.store import Store

__all__ = ["EncoderStage", "nearest_is_partner", "probe"]

VAL_FILMS = 1024  # fixed views that a validation compares with one another
MIN_POSITIVES = 8  # of the probe's training films, else it asks for any lesion


class EncoderStage(DrawnStage[PretrainEncoderConfig]):
    """See the module."""

    name = "pretrain-encoder"
    metric = "minus_loss"
    metrics = ("minus_loss", "partner_is_nearest", "probe_auroc")

    def __init__(
        self,
        config: PretrainEncoderConfig,
        network: SegmentConfig,
        seed: int,
        selections: Selections,
        store: Store,
        workers: int,
    ) -> None:
        if len(selections.train) < 2 or len(selections.val) < 2:
            raise UsageError(
                "pretrain-encoder: it tells films apart, so train and val need two films each; "
                "loosen --where or add a release"
            )
        super().__init__(config, seed, selections, store, workers)
        self.network = network

    def fingerprint(self) -> Mapping[str, object]:
        """Name what is drawn and measured, and what ``segment`` lends: widths and pixel size."""
        return {**super().fingerprint(), **network_words(self.network)}

    def build(self) -> nn.Module:
        """Build encoder and head."""
        network = self.network
        return ContrastiveEncoder(network.base_channels, network.levels, norm=network.norm)

    def example(self) -> Tensor:
        """Give noise in the shape of a batch's views."""
        shape = (2 * self.config.batch_size, 1, self.config.tile_height, self.config.tile_width)
        return torch.rand(shape, generator=torch.Generator().manual_seed(0))

    def draws(self, epoch: int) -> Draws:
        """Give every film once."""
        together = self.config.positives == "breast"
        return view_draws(self.selections.train, self.seed, epoch, breasts=together)

    def transform(self, *, plain: bool = False) -> ViewsTransform:
        """Give two views of a film; plain ones are windows at two places, unchanged."""
        augmentation = None if plain else self.augmentation(VIEW_AUGMENTATION)
        config, mm = self.config, self.network.mm_per_pixel
        return ViewsTransform(config.tile_height, config.tile_width, mm, augmentation)

    def batches(self, epoch: int, start: int, part: tuple[int, int] = (0, 1)) -> Iterable[Batch]:
        """Give the batches of an epoch, each film with the number of its group."""
        groups = self._groups(self.selections.train)
        for batch in super().batches(epoch, start, part):
            yield {**batch, "group": groups[batch["row"]]}

    def _groups(self, selection: Selection) -> Tensor:
        if self.config.positives == "view":
            return torch.arange(len(selection))
        return torch.from_numpy(np.unique(selection.breast, return_inverse=True)[1])

    def loss(self, model: nn.Module, batch: Batch, runtime: Runtime) -> Tensor:
        """Give NT-Xent over the views of the global batch."""
        views = batch["image"].flatten(0, 1).unsqueeze(1)
        with runtime.autocast():
            output = model(views)
        projection = ContrastiveEncoder.split(output)[1]
        films = runtime.gather(projection.reshape(-1, 2, projection.shape[1]))
        group, weight = runtime.gather(batch["group"]), runtime.gather(batch["weight"])
        return contrastive_loss(
            films.flatten(0, 1),
            group[:, None].expand(-1, 2).flatten(),
            weight[:, None].expand(-1, 2).flatten(),
            temperature=self.config.temperature,
        )

    def validate(self, model: nn.Module, runtime: Runtime) -> Mapping[str, float]:
        """Measure fixed views of validation films, and probe the pooled features."""
        val = self.selections.val
        draws = fixed_views(val, VAL_FILMS)
        projection = self._run(model, runtime, draws, self.transform())[1]
        group = self._groups(val)[torch.from_numpy(draws.film)].repeat_interleave(2)
        views = projection.flatten(0, 1)
        weight, temperature = torch.ones(len(views)), self.config.temperature
        loss = contrastive_loss(views, group, weight, temperature=temperature)
        return {
            "minus_loss": -float(loss),
            "partner_is_nearest": nearest_is_partner(views, group),
            "probe_auroc": self._probe(model, runtime),
        }

    def _probe(self, model: nn.Module, runtime: Runtime) -> float:
        if not self.config.probe_films:
            return float("nan")
        sides = []
        for selection in (self.selections.train, self.selections.val):
            draws = fixed_views(selection, self.config.probe_films)
            features = self._run(model, runtime, draws, self.transform(plain=True))[0]
            known = judged(selection)[draws.film]
            sides.append(
                (features.mean(dim=1).numpy()[known], selection.pathology[draws.film][known])
            )
        return probe(*sides[0], *sides[1])

    def _run(
        self, model: nn.Module, runtime: Runtime, draws: Draws, transform: ViewsTransform
    ) -> tuple[Tensor, Tensor]:
        """Give features and projection of each draw's views on the host: (N, 2, ...) each."""
        plan = BatchPlan(draws, self.config.batch_size)
        found = list(
            self._outputs(model, runtime, make_loader(self.store, plan, transform, self.workers))
        )
        features, projection = ContrastiveEncoder.split(torch.cat(found)[: 2 * len(draws)])
        pairs = (len(draws), 2, -1)
        return features.reshape(pairs), projection.reshape(pairs)

    @staticmethod
    def _outputs(model: nn.Module, runtime: Runtime, batches: Iterable[Batch]) -> Iterator[Tensor]:
        for batch in batches:
            image = runtime.put({"image": repeat_real(batch)["image"]})["image"]
            with torch.no_grad(), runtime.autocast():
                output = model(image.flatten(0, 1).unsqueeze(1))
            runtime.end_step()
            yield runtime.host(output).float()


def network_words(network: SegmentConfig) -> dict[str, object]:
    """Name the options of ``segment`` that the stages before it share."""
    names = ("base_channels", "levels", "norm", "mm_per_pixel")
    return {f"segment.{name}": getattr(network, name) for name in names}


def nearest_is_partner(projection: Tensor, group: Tensor) -> float:
    """Give the share of views (M, D) whose nearest other view by cosine is of their group."""
    unit = nn.functional.normalize(projection, dim=1)
    nearest = (unit @ unit.T - 4 * torch.eye(len(unit))).argmax(dim=1)
    return float((group[nearest] == group).float().mean())


def judged(selection: Selection) -> NDArray[np.bool_]:
    """Bool (N,): films whose pathology is known, not merely implied."""
    implied = (selection.basis == LabelBasis.IMPLIED) & (selection.pathology == Pathology.NORMAL)
    return np.asarray((selection.pathology != Pathology.UNKNOWN) & ~implied)


def probe(
    features: NDArray[np.float32],
    pathology: NDArray[np.str_],
    other_features: NDArray[np.float32],
    other_pathology: NDArray[np.str_],
) -> float:
    """Give the area under the ROC curve of a logistic regression on features (N, F).

    It asks malignant against the rest; where fewer than eight films to learn from are malignant,
    any lesion against none. NaN where a side has one class only.
    """
    from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]
    from sklearn.pipeline import make_pipeline  # type: ignore[import-untyped]
    from sklearn.preprocessing import StandardScaler  # type: ignore[import-untyped]

    words = [Pathology.MALIGNANT.value]
    if (pathology == words[0]).sum() < MIN_POSITIVES:
        words.append(Pathology.BENIGN.value)
    label, other_label = np.isin(pathology, words), np.isin(other_pathology, words)
    if len(set(label.tolist())) < 2 or len(set(other_label.tolist())) < 2:
        return float("nan")
    model = make_pipeline(
        StandardScaler(), LogisticRegression(C=0.01, class_weight="balanced", max_iter=500)
    )
    model.fit(features, label)
    return auroc(other_label, model.decision_function(other_features))
