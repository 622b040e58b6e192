"""Near-duplicates across a split: how they are counted, and when a warning names groups."""

import re
from pathlib import Path

import numpy as np
import pytest
from conftest import Initpools
from hypothesis import given, settings
from hypothesis import strategies as st

from initpools_cli.geometry.near_duplicates import FEWEST, FLOOR, NEIGHBORS, RATIO, near_across


def plain(images, others, own):
    """Image by image: is the nearest other one much nearer than the tenth around either?"""
    unit = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (images.astype(float), others.astype(float))]
    near, scales, nearest = [], [], []
    for i, row in enumerate(unit[0]):
        gaps = np.linalg.norm(unit[1] - row, axis=1)
        order = [j for j in np.argsort(gaps, kind="stable") if own is None or j != own[i]]
        around = np.sort(np.delete(np.linalg.norm(unit[1] - unit[1][order[0]], axis=1), order[0]))
        scales.append(gaps[order[NEIGHBORS - 1]])
        nearest.append((gaps[order[0]], around[NEIGHBORS - 1]))
    for scale, (gap, around) in zip(scales, nearest, strict=True):
        near.append(gap <= RATIO * max(min(scale, around), FLOOR * np.median(scales)))
    return np.array(near)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.integers(FEWEST, 99), st.integers(1, 20), st.booleans())
def test_near_duplicates_across_a_split_equal_their_plain_definition(seed, n, m, among):
    rng = np.random.default_rng(seed)
    others = rng.normal(size=(n, 4))
    own = np.sort(rng.choice(n, min(m, n), replace=False)) if among else None
    images = others[own] if among else others[rng.choice(n, m)] + rng.normal(0, 0.05, (m, 4))
    near, count = near_across(images, others, 1, np.random.default_rng(0), own)
    assert count == n and near.tolist() == plain(images, others, own).tolist()


def test_many_images_of_one_patient_do_not_hide_each_other():
    rng = np.random.default_rng(0)
    images = np.repeat(rng.normal(size=(30, 16)), 25, axis=0) + rng.normal(0, 0.05, (750, 16))
    test = rng.permutation(750) < 150
    near, among = near_across(images[test], images[~test], 2, rng)
    assert near.mean() > 0.95 and among < 600
    near, among = near_across(rng.normal(size=(150, 16)), rng.normal(size=(600, 16)), 2, rng)
    assert near.mean() < 0.05
    assert near_across(images[test], images[~test][: FEWEST - 1], 2, rng)[1] == 0


@pytest.fixture
def patients(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """20 patients of 12 nearly equal images; the label is drawn by patient."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    textures = np.repeat(rng.integers(0, 255, (20, 8, 8)), 12, axis=0)
    images = np.clip(textures + rng.normal(0, 12, textures.shape), 0, 255).astype(np.uint8)
    np.savez("patients.npz", train_images=images, train_labels=np.repeat(np.arange(20) % 2, 12))
    Path("patients.csv").write_text("index,group\n" + "".join(f"{i},p{i // 12}\n" for i in range(240)))
    return tmp_path


def test_accuracy_across_divided_patients_is_warned_of(patients: Path, initpools: Initpools) -> None:
    sweep = [
        "al-run",
        "--init",
        "random",
        "--query",
        "random",
        "--budget",
        10,
        "--rounds",
        1,
        "--seeds",
        2,
        "--threads",
        1,
    ]
    warning = re.compile(r"warning: 4[0-9] of 48 test images .* have a near-duplicate among the train images")
    for words in (["embed", "pca", "--dataset", "patients.npz"], sweep, sweep):
        stderr = initpools(*words).err
        assert stderr.count("near-duplicate among") == 1 and warning.search(stderr) and "--groups FILE.csv" in stderr
    Path("labels.csv").write_text("index,label\n" + "".join(f"{i},{i // 12 % 2}\n" for i in range(0, 240, 2)))
    stderr = initpools("al-run", "--labels", "labels.csv").err
    assert re.search("warning: .* labeled images .* have a near-duplicate among the other labeled images", stderr)
    grouped = ["--run", "runs/g"]
    stderr = initpools("embed", "pca", "--dataset", "patients.npz", "--groups", "patients.csv", *grouped).err
    assert "near-duplicate among" not in stderr
    assert "near-duplicate among" not in initpools(*sweep, *grouped).err


def test_digits_are_counted_without_a_warning(copied_run: Path, initpools: Initpools) -> None:
    stderr = initpools("embed", "pca").err
    assert "of 359 test images" in stderr and "near-duplicate among the train images" in stderr
    assert "warning" not in stderr
