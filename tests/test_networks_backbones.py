from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from initpools_cli.core.errors import UserError
from initpools_cli.networks.attention import most_attended
from initpools_cli.networks.backbones import backbone_names, find_weights, folder_of, load_backbone
from initpools_cli.networks.from_torchvision import Classifier

NAME = "squeezenet1_1"


@pytest.fixture(scope="module")
def network() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return torchvision.models.get_model(NAME, weights=None).eval()


@pytest.fixture(scope="module")
def weights(network: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "some.pth"
    torch.save(network.state_dict(), path)
    return path


def expected(network: nn.Module, images: torch.Tensor) -> torch.Tensor:
    assert isinstance(network, torchvision.models.SqueezeNet)
    return network.features(images).relu().mean(dim=(2, 3))


def test_features_are_what_the_last_layer_would_have_seen(network: nn.Module, weights: Path) -> None:
    before = torch.get_rng_state()
    backbone, _ = load_backbone(NAME, weights)
    assert torch.equal(torch.get_rng_state(), before)
    images = torch.rand(2, 3, 64, 64)
    assert backbone.features == 512
    assert not backbone.training
    torch.testing.assert_close(backbone(images), expected(network, images))


@pytest.mark.parametrize("name", ["mobilenet_v3_small", "shufflenet_v2_x0_5", "mnasnet0_5", "densenet121"])
def test_families_with_other_heads_are_cut_at_the_last_layer(name: str, tmp_path: Path) -> None:
    network = torchvision.models.get_model(name, weights=None).eval()
    torch.save(network.state_dict(), tmp_path / "w.pth")
    seen: list[torch.Tensor] = []
    last = [layer for layer in network.modules() if isinstance(layer, nn.Linear)][-1]
    last.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    images = torch.rand(2, 3, 64, 64)
    network(images)
    backbone, _ = load_backbone(name, tmp_path / "w.pth")
    assert backbone.features == last.in_features
    torch.testing.assert_close(backbone(images), seen[0])


@pytest.mark.parametrize("layout", ["state_dict", "model", "module.", "safetensors", "classes", "headless"])
def test_weights_are_found_in_every_usual_layout(network: nn.Module, tmp_path: Path, layout: str) -> None:
    state = dict(network.state_dict())
    path = tmp_path / "w.pth"
    match layout:
        case "state_dict" | "model":
            torch.save({layout: state, "epoch": 3}, path)
        case "module.":
            torch.save({"state_dict": {f"module.{name}": value for name, value in state.items()}}, path)
        case "safetensors":
            path = tmp_path / "w.safetensors"
            save_file(state, path)
        case "classes":
            torch.save({**state, "classifier.1.weight": torch.zeros(7, 512, 1, 1)}, path)
        case "headless":
            torch.save({name: value for name, value in state.items() if "classifier" not in name}, path)
    backbone, _ = load_backbone(NAME, path)
    images = torch.rand(1, 3, 48, 48)
    torch.testing.assert_close(backbone(images), expected(network, images))


def test_names_of_old_densenet_files_are_understood(tmp_path: Path) -> None:
    state = torchvision.models.densenet121(weights=None).state_dict()
    old = {}
    for name, value in state.items():
        if "num_batches_tracked" not in name:
            for layer in ("norm", "conv"):
                for number in "12":
                    name = name.replace(f".{layer}{number}.", f".{layer}.{number}.") if "denselayer" in name else name
            old[name] = value
    torch.save(old, tmp_path / "old.pth")
    backbone, _ = load_backbone("densenet121", tmp_path / "old.pth")
    assert torch.equal(backbone.body.state_dict()["features.norm5.weight"], state["features.norm5.weight"])


def test_preprocessing_is_that_of_the_published_weights(weights: Path) -> None:
    _, preprocess = load_backbone(NAME, weights)
    color = Image.effect_noise((300, 260), 60).convert("RGB")
    transforms = torchvision.models.SqueezeNet1_1_Weights.DEFAULT.transforms()
    assert preprocess(color).shape == (3, 224, 224)
    assert torch.equal(preprocess(color), transforms(color))


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "1", "CMYK"])
def test_images_of_any_mode_have_three_channels(weights: Path, mode: str) -> None:
    _, preprocess = load_backbone(NAME, weights)
    assert preprocess(Image.new(mode, (40, 30))).shape == (3, 224, 224)


def test_values_that_pillow_would_cut_off_are_refused(weights: Path) -> None:
    _, preprocess = load_backbone(NAME, weights)
    for values in (np.full((8, 8), 300, np.uint16), np.full((8, 8), 300.0, np.float32)):
        with pytest.raises(ValueError, match="not of 8 bits"):
            preprocess(Image.fromarray(values))


def test_gray_images_are_repeated(weights: Path) -> None:
    _, preprocess = load_backbone(NAME, weights)
    gray = Image.effect_noise((20, 20), 60)
    assert torch.equal(preprocess(gray), preprocess(gray.convert("RGB")))
    assert (preprocess.read(gray)[0] == preprocess.read(gray)[2]).all()


def test_the_file_name_says_which_recipe_the_weights_are_of(tmp_path: Path) -> None:
    network = torchvision.models.get_model("mobilenet_v2", weights=None)
    resized = {}
    for entry in torchvision.models.get_model_weights("mobilenet_v2"):
        path = tmp_path / entry.url.rsplit("/", 1)[-1]
        torch.save(network.state_dict(), path)
        shown = load_backbone("mobilenet_v2", path)[1](Image.linear_gradient("L"))
        resized[entry.name] = torch.equal(shown, entry.transforms()(Image.linear_gradient("L").convert("RGB")))
    assert resized == {"IMAGENET1K_V1": True, "IMAGENET1K_V2": True}


def test_preprocessing_can_be_sent_to_workers(weights: Path) -> None:
    _, preprocess = load_backbone(NAME, weights)
    image = Image.new("L", (20, 20))
    assert torch.equal(pickle.loads(pickle.dumps(preprocess))(image), preprocess(image))


def test_names_include_the_usual_families() -> None:
    assert {"resnet50", "vit_b_16", "convnext_tiny", "swin_t", "efficientnet_b0", "vgg16"} <= set(backbone_names())


def test_an_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(UserError, match="'resnet50'"):
        load_backbone("resnet_50", Path("w.pth"))


def test_a_missing_file_names_the_address_and_the_file(tmp_path: Path) -> None:
    with pytest.raises(
        UserError,
        match=r"no weights file .*w\.pth\. Download https://download\.pytorch\.org/models/squeezenet1_1-\w+\.pth",
    ):
        load_backbone(NAME, tmp_path / "w.pth")


def test_weights_of_another_network_name_the_first_layer(weights: Path) -> None:
    with pytest.raises(UserError, match=r"features\.0\.weight is 64x3x3x3 in the file and 96x3x7x7 in the network"):
        load_backbone("squeezenet1_0", weights)


class Unwelcome:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (Path.touch, (Path("ran"),))  # type: ignore[return-value]


def test_pickled_objects_and_broken_files_are_refused(tmp_path: Path, weights: Path) -> None:
    path = tmp_path / "w.pth"
    torch.save({"state_dict": Unwelcome()}, path)
    with pytest.raises(UserError, match="can't be read as weights"):
        load_backbone(NAME, path)
    assert not Path("ran").exists()
    for content in (b"", b"not weights", weights.read_bytes()[:1000], weights.read_bytes()[:-1000]):
        path.write_bytes(content)
        with pytest.raises(UserError, match="can't be read as weights"):
            load_backbone(NAME, path)
    torch.save([1, 2], path)
    with pytest.raises(UserError, match="has no tensors by name"):
        load_backbone(NAME, path)


def test_weights_are_found_in_torchs_cache(network: nn.Module) -> None:
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    file = folder / torchvision.models.SqueezeNet1_1_Weights.DEFAULT.url.rsplit("/", 1)[-1]
    with pytest.raises(UserError) as refused:
        find_weights(NAME)
    assert str(file) in refused.value.fact and "download https://download.pytorch.org" in refused.value.remedy
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(network.state_dict(), file)
    assert find_weights(NAME) == file
    file.unlink()


def test_the_maps_of_a_convolutional_network_are_pooled_by_mean_and_max(network: nn.Module, weights: Path) -> None:
    images = torch.rand(2, 3, 64, 96)
    assert isinstance(network, torchvision.models.SqueezeNet)
    maps = network.features(images).relu()
    for pooling, closed in {"mean": maps.mean(dim=(2, 3)), "max": maps.amax(dim=(2, 3))}.items():
        backbone, _ = load_backbone(NAME, weights, pooling=pooling)
        torch.testing.assert_close(backbone(images), closed)
    with pytest.raises(
        UserError, match=r"does not support the pooling 'cls'\. Set embed\.pooling to auto or mean or max\."
    ):
        load_backbone(NAME, weights, pooling="cls")


def test_the_attention_of_the_class_token_is_that_of_its_last_layer() -> None:
    with torch.random.fork_rng(devices=[]), torch.inference_mode():
        torch.manual_seed(0)
        vit = torchvision.models.VisionTransformer(32, 8, 2, 2, 16, 32).eval()
        for values in vit.parameters():
            values.normal_()
        images = torch.rand(3, 3, 32, 32)
        tokens: list[torch.Tensor] = []
        last = vit.encoder.layers[-1]
        with last.register_forward_pre_hook(lambda _, inputs: tokens.append(last.ln_1(inputs[0]))):
            vit(images)
        own = last.self_attention
        query, key, _ = torch.nn.functional.linear(tokens[0], own.in_proj_weight, own.in_proj_bias).chunk(3, dim=2)
        heads = [
            (query[:, :1, part] @ key[:, :, part].transpose(1, 2) / 8**0.5).softmax(2)[:, 0, 1:]
            for part in (slice(0, 8), slice(8, 16))
        ]
        backbone = Classifier(vit)
        places, attention = backbone.attended(images)
        torch.testing.assert_close(attention, (heads[0] + heads[1]) / 2)
        assert torch.equal(places, backbone.tokens(images)[1]) and attention.std() > 0.05 * attention.mean()
        backbone.pooling, backbone.attention = "none", 0.5
        zeros = (backbone(images) == 0).all(2)
        assert torch.equal(zeros, ~most_attended(attention, 0.5)) and zeros.any() and not zeros.all()


def test_a_size_other_than_the_published_scales_the_crop(weights: Path) -> None:
    _, preprocess = load_backbone(NAME, weights, size=112)
    image = Image.effect_noise((300, 260), 60)
    assert preprocess.read(image).shape == (3, 112, 112)
    transforms = torchvision.models.SqueezeNet1_1_Weights.DEFAULT.transforms(crop_size=112, resize_size=128)
    assert torch.equal(preprocess(image), transforms(image.convert("RGB")))


def test_folders_are_named_as_the_backbone_is() -> None:
    assert folder_of("resnet18") == "resnet18"
    assert folder_of("timm/vit_tiny_patch16_224.augreg_in21k") == "vit_tiny_patch16_224.augreg_in21k"
