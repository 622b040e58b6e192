"""Several labels per image: learners, metrics and queries against others, and a small data set through the chain."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from initpools_cli.core.errors import UserError
from initpools_cli.stats.multilabel_metrics import (
    average_precisions,
    f1_scores,
    label_areas,
    label_recalls,
    multilabel_metrics,
)
from initpools_cli.steps.strategy_name import parse_strategy
from initpools_cli.strategies import multilabel as queries
from initpools_cli.strategies.arrays import ONE_CLASS
from initpools_cli.strategies.registry import for_multilabel, strategies

NONE = np.empty(0, np.int64)
CLASSES = ("effusion", "mass", "nodule", "hernia")


def predictions(seed: int, n: int = 60, classes: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities with ties, and labels of which the last class has none."""
    rng = np.random.default_rng(seed)
    labels = (rng.random((n, classes)) < 0.3).astype(np.int8)
    labels[:, -1] = 0
    return (labels * 0.3 + rng.random((n, classes)) * 0.7).round(1), labels


@pytest.mark.parametrize("seed", range(5))
def test_metrics_are_those_of_scikit_learn(seed):
    from sklearn.metrics import average_precision_score, f1_score, log_loss, recall_score, roc_auc_score

    probs, labels = predictions(seed)
    present, predicted = labels[:, :-1], (probs >= 0.5).astype(int)
    metrics = multilabel_metrics(probs, labels)
    assert metrics["auc"] == pytest.approx(roc_auc_score(present, probs[:, :-1], average="macro"))
    assert metrics["mean_average_precision"] == pytest.approx(average_precision_score(present, probs[:, :-1]))
    assert metrics["micro_f1"] == pytest.approx(f1_score(labels, predicted, average="micro"))
    assert metrics["macro_f1"] == pytest.approx(f1_score(present, predicted[:, :-1], average="macro"))
    assert metrics["absent_classes"] == 1
    losses = [log_loss(labels[:, k], probs[:, k].clip(1e-12, 1 - 1e-12), labels=[0, 1]) for k in range(4)]
    assert metrics["nll"] == pytest.approx(np.mean(losses))
    assert label_recalls(probs, labels)[:-1] == pytest.approx(recall_score(present, predicted[:, :-1], average=None))
    for by_class in (average_precisions, f1_scores, label_areas, label_recalls):
        assert np.isnan(by_class(probs, labels)).tolist() == [False] * 3 + [True]


def test_the_linear_learner_is_a_logistic_regression_of_each_class():
    import torch
    from sklearn.linear_model import LogisticRegression

    from initpools_cli.training.learners.linear import linear

    rng = np.random.default_rng(0)
    points = rng.normal(size=(50, 3))
    labels = (points @ rng.normal(size=(3, 2)) + rng.normal(size=(50, 2)) > 0).astype(np.int8)
    model = linear(points, labels, 2, 0, torch.device("cpu"), penalty=0.1, tolerance=1e-8)
    ones = np.column_stack([points, np.ones(50)])
    for k in range(2):
        # The bias is penalized, too: a column of ones.
        twin = LogisticRegression(C=1 / (0.1 * 50), fit_intercept=False, tol=1e-9).fit(ones, labels[:, k])
        assert model.head[:, k] == pytest.approx(twin.coef_[0], abs=1e-4)


def test_neighbors_vote_on_each_label():
    from initpools_cli.training.learners.knn import knn
    from initpools_cli.training.logistic import sigmoid

    points = np.eye(3, dtype=np.float32)
    labels = np.array([[1, 0], [1, 1], [0, 0]], np.int8)
    model = knn(points, labels, 2, 0, None, k=3, temperature=1e6, smoothing=0.3)
    assert sigmoid(model.logits(points[:1])) == pytest.approx(np.array([[(2 + 0.3) / 3.6, (1 + 0.3) / 3.6]]), abs=1e-5)


@pytest.mark.parametrize("name", ["linear", "mlp", "knn", pytest.param("scratch", marks=pytest.mark.slow)])
def test_a_learner_finds_labels_that_are_in_the_images(name):
    import torch

    from initpools_cli.training.learners.registry import learners

    rng = np.random.default_rng(0)
    labels = (rng.random((80, 2)) < 0.5).astype(np.int8)
    images = np.zeros((80, 12, 12, 1), np.uint8)
    images[:, :5, :, 0] += 200 * labels[:, :1, None].astype(np.uint8)
    images[:, 7:, :, 0] += 200 * labels[:, 1:, None].astype(np.uint8)
    images += rng.integers(0, 30, images.shape, dtype=np.uint8)
    inputs = images if name == "scratch" else (images.reshape(80, -1) / 50 - 2).astype(np.float32)
    quick = {"scratch": {"steps": 60, "epochs": 1, "recipe": "none"}}.get(name, {})
    learner = learners.get(name)
    model = learner.build(
        inputs[:50], labels[:50], 2, 0, torch.device("cpu"), (inputs[50:], labels[50:]), **learner.validate(quick)
    )
    right = (model.logits(inputs[50:]) > 0) == labels[50:]
    assert right.mean() > 0.9


def listed_sets(probs: np.ndarray) -> np.ndarray:
    """The probability of each of the 2^c label sets, (n, 2^c): the slow twin of the formulas."""
    sets = np.array(list(product([0, 1], repeat=probs.shape[1])))
    return np.where(sets[None] == 1, probs[:, None], 1 - probs[:, None]).prod(axis=2)


some_probs = st.integers(1, 4).flatmap(
    lambda c: st.lists(st.lists(st.sampled_from([0.0, 0.1, 0.5, 0.73, 1.0]), min_size=c, max_size=c), min_size=1)
)


@settings(max_examples=30, deadline=None)
@given(some_probs)
def test_queries_are_those_of_one_class_with_the_label_sets_as_classes(rows):
    from initpools_cli.strategies.entropy import entropies
    from initpools_cli.strategies.margin import margins

    probs = np.array(rows)
    sets = listed_sets(probs)
    assert np.exp(-queries.surprisal(probs)) == pytest.approx(sets.max(axis=1))
    assert queries.set_margins(probs) == pytest.approx(margins(sets))
    assert queries.label_entropies(probs).sum(axis=1) == pytest.approx(entropies(sets))


def test_bald_bounds_the_information_about_the_label_set():
    from initpools_cli.strategies.bald import information

    passes = np.random.default_rng(0).random((5, 40, 3))
    joint = information(np.stack([listed_sets(each) for each in passes]))
    summed = queries.label_information(passes)
    assert (summed >= joint - 1e-12).all() and (summed > joint + 1e-6).any()
    assert queries.label_information(passes[:1].repeat(3, axis=0)).max() == 0
    one = passes[..., :1]
    assert queries.label_information(one) == pytest.approx(information(np.concatenate([1 - one, one], axis=-1)))


def test_badge_takes_the_gradients_of_the_logistic_losses():
    import torch

    rng = np.random.default_rng(0)
    features, probs = rng.normal(size=(6, 3)).astype(np.float32), rng.random((6, 2))
    selection = queries.badge_of_sets(features, probs, NONE, 6, np.random.default_rng(1))
    logits = np.log(probs / (1 - probs))
    gradients = []
    for row in range(6):
        weight = torch.zeros(3, 2, dtype=torch.float64, requires_grad=True)
        out = torch.tensor(features[row], dtype=torch.float64) @ weight + torch.tensor(logits[row])
        target = torch.tensor((probs[row] >= 0.5).astype(float))
        torch.nn.functional.binary_cross_entropy_with_logits(out, target, reduction="sum").backward()
        gradients.append(weight.grad.numpy().ravel())
    gradients = np.array(gradients)
    assert selection.indices[0] == (gradients**2).sum(axis=1).argmax()
    second = np.linalg.norm(gradients[selection.indices[1]] - gradients[selection.indices[0]])
    assert selection.scores[1] == pytest.approx(second, rel=1e-5)


@pytest.mark.parametrize("name", strategies.names())
def test_a_strategy_takes_multilabel_or_says_that_it_needs_one_class(name):
    method = strategies.get(name)
    several = for_multilabel(method)
    if several is None:
        assert method.traits.oracle or ONE_CLASS & {*method.inputs}
        with pytest.raises(UserError, match="needs one class per image"):
            parse_strategy(name).for_multilabel()
    else:
        assert not ONE_CLASS & {*several.inputs} and several.knobs == method.knobs
        assert several is method or {*several.inputs} != {*method.inputs}


def test_six_queries_with_a_model_take_multilabel():
    able = {method.name for method in strategies if method.traits.multilabel is not None}
    assert able == {"least-confidence", "margin", "entropy", "bald", "badge", "clue"}


@pytest.fixture(scope="session")
def chest(tmp_path_factory) -> Path:
    """ChestMNIST in miniature: gray images, 0 and 1 for each of 4 classes, of which one is rare; many have none."""
    rng = np.random.default_rng(0)
    arrays = {}
    for split, n in (("train", 90), ("val", 12), ("test", 40)):
        labels = (rng.random((n, 4)) < [0.4, 0.25, 0.15, 0.06]).astype(np.uint8)
        images = rng.normal(90, 25, (n, 12, 12))
        for k, (y, x) in enumerate([(0, 0), (0, 6), (6, 0), (6, 6)]):
            images[:, y : y + 6, x : x + 6] += 30 * labels[:, k, None, None]
        arrays |= {f"{split}_images": images.clip(0, 255).astype(np.uint8), f"{split}_labels": labels}
    file = tmp_path_factory.mktemp("chest") / "chest.npz"
    np.savez(file, **arrays)
    return file


@pytest.fixture(scope="session")
def chest_run(chest) -> Path:
    """A run of it with embeddings and a sweep."""
    from conftest import run_in

    run = chest.parent / "run"
    run_in(
        chest.parent,
        ["embed", "pixels", "--dataset", str(chest), "--classes", ",".join(CLASSES), "--run", str(run)],
        [
            *("al-run", "--run", str(run), "--init", "random,typiclust", "--query", "random,entropy,badge"),
            *("--budget", "10", "--rounds", "2", "--seeds", "3"),
        ],
    )
    return run


def test_learners_that_read_unlabeled_images_learn_several_labels_or_say_so(chest_run, initpools):
    words = ("al-run", "--run", chest_run, "--init", "random", "--query", "margin", "--budget", 20, "--rounds", 1)
    swept = initpools(*words, "--seeds", 1, "--learner", "label-spreading,self-training", "--name", "semi")
    assert swept.code == 0 and "self-training on" in swept.err
    refused = initpools(*words, "--learner", "flexmatch", "--name", "no")
    assert refused.code == 2 and "The learner 'flexmatch' needs one class per image" in refused.err
    assert "Use another --learner: finetune, knn, label-spreading" in refused.err


def test_a_sweep_has_the_metrics_of_multilabel(chest_run):
    import pandas as pd

    rounds = pd.read_csv(chest_run / "al/main/rounds.csv", keep_default_na=False)
    assert (rounds["status"] == "ok").all() and "accuracy" not in rounds
    assert rounds[["auc", "mean_average_precision", "micro_f1", "macro_f1"]].to_numpy().min() >= 0
    assert rounds.loc[rounds["round"] == 2, "auc"].mean() > 0.75
    for file in ("recalls", "average_precisions", "areas"):
        table = pd.read_csv(chest_run / f"al/main/{file}.csv")
        assert {*CLASSES} <= {*table.columns} and len(table) == len(rounds)
    precisions = pd.read_csv(chest_run / "al/main/average_precisions.csv")[list(CLASSES)]
    assert precisions.mean(axis=1).to_numpy() == pytest.approx(rounds["mean_average_precision"].to_numpy(), abs=1e-5)


def test_the_chain_works_on_multilabel_to_the_report(chest_run, initpools, tmp_path):
    items = (chest_run / "data/items.csv").read_text().splitlines()
    assert any(",1|2,mass|nodule," in line for line in items) and any(",none,none," in line for line in items)
    compared = initpools("compare", "main", "--run", chest_run)
    assert compared.code == 0 and "first pool" in compared.out
    assert initpools("compare", "main", "--metric", "macro_f1", "--run", chest_run).code == 0
    refused = initpools("compare", "main", "--metric", "accuracy", "--run", chest_run)
    assert refused.code == 2 and "macro_f1" in refused.err
    pool = initpools(
        "select-pool", "typiclust", "--budget", "8", "--run", chest_run, "--with-labels", "-o", tmp_path / "p.csv"
    )
    assert pool.code == 0 and "classes missed" in pool.err and "mass" in (tmp_path / "p.csv").read_text()
    for kind in ("curves", "histogram"):
        assert initpools("plot", kind, "--run", chest_run, "-o", tmp_path / f"{kind}.html").code == 0
    report = initpools("plot", "report", "--run", chest_run, "-o", tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert report.code == 0 and "hernia" in page and "macro AUC" in page
    assert initpools("verify", "--run", chest_run).code == 0


def test_given_probabilities_of_labels_need_not_sum_to_one(chest_run, initpools, tmp_path):
    np.save(tmp_path / "p.npy", np.random.default_rng(0).random((90, 4)))
    for where in (["--run", chest_run], ["--set", "dataset.multilabel=true"]):
        done = initpools("select-pool", "entropy", "--probs", tmp_path / "p.npy", "--budget", "3", *where)
        assert done.code == 0, done.err
    np.save(tmp_path / "p.npy", np.full((90, 4), 1.5))
    refused = initpools("select-pool", "entropy", "--probs", tmp_path / "p.npy", "--budget", "3", "--run", chest_run)
    assert refused.code == 2 and "not in [0, 1]" in refused.err


@pytest.mark.parametrize(
    "command",
    [
        ["select-pool", "class-balanced", "--budget", "4"],
        ["select-pool", "el2n", "--budget", "4"],
        ["score", "forgetting"],
        ["al-run", "--query", "tcm"],
        ["al-run", "--query", "dcom"],
        ["rank", "powerbald"],
        ["export", "yolo", "-o", "there", "--dataset-labels"],
    ],
)
def test_what_needs_one_class_per_image_says_so(chest_run, initpools, command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = initpools(*command, "--run", chest_run)
    assert done.code == 2 and "needs one class per image" in done.err


@pytest.mark.parametrize("kind", ["csv", "jsonl", "label-studio", "cvat", "fiftyone"])
def test_labels_are_exported_as_several(chest_run, initpools, kind, tmp_path):
    endings = {"csv": ".csv", "jsonl": ".jsonl", "label-studio": ".json", "cvat": ".xml"}
    target = tmp_path / f"out{endings.get(kind, '')}"
    copies = [] if kind in ("csv", "jsonl") else ["--images", tmp_path / "images"]
    done = initpools("export", kind, "-o", target, "--dataset-labels", "--run", chest_run, *copies)
    assert done.code == 0, done.err
    text = (target / "samples.json" if kind == "fiftyone" else target).read_text()
    expected = {
        "csv": "mass|nodule",
        "jsonl": '"mass|nodule"',
        "label-studio": '"choices": ["mass", "nodule"]',
        "cvat": '<tag label="mass" source="manual" /> <tag label="nodule" source="manual" />',
        "fiftyone": '{ "_cls": "Classification", "label": "mass" }, { "_cls": "Classification", "label": "nodule" }',
    }[kind]
    assert " ".join(expected.replace("[", "[ ").replace("]", " ]").split()) in " ".join(
        text.replace("[", "[ ").replace("]", " ]").split()
    )


@pytest.fixture
def loop_run(chest, tmp_path, initpools) -> Path:
    """A run of the images without their labels, for several labels per image."""
    arrays = np.load(chest)
    np.savez(tmp_path / "bare.npz", train_images=arrays["train_images"])
    run = tmp_path / "run"
    several = ["--set", "dataset.multilabel=true"]
    assert initpools("embed", "pixels", "--dataset", tmp_path / "bare.npz", *several, "--run", run).code == 0
    return run


def label_table(chest: Path, file: Path, rows: range, column: str = "labels") -> Path:
    """Write the labels of some train images as text."""
    from initpools_cli.datasets.multilabel import texts_of

    texts = texts_of(np.load(chest)["train_labels"].astype(np.int8), CLASSES)
    file.write_text(f"index,{column}\n" + "".join(f"{row},{texts[row]}\n" for row in rows))
    return file


def test_rounds_of_labeling_work_with_multilabel(loop_run, chest, initpools, tmp_path):
    import pandas as pd

    first = label_table(chest, tmp_path / "first.csv", range(40))
    done = initpools("al-run", "--labels", first, "--next", tmp_path / "next.csv", "--budget", "5", "--run", loop_run)
    assert done.code == 0 and "Cross-validated macro AUC" in done.err and "query: badge" in done.err
    assert len(pd.read_csv(tmp_path / "next.csv")) == 5
    step = loop_run / "loop/round-1"
    classes = pd.read_csv(step / "classes.csv")
    labels = np.load(chest)["train_labels"][:40]
    assert classes.set_index("class")["labeled"].to_dict() == {
        name: count for name, count in zip(CLASSES, labels.sum(axis=0).tolist(), strict=True) if count
    }
    predicted = pd.read_csv(step / "predictions.csv", keep_default_na=False)
    probs = predicted[[f"p({name})" for name in classes["class"]]].to_numpy()
    assert predicted["label"].tolist() == [
        "|".join(name for name, p in zip(classes["class"], row, strict=True) if p >= 0.5) or "none" for row in probs
    ]
    assert predicted["confidence"].to_numpy() == pytest.approx(np.maximum(probs, 1 - probs).prod(axis=1), abs=1e-4)
    # The same file again is the same round; other labels are the next one, in a column `label` as the batch has it.
    assert "already done" in initpools("al-run", "--labels", first, "--run", loop_run, *next_options(tmp_path)).err
    second = label_table(chest, tmp_path / "second.csv", range(30, 60), "label")
    again = initpools("al-run", "--labels", second, "--run", loop_run)
    assert again.code == 0 and "20 new labels" in again.err
    assert initpools("export", "csv", "-o", tmp_path / "out.csv", "--run", loop_run).code == 0
    stored = pd.read_csv(tmp_path / "out.csv", keep_default_na=False)["label"]
    labels = np.load(chest)["train_labels"][:60]
    assert [{*text.split("|")} for text in stored] == [
        {name for name, has in zip(CLASSES, row, strict=True) if has} or {"none"} for row in labels
    ]
    report = initpools("plot", "report", "--run", loop_run, "-o", tmp_path / "report.html")
    assert report.code == 0 and "macro AUC" in (tmp_path / "report.html").read_text()


def next_options(folder: Path) -> list[object]:
    """The options of the first round."""
    return ["--next", folder / "again.csv", "--budget", "5"]


@pytest.mark.parametrize(
    ("text", "options", "says"),
    [
        ("index,labels\n0,mass;nodule\n", [], "seems to separate labels with ';'"),
        ("index,labels\n0,mass|\n1,mass\n2,none\n", [], "stands beside others"),
        ("index,labels\n0,none\n1,none\n", [], "names no class"),
        ("index,labels\n0,mass\n", ["--audit", "10%"], "--audit needs one class per image"),
        ("index,labels\n0,mass\n", ["--stop-at", "0.9"], "--stop-at needs one class per image"),
        ("index,labels\n0,mass\n1,none\n", ["--query", "tcm"], "'tcm' needs one class per image"),
        ("index,labels\n0,mass|nodule\n", ["--classes", "mass"], "'nodule' is not a class"),
        ("index,labels\n0,mass\n", ["--classes", "mass,none"], "the class 'none'"),
    ],
)
def test_rounds_say_what_they_cannot_use(loop_run, initpools, tmp_path, text, options, says):
    (tmp_path / "l.csv").write_text(text)
    batch = next_options(tmp_path) if {"--query", "--audit", "--stop-at"} & {*options} else []
    done = initpools("al-run", "--labels", tmp_path / "l.csv", "--run", loop_run, *batch, *options)
    assert says in done.err
    assert done.code == (0 if "beside" in says else 2)


def test_a_run_of_one_class_refuses_a_column_of_several(chest, initpools, tmp_path):
    arrays = np.load(chest)
    np.savez(tmp_path / "bare.npz", train_images=arrays["train_images"])
    assert initpools("embed", "pixels", "--dataset", tmp_path / "bare.npz", "--run", tmp_path / "run").code == 0
    file = label_table(chest, tmp_path / "l.csv", range(20))
    refused = initpools("al-run", "--labels", file, "--run", tmp_path / "run")
    assert refused.code == 2 and "dataset.multilabel=true" in refused.err
    file = label_table(chest, tmp_path / "l.csv", range(20), "label")
    noted = initpools("al-run", "--labels", file, "--run", tmp_path / "run")
    assert noted.code == 0 and "is read as one class" in noted.err and "dataset.multilabel=true" in noted.err


def test_the_labeling_page_keeps_label_sets(loop_run, chest, initpools, tmp_path):
    from initpools_cli.cli.labeler.state import LabelingState
    from initpools_cli.cli.options import Common
    from initpools_cli.labeling.classes import InvalidClass
    from initpools_cli.labeling.page import open_labeling

    table = label_table(chest, tmp_path / "l.csv", range(40))
    assert initpools("al-run", "--labels", table, "--run", loop_run, *next_options(tmp_path)).code == 0
    context = Common(run=loop_run, quiet=True).start("dataset")
    labeling = open_labeling(context, None, ["nodule"], None)
    state = LabelingState(labeling, {}, run=context.run)
    shown = state.claim({"window": "a"})
    assert shown["multilabel"] and {*shown["classes"]} == {*CLASSES} and shown["classes"][0] == "nodule"
    first, second, third, *_ = labeling.indices
    known = {*CLASSES, "none"}
    assert all({*label.split("|")} <= known for label, _ in shown["suggestions"].values())

    def act(number: int, image: int, label: str) -> str:
        message = {"window": "a", "number": number, "do": "label", "label": label, "images": [image]}
        return state.act(message)["items"][0][1]

    assert act(1, first, "nodule|mass") == "mass|nodule"
    assert act(2, second, "none") == "none"
    assert act(3, third, "new one|mass") == "mass|new one"
    with pytest.raises(InvalidClass, match="separates labels"):
        act(4, third, "mass|a, b")
    with pytest.raises(InvalidClass, match="needs one class per image"):
        state.classes({"window": "a", "do": "rename", "from": ["mass"], "to": ["lump"]})
    assert labeling.labeled == 3 and labeling.left == 2
    # Read again by the page and by a round.
    again = open_labeling(context, None, [], None)
    assert [again.marks[image].label for image in (first, second, third)] == ["mass|nodule", "none", "mass|new one"]
    assert "new one" in again.vocabulary.names and "none" not in again.vocabulary.names
    done = initpools("al-run", "--labels", labeling.file, "--run", loop_run)
    assert done.code == 0 and "3 new labels" in done.err


@pytest.mark.parametrize("kind", ["label-studio", pytest.param("cvat", marks=pytest.mark.slow)])
def test_labels_of_annotation_tools_are_read_as_several(loop_run, chest, initpools, tmp_path, kind):
    import pandas as pd

    table = label_table(chest, tmp_path / "l.csv", range(40))
    assert initpools("al-run", "--labels", table, "--run", loop_run).code == 0
    target = tmp_path / ("out.json" if kind == "label-studio" else "out.xml")
    images = ["--images", tmp_path / "images"]
    assert initpools("export", kind, "-o", target, "--run", loop_run, *images).code == 0
    twin = tmp_path / "twin"
    source = tmp_path / ("bare.npz" if kind == "label-studio" else "images")
    assert (
        initpools("embed", "pixels", "--dataset", source, "--set", "dataset.multilabel=true", "--run", twin).code == 0
    )
    assert initpools("al-run", "--labels", target, "--run", twin).code == 0
    before, after = (
        pd.read_csv(run / "loop/round-1/labels.csv", keep_default_na=False)["label"].tolist()
        for run in (loop_run, twin)
    )
    # An image with none of the classes has no choice and no tag there: it is read as one without a label.
    assert sorted(label for label in after if label) == sorted(label for label in before if label != "none")


def test_the_histogram_counts_each_label(chest_run):
    from initpools_cli.core.rundir import Run
    from initpools_cli.datasets.item_labels import one_row_a_class
    from initpools_cli.steps.run_data import read_items

    items = read_items(Run(chest_run))
    train = one_row_a_class(items[items["split"] == "train"])
    labels = np.load(chest_run.parent / "chest.npz")["train_labels"]
    counts = train["class"].value_counts()
    assert {name: counts[name] for name in CLASSES} == dict(zip(CLASSES, labels.sum(axis=0).tolist(), strict=True))
    assert counts["none"] == (labels.sum(axis=1) == 0).sum()
