"""Defaults are those of the documentation, and values at the ends of what is allowed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError

import initpools_cli
from initpools_cli.core import bounds
from initpools_cli.core.capacity import _size
from initpools_cli.core.errors import UserError
from initpools_cli.core.rundir import Run
from initpools_cli.stats.forecast import labels_to
from initpools_cli.stats.friedman import friedman
from initpools_cli.stats.group_interval import independent_images
from initpools_cli.stats.intervals import bootstrap_t_intervals
from initpools_cli.stats.long_tail import rarest_third
from initpools_cli.stats.metric_names import chosen_metric
from initpools_cli.strategies.probabilities import distributions
from initpools_cli.strategies.registry import strategies

METHODS = Path(__file__).parent.parent / "docs" / "methods.md"


def documented_knobs() -> dict[str, dict[str, str]]:
    """The knobs of each strategy and their defaults, as the page on methods has them."""
    rows = re.findall(r"^\| \[?`([\w+-]+)`(.*)\|$", METHODS.read_text(), re.MULTILINE)
    return {name: dict(re.findall(r"`(\w+) = ([^`]*)`", cells)) for name, cells in rows}


@pytest.mark.parametrize("name", [method.name for method in strategies])
def test_defaults_are_those_of_the_documentation(name: str) -> None:
    defaults = {knob: default for knob, (_, default) in strategies.get(name).knobs.items()}
    documented = documented_knobs()[name]
    assert documented.keys() == defaults.keys()
    for knob, default in defaults.items():
        assert documented[knob].strip('"') in (str(default), str(default).lower()), knob


@pytest.mark.parametrize(
    ("kind", "least", "most"),
    [
        (bounds.Count, 0, 10**9),
        (bounds.PositiveCount, 1, 10**9),
        (bounds.Passes, 1, 10**5),
        (bounds.OptionalPasses, 0, 10**5),
        (bounds.Several, 2, 10**4),
        (bounds.Units, 1, 2**16),
        (bounds.Factor, 0.0, 1e9),
    ],
)
def test_bounds_are_allowed_themselves_and_nothing_beyond(kind: Any, least: float, most: float) -> None:
    adapter = TypeAdapter(kind)
    for value in (least, most):
        assert adapter.validate_python(value) == value
    for value in (least - 1, most + 1):
        with pytest.raises(ValidationError):
            adapter.validate_python(value)


def test_two_groups_have_an_interval() -> None:
    """Two images that are right in one group, and two wrong in the other, are worth one image, with Student's t."""
    worth = independent_images(np.array([True, True, False, False]), np.array([0, 0, 1, 1]))
    assert worth == pytest.approx((1.959964 / 12.706205) ** 2, rel=1e-5)
    assert independent_images(np.array([True, False]), np.array([3, 3])) == 0


def test_a_target_that_is_reached_needs_no_labels() -> None:
    """Also where more labels are not expected to help."""
    assert labels_to(0.8, 0.8, 0.0, 50) == 0
    assert labels_to(0.81, 0.8, 0.0, 50) is None


def test_an_interval_with_one_infinite_end_is_none_at_all() -> None:
    """Samples of eleven equal values and one other often have no variation."""
    rows = np.zeros((2, 12))
    rows[0, 0], rows[1] = 1, np.arange(12)
    one, other = bootstrap_t_intervals(rows)
    assert np.isnan(one).all() and np.isfinite(other).all()


def test_ranks_need_two_methods_and_two_blocks() -> None:
    for shape in ((5, 1), (1, 5)):
        with pytest.raises(ValueError, match="two"):
            friedman(np.zeros(shape))


def test_a_metric_that_a_sweep_lacks_is_named_with_a_guess() -> None:
    with pytest.raises(UserError, match="'acuracy' is not one of this sweep") as raised:
        chosen_metric("acuracy", ["accuracy", "balanced_accuracy"])
    assert "Did you mean 'accuracy'?" in raised.value.remedy


def test_a_budget_above_the_one_image_left_is_refused() -> None:
    with pytest.raises(UserError, match="2 is more than the 1 unlabeled image"):
        initpools_cli.select(np.eye(3, dtype=np.float32), "kcenter", 2, labeled=np.array([0, 1]))


@pytest.mark.parametrize(("shape", "remedy"), [((0, 4), "at least one image"), ((4, 0), "at least one number")])
def test_empty_embeddings_are_refused(shape: tuple[int, int], remedy: str) -> None:
    with pytest.raises(UserError, match="is empty") as raised:
        initpools_cli.select(np.empty(shape, np.float32), "kcenter", 1)
    assert remedy in raised.value.remedy


def test_the_row_of_what_is_no_probability_is_named() -> None:
    with pytest.raises(UserError, match=r"row 3 is 1\.5"):
        distributions("probs", np.array([[0.1], [0.2], [0.3], [1.5]]))


def test_a_size_has_the_largest_unit_that_it_reaches() -> None:
    assert [_size(each) for each in (1e12, 1e9, 1e6, 1e3)] == ["1.0 TB", "1.0 GB", "1.0 MB", "1.0 kB"]
    assert _size(999_999_999_999) == "1000.0 GB"


def test_of_few_classes_one_is_rare() -> None:
    assert rarest_third(np.array([7, 0, 3, 5])).tolist() == [2]
    assert rarest_third(np.array([7, 2, 3, 5, 4, 6])).tolist() == [1, 2]


def test_an_empty_folder_is_no_step(tmp_path: Path) -> None:
    (tmp_path / "pool" / "empty").mkdir(parents=True)
    damaged = tmp_path / "pool" / "damaged"
    damaged.mkdir()
    (damaged / "pool.csv").touch()
    assert [step.id for step in Run(tmp_path).folders("pool")] == ["pool/damaged"]
