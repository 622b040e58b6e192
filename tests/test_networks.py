from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torchvision
from torch import nn

from initpools_cli.core.errors import UserError
from initpools_cli.networks.build import build_encoder, projector
from initpools_cli.networks.registry import networks
from initpools_cli.networks.vae import VAE
from initpools_cli.networks.weights import load_weights, save_weights


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


#: Sides that networks of patches can't take, and what they take in their place.
FILLED = {"vit": {33: 36, 70: 80}}


@pytest.mark.parametrize("name", networks.names())
@pytest.mark.parametrize(("size", "channels"), [(8, 1), (28, 3), (33, 1), (70, 3)])
def test_encoders_give_their_features_and_learn(name: str, size: int, channels: int) -> None:
    size = FILLED.get(name, {}).get(size, size)
    encoder = build_encoder(name, channels=channels, size=size, width=0.125, seed=0)
    features = encoder(torch.rand(2, channels, size, size))
    assert features.shape == (2, encoder.features)
    features.square().sum().backward()
    first = next(encoder.parameters())
    assert first.grad is not None
    assert first.grad.abs().sum() > 0


@pytest.mark.parametrize("name", networks.names())
def test_encoders_take_channels_last(name: str) -> None:
    encoder = build_encoder(name, channels=3, size=16, width=0.125, seed=0).eval()
    images = torch.rand(2, 3, 16, 16)
    expected = encoder(images)
    last = encoder.to(memory_format=torch.channels_last)(images.to(memory_format=torch.channels_last))
    torch.testing.assert_close(last, expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", networks.names())
def test_weights_come_from_the_seed_and_leave_torch_alone(name: str) -> None:
    def weights(seed: int) -> torch.Tensor:
        encoder = build_encoder(name, channels=3, size=8, width=0.125, seed=seed)
        return torch.cat([p.detach().flatten() for p in encoder.parameters()])

    torch.rand(3)
    before = torch.get_rng_state()
    first = weights(1)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(3)
    assert torch.equal(weights(1), first)
    assert not torch.equal(weights(2), first)


@pytest.mark.parametrize("name", ["resnet18", "resnet34", "resnet50"])
def test_resnets_are_torchvisions_but_for_stem_and_head(name: str) -> None:
    twin = torchvision.models.get_model(name, weights=None)
    without_head = parameters(twin) - parameters(twin.fc)
    large = build_encoder(name, channels=3, size=65, seed=0)
    assert parameters(large) == without_head
    assert large.features == twin.fc.in_features
    small = build_encoder(name, channels=3, size=64, seed=0)
    assert parameters(small) == without_head - 64 * 3 * (7 * 7 - 3 * 3)


def test_resnet18_computes_what_torchvisions_does() -> None:
    encoder = build_encoder("resnet18", channels=3, size=65, seed=0)
    twin = torchvision.models.resnet18(weights=None)
    twin.fc = nn.Identity()
    twin.load_state_dict(dict(zip(twin.state_dict(), encoder.state_dict().values(), strict=True)))
    images = torch.rand(2, 3, 65, 65)
    torch.testing.assert_close(encoder.eval()(images), twin.eval()(images))


@pytest.mark.parametrize("name", ["vgg11", "vgg13", "vgg16", "vgg19"])
def test_vggs_have_torchvisions_convolutions(name: str) -> None:
    with torch.device("meta"):
        twin = torchvision.models.get_model(f"{name}_bn", weights=None, init_weights=False)
    assert parameters(build_encoder(name, channels=3, size=32, seed=0)) == parameters(twin.features)


def test_width_scales_the_features() -> None:
    narrow, wide = (build_encoder("convnet", channels=1, size=8, width=w, seed=0).features for w in (0.5, 2.0))
    assert (narrow, wide) == (128, 512)


@pytest.mark.parametrize("size", [*range(8, 20), 28, 33, 64])
@pytest.mark.parametrize("channels", [1, 3])
def test_vae_returns_images_of_the_size_it_was_given(size: int, channels: int) -> None:
    vae = build_encoder("vae", channels=channels, size=size, width=0.25, seed=0)
    assert isinstance(vae, VAE)
    images = torch.rand(3, channels, size, size)
    mu, logvar = vae.encode(images)
    assert mu.shape == logvar.shape == (3, vae.features) == (3, 128)
    decoded = vae.decode(mu)
    assert decoded.shape == images.shape
    assert 0.0 <= decoded.min() <= decoded.max() <= 1.0


def test_vae_has_the_layers_of_the_reference_at_32_pixels() -> None:
    vae = build_encoder("vae", channels=3, size=32, seed=0)
    assert isinstance(vae, VAE)
    convolutions = [m for m in vae.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
    assert [m.out_channels for m in convolutions] == [32, 64, 128, 256, 128, 64, 32, 32, 3]
    assert vae.code_shape == (256, 2, 2)


def test_vae_as_an_encoder_gives_the_mean() -> None:
    vae = build_encoder("vae", channels=1, size=8, width=0.25, seed=0).eval()
    assert isinstance(vae, VAE)
    images = torch.rand(2, 1, 8, 8)
    assert torch.equal(vae(images), vae.encode(images)[0])


def test_projector_is_seeded_and_of_the_widths_asked_for() -> None:
    before = torch.get_rng_state()
    heads = [projector(16, 32, 8, seed) for seed in (0, 0, 1)]
    assert torch.equal(torch.get_rng_state(), before)
    assert heads[0](torch.rand(4, 16)).shape == (4, 8)
    assert torch.equal(heads[0][0].weight, heads[1][0].weight)
    assert not torch.equal(heads[0][0].weight, heads[2][0].weight)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "resnt18"}, "'resnet18'"),
        ({"size": 7}, "7 x 7"),
        ({"width": 0.0}, "width = 0.0"),
    ],
)
def test_what_cannot_be_built_is_said(options: dict[str, object], message: str) -> None:
    arguments = {"name": "convnet", "channels": 3, "size": 32, "seed": 0, **options}
    with pytest.raises(UserError, match=message):
        build_encoder(**arguments)  # type: ignore[arg-type]


# --- weights ---------------------------------------------------------------------------------------------------------


def small(width: float = 0.25, seed: int = 0, channels: int = 3) -> nn.Module:
    return build_encoder("convnet", channels=channels, size=8, width=width, seed=seed)


def test_weights_come_back_with_their_buffers(tmp_path: Path) -> None:
    saved, loaded = small(seed=0).to(memory_format=torch.channels_last), small(seed=1)
    saved(torch.rand(4, 3, 16, 16))
    save_weights(saved, tmp_path / "w.safetensors")
    load_weights(loaded, tmp_path / "w.safetensors")
    for (name, value), again in zip(saved.state_dict().items(), loaded.state_dict().values(), strict=True):
        assert torch.equal(value, again), name


def test_the_same_weights_are_the_same_bytes(tmp_path: Path) -> None:
    for number in (0, 1):
        save_weights(small(), tmp_path / f"{number}.safetensors")
    assert (tmp_path / "0.safetensors").read_bytes() == (tmp_path / "1.safetensors").read_bytes()


def test_weights_of_another_network_name_the_first_layer_and_both_shapes(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_weights(small(width=0.25), path)
    with pytest.raises(UserError, match=r"stages\.0\.weight is 8x3x3x3 in the file and 16x3x3x3 in the network"):
        load_weights(small(width=0.5), path)
    with pytest.raises(UserError, match=r"has no layer stem\.0\.weight, .* 8x3x3x3"):
        load_weights(build_encoder("resnet18", channels=3, size=8, width=0.125, seed=0), path)
    with pytest.raises(UserError, match=r"has a layer stages\.1\.\w+ of shape \w+, which the network does not have"):
        load_weights(nn.ModuleDict({"stages": nn.Sequential(nn.Conv2d(3, 8, 3, bias=False))}), path)


def test_weights_files_that_are_missing_or_cut_off_are_said(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    with pytest.raises(UserError, match="There is no weights file"):
        load_weights(small(), path)
    save_weights(small(), path)
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(UserError, match="is not a safetensors file"):
        load_weights(small(), path)
