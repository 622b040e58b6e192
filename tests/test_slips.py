"""What users bring or ask for that says nothing, and must not be passed over in silence."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import Initpools

import initpools_cli
from initpools_cli.core.errors import UserError
from initpools_cli.strategies.select import choose

N = 40


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a ranking of images with large indices; it is the current one."""
    monkeypatch.chdir(tmp_path)
    np.save("far.npy", np.array([10**12, 3, 7]))
    return tmp_path


def test_a_ranking_is_of_the_images_it_names_however_large_their_indices(files: Path, initpools: Initpools) -> None:
    assert initpools("select-pool", "file", "--ranking", "far.npy", "-n", 2).out.split() == [str(10**12), "3"]
    assert initpools("rank", "file", "--ranking", "far.npy").out.split() == [str(10**12), "3", "7"]
    np.save("known.npy", np.array([7]))
    left = initpools("rank", "file", "--ranking", "far.npy", "--labeled", "known.npy")
    assert left.out.split() == [str(10**12), "3"]
    assert set(initpools("select-pool", "random", "--ranking", "far.npy", "-n", 3).out.split()) == {
        str(10**12), "3", "7",
    }  # fmt: skip


def test_a_ranking_is_cut_to_the_images_there_are() -> None:
    order = np.random.default_rng(0).permutation(30)
    inside = choose("file", {"order": order}, 10, exclude=np.arange(20))
    assert inside.indices.tolist() == [image for image in order.tolist() if image >= 20]


def test_a_model_that_prefers_nothing_is_refused_but_not_while_it_learns() -> None:
    probs = np.full((N, 3), 1 / 3)
    with pytest.raises(UserError, match="constant within rounding"):
        initpools_cli.select(None, "entropy", 5, probs=probs)
    assert choose("entropy", {"probs": probs}, 5).indices.tolist() == [0, 1, 2, 3, 4]
    # Few picks may well have one score where the others have not.
    probs[:20] = [0.5, 0.3, 0.2]
    assert initpools_cli.select(None, "entropy", 5, probs=probs).tolist() == [20, 21, 22, 23, 24]


@pytest.mark.parametrize("seed", [-1, 1.5, True, 2**63, "1"])
def test_a_seed_is_a_whole_number_from_python_too(seed: object) -> None:
    with pytest.raises(UserError, match=r"seed = .* is not valid"):
        initpools_cli.select(np.eye(3), "random", 1, seed=seed)  # type: ignore[arg-type]  # refused here


def test_what_a_long_tail_leaves_out_does_not_count_as_labeled(copied_run: Path, initpools: Initpools) -> None:
    kept = np.load("runs/digits/data/kept.npy")
    np.save("known.npy", np.r_[np.flatnonzero(~kept)[:3], np.flatnonzero(kept)[:2]])
    picked = initpools("select-pool", "random", "-n", 5, "--labeled", "known.npy", "--json")
    assert picked.code == 0 and "3 of its 5 images are not among the" in picked.err
    assert json.loads(picked.out)["card"]["labeled"] == 2


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("select-pool random -n 3 --from simclr", 2),
        ("rank random --from nosuch", 2),
        ("rank class-balanced --from simclr", 2),
        ("select-pool kcenter -n 3 --embeddings emb.npy --run runs/digits --from simclr", 2),
        ("score typicality --embeddings emb.npy --run runs/digits --from simclr", 2),
        ("al-run --init random --query random --learner scratch --from simclr", 2),
        ("select-pool kcenter -n 3 --from simclr", 0),
        ("select-pool typicality -n 3 --from simclr", 0),
        ("select-pool random -n 3 --balance kmeans --from simclr", 0),
        ("select-pool random -n 3 --card full --from simclr", 0),
        ("select-pool kcenter -n 3 --from simclr --compare random", 0),
    ],
)
def test_a_source_of_nothing_is_refused(words: str, code: int, copied_run: Path, initpools: Initpools) -> None:
    count = (pd.read_csv("runs/digits/data/items.csv")["split"] == "train").sum()
    np.save("emb.npy", np.random.default_rng(0).normal(size=(count, 3)))
    ended = initpools(*words.split())
    assert ended.code == code, ended.err
    refused = "has no effect: " in ended.err and "Leave out --from" in ended.err
    assert refused == (code == 2)
