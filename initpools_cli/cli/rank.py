"""`initpools rank`."""

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
    Labeled,
    Labels,
    Patches,
    Probs,
    Ranking,
    Scores,
    user_files,
)

EXAMPLE = "Example: initpools rank consistency -o sorted_idx.npy"


def command(
    common: Common,
    strategy: Annotated[
        str,
        typer.Argument(
            metavar="STRATEGY",
            help="Strategy; `initpools list strategies` lists all. Append @kmeans30 or @clusters to spread "
            "the order over clusters.",
            autocompletion=completion.strategy,
        ),
    ],
    reference: Annotated[
        str | None,
        typer.Option(
            "--reference",
            metavar="val|test|labeled|FILE",
            help="Labels to train the reference classifier on; default: val if there is one, else test (which leaks).",
        ),
    ] = None,
    depth: Annotated[
        int | None,
        typer.Option(
            "--depth",
            help="How many images the strategy orders itself; the others follow by score, then by index. 0: all, or "
            "1,000 for strategies whose larger pools do not begin with the smaller ones.",
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE.npy", help="Also write the order to this file.")
    ] = None,
    source: Annotated[
        str,
        typer.Option("--from", metavar="SOURCE", help="Embeddings to use; logits: those of the reference classifier."),
    ] = "",
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
    """Sort all train images in the order in which a strategy would choose them, best first."""
    from initpools_cli.cli.tables import show_ranking
    from initpools_cli.core.files import require_ending, write_array
    from initpools_cli.steps.context import at_work
    from initpools_cli.steps.rank import rank, rank_from_files
    from initpools_cli.steps.strategy_name import named

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
    flags = {"rank.strategy": strategy, "rank.reference": reference, "rank.depth": depth}
    if clusters is not None and "clusters" not in asked.needed:
        flags["select.balance"] = "clusters"
    knobs = asked.settable
    require_ending(output, ".npy")
    by_table = (reference or "").endswith(".csv")
    folder = None
    if common.works_without_run(files, asked.method.inputs, source):
        settings, _ = common.settings("rank", flags, knobs)
        with at_work(settings.run):
            ranked = rank_from_files(settings.rank, settings.select, files, settings.run.seed, common.report)
        order, scores_of = ranked.indices, ranked.scores
        paths, of_class = [""] * len(order), [""] * len(order)
    else:
        context = common.start("rank", flags, knobs, classes=classes, of_labels=labels is not None or by_table)
        done, fresh = rank(context, files, source)
        folder = done.folder
        common.report_done(folder, fresh, f"{done.facts['outcome']['ranked']} images ranked")
        order = done.array("sorted_idx.npy")
        images = context.data.train_items.iloc[order]
        paths, of_class = images["path"].tolist(), images["class"].tolist()
        scores_of = done.array("scores.npy")[order] if "scores.npy" in done.facts["writes"] else None
    show_ranking(common.report, order, scores_of, {"path": paths, "class": of_class})
    if output is not None:
        write_array(output, order)
    payload = {"folder": folder, "output": output, "sorted_idx": order.tolist()}
    common.chosen(order.tolist(), paths, [output] if output else [], payload)
