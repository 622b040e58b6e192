"""Draw every kind of plot from a small run on a long tail of scikit-learn's digits: `python docs/gallery.py FOLDER`.

The pages and their index.html go into FOLDER, the run into FOLDER/digits. About half a minute; `make gallery`.
"""

from __future__ import annotations

import argparse
import sys
from contextlib import chdir, redirect_stdout
from io import StringIO
from pathlib import Path

from markupsafe import Markup

from initpools_cli.cli.app import run as initpools
from initpools_cli.figures.html import environment
from initpools_cli.figures.page import page_html
from initpools_cli.figures.registry import plots
from initpools_cli.figures.section import Section

STEPS = [
    "pretrain simclr --dataset digits --set dataset.imbalance=exp --set dataset.ratio=0.1",
    "embed",
    "score simclr",
    "score typicality",
    "score confidence",
    "score variability",
    "score correctness",
    "select-pool random --budget 20",
    "select-pool kcenter --budget 20",
    "select-pool typiclust --budget 20",
    "al-run --init random,typiclust,kmeans,kcenter --query random,margin --budget 10 --rounds 2 --seeds 6 --name ten",
    "al-run --init random,typiclust,kmeans,kcenter --query random --budget 40 --rounds 1 --seeds 6 --name forty",
    "select-pool maxherding --budget 60 --with-labels -o labeled.csv",
    "al-run --labels labeled.csv",
    "rank typicality",
    "rank simclr",
]
#: Settings that make a plot fast.
QUICK = {"cost": "--set seconds=0.05 --set budget=10 --set strategies=random,kcenter,typiclust"}
SETTINGS = "--set pretrain.epochs=2 --set pretrain.width=0.25 --set score.views=1 --set score.epochs=3"
LINKS = """<ul>
{% for kind in kinds %}<li><a href="{{ kind.name }}.html">{{ kind.name }}</a>: {{ kind.summary }}</li>{% endfor %}
</ul>"""


def main(folder: Path) -> None:
    """Make the run, then a page for every kind of plot, then the index."""
    folder.mkdir(parents=True, exist_ok=True)
    run = ["--run", "digits", "--quiet", *SETTINGS.split()]
    kinds = list(plots)
    # In this folder, so that the last used run elsewhere does not change.
    with chdir(folder):
        for step in STEPS:
            command(*step.split(), *run)
        for kind in kinds:
            command("plot", kind.name, *QUICK.get(kind.name, "").split(), *run, "--output", f"{kind.name}.html")
    index = folder / "index.html"
    section = Section("", "", Markup(environment().from_string(LINKS).render(kinds=kinds)), [])
    index.write_text(page_html(section, "Every kind of plot", {}), encoding="utf-8")
    print(f"Every kind of plot is in {index}")  # noqa: T201 -- the result of the script


def command(*words: str) -> None:
    """Run a command line in this process; exit if it fails."""
    # Steps record the command line of the process.
    sys.argv = ["initpools", *words]
    # Discard results on standard output, such as the indices of a pool.
    with redirect_stdout(StringIO()):
        code = initpools(list(words))
    if code:
        sys.exit(code)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    main(parser.parse_args().folder)
