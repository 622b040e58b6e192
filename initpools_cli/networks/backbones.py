"""Networks with weights from elsewhere, torchvision's and timm's: by name, from a file or a cache of this machine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from initpools_cli.core.errors import UserError, closest, nearest, unknown_name
from initpools_cli.networks import from_timm, from_torchvision
from initpools_cli.networks.build import seeded
from initpools_cli.networks.frozen import Backbone, Preprocess, PretrainedWeights
from initpools_cli.networks.weights import read_weights

PREFIX = "timm/"
#: The command that lists the names.
LISTING = "initpools list backbones"
#: Shown with an unknown name where timm is not installed.
MORE = "`pip install 'initpools[timm]'` adds those of timm, such as DINOv2 and CLIP."


def backbone_names() -> list[str]:
    """The names `load_backbone` knows, sorted: torchvision's, and timm's where it is installed."""
    return sorted({*from_torchvision.names(), *from_timm.names()})


def unknown_source(name: str, others: Sequence[str]) -> UserError:
    """The error for a name that is no backbone and none of `others`, with the closest names of both."""
    near = nearest(name, others)
    error = unknown_name(
        "pretrain or backbone", name, (), LISTING, [*([near] if near else []), *closest(name, backbone_names())]
    )
    return error if from_timm.installed() else UserError(error.fact, f"{error.remedy} {MORE}", name)


def is_backbone(name: str) -> bool:
    """Whether a library here has a network of that name; no library but torchvision is loaded for its own names."""
    return name in from_torchvision.names() or from_timm.has(name.removeprefix(PREFIX))


def folder_of(name: str) -> str:
    """The name for a folder: without ``timm/``, but with a tag where torchvision has the bare name too."""
    bare = name.removeprefix(PREFIX)
    return from_timm.tagged(bare) if name != bare and bare in from_torchvision.names() else bare


def find_weights(name: str, given: Path | None = None) -> Path:
    """The file with a network's weights: the one given, else the default weights in the library's own cache.

    Nothing is ever downloaded.

    Parameters
    ----------
    name : str
        One of `backbone_names`; "timm/" in front, or a tag behind a dot, takes timm's where torchvision has one too.

    Raises
    ------
    UserError
        An unknown name, or no such file; with what to fetch, and where to put it.
    """
    if given is not None and given.is_file():
        require_backbone(name)
        return given
    published = _published(name)
    if given is not None:
        raise UserError(
            f"There is no weights file {given}.", f"Fetch {published.address} and give --weights the path of it."
        )
    if published.cached is None:
        raise UserError(
            f"The weights of {name} are not on this machine: there is no {published.place}.",
            f"`{published.command}` puts them there; or fetch {published.address} and give the path with --weights."
            if published.command
            else f"Fetch {published.address} and put it there, or give its path with --weights.",
        )
    return published.cached


def load_backbone(name: str, weights: Path, *, size: int = 0, pooling: str = "auto") -> tuple[Backbone, Preprocess]:
    """A published network with the weights of a local file, and the preprocessing they were trained with.

    Parameters
    ----------
    name : str
        One of `backbone_names`; see `find_weights`.
    weights : Path
        A .safetensors file, or what torch.save wrote: tensors by name, also under "state_dict" or "model", and with
        names that start with "module.". A last layer in it is ignored, of whatever number of classes.
    size : int
        Side of the images in pixels; 0 is the size the weights were published for.
    pooling : str
        "auto" is the network's own way; "cls", "mean", "max" or "cls+mean" over its last layer's positions.

    Returns
    -------
    backbone : Backbone
        On the CPU, in evaluation mode: (b, c, h, w) to (b, features).
    preprocess : Preprocess
        A PIL image as the backbone's input.

    Raises
    ------
    UserError
        An unknown name; a file that is missing (with the address to fetch it from), unreadable, or of another network;
        a size or a pooling that the network can't do.
    """
    weights = find_weights(name, weights)
    state = read_weights(weights)
    with seeded(0, name):
        if _is_timm(name):
            return from_timm.load(name.removeprefix(PREFIX), state, weights, size, pooling)
        return from_torchvision.load(name, state, weights, size, pooling)


def remark(name: str) -> str:
    """What the network's own library has to say about its weights; mostly nothing."""
    return from_timm.remark(name.removeprefix(PREFIX)) if _is_timm(name) else ""


def _is_timm(name: str) -> bool:
    return name not in from_torchvision.names()


def require_backbone(name: str) -> None:
    """Refuse a name that no library here knows.

    Raises
    ------
    UserError
        With the nearest name, or how to install the library that may know it.
    """
    bare = name.removeprefix(PREFIX)
    if is_backbone(name):
        return
    if not from_timm.installed() and (name != bare or "." in bare):
        raise UserError(
            f"The backbone {name} is one of timm's, and timm is not installed.",
            "Install it with `pip install 'initpools[timm]'`.",
        )
    architecture = bare.partition(".")[0]
    names = from_timm.tags(bare) if "." in bare and from_timm.has(architecture) else backbone_names()
    raise unknown_name("backbone", name, names, LISTING, closest(bare, names))


def _published(name: str) -> PretrainedWeights:
    require_backbone(name)
    return from_timm.published(name.removeprefix(PREFIX)) if _is_timm(name) else from_torchvision.published(name)
