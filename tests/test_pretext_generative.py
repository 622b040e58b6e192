"""Tasks that rebuild images: masked autoencoder, BiGAN, VAE, and the transformer under the first."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Initpools, untrained
from lightning_fabric import Fabric
from torch import Tensor

from initpools_cli.augment.draws import Draws
from initpools_cli.core.config import RunTable
from initpools_cli.core.errors import UserError
from initpools_cli.networks.build import build_encoder
from initpools_cli.networks.vit import VisionTransformer, positions
from initpools_cli.pretext.base import Pretext
from initpools_cli.pretext.bigan import EPSILON, critic_loss, generator_loss
from initpools_cli.pretext.mae import EPSILON as MAE_EPSILON
from initpools_cli.training.device import start_fabric
from initpools_cli.training.fit import Plan, fit


def images(n: int = 8, height: int = 8, width: int = 8, channels: int = 1) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, height, width, channels), dtype=np.uint8)


def task(name: str, size: int = 8, channels: int = 1, network: str = "", **knobs: object) -> Pretext:
    return untrained(name, size=size, channels=channels, network=network, **knobs)


def shown(pretext: Pretext, pixels: np.ndarray, epoch: int = 1) -> tuple[Tensor, ...]:
    return pretext.inputs(torch.from_numpy(pixels), Draws(0, epoch, torch.arange(len(pixels))))


@torch.no_grad()
def looked_at(pretext: Pretext, pixels: np.ndarray) -> tuple[tuple[Tensor, ...], Any, Tensor]:
    """Inputs, outputs and losses in evaluation mode."""
    inputs = shown(pretext.eval(), pixels)
    outputs = pretext(*inputs)
    return inputs, outputs, pretext.losses(inputs, outputs, torch.arange(len(pixels)))


@pytest.fixture(scope="module")
def fabric() -> Fabric:
    return start_fabric(RunTable(precision="fp32", threads=1, device="cpu"))


# ---- the transformer


@pytest.mark.parametrize(("size", "patch"), [(8, 2), (16, 2), (20, 4), (64, 4), (80, 16)])
def test_patches_fit_the_size_and_hold_the_pixels(size: int, patch: int) -> None:
    vit = build_encoder("vit", channels=3, size=size, width=0.125, seed=0)
    assert isinstance(vit, VisionTransformer) and vit.patch == patch
    pixels = torch.rand(2, 3, size, size + patch)
    cut = vit.patches(pixels)
    rows, columns = vit.grid(size, size + patch)
    assert cut.shape == (2, rows * columns, patch * patch * 3)
    for row, column in ((0, 0), (rows - 1, 1), (1, columns - 1)):
        window = pixels[1, :, row * patch : (row + 1) * patch, column * patch : (column + 1) * patch]
        assert torch.equal(cut[1, row * columns + column], window.permute(1, 2, 0).flatten())


def test_positions_are_sines_and_cosines_of_row_and_column() -> None:
    table = positions(3, 5, 16)
    assert table.shape == (15, 16)
    assert len(torch.unique(table, dim=0)) == 15
    for row, column in ((0, 0), (2, 3)):
        angles = [place * 10_000 ** (-k / 4) for place in (row, column) for k in range(4)]
        expected = [math.sin(angle) for angle in angles[:4]] + [math.cos(angle) for angle in angles[:4]]
        expected += [math.sin(angle) for angle in angles[4:]] + [math.cos(angle) for angle in angles[4:]]
        torch.testing.assert_close(table[row * 5 + column], torch.tensor(expected))


def test_each_block_begins_with_weights_of_its_own() -> None:
    vit = build_encoder("vit", channels=1, size=8, width=0.25, seed=0)
    first, second = vit.blocks.layers[0], vit.blocks.layers[1]  # type: ignore[union-attr,index]
    assert not torch.equal(first.linear1.weight, second.linear1.weight)
    assert not torch.equal(first.self_attn.in_proj_weight, second.self_attn.in_proj_weight)


def test_images_that_patches_do_not_fill_are_the_users_to_mend() -> None:
    with pytest.raises(UserError, match=r"30 x 30 pixels can't be divided into patches of 4 x 4"):
        build_encoder("vit", channels=1, size=30, seed=0)
    vit = build_encoder("vit", channels=1, size=28, width=0.25, seed=0)
    with pytest.raises(UserError, match=r"28 x 30 pixels"):
        vit(torch.rand(1, 1, 28, 30))


def test_other_tasks_train_on_the_transformer(fabric: Fabric, tmp_path: Path) -> None:
    for name in ("simclr", "rotation"):
        pretext = task(name, network="vit")
        before = copy.deepcopy(pretext.encoder.state_dict())
        rows = list(fit(pretext, images(16), np.arange(16), Plan(1, 8, 0), fabric, checkpoint=tmp_path / name))
        assert math.isfinite(rows[0]["loss"])
        assert all(not torch.equal(now, before[key]) for key, now in pretext.encoder.state_dict().items())


# ---- masked autoencoder


@pytest.mark.parametrize("norm_pixels", [True, False])
def test_mae_equals_its_naive_twin(norm_pixels: bool) -> None:
    mae = task("mae", 12, 3, norm_pixels=norm_pixels)
    (view, order), outputs, losses = looked_at(mae, images(3, 12, 16, 3))
    assert losses.dtype == torch.double
    for image in range(3):
        hidden = order[image, 12:].tolist()  # A quarter of 6 x 8 patches is seen.
        assert outputs.shape[1] == len(hidden) == 36
        total = 0.0
        for number, place in enumerate(hidden):
            top, left = 2 * (place // 8), 2 * (place % 8)
            target = view[image, :, top : top + 2, left : left + 2].double().permute(1, 2, 0).flatten().numpy()
            if norm_pixels:
                target = (target - target.mean()) / math.sqrt(target.var(ddof=1) + MAE_EPSILON)
            total += float(np.mean((outputs[image, number].double().numpy() - target) ** 2))
        assert float(losses[image]) == pytest.approx(total / len(hidden), rel=1e-9)


def test_mae_never_sees_what_it_has_to_rebuild() -> None:
    mae = task("mae").eval()
    view, order = shown(mae, images())
    hidden = torch.zeros(8, 16, dtype=torch.bool).scatter_(1, order[:, mae.visible(16) :], True)  # type: ignore[operator]
    mask = hidden.view(8, 1, 4, 4).repeat_interleave(2, 2).repeat_interleave(2, 3)
    assert hidden.sum(1).tolist() == [12] * 8
    torch.testing.assert_close(mae(torch.where(mask, 0.0, view), order), mae(view, order))
    assert not torch.allclose(mae(torch.where(mask, view, 0.0), order), mae(view, order))


def test_the_order_of_patches_is_only_a_way_to_write_them() -> None:
    """Attention treats tokens alike, so permuting those hidden, and those seen, permutes what is rebuilt."""
    mae = task("mae").eval()
    view, order = shown(mae, images())
    other = torch.cat([order[:, :4].flip(1), order[:, 4:].flip(1)], 1)
    torch.testing.assert_close(mae(view, other), mae(view, order).flip(1), rtol=1e-3, atol=1e-5)


def test_masks_belong_to_images_and_their_share_is_the_knobs() -> None:
    mae = task("mae")
    pixels = torch.from_numpy(images())
    whole = mae.inputs(pixels, Draws(0, 1, torch.arange(8)))[1]
    part = mae.inputs(pixels[5:], Draws(0, 1, torch.arange(5, 8)))[1]
    assert torch.equal(whole[5:], part)
    assert torch.equal(whole.sort(1).values, torch.arange(16).expand(8, 16))
    assert len(torch.unique(whole, dim=0)) == 8
    for ratio, seen in ((0.75, 4), (0.5, 8), (0.001, 15), (0.999, 1)):
        assert task("mae", mask_ratio=ratio).visible(16) == seen  # type: ignore[operator]


def test_guessing_the_mean_of_normalized_patches_costs_what_it_says() -> None:
    mae = task("mae")
    inputs = shown(mae, images(channels=1))
    nothing = torch.zeros(8, 12, 4)
    # The sum of squares around the mean, over n - 1, is 1; over n = 4 it is 3 / 4.
    assert mae.losses(inputs, nothing, torch.arange(8)).tolist() == pytest.approx([0.75] * 8, rel=1e-3)


# ---- BiGAN


def test_each_players_gradient_is_that_of_two_optimizers() -> None:
    """The textbook: one backward pass for the critic with the others fixed, one for the others with it fixed."""
    bigan = task("bigan", cycle=0.0).train()
    twin = copy.deepcopy(bigan)
    inputs = shown(bigan, images())
    bigan.loss(inputs, bigan(*inputs), torch.arange(8)).backward()

    view, codes = inputs
    network = twin.encoder
    latents = network.encode(view)
    made = network.generate(torch.cat([latents, codes]))[8:]
    critic = dict(network.critic.named_parameters())
    others = {name: w for name, w in network.named_parameters() if not name.startswith("critic.")}
    # One pass in training mode improves the estimate of the spectral norms; later ones take it as it is.
    network.critic.train()
    network.critic(torch.cat([view, made]).detach(), torch.cat([latents, codes]).detach())
    network.critic.eval()
    expected = {}
    fixed = critic_loss(network.critic(view, latents.detach())[1], network.critic(made.detach(), codes)[1]).mean()
    for (name, _), gradient in zip(critic.items(), torch.autograd.grad(fixed, critic.values()), strict=True):
        expected[f"critic.{name}"] = gradient
    posed = generator_loss(network.critic(view, latents)[1], network.critic(made, codes)[1]).mean()
    expected |= dict(zip(others, torch.autograd.grad(posed, others.values()), strict=True))
    for name, weight in bigan.encoder.named_parameters():
        assert weight.grad is not None
        torch.testing.assert_close(weight.grad, expected[name], rtol=1e-3, atol=1e-6, msg=name)
    for (name, one), other in zip(bigan.named_buffers(), twin.buffers(), strict=True):
        torch.testing.assert_close(one, other, msg=name)


def test_the_cycle_term_moves_the_players_and_never_the_critic() -> None:
    def gradients(cycle: float) -> dict[str, Tensor]:
        bigan = task("bigan", cycle=cycle).train()
        inputs = shown(bigan, images())
        bigan.loss(inputs, bigan(*inputs), torch.arange(8)).backward()
        return {name: weight.grad for name, weight in bigan.encoder.named_parameters() if weight.grad is not None}

    without, strong = gradients(0.0), gradients(10.0)
    for name, gradient in without.items():
        assert torch.equal(gradient, strong[name]) == name.startswith("critic."), name


def test_the_losses_of_the_game_are_cross_entropies() -> None:
    real, made = torch.tensor([0.3, -2.0]), torch.tensor([1.0, 0.0])
    for i in range(2):
        p, q = (1 / (1 + math.exp(-float(logit[i]))) for logit in (real, made))
        assert float(critic_loss(real, made)[i]) == pytest.approx(-math.log(p) - math.log(1 - q))
        assert float(generator_loss(real, made)[i]) == pytest.approx(-math.log(1 - p) - math.log(q))
    torch.testing.assert_close(critic_loss(torch.zeros(2), torch.zeros(2)), torch.full((2,), 2 * math.log(2)).double())


def test_bigans_score_equals_its_naive_twin() -> None:
    bigan = task("bigan", 12, 3, alpha=0.7)
    inputs, (rebuilt, hidden, again), scores = looked_at(bigan, images(3, 12, 12, 3))
    for i in range(3):
        pixels = np.abs(rebuilt[i].double().numpy() - inputs[0][i].double().numpy()).mean()
        one, other = (part[i].double().numpy() for part in (hidden, again))
        share = np.abs(one - other).sum() / (np.abs(one).sum() + EPSILON * len(one))
        assert float(scores[i]) == pytest.approx(0.7 * pixels + 0.3 * share, rel=1e-9)
    same = bigan.losses(inputs, (inputs[0], hidden, hidden), torch.arange(3))
    assert same.tolist() == [0, 0, 0]


def test_codes_are_of_the_image_and_one_image_a_batch_is_the_users_to_mend() -> None:
    bigan = task("bigan")
    pixels = torch.from_numpy(images())
    whole = bigan.inputs(pixels, Draws(0, 1, torch.arange(8)))[1]
    assert torch.equal(whole[5:], bigan.inputs(pixels[5:], Draws(0, 1, torch.arange(5, 8)))[1])
    with pytest.raises(UserError, match="needs at least 2 images per batch"):
        bigan.train()(*shown(bigan, images(1)))


# ---- VAE


def test_the_gaussian_vae_equals_its_naive_twin() -> None:
    vae = task("vae", likelihood="gaussian")
    torch.nn.init.constant_(vae.log_deviation, -1.5)  # type: ignore[arg-type]
    inputs, (rebuilt, mean, log_variance), losses = looked_at(vae, images(3))
    deviation = math.exp(-6 + math.log1p(math.exp(-1.5 + 6)))
    pixels = torch.distributions.Normal(rebuilt.double(), deviation).log_prob(inputs[0].double()).flatten(1).sum(1)
    code = torch.distributions.Normal(mean.double(), (0.5 * log_variance.double()).exp())
    divergence = torch.distributions.kl_divergence(code, torch.distributions.Normal(0.0, 1.0)).sum(1)
    torch.testing.assert_close(losses, divergence - pixels)


def test_the_vae_with_the_references_output_cannot_reach_its_inputs() -> None:
    vae, plain = task("vae", output="tanh", kl_weight=0.0), task("vae", kl_weight=0.0)
    inputs, (rebuilt, _, _), losses = looked_at(vae, images(3))
    target = (inputs[0].double() - 0.5) / 0.25
    assert target.max() > 1 > rebuilt.max() and rebuilt.min() < 0
    torch.testing.assert_close(losses, (rebuilt.double() - target).square().flatten(1).mean(1))
    # The same weights: both outputs are one number per pixel, in other units.
    torch.testing.assert_close(2 * looked_at(plain, images(3))[1][0] - 1, rebuilt)
    with pytest.raises(UserError, match="output = 'tanh' has no effect"):
        task("vae", likelihood="gaussian", output="tanh")


def test_the_gaussian_vaes_noise_settles_at_the_error_of_the_rebuilt() -> None:
    """The lower bound is flattest in the deviation where its square is the mean squared error: no more to learn."""
    vae = task("vae", likelihood="gaussian").eval()
    inputs = shown(vae, images())
    outputs = vae(*inputs)
    error = float((outputs[0] - inputs[0]).square().mean().detach())

    def slope(deviation: float) -> float:
        # The inverse of the bound from below on the logarithm.
        torch.nn.init.constant_(vae.log_deviation, -6 + math.log(math.expm1(math.log(deviation) + 6)))  # type: ignore[arg-type]
        return float(torch.autograd.grad(vae.loss(inputs, outputs, torch.arange(8)), vae.log_deviation)[0])  # type: ignore[call-overload]

    assert slope(0.9 * error**0.5) < -1
    assert slope(error**0.5) == pytest.approx(0, abs=1e-2)
    assert slope(1.1 * error**0.5) > 1


def test_a_weight_of_ones_own_is_refused_where_there_is_none() -> None:
    with pytest.raises(UserError, match=r"kl_weight = 0.5 has no effect with likelihood = 'gaussian'"):
        task("vae", likelihood="gaussian", kl_weight=0.5)


# ---- bfloat16, and the commands


@pytest.mark.parametrize("name", ["bigan", "mae", "vae"])
def test_bfloat16_trains_and_stays_close(name: str, tmp_path: Path) -> None:
    lost = []
    for precision in ("fp32", "bf16"):
        engine = start_fabric(RunTable(precision=precision, threads=1, device="cpu"))  # type: ignore[arg-type]
        pretext = task(name, 16, 3)
        plan = Plan(1, 8, 0)
        lost += [
            row["loss"]
            for row in fit(pretext, images(16, 16, 16, 3), np.arange(16), plan, engine, checkpoint=tmp_path / precision)
        ]
    assert lost[1] == pytest.approx(lost[0], rel=0.05)


@pytest.mark.parametrize("name", ["bigan", "mae"])
def test_the_commands_train_and_score(name: str, initpools: Initpools, tmp_path: Path) -> None:
    run = ["--run", tmp_path / "run", "--threads", "1", "--quiet"]
    small = ["--set", "pretrain.epochs=1", "--set", "pretrain.width=0.125", "--set", "score.views=1"]
    ended = initpools("pretrain", name, "--dataset", "digits", *run, *small)
    assert ended.code == 0, ended.err
    ended = initpools("score", name, *run, *small, "-o", tmp_path / "scores.npy")
    assert ended.code == 0, ended.err
    scores = np.load(tmp_path / "scores.npy")
    assert scores.dtype == np.float64 and np.isfinite(scores).all() and len(np.unique(scores)) > 1000


@pytest.mark.parametrize(
    ("words", "fact", "remedy"),
    [
        (["mae", "--network", "convnet"], "mae can't be trained on the network convnet", "Use vit"),
        (["simclr", "--network", "bigan"], "simclr can't be trained on the network bigan", "resnet18"),
        (["vae", "--network", "vit"], "vae can't be trained on the network vit", "Use vae"),
        (["mae", "--set", "mask_ratio=1.0"], "mask_ratio = 1.0", "valid"),
        (["mae", "--set", "decoder_dim=40"], "decoder_dim = 40", "valid"),
        (["vae", "--set", "likelihood=gausian"], "'gausian'", "'gaussian'"),
        (["bigan", "--set", "alpha=2.0"], "alpha = 2.0", "valid"),
    ],
)
def test_what_the_tasks_refuse(words: list[str], fact: str, remedy: str, initpools: Initpools, tmp_path: Path) -> None:
    ended = initpools("pretrain", *words, "--dataset", "digits", "--run", tmp_path / "run")
    assert ended.code == 2
    assert fact in ended.err.replace("\n", " ") and remedy in ended.err
