"""Backbones with published weights of torchvision and timm, from a file or a local cache."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from initpools_cli.core.errors import UserError, closest, nearest, unknown_name
from initpools_cli.networks import efficientnet_lite, from_timm, from_torchvision
from initpools_cli.networks.build import seeded
from initpools_cli.networks.frozen import Backbone, Preprocess, PretrainedWeights
from initpools_cli.networks.weights import read_weights

PREFIX = "timm/"
#: The command that lists the names.
LISTING = "initpools list backbones"


def backbone_names() -> list[str]:
    """Return the sorted names of all backbones, those of torchvision and of timm."""
    return sorted({*efficientnet_lite.NETWORKS, *from_torchvision.names(), *from_timm.names()})


def unknown_source(name: str, others: Sequence[str]) -> UserError:
    """The error for a name that is no backbone and none of `others`, with the closest names of both."""
    near = nearest(name, others)
    return unknown_name(
        "pretrain or backbone", name, (), LISTING, [*([near] if near else []), *closest(name, backbone_names())]
    )


def is_backbone(name: str) -> bool:
    """Whether a library has a network of that name; timm is not imported for torchvision's names."""
    return name in efficientnet_lite.NETWORKS or name in from_torchvision.names() or from_timm.has(_in_timm(name))


def folder_of(name: str) -> str:
    """Return the folder name of a backbone: without ``timm/``, but with a tag if torchvision has the same name."""
    bare = name.removeprefix(PREFIX)
    return from_timm.tagged(bare) if name != bare and bare in from_torchvision.names() else bare


def find_weights(name: str, given: Path | None = None) -> Path:
    """Return the file with a network's weights: the given one, or the default weights in the library's cache.

    Nothing is downloaded.

    Parameters
    ----------
    name : str
        One of `backbone_names`; a prefix "timm/" or a tag after a dot selects timm's if torchvision has the same name.

    Raises
    ------
    UserError
        An unknown name or a missing file; the remedy says what to download, and where to save it.
    """
    if given is not None and given.is_file():
        require_backbone(name)
        return given
    published = _published(name)
    if given is not None:
        raise UserError(
            f"There is no weights file {given}.",
            f"Download {published.address} and pass its path with --weights FILE.",
            given,
        )
    if published.cached is None:
        raise UserError(
            f"The weights of {name} are not on this machine: there is no {published.place}.",
            f"Run `{published.command}`, or download {published.address} and pass its path with --weights FILE."
            if published.command
            else f"Download {published.address} to {published.place}, or pass its path with --weights FILE.",
            published.place,
        )
    return published.cached


def load_backbone(name: str, weights: Path, *, size: int = 0, pooling: str = "auto") -> tuple[Backbone, Preprocess]:
    """Load a backbone with the weights of a local file, and the preprocessing they were trained with.

    Parameters
    ----------
    name : str
        One of `backbone_names`; see `find_weights`.
    weights : Path
        A .safetensors file, or a file of torch.save with tensors by name, also under "state_dict" or "model", and with
        the prefix "module.". A classification layer in it is ignored.
    size : int
        Side of the images in pixels; 0: the size that the weights were published for.
    pooling : str
        "auto" (the network's own), or "cls", "mean", "max" or "cls+mean" over the positions of the last layer.

    Returns
    -------
    backbone : Backbone
        On the CPU, in evaluation mode: (b, c, h, w) to (b, features).
    preprocess : Preprocess
        Converts a PIL image to the backbone's input.

    Raises
    ------
    UserError
        An unknown name; a file that is missing, unreadable or of another network; or a size or pooling that the network
        does not support.
    """
    weights = find_weights(name, weights)
    state = read_weights(weights)
    with seeded(0, name):
        if _is_timm(name):
            return from_timm.load(_in_timm(name), state, weights, size, pooling)
        return from_torchvision.load(name, state, weights, size, pooling)


def remark(name: str) -> str:
    """Return the library's notes on the weights; usually empty."""
    return from_timm.remark(_in_timm(name)) if _is_timm(name) else ""


def trained_on(name: str) -> str:
    """Return what the published weights were trained on; empty if that is not recorded here."""
    return efficientnet_lite.TRAINED_ON if name in efficientnet_lite.NETWORKS else ""


def small_input(name: str) -> tuple[int, int] | None:
    """Return the input size for small images, and their largest longer side; None if a backbone has only one size."""
    if name not in efficientnet_lite.NETWORKS:
        return None
    return efficientnet_lite.SMALL_INPUT, efficientnet_lite.SMALL_IMAGE


def _in_timm(name: str) -> str:
    """Return the name of a network of timm in timm."""
    return efficientnet_lite.NETWORKS.get(name, name.removeprefix(PREFIX))


def _is_timm(name: str) -> bool:
    return name not in from_torchvision.names()


def require_backbone(name: str) -> None:
    """Raise an error if no library has a network of that name.

    Raises
    ------
    UserError
        The remedy is the nearest name.
    """
    bare = name.removeprefix(PREFIX)
    if is_backbone(name):
        return
    architecture = bare.partition(".")[0]
    names = from_timm.tags(bare) if "." in bare and from_timm.has(architecture) else backbone_names()
    raise unknown_name("backbone", name, names, LISTING, closest(bare, names))


def _published(name: str) -> PretrainedWeights:
    require_backbone(name)
    if name == efficientnet_lite.DEFAULT:
        return efficientnet_lite.published()
    return from_timm.published(_in_timm(name)) if _is_timm(name) else from_torchvision.published(name)
