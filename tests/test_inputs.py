"""What a command reads of the user's files and settings: each file once, and each knob with where it was set."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import Initpools


@pytest.fixture
def points(tmp_path: Path) -> Path:
    """Embeddings of 40 images in a file."""
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32))
    return tmp_path / "x.npy"


@pytest.mark.parametrize(
    ("config", "sets", "fact"),
    [
        ("delta = 0.5", ["n_clusters=-1"], "n_clusters = -1 (in --set)"),
        ("n_clusters = -1", ["delta=0.5"], "n_clusters = -1 (in FILE)"),
        ("delta = 0.5", ["deltas=1"], "'deltas' (in --set)"),
        ("deltas = 1", ["delta=0.5"], "'deltas' (in FILE)"),
    ],
)
@pytest.mark.parametrize("in_run", [True])
def test_an_error_of_a_knob_names_where_that_knob_was_set(
    config: str, sets: list[str], fact: str, in_run: bool, points: Path, copied_run: Path, initpools: Initpools
) -> None:
    file = points.with_name("c.toml")
    file.write_text(f"[select.params]\n{config}\n")
    where = ["--run", copied_run / "runs" / "digits"] if in_run else ["--embeddings", points]
    said = initpools(
        "select-pool",
        "probcover",
        "-n",
        5,
        *where,
        "--config",
        file,
        *(word for each in sets for word in ("--set", each)),
    )
    assert said.code == 2
    assert fact.replace("FILE", str(file)) in said.err
