"""Options that benchmarks of embeddings share."""

from __future__ import annotations

import argparse
import os
from pathlib import Path


def embeddings_parser(description, sizes, limit):
    """A parser of the folder and files of embeddings, their sizes, and the limits of a run."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("folder", nargs="?", type=Path, help="where the embeddings are kept")
    parser.add_argument("files", nargs="*", type=Path, help="embeddings; default: generated ones")
    parser.add_argument("--n", type=int, nargs="+", default=sizes, help="numbers of rows")
    parser.add_argument("--d", type=int, default=512)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--limit", type=float, default=limit, help="seconds for one run")
    parser.add_argument("--compare", action="store_true", help="only compare what has been recorded")
    return parser


def parse(parser):
    """Parse the command line; a folder is needed unless recorded results are compared."""
    options = parser.parse_args()
    if not options.compare and options.folder is None:
        parser.error("name a folder for the embeddings, or --compare")
    return options
