"""Weight files in the layouts of other libraries: features against a forward pass by hand, or the library's own."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from initpools_cli.core.errors import UserError
from initpools_cli.networks.backbones import load_backbone
from initpools_cli.networks.from_timm import fill
from initpools_cli.networks.layouts import PARTS, encoder_of
from initpools_cli.networks.weights import read_weights

State = dict[str, Tensor]
WIDTH, HEADS, DEPTH, PATCH, SIDE = 24, 3, 2, 8, 32
TINY = {"patch_size": PATCH, "embed_dim": WIDTH, "depth": DEPTH, "num_heads": HEADS, "img_size": SIDE}
FILE = Path("w.safetensors")


def random_state(shapes: Mapping[str, tuple[int, ...]]) -> State:
    random = torch.Generator().manual_seed(0)
    return {name: torch.randn(shape, generator=random) * 0.3 for name, shape in shapes.items()}


def of_layers(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """The shapes of every layer's tensors, and of the bias of each weight."""
    shape_of = {}
    for layer in range(DEPTH):
        for name, shape in shapes.items():
            name = name.replace("N", str(layer))
            shape_of[name] = shape
            if name.endswith(".weight"):
                shape_of[name.removesuffix("weight") + "bias"] = shape[:1]
    return shape_of


D, HIDDEN = (WIDTH,), 4 * WIDTH
#: Names of transformers, in the order of the computation.
VIT = {
    "encoder.layer.N.layernorm_before.weight": D,
    "encoder.layer.N.attention.attention.query.weight": (WIDTH, WIDTH),
    "encoder.layer.N.attention.attention.key.weight": (WIDTH, WIDTH),
    "encoder.layer.N.attention.attention.value.weight": (WIDTH, WIDTH),
    "encoder.layer.N.attention.output.dense.weight": (WIDTH, WIDTH),
    "encoder.layer.N.layernorm_after.weight": D,
    "encoder.layer.N.intermediate.dense.weight": (HIDDEN, WIDTH),
    "encoder.layer.N.output.dense.weight": (WIDTH, HIDDEN),
}
DINOV2 = {
    "encoder.layer.N.norm1.weight": D,
    "encoder.layer.N.attention.attention.query.weight": (WIDTH, WIDTH),
    "encoder.layer.N.attention.attention.key.weight": (WIDTH, WIDTH),
    "encoder.layer.N.attention.attention.value.weight": (WIDTH, WIDTH),
    "encoder.layer.N.attention.output.dense.weight": (WIDTH, WIDTH),
    "encoder.layer.N.norm2.weight": D,
    "encoder.layer.N.mlp.fc1.weight": (HIDDEN, WIDTH),
    "encoder.layer.N.mlp.fc2.weight": (WIDTH, HIDDEN),
    "encoder.layer.N.layer_scale1.lambda1": D,
    "encoder.layer.N.layer_scale2.lambda1": D,
}
GATED = {
    **{name: shape for name, shape in DINOV2.items() if ".fc" not in name},
    "encoder.layer.N.mlp.weights_in.weight": (2 * HIDDEN, WIDTH),
    "encoder.layer.N.mlp.weights_out.weight": (WIDTH, HIDDEN),
}
CLIP = {
    "encoder.layers.N.layer_norm1.weight": D,
    "encoder.layers.N.self_attn.q_proj.weight": (WIDTH, WIDTH),
    "encoder.layers.N.self_attn.k_proj.weight": (WIDTH, WIDTH),
    "encoder.layers.N.self_attn.v_proj.weight": (WIDTH, WIDTH),
    "encoder.layers.N.self_attn.out_proj.weight": (WIDTH, WIDTH),
    "encoder.layers.N.layer_norm2.weight": D,
    "encoder.layers.N.mlp.fc1.weight": (HIDDEN, WIDTH),
    "encoder.layers.N.mlp.fc2.weight": (WIDTH, HIDDEN),
}
PLACES = (SIDE // PATCH) ** 2
AROUND = {
    "embeddings.cls_token": (1, 1, WIDTH),
    "embeddings.position_embeddings": (1, 1 + PLACES, WIDTH),
    "embeddings.patch_embeddings.projection.weight": (WIDTH, 3, PATCH, PATCH),
    "embeddings.patch_embeddings.projection.bias": D,
    "layernorm.weight": D,
    "layernorm.bias": D,
}
AROUND_CLIP = {
    "embeddings.class_embedding": D,
    "embeddings.position_embedding.weight": (1 + PLACES, WIDTH),
    "embeddings.patch_embedding.weight": (WIDTH, 3, PATCH, PATCH),
    "pre_layrnorm.weight": D,
    "pre_layrnorm.bias": D,
    "post_layernorm.weight": D,
    "post_layernorm.bias": D,
}


def by_hand(
    state: State, layer_names: Mapping[str, Any], images: Tensor, *, eps: float, act: Callable[..., Any]
) -> Tensor:
    """The tokens after the last norm, from tensors named as in transformers."""

    def dense(name: str, values: Tensor) -> Tensor:
        return values @ state[f"{name}.weight"].T + state[f"{name}.bias"]

    def norm(name: str, values: Tensor) -> Tensor:
        centered = values - values.mean(-1, keepdim=True)
        scaled = centered / (centered.square().mean(-1, keepdim=True) + eps).sqrt()
        return scaled * state[f"{name}.weight"] + state[f"{name}.bias"]

    clip = "embeddings.class_embedding" in state
    kernel = state["embeddings.patch_embedding.weight" if clip else "embeddings.patch_embeddings.projection.weight"]
    cut = images.unfold(2, PATCH, PATCH).unfold(3, PATCH, PATCH)
    patches = torch.einsum("bcijpq,dcpq->bijd", cut, kernel).flatten(1, 2)
    patches = patches if clip else patches + state["embeddings.patch_embeddings.projection.bias"]
    first = state["embeddings.class_embedding" if clip else "embeddings.cls_token"].reshape(1, 1, -1)
    places = state["embeddings.position_embedding.weight" if clip else "embeddings.position_embeddings"]
    tokens = torch.cat([first.expand(len(images), -1, -1), patches], 1) + places
    registers = state.get("embeddings.register_tokens")
    if registers is not None:
        tokens = torch.cat([tokens[:, :1], registers.expand(len(images), -1, -1), tokens[:, 1:]], 1)
    if clip:
        tokens = norm("pre_layrnorm", tokens)
    names = [name.removesuffix(".weight") for name in layer_names if name.endswith(".weight")]
    for layer in range(DEPTH):
        norm1, query, key, value, out, norm2, wide, narrow = (name.replace("N", str(layer)) for name in names)
        scale1, scale2 = (
            state.get(f"encoder.layer.{layer}.layer_scale{number}.lambda1", torch.ones(WIDTH)) for number in (1, 2)
        )
        normed_tokens = norm(norm1, tokens)
        heads = []
        for head in range(HEADS):
            part = slice(head * WIDTH // HEADS, (head + 1) * WIDTH // HEADS)
            q, k, v = (dense(name, normed_tokens)[..., part] for name in (query, key, value))
            heads.append((q @ k.transpose(1, 2) / (WIDTH // HEADS) ** 0.5).softmax(-1) @ v)
        tokens = tokens + scale1 * dense(out, torch.cat(heads, -1))
        tokens = tokens + scale2 * dense(narrow, act(dense(wide, norm(norm2, tokens))))
    # CLIP's last norm is for the class token alone.
    return norm("post_layernorm" if clip else "layernorm", tokens)


def gated(values: Tensor) -> Tensor:
    gate, other = values.chunk(2, -1)
    return F.silu(gate) * other


def quick_gelu(values: Tensor) -> Tensor:
    return values * torch.sigmoid(1.702 * values)


HEAD = {"classifier.weight": (5, WIDTH), "classifier.bias": (5,)}
POOLER = {"pooler.dense.weight": (WIDTH, WIDTH), "pooler.dense.bias": D}
MASK = {"embeddings.mask_token": (1, WIDTH)}
REGISTERS = {"embeddings.register_tokens": (1, 4, WIDTH)}
IDS = {"embeddings.position_ids": (1, 1 + PLACES)}
TEXT = {"text_model.encoder.layers.0.layer_norm1.weight": D, "logit_scale": (), "visual_projection.weight": (4, WIDTH)}
DECODER = {"decoder.mask_token": (1, 1, 4), "decoder.decoder_embed.weight": (4, WIDTH)}


@pytest.mark.parametrize(
    ("network", "layers", "around", "prefix", "beside", "eps", "act"),
    [
        ("vit_tiny_patch16_224", VIT, AROUND | POOLER, "", {}, 1e-12, F.gelu),
        ("vit_tiny_patch16_224", VIT, AROUND, "vit.", HEAD, 1e-12, F.gelu),
        ("vit_tiny_patch16_224", VIT, AROUND, "vit.", DECODER, 1e-12, F.gelu),
        ("vit_small_patch14_dinov2", DINOV2, AROUND | MASK, "", {}, 1e-6, F.gelu),
        ("vit_small_patch14_dinov2", DINOV2, AROUND | MASK, "dinov2.", HEAD, 1e-6, F.gelu),
        ("vit_giant_patch14_dinov2", GATED, AROUND | MASK, "", {}, 1e-6, gated),
        ("vit_small_patch14_reg4_dinov2", DINOV2, AROUND | MASK | REGISTERS, "", {}, 1e-6, F.gelu),
        ("vit_base_patch32_clip_quickgelu_224", CLIP, AROUND_CLIP | IDS, "vision_model.", TEXT, 1e-5, quick_gelu),
        ("vit_base_patch32_clip_224", CLIP, AROUND_CLIP, "", {}, 1e-5, F.gelu),
    ],
)
def test_files_of_transformers(
    network: str,
    layers: dict[str, tuple[int, ...]],
    around: dict[str, tuple[int, ...]],
    prefix: str,
    beside: dict[str, tuple[int, ...]],
    eps: float,
    act: Callable[..., Any],
) -> None:
    import timm

    state = random_state({**around, **of_layers(layers)})
    images = torch.rand(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    expected = by_hand(state, layers, images, eps=eps, act=act)
    how = {**TINY, "mlp_ratio": 8.0} if layers is GATED else TINY
    body = timm.create_model(network, pretrained=False, num_classes=0, **how).eval()
    fill(body, network, {f"{prefix}{name}": value for name, value in state.items()} | random_state(beside), FILE)
    with torch.inference_mode():
        torch.testing.assert_close(body.forward_features(images), expected, rtol=1e-5, atol=1e-5)


def test_relatives_with_unknown_layers_are_refused() -> None:
    """BEiT has the names of ViT, and position biases that would change the features."""
    import timm

    state = random_state({**AROUND, **of_layers(VIT), "encoder.layer.0.lambda_1": D})
    body = timm.create_model("vit_tiny_patch16_224", pretrained=False, num_classes=0, **TINY)
    with pytest.raises(UserError, match=r"has no layer cls_token.*`initpools list backbones`"):
        fill(body, "vit_tiny_patch16_224", state, FILE)


def test_a_transformer_of_torchvision() -> None:
    import timm

    theirs = torchvision.models.VisionTransformer(SIDE, PATCH, DEPTH, HEADS, WIDTH, HIDDEN).eval()
    state = random_state({name: tuple(value.shape) for name, value in theirs.state_dict().items()})
    theirs.load_state_dict(state)
    theirs.heads = nn.Identity()
    images = torch.rand(2, 3, SIDE, SIDE)
    old = {name.replace("mlp.0.", "mlp.linear_1.").replace("mlp.3.", "mlp.linear_2."): state[name] for name in state}
    for each in (state, old):
        body = timm.create_model("vit_tiny_patch16_224", pretrained=False, num_classes=0, **TINY).eval()
        fill(body, "vit_tiny_patch16_224", each, FILE)
        with torch.inference_mode():
            torch.testing.assert_close(body(images), theirs(images), rtol=1e-5, atol=1e-5)


def test_a_convnext_of_torchvision() -> None:
    import timm
    from torchvision.models.convnext import CNBlockConfig, ConvNeXt

    widths, depths = (8, 16, 24, 32), (1, 2, 1, 1)
    blocks = [CNBlockConfig(w, n, d) for w, n, d in zip(widths, (*widths[1:], None), depths, strict=True)]
    theirs = ConvNeXt(blocks).eval()
    state = random_state({name: tuple(value.shape) for name, value in theirs.state_dict().items()})
    theirs.load_state_dict(state)
    theirs.classifier[2] = nn.Identity()
    body = timm.create_model("convnext_tiny", pretrained=False, num_classes=0, dims=widths, depths=depths).eval()
    fill(body, "convnext_tiny", state, FILE)
    images = torch.rand(2, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(body(images), theirs(images), rtol=1e-5, atol=1e-5)


@pytest.fixture(scope="module")
def resnet() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return torchvision.models.resnet18().eval()


def test_a_resnet_of_torchvision_is_also_timms(resnet: nn.Module, tmp_path: Path) -> None:
    save_file(resnet.state_dict(), tmp_path / "w.safetensors")
    images = torch.rand(1, 3, 64, 64)
    ours, theirs = (load_backbone(name, tmp_path / "w.safetensors")[0] for name in ("timm/resnet18", "resnet18"))
    with torch.inference_mode():
        torch.testing.assert_close(ours(images), theirs(images), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("numbered", [False, True])
def test_the_encoder_of_a_checkpoint_is_found(resnet: nn.Module, part: str, numbered: bool) -> None:
    """Names as solo-learn, lightly and lightly-train have them, beside the projector and an average of the encoder."""
    state = {name: value for name, value in resnet.state_dict().items() if not name.startswith("fc.")}
    order = [name for name, _ in resnet.named_children()]
    tensors = {}
    for name, value in state.items():
        first, _, rest = name.partition(".")
        tensors[part + (f"{order.index(first)}.{rest}" if numbered else name)] = value
    zeros = {name: torch.zeros_like(value) for name, value in state.items()}
    tensors |= {f"momentum_backbone.{name}": value for name, value in zeros.items()}
    tensors |= {f"student_backbone.{name}": value for name, value in zeros.items() if not part.startswith("student")}
    tensors |= {"projection_head.layers.0.weight": torch.zeros(3, 3), "queue": torch.zeros(2)}
    if PARTS.index(part) > PARTS.index("student_backbone."):
        tensors = {name: value for name, value in tensors.items() if not name.startswith("student_backbone.")}
    encoder = encoder_of(tensors, state)
    assert encoder.keys() == state.keys()
    assert all(torch.equal(encoder[name], state[name]) for name in state)


def test_an_encoder_alone_is_left_as_it_is(resnet: nn.Module) -> None:
    state = dict(resnet.state_dict())
    assert encoder_of(state, state).keys() == state.keys()


class Settings:
    """An object as checkpoints of solo-learn have them."""


@pytest.mark.parametrize("entry", ["state_dict", "model", ""])
def test_a_file_that_needs_unpickling_comes_with_a_command_that_converts_it(
    resnet: nn.Module, tmp_path: Path, entry: str
) -> None:
    path = tmp_path / "last epoch.ckpt"
    tensors = {"backbone.conv1.weight": torch.ones(2)}
    content: object = nn.Sequential(nn.Linear(2, 2))
    if entry == "state_dict":
        content = {"state_dict": tensors, "hyper_parameters": Settings()}
    elif entry:
        content = {"model": content, "epoch": 3}
    torch.save(content, path)
    with pytest.raises(UserError, match=r"objects of the package \w+, whose reading runs code") as refused:
        read_weights(path)
    assert "If you trust the file" in refused.value.remedy
    python, option, program = shlex.split(refused.value.remedy.split("`")[1])
    assert (python, option) == ("python", "-c")
    exec(program, {})
    tensors_read = read_weights(tmp_path / "last epoch-tensors.pth")
    assert set(tensors_read) == (set(tensors) if entry == "state_dict" else {"0.weight", "0.bias"})
