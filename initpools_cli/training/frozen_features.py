"""Features that nothing was trained for here: pixels, their principal components, and backbones from elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from initpools_cli.core.capacity import require_memory
from initpools_cli.core.errors import UserError
from initpools_cli.datasets.decode import read_image
from initpools_cli.datasets.scale import Scale
from initpools_cli.training.infer import blocks

if TYPE_CHECKING:
    from PIL.Image import Image

    from initpools_cli.datasets.spec import Split
    from initpools_cli.networks.frozen import Backbone, Preprocess
    from initpools_cli.training.device import DeviceConfig

#: Principal components kept at most.
COMPONENTS = 64
#: Images turned into floats at a time.
FITTED = 1024
#: Above this many pixel values an exact decomposition is too large, and a seeded randomised one is used.
EXACT_UP_TO = 3_100
#: Components that deviate less are rounding: one image of 100,000 that differs by one step of one pixel deviates more.
ROUNDING = 1e-5
#: Images of a block for a backbone at most, and what they may take as floats.
LARGEST_BLOCK = 256
BLOCK_BYTES = 2**25


def pixels(images: np.ndarray, batch: int) -> Iterator[np.ndarray]:
    """Raw pixels in [0, 1], blocks of (≤ batch, h·w·c) float32."""
    for block in blocks(len(images), batch):
        yield images[block].reshape(block.stop - block.start, -1).astype(np.float32) / 255


def pca(images: np.ndarray, rows: np.ndarray, seed: int) -> Callable[[np.ndarray], np.ndarray]:
    """A projection of flat pixels (b, p) onto at most 64 principal components (b, d) float32.

    Parameters
    ----------
    images : ndarray of shape (n, h, w, c), uint8
        Perhaps memory-mapped.
    rows : ndarray of int64
        The images that it is fitted on.
    seed : int
        Of the randomized decomposition, where the exact one is too large.

    Raises
    ------
    UserError
        There is one image only, or the pixels don't fit into memory.
    """
    from sklearn.decomposition import PCA

    if len(rows) < 2:
        raise UserError(
            "One image has no principal components.", "Bring at least two images, or take `initpools embed pixels`."
        )
    width = int(np.prod(images.shape[1:]))
    exact = width <= EXACT_UP_TO
    require_memory(
        len(rows) * width * 4,
        f"Principal components of {len(rows)} images of {width} values take",
        "Take `initpools embed` with a pretrain or a backbone, which read a few images at a time, or a smaller "
        "dataset.size in a new run (--run DIR).",
    )
    flat = np.empty((len(rows), width), np.float32)
    for block in blocks(len(rows), FITTED):
        flat[block] = next(pixels(images[rows[block]], FITTED))
    kept = min(COMPONENTS, *flat.shape)
    solver = "covariance_eigh" if exact else "randomized"
    # The randomized decomposition centers the pixels, in place here: deviations do not change with that.
    fitted = PCA(kept, copy=exact, svd_solver=solver, random_state=seed % 2**32).fit(flat)
    fitted.components_[fitted.transform(flat).std(axis=0) < ROUNDING] = 0
    return lambda block: fitted.transform(block).astype(np.float32)


def backbone_batch(preprocess: Preprocess) -> int:
    """Images of a block: as many as take at most 32 MB once they are floats."""
    from PIL import Image

    return max(1, min(LARGEST_BLOCK, BLOCK_BYTES // (4 * preprocess.read(Image.new("L", (8, 8))).numel())))


@torch.inference_mode()
def backbone_features(
    model: Backbone,
    preprocess: Preprocess,
    split: Split,
    rows: slice,
    root: Path | None,
    batch: int,
    machine: DeviceConfig,
    *,
    bf16: bool = False,
    scale: Scale | None = None,
) -> Iterator[np.ndarray]:
    """Pooled features of a frozen backbone, blocks of (≤ batch, d) float32, in order.

    The original files are read where there are any (`root`), through the model's own preprocessing, since they may be
    larger than the cached array; else the array's images. Threads prepare the next block while the model is at this.

    Parameters
    ----------
    rows : slice
        Which images of the split.
    bf16 : bool
        Compute in bfloat16 where torch holds that to be safe.
    scale : Scale, optional
        How the files become 8 bits; needed where there are any.
    """
    # A third faster for a ResNet on a processor; a transformer does not mind.
    model.eval().to(machine.device).to(memory_format=torch.channels_last)

    def read(row: int) -> torch.Tensor:
        return preprocess.read(_original(split, row, root, scale or Scale()))

    with ThreadPoolExecutor(machine.threads) as pool:
        chosen = [
            range(rows.start + block.start, rows.start + block.stop) for block in blocks(rows.stop - rows.start, batch)
        ]
        coming = pool.map(read, chosen[0]) if chosen else iter(())
        for number in range(len(chosen)):
            # Waits for what is left of this block, and has the threads begin the next.
            shown = list(coming)
            coming = pool.map(read, chosen[number + 1]) if number + 1 < len(chosen) else iter(())
            images = preprocess.scale(torch.stack(shown).to(machine.device, memory_format=torch.channels_last))
            with torch.autocast(machine.device.type, torch.bfloat16, enabled=bf16):
                pooled = model(images)
            yield pooled.float().cpu().numpy()


def _original(split: Split, row: int, root: Path | None, scale: Scale) -> Image:
    """The file as it is, or the cached pixels of a data set without files."""
    from PIL import Image

    if root is not None:
        return read_image(root / split.paths[row], scale)
    pixels = np.array(split.images[row])
    return Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
