"""Features without pretraining in the run: pixels, principal components and pretrained backbones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch

from initpools_cli.core.capacity import require_memory
from initpools_cli.core.errors import UserError
from initpools_cli.datasets.decode import read_image
from initpools_cli.datasets.scale import Scale
from initpools_cli.datasets.stored.shards import Root
from initpools_cli.training.infer import blocks
from initpools_cli.training.parallel import forward_workers, in_order

if TYPE_CHECKING:
    from PIL.Image import Image

    from initpools_cli.datasets.spec import Split
    from initpools_cli.networks.frozen import Backbone, Preprocess
    from initpools_cli.training.device import DeviceConfig

#: Maximum number of principal components.
COMPONENTS = 64
#: Images converted to floats at a time.
FITTED = 1024
#: Above this many pixel values a seeded randomized decomposition is used instead of the exact one.
EXACT_UP_TO = 3_100
#: Components with a smaller standard deviation are rounding: a difference of one step in one pixel of one of 100,000
#: images exceeds it.
ROUNDING = 1e-5
#: Maximum of images in a block for a backbone, and of their bytes as floats.
LARGEST_BLOCK = 256
BLOCK_BYTES = 2**25


def pixels(images: np.ndarray, batch: int) -> Iterator[np.ndarray]:
    """Yield raw pixels in [0, 1], blocks of (≤ batch, h·w·c) float32."""
    for block in blocks(len(images), batch):
        yield images[block].reshape(block.stop - block.start, -1).astype(np.float32) / 255


def pca(images: np.ndarray, rows: np.ndarray, seed: int) -> Callable[[np.ndarray], np.ndarray]:
    """Fit a projection of flat pixels (b, p) onto at most 64 principal components (b, d) float32.

    Parameters
    ----------
    images : ndarray of shape (n, h, w, c), uint8
        May be memory-mapped.
    rows : ndarray of int64
        The images to fit on.
    seed : int
        Seed of the randomized decomposition.

    Raises
    ------
    UserError
        If there is only one image, or the pixels do not fit into memory.
    """
    from sklearn.decomposition import PCA

    if len(rows) < 2:
        raise UserError(
            f"Principal components need at least 2 images, got {len(rows)}.",
            "Use more images, or `initpools embed pixels`.",
            len(rows),
        )
    width = int(np.prod(images.shape[1:]))
    exact = width <= EXACT_UP_TO
    require_memory(
        len(rows) * width * 4,
        f"Principal components of {len(rows)} images of {width} values take",
        "Use `initpools embed` with a pretrain or a backbone, which read a few images at a time, or a smaller "
        "dataset.size in a new run (--run DIR).",
    )
    flat = np.empty((len(rows), width), np.float32)
    for block in blocks(len(rows), FITTED):
        flat[block] = next(pixels(images[rows[block]], FITTED))
    n_components = min(COMPONENTS, *flat.shape)
    solver = "covariance_eigh" if exact else "randomized"
    # The randomized decomposition centers the pixels in place, which does not change the standard deviations.
    model = PCA(n_components, copy=exact, svd_solver=solver, random_state=seed % 2**32).fit(flat)
    model.components_[model.transform(flat).std(axis=0) < ROUNDING] = 0
    return lambda block: model.transform(block).astype(np.float32)


def backbone_batch(model: Backbone, preprocess: Preprocess, device: torch.device) -> int:
    """Return the number of images in a block: at most 32 MB of floats."""
    most = model.cpu_block if device.type == "cpu" and model.cpu_block else LARGEST_BLOCK
    return max(1, min(most, BLOCK_BYTES // _input_bytes(preprocess)))


def backbone_features(
    model: Backbone,
    preprocess: Preprocess,
    split: Split,
    rows: slice,
    root: Root | None,
    batch: int,
    machine: DeviceConfig,
    *,
    bf16: bool = False,
    scale: Scale | None = None,
) -> Iterator[np.ndarray]:
    """Yield pooled features of a frozen backbone, blocks of (≤ batch, d) float32, in order.

    Images are read from the original files under `root`, through the model's own preprocessing, because they may be
    larger than the cached array; without `root` from the array. Threads read the next blocks beside the forward
    passes.

    Parameters
    ----------
    rows : slice
        Images of the split.
    bf16 : bool
        Compute in bfloat16 where torch's autocast allows it.
    scale : Scale, optional
        Conversion of files to 8 bits; needed with `root`.
    """
    # Channels-last is a third faster for a ResNet on a CPU, and neutral for transformers.
    model.eval().to(machine.device).to(memory_format=torch.channels_last)

    def read(block: slice) -> torch.Tensor:
        images = (
            _original(split, row, root, scale or Scale(), preprocess.draft) for row in range(*block.indices(rows.stop))
        )
        return torch.stack([preprocess.read(image) for image in images])

    @torch.inference_mode()
    def forward(pixels: torch.Tensor) -> np.ndarray:
        images = preprocess.scale(pixels.to(machine.device, memory_format=torch.channels_last))
        with torch.autocast(machine.device.type, torch.bfloat16, enabled=bf16):
            features: torch.Tensor = model(images)
        return features.float().cpu().numpy()

    slices = (slice(rows.start + each.start, rows.start + each.stop) for each in blocks(rows.stop - rows.start, batch))
    pixels = in_order(read, slices, machine.threads)
    nbytes = batch * _input_bytes(preprocess)
    passes = forward_workers(machine, nbytes) if model.cpu_block else (1, machine.threads)
    yield from in_order(forward, pixels, *passes)


def _input_bytes(preprocess: Preprocess) -> int:
    """Return the size of one image as float input."""
    from PIL import Image

    return 4 * preprocess.read(Image.new("L", (8, 8))).numel()


def _original(split: Split, row: int, root: Root | None, scale: Scale, draft: int) -> Image:
    """Read an image from its file, or from the array of a data set without files."""
    from PIL import Image

    if root is not None:
        return read_image(root / split.paths[row], scale, draft)
    pixels = np.array(split.images[row])
    return Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
