"""Budgets that are a share of the images."""

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import Initpools

from initpools_cli.core.budget import Share
from initpools_cli.core.errors import UserError
from initpools_cli.core.settings import load_settings
from initpools_cli.testing import cloud


@pytest.mark.parametrize("text", ["0%", "-1%", "100.1%", "nan%", "inf%", "%", "1%%", "2.5", "ten", "1 % of 5", "0", ""])
@pytest.mark.parametrize("key", ["select.budget", "al.budget"])
def test_other_budgets_are_refused(key, text):
    with pytest.raises(UserError, match="is not valid"):
        load_settings(key.partition(".")[0], flags={key: text})


def test_a_share_is_rounded_and_at_least_one_image():
    assert [Share("1%").of(n) for n in (1, 149, 151, 60_000)] == [1, 1, 2, 600]
    assert Share("100 %").of(7) == 7 and Share("0.5%").of(1000) == 5
    settings, _ = load_settings("al", flags={"al.budget": "2 %", "al.init_budget": "4%"})
    assert isinstance(settings.al.budget, Share) and settings.al.init_budget.of(50) == 2
    assert load_settings("al", sets=["init_budget=0"])[0].al.init_budget == 0


def test_select_pool_takes_a_share_of_the_images_to_choose_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, initpools: Initpools
) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("emb.npy", cloud(100))
    np.save("out.npy", np.arange(20))
    words = ["select-pool", "kcenter", "--embeddings", "emb.npy", "--exclude", "out.npy", "-o", "pool.csv"]
    result = initpools(*words, "--budget", "5%")
    assert result.code == 0 and "--budget 5%: 4 of 80 images" in result.err
    assert json.loads(initpools(*words, "--set", "budget=5%", "--json").out)["card"]["budget"] == 4


def test_a_sweep_takes_shares_of_the_train_images(copied_run: Path, initpools: Initpools) -> None:
    words = ["al-run", "--init", "random", "--query", "random", "--rounds", 1, "--seeds", 2, "--threads", 1, "--json"]
    result = initpools(*words, "--budget", "1%", "--init-budget", "2%")
    table = json.loads(result.out)["table"]
    assert (table["budget"], table["init_budget"]) == (14, 29)
    assert "already done" in initpools(*words, "--budget", 14, "--init-budget", 29).err
