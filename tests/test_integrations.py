"""The code of docs/integrations.md runs, with a recorder in place of each program that is not installed."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from unittest.mock import MagicMock

import numpy as np
import pandas as pd
import pytest
from conftest import Initpools
from PIL import Image

PAGE = (Path(__file__).parent.parent / "docs" / "integrations.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    return PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def run_section(title: str, initpools: Initpools, names: dict[str, object]) -> None:
    """Run the commands and the code of a section in order."""
    for language, block in re.findall(r"^```(sh|python)\n(.*?)^```", section(title), re.DOTALL | re.MULTILINE):
        if language == "python":
            exec(block, names)
            continue
        for line in block.splitlines():
            ended = initpools(*line.split()[1:], "--threads", 1)
            assert ended.code == 0, ended.err


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> MagicMock:
    """What the programs are asked for: `recorder.mlflow`, …; none of them is used, whether it is installed or not."""
    programs = MagicMock()
    for name in ("fiftyone", "fiftyone.brain", "label_studio_sdk", "mlflow", "wandb"):
        module = programs
        for part in name.split("."):
            module = getattr(module, part)
        monkeypatch.setitem(sys.modules, name, module)
    return programs


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """60 photos in `photos/`, 30 of them labeled in `labeled.csv`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", "key")
    rng = np.random.default_rng(0)
    paths = [f"{'ab'[i % 2]}/{i:02d}.png" for i in range(60)]
    for path in paths:
        Path("photos", path).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)).save(Path("photos", path))
    pd.DataFrame({"path": paths[:30], "label": ["cat", "dog", "cat"] * 10}).to_csv("labeled.csv", index=False)
    return tmp_path


@pytest.mark.usefixtures("photos")
def test_scikit_learn(initpools: Initpools) -> None:
    np.save("emb.npy", np.random.default_rng(0).normal(size=(60, 4)))
    names: dict[str, object] = {}
    run_section("scikit-learn", initpools, names)
    assert names["first"].shape == (20, 4) and names["rest"].shape == (40, 4)


@pytest.mark.usefixtures("photos")
def test_label_studio_gets_the_batch_in_order_with_predictions(initpools: Initpools, recorder: MagicMock) -> None:
    run_section("Label Studio", initpools, {})
    imported = recorder.label_studio_sdk.LabelStudio.return_value.projects.import_tasks.call_args.kwargs["request"]
    assert [task["meta"]["order"] for task in imported] == list(range(20))
    batch = json.loads(Path("next-tasks.json").read_text())
    assert [task["data"]["index"] for task in batch] == pd.read_csv("next.csv")["index"].tolist()
    [prediction] = {len(task["predictions"]) for task in batch}
    scores = [task["predictions"][0]["score"] for task in batch]
    assert prediction == 1 and all(0 < score <= 1 for score in scores)
    assert {task["predictions"][0]["result"][0]["value"]["choices"][0] for task in batch} <= {"cat", "dog"}


@pytest.mark.usefixtures("photos")
def test_fiftyone_gets_tags_order_and_embeddings_by_absolute_path(initpools: Initpools, recorder: MagicMock) -> None:
    files = sorted(str(path.absolute()) for path in Path("photos").rglob("*.png"))
    dataset = recorder.fiftyone.Dataset.from_images_dir.return_value
    dataset.values.return_value = files[::-1]
    initpools("embed", "efficientnet-lite0", "--dataset", "photos")
    run_section("FiftyOne", initpools, {})
    field, paths = dataset.select_by.call_args.args
    assert field == "filepath" and len({*paths}) == 20 and {*paths} <= {*files}
    dataset.select_by.return_value.tag_samples.assert_called_once_with("to-label")
    assert dataset.set_values.call_args.args == ("order", {path: order for order, path in enumerate(paths)})
    dataset.save_view.assert_called_once_with("to-label", dataset.match_tags.return_value.sort_by.return_value)
    embeddings = recorder.fiftyone.brain.compute_visualization.call_args.kwargs["embeddings"]
    # Train rows are in the order of the paths.
    np.testing.assert_array_equal(embeddings[::-1], np.load("runs/photos/embed/efficientnet-lite0/train.npy"))
    assert len(json.loads(Path("in-fiftyone/samples.json").read_text())["samples"]) == 20


def test_mlflow_and_wandb_get_every_curve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, initpools: Initpools, recorder: MagicMock
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    run_section("MLflow", initpools, names)
    run_section("Weights & Biases", initpools, names)
    rounds = pd.read_csv("runs/digits/al/main/rounds.csv")
    # A curve for two first pools, two queries and three seeds, each with the first pool and two rounds.
    assert recorder.mlflow.start_run.call_count == recorder.wandb.init.call_count == 12
    logged = [(call.kwargs["step"], call.args[0]["accuracy"]) for call in recorder.mlflow.log_metrics.call_args_list]
    assert [step for step, _ in logged] == [10, 20, 30] * 12
    assert {accuracy for _, accuracy in logged} == {*rounds["accuracy"]}
    [path] = {call.args[0] for call in recorder.mlflow.log_artifact.call_args_list}
    assert Path(path).is_file()
    run = recorder.wandb.init.return_value.__enter__.return_value
    assert [(call.args[0]["labeled"], call.args[0]["accuracy"]) for call in run.log.call_args_list] == logged
    config = recorder.wandb.init.call_args.kwargs["config"]
    assert config["rounds"] == 2 and config["init"] in ("random", "typiclust")
