"""`initpools rank`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from initpools_cli.cli import completion
from initpools_cli.cli.file_options import FileOptions
from initpools_cli.cli.options import Backend, Common, Download, Scheduler

EXAMPLE = "Example: initpools rank consistency -o sorted_idx.npy"


def command(
    common: Common,
    strategy: Annotated[
        str,
        typer.Argument(
            metavar="STRATEGY",
            help="Strategy of `initpools list strategies`, or a function of a file: ./mine.py:spread. Append "
            "@kmeans30, @clusters or @groups to spread the order over clusters or groups.",
            autocompletion=completion.strategy,
        ),
    ],
    reference: Annotated[
        str | None,
        typer.Option(
            "--reference",
            metavar="val|test|labeled|FILE",
            help="Labels to train the reference classifier on; default: val if there is one, else test, which leaks.",
        ),
    ] = None,
    depth: Annotated[
        str | None,
        typer.Option(
            "--depth",
            metavar="N|all",
            help="Number of images that the strategy orders; the others follow by score (kcenter: by distance to the "
            "nearest ordered image), then by index. Default: all, but 1,000 for strategies whose larger pools do not "
            "begin with the smaller ones, and 10,000 if kcenter would take long.",
        ),
    ] = None,
    all_rows: Annotated[
        bool,
        typer.Option(
            "--all-rows",
            help="Append the rows of train that are not ranked (labeled, excluded, not kept), by ascending index.",
        ),
    ] = False,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE.npy", help="Also write the order to this file.")
    ] = None,
    source: Annotated[
        str,
        typer.Option(
            "--from",
            metavar="SOURCE",
            help="Embeddings to use, or logits (those of the reference classifier); default: those of the last "
            "labeling round, else the newest.",
        ),
    ] = "",
    download: Download = None,
    *,
    files: FileOptions,
    backend: Backend = "",
    scheduler: Scheduler = "",
) -> None:
    """Sort all train images in the order in which a strategy would choose them, best first."""
    from initpools_cli.cli.tables import show_ranking
    from initpools_cli.core.files import require_ending, write_array
    from initpools_cli.steps.backend import on_backend
    from initpools_cli.steps.rank import rank
    from initpools_cli.steps.strategy_name import parse_strategy, refuse_query_set
    from initpools_cli.strategies.registry import strategies

    user_files = files.user_files(output)
    spec = parse_strategy(strategy)
    refuse_query_set((spec,), user_files)
    flags = {
        "rank.strategy": strategy,
        "rank.reference": reference,
        "rank.depth": depth,
        "rank.all_rows": all_rows or None,
        "embed.download": download,
    }
    if files.clusters is not None and "clusters" not in spec.inputs:
        flags["select.balance"] = "clusters"
    require_ending(output, ".npy")
    by_table = (reference or "").endswith(".csv")
    provider = common.provider(
        "rank",
        flags,
        spec.settable,
        user_files,
        inputs=spec.method.inputs,
        source=source,
        classes=files.classes,
        of_labels=files.labels is not None or by_table,
        groups=files.groups,
    )
    with provider.at_work(), on_backend(provider, backend, scheduler, spec.method.name, strategies):
        result = rank(provider)
    order, folder = result.indices, None if result.step is None else result.step.folder
    if folder is not None:
        common.report_done(folder, result.fresh, f"{result.n_ranked} images ranked")
    if result.note:
        common.report.say(result.note)
    items = provider.user.items
    columns = {
        key: [""] * len(order) if items is None else items[key].iloc[order].tolist() for key in ("path", "class")
    }
    show_ranking(common.report, order, result.scores, columns)
    if output is not None:
        write_array(output, order)
    payload = {"folder": folder, "output": output, "ranked": result.n_ranked, "train_rows": result.rows}
    payload["sorted_idx"] = order.tolist()
    common.print_images(order.tolist(), columns["path"], [output] if output else [], payload)
