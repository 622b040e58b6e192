"""Figures of images: the right picture for every point, the chosen ones in order, and names that stay text."""

from __future__ import annotations

import base64
import io
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import Initpools
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from initpools_cli.core.errors import UserError
from initpools_cli.figures.plots.datamap import datamap, regions
from initpools_cli.figures.plots.gallery import COLUMNS as GALLERY_COLUMNS
from initpools_cli.figures.plots.gallery import SIDE, gallery
from initpools_cli.figures.plots.scatter import scatter
from initpools_cli.figures.points import FEW
from initpools_cli.figures.thumbnails import COLUMNS, ROWS, TILE, sheets
from initpools_cli.reporting.projection import sampled
from initpools_cli.stats.projection import estimate_seconds, tsne_2d, umap_2d

HOSTILE = "</style><script>alert('x')</script><img src=x onerror=\"alert(1)\"> & %{meta} \u202etxt.exe"


def decoded(uri):
    kind, content = uri.split(",", 1)
    assert kind == "data:image/webp;base64"
    return Image.open(io.BytesIO(base64.b64decode(content)))


def flat_images(n, height=12, width=12, channels=3, seed=0):
    """Images of one color each, which a lossy codec keeps."""
    colors = np.random.default_rng(seed).integers(0, 256, (n, 1, 1, channels), dtype=np.uint8)
    return np.broadcast_to(colors, (n, height, width, channels)).copy()


def items_table(n, path="", name="cat"):
    return pd.DataFrame({"index": np.arange(n), "path": path, "label": 0, "class": name})


# ---- tiles


@pytest.mark.parametrize("channels", [1, 3])
def test_every_tile_is_its_image(channels):
    images = flat_images(1500, channels=channels)
    known = np.random.default_rng(1).permutation(1500)[:1100]
    made = sheets(images, known)
    assert made["known"] == known.tolist() and made["tile"] == 12
    assert (made["columns"], made["rows"]) == (COLUMNS, ROWS) and len(made["sheets"]) == 2
    pages = [np.asarray(decoded(uri).convert("RGB"), dtype=int) for uri in made["sheets"]]
    for i, image in enumerate(known):
        page, place = divmod(i, COLUMNS * ROWS)
        row, column = divmod(place, COLUMNS)
        center = pages[page][row * 12 + 6, column * 12 + 6]
        assert np.abs(center - images[image, 0, 0].astype(int)).max() < 40


def test_large_and_oblong_images_fit_their_tile():
    made = sheets(flat_images(3, height=90, width=180), [2, 0])
    assert made["tile"] == TILE
    page = np.asarray(decoded(made["sheets"][0]).convert("RGB"))
    assert page.shape == (TILE, COLUMNS * TILE, 3)
    assert page[2, TILE // 2].max() < 30 and page[-3, TILE // 2].max() < 30
    assert sheets(flat_images(3), [])["sheets"] == []


# ---- points


def test_a_page_knows_the_image_of_every_point():
    items, picks = items_table(40), pd.DataFrame({"index": [7, 3], "order": [0, 1]})
    made = sheets(flat_images(40), [7, 3, 20])
    figure = scatter(np.random.default_rng(0).normal(size=(40, 2)), items, picks, pictures=made)
    assert figure.layout.meta["thumbnails"] == made and "wide" in figure.layout.meta
    assert "the picture of 3" in figure.layout.title.subtitle.text
    shown = [
        np.asarray(trace.customdata)
        for trace in figure.data
        if trace.customdata is not None and trace.hoverinfo != "skip"
    ]
    last = np.concatenate([data if data.ndim == 1 else data[:, -1] for data in shown])
    assert sorted(last) == list(range(40))
    picked = figure.data[-1]
    assert picked.meta["picks"] == [7, 3] and list(picked.text) == ["0", "1"]
    assert "thumbnails" not in scatter(np.zeros((40, 2)), items, picks).layout.meta


def test_several_pools_have_a_mark_each_and_share_what_both_chose():
    picks = pd.DataFrame({"pool": ["a", "a", HOSTILE], "order": [0, 1, 0], "index": [5, 6, 6]})
    figure = scatter(np.random.default_rng(0).normal(size=(20, 2)), items_table(20), picks)
    pools = [trace for trace in figure.data if trace.meta and "picks" in trace.meta]
    assert [list(trace.meta["picks"]) for trace in pools] == [[5, 6], [6]]
    assert len({trace.marker.symbol for trace in pools}) == 2
    assert "choice 1 of a, choice 0 of " in pools[1].hovertext[0] and "<script" not in pools[1].hovertext[0]
    legend = [trace.name for trace in figure.data if trace.showlegend is not False]
    assert len(legend) == 3 and legend[1] == "chosen: a"
    assert "20 images, 2 chosen" in figure.layout.title.subtitle.text
    assert any(
        line.startswith("The images chosen by a are of 1 of 1 classes") for line in figure.layout.meta["description"]
    )


def test_a_score_colors_and_so_do_clusters():
    values = np.linspace(-1, 1, 30)
    picks = pd.DataFrame({"index": [29], "order": [0]})
    figure = scatter(np.zeros((30, 2)), items_table(30), picks, values, color="simclr")
    faint, hovered, picked = figure.data
    assert hovered.marker.opacity == 0 and picked.hoverinfo == "skip"
    assert np.array_equal(hovered.x, picked.x) and np.array_equal(hovered.customdata, picked.customdata)
    assert np.allclose(faint.marker.color, values[:29]) and np.allclose(picked.marker.color, [1])
    assert faint.marker.cmin == picked.marker.cmin and faint.marker.colorbar.title.text == "simclr"
    clusters = items_table(30).assign(cluster=[f"cluster {i % 12}" for i in range(30)])
    drawn = scatter(np.zeros((30, 2)), clusters, color="cluster")
    assert [trace.name for trace in drawn.data if trace.showlegend is not False] == [f"cluster {i}" for i in range(12)]


def test_many_picks_are_left_to_webgl():
    picks = pd.DataFrame({"index": np.arange(FEW + 1), "order": np.arange(FEW + 1)})
    figure = scatter(np.zeros((FEW + 1, 2)), items_table(FEW + 1), picks)
    assert {trace.type for trace in figure.data} == {"scattergl"}


@given(st.integers(1, 60), st.integers(0, 60), st.data())
@settings(deadline=None)
def test_a_sample_keeps_the_chosen_and_is_no_larger_than_asked(n, sample, data):
    always = np.array(data.draw(st.lists(st.integers(0, n - 1), unique=True)), dtype=int)
    rows = sampled(n, "tsne", sample, always, 0)
    assert np.array_equal(rows, sampled(n, "tsne", sample, always, 0))
    assert np.isin(always, rows).all() and len(np.unique(rows)) == len(rows) and (np.diff(rows) > 0).all()
    assert len(rows) == (n if not sample or n <= sample else max(sample, len(always)))
    assert len(sampled(n, "pca", sample, always, 0)) == n


def test_the_time_is_told_for_slow_projections_alone():
    assert estimate_seconds("pca", 10**6) == 0
    assert estimate_seconds("tsne", 1_000) < estimate_seconds("tsne", 100_000)
    assert tsne_2d(np.eye(9)).shape == (9, 2)


def test_umap_that_is_not_installed_is_a_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(UserError, match=r"initpools\[umap\]"):
        umap_2d(np.eye(20))


# ---- data map


@given(st.integers(1, 50), st.integers(0, 2**32 - 1))
def test_each_region_is_a_third(n, seed):
    rng = np.random.default_rng(seed)
    table = pd.DataFrame({"confidence": rng.integers(0, 4, n) / 4, "variability": rng.random(n)})
    masks = regions(table)
    assert (masks.sum() == round(n / 3)).all()
    assert not (masks["easy"] & masks["hard"]).any()
    inside, outside = masks["ambiguous"], ~masks["ambiguous"]
    if inside.any() and outside.any():
        assert table["variability"][inside].min() > table["variability"][outside].max()


def test_the_data_map_draws_the_scores_and_counts_the_picks():
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {"confidence": np.linspace(0, 1, 30), "variability": np.r_[rng.random(30) / 2], "correctness": rng.random(30)}
    )
    picks = pd.DataFrame({"index": [29, 28, 0], "order": [0, 1, 2]})
    items = items_table(30, path=HOSTILE, name=HOSTILE)
    figure = datamap(table, items, picks)
    faint, _, picked = figure.data[:3]
    assert np.allclose(faint.x, table["variability"][1:28]) and np.allclose(faint.y, table["confidence"][1:28])
    assert np.allclose(picked.y, [1, table["confidence"][28], 0]) and np.allclose(
        picked.marker.color, table["correctness"][[29, 28, 0]]
    )
    words = " ".join(figure.layout.meta["description"])
    assert "2 are easy, 1 are hard" in words and "Oracle" in figure.layout.title.subtitle.text
    assert "<script" not in figure.to_json() and "\\u003cscript" not in figure.to_json()
    with pytest.raises(ValueError, match="30"):
        datamap(table, items.iloc[:3])


# ---- gallery


class Cells(HTMLParser):
    """The elements of a piece of a page, and its text."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.text = [], ""
        # A parser takes Markup apart into more Markup, which escapes what it joins.
        self.feed("".join([text]))

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


def chosen_table(n, **columns):
    base = {
        "order": np.arange(n),
        "index": np.arange(n) * 2,
        "path": "a.png",
        "class": "cat",
        "score": 0.5,
        "represents": 9,
    }
    return pd.DataFrame(base | columns)


def pictures_of(indices, side=20):
    return {int(index): Image.new("RGB", (side, side), (int(index) % 256, 0, 0)) for index in indices}


def test_a_gallery_shows_the_choices_in_order_with_what_they_stand_for():
    picks = chosen_table(3)
    near = {0: [1, 3], 2: [], 4: [5]}
    shown = gallery(picks, pictures_of([0, 2, 4]), near, pictures_of([1, 3, 5]), pool="kcenter")
    cells = Cells(shown.body)
    images = [attributes["alt"] for tag, attributes in cells.elements if tag == "img"]
    assert images[:3] == [
        "Choice 0: cat, a.png, represents 9 images",
        "image 1, near choice 0",
        "image 3, near choice 0",
    ]
    assert len(images) == 6 and [tag for tag, _ in cells.elements].count("details") == 2
    assert "kcenter" in shown.subtitle and "score 0.5" in cells.text
    colors = [np.asarray(decoded(at["src"]).convert("RGB"))[0, 0, 0] for tag, at in cells.elements if tag == "img"]
    assert colors == [0, 1, 3, 2, 4, 5]


def test_names_in_a_gallery_stay_text():
    picks = chosen_table(2, path=HOSTILE, **{"class": HOSTILE})
    shown = gallery(picks, pictures_of([0, 2]), {0: [1]}, pictures_of([1]), lost=[HOSTILE], pool=HOSTILE)
    cells = Cells(shown.body)
    assert {tag for tag, _ in cells.elements} <= {"style", "ol", "li", "img", "span", "br", "details", "summary", "div"}
    assert not [at for _, at in cells.elements if any(name.startswith("on") for name in at)]
    assert all(at["src"].startswith("data:") for tag, at in cells.elements if tag == "img")
    assert "\u202e" not in shown.body and "alert('x')" in cells.text
    assert shown.image()[:4] == b"\x89PNG"


def test_a_gallery_of_many_or_of_little_known_images():
    picks = chosen_table(12, path="", score=np.nan, represents=pd.array([pd.NA] * 12, dtype="Int64"), **{"class": ""})
    shown = gallery(picks, pictures_of(range(0, 24, 2), side=200), None, most=10)
    assert "The first 10" in shown.subtitle and "without embeddings" in shown.subtitle
    assert len([tag for tag, _ in Cells(shown.body).elements if tag == "li"]) == 10
    assert shown.words[0] == "Choice 0: image 0."
    with Image.open(io.BytesIO(shown.image())) as page:
        assert page.width > GALLERY_COLUMNS * SIDE and page.height > 2 * SIDE


# ---- from a run


def nearest_by_hand(points, owner, order, index, k):
    members = [row for row in np.flatnonzero(owner == order) if row != index]
    return sorted(members, key=lambda row: (np.linalg.norm(points[row] - points[index]), row))[:k]


def test_figures_of_images_from_a_run(tmp_path: Path, initpools: Initpools, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert initpools("embed", "pixels", "--dataset", "digits").code == 0
    assert "select-pool" in initpools("plot", "gallery").err
    for strategy in ("kcenter", "random"):
        assert initpools("select-pool", strategy, "--budget", 6).code == 0

    from initpools_cli.figures.plots import gallery as module

    seen, cell = {}, module._cell
    monkeypatch.setattr(
        module, "_cell", lambda row, pictures, near, *rest: seen.update(near) or cell(row, pictures, near, *rest)
    )
    assert initpools("plot", "gallery", "--name", "kcenter-b6-s0", "--set", "neighbors=4").code == 0
    run = tmp_path / "runs/digits"
    points = np.load(run / "embed/pixels/train.npy").astype(np.float64)
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    owner, picks = (np.load(run / f"pool/kcenter-b6-s0/{name}.npy") for name in ("represents", "indices"))
    assert list(seen) == picks.tolist()
    for order, index in enumerate(picks):
        assert seen[index] == nearest_by_hand(points, owner, order, index, 4)
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)

    two = ["--name", "kcenter-b6-s0", "--name", "random-b6-s0"]
    assert "shows one pool" in initpools("plot", "gallery", *two).err
    drawn = initpools("plot", "scatter", *two, "--set", "thumbnails=50", "-o", "two.html")
    assert drawn.code == 0, drawn.err
    assert "chosen: random-b6-s0" in Path("two.html").read_text()
    sampling = initpools("plot", "scatter", "--set", "projection=tsne", "--set", "sample=60", "-o", "few.html")
    assert sampling.code == 0 and "A sample of 1,438" in Path("few.html").read_text()
    wrong = initpools("plot", "scatter", "--set", "color=confidance")
    assert wrong.code == 2 and "confidence" in wrong.err
    mapped = initpools("plot", "datamap", "--set", "score.epochs=2", "-o", "map.html")
    assert mapped.code == 0 and "oracle" in mapped.err and "made first" in mapped.err


def test_a_folder_that_lost_an_image(tmp_path: Path, initpools: Initpools, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "images"
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (8, 90, 120, 3), dtype=np.uint8)
    names = ['it\'s "quoted" <script>.png', *(f"{i}.png" for i in range(7))]
    for name, image in zip(names, pixels, strict=True):
        Image.fromarray(image).save(folder / name)
    assert initpools("embed", "pixels", "--dataset", "./images", "--set", "dataset.size=16").code == 0
    assert initpools("select-pool", "kcenter", "--budget", 8).code == 0
    whole = initpools("plot", "gallery", "-o", "whole.html")
    assert whole.code == 0, whole.err
    cells = Cells(Path("whole.html").read_text())
    sizes = {decoded(at["src"]).size for tag, at in cells.elements if tag == "img"}
    assert sizes == {(120, 90)}
    (folder / "3.png").unlink()
    lost = initpools("plot", "gallery", "-o", "lost.html")
    assert lost.code == 0 and "1 original image" in lost.err
    assert "1 original is missing" in Path("lost.html").read_text()
    assert initpools("plot", "scatter", "-o", "scatter.html").code == 0
    unlabeled = initpools("plot", "datamap")
    assert unlabeled.code == 2 and "labels" in unlabeled.err
