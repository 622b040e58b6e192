"""Options of `plot`: each one changes the figure, or is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from conftest import Initpools

from initpools_cli.figures.registry import plots
from initpools_cli.reporting.plot_data.sources import plot_module


def test_an_option_that_a_kind_makes_no_use_of_is_refused(copied_run: Path, initpools: Initpools) -> None:
    np.save("numbers.npy", np.arange(3))
    options = {f"--{name}": "numbers.npy" for name in ("embeddings", "scores", "labeled", "labels")}
    options |= {"--name": "x", "--from": "simclr"}
    for kind in plots.names():
        module = plot_module(kind)
        for flag in options.keys() - module.OPTIONS:
            ended = initpools("plot", kind, flag, options[flag], "--run", "runs/digits")
            assert ended.code == 2 and f"{flag} has no effect in `plot {kind}`." in ended.err, (kind, flag)
        for flag in options.keys() - getattr(module, "OPTIONS_WITHOUT_RUN", options.keys()) - {"--from"}:
            file = "--embeddings" if "--embeddings" in module.OPTIONS_WITHOUT_RUN else "--scores"
            ended = initpools("plot", kind, flag, options[flag], file, "numbers.npy", "-o", "x.html")
            assert ended.code == 2 and f"{flag} has no effect in `plot {kind}`" in ended.err, (kind, flag)
    assert not Path("runs/digits/plot").exists() and not Path("x.html").exists()


def test_the_scatter_shows_brought_labels_and_images(copied_run: Path, initpools: Initpools) -> None:
    embeddings = np.load("runs/digits/embed/simclr/train.npy")
    labels = np.where(np.arange(len(embeddings)) < 50, np.arange(len(embeddings)) % 3, -1)
    np.save("emb.npy", embeddings[:, :3])
    np.save("labels.npy", labels)
    np.save("known.npy", np.array([7, 2, 40]))
    own = ["plot", "scatter", "--set", "thumbnails=0"]
    brought = ["--labels", "labels.npy", "--labeled", "known.npy"]
    assert initpools(*own, "-o", "own.html").code == 0
    assert initpools(*own, *brought, "-o", "run.html").code == 0
    assert initpools(*own, *brought, "--embeddings", "emb.npy", "-o", "files.html").code == 0
    assert initpools(*own, "--embeddings", "emb.npy", "--run", "runs/digits", "-o", "other.html").code == 0
    pages = {name: Path(f"{name}.html").read_text() for name in ("own", "run", "files", "other")}
    for name in ("run", "files"):
        assert "class not known" in pages[name] and "3 chosen" in pages[name], name
        assert "are of 2 of 3 classes" in pages[name] or name == "run"
    assert "are of 2 of 3 classes: 1, 2." in pages["run"] and "class not known" not in pages["own"]
    assert pages["own"] != pages["other"]
    both = initpools(*own, "--embeddings", "emb.npy", "--from", "simclr", "--run", "runs/digits")
    assert (
        both.code == 2
        and "--from simclr has no effect: the embeddings in emb.npy (--embeddings) are drawn." in both.err
    )
    np.save("short.npy", labels[:9])
    short = initpools(*own, "--embeddings", "emb.npy", "--labels", "short.npy", "-o", "x.html")
    assert short.code == 2 and "9 labels for" in short.err


def test_the_histogram_of_brought_labels_marks_no_unlabeled_image_as_missed(
    copied_run: Path, initpools: Initpools
) -> None:
    assert initpools("select-pool", "random", "--budget", 8, "-q").code == 0
    picks = np.load("runs/digits/pool/random-b8-s0/indices.npy")
    labels = np.full(1797, -1)
    labels[picks[:3]] = 1
    np.save("labels.npy", labels)
    assert initpools("plot", "histogram", "--labels", "labels.npy", "-o", "few.html").code == 0
    page = Path("few.html").read_text()
    assert "8 images, 5 without a label" in page and "class missed" not in page
