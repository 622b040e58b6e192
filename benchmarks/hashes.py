"""Claim: a refactor changes no result. Prints SHA-256 of the arrays, tables and weights of runs, and of picks.

    python benchmarks/hashes.py runs > before.txt

Logs of training are compared without their speed; `step.toml` and `run.toml`, which hold times, are left out.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from initpools_cli.core.errors import UserError
from initpools_cli.strategies.registry import strategies
from initpools_cli.strategies.select import choose
from initpools_cli.testing import inputs_for

RESULTS = {".npy", ".npz", ".csv", ".safetensors", ".json"}
SPEED = "images_per_second"


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def file_digest(path: Path) -> str:
    if path.name == "log.csv":
        return digest(pd.read_csv(path).drop(columns=SPEED, errors="ignore").to_csv(index=False).encode())
    return digest(path.read_bytes())


def folder_lines(folder: Path) -> list[str]:
    files = [path for path in sorted(folder.rglob("*")) if path.suffix in RESULTS and ".partial" not in path.parts]
    return [f"{file_digest(path)}  {path.relative_to(folder).as_posix()}" for path in files]


def strategy_lines(n: int = 400, budget: int = 25) -> list[str]:
    """What every strategy chooses of one seeded array, with nothing labeled and with 20 images labeled."""
    inputs = inputs_for(np.random.default_rng(0).normal(size=(n, 16)).astype(np.float32))
    lines = []
    for method in strategies:
        for labeled in ([], list(range(20))):
            try:
                selection = choose(method.name, inputs, budget, labeled=labeled, seed=3)
                text = digest(selection.indices.tobytes())
            except UserError as error:
                text = f"refused: {error}"
            lines.append(f"{text}  {method.name} with {len(labeled)} labeled")
    return lines


def main() -> None:
    for folder in sys.argv[1:]:
        print(*folder_lines(Path(folder)), sep="\n")
    print(*strategy_lines(), sep="\n")


if __name__ == "__main__":
    main()
