"""Short names of backbones, held against the libraries that have the networks."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from conftest import Initpools

from initpools_cli.core.errors import UserError
from initpools_cli.networks import aliases, from_torchvision
from initpools_cli.networks.aliases import ALIASES, OTHER_NAMES, Alias, alias, canonical
from initpools_cli.networks.backbones import find_weights, folder_of, is_backbone, trained_on
from initpools_cli.networks.efficientnet_lite import NETWORKS
from initpools_cli.pretext.registry import pretexts


def in_timm(entry: Alias) -> str | None:
    """The network in timm, with the tag of its weights; None if torchvision has it."""
    if entry.library == "torchvision":
        return None
    return f"{NETWORKS[entry.network]}.in1k" if entry.network in NETWORKS else entry.network


def test_facts_are_those_of_the_library() -> None:
    from timm.models import get_pretrained_cfg
    from torchvision.models import get_model_weights

    for entry in ALIASES:
        name = in_timm(entry)
        if name is None:
            crop = get_model_weights(entry.network).DEFAULT.transforms().crop_size
            assert crop == [entry.size], entry
            continue
        facts = get_pretrained_cfg(name, allow_unregistered=False)
        assert (facts.license, facts.input_size) == (entry.license, (3, entry.size, entry.size)), entry
        assert facts.hf_hub_id, entry


@pytest.mark.slow
@pytest.mark.parametrize("entry", ALIASES, ids=lambda entry: entry.name)
def test_parameters_and_width_are_those_of_the_network(entry: Alias) -> None:
    import timm
    import torchvision

    name = in_timm(entry)
    with torch.device("meta"):
        if name is None:
            network = torchvision.models.get_model(entry.network).eval()
            network.fc = torch.nn.Identity()
        else:
            network = timm.create_model(name.partition(".")[0], pretrained=False, num_classes=0).eval()
        features = network(torch.empty(1, 3, entry.size, entry.size))
    assert features.flatten(1).shape[1] == entry.width
    assert round(sum(value.numel() for value in network.parameters()) / 1e6, 1) == entry.parameters


def test_every_name_stands_for_one_network() -> None:
    import timm

    short = [entry.name for entry in ALIASES]
    names = [*short, *OTHER_NAMES]
    assert len(names) == len({*names})
    assert {*OTHER_NAMES.values()} <= {*short}
    own = {entry.name for entry in ALIASES if entry.library != "timm"}
    library_names = {*from_torchvision.names(), *timm.list_models()}
    assert not (library_names & {*names}) - own
    # A published network and a task: the run's own pretrain comes first.
    assert {*pretexts.names()} & {*names} == {"mae"}
    for family in ("dinov2", "dinov3", "clip", "siglip", "mae", "convnext", "resnet50"):
        assert is_backbone(family)


def test_a_short_name_is_the_network_of_its_library() -> None:
    assert canonical("dinov2") == canonical("facebook/dinov2-small") == "vit_small_patch14_dinov2.lvd142m"
    assert folder_of("dinov2-small") == "vit_small_patch14_dinov2.lvd142m"
    assert folder_of("resnet50") == canonical("resnet50") == "resnet50"
    assert folder_of("efficientnet-lite0") == "efficientnet-lite0"
    assert "LVD-142M" in trained_on("dinov2") == trained_on("vit_small_patch14_dinov2")
    with pytest.raises(UserError, match=r"weights of clip are not on this machine.*timm/vit_base_patch32_clip_224"):
        find_weights("clip")


def test_a_name_that_the_installed_timm_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    import timm

    for network in ("vit_base_patch16_dinov9.lvd1b", "vit_base_patch14_dinov2.lvd1b"):
        monkeypatch.setitem(aliases._BY_NAME, "dinov9", Alias("dinov9", network, 1.0, 1, 1, "mit", "images"))
        for weights in (None, Path(__file__)):
            with pytest.raises(UserError) as refused:
                find_weights("dinov9", weights)
            assert f"{network} of timm, which the installed timm {timm.__version__} does not have" in refused.value.fact
            assert "`pip install --upgrade timm`" in refused.value.remedy


def test_the_list_begins_with_short_names(initpools: Initpools) -> None:
    lines = initpools("list", "backbones").out.splitlines()
    assert [line.split("\t")[0] for line in lines[: len(ALIASES)]] == [entry.name for entry in ALIASES]
    assert lines[0].startswith("efficientnet-lite0\t")
    entry = alias("dinov2")
    assert entry is not None
    line = next(line for line in lines if line.startswith(f"{entry.name}\t"))
    for fact in ("22.1 M parameters", "384 features", "518 px", entry.license, entry.data, entry.network):
        assert fact in line
    names = [line.split("\t")[0] for line in lines]
    assert names.count("resnet50") == 1 and "vit_b_16" in names


def test_mae_is_the_pretrain_of_the_run_where_there_is_one(copied_run: Path, initpools: Initpools) -> None:
    refused = initpools("embed", "mae")
    assert refused.code == 2 and "timm/vit_base_patch16_224.mae" in refused.err
    refused = initpools("embed", "moco")
    assert refused.code == 2 and "initpools pretrain moco" in refused.err
    (copied_run / "runs/digits/pretrain/simclr").rename(copied_run / "runs/digits/pretrain/mae")
    ended = initpools("embed", "mae", "--threads", 1)
    assert "weights of mae" not in ended.err
