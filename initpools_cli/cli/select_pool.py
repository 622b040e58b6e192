"""`initpools select-pool`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from initpools_cli.cli import completion
from initpools_cli.cli.file_options import FileOptions
from initpools_cli.cli.options import Audit, Backend, Common, Download, Export, ImageUrl, Scheduler, Source
from initpools_cli.strategies.defaults import FIRST_POOL, REASON

EXAMPLE = "Example: initpools select-pool --dataset ./photos --budget 200 -o to-label.csv"


def command(
    common: Common,
    strategy: Annotated[
        str,
        typer.Argument(
            metavar="[STRATEGY]",
            help="Strategy of `initpools list strategies`, or a function of a file: ./mine.py:spread. Append "
            f"@kmeans30, @clusters or @groups to spread the picks over clusters or groups. Default: {FIRST_POOL}.",
            autocompletion=completion.strategy,
        ),
    ] = "",
    budget: Annotated[
        str | None,
        typer.Option(
            "--budget", "-n", metavar="N|1%", help="Number of images to choose, or a share of those to choose from."
        ),
    ] = None,
    audit: Audit = None,
    partitions: Annotated[
        int | None,
        typer.Option(
            "--partitions",
            metavar="P",
            help="Choose the budget from each of P random partitions, then from all of these picks: faster, and in "
            "less memory, for strategies that compare all pairs of images.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE", help="Also write the images to this .npy, .csv or .json file."),
    ] = None,
    source: Source = "",
    download: Download = None,
    balance: Annotated[
        str | None,
        typer.Option(
            "--balance",
            metavar="NAME",
            help="Spread the picks over clusters: none, kmeans, clusters or groups; the same as STRATEGY@kmeans.",
        ),
    ] = None,
    export: Export = None,
    image_url: ImageUrl = "",
    card: Annotated[
        str,
        typer.Option(
            "--card",
            metavar="none|short|full",
            help="Statistics of the pool to print; full adds typicality, cluster coverage and agreement with other "
            "strategies.",
        ),
    ] = "short",
    compare: Annotated[
        str | None,
        typer.Option(
            "--compare",
            metavar="A,B,C",
            help="Compare with other strategies and with random pools.",
            autocompletion=completion.several_of(completion.strategy),
        ),
    ] = None,
    random_pools: Annotated[
        int | None,
        typer.Option("--random-pools", metavar="N", help="Number of random pools for --compare; default: 100."),
    ] = None,
    with_labels: Annotated[
        bool, typer.Option("--with-labels", help="Include the labels of the data set in the output.")
    ] = False,
    *,
    files: FileOptions,
    backend: Backend = "",
    scheduler: Scheduler = "",
) -> None:
    """Choose the images to label first (or next, with --labeled), in order of choice."""
    from initpools_cli.cli.tables import show_card, show_comparison
    from initpools_cli.core.errors import UserError
    from initpools_cli.core.files import require_ending
    from initpools_cli.labeling.loop_embeddings import report_change
    from initpools_cli.reporting.export import read_exports, require_images, write_exports
    from initpools_cli.reporting.pool_table import FORMATS, records, write_pool
    from initpools_cli.steps.backend import on_backend
    from initpools_cli.steps.compare_pools import DRAWS, compare_with, rivals
    from initpools_cli.steps.full_card import full_card
    from initpools_cli.steps.report_card import require_level
    from initpools_cli.steps.select_pool import select_pool
    from initpools_cli.steps.select_pool import with_labels as fill
    from initpools_cli.steps.strategy_name import parse_strategy, refuse_query_set, refuse_source, with_balance
    from initpools_cli.strategies.registry import strategies

    require_ending(output, *FORMATS)
    exports = read_exports(export or [], output, image_url)
    user_files = files.user_files(output)
    strategy = strategy or _first_pool(common)
    spec = parse_strategy(strategy)
    require_level(card)
    draws = DRAWS if random_pools is None else random_pools
    others = rivals(spec, compare, draws)
    refuse_query_set((spec, *others), user_files)
    if compare is None and random_pools is not None:
        raise UserError("--random-pools requires --compare.", "Add --compare A,B,C.", "--random-pools")
    reads_clusters = any("clusters" in each.inputs for each in (spec, *others))
    if files.clusters is not None and balance is None and not reads_clusters:
        balance = "clusters"
    flags = {
        "select.strategy": strategy,
        "select.budget": budget,
        "select.balance": balance,
        "select.audit": audit,
        "select.partitions": partitions,
        "embed.download": download,
    }
    provider = common.provider(
        "select",
        flags,
        spec.settable,
        user_files,
        inputs=spec.method.inputs,
        source=source,
        classes=files.classes,
        of_labels=files.labels is not None,
        groups=files.groups,
    )
    provider = provider.with_whole_budget()
    if exports:
        require_images(provider.require_run("--export"), exports)
    if with_labels:
        provider.require_run("--with-labels")
    # A full card and a comparison measure any pool on the embeddings that are named.
    if card != "full" and not others:
        refuse_source(with_balance(spec, provider.settings.select), user_files, source)
    partitions = provider.settings.select.partitions
    with provider.at_work(), on_backend(provider, backend, scheduler, spec.method.name, strategies, partitions):
        pool = select_pool(provider)
        folder = None if pool.step is None else pool.step.folder
        if source and provider.context is not None and pool.inputs.source.startswith("embed/"):
            report_change(provider.context, pool.inputs.source.removeprefix("embed/"))
        if folder is not None:
            common.report_done(folder, pool.fresh, f"{len(pool.indices)} images")
        facts = full_card(provider, pool) if card == "full" else pool.card
        comparison = compare_with(provider, pool, others, draws) if others else []
    rows = fill(pool.rows, provider.require_run("--with-labels")) if with_labels else pool.rows
    if exports and folder is not None:
        write_exports(provider.require_run("--export"), folder.name, rows, exports, image_url)
    if card != "none":
        show_card(common.report, facts)
    if comparison:
        show_comparison(common.report, comparison, facts["images"] - facts.get("zero_rows", 0))
    if output is not None:
        write_pool(rows, output)
    payload = {
        "folder": folder,
        "output": output,
        "exports": [vars(each) for each in exports],
        "card": facts,
        "compare": comparison,
        "pool": records(rows),
    }
    paths = [*([output] if output else []), *(each.path for each in exports)]
    common.print_images(rows["index"].tolist(), rows["path"].tolist(), paths, payload)


def _first_pool(common: Common) -> str:
    """Return the strategy of --config or --set, else the default, which is printed."""
    from initpools_cli.core.errors import UserError

    name = common.value_set("select.strategy")
    if name is not None and not isinstance(name, str):
        raise UserError(
            f"select.strategy = {name!r} is not the name of a strategy.",
            "Set select.strategy to one of `initpools list strategies`.",
            repr(name),
        )
    if not name:
        common.report.say(
            f"strategy: {FIRST_POOL}, the default ({REASON}); name another: `initpools select-pool kmeans ...`"
        )
    return name or FIRST_POOL
