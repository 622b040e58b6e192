"""Write docs/semi-supervised.md from benchmarks/results/semi-supervised.csv: `python docs/semi_supervised.py`.

With `--runs RUN… --sweeps NAME…` the file of results is written first, from finished sweeps
(`make semi-supervised-study`). All numbers on the page come from the file.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from study.learners import (
    SUPERVISED,
    Results,
    accuracies,
    comparisons,
    encoded,
    gain_changes,
    learner_gains,
    never_worse,
    rows_of,
    tally,
)
from study.sweeps import AGAINST
from study.text import LEGEND, conjoined, seconds, table

from initpools_cli.core.errors import UserError
from initpools_cli.core.rundir import Run

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks/results/semi-supervised.csv"
PAGE = Path(__file__).parent / "semi-supervised.md"


def page(results: Results) -> str:
    """Return the text of the page."""
    rows = results.rows
    verdicts, gains, changes = comparisons(results), learner_gains(results), gain_changes(results)
    spreading_gains = learner_gains(results, {"label-spreading": "linear"})
    pairs = conjoined(f"`{each}` with `{other}`" for each, other in SUPERVISED.items() if each in set(rows["learner"]))
    inits = conjoined(f"`{init}`" for init in results.names("init") if init != AGAINST)
    parts = [
        "# First pools and semi-supervised learners",
        "<!-- Written by docs/semi_supervised.py: changes made here will be lost. -->",
        "For readers who also train on images without a label. The page shows whether a chosen first pool still helps "
        "such a semi-supervised learner, and whether it needs another first pool.",
        f"- *First pools*: {conjoined(sorted(results.names('labels')))} labels, chosen by {inits} "
        f"([descriptions](methods.md)), and compared with `{AGAINST}` at the same {conjoined(results.names('seeds'))} "
        "seeds.\n"
        "- *Semi-supervised learners* get the labels of the first pool, and all images that may be labeled at a seed. "
        f"They never get a test image. Labels read without being bought: {rows['leaks'].sum()}.\n"
        "- *Settings*: the defaults of all learners. Those of the semi-supervised ones were chosen on other data "
        "sets.\n"
        "- *Accuracy*: on the test split.",
        *([f"Not finished, and not on this page: {'; '.join(missing)}."] if (missing := results.missing()) else []),
        f"In all tables: {LEGEND}",
        "## Is a chosen first pool better than a random one?",
        "First pools that are better than random at least once and never worse:",
        "\n".join(
            f"- with `{learner}`: {conjoined(never_worse(own)) or 'none'}"
            for learner, own in verdicts.groupby("learner", sort=False)
        ),
        "Every first pool compared with random, by learner:",
        tally(verdicts, "learner"),
        *(
            f"By first pool, with `{learner}`:\n\n{tally(own, 'init')}"
            for learner, own in verdicts.groupby("learner", sort=False)
        ),
        "## Does the gain over random change?",
        "The gain over random with a semi-supervised learner minus the gain with its supervised counterpart. Below 0, "
        f"a chosen pool helps less when images without a label are used. Counterparts: {pairs}.",
        tally(changes, "learner", ("larger", "smaller")),
        tally(changes, "init", ("larger", "smaller")),
        "## Is the semi-supervised learner better on the same pool?",
        f"Accuracy of {pairs}, compared on the same pools:",
        tally(gains, "learner"),
        *(
            f"`{learner}`, by number of labels:\n\n{tally(own, 'labels')}"
            for learner, own in gains.groupby("learner", sort=False)
        ),
        "`label-spreading` compared with `linear`, by data set and by number of labels:",
        tally(spreading_gains, "data").replace("| data |", "| data set |"),
        tally(spreading_gains, "labels"),
        "## Accuracy",
        "Mean accuracy over the seeds, in percent.",
        *(
            f"### {data}, {encoder}\n\n{accuracies(results, verdicts, data, encoder)}"
            for data in results.names("data")
            for encoder in results.names("encoder", data=data)
        ),
        "## What this does not show",
        *_limits(results),
        "## How it was made",
        *_provenance(results),
    ]
    return "\n\n".join(parts) + "\n"


def _limits(results: Results) -> list[str]:
    few = [sweep for sweep in results.sweeps() if results.has(*sweep, "flexmatch", AGAINST)]
    flexmatch = (
        f"`flexmatch` was run on {conjoined(f'{data} with {labels} labels' for data, _, labels in few)} only, "
        "with its default training, which is far shorter than that of the paper."
        if few
        else "`flexmatch` has not been compared yet; its sweep is `configs/semi-supervised/flexmatch.toml`."
    )
    return [
        f"- {flexmatch}\n"
        "- Encoders were trained once on each data set.\n"
        "- The candidates of different seeds overlap, so intervals and verdicts apply to these data sets only.\n"
        "- The test split is fixed.\n"
        "- Verdicts are corrected within a sweep, not over all sweeps."
    ]


def _provenance(results: Results) -> list[str]:
    first = results.rows.iloc[0]
    versions = ", ".join(f"{name} {first[name]}" for name in ("torch", "numpy", "scipy", "scikit-learn"))
    lines, total = [], 0
    for (data, encoder, labels, duration), own in results.rows.groupby(
        ["data", "encoder", "labels", "sweep_seconds"], sort=False
    ):
        lines.append((data, encoder, labels, conjoined(own["learner"]), seconds(duration)))
        total += duration
    return [
        f"Computed with `make semi-supervised-study` on {first['cpu']} with {first['cores']} cores, Python "
        f"{first['python']}, {versions}. The rows are in `benchmarks/results/semi-supervised.csv`. Sweeps took "
        f"{seconds(total)} in all, on a machine that also ran other jobs.",
        table(("data set", "encoder", "labels", "learners", "time"), lines),
    ]


def main() -> None:
    """Write the file of results if runs are given, and the page."""
    parser = argparse.ArgumentParser(description="Write docs/semi-supervised.md.")
    parser.add_argument("--runs", nargs="+", default=[], type=Path, metavar="RUN")
    parser.add_argument("--sweeps", nargs="+", default=[], metavar="NAME", help="sweeps that every run may have")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("-o", "--output", type=Path, default=PAGE)
    args = parser.parse_args()
    try:
        if args.runs:
            sweeps = [(run, name) for run in map(Run, args.runs) for name in args.sweeps if run.find_step(f"al/{name}")]
            rows = [row for run, name in sweeps for row in rows_of(run, name)]
            if not rows:
                parser.exit(2, "None of the runs has one of the sweeps. Make them with `make semi-supervised-study`.\n")
            args.results.write_text(encoded(rows), encoding="utf-8")
        args.output.write_text(page(Results(args.results)), encoding="utf-8")
    except UserError as error:
        parser.exit(2, f"{error}\n")
    sys.stdout.write(f"Wrote {args.output}.\n")


if __name__ == "__main__":
    main()
