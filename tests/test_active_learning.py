"""The active-learning loop: what is bought, what is read, and what a seed varies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from initpools_cli.core.errors import UserError
from initpools_cli.core.seeds import derive
from initpools_cli.strategies.registry import strategies
from initpools_cli.strategies.select import choose, prepare
from initpools_cli.training.active_learning import COLUMNS, Cell, RoundMetrics, first_pool, run_block, start_cells
from initpools_cli.training.batched_lbfgs import minimize as minimize_batched
from initpools_cli.training.experiment import (
    BlockJob,
    Experiment,
    ExperimentData,
    ExperimentSettings,
    MethodCall,
    block_jobs,
    candidate_set,
)
from initpools_cli.training.label_access import LabelAccess
from initpools_cli.training.learners.registry import learners, softmax
from initpools_cli.training.model_outputs import query_outputs, require_outputs

CPU = torch.device("cpu")
KNOBS = {"linear": {"penalty": 0.1, "tolerance": 1e-6}}


def blobs(n: int, classes: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, n)
    return (3 * np.eye(classes, 4)[labels] + rng.normal(size=(n, 4))).astype(np.float32), labels


def experiment(labels: np.ndarray | None = None) -> ExperimentData:
    train, truth = blobs(80)
    test, test_labels = blobs(40, seed=1)
    names = ("random", "kcenter", "margin", "entropy", "class-balanced")
    arrays = {name: prepare({"embeddings": train}, True) for name in names}
    arrays["class-balanced"] = prepare({"labels": truth}, True)
    return ExperimentData(
        encoder="e",
        inputs={"embeddings": {"train": train, "test": test, "val": test[:10]}},
        arrays=arrays,
        calls={name: MethodCall(name) for name in names},
        labels={"train": truth if labels is None else labels, "test": test_labels, "val": test_labels[:10]},
        kept=np.ones(80, dtype=bool),
        classes=3,
        oracles=frozenset({"class-balanced"}),
    )


PROTOCOL = ExperimentSettings(init_budget=5, budget=4, rounds=3, candidates=0.5, learners=KNOBS)


def run(
    init: str,
    query: str,
    seeds: Sequence[int],
    data: ExperimentData | None = None,
    settings: ExperimentSettings = PROTOCOL,
) -> tuple[list[list[RoundMetrics]], list[Cell]]:
    data = data or experiment()
    block = BlockJob("e", init, query, "linear", seeds, True)
    trials = Experiment(data, settings, CPU)
    cells = start_cells({index: first_pool(init, index, trials) for index in seeds}, trials)
    return list(run_block(block, cells, trials)), cells


def test_labels_not_bought_are_counted_as_leaks() -> None:
    access = LabelAccess({"train": np.arange(10), "test": np.array([0, 1]), "val": np.arange(4)})
    access.buy(np.array([1, 2]))
    assert access.read(np.array([1, 2])).tolist() == [1, 2] and access.leaks == 0
    assert access.known().tolist() == [-1, 1, 2, *[-1] * 7] and access.leaks == 0
    access.measure(np.eye(2))
    assert access.leaks == 0
    access.read(np.array([2, 3]))
    access.leak("val")
    assert access.leaks == 5


@pytest.mark.parametrize("query", ["random", "kcenter", "margin", "entropy"])
def test_a_cell_buys_exactly_its_budget_from_its_candidates(query: str) -> None:
    rounds, (cell,) = run("random", query, [2])
    rows = [measured.row for (measured,) in rounds]
    assert [row["labeled"] for row in rows] == [5, 9, 13, 17]
    assert [row["query"] for row in rows] == ["", query, query, query]
    assert len(set(cell.labeled.tolist())) == 17
    assert set(cell.labeled.tolist()) <= set(candidate_set(experiment(), PROTOCOL, 2).tolist())
    assert set(rows[0]) == set(COLUMNS)
    assert all(row["leaks"] == 0 for row in rows)


def test_inits_and_queries_share_candidates_and_seeds_vary_them() -> None:
    sets = [candidate_set(experiment(), PROTOCOL, root) for root in (0, 0, 1)]
    assert np.array_equal(sets[0], sets[1]) and not np.array_equal(sets[0], sets[2])
    assert len(sets[0]) == 40
    rounds, _ = run("kcenter", "margin", range(3))
    assert len({measured.row["nll"] for measured in rounds[0]}) == 3


def test_a_block_of_seeds_is_each_seed_alone() -> None:
    together, cells = run("random", "margin", range(4))
    for place, cell in enumerate(cells):
        alone, (single,) = run("random", "margin", [place])
        assert [metrics[place].row for metrics in together] == [metrics[0].row for metrics in alone]
        assert cell.labeled.tobytes() == single.labeled.tobytes()


def test_the_model_of_every_round_is_trained_anew_on_what_is_bought_by_then() -> None:
    data = experiment()
    rounds, (cell,) = run("random", "margin", [1], data)
    inputs = data.inputs["embeddings"]
    for round_, (measured,) in enumerate(rounds):
        bought = cell.labeled[: 5 + 4 * round_]
        seed = derive(1, "learner", round_)
        fresh = learners.get("linear").build(
            inputs["train"][bought], data.labels["train"][bought], 3, seed, CPU, **KNOBS["linear"]
        )
        accuracy = (fresh.logits(inputs["test"]).argmax(1) == data.labels["test"]).mean()
        assert measured.row["accuracy"] == pytest.approx(accuracy)


def test_labels_that_are_not_bought_change_nothing() -> None:
    rounds, (cell,) = run("kcenter", "margin", [0])
    truth = experiment().labels["train"]
    scrambled = (truth + 1) % 3
    scrambled[cell.labeled] = truth[cell.labeled]
    again, (other,) = run("kcenter", "margin", [0], experiment(scrambled))
    assert [metrics[0].row for metrics in rounds] == [metrics[0].row for metrics in again]
    assert cell.labeled.tobytes() == other.labeled.tobytes()


def test_validation_is_paid_for_or_flagged() -> None:
    paid, _ = run("random", "margin", [0], settings=replace(PROTOCOL, validation="from-budget"))
    free, _ = run("random", "margin", [0], settings=replace(PROTOCOL, validation="free-val"))
    assert [measured.row["leaks"] for (measured,) in paid] == [0, 0, 0, 0]
    assert [measured.row["leaks"] for (measured,) in free] == [10, 20, 30, 40]
    assert {measured.row["validation"] for (measured,) in free} == {"free-val"}


def test_an_oracle_leaks_every_label_that_is_not_bought() -> None:
    first, _ = run("class-balanced", "random", [0])
    assert [measured.row["leaks"] for (measured,) in first] == [80] * 4
    later, _ = run("random", "class-balanced", [0])
    assert [measured.row["leaks"] for (measured,) in later] == [0, 75, 146, 213]


def test_uherding_is_calibrated_on_what_is_bought_if_it_is_asked_for(monkeypatch) -> None:
    def picks(temperature: object) -> list[int]:
        data = experiment()
        arrays = {**data.arrays, "uherding": data.arrays["kcenter"]}
        calls = {**data.calls, "uherding": MethodCall("uherding", {"temperature": temperature})}
        rows, (cell,) = run("random", "uherding", [0], replace(data, arrays=arrays, calls=calls))
        assert [measured.row["leaks"] for (measured,) in rows] == [0] * 4
        return cell.labeled.tolist()

    sizes: list[int] = []

    def calibration(fit, inputs, labeled, labels, groups, classes, seed):
        sizes.append(len(labeled))
        assert fit(labeled[:4], seed).logits(inputs).shape == (len(labeled), classes)
        np.testing.assert_array_equal(labels, experiment().labels["train"][labeled])
        return np.array([7.0])

    own = picks("calibrated")
    assert own == picks("calibrated")
    monkeypatch.setattr("initpools_cli.training.active_learning.calibration_of", calibration)
    assert picks("calibrated") == picks(7.0) and sizes == [5, 9, 13]


def test_a_first_pool_of_one_class_is_scored_and_the_others_are_not_dropped() -> None:
    data = experiment()
    block = BlockJob("e", "random", "margin", "linear", [0], True)
    one = np.flatnonzero(data.labels["train"] == 2)
    pool = np.intersect1d(one, candidate_set(data, PROTOCOL, 0))[:5]
    trials = Experiment(data, PROTOCOL, CPU)
    measured = next(iter(run_block(block, start_cells({0: pool}, trials), trials)))[0]
    assert measured.row["status"] == "ok" and measured.row["absent_classes"] == 0
    assert measured.recalls[2] > 0.9 and np.isfinite([measured.row[key] for key in ("accuracy", "auc", "nll")]).all()


def test_missing_model_outputs_name_the_learners_that_provide_them() -> None:
    asking = [method for method in strategies if "view_probs" in method.inputs]
    assert asking
    for query in asking:
        with pytest.raises(UserError, match=f"query {query.name} needs view_probs") as refused:
            require_outputs(query.name, query, learners.get("linear"), "embeddings")
        assert "scratch" in refused.value.remedy and "linear" not in refused.value.remedy


@pytest.mark.parametrize("query", [m for m in strategies if "probs" in m.inputs], ids=lambda method: method.name)
def test_a_learner_provides_its_declared_outputs(query) -> None:
    points, labels = blobs(30)
    linear = learners.get("linear")
    model = linear.build(points[:9], labels[:9], 3, 0, CPU, **KNOBS["linear"])
    outputs = query_outputs(query, linear, model, points, replace(PROTOCOL, space="learner"), 0, lambda count: [])
    assert {*query.inputs} & {"probs", "features", "head"} <= outputs.keys()
    if {"features", "head"} <= outputs.keys():
        logits = np.c_[outputs["features"], np.ones(30)] @ outputs["head"]
        np.testing.assert_allclose(softmax(logits), softmax(model.logits(points)), atol=1e-5)


def test_jobs_are_blocks_of_ten_consecutive_seeds() -> None:
    jobs = list(block_jobs(["e"], ["a", "b"], ["x", "y"], ["linear"], 23))
    assert len(jobs) == 2 * 2 * 3
    assert [len(job.seeds) for job in jobs[:3]] == [10, 10, 3] and list(jobs[1].seeds) == list(range(10, 20))
    assert [job.with_first for job in jobs[:6]] == [True] * 3 + [False] * 3


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 4), st.integers(1, 5), st.integers(0, 10**6))
def test_the_solver_finds_what_scipy_finds(count: int, size: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = rng.normal(size=(count, size, size))
    bowl = shape @ shape.transpose(0, 2, 1) + 0.1 * np.eye(size)
    center = 3 * rng.normal(size=(count, size, 1))

    def objective(point: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        off = point - center
        value = 0.5 * (off * (bowl @ off)).sum((1, 2)) + np.logaddexp(0, point).sum((1, 2))
        return value, bowl @ off + 1 / (1 + np.exp(-point))

    solution = minimize_batched(objective, np.zeros((count, size, 1)), 1e-9)
    for number in range(count):

        def one(flat: np.ndarray, number: int = number) -> tuple[float, np.ndarray]:
            points = np.zeros((count, size, 1))
            points[number, :, 0] = flat
            value, gradient = objective(points)
            return value[number], gradient[number, :, 0]

        theirs = minimize(one, np.zeros(size), jac=True, method="BFGS", options={"gtol": 1e-9})
        np.testing.assert_allclose(solution[number, :, 0], theirs.x, atol=1e-5)
        assert np.abs(one(solution[number, :, 0])[1]).max() <= 1e-9


def test_prepared_inputs_choose_the_same() -> None:
    points, _ = blobs(60)
    # Of other lengths in no order, so that what is not normalized has other picks.
    points = points * (1 + np.arange(60)[:, None] * 7 % 60)
    plain = choose("kcenter", {"embeddings": points}, 7, labeled=[3], exclude=[5, 6])
    ready = choose("kcenter", {}, 7, labeled=[3], exclude=[5, 6], prepared=prepare({"embeddings": points}, True))
    np.testing.assert_array_equal(plain.indices, ready.indices)
