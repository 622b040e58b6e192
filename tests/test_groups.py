"""Groups of images: where they are read from, and that no split divides one."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_active_learning import CPU, PROTOCOL, experiment, run
from user_errors import refused

from initpools_cli.core.errors import UserError
from initpools_cli.core.reporter import Reporter
from initpools_cli.core.rundir import FinishedStep, Run
from initpools_cli.datasets import path_pattern
from initpools_cli.datasets.groups import read_groups
from initpools_cli.datasets.open import open_dataset
from initpools_cli.datasets.path_pattern import search_paths
from initpools_cli.datasets.spec import Dataset, DatasetSpec
from initpools_cli.datasets.splits import class_counts, draw_test_rows, held_out_groups
from initpools_cli.labeling.folds import folds_of
from initpools_cli.stats.group_interval import grouped_interval, independent_images
from initpools_cli.stats.group_variance import RightByGroup
from initpools_cli.stats.learning_curves import CURVE, rows_by_cell, summarize
from initpools_cli.stats.proportions import wilson_interval
from initpools_cli.stats.verdicts import MEASURES, values_of, verdicts
from initpools_cli.sweeps.results import groups_of, images_of, rounds_of
from initpools_cli.training.active_learning import _split_budget, start_cells
from initpools_cli.training.crossvalidation import assign_group_folds
from initpools_cli.training.experiment import Experiment, candidate_set
from initpools_cli.training.learners.linear import linear

QUIET = Reporter(quiet=True)

#: Class (or -1) and group of each image.
grouped = st.lists(st.tuples(st.integers(-1, 3), st.integers(0, 9)), min_size=1, max_size=120).map(
    lambda pairs: tuple(np.array(column, dtype=np.int64) for column in zip(*pairs, strict=True))
)


def divided(groups: np.ndarray, side: np.ndarray) -> set[int]:
    """Groups with images on more than one side."""
    return {int(group) for group in np.unique(groups) if len(np.unique(side[groups == group])) > 1}


# ---- splits


@given(images=grouped, share=st.floats(0.05, 0.6), seed=st.integers(0, 9))
@settings(max_examples=60)
def test_a_test_split_never_divides_a_group_and_leaves_every_class_in_train(images, share, seed):
    labels, groups = images
    try:
        rows = draw_test_rows(labels, share, seed, groups.astype(str).tolist())
    except UserError as error:
        assert "No test split can be drawn" in error.fact
        return
    test = np.isin(np.arange(len(labels)), rows)
    assert not divided(groups, test)
    assert set(labels[~test]) >= set(labels) - {-1}
    assert test.any() == (labels >= 0).any()
    assert np.array_equal(rows, draw_test_rows(labels, share, seed, groups.astype(str).tolist()))


def test_small_groups_are_held_out_like_a_stratified_share():
    rng = np.random.default_rng(0)
    groups, labels = np.repeat(np.arange(200), 5), rng.choice(4, 1000, p=[0.7, 0.2, 0.08, 0.02])
    masks = [held_out_groups(class_counts(labels, groups), 0.2, seed)[groups] for seed in range(5)]
    for test in masks:
        assert abs(np.bincount(labels[test]) - 0.2 * np.bincount(labels)).max() <= 8
    assert len({test.tobytes() for test in masks}) == 5
    # Every group has its turn.
    many = np.mean([held_out_groups(class_counts(labels, groups), 0.2, seed) for seed in range(12)], axis=0)
    assert many.max() < 0.8 and (many == 0).sum() < 30


@given(images=grouped, seed=st.integers(0, 9))
@settings(max_examples=40)
def test_folds_never_divide_a_group_and_none_is_empty(images, seed):
    labels, groups = np.maximum(images[0], 0), images[1]
    folds = assign_group_folds(labels, groups, seed)
    assert not divided(groups, folds)
    assert set(folds) == set(range(min(5, len(np.unique(groups)))))


@given(images=grouped, seed=st.integers(0, 9), share=st.floats(0.1, 1))
@settings(max_examples=30)
def test_candidates_and_validation_sets_never_divide_a_group(images, seed, share):
    groups = np.resize(images[1], 80)
    data = replace(experiment(), groups={"train": groups, "test": np.arange(40) // 5})
    candidates = candidate_set(data, replace(PROTOCOL, candidates=share), seed)
    assert not divided(groups, np.isin(np.arange(80), candidates))
    sizes = np.unique(groups, return_counts=True)[1]
    assert abs(len(candidates) - share * 80) <= sizes.max() / 2 + 1 or len(candidates) == sizes.min()
    (cell,) = start_cells({0: candidates}, Experiment(data, PROTOCOL, CPU))
    cell.access.buy(candidates)
    if len(np.unique(groups[candidates])) > 1:
        train, held_out = _split_budget(cell, seed, groups)
        assert len(train) and len(held_out)
        assert sorted([*train, *held_out]) == candidates.tolist()
        assert not divided(groups[candidates], np.isin(candidates, held_out))


def test_seeds_with_validation_sets_of_different_sizes_are_fitted_like_single_ones():
    groups = np.sort(np.random.default_rng(1).integers(0, 7, 80))
    data = replace(experiment(), groups={"train": groups, "test": np.arange(40) // 5})
    settings = replace(PROTOCOL, validation="from-budget", init_budget=20)
    together, cells = run("random", "random", (0, 1), data, settings)
    sizes = {len(_split_budget(cell, 0, groups)[0]) for cell in cells}
    assert len(sizes) > 1
    for seed in range(2):
        single, _ = run("random", "random", (seed,), data, settings)
        for all_seeds, (one,) in zip(together, single, strict=True):
            assert all_seeds[seed].row == pytest.approx(one.row, nan_ok=True)


def test_images_of_one_group_and_exact_copies_share_a_fold():
    items = pd.DataFrame({"split": "train", "sha256": list("abcdefghaj"), "group": list("0011223344")})
    data = Dataset(DatasetSpec("x"), (), {"train": None}, items, np.ones(10, bool), None)  # type: ignore[dict-item]
    folds = folds_of(data, np.arange(10), np.arange(10) % 2, 0)
    # Images 0 and 8 are copies, so groups 0 and 4 are linked.
    assert folds[0] == folds[1] == folds[8] == folds[9]
    assert not divided(data.groups, folds) and len(set(folds)) == 4


# ---- data sets


def save(folder: Path, n: int = 60, **arrays: np.ndarray) -> Path:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (n, 4, 4), dtype=np.uint8)
    np.savez(folder / "data.npz", train_images=images, train_labels=np.arange(n) % 2, **arrays)
    return folder / "data.npz"


def opened(file: Path, seed: int = 0, **facts: object) -> Dataset:
    spec = DatasetSpec(str(file), **facts)
    return open_dataset(spec, seed=seed, cache=file.parent / "cache", report=QUIET)


def table(folder: Path, text: str) -> str:
    (folder / "groups.csv").write_text(text)
    return str(folder / "groups.csv")


def test_arrays_keep_groups_on_one_side_and_runs_read_them_back(tmp_path):
    file = save(tmp_path)
    how = table(tmp_path, "index,group\n" + "".join(f"{i},p{i // 5}\n" for i in range(58)))
    for seed in range(4):
        data = opened(file, seed, groups=how)
        train, test = (data.groups_of(split) for split in ("train", "test"))
        assert not set(train[data.kept]) & set(test) and len(set(test)) >= 2
        assert list(data.items.columns)[-1] == "group"
    assert data.groups is not None and data.groups[:6].tolist() == [0] * 5 + [1]
    assert data.group_names[:2] == ("p0", "p1") and data.group_names[-2:] == ("#58", "#59")
    assert any("2 of 60 images have no group and are groups of their own: #58, #59" in note for note in data.notes)
    spec = DatasetSpec(str(file), groups="gone.csv")
    again = open_dataset(spec, seed=3, cache=tmp_path / "new", report=QUIET, stored_items=data.items, mask=data.kept)
    assert again.items.equals(data.items) and again.groups.tolist() == data.groups.tolist()
    assert opened(file).groups is None and "group" not in opened(file).items


def test_folders_keep_groups_on_one_side_also_of_new_images(tmp_path):
    from PIL import Image

    root = tmp_path / "images"
    rng = np.random.default_rng(0)

    def put(name: str) -> None:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (8, 8), dtype=np.uint8)).save(root / name)

    for number in range(48):
        put(f"{'cat' if number % 2 else 'dog'}/v{number // 4:02d}-{number}.png")
    facts = {"labels": "folders", "groups": r"(v\d+)-", "size": 8}
    data = opened(root, **facts)
    assert len(data.group_names) == 12 and not set(data.groups) & set(data.groups_of("test"))
    name = data.group_names[int(data.groups_of("test")[0])]
    for number in range(48, 51):
        put(f"cat/{name}-{number}.png")
    put("cat/alone.png")
    again = open_dataset(
        data.spec, seed=0, cache=root.parent / "cache", report=QUIET, stored_items=data.items, mask=data.kept
    )
    assert not set(again.groups) & set(again.groups_of("test"))
    new = again.items[~again.items["path"].isin(data.items["path"])]
    assert new["split"].tolist() == ["train", "test", "test", "test"]
    assert new["group"].tolist() == ["cat/alone.png", name, name, name]


def test_given_splits_that_share_groups_are_refused_unless_allowed(tmp_path):
    images = np.random.default_rng(1).integers(0, 255, (10, 4, 4), dtype=np.uint8)
    file = save(tmp_path, test_images=images, test_labels=np.arange(10) % 2)
    rows = [f"{i},train,p{i // 5}" for i in range(60)] + [f"{i},test,p{i + 10}" for i in range(10)]
    how = table(tmp_path, "index,split,group\n" + "\n".join(rows) + "\n")
    with pytest.raises(UserError, match="2 groups of test are also in train: p10, p11") as caught:
        opened(file, groups=how)
    assert "--set dataset.shared_groups=allow" in caught.value.remedy
    data = opened(file, groups=how, shared_groups="allow")
    assert any("also in train: p10, p11" in note for note in data.notes)
    assert set(data.groups) & set(data.groups_of("test")) == {10, 11}


def test_no_test_split_is_drawn_where_one_group_has_most_images(tmp_path):
    how = table(tmp_path, "index,group\n" + "".join(f"{i},{'big' if i < 45 else i % 3}\n" for i in range(60)))
    with pytest.raises(UserError, match=r"the group 'big' has 45 of the 60 .* 4 groups have 45, 5, 5, 5 labeled"):
        opened(save(tmp_path), groups=how)
    how = table(tmp_path, "index,group\n" + "".join(f"{i},{i % 2}\n" for i in range(60)))
    with pytest.raises(UserError, match=r"every group has all images of some class\. The 2 groups have 30, 30 labeled"):
        opened(save(tmp_path), groups=how)


IMAGES = pd.DataFrame({"index": range(4), "path": ["a/x1.png", "a/x2.png", "b/x3.png", "b/x4.png"], "split": "train"})
ARRAYS = IMAGES.assign(path="")


def names(how: str, images: pd.DataFrame = IMAGES) -> list[str]:
    return read_groups(how, images).names


@pytest.mark.parametrize(
    ("text", "images", "expected"),
    [
        ("path,group\na/x1.png,p\nx2.png,p\nx3,q\n,\n", IMAGES, ["p", "p", "q", "b/x4.png"]),
        ("id;group\nx1.png;p\nx4.png; p \n", IMAGES, ["p", "a/x2.png", "b/x3.png", "p"]),
        ("id,group\n0,p\n2,q\n", ARRAYS, ["p", "#1", "q", "#3"]),
        # As pandas writes numbers where one is missing.
        ("index,group\n0,7\n1,7.0\n2,\n3,8\n", ARRAYS, ["7", "7", "#2", "8"]),
        ("index,group\n0,p\n0,p\n1,nan\n2,-1\n3,q\n", ARRAYS, ["p", "#1", "#2", "q"]),
    ],
)
def test_tables_name_groups_by_path_id_or_index(tmp_path, text, images, expected):
    assert names(table(tmp_path, text), images) == expected


def test_arrays_and_patterns_name_groups(tmp_path):
    np.save(tmp_path / "g.npy", np.array([3, 3, 1, 1]))
    assert names(str(tmp_path / "g.npy"), ARRAYS) == ["3", "3", "1", "1"]
    assert names("^([^/]+)/") == ["a", "a", "b", "b"]
    assert names(r"(?:x1|x(3))") == ["a/x1.png", "a/x2.png", "3", "b/x4.png"]
    odd = "\x80\n'\"\\ é", "\U0001f600", "", "a\n"
    assert search_paths("(?s)(.*)", odd, "--groups") == [*odd]


@pytest.mark.parametrize(
    ("text", "images", "fact"),
    [
        ("path,group\na/x1.png,p\na/x1.png,q\n", IMAGES, "two groups for a/x1.png: 'p' .line 2. and 'q' .line 3."),
        ("path,group\na/x1.png,7\na/x2.png,7.0\nx3,p\n", IMAGES, r"may be the same: '7' .1×. and '7.0' .1×."),
        ("path,group\na/x1.png,P1\na/x2.png,p1\n", IMAGES, r"may be the same: 'P1' .1×. and 'p1' .1×."),
        ("path,group\nzzz.png,p\n", IMAGES, "names no image of the data set; line 2: zzz.png is not an image"),
        ("path,group\n", IMAGES, "names no image of the data set; it has no rows"),
        ("path,group\na/x1.png,\n", IMAGES, "gives none of the 4 images a group"),
        ("path,video\na/x1.png,p\n", IMAGES, "has no column 'group', only path, video"),
        ("name,group\na/x1.png,p\n", IMAGES, "has no column 'path', 'id' or 'index'"),
        ("index,group\n9,p\n", ARRAYS, "line 2 has the index 9, but there are 4 train images"),
        ("index,group\nx,p\n", ARRAYS, "line 2 has the index 'x', which is not an integer"),
        ("index,split,group\n0,test,p\n", ARRAYS, "line 2 has the index 0, but there are 0 test images"),
        ("index,group\n0,p\n", IMAGES.assign(index=-1), "the indices of a folder follow from the groups"),
    ],
)
def test_tables_that_are_wrong_are_refused(tmp_path, text, images, fact):
    with pytest.raises(UserError, match=fact):
        names(table(tmp_path, text), images)


@pytest.mark.parametrize(
    ("how", "images", "fact"),
    [
        ("([", IMAGES, "is not a valid regular expression"),
        ("patients", IMAGES, "no .csv or .npy file, and as a regular expression it has 0 groups"),
        ("(a)(b)", IMAGES, "has 2 groups in parentheses"),
        ("(a{99999999999})", IMAGES, "is not a valid regular expression: the repetition number is too large"),
        ("(" * 5000 + ")" * 5000, IMAGES, "is not a valid regular expression: maximum recursion"),
        ("(zzz)", IMAGES, "gives none of the 4 images a group"),
        ("(a)", ARRAYS, "a regular expression on paths, but these images have no paths"),
        ("missing.csv", IMAGES, "missing.csv"),
    ],
)
def test_patterns_that_are_wrong_are_refused(how, images, fact):
    with pytest.raises(UserError, match=fact):
        names(how, images)


def test_a_search_without_end_is_refused(tmp_path, monkeypatch, initpools):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(path_pattern, "SECONDS", 1.0)
    np.save("e.npy", np.eye(3))
    Path("ids.txt").write_text(f"{'a' * 60}b\nc\nd\n")
    words = ["select-pool", "random", "--budget", "1", "--embeddings", "e.npy", "--ids", "ids.txt"]
    refused(
        initpools(*words, "--groups", "(a+)+$"), "'(a+)+$' (--groups) takes more than 1 seconds to search in 3 paths"
    )


# ---- patients: the class of a patient does not show in the images


def write_patients(folder: Path, patients: int = 16, frames: int = 8) -> tuple[Path, str]:
    """Nearly equal images of each patient, whose class is drawn for the patient."""
    rng = np.random.default_rng(0)
    textures = np.repeat(rng.integers(0, 255, (patients, 6, 6)), frames, axis=0)
    images = np.clip(textures + rng.normal(0, 12, textures.shape), 0, 255).astype(np.uint8)
    labels = np.repeat(rng.permutation(patients) % 2, frames)
    np.savez(folder / "patients.npz", train_images=images, train_labels=labels)
    rows = [f"{index},patient-{index // frames:02d}\n" for index in range(patients * frames)]
    return folder / "patients.npz", table(folder, "index,group\n" + "".join(rows))


def test_accuracy_on_patients_is_chance_only_with_groups(tmp_path):
    file, how = write_patients(tmp_path)
    train = opened(file, groups=how).splits["train"]
    inputs, patients = train.images.reshape(len(train), -1) / 255.0, np.arange(len(train)) // 8

    def accuracy(seed: int, groups: list[str] | None) -> float:
        test = np.isin(np.arange(len(train)), draw_test_rows(train.labels, 0.2, seed, groups))
        model = linear(inputs[~test], train.labels[~test], 2, seed, None, penalty=0.1, tolerance=1e-3)
        return float((model.logits(inputs[test]).argmax(1) == train.labels[test]).mean())

    assert np.mean([accuracy(seed, None) for seed in range(3)]) > 0.95
    assert 0.35 <= np.mean([accuracy(seed, patients.astype(str).tolist()) for seed in range(20)]) <= 0.6


def test_groups_go_from_the_first_command_to_the_labeling_round(tmp_path, initpools):
    file, how = write_patients(tmp_path)
    run = tmp_path / "run"
    result = initpools("embed", "pca", "--run", run, "--dataset", file, "--groups", how)
    assert result.code == 0 and "groups: 128 images in 16 groups of 8." in result.err
    items = pd.read_csv(run / "data" / "items.csv")
    assert items.columns[-1] == "group" and items["group"].nunique() == 16
    sweep = ["--budget", "8", "--rounds", "1", "--seeds", "2", "--threads", "1", "--set", "al.validation=from-budget"]
    result = initpools("al-run", "--init", "random,kcenter", "--query", "random", "--run", run, *sweep)
    assert result.code == 0, result.err
    check_sweep(FinishedStep(Run(run), run / "al" / "main"))
    compared = initpools("compare", "main", "--run", run, "--json")
    tests = items[items["split"] == "test"]["group"].nunique()
    assert f"for other groups of test images than the {tests} here" in compared.err
    assert {row["groups"] for row in json.loads(compared.out)["verdicts"]} == {tests}
    by_auc = initpools("compare", "main", "--run", run, "--metric", "auc")
    assert f"of auc are over seeds only, not over the {tests} groups of test images" in by_auc.err
    train = items[items["split"] == "train"]
    mask = np.load(run / "data" / "kept.npy")
    batch = train[mask].iloc[::3]
    (tmp_path / "labels.csv").write_text(batch[["index", "label"]].to_csv(index=False))
    result = initpools("al-run", "--run", run, "--labels", tmp_path / "labels.csv", "--json")
    assert result.code == 0, result.err
    groups = batch["group"].nunique()
    assert f", over {groups} groups). It holds for new groups." in result.err
    outcome = json.loads(result.out)
    assert outcome["groups"] == groups and outcome["test_groups"] == items[items["split"] == "test"]["group"].nunique()
    low, high = wilson_interval(outcome["accuracy"], 0.6 * len(batch))
    assert outcome["high"] - outcome["low"] > high - low
    other = initpools("embed", "pixels", "--run", run, "--groups", "(x)")
    assert other.code == 2 and "The split of the run" in other.err
    assert f"`initpools embed --run {run}-groups --dataset {file} --groups '(x)'`" in other.err


def check_sweep(sweep: FinishedStep) -> None:
    """Correct predictions by group add up to the metrics, by every measure."""
    rounds = rounds_of(sweep)
    groups = groups_of(sweep, rounds)
    assert groups is not None
    total = np.array([groups.images[groups.label == label].sum() for label in (0, 1)])
    images = images_of(sweep, rounds)
    assert images.correct is not None and images.label is not None and images.count == total.sum()
    assert images.correct.mean(axis=1) == pytest.approx(rounds["accuracy"].to_numpy())
    by_class = [images.correct[:, images.label == label].mean(axis=1) for label in (0, 1)]
    assert np.mean(by_class, axis=0) == pytest.approx(rounds["balanced_accuracy"].to_numpy())
    for measure in MEASURES:
        cells = rows_by_cell(rounds, measure)
        for metric in ("accuracy", "balanced_accuracy"):
            values = values_of(rounds, metric, measure)
            assert len(values) == sum(map(len, cells.values())) == 4
            for *name, seed, value in values[[*CURVE, "seed", "value"]].itertuples(index=False, name=None):
                right = cells[tuple(name)][seed].average(groups.right)
                by_class = np.array([right[groups.label == label].sum() for label in (0, 1)])
                mean = by_class.sum() / total.sum() if metric == "accuracy" else (by_class / total).mean()
                assert mean == pytest.approx(value)


# ---- intervals


def test_the_variance_over_equal_groups_is_that_of_their_mean():
    rng = np.random.default_rng(0)
    right = rng.integers(0, 11, 12).astype(float)
    groups = RightByGroup(right[None], np.arange(12), np.arange(12) % 2, np.full(12, 10))
    assert groups.variance(right, "accuracy") == pytest.approx(np.var(right / 10, ddof=1) / 12)
    # Classes of equal size: the balanced accuracy is the accuracy, and what classes differ by is no variance.
    by_class = right.reshape(6, 2) / 10
    residual = (by_class - by_class.mean(axis=0)).ravel() / 12
    assert groups.variance(right, "balanced_accuracy") == pytest.approx(12 / 11 * (residual**2).sum())
    assert np.isnan(replace(groups, group=0 * groups.group).variance(right, "accuracy"))


def test_few_groups_allow_no_verdict_that_seeds_alone_would_give():
    rows = [
        {"init": init, "query": query, "learner": "l", "encoder": "e", "seed": seed, "round": round_, "labeled": 10}
        for init in ("random", "kcenter")
        for query, round_ in (("", 0), ("margin", 1))
        for seed in range(8)
    ]
    rounds = pd.DataFrame(rows).assign(status="ok", auc=0.5)
    rounds["labeled"] += 10 * rounds["round"]
    rng = np.random.default_rng(0)
    # Better at every seed, but by one group of four.
    right = rng.integers(48, 53, (len(rounds), 4)).astype(float)
    right[(rounds["init"] == "kcenter").to_numpy(), 0] += 40
    rounds["accuracy"] = rounds["balanced_accuracy"] = right.sum(axis=1) / 400
    groups = RightByGroup(right, np.arange(4), np.zeros(4, np.int64), np.full(4, 100))
    alone, both = verdicts(rounds), verdicts(rounds, groups=groups)
    assert set(alone["verdict"]) == {"better"} and set(both["verdict"]) == {"not distinguishable"}
    assert (both["low"] < 0).all() and (both["high"] > alone["high"]).all() and (both["groups"] == 4).all()
    assert both["sentence"].str.contains("8 seeds and 4 groups of test images").all()
    curve, wider = summarize(rounds), summarize(rounds, groups=groups)
    assert np.allclose(curve["mean"], wider["mean"]) and (wider["high"] >= curve["high"]).all()


def test_a_group_of_equal_predictions_is_worth_one_image():
    right, groups = np.repeat([True, False, True, True, False, True, True, True], 25), np.repeat(np.arange(8), 25)
    # One image per group, but for the quantile of Student with 7 degrees of freedom, and n over n - 1.
    assert independent_images(right, groups) == pytest.approx((1.959964 / 2.364624) ** 2 * 7, rel=1e-5)
    low, high = grouped_interval(right, groups)
    naive_low, naive_high = wilson_interval(0.75, 200)
    assert low < naive_low - 0.2 and high > naive_high + 0.1
    assert grouped_interval(right, 0 * groups) == (0.0, 1.0)
    everything = np.ones(200, dtype=bool)
    assert independent_images(everything, groups) == pytest.approx((1.959964 / 2.364624) ** 2 * 8, rel=1e-5)


@given(images=grouped)
@settings(max_examples=40)
def test_images_in_groups_are_never_worth_more_than_independent_ones(images):
    right, groups = images[0] > 0, images[1]
    worth = independent_images(right, groups)
    assert 0 <= worth <= len(right)
    low, high = grouped_interval(right, groups)
    assert 0 <= low <= right.mean() + 1e-9 and right.mean() - 1e-9 <= high <= 1
