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
    """A folder with arrays of 40 images, and some that are of none; it is the current one."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    np.save("emb.npy", rng.normal(size=(N, 3)))
    np.save("zero.npy", np.array(3.0))
    np.save("none.npy", np.zeros((0, 3)))
    np.save("empty.npy", np.zeros((N, 0)))
    np.save("all.npy", np.arange(N))
    np.save("even.npy", np.full((N, 4), 0.25))
    np.save("views.npy", np.full((3, N, 4), 0.25))
    np.save("far.npy", np.array([10**12, 3, 7]))
    np.save("twice.npy", np.array([3, 3]))
    np.save("nothing.npy", np.zeros(0, int))
    return tmp_path


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("random --embeddings zero.npy -n 1", "zero.npy has the shape (), not (images, dimensions)"),
        ("random --embeddings none.npy -n 1", "none.npy has the shape (0, 3), not (images, dimensions)"),
        ("random --embeddings empty.npy -n 1", "empty.npy has the shape (40, 0), not (images, dimensions)"),
        ("random --scores zero.npy -n 1", "scores has shape ()"),
        ("file --ranking twice.npy -n 1", "The ranking has image 3 more than once"),
        (
            "file --ranking far.npy --embeddings emb.npy -n 1",
            "The ranking has image 1000000000000, but there are 40 images",
        ),
        ("file --ranking nothing.npy -n 1", "The ranking is empty: it has 0 images. Use a ranking"),
        ("kcenter --embeddings emb.npy", "Missing option --budget"),
        ("kcenter --embeddings emb.npy --budget -3", "greater than or equal to 1"),
        (
            "kcenter --embeddings emb.npy -n 1 --labeled all.npy",
            "All 40 images are labeled: there is nothing to select. Use fewer",
        ),
        ("entropy --probs even.npy -n 1", "constant within rounding"),
        ("margin --probs even.npy -n 3", "constant within rounding"),
        ("consistency --probs views.npy -n 3", "constant within rounding"),
        ("least-confidence --probs even.npy --embeddings emb.npy --balance kmeans -n 3", "constant within rounding"),
        ("kcenter --embeddings emb.npy -n 1 --from pca", "--from pca needs a run"),
        ("usl --embeddings emb.npy -n 1 --set momentum=2", "less than or equal to 1"),
    ],
)
def test_a_slip_with_files_alone_is_told(words: str, said: str, files: Path, initpools: Initpools) -> None:
    ended = initpools("select-pool", *words.split())
    assert ended.code == 2 and said in " ".join(ended.err.split()), ended.err


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
