"""``classify``: the ResNet learns on regions that the finished U-Net proposes, and scores films.

Training sees what inference will see: each film is run through the U-Net once, before the first
step, and its best regions (``proposals.json``) are what is drawn. Batch: films, each with as many
patches; malignant films are drawn more often than they are. Model: the ResNet of
``pretrain-classifier``; where that stage is finished, with its weights, and BatchNorm then keeps
its statistics. Loss: cross-entropy of the regions whose class is known, plus, of every film of
known pathology, binary cross-entropy of the film's score; so a malignant film on which nothing is
drawn counts as a film and names no region. A malignant film on which everything is drawn and
nothing of it proposed is no film of that loss: its regions are background. Metric: area under the
ROC curve of films, malignant against the rest, on validation films, where the temperature of the
film's score is fitted as well.

Cost, one thread of an AVX512-BF16 CPU: 0.014 s a patch of 128 pixels forward and backward, as many
patches a film as ``regions_per_film``; before it, one pass of the U-Net over all films.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mammo_train import checkpoint
from mammo_train.config import ClassifyConfig, PretrainClassifierConfig, SegmentConfig
from mammo_train.data.augment import PATCH_AUGMENTATION
from mammo_train.data.dataset import make_loader
from mammo_train.data.draws import BatchPlan, film_draws, film_label_draws
from mammo_train.data.regions import Found, RegionDraws, Regions, RegionTransform, settled
from mammo_train.data.selection import MALIGNANT, Selection, Selections
from mammo_train.evaluation.calibration import cross_entropy, fit_temperature
from mammo_train.evaluation.metrics import auroc
from mammo_train.losses import patch_loss
from mammo_train.models.regions import (
    RegionClassifier,
    film_logit,
    film_loss,
    malignant_logit,
)
from mammo_train.models.resnet import patch_classifier
from mammo_train.runtime import Batch, Runtime
from mammo_train.stages.base import DrawnStage
from mammo_train.stages.proposals import Unet, unet_digest
from schemas.errors import UsageError
from schemas.vocabulary import Pathology

if TYPE_CHECKING:
    from schemas.store import Store

__all__ = ["ClassifyStage", "FilmLogits"]


@dataclass(frozen=True, slots=True)
class FilmLogits:
    """What the classifier says of films, in the order of their selection.

    Parameters
    ----------
    film
        float64 (N,): logit of malignant, temperature not applied.
    regions
        For each film, float64 (r,): logits of malignant of its best regions.
    labels
        For each film, int64 (r,): their true classes, -1 not known.
    """

    film: NDArray[np.float64]
    regions: list[NDArray[np.float64]]
    labels: list[NDArray[np.int64]]


class ClassifyStage(DrawnStage[ClassifyConfig]):
    """See the module."""

    name = "classify"
    metric = "auroc_film"
    metrics = ("auroc_film", "auroc_region", "cross_entropy", "temperature")

    def __init__(
        self,
        config: ClassifyConfig,
        seed: int,
        selections: Selections,
        store: Store,
        workers: int,
        *,
        unet: SegmentConfig,
        patches: PretrainClassifierConfig,
    ) -> None:
        malignant = selections.val.pathology == Pathology.MALIGNANT
        if not malignant.any() or malignant.all():
            raise UsageError(
                "classify: the val split needs a malignant film and one that is benign or normal, "
                "or no best checkpoint can be chosen; loosen --where or add a release"
            )
        super().__init__(config, seed, selections, store, workers)
        self._unet, self._patches = unet, patches
        self._found: Found | None = None
        self._initial: tuple[Path, str] | None = None

    def start(self, work: Path, device: Callable[[], Runtime]) -> None:
        """Run the U-Net over all films of train and val, and find the weights to begin from.

        Raises
        ------
        UsageError
            The U-Net is not finished.
        """
        digest = unet_digest(work)
        if digest is None:
            raise UsageError(
                f"classify learns on what the U-Net proposes, and {work} holds no finished one: "
                f"train it first with mammo-train segment, or all stages with mammo-train run"
            )
        made_from = {
            "unet": digest,
            "train": self.selections.train.digest,
            "val": self.selections.val.digest,
            "threshold": self.config.proposal_threshold,
        }
        path = work / "stages" / self.name / "proposals.json"
        self._found = settled(path, made_from, lambda: self._propose(work, device()))
        before = work / "stages" / "pretrain-classifier"
        if self.config.initial == "auto" and (before / "done.json").is_file():
            weights = checkpoint.model_digest(before / "checkpoints")
            self._initial = (before / "checkpoints", weights) if weights else None

    def _propose(self, work: Path, runtime: Runtime) -> Regions:
        unet = Unet.load(work, self._unet, runtime)
        train, val = self.selections.train, self.selections.val
        return {**self.propose(unet, train), **self.propose(unet, val)}

    def propose(self, unet: Unet, selection: Selection) -> Regions:
        """Give the regions of a selection's films."""
        threshold = self.config.proposal_threshold
        return unet.propose(selection, self.store, self.workers, threshold=threshold)

    def notes(self) -> Sequence[str]:
        """Say what the U-Net proposes and which weights it begins from."""
        if self._found is None:
            return ()
        counts = [len(self._found.regions[name]) for name in self.selections.train.ids.tolist()]
        place = self._initial[0].parent if self._initial else None
        return (
            f"regions: {sum(counts)} on {len(counts)} training films, at most "
            f"{self.config.regions_per_film} a film are used",
            f"initial weights: {place}" if place else "initial weights: random",
        )

    def fingerprint(self) -> Mapping[str, Any]:
        """Name the proposals, the initial weights and the patches as well."""
        patches = self._patches
        return {
            **super().fingerprint(),
            "proposals": self._found.digest if self._found else None,
            "initial": self._initial[1] if self._initial else None,
            "patch": [patches.depth, patches.width, patches.patch_mm, patches.patch_px],
        }

    def build(self) -> nn.Module:
        """Build the classifier, from the patch classifier's best weights where they are."""
        network = patch_classifier(depth=self._patches.depth, width=self._patches.width)
        if self._initial:
            checkpoint.load_model(self._initial[0], network)
        return RegionClassifier(
            network,
            film_head=self.config.film_score == "attention",
            fixed_norm=self._initial is not None,
        )

    def example(self) -> Tensor:
        """Give noise in the shape of a batch."""
        side = self._patches.patch_px
        shape = (self.config.batch_size, self.config.regions_per_film, side, side)
        return torch.rand(shape, generator=torch.Generator().manual_seed(0))

    def _regions(self) -> Regions:
        if self._found is None:
            raise RuntimeError("start the stage before it is asked for draws")
        return self._found.regions

    def draws(self, epoch: int) -> RegionDraws:
        """Give films with their regions, malignant ones as often as the config says."""
        films = film_label_draws(
            self.selections.train,
            self.seed,
            epoch,
            size=self.config.films_per_epoch,
            malignant_share=self.config.malignant_share,
        )
        return RegionDraws(films, self._regions(), self.config.regions_per_film)

    def transform(self) -> RegionTransform:
        """Give a film's patches, each changed in its own way."""
        return self._transform(augmented=True)

    def _transform(self, *, augmented: bool) -> RegionTransform:
        return RegionTransform(
            self._patches.patch_mm,
            self._patches.patch_px,
            self.config.regions_per_film,
            augmentation=self.augmentation(PATCH_AUGMENTATION) if augmented else None,
        )

    def loss(self, model: nn.Module, batch: Batch, runtime: Runtime) -> Tensor:
        """Give cross-entropy of known regions plus that of films, each a mean over what counts."""
        with runtime.autocast():
            out = model(batch["image"])
        names = ("target", "known", "present", "film", "film_known", "weight")
        out = runtime.gather(out)
        sent = {name: runtime.gather(batch[name]) for name in names}
        weight = sent["weight"].float()
        known = (sent["known"] * weight.reshape(-1, 1)).reshape(-1)
        regions = patch_loss(out[..., :3].reshape(-1, 3), sent["target"].reshape(-1), known)
        score = film_logit(out, sent["present"], self.config.film_score)
        films = film_loss(score, sent["film"], sent["film_known"] * weight)
        return self.config.region_weight * regions + self.config.film_weight * films

    def score(
        self, model: nn.Module, runtime: Runtime, selection: Selection, regions: Regions
    ) -> FilmLogits:
        """Run every film of a selection through the classifier in eval mode."""
        model.eval()
        draws = RegionDraws(film_draws(selection), regions, self.config.regions_per_film)
        plan = BatchPlan(draws, self.config.batch_size)
        transform = self._transform(augmented=False)
        film, logits, labels = [], [], []
        for batch in make_loader(self.store, plan, transform, self.workers):
            sent = runtime.put({name: batch[name] for name in ("image", "present")})
            with torch.no_grad():
                with runtime.autocast():
                    out = model(sent["image"])
                odds = malignant_logit(out)
                score = film_logit(out, sent["present"], self.config.film_score)
            runtime.end_step()
            real = batch["weight"] > 0
            film.append(runtime.host(score)[real].double().numpy())
            there = batch["present"][real].numpy() > 0
            of_class = np.where(batch["known"] > 0, batch["target"], -1)[real.numpy()]
            rows = zip(runtime.host(odds)[real].double().numpy(), of_class, there, strict=True)
            for values, names, present in rows:
                logits.append(values[present])
                labels.append(names[present])
        return FilmLogits(np.concatenate(film), logits, labels)

    def validate(self, model: nn.Module, runtime: Runtime) -> Mapping[str, float]:
        """Measure validation films, and fit the temperature of their scores."""
        val = self.selections.val
        said = self.score(model, runtime, val, self._regions())
        truth = val.pathology == Pathology.MALIGNANT
        temperature = fit_temperature(said.film, truth)
        region, label = np.concatenate(said.regions), np.concatenate(said.labels)
        known = label >= 0
        return {
            "auroc_film": auroc(truth, said.film),
            "auroc_region": auroc(label[known] == MALIGNANT, region[known]),
            "cross_entropy": cross_entropy(said.film / temperature, truth),
            "temperature": temperature,
        }
