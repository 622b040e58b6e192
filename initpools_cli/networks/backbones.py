"""Backbones with published weights of torchvision and timm, from a file or a local cache."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from initpools_cli.core.download import RemoteFile, fetch
from initpools_cli.core.errors import UserError, closest, nearest, unknown_name
from initpools_cli.core.files import require_file
from initpools_cli.core.reporter import Reporter
from initpools_cli.networks import efficientnet_lite, from_timm, from_torchvision, hub
from initpools_cli.networks.aliases import ALIASES, Alias, alias, alias_of, canonical
from initpools_cli.networks.build import seeded
from initpools_cli.networks.frozen import Backbone, Preprocess, PretrainedWeights
from initpools_cli.networks.weights import read_weights

PREFIX = "timm/"
#: The command that lists the names.
LISTING = "initpools list backbones"


def backbone_names() -> list[str]:
    """Return the sorted names of all backbones: short names, and those of torchvision and of timm."""
    short = {entry.name for entry in ALIASES}
    return sorted({*short, *efficientnet_lite.NETWORKS, *from_torchvision.names(), *from_timm.names()})


def unknown_source(name: str, others: Sequence[str]) -> UserError:
    """The error for a name that is no backbone and none of `others`, with the closest names of both."""
    near = nearest(name, others)
    return unknown_name(
        "pretrain or backbone", name, (), LISTING, [*([near] if near else []), *closest(name, backbone_names())]
    )


def is_backbone(name: str) -> bool:
    """Whether there is a network of that name; timm is not imported for short names and torchvision's."""
    short = alias(name) is not None or name in efficientnet_lite.NETWORKS
    return short or name in from_torchvision.names() or from_timm.has(_in_timm(name))


def folder_of(name: str) -> str:
    """Return the folder name of a backbone: without ``timm/``, but with a tag if torchvision has the same name."""
    name = canonical(name)
    plain_name = name.removeprefix(PREFIX)
    return from_timm.tagged(plain_name) if name != plain_name and plain_name in from_torchvision.names() else plain_name


def find_weights(
    name: str, file: Path | None = None, *, report: Reporter | None = None, download: bool = False
) -> Path:
    """Return the file with a network's weights: the user's, or the default weights in the library's cache.

    Weights that are not in the cache are downloaded to it if `download` is set, or if the user agrees on a terminal.

    Parameters
    ----------
    name : str
        One of `backbone_names`; a prefix "timm/" or a tag after a dot selects timm's if torchvision has the same name.
    file : Path, optional
        The user's own file.
    report : Reporter, optional
        Asks the question and shows the progress; without it nothing is downloaded.
    download : bool
        Whether to download without a question.

    Raises
    ------
    UserError
        An unknown name, a missing file, whose remedy says what to download and where to save it, or a failed download.
    """
    if file is not None and os.path.lexists(file):
        require_backbone(name)
        return require_file(file, "--weights")
    weights = _weights_of(name)
    if file is not None:
        raise UserError(
            f"There is no weights file {file}.",
            f"Download {weights.address} and pass its path with --weights FILE.",
            file,
        )
    if weights.cache_file is not None:
        return weights.cache_file
    if report is not None and weights.downloadable and (download or report.ask(_question(name, weights))):
        return fetch_weights(weights, report)
    by_hand = (
        f"run `{weights.command}`, or download {weights.address} and pass its path with --weights FILE."
        if weights.command
        else f"download {weights.address} to {weights.place}, or pass its path with --weights FILE."
    )
    raise UserError(
        f"The weights of {name} are not on this machine: there is no {weights.place}.",
        f"Add --download, {by_hand}" if weights.downloadable else f"{by_hand[0].upper()}{by_hand[1:]}",
        weights.place,
    )


def _question(name: str, weights: PretrainedWeights) -> str:
    entry = alias(name) or alias_of(name)
    size = f", about {4 * entry.parameters:,.0f} MB" if entry else ""
    return f"The weights of {name} are not on this machine. Download {weights.address}{size}?"


def fetch_weights(weights: PretrainedWeights, report: Reporter) -> Path:
    """Download weights to their place in the library's cache, and return the path.

    Raises
    ------
    UserError
        The download failed.
    """
    if weights.hub is not None:
        return hub.download(weights, weights.hub, report)
    # The names of torch's files end in the beginning of their SHA-256.
    checksum = re.search(r"-([0-9a-f]{8,})\.\w+$", weights.place.name)
    remote = RemoteFile((weights.address,), weights.place.name, checksum[1] if checksum else "", "TORCH_HOME")
    return fetch(remote, weights.place.parent, report)


def load_backbone(name: str, weights: Path, *, size: int = 0, pooling: str = "auto") -> tuple[Backbone, Preprocess]:
    """Load a backbone with the weights of a local file, and the preprocessing they were trained with.

    Parameters
    ----------
    name : str
        One of `backbone_names`; see `find_weights`.
    weights : Path
        A .safetensors file, or a file of torch.save with tensors by name, in a layout of `networks.layouts`. A
        classification layer in it is ignored.
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
    name = canonical(name)
    state = read_weights(weights)
    with seeded(0, name):
        if name in efficientnet_lite.NETWORKS:
            return efficientnet_lite.accelerated(*from_timm.load(_in_timm(name), state, weights, size, pooling))
        if _is_timm(name):
            return from_timm.load(_in_timm(name), state, weights, size, pooling)
        return from_torchvision.load(name, state, weights, size, pooling)


def remark(name: str) -> str:
    """Return the library's notes on the weights; usually empty."""
    name = canonical(name)
    return from_timm.remark(_in_timm(name)) if _is_timm(name) else ""


def trained_on(name: str) -> str:
    """Return what the published weights were trained on; empty if that is not recorded here."""
    if name in efficientnet_lite.NETWORKS:
        return efficientnet_lite.TRAINED_ON
    name = canonical(name)
    entry = alias_of(from_timm.tagged(_in_timm(name)) if _is_timm(name) else name)
    return entry.data if entry else ""


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
        The remedy names the nearest network, or the newer library that a short name needs.
    """
    entry = alias(name)
    if entry is not None and not in_library(entry):
        raise _missing(name, entry)
    plain_name = name.removeprefix(PREFIX)
    if is_backbone(name):
        return
    architecture = plain_name.partition(".")[0]
    names = from_timm.tags(plain_name) if "." in plain_name and from_timm.has(architecture) else backbone_names()
    raise unknown_name("backbone", name, names, LISTING, closest(plain_name, names))


def in_library(entry: Alias) -> bool:
    """Whether the installed library has the network and the weights of a short name."""
    return entry.library != "timm" or from_timm.has(entry.network)


def _missing(name: str, entry: Alias) -> UserError:
    return UserError(
        f"{name} is {entry.network} of {entry.library}, which the installed {entry.library} {version(entry.library)} "
        "does not have.",
        f"Install a newer one with `pip install --upgrade {entry.library}`, or choose another network of `{LISTING}`.",
        name,
    )


def _weights_of(name: str) -> PretrainedWeights:
    require_backbone(name)
    name = canonical(name)
    if name == efficientnet_lite.DEFAULT:
        return efficientnet_lite.published_weights()
    return from_timm.published_weights(_in_timm(name)) if _is_timm(name) else from_torchvision.published_weights(name)
