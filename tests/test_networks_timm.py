"""timm's networks, from a file or the cache of the hub."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from initpools_cli.core.errors import UserError
from initpools_cli.networks.attention import most_attended
from initpools_cli.networks.backbones import find_weights, folder_of, load_backbone, remark
from initpools_cli.networks.from_timm import Trunk

VIT, CONV = "test_vit", "test_resnet"
TAGGED = "test_vit.r160_in1k"


def made(name: str, **how: object) -> nn.Module:
    import timm

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return timm.create_model(name, pretrained=False, **how).eval()


@pytest.fixture(scope="module")
def vit() -> nn.Module:
    return made(VIT)


@pytest.fixture(scope="module")
def file(vit: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "vit.safetensors"
    save_file(vit.state_dict(), path)
    return path


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(2, 3, 160, 160, generator=torch.Generator().manual_seed(0))


@pytest.fixture(autouse=True)
def no_gradients() -> Iterator[None]:
    with torch.inference_mode():
        yield


# Of timm's networks for tests: attention pooling, registers, a hidden layer in the head, maps with channels last.
@pytest.mark.parametrize("name", [CONV, "test_vit2", "test_vit4", "test_efficientnet", "test_mambaout"])
def test_features_are_what_the_head_would_have_seen(name: str, tmp_path: Path, images: torch.Tensor) -> None:
    network = made(name)
    torch.save(network.state_dict(), tmp_path / "w.pth")
    before = torch.get_rng_state()
    backbone, _ = load_backbone(name, tmp_path / "w.pth")
    assert torch.equal(torch.get_rng_state(), before) and not backbone.training
    features = network.forward_head(network.forward_features(images), pre_logits=True)
    torch.testing.assert_close(backbone(images), features)
    assert backbone.features == features.shape[1]


def test_tokens_are_pooled_as_asked(vit: nn.Module, file: Path, images: torch.Tensor) -> None:
    tokens = vit.forward_features(images)
    cls, patches = tokens[:, 0], tokens[:, 1:]
    assert patches.shape[1] == 100
    closed = {
        "auto": vit.forward_head(tokens, pre_logits=True),
        "cls": cls,
        "mean": patches.mean(1),
        "max": patches.amax(1),
        "cls+mean": torch.cat([cls, patches.mean(1)], dim=1),
    }
    for pooling, expected in closed.items():
        backbone, _ = load_backbone(VIT, file, pooling=pooling)
        torch.testing.assert_close(backbone(images), expected)
        assert backbone.features == expected.shape[1]


def test_registers_are_no_patches(tmp_path: Path, images: torch.Tensor) -> None:
    network = made("test_vit3")
    torch.save(network.state_dict(), tmp_path / "w.pth")
    backbone, _ = load_backbone("test_vit3", tmp_path / "w.pth")
    _, patches = backbone.tokens(images)
    extra = network.num_prefix_tokens
    assert patches is not None
    torch.testing.assert_close(patches, network.forward_features(images)[:, extra:])


def shown(network: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """The attention of the last layer, without fused kernels: (b, heads, queries, keys)."""
    *_, last = (layer for layer in network.modules() if hasattr(layer, "fused_attn"))
    seen: list[torch.Tensor] = []
    last.fused_attn = False
    with last.attn_drop.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0])):
        network.forward_features(images)
    last.fused_attn = True
    return seen[0]


# With registers, with normalized queries and keys, with rotary and with relative positions, with a class token that
# only the last layers have.
@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("test_vit", {}),
        ("vit_small_patch14_reg4_dinov2", {"qk_norm": True}),
        ("vit_small_patch16_dinov3", {}),
        ("beit_base_patch16_224", {}),
        ("cait_xxs24_224", {}),
    ],
)
def test_the_attention_of_the_class_token_is_that_without_fused_kernels(name: str, how: dict[str, bool]) -> None:
    small = {} if name == "test_vit" else {"depth": 2, "embed_dim": 32, "num_heads": 2, "img_size": 112}
    network = made(name, num_classes=0, **small, **how)
    random = torch.Generator().manual_seed(1)
    for values in network.parameters():
        values.normal_(generator=random)
    images = torch.rand(3, 3, small.get("img_size", 160), small.get("img_size", 160), generator=random)
    backbone = Trunk(network)
    places, attention = backbone.attended(images)
    expected = shown(network, images).mean(1)[:, 0, network.num_prefix_tokens :]
    assert expected.shape == attention.shape == places.shape[:2] and expected.std() > 0.05 * expected.mean()
    torch.testing.assert_close(attention, expected)
    assert torch.equal(places, backbone.tokens(images)[1])

    backbone.pooling, backbone.attention = "none", 0.5
    for image, tokens, weights in zip(backbone(images), places, expected.double(), strict=True):
        order = weights.argsort(descending=True)
        count = next(n for n in range(1, len(order) + 1) if weights[order[:n]].sum() >= 0.5 * weights.sum())
        closed = torch.zeros_like(tokens)
        closed[order[:count]] = tokens[order[:count]]
        assert torch.equal(image, closed) and 0 < count < len(order)
    backbone.attention = 1.0
    assert torch.equal(backbone(images), places)


def test_of_equal_patches_the_first_are_kept() -> None:
    attention = torch.tensor([[0.1, 0.1, 0.1, 0.1], [0.0, 0.2, 0.7, 0.1]])
    for share, closed in (
        (1e-9, [[1, 0, 0, 0], [0, 0, 1, 0]]),
        (0.5, [[1, 1, 0, 0], [0, 0, 1, 0]]),
        (0.75, [[1, 1, 1, 0], [0, 1, 1, 0]]),
        (0.95, [[1, 1, 1, 1], [0, 1, 1, 1]]),
    ):
        assert most_attended(attention, share).int().tolist() == closed


@pytest.mark.parametrize("name", [CONV, "test_vit2", "test_mambaout"])
def test_networks_without_a_class_token_have_no_attention_to_share(name: str, images: torch.Tensor) -> None:
    backbone = Trunk(made(name, num_classes=0))
    backbone.pooling, backbone.attention = "none", 0.5
    with pytest.raises(
        UserError, match=r"embed\.attention = 0\.5 needs a vision transformer with a class token.* dino-small or"
    ):
        backbone(images)


def test_maps_with_channels_last_are_read_right(tmp_path: Path, images: torch.Tensor) -> None:
    network = made("test_mambaout")
    torch.save(network.state_dict(), tmp_path / "w.pth")
    backbone, _ = load_backbone("test_mambaout", tmp_path / "w.pth", pooling="mean")
    maps = network.forward_features(images)
    assert maps.shape[1] == maps.shape[2] != maps.shape[3]
    torch.testing.assert_close(backbone(images), maps.mean(dim=(1, 2)))
    with pytest.raises(UserError, match=r"'cls'.*auto or mean or max"):
        load_backbone("test_mambaout", tmp_path / "w.pth", pooling="cls")


def test_preprocessing_is_that_of_the_models_own_configuration(vit: nn.Module, file: Path) -> None:
    from timm.data import create_transform, resolve_model_data_config

    color = Image.effect_noise((300, 260), 60).convert("RGB")
    own = create_transform(**resolve_model_data_config(vit), is_training=False)
    _, preprocess = load_backbone(VIT, file)
    torch.testing.assert_close(preprocess(color), own(color), rtol=0, atol=1e-6)
    assert torch.equal(preprocess(color.convert("L")), preprocess(color.convert("L").convert("RGB")))


@pytest.mark.parametrize("layout", ["module.", "_orig_mod.", "model", "training", "classes", "headless", "mask_token"])
def test_weights_are_found_in_every_usual_layout(
    vit: nn.Module, file: Path, tmp_path: Path, images: torch.Tensor, layout: str
) -> None:
    state, path = dict(vit.state_dict()), tmp_path / "w.bin"
    match layout:
        case "module." | "_orig_mod.":
            torch.save({f"{layout}{name}": value for name, value in state.items()}, path)
        case "model":
            torch.save({"model": state}, path)
        case "training":
            other = {name: torch.zeros_like(value) for name, value in state.items()}
            torch.save({"args": argparse.Namespace(lr=1), "state_dict": other, "state_dict_ema": state}, path)
        case "classes":
            torch.save({**state, "head.weight": torch.zeros(7, 64), "head.bias": torch.zeros(7)}, path)
        case "headless":
            torch.save({name: value for name, value in state.items() if not name.startswith("head.")}, path)
        case "mask_token":
            torch.save({**state, "mask_token": torch.zeros(1, 64)}, path)
    expected = load_backbone(VIT, file)[0](images)
    assert torch.equal(load_backbone(VIT, path)[0](images), expected)


@pytest.mark.parametrize("prefix", ["visual.", "module.visual."])
def test_the_image_tower_of_a_whole_clip_is_taken_out(tmp_path: Path, prefix: str) -> None:
    """Names as OpenAI's checkpoints have them, and the text tower beside."""
    name = "vit_xsmall_patch16_clip_224"
    tower = made(name)
    state = {"logit_scale": torch.ones(()), "token_embedding.weight": torch.zeros(9, 4)}
    for key, value in tower.state_dict().items():
        for theirs, ours in CLIP:
            key = key.replace(ours, theirs)
        if key.startswith("head"):
            continue
        shape = (
            value.shape[1:]
            if key == "positional_embedding"
            else value.shape[2:]
            if key == "class_embedding"
            else value.shape
        )
        state[prefix + key] = value.reshape(shape)
    state[f"{prefix}proj"] = torch.zeros(tower.num_features, 5)
    torch.save({"state_dict": state} if "module" in prefix else state, tmp_path / "clip.pt")
    images = torch.rand(1, 3, 224, 224)
    backbone, _ = load_backbone(name, tmp_path / "clip.pt")
    torch.testing.assert_close(backbone(images), tower.forward_head(tower.forward_features(images), pre_logits=True))


CLIP = [
    ("conv1", "patch_embed.proj"),
    ("positional_embedding", "pos_embed"),
    ("class_embedding", "cls_token"),
    ("transformer.resblocks.", "blocks."),
    ("ln_pre", "norm_pre"),
    ("attn.in_proj_", "attn.qkv."),
    ("attn.out_proj", "attn.proj"),
    ("mlp.c_fc", "mlp.fc1"),
    ("mlp.c_proj", "mlp.fc2"),
    ("ln_1", "norm1"),
    ("ln_2", "norm2"),
    ("ln_post", "norm"),
]


def test_weights_of_another_network_name_the_first_layer_and_both_shapes(tmp_path: Path, file: Path) -> None:
    with pytest.raises(UserError, match=r"cls_token is 1x1x64 in the file and 1x1x192 in the network"):
        load_backbone("vit_tiny_patch16_224", file)
    deeper = made(VIT, depth=7)
    save_file(deeper.state_dict(), tmp_path / "deeper.safetensors")
    with pytest.raises(UserError, match=r"has a layer blocks\.6\.\S+ of shape \S+, which the network does not have"):
        load_backbone(VIT, tmp_path / "deeper.safetensors")
    with pytest.raises(UserError, match=r"has no layer conv1"):
        load_backbone(CONV, file)


def test_patches_of_another_size_are_not_resampled(tmp_path: Path) -> None:
    save_file(made(VIT, patch_size=20).state_dict(), tmp_path / "w.safetensors")
    with pytest.raises(UserError, match=r"patch_embed\.proj\.weight is 64x3x20x20 in the file and 64x3x16x16"):
        load_backbone(VIT, tmp_path / "w.safetensors")


def test_position_embeddings_follow_the_size(vit: nn.Module, file: Path) -> None:
    backbone, preprocess = load_backbone(VIT, file, size=96)
    shown = preprocess(Image.effect_noise((300, 260), 60))
    assert shown.shape == (3, 96, 96)
    _, patches = backbone.tokens(shown[None])
    assert patches is not None and patches.shape == (1, 36, 64)
    with pytest.raises(
        UserError, match=r"embed\.size = 100 is not a multiple of .*, 16 pixels\. Set embed\.size to 96 or 112\."
    ):
        load_backbone(VIT, file, size=100)


def test_weights_are_found_in_the_cache_of_the_hub(file: Path) -> None:
    with pytest.raises(UserError) as refused:
        find_weights(VIT)
    hub = Path(os.environ["HF_HOME"]) / "hub/models--timm--test_vit.r160_in1k"
    assert str(hub) in refused.value.fact
    assert "`hf download timm/test_vit.r160_in1k model.safetensors`" in refused.value.remedy
    assert "https://huggingface.co/timm/test_vit.r160_in1k/resolve/main/model.safetensors" in refused.value.remedy
    snapshot = hub / "snapshots/0123abc"
    snapshot.mkdir(parents=True)
    (hub / "refs").mkdir()
    (hub / "refs/main").write_text("0123abc")
    (snapshot / "model.safetensors").write_bytes(file.read_bytes())
    for name in (VIT, TAGGED, f"timm/{TAGGED}"):
        assert find_weights(name) == snapshot / "model.safetensors"


def test_what_the_hub_has_not_is_looked_for_in_torchs_cache() -> None:
    checkpoints = Path(torch.hub.get_dir()) / "checkpoints"
    checkpoints.mkdir(parents=True, exist_ok=True)
    (checkpoints / "dinov2_vits14_pretrain.pth").touch()
    assert find_weights("vit_small_patch14_dinov2") == checkpoints / "dinov2_vits14_pretrain.pth"


def test_names_that_both_libraries_have() -> None:
    with pytest.raises(UserError, match=r"download\.pytorch\.org/models/resnet18-f37072fd\.pth"):
        find_weights("resnet18")
    for name in ("timm/resnet18", "resnet18.a1_in1k", "timm/resnet18.a1_in1k"):
        with pytest.raises(UserError, match=r"timm/resnet18\.a1_in1k"):
            find_weights(name)
        assert folder_of(name) == "resnet18.a1_in1k"
    assert folder_of(f"timm/{VIT}") == VIT


def test_unknown_names_and_tags_get_the_nearest(file: Path) -> None:
    with pytest.raises(UserError, match=r"'vit_small_patch14_dinov2'"):
        find_weights("vit_small_patch14_dino2", file)
    with pytest.raises(UserError, match=r"'resnet18\.a1_in1k'"):
        find_weights("resnet18.a1_in22k", file)
    with pytest.raises(UserError, match="timm has no published weights of test_maxvit"):
        find_weights("test_maxvit")


def test_what_timm_remarks_on_weights_is_passed_on() -> None:
    assert "QuickGELU" in remark("vit_base_patch32_clip_224.openai")
    assert remark("resnet18") == remark(TAGGED) == remark("clip") == ""
