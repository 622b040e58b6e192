from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from initpools_cli.augment.draws import Draws
from initpools_cli.core.seeds import derive

MASK = 2**64 - 1


def ids(n: int) -> torch.Tensor:
    return torch.arange(n)


def mixed(z: int) -> int:
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def naive_bits(seed: int, epoch: int, view: int, label: str, image: int, draw: int) -> int:
    golden = 0x9E3779B97F4A7C15
    state = mixed((image * golden + derive(seed, "draws", epoch, view, label)) & MASK)
    return mixed((state + (draw + 1) * golden) & MASK)


@given(st.integers(0, 2**63 - 1), st.integers(0, 1000), st.integers(0, 2**40), st.integers(0, 9))
def test_uniform_is_the_top_bits_of_splitmix64(seed: int, epoch: int, image: int, view: int) -> None:
    values = Draws(seed, epoch, torch.tensor([5, image]), view).uniform("crop", 3)
    assert values[1].tolist() == [(naive_bits(seed, epoch, view, "crop", image, i) >> 40) / 2**24 for i in range(3)]


def test_integers_are_the_scaled_high_half() -> None:
    values = Draws(3, 1, torch.tensor([12]), 0).integers("turn", 7, 4)
    assert values.tolist() == [[(naive_bits(3, 1, 0, "turn", 12, i) >> 32) * 7 >> 32 for i in range(4)]]


def test_pinned_values_so_that_published_runs_can_be_drawn_again() -> None:
    draws = Draws(0, 3, torch.tensor([0, 1, 49999]), 1)
    assert (draws.uniform("crop") * 2**24).long().tolist() == [11411271, 3391880, 15452438]
    assert draws.integers("turn", 1000).tolist() == [958, 608, 916]
    np.testing.assert_allclose(draws.normal("noise").numpy(), [-0.71712697, 1.4032371, -0.49724218], rtol=1e-6)


@pytest.mark.parametrize("kind", ["uniform", "normal", "integers"])
def test_an_image_draws_the_same_in_any_batch(kind: str) -> None:
    def draw(images: torch.Tensor) -> torch.Tensor:
        draws = Draws(7, 2, images, 1)
        return draws.integers("a", 100, 5) if kind == "integers" else getattr(draws, kind)("a", 5)

    whole = draw(ids(64))
    order = torch.randperm(64, generator=torch.Generator().manual_seed(0))
    assert torch.equal(draw(order), whole[order])
    for size in (1, 7):
        assert torch.equal(torch.cat([draw(part) for part in ids(64).split(size)]), whole)


def test_shapes() -> None:
    draws = Draws(0, 0, ids(4))
    assert draws.uniform("a").shape == (4,)
    assert draws.uniform("a", 2, 3).shape == (4, 2, 3)
    assert draws.normal("a", 2).shape == (4, 2)
    assert draws.integers("a", 5, 1).shape == (4, 1)
    assert draws.uniform("a", 2).dtype == draws.normal("a").dtype == torch.float32


def test_more_numbers_begin_with_the_fewer() -> None:
    draws = Draws(0, 0, ids(4))
    assert torch.equal(draws.uniform("a", 9)[:, :4], draws.uniform("a", 4))


@given(st.floats(-100, 100), st.floats(0.001, 100))
def test_uniform_keeps_to_its_interval(low: float, length: float) -> None:
    values = Draws(0, 0, ids(500)).uniform("a", low=low, high=low + length)
    assert values.min() >= np.float32(low)
    assert values.max() < np.float32(low + length)


@pytest.mark.parametrize(
    ("ids", "draws_each"), [(torch.arange(20000), 1), (torch.arange(20), 1000), (torch.arange(200) * 2**32, 100)]
)
def test_uniform_and_integers_are_uniform(ids: torch.Tensor, draws_each: int) -> None:
    draws = Draws(1, 0, ids)
    levels = (draws.uniform("a", draws_each) * 64).long().flatten()
    assert stats.chisquare(np.bincount(levels, minlength=64)).pvalue > 1e-3
    assert stats.chisquare(np.bincount(draws.integers("b", 15, draws_each).flatten(), minlength=15)).pvalue > 1e-3


def test_low_bits_of_consecutive_images_are_uniform_in_pairs() -> None:
    u = (Draws(5, 0, ids(40001)).uniform("a") * 8).long()
    pairs = torch.bincount(u[:-1] * 8 + u[1:], minlength=64)
    assert stats.chisquare(pairs.numpy()).pvalue > 1e-3


def test_normal_is_standard_normal() -> None:
    values = Draws(2, 0, ids(200)).normal("a", 100).flatten().numpy()
    assert stats.kstest(values, "norm").pvalue > 1e-3
    assert np.isfinite(values).all()


def test_streams_are_unrelated() -> None:
    n = 20000
    streams = [
        Draws(0, 0, ids(n)).uniform("a"),
        Draws(0, 0, ids(n)).uniform("b"),
        Draws(0, 0, ids(n), view=1).uniform("a"),
        Draws(0, 1, ids(n)).uniform("a"),
        Draws(1, 0, ids(n)).uniform("a"),
        Draws(0, 0, ids(n) + 1).uniform("a"),
        Draws(0, 0, ids(n)).uniform("a", 2)[:, 1],
        Draws(0, 0, ids(n)).normal("a"),
    ]
    correlation = np.corrcoef(torch.stack(streams).numpy()) - np.eye(len(streams))
    # The last is made from the bits of the first, monotone in neither: it is left out of the comparison with it.
    correlation[0, -1] = correlation[-1, 0] = 0.0
    assert np.abs(correlation).max() < 4.5 / np.sqrt(n)
