"""What a command reads of the user's files and settings: each file once, and each knob with where it was set."""

from __future__ import annotations

from collections import Counter
from importlib import import_module
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
@pytest.mark.parametrize("in_run", [True, False])
def test_an_error_of_a_knob_names_where_that_knob_was_set(
    config: str, sets: list[str], fact: str, in_run: bool, points: Path, copied_run: Path, initpools: Initpools
) -> None:
    file = points.with_name("c.toml")
    file.write_text(f"[select.params]\n{config}\n")
    where = ["--run", copied_run / "runs" / "digits"] if in_run else ["--embeddings", points]
    result = initpools(
        "select-pool",
        "probcover",
        "-n",
        5,
        *where,
        "--config",
        file,
        *(word for each in sets for word in ("--set", each)),
    )
    assert result.code == 2
    assert fact.replace("FILE", str(file)) in result.err


@pytest.fixture
def user(tmp_path: Path) -> dict[str, Path]:
    """Files of every kind that a command may be given, for the 1,797 train images of the digits."""
    rng, n = np.random.default_rng(0), 1797
    arrays = {
        "embeddings": rng.normal(size=(n, 4)).astype(np.float32),
        "probs": rng.dirichlet(np.ones(10), n),
        "clusters": np.arange(n) % 3,
        "labels": np.where(np.arange(n) < 40, np.arange(n) % 10, -1),
        "exclude": np.arange(60, 90),
    }
    paths = {name: tmp_path / f"{name}.npy" for name in arrays}
    for name, array in arrays.items():
        np.save(paths[name], array)
    return paths


@pytest.mark.parametrize(("in_run", "table"), [(True, False), (True, True), (False, False)])
@pytest.mark.parametrize(
    "words",
    [
        ["select-pool", "kcenter@clusters", "-n", 5, "--compare", "random", "--random-pools", 20, "--card", "full"],
        ["select-pool", "typicality", "-n", 5],
        ["rank", "margin", "--depth", 5],
    ],
    ids=lambda words: "-".join(map(str, words[:2])),
)
def test_a_command_reads_each_file_once(
    words: list[object],
    in_run: bool,
    table: bool,
    user: dict[str, Path],
    copied_run: Path,
    initpools: Initpools,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if table and in_run:
        user["labels"] = user["labels"].with_suffix(".csv")
        user["labels"].write_text("index,label\n" + "".join(f"{i},{i % 10}\n" for i in range(40)))
    read: Counter[str] = Counter()

    def counted(module: str, name: str) -> None:
        original = getattr(import_module(module), name)

        def function(path: Path, *more: object, **options: object) -> object:
            read[Path(path).stem] += 1
            return original(path, *more, **options)

        monkeypatch.setattr(f"{module}.{name}", function)

    for module in ("steps.user_files", "datasets.user_labels"):
        counted(f"initpools_cli.{module}", "read_array")
    counted("initpools_cli.steps.user_files", "read_embeddings")
    counted("initpools_cli.datasets.annotations.check", "read_annotations")
    flags = [word for name, path in user.items() for word in (f"--{name}", path)]
    ended = initpools(*words, *flags, *(["--run", copied_run / "runs" / "digits"] if in_run else []))
    assert ended.code == 0, ended.err
    assert read == dict.fromkeys(user, 1)
