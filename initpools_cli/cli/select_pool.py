"""`initpools select-pool`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from initpools_cli.cli import completion
from initpools_cli.cli.options import (
    Classes,
    Clusters,
    Common,
    Embeddings,
    Exclude,
    Export,
    ImageUrl,
    Labeled,
    Labels,
    Patches,
    Probs,
    Ranking,
    Scores,
    Source,
    user_files,
)

EXAMPLE = "Example: initpools select-pool typiclust --budget 20 -o pool.csv"


def command(
    common: Common,
    strategy: Annotated[
        str,
        typer.Argument(
            metavar="STRATEGY",
            help="Strategy; `initpools list strategies` lists all. Append @kmeans30 or @clusters to spread "
            "the picks over clusters.",
            autocompletion=completion.strategy,
        ),
    ],
    budget: Annotated[int | None, typer.Option("--budget", "-n", help="Number of images to choose.")] = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE", help="Also write the images to this .npy, .csv or .json file."),
    ] = None,
    source: Source = "",
    balance: Annotated[
        str | None,
        typer.Option(
            "--balance", help="Spread the picks over clusters: none, kmeans or clusters; the same as STRATEGY@kmeans."
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
        int | None, typer.Option("--random-pools", help="Number of random pools for --compare; default: 100.")
    ] = None,
    with_labels: Annotated[
        bool, typer.Option("--with-labels", help="Include the labels of the data set in the output.")
    ] = False,
    embeddings: Embeddings = None,
    patches: Patches = None,
    probs: Probs = None,
    scores: Scores = None,
    clusters: Clusters = None,
    ranking: Ranking = None,
    labeled: Labeled = None,
    labels: Labels = None,
    classes: Classes = None,
    exclude: Exclude = None,
) -> None:
    """Choose the images to label first (or next, with --labeled), in order of choice."""
    from initpools_cli.cli.tables import show_card, show_compared
    from initpools_cli.core.errors import UserError
    from initpools_cli.core.files import require_ending
    from initpools_cli.reporting.export import FORMATS, read_exports, records, write_exports, write_pool
    from initpools_cli.steps.compare_pools import DRAWS, compare_from_files, compare_in_run, read_compared, rivals
    from initpools_cli.steps.context import at_work
    from initpools_cli.steps.report_card import full_card, read_card, require_level
    from initpools_cli.steps.select_pool import read_pool, select_from_files, select_pool
    from initpools_cli.steps.select_pool import with_labels as fill
    from initpools_cli.steps.strategy_name import balanced, named, refuse_source

    require_ending(output, *FORMATS)
    exports = read_exports(export or [], output, image_url)
    files = user_files(
        output,
        embeddings=embeddings,
        patches=patches,
        probs=probs,
        scores=scores,
        clusters=clusters,
        ranking=ranking,
        labeled=labeled,
        labels=labels,
        classes=classes,
        exclude=exclude,
    )
    asked = named(strategy)
    require_level(card)
    draws = DRAWS if random_pools is None else random_pools
    others = rivals(asked, compare, draws)
    if compare is None and random_pools is not None:
        raise UserError("--random-pools is of --compare, which is not given.", "Add --compare A,B,C.")
    if clusters is not None and balance is None and not any("clusters" in each.needed for each in (asked, *others)):
        balance = "clusters"
    flags = {"select.strategy": strategy, "select.budget": budget, "select.balance": balance}
    knobs = asked.settable
    if common.works_without_run(files, asked.method.inputs, source):
        if exports:
            raise UserError("--export needs a run's images, and only files were given.", "Name the run with --run DIR.")
        settings, _ = common.settings("select", flags, knobs)
        if with_labels:
            raise UserError(
                "--with-labels needs a run's data set, and only files were given.", "Name the run with --run DIR."
            )
        seed = settings.run.seed
        with at_work(settings.run):
            pool = select_from_files(settings.select, files, seed, full=card == "full", report=common.report)
            compared = compare_from_files(pool, settings.select, others, files, seed, draws) if others else []
        rows, facts, folder = pool.rows, pool.card, None
    else:
        context = common.start("select", flags, knobs, classes=classes, of_labels=labels is not None)
        # A full card and a comparison measure any pool on the embeddings that are named.
        if card != "full" and not others:
            refuse_source(balanced(asked, context.settings.select), files, source)
        done, fresh = select_pool(context, files, source)
        folder = done.folder
        common.report_done(folder, fresh, f"{done.facts['outcome']['picked']} images")
        rows = read_pool(done)
        facts = read_card(full_card(context, done, files, source) if card == "full" else done)
        compared = read_compared(compare_in_run(context, asked, done, others, files, source, draws)) if others else []
        if with_labels:
            rows = fill(rows, context)
        if exports:
            write_exports(context, folder.name, rows, exports, image_url)
    if card != "none":
        show_card(common.report, facts)
    if compared:
        show_compared(common.report, compared, facts["images"] - facts.get("zero_rows", 0))
    if output is not None:
        write_pool(rows, output)
    payload = {
        "folder": folder,
        "output": output,
        "exports": [vars(each) for each in exports],
        "card": facts,
        "compare": compared,
        "pool": records(rows),
    }
    written = [*([output] if output else []), *(each.path for each in exports)]
    common.chosen(rows["index"].tolist(), rows["path"].tolist(), written, payload)
