"""Features of backbones from elsewhere, from a command line; and the shares of several processes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tomli
import torch
from conftest import Initpools
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torchvision.models import SqueezeNet1_1_Weights, squeezenet1_1

from initpools_cli.core.errors import UserError
from initpools_cli.core.files import sha256_of
from initpools_cli.datasets.decode import read_image
from initpools_cli.datasets.scale import Scale
from initpools_cli.datasets.spec import Split
from initpools_cli.networks import from_timm
from initpools_cli.networks.backbones import load_backbone
from initpools_cli.networks.efficientnet_lite import DEFAULT, NETWORKS, published_weights
from initpools_cli.networks.weights import read_weights
from initpools_cli.steps.write_embeddings import share
from initpools_cli.training.device import DeviceConfig
from initpools_cli.training.frozen_features import backbone_batch, backbone_features

NAME = "squeezenet1_1"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "w.pth"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        torch.save(squeezenet1_1().state_dict(), path)
    return path


@pytest.mark.parametrize("channels", [1, 3])
def test_images_are_prepared_in_threads_and_stay_in_order(weights: Path, channels: int) -> None:
    model, preprocess = load_backbone(NAME, weights, size=32)
    images = np.random.default_rng(0).integers(0, 256, (11, 9, 9, channels), dtype=np.uint8)
    split = Split(images, None, [""] * 11)
    pictures = [Image.fromarray(image[..., 0] if channels == 1 else image) for image in images]
    with torch.inference_mode():
        naive = np.concatenate([model(preprocess(image)[None]).numpy() for image in pictures])
    for threads, batch in ((1, 4), (3, 4), (2, 11), (2, 1)):
        machine = DeviceConfig(torch.device("cpu"), threads)
        for rows in (slice(0, 11), slice(4, 11), slice(8, 8)):
            blocks = list(backbone_features(model, preprocess, split, rows, None, batch, machine))
            assert all(len(block) == batch for block in blocks[:-1])
            features = np.concatenate(blocks) if blocks else naive[:0]
            np.testing.assert_allclose(features, naive[rows], rtol=1e-4, atol=1e-5)


def photographs(folder: Path, count: int, side: int) -> Split:
    """Write JPEG files of smooth random images."""
    rng = np.random.default_rng(0)
    paths = [f"{row:02}.jpg" for row in range(count)]
    for path in paths:
        coarse = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
        coarse.resize((4 * side // 3, side), Image.Resampling.BICUBIC).save(folder / path, quality=90)
    return Split(np.zeros((count, 8, 8, 3), np.uint8), None, paths)


def test_default_features_do_not_depend_on_the_number_of_threads(tmp_path: Path) -> None:
    model, preprocess = load_backbone(DEFAULT, published_weights().place, size=32)
    split = photographs(tmp_path, 40, 48)
    before = torch.get_num_threads()

    def computed(threads: int) -> np.ndarray:
        machine = DeviceConfig(torch.device("cpu"), threads)
        batch = backbone_batch(model, preprocess, machine.device)
        return np.concatenate(
            list(backbone_features(model, preprocess, split, slice(0, 40), tmp_path, batch, machine, scale=Scale()))
        )

    alone = computed(1)
    assert alone.shape == (40, 1280) and len(np.unique(alone, axis=0)) == 40
    for threads in (2, 3, 4):
        assert computed(threads).tobytes() == alone.tobytes()
    assert torch.get_num_threads() == before

    # The first damaged file is named, whichever thread reads it first.
    for row in (37, 21):
        (tmp_path / split.paths[row]).write_bytes(b"no image")
        for threads in (1, 3):
            with pytest.raises(UserError, match=f"{row}.jpg can't be read"):
                computed(threads)


def test_merged_batch_norms_change_features_by_rounding(tmp_path: Path) -> None:
    file = published_weights().place
    merged, preprocess = load_backbone(DEFAULT, file, size=64)
    plain, _ = from_timm.load(NETWORKS[DEFAULT], read_weights(file), file, 64, "auto")
    assert not any(isinstance(layer, torch.nn.BatchNorm2d) for layer in merged.modules())
    images = torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        np.testing.assert_allclose(merged(images), plain(images), atol=1e-4)

    # Files are decoded at a lower size only while the shorter side is at least twice that after resizing.
    assert preprocess.side == preprocess.draft == 73
    for side, decoded in ((291, 291), (292, 146), (600, 150), (1168, 146)):
        split = photographs(tmp_path, 1, side)
        assert read_image(tmp_path / split.paths[0], Scale(), preprocess.draft).height == decoded
        assert read_image(tmp_path / split.paths[0], Scale()).height == side


def test_a_backbone_runs_from_the_cache_of_its_library(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, initpools: Initpools
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    cached = tmp_path / "torch/hub/checkpoints" / SqueezeNet1_1_Weights.DEFAULT.url.rsplit("/", 1)[-1]
    pixels = np.random.default_rng(0).integers(0, 256, (30, 12, 12), dtype=np.uint8)
    np.savez("images.npz", train_images=pixels)
    words = ["embed", NAME, "--dataset", "images.npz", "--set", "embed.size=64", "--threads", 1]
    missing = initpools(*words)
    assert missing.code == 2 and str(cached) in missing.err and "--weights" in missing.err
    assert not Path("runs").exists()

    cached.parent.mkdir(parents=True)
    shutil.copy(weights, cached)
    ended = initpools(*words)
    assert ended.code == 0 and str(cached) in ended.err
    facts = tomli.loads(Path("runs/images/embed/squeezenet1_1/step.toml").read_text())
    assert facts["reads"][str(cached)] == sha256_of(cached)
    assert facts["table"]["pooling"] == "auto" and facts["outcome"]["train"] == [30, 512]
    assert "already done" in initpools(*words).err

    size = ["--set", "embed.size=64"]
    assert initpools("embed", NAME, *size, "--set", "embed.pooling=max").code == 0
    mean, most = (np.load(f"runs/images/embed/{name}/train.npy") for name in (NAME, f"{NAME}-max"))
    assert (most >= mean).all() and (most > mean).any()
    refused = initpools("embed", NAME, *size, "--set", "embed.pooling=cls")
    assert refused.code == 2 and "auto or mean or max" in refused.err

    # Kept apart, the places pool to the same mean; they are no embeddings, and a strategy finds them.
    apart = initpools("embed", NAME, *size, "--set", "embed.patches=true")
    assert apart.code == 0, apart.err
    patches = np.load("runs/images/patches/squeezenet1_1/train.npy")
    np.testing.assert_allclose(patches.mean(axis=1), mean, rtol=1e-4, atol=1e-6)
    assert patches.shape == (30, 9, 512) and not Path("runs/images/embed/squeezenet1_1/patches.npy").exists()
    picked = initpools("select-pool", "freesel", "--budget", 3, "--set", "patterns=2", "--from", NAME)
    assert picked.code == 0 and "patches: patches/squeezenet1_1" in picked.err
    half = initpools("embed", NAME, *size, "--set", "embed.patches=true", "--set", "embed.attention=0.5")
    assert half.code == 2 and "embed.attention = 0.5 needs a vision transformer with a class token" in half.err
    assert sorted(each.name for each in Path("runs/images/patches").iterdir()) == [NAME]
    both = initpools("embed", NAME, *size, "--set", "embed.patches=true", "--set", "embed.pooling=max")
    assert both.code == 2 and "embed.patches keeps all positions" in both.err
    none = initpools("embed", "pixels", "--set", "embed.patches=true")
    assert none.code == 2 and "'pixels' is not one" in none.err

    # A strategy that needs its features has them made.
    shutil.rmtree("runs/images/embed")
    assert initpools("select-pool", "kcenter", "--budget", 3, "--from", NAME, *size).code == 0
    assert Path("runs/images/embed/squeezenet1_1/train.npy").exists()


def test_patches_with_little_attention_are_zeros_that_freesel_leaves_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, initpools: Initpools
) -> None:
    # At the top of the file it would read where weights are before they have a place of the tests.
    import timm

    monkeypatch.chdir(tmp_path)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        torch.save(timm.create_model("test_vit", pretrained=False).state_dict(), "vit.pth")
    pixels = np.random.default_rng(0).integers(0, 256, (12, 8, 8), dtype=np.uint8)
    np.savez("images.npz", train_images=pixels)
    words = ["embed", "test_vit", "--weights", "vit.pth", "--dataset", "images.npz", "--threads", 1]
    apart, half = ["--set", "embed.patches=true"], ["--set", "embed.attention=0.5"]
    assert initpools(*words, *apart, "--set", "embed.attention=1").code == 0
    assert "already done" in initpools(*words, *apart).err
    assert initpools(*words, *apart, *half).code == 0
    folder = Path("runs/images/patches")
    assert sorted(each.name for each in folder.iterdir()) == ["test_vit", "test_vit-attention0.5"]
    tables = [tomli.loads((each / "step.toml").read_text())["table"] for each in sorted(folder.iterdir())]
    assert tables[1] == {**tables[0], "attention": 0.5} and "attention" not in tables[0]
    every, kept = (np.load(folder / name / "train.npy") for name in ("test_vit", "test_vit-attention0.5"))
    zero = ~kept.any(axis=2)
    assert (kept == np.where(zero[:, :, None], 0, every)).all() and (zero.sum(1) > 0).all() and not zero.all(1).any()

    picked = initpools("select-pool", "freesel", "--budget", 3, "--from", "test_vit")
    assert picked.code == 0 and "patches: patches/test_vit-attention0.5" in picked.err
    alone = initpools(*words, *half)
    assert alone.code == 2 and "embed.attention = 0.5 has no effect without embed.patches" in alone.err
    above = initpools(*words, *apart, "--set", "embed.attention=50")
    assert above.code == 2 and "embed.attention" in above.err


@given(n=st.integers(0, 3000), batch=st.integers(1, 300), processes=st.integers(1, 9))
def test_shares_cover_all_rows_in_whole_blocks(n: int, batch: int, processes: int) -> None:
    shares = [share(n, batch, rank, processes) for rank in range(processes)]
    assert [row for rows in shares for row in range(n)[rows]] == list(range(n))
    assert all(rows.start % batch == 0 or rows.start == n for rows in shares)
    counts = [-(-(rows.stop - rows.start) // batch) for rows in shares]
    assert max(counts) - min(counts) <= 1


@pytest.mark.slow
def test_two_processes_write_the_bytes_of_one(copied_run: Path) -> None:
    folder = copied_run / "runs/digits/embed/simclr"
    before = {split: sha256_of(folder / f"{split}.npy") for split in ("train", "test")}
    shutil.rmtree(folder)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    ended = subprocess.run(
        [*torchrun, "-m", "initpools_cli.cli.app", "embed", "--device", "cpu", "--threads", "1"],
        capture_output=True,
        text=True,
        env={**os.environ, "INITPOOLS_RUN": "runs/digits", "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines() == ["runs/digits/embed/simclr"]
    assert {split: sha256_of(folder / f"{split}.npy") for split in ("train", "test")} == before
    facts = tomli.loads((folder / "step.toml").read_text())
    assert facts["processes"] == 2 and sorted(facts["writes"]) == ["near_duplicates.npy", "test.npy", "train.npy"]
    assert not (folder / "work").exists() and not (copied_run / "runs/digits/.partial/embed/simclr").exists()
