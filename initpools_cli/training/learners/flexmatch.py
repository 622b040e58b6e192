"""Learner `flexmatch`: pretrained encoder, trained on labels and on confident predictions of unlabeled images."""

from __future__ import annotations

from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch.nn import functional as F

from initpools_cli.augment.draws import Draws
from initpools_cli.augment.pipelines import augment
from initpools_cli.core.bounds import Count, Factor, Passes, PositiveCount, PositiveFactor
from initpools_cli.core.seeds import derive, generator
from initpools_cli.datasets.multilabel import labeled_rows
from initpools_cli.training.device import as_tensor
from initpools_cli.training.learners.finetune import PretrainedEncoder
from initpools_cli.training.learners.registry import Validation, learners, log_loss
from initpools_cli.training.network import Network, TrainedNetwork, drop
from initpools_cli.training.trainer import Optimizer, Recipe, Schedule, TrainConfig, Trainer, Watch, augmented

Share = Annotated[float, Field(ge=0, le=1)]


class Curriculum:
    """Thresholds of each class, which rise with the number of confident predictions of the class (eq. 5 to 11).

    Parameters
    ----------
    images, classes : int
    cutoff : float
        The threshold of the class that is learned best.
    device : torch.device
    """

    def __init__(self, images: int, classes: int, cutoff: float, device: torch.device) -> None:
        self.classes, self.cutoff = classes, cutoff
        # The last confident prediction of each image; `classes` stands for none.
        self.confident = torch.full((images,), classes, device=device)

    def thresholds(self) -> torch.Tensor:
        """Compute the threshold of each class, (c,) float32."""
        counts = torch.bincount(self.confident, minlength=self.classes + 1).float()
        status = counts[:-1] / counts.max()
        return self.cutoff * status / (2 - status)

    def select(self, rows: torch.Tensor, probs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the predicted classes (b,) of a batch and which of them are above their thresholds, (b,) bool.

        Parameters
        ----------
        rows : (b,) int64
            Images of the batch.
        probs : (b, c) float32
        """
        highest, predictions = probs.max(dim=1)
        above = highest >= self.thresholds()[predictions]
        confident = highest >= self.cutoff
        self.confident[rows[confident]] = predictions[confident]
        return predictions, above


class FlexMatchTrainer(Trainer):
    """Training by the supervised loss of weak views and, for unlabeled images, that of strong views.

    Parameters
    ----------
    network, labels, config, seed, device
        As for `Trainer`; the labels are those of `known`.
    images : ndarray
        (n, h, w, channels) uint8, all images.
    known : (m,) int64
        Images with a label.
    recipes : (str, str)
        Augmentation of weak and strong views.
    unlabeled : int
        Images drawn in each step for the unsupervised loss.
    weight : float
        Factor on the unsupervised loss.
    cutoff : float
        See `Curriculum`.
    """

    def __init__(
        self,
        network: Network,
        images: np.ndarray,
        rows: np.ndarray,
        labels: np.ndarray,
        config: TrainConfig,
        seed: int,
        device: torch.device,
        *,
        recipes: tuple[str, str],
        unlabeled: int,
        weight: float,
        cutoff: float,
    ) -> None:
        super().__init__(network, augmented(images[rows], recipes[0], seed, device), labels, config, seed, device)
        self.images, self.recipes, self.weight = images, recipes, weight
        self.unlabeled, self.step, self.root = min(unlabeled, len(images)), 0, derive(seed, "unlabeled")
        self.curriculum = Curriculum(len(images), network.head.out_features, cutoff, device)

    def batch_loss(self, batch: np.ndarray, dropout_rng: np.random.Generator, watch: Watch) -> torch.Tensor:
        """Compute the loss of one step: all views pass through the network together, as in the authors' code."""
        device = self.targets.device
        unlabeled_ids = generator(self.root, self.step).choice(len(self.images), self.unlabeled, replace=False)
        rows, images = as_tensor(unlabeled_ids, device), as_tensor(self.images[unlabeled_ids], device)
        views = [
            augment(images, Draws(self.root, self.step, rows, view), recipe) for view, recipe in enumerate(self.recipes)
        ]
        labeled, weak, strong = self.network.encoder(torch.cat([self.load(batch, self.done), *views])).split(
            [len(batch), len(rows), len(rows)]
        )
        # Predictions that become labels are made without dropout.
        probs = F.softmax(self.network.head(weak.detach()).detach(), dim=1)
        pseudo_labels, above = self.curriculum.select(rows, probs)
        dropout = self.network.dropout
        logits = self.network.head(drop(labeled, dropout, dropout_rng))
        watch(batch, labeled.detach(), logits.detach())
        losses = F.cross_entropy(self.network.head(drop(strong, dropout, dropout_rng)), pseudo_labels, reduction="none")
        self.step += 1
        return self.loss(logits, self.targets[batch]) + self.weight * (losses * above).mean()


@learners.register(
    paper="Zhang et al. 2021, arXiv:2110.08263",
    gives=("probs", "features", "head", "mc_probs", "view_probs", "member_probs"),
    presets={
        "quick": {},
        "reference": {
            "steps": 2**20,
            "batch": 64,
            "ratio": 7,
            "optimizer": "sgd",
            "lr": 0.03,
            "weight_decay": 5e-4,
            "encoder_rate": 1.0,
            "dropout": 0.0,
        },
    },
    unlabeled=True,
    multilabel=False,
)
def flexmatch(
    images: np.ndarray,
    labels: np.ndarray,
    classes: int,
    seed: int,
    device: torch.device,
    encoder: PretrainedEncoder,
    validation: Validation | None = None,
    *,
    epochs: Passes = 1,
    steps: Count = 200,
    batch: PositiveCount = 16,
    ratio: PositiveCount = 3,
    cutoff: Share = 0.95,
    weight: Factor = 1.0,
    optimizer: Optimizer = "adamw",
    lr: PositiveFactor = 3e-3,
    schedule: Schedule = "cosine",
    weight_decay: Factor = 1e-4,
    encoder_rate: Share = 0.3,
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.2,
    recipe: Recipe = "weak",
    strong: Recipe = "randaug",
) -> TrainedNetwork:
    """Pretrained encoder with a new last layer, trained on labels and on confident predictions of unlabeled images.

    In each step the prediction of a weakly augmented image is the label of a strongly augmented view of it, if its
    probability is at least the threshold of its class; the thresholds rise with what is learned of each class
    (curriculum pseudo labeling, with warm-up and the mapping x / (2 − x)). Deviations from the paper: it starts from
    the encoder of the run; the cosine schedule ends at a rate of 0, and there is no average of weights, since the
    training is short; strong views have one operation of RandAugment; unlabeled images are drawn anew in each step.

    Parameters
    ----------
    images : ndarray
        (n, h, w, channels) uint8, of all images. Those with a label are also used without it.
    labels : ndarray
        (n,) int64, -1 for images without a label.
    classes : int
        c.
    seed : int
        Determines the initial weights of the last layer, order, augmentation and dropout.
    device : torch.device
        Device of the network.
    encoder : PretrainedEncoder
        The encoder to start from.
    validation : (images, labels), optional
        Validation set, evaluated after every pass over the labeled images; the weights of the best one are kept.
    epochs, steps, batch, optimizer, lr, schedule, weight_decay
        See `TrainConfig`, for the labeled images.
    ratio : int
        Unlabeled images per labeled image of a full batch.
    cutoff : float
        Probability from which a prediction counts as learned, and the highest threshold.
    weight : float
        Factor on the loss of unlabeled images.
    encoder_rate : float
        Factor on the encoder's learning rate.
    dropout : float
        Share of features dropped before the last layer in training and in `mc_logits`, not in `logits`.
    recipe, strong : str
        Augmentation of weak and strong views.
    """
    model = TrainedNetwork(Network(encoder.encoder(), classes, derive(seed, "flexmatch"), dropout), device)
    rows = labeled_rows(labels)
    trainer = FlexMatchTrainer(
        model.network,
        images,
        rows,
        labels[rows],
        TrainConfig(epochs, steps, batch, optimizer, lr, weight_decay, schedule, encoder_rate),
        seed,
        device,
        recipes=(recipe, strong),
        unlabeled=ratio * batch,
        weight=weight,
        cutoff=cutoff,
    )
    trainer.run(None if validation is None else lambda: log_loss(model.logits(validation[0]), validation[1]))
    return model
