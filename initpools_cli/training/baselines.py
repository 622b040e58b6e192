"""Features that nothing was trained for here: pixels, their principal components, and backbones from elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from initpools_cli.datasets.decode import read_image
from initpools_cli.training.infer import blocks

if TYPE_CHECKING:
    from PIL.Image import Image

    from initpools_cli.datasets.spec import Split
    from initpools_cli.networks.backbones import Preprocess

#: Principal components kept at most.
COMPONENTS = 64
#: Above this many pixel values an exact decomposition is too large, and a seeded randomised one is used.
EXACT_UP_TO = 3_100


def pixels(images: np.ndarray, batch: int) -> Iterator[np.ndarray]:
    """Raw pixels in [0, 1], blocks of (≤ batch, h·w·c) float32."""
    for block in blocks(len(images), batch):
        yield images[block].reshape(block.stop - block.start, -1).astype(np.float32) / 255


def pca(images: np.ndarray, seed: int) -> Callable[[np.ndarray], np.ndarray]:
    """A projection of flat pixels (b, p) onto at most 64 principal components (b, d) float32, fitted on `images`."""
    from sklearn.decomposition import PCA

    flat = np.concatenate(list(pixels(images, 4096)))
    kept = min(COMPONENTS, *flat.shape)
    solver = "covariance_eigh" if flat.shape[1] <= EXACT_UP_TO else "randomized"
    fitted = PCA(kept, svd_solver=solver, random_state=seed % 2**32).fit(flat)
    return lambda block: fitted.transform(block).astype(np.float32)


@torch.inference_mode()
def backbone_features(
    model: nn.Module,
    preprocess: Preprocess,
    split: Split,
    root: Path | None,
    batch: int,
    device: torch.device,
) -> Iterator[np.ndarray]:
    """Pooled features of a frozen backbone, blocks of (≤ batch, d) float32.

    The original files are read where there are any (`root`), one by one through the model's own preprocessing, since
    they may be larger than the cached array; else the array's images.
    """
    model.eval().to(device)
    for block in blocks(len(split.images), batch):
        shown = [preprocess(_original(split, row, root)) for row in range(block.start, block.stop)]
        yield model(torch.stack(shown).to(device)).float().cpu().numpy()


def _original(split: Split, row: int, root: Path | None) -> Image | torch.Tensor:
    """The file as it is, or the cached pixels (c, h, w) uint8 of a data set without files."""
    if root is not None:
        return read_image(root / split.paths[row])
    return torch.from_numpy(np.array(split.images[row])).permute(2, 0, 1)
