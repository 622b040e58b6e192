"""Write docs/results.md and docs/figures/ from finished sweeps: `python docs/results.py --suite laptop --dir DIR`.

`make laptop-study` runs them first. Instead of a suite, run directories can be named: `python docs/results.py RUN…`.

All numbers on the page come from the runs. Unfinished sweeps are listed as missing.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from study.caveats import limits, provenance
from study.curves import figure, figure_name, has_curves
from study.dataset import data_set
from study.overview import in_short, question
from study.radius import radii
from study.readme import with_first_pools
from study.sweeps import Study, of_suite, read_study
from study.together import later, over_data_sets

from initpools_cli.core.errors import UserError

PAGE = Path(__file__).parent / "results.md"


def page(study: Study) -> str:
    """Return the text of the page."""
    parts = [
        "# Results",
        "<!-- Written by docs/results.py: changes made here will be lost. -->",
        *question(study),
        *(part for setting in study.settings for part in in_short(study, setting)),
        *(part for run in study.runs for part in data_set(study, run)),
        *radii(study),
        *later(study),
        *over_data_sets(study),
        *limits(study),
        *provenance(study),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def main() -> None:
    """Write the page and its figures."""
    parser = argparse.ArgumentParser(description="Write docs/results.md from finished sweeps.")
    parser.add_argument("runs", nargs="*", type=Path, metavar="RUN", help="run directories, one per data set")
    parser.add_argument("--suite", help="the suite whose data sets and sweeps are read, instead of RUN and --sweeps")
    parser.add_argument("--dir", type=Path, default=Path("runs/laptop"), help="the results of the suite")
    parser.add_argument("--sweeps", nargs="+", default=[], metavar="NAME", help="default: all sweeps of the runs")
    parser.add_argument("-o", "--output", type=Path, default=PAGE, help="the page; figures/ is written next to it")
    parser.add_argument("--readme", type=Path, help="also write the table of first pools in this file")
    args = parser.parse_args()
    try:
        runs, names = of_suite(args.suite, args.dir) if args.suite else (args.runs, args.sweeps)
        study = read_study(runs, names)
    except UserError as error:
        parser.exit(2, f"{error}\n")
    figures = args.output.parent / "figures"
    figures.mkdir(parents=True, exist_ok=True)
    for sweep in study.sweeps:
        if has_curves(sweep):
            (figures / figure_name(sweep)).write_text(figure(study, sweep), encoding="utf-8")
    args.output.write_text(page(study), encoding="utf-8")
    if args.readme is not None:
        text = with_first_pools(args.readme.read_text(encoding="utf-8"), study)
        args.readme.write_text(text, encoding="utf-8")
    missing = f" Not finished: {', '.join(study.missing)}." if study.missing else ""
    sys.stdout.write(f"Wrote {args.output} from {len(study.sweeps)} sweeps.{missing}\n")


if __name__ == "__main__":
    main()
