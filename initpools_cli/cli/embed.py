"""`initpools embed`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from initpools_cli.cli import completion
from initpools_cli.cli.file_options import IdColumn
from initpools_cli.cli.options import Classes, Common, Download, Groups

EXAMPLE = "Example: initpools embed simclr"


def command(
    common: Common,
    source: Annotated[
        str,
        typer.Argument(
            metavar="[SOURCE]",
            help="Pretrained encoder of the run, pixels, pca, a backbone (`initpools list backbones`), or a file of "
            "your own embeddings (.npy, .npz, .safetensors, .pt, .parquet, .csv, .h5), a ./FOLDER or a pattern of "
            "such files; default: the newest pretrained encoder, else efficientnet-lite0.",
            autocompletion=completion.source,
        ),
    ] = "",
    weights: Annotated[
        Path | None,
        typer.Option(
            "--weights",
            metavar="FILE",
            help="Weights of the backbone, .pth or .safetensors; default: the file in the cache of its library.",
        ),
    ] = None,
    ids: Annotated[
        Path | None,
        typer.Option(
            "--ids",
            metavar="FILE",
            help="Ids of the rows of a file of embeddings: text with one path, id or index per line, or .csv with such "
            "a column.",
        ),
    ] = None,
    id_column: IdColumn = None,
    download: Download = None,
    classes: Classes = None,
    groups: Groups = None,
) -> None:
    """Compute the embeddings of every image."""
    from initpools_cli.datasets.embeddings import as_dataset, is_embeddings, is_source, refuse_other_file
    from initpools_cli.steps.embed import embed
    from initpools_cli.steps.encoder import UNTRAINED

    refuse_other_file(source)
    flags = {"embed.source": source or None, "embed.download": download, "dataset.groups": groups}
    may_create = source in UNTRAINED and common.dataset is not None
    own = as_dataset(source) if is_source(source) else source or common.dataset or ""
    if is_embeddings(own) and common.starts_run(own, "embed"):
        may_create = True
        flags |= {"dataset.name": own, "dataset.ids": None if ids is None else str(ids)}
        flags |= {"dataset.id_column": id_column}
    context = common.start("embed", flags, may_create=may_create, classes=classes)
    step, fresh = embed(context, context.settings.embed.source, weights, ids, id_column or "")
    common.step_result(step, fresh, "embeddings")
