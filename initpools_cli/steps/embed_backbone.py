"""Embeddings of a published backbone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from initpools_cli.core.checksums import checksum
from initpools_cli.core.errors import UserError
from initpools_cli.core.rundir import FinishedStep
from initpools_cli.core.wording import counted_are, named
from initpools_cli.datasets.spec import Dataset
from initpools_cli.datasets.stored.shards import is_readable
from initpools_cli.steps.context import Context
from initpools_cli.steps.write_embeddings import PATCHES, write_embeddings


def embed_backbone(context: Context, name: str, weights_file: Path | None = None) -> tuple[FinishedStep, bool]:
    """Write ``embed/<backbone>/{train,test,val}.npy`` or ``patches/<backbone>/train.npy``, if they don't exist.

    Parameters
    ----------
    name : str
        One of `initpools list backbones`.
    weights_file : Path, optional
        The user's own weights file; default: the published weights.

    Raises
    ------
    UserError
        No name, weights that are missing or do not fit, or settings that the network does not support.
    """
    from initpools_cli.networks.aliases import canonical
    from initpools_cli.networks.backbones import find_weights, folder_of, load_backbone, remark, trained_on
    from initpools_cli.networks.hub import commit_of

    if not name:
        raise UserError(
            f"--weights {weights_file} does not name a backbone.",
            "Name it: `initpools embed resnet18 --weights FILE`.",
            weights_file,
        )
    how = context.settings.embed
    weights = find_weights(name, weights_file, report=context.report, download=how.download)
    name = canonical(name)
    bf16 = context.settings.run.precision == "bf16"
    folder = folder_of(name)
    if how.patches and how.pooling != "auto":
        raise UserError(
            f"embed.patches keeps all positions, and embed.pooling = '{how.pooling}' pools them.",
            "Leave out embed.patches or embed.pooling.",
            how.pooling,
        )
    kind, folder = PATCHES if how.patches else "embed", folder if how.pooling == "auto" else f"{folder}-{how.pooling}"
    kept = {"attention": how.attention} if how.attention < 1 else {}
    folder += f"-attention{how.attention:g}" if kept else ""
    size = how.size or _input_size(context, name, f"{kind}/{folder}")
    step = context.run.step(
        kind,
        folder,
        {
            "source": name,
            "weights": weights.name,
            "pooling": "none" if how.patches else how.pooling,
            **kept,
            "size": size,
            "precision": "bf16" if bf16 else "fp32",
        },
        {**context.items_checksum(), str(weights.absolute()): checksum(weights)},
        force=context.force,
    )
    if step.finished:
        return step.finished, False
    from initpools_cli.training.frozen_features import backbone_batch, backbone_features

    dataset = "" if weights_file is not None else trained_on(name)
    context.report.say(f"weights: {weights}" + (f" (pretrained on {dataset})" if dataset else ""))
    if remark(name):
        context.report.say(f"timm's note on them: {remark(name)}")
    data = _with_present_files(context)
    model, preprocess = load_backbone(name, weights, size=size, pooling=how.pooling)
    if how.patches:
        model.pooling, model.attention = "none", how.attention
    # Weights of the user's own may have been trained on anything.
    if dataset:
        step.outcome["trained_on"] = dataset
    if commit_of(weights):
        step.outcome["revision"] = commit_of(weights)
    batch = backbone_batch(model, preprocess, context.machine.device)
    return write_embeddings(
        context,
        step,
        lambda split, rows, machine: backbone_features(
            model, preprocess, data.splits[split], rows, data.root, batch, machine, bf16=bf16, scale=data.scale
        ),
        batch,
    )


def _with_present_files(context: Context) -> Dataset:
    """Return the data set with the present paths of renamed files, which have the same content.

    Raises
    ------
    UserError
        There is no file with the content of an image.
    """
    data = context.data
    if data.root is None:
        return data
    sha256_of = dict(zip(data.items["path"], data.items["sha256"], strict=True))
    missing = [path for path in sha256_of if not is_readable(data.root / path)]
    if not missing:
        return data
    present = {sha256_of[path]: path for path in sorted(sha256_of.keys() - {*missing}, reverse=True)}
    lost = [path for path in missing if sha256_of[path] not in present]
    if lost:
        raise UserError(
            f"{counted_are(lost, 'image')} missing in {data.root}: {named(lost)}.",
            "Restore the file, or start another run with --run DIR: `initpools export csv` writes the labels for it.",
            named(lost),
        )
    new_path_of = {path: present[sha256_of[path]] for path in missing}
    splits = {
        name: replace(split, paths=[new_path_of.get(path, path) for path in split.paths])
        for name, split in data.splits.items()
    }
    return replace(data, splits=splits)


def _input_size(context: Context, name: str, step: str) -> int:
    """Return the input size of a backbone if none is set: for small images the network may have a smaller one.

    It is decided once, so that images that are added to a folder later do not change it.
    """
    from initpools_cli.datasets.sizes import all_within
    from initpools_cli.networks.backbones import small_input

    small = small_input(name)
    if small is None:
        return 0
    earlier = context.run.find_step(step)
    if earlier is not None and earlier.table.get("size") in (0, small[0]):
        return int(earlier.table["size"])
    return small[0] if all_within(_with_present_files(context), small[1]) else 0
