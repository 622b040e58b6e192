"""Figures show what the tables say, and their pages hold nothing that runs or loads."""

from __future__ import annotations

import base64
import itertools
import json
import math
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
from hypothesis import given
from hypothesis import strategies as st

from initpools_cli.core.errors import UserError
from initpools_cli.figures import image
from initpools_cli.figures.escape import percent, plain, plotly_text, shortened
from initpools_cli.figures.page import POLICY, page_html
from initpools_cli.figures.plots.curves import curves
from initpools_cli.figures.plots.histogram import histogram
from initpools_cli.figures.plots.losses import losses
from initpools_cli.figures.plots.scatter import MOST_CLASSES, scatter
from initpools_cli.figures.plots.scores import score_histograms
from initpools_cli.figures.registry import plots
from initpools_cli.figures.theme import DASHES, NEUTRAL, PAGES, PALETTE, SCALE, SYMBOLS, in_theme, style, translucent
from initpools_cli.reporting.plot_data.sources import plot_module
from initpools_cli.stats.classes import class_names, ordered_classes
from initpools_cli.stats.learning_curves import summarize
from initpools_cli.stats.ties import ties

HOSTILE = "</script><script>alert('x')</script><img src=x onerror=\"alert(1)\"> & %{meta} <b>bold</b>"


def rounds_table(inits=("random", "typiclust"), queries=("random", "margin"), seeds=4, rounds=3, learners=("linear",)):
    rng = np.random.default_rng(0)
    rows = []
    for init, learner, seed in itertools.product(inits, learners, range(seeds)):
        shared = {"init": init, "learner": learner, "encoder": "simclr", "seed": seed, "status": "ok", "leaks": 0}
        rows.append({**shared, "query": np.nan, "round": 0, "labeled": 10})
        rows += [
            {**shared, "query": query, "round": r, "labeled": 10 * (r + 1)}
            for query in queries
            for r in range(1, rounds + 1)
        ]
    table = pd.DataFrame(rows)
    for metric in ("accuracy", "balanced_accuracy", "auc", "nll", "ece"):
        table[metric] = rng.uniform(0.4, 0.9, len(table))
    return table


def items_table(n=60, names=("cat", "dog", "eel")):
    labels = np.arange(n) % len(names)
    return pd.DataFrame(
        {
            "index": np.arange(n),
            "path": [f"a/{i}.png" for i in range(n)],
            "split": "train",
            "label": labels,
            "class": [names[label] for label in labels],
        }
    )


def logs_table(pretrains=("simclr", "byol"), epochs=4):
    """Logs as they are read: the monitor looks at every second epoch, and the last pretrain had no labels."""
    every = np.arange(1, epochs + 1)
    logs = []
    for i, name in enumerate(pretrains):
        looked = np.where(every % 2 == 0, 1.0, np.nan)
        log = {"pretrain": name, "task": name, "epoch": every, "loss": 5.0 / every + i, "rank": 30.0 * looked + i}
        logs.append(pd.DataFrame(log | ({"knn_accuracy": 0.5 * looked} if i + 1 < len(pretrains) else {})))
    return pd.concat(logs, ignore_index=True)


def lines_of(figure):
    return [trace for trace in figure.data if trace.mode == "lines+markers"]


class Page(HTMLParser):
    """The elements and the text of a page, as a browser would take them."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.texts, self._inside = [], [], None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self._inside = (tag, dict(attrs))

    def handle_data(self, data):
        self.texts.append((self._inside, data))


def every_figure():
    items = items_table()
    pools = items.iloc[[0, 3, 4]].assign(pool="kcenter-b3-s0")
    return {
        "curves": curves(rounds_table()),
        "histogram": histogram(pools, items),
        "losses": losses(logs_table()),
        "scatter": scatter(np.ones((60, 2)), items, pd.DataFrame({"index": [4, 9], "order": [0, 1]})),
        "scores": score_histograms(pd.DataFrame({"name": "simclr", "score": np.arange(10.0)})),
    }


def test_every_registered_plot_has_what_gathers_its_data():
    for name in plots.names():
        assert callable(plot_module(name).gather)


def test_knobs_of_plots_have_defaults_and_are_checked():
    for method in plots:
        assert method.validate({}) == {key: default for key, (_, default) in method.knobs.items()}
        assert method.summary
    with pytest.raises(UserError, match="balanced_accuracy"):
        plots.get("curves").validate({"metric": "balanced"})
    with pytest.raises(UserError, match="level"):
        plots.get("curves").validate({"level": 95.0})


def test_curves_are_the_summary():
    table = rounds_table()
    summary = summarize(table)
    lines = lines_of(curves(table))
    expected = [
        (init, part["labeled"].tolist(), part["mean"].to_numpy())
        for (init, _), part in summary.groupby(["init", "query"], sort=False)
    ]
    assert len(lines) == 4
    for trace, (init, labeled, means) in zip(lines, expected, strict=True):
        assert trace.name == init
        assert list(trace.x) == labeled
        assert np.allclose(trace.y, means)


def test_bands_are_the_intervals():
    table = rounds_table(inits=("random",), queries=("margin",))
    summary = summarize(table)
    band = next(trace for trace in curves(table).data if trace.fill == "toself")
    assert np.allclose(band.y, [*summary["high"], *summary["low"][::-1]])
    assert band.fillcolor == translucent(NEUTRAL, 0.16)
    assert band.hoverinfo == "skip"


def test_one_panel_per_query_and_learner_and_one_legend_entry_per_pool():
    figure = curves(rounds_table(learners=("linear", "knn")))
    assert [plain(note.text) for note in figure.layout.annotations] == [
        "<b>query: random · linear</b>",
        "<b>query: margin · linear</b>",
        "<b>query: random · knn</b>",
        "<b>query: margin · knn</b>",
    ]
    assert sorted(trace.name for trace in lines_of(figure) if trace.showlegend) == ["random", "typiclust"]
    colors = {(trace.name, trace.line.color, trace.line.dash) for trace in lines_of(figure)}
    assert len(colors) == 2


def test_one_seed_has_no_band_and_says_so():
    figure = curves(rounds_table(seeds=1))
    assert not any(trace.fill == "toself" for trace in figure.data)
    assert "no interval: one seed" in figure.data[0].customdata[0]
    assert "No band" in figure.layout.title.subtitle.text


def test_seeds_that_agree_have_no_band():
    table = rounds_table()
    table["accuracy"] = 0.7
    figure = curves(table)
    assert not any(trace.fill == "toself" for trace in figure.data)
    assert "no interval: the seeds do not vary" in figure.data[0].customdata[0]


def test_a_gap_in_the_intervals_splits_the_band():
    table = rounds_table(inits=("random",), queries=("margin",), rounds=5)
    table.loc[table["round"] == 2, "accuracy"] = 0.6
    band = next(trace for trace in curves(table).data if trace.fill == "toself")
    assert list(band.x) == [10, 20, 20, 10, None, 40, 50, 60, 60, 50, 40]


def test_an_interval_without_neighbors_is_a_whisker():
    table = rounds_table(inits=("random",), queries=("margin",), rounds=2)
    table.loc[table["round"] != 1, "accuracy"] = 0.6
    point = summarize(table).iloc[1]
    (line,) = curves(table).data
    assert np.allclose(line.error_y.array, [0, point["high"] - point["mean"], 0])


def test_failed_cells_are_named_and_not_drawn():
    table = rounds_table()
    table.loc[(table["seed"] == 1) & (table["query"] == "margin") & (table["init"] == "random"), "status"] = "failed"
    figure = curves(table)
    assert "1 failed result left out" in figure.layout.title.subtitle.text
    assert "3 seeds, 1 failed" in lines_of(figure)[1].customdata[-1]


def test_leaks_are_said():
    table = rounds_table()
    table.loc[3, "leaks"] = 12
    assert "not bought" in curves(table).layout.title.subtitle.text


def test_first_pools_alone_stand_side_by_side():
    figure = curves(rounds_table(rounds=0))
    assert [list(trace.x) for trace in figure.data] == [["random"], ["typiclust"]]
    assert figure.layout.xaxis.title.text == "first pool"


@pytest.mark.parametrize("metric", ["accuracy", "balanced_accuracy", "auc", "nll", "ece"])
def test_every_metric_is_drawn_with_its_unit(metric):
    table = rounds_table(inits=("random",), queries=("margin",))
    (line,) = lines_of(curves(table, metric=metric))
    assert np.allclose(line.y, summarize(table, metric)["mean"])
    assert re.search(r"\((%|nats|fraction)\)|fraction", curves(table, metric=metric).layout.yaxis.title.text)


def test_nothing_to_draw_is_a_sentence():
    table = rounds_table()
    with pytest.raises(UserError, match="auc"):
        curves(table.assign(auc=np.nan), metric="auc")
    with pytest.raises(UserError, match="accuracy"):
        curves(table.assign(status="failed"))


def test_series_stay_apart():
    looks = [style(i) for i in range(len(PALETTE) * len(SYMBOLS))]
    assert len({(look.color, look.symbol) for look in looks}) == len(looks)
    assert len({style(i).dash for i in range(len(DASHES))}) == len(DASHES)


def test_a_first_pool_has_one_color_in_all_figures_of_sweeps():
    (random, other) = lines_of(curves(rounds_table(queries=("margin",))))
    assert (random.line.color, other.line.color) == (NEUTRAL, PALETTE[0])


@pytest.mark.parametrize("page", PAGES.values())
def test_both_ends_of_the_scale_stand_out_from_every_page(page):
    for _, color in SCALE:
        low, high = sorted([luminance(color), luminance(page.background)])
        assert (high + 0.05) / (low + 0.05) > 2


def luminance(color):
    """Relative luminance as the WCAG define it."""
    parts = np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def test_histogram_counts_and_expectations():
    items = items_table(n=60)
    pools = pd.concat([items.iloc[[0, 3, 6, 1]].assign(pool="a"), items.iloc[[0, 1, 2]].assign(pool="b")])
    figure = histogram(pools, items)
    traces = [trace for trace in figure.data if trace.name == "chosen"]
    expected = [trace for trace in figure.data if trace.name.startswith("expected")]
    missed = [trace for trace in figure.data if trace.name == "class missed"]
    assert [list(trace.x) for trace in traces] == [[3, 1, 0], [1, 1, 1]]
    assert np.allclose([trace.x for trace in expected], [[4 / 3] * 3, [1] * 3])
    assert [list(trace.y) for trace in missed] == [["eel"]]
    assert list(traces[0].y) == ["cat", "dog", "eel"]


def test_histogram_marks_no_class_as_missed_where_an_image_has_no_label():
    items = items_table(n=60)
    items.loc[items.index[1::2], ["label", "class"]] = [np.nan, ""]
    pools = pd.concat([items.iloc[[0, 1, 6]].assign(pool="partly"), items.iloc[[0, 6]].assign(pool="whole")])
    figure = histogram(pools, items)
    missed = [trace for trace in figure.data if trace.name == "class missed"]
    whole = [trace for trace in figure.data if trace.name == "chosen"][1]
    assert [trace.yaxis for trace in missed] == [whole.yaxis]
    text = figure.to_json()
    assert "3 images, 1 without a label" in text and "30 images have no label" in text


@pytest.mark.parametrize("classes", [1, 2, 31, 120, 200, 1000])
def test_names_of_classes_never_stand_in_each_other(classes):
    items = pd.DataFrame({"label": range(classes), "class": [f"c{i}" for i in range(classes)], "split": "train"})
    figure = histogram(items.assign(index=range(classes), pool="all"), items)
    room = figure.layout.height - figure.layout.margin.t - figure.layout.margin.b
    assert 1 <= len(figure.layout.yaxis.tickvals) <= room / 13


def test_histogram_knows_the_train_split_only():
    items = items_table(n=60)
    items.loc[items["class"] == "eel", "split"] = "test"
    figure = histogram(items.iloc[[0, 1]].assign(pool="a"), items)
    assert not [trace for trace in figure.data if trace.name == "class missed"]


def test_histogram_without_the_data_sets_own_classes():
    items = items_table()
    pools = items.iloc[[0, 1, 4]].assign(pool="a")
    figure = histogram(pools, items.assign(label=np.nan, **{"class": np.nan}))
    assert [trace.name for trace in figure.data] == ["chosen"]
    assert "not known" in figure.layout.title.subtitle.text


def test_histogram_without_any_class_is_refused():
    items = items_table().assign(label=np.nan, **{"class": np.nan})
    with pytest.raises(UserError, match="known class"):
        histogram(items.iloc[[0]].assign(pool="a"), items)


def test_scatter_draws_every_image_once():
    items = items_table()
    items["index"] += 100
    points = np.random.default_rng(0).normal(size=(60, 2))
    picks = pd.DataFrame({"index": [131, 100], "order": [0, 1]})
    figure = scatter(points, items, picks)
    assert {trace.type for trace in figure.data if trace.marker.opacity != 0} == {"scattergl"}
    picked = figure.data[-1]
    assert picked.name == "chosen"
    assert np.allclose(picked.x, points[[31, 0], 0])
    assert np.array_equal(picked.customdata, [[0, 131], [1, 100]])
    faint = [trace for trace in figure.data if trace.showlegend is False and trace.marker.opacity != 0]
    indices = np.concatenate([trace.customdata for trace in faint])
    assert sorted([*indices, 131, 100]) == list(range(100, 160))
    assert [trace.name for trace in figure.data if trace.showlegend is not False] == ["cat", "dog", "eel", "chosen"]


def test_scatter_without_classes_or_picks():
    items = items_table()[["index", "path"]]
    figure = scatter(np.zeros((60, 2)), items)
    assert [trace.name for trace in figure.data] == ["images", "images"]
    assert "chosen" not in figure.layout.title.subtitle.text


def test_scatter_does_not_color_what_cannot_be_told_apart():
    names = [f"class {i}" for i in range(MOST_CLASSES + 1)]
    figure = scatter(np.zeros((60, 2)), items_table(names=names))
    assert len(figure.data) == 2
    assert "too many" in figure.layout.title.subtitle.text


def test_scatter_refuses_other_lengths():
    with pytest.raises(ValueError, match=r"\(60, 2\)"):
        scatter(np.zeros((59, 2)), items_table())


def test_a_hundred_thousand_points_are_a_small_page():
    n = 100_000
    items = pd.DataFrame({"index": np.arange(n), "label": np.arange(n) % 10})
    figure = scatter(np.random.default_rng(0).normal(size=(n, 2)), items)
    assert len(figure.to_json()) < 5e6


@given(st.lists(st.integers(0, 9), min_size=1, max_size=30))
def test_ties_agree_with_counting(values):
    fact = ties(values)
    assert fact.tied == pytest.approx(sum(values.count(v) > 1 for v in values) / len(values))
    assert fact.commonest == pytest.approx(max(values.count(v) for v in values) / len(values))
    assert fact.spread == pytest.approx((max(values) - min(values)) / max(values) if max(values) else 0)


def test_score_histograms_hold_every_image_and_the_numbers():
    scores = pd.DataFrame({"name": ["a"] * 5 + ["b"] * 4, "score": [1, 1, 2, 3, 9, 5, 5, 5, np.nan]})
    figure = score_histograms(scores)
    assert [sum(trace.y) for trace in figure.data] == [5, 3]
    first, second = (note.text for note in figure.layout.annotations)
    assert "tied 40.0 %, most common 40.0 %, spread 0.889" in first
    assert "tied 100 %, most common 100 %, spread 0, 1 missing" in second


@pytest.mark.parametrize(("values", "fact"), [([], "no score"), ([np.nan], "no score"), ([1.0, np.inf], "infinite")])
def test_scores_that_cannot_be_drawn(values, fact):
    with pytest.raises(UserError, match=fact):
        score_histograms(pd.DataFrame({"name": "a", "score": np.array(values, dtype=float)}))


def test_losses_stand_apart_by_task_and_share_what_is_measured():
    figure = losses(logs_table())
    assert [plain(note.text) for note in figure.layout.annotations] == [
        "<b>loss of simclr</b>",
        "<b>loss of byol</b>",
        "<b>k-NN accuracy (%)</b>",
        "<b>RankMe (directions)</b>",
    ]
    lines = [(trace.name, trace.yaxis, list(trace.x), list(trace.y)) for trace in figure.data]
    assert lines == [
        ("simclr", "y", [1, 2, 3, 4], [5.0, 2.5, 5 / 3, 1.25]),
        ("byol", "y2", [1, 2, 3, 4], [6.0, 3.5, 5 / 3 + 1, 2.25]),
        ("simclr", "y3", [2, 4], [0.5, 0.5]),
        ("simclr", "y4", [2, 4], [30.0, 30.0]),
        ("byol", "y4", [2, 4], [31.0, 31.0]),
    ]
    assert [trace.name for trace in figure.data if trace.showlegend] == ["simclr", "byol"]
    assert any("k-NN accuracy 50.0 % last" in line for line in figure.layout.meta["description"])


def test_losses_of_one_unlabeled_pretrain_and_of_none():
    figure = losses(logs_table(pretrains=("vae",), epochs=1).drop(columns="rank"))
    assert len(figure.data) == 1 and figure.data[0].mode == "lines+markers"
    with pytest.raises(UserError, match="finished epoch"):
        losses(logs_table().iloc[:0])


@pytest.mark.parametrize(
    ("kind", "theme"),
    [("curves", "light"), ("histogram", "dark"), ("losses", "dark"), ("scatter", "dark"), ("scores", "light")],
)
def test_pages_are_whole_and_repeat(kind, theme):
    text = page_html(every_figure()[kind], "Pools", {"run": "runs/digits"}, theme)
    assert text == page_html(every_figure()[kind], "Pools", {"run": "runs/digits"}, theme)
    page = Page(text)
    assert not [attributes for _, attributes in page.elements if {"src", "srcset", "action"} & set(attributes)]
    assert all(attributes["href"].startswith("#") for _, attributes in page.elements if "href" in attributes)
    assert {tag for tag, _ in page.elements}.isdisjoint({"link", "iframe", "object", "embed", "img", "base", "form"})
    metas = [attributes for tag, attributes in page.elements if tag == "meta"]
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in metas
    assert {"http-equiv": "Content-Security-Policy", "content": POLICY} in metas
    assert "default-src 'none'" in POLICY
    assert "connect-src" not in POLICY
    assert not re.search(r"@import|url\(\s*['\"]?http", text[: text.index('<script type="application/json"')])
    assert "The figure in words" in text
    assert "runs/digits" in text


def test_the_page_shares_nothing():
    text = page_html(every_figure()["scores"], "t", {})
    assert 'showSendToCloud: false, plotlyServerURL: ""' in text


def hostile_figures():
    items = items_table(names=(HOSTILE, "dog", "eel")).assign(path=HOSTILE)
    return {
        "curves": curves(rounds_table(inits=(HOSTILE, "random"), queries=(HOSTILE,), learners=(HOSTILE, "knn"))),
        "histogram": histogram(items.iloc[[0, 3]].assign(pool=HOSTILE), items),
        "losses": losses(logs_table(pretrains=(HOSTILE, "byol"))),
        "scatter": scatter(np.ones((60, 2)), items, pd.DataFrame({"index": [3], "order": [0]})),
        "scores": score_histograms(pd.DataFrame({"name": HOSTILE, "score": np.arange(10.0)})),
    }


def strings_in(value):
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from strings_in(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from strings_in(part)


@pytest.mark.parametrize("kind", ["curves", "histogram", "losses", "scatter", "scores"])
def test_hostile_names_stay_text(kind):
    text = page_html(hostile_figures()[kind], HOSTILE, {HOSTILE: HOSTILE, "half a character": "\ud800"})
    page = Page(text)
    text.encode("utf-8")
    # The figure's data, the themes, Plotly and the page's own.
    assert [tag for tag, _ in page.elements].count("script") == 4
    assert {tag for tag, _ in page.elements}.isdisjoint({"img", "b"})
    assert ("title", HOSTILE) in [(inside[0], data) for inside, data in page.texts if inside]
    data = next(data for inside, data in page.texts if inside and inside[1].get("id") == "figure-1-data")
    content = json.loads(data)
    places = [content["data"], {**content["layout"], "meta": None}]
    # Categories of an axis are compared, never parsed as text: what is shown for them is ticktext.
    for axis in [part for key, part in places[1].items() if key.startswith(("xaxis", "yaxis"))]:
        axis.pop("categoryarray", None)
        axis.pop("tickvals", None)
    for trace in content["data"]:
        if trace["type"] == "bar" or trace.get("name") == "class missed":
            trace.pop("y", None)
    texts = [text for place in places for text in strings_in(place) if "alert" in text or "script" in text]
    assert texts
    assert not [text for text in texts if re.search(r"<(script|img|/script)|%\{meta", text)]


@given(st.text())
def test_inert_text_shows_as_it_was(text):
    safe = plotly_text(text)
    assert "<" not in safe
    assert "%{" not in safe
    assert plain(safe) == "".join(c if c.isprintable() else "\ufffd" for c in text)


@given(st.floats(0, 1))
def test_percentages_round_without_lying(share):
    text = percent(share)
    assert float(text.removesuffix(" %")) == pytest.approx(100 * share, abs=0.051)
    if 1e-4 < share < 1 - 1e-4:
        assert text not in ("0 %", "100 %")


def test_long_names_are_cut():
    assert shortened("abc", 3) == "abc"
    assert shortened("abcd", 3) == "ab…"


def test_classes_of_labels_read_with_gaps():
    items = pd.DataFrame({"label": [1.0, np.nan, 10.0, 2.0], "class": ["one", np.nan, np.nan, ""]})
    assert class_names(items) == ["one", "", "10", "2"]
    assert ordered_classes(items) == ["one", "2", "10"]


def test_both_arrangements_fit_all_panels():
    figure = curves(rounds_table(queries=("random", "margin", "entropy", "badge")))
    wide, narrow = figure.layout.meta["wide"], figure.layout.meta["narrow"]
    assert wide.keys() == narrow.keys()
    for arrangement in (wide, narrow):
        boxes = [(*arrangement[f"xaxis{i}.domain"], *arrangement[f"yaxis{i}.domain"]) for i in ("", "2", "3", "4")]
        for a, b in itertools.combinations(boxes, 2):
            assert a[1] <= b[0] or b[1] <= a[0] or a[3] < b[2] or b[3] < a[2]
        assert all(0 <= edge <= 1 for box in boxes for edge in box)
    assert [narrow[f"xaxis{i}.domain"] for i in ("", "2")] == [[0.0, 1.0]] * 2
    assert narrow["height"] > wide["height"]


def test_dressing_leaves_the_figure_as_it_was():
    figure = every_figure()["scatter"]
    before = figure.to_json()
    dark = in_theme(figure, "dark")
    assert figure.to_json() == before
    assert dark.data[-1].marker.line.color != figure.data[-1].marker.line.color


def test_a_figure_made_elsewhere_has_a_page_too():
    text = page_html(go.Figure(go.Bar(x=["a"], y=[1])), "Elsewhere", {})
    assert "Elsewhere" in text


def test_other_image_formats_are_refused():
    with pytest.raises(UserError, match=r"\.gif"):
        image.image_bytes(go.Figure(), ".gif", "auto")


def test_an_image_without_chrome_is_a_sentence(tmp_path, monkeypatch):
    pytest.importorskip("kaleido")
    monkeypatch.setenv("BROWSER_PATH", str(tmp_path / "no-chrome"))
    with pytest.raises(UserError, match="Chrome"):
        image.image_bytes(go.Figure(), ".png", "auto")


def test_an_image_without_kaleido_is_a_sentence(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "kaleido", None)
    with pytest.raises(UserError, match=r"initpools\[image\]"):
        image.image_bytes(go.Figure(), ".png", "auto")


def numbers(value):
    """A JSON array as Plotly writes it, plain or as bytes."""
    if isinstance(value, dict):
        return np.frombuffer(base64.b64decode(value["bdata"]), dtype=value["dtype"]).tolist()
    return value


def test_the_page_holds_the_numbers():
    page = Page(page_html(every_figure()["scores"], "t", {}))
    data = next(data for inside, data in page.texts if inside and inside[1].get("id") == "figure-1-data")
    assert math.fsum(numbers(json.loads(data)["data"][0]["y"])) == 10


def test_items_without_labels_are_drawn_and_counted_as_unknown() -> None:
    """A folder without annotations, and one where twenty of its images have been annotated."""
    points = np.random.default_rng(0).normal(size=(6, 2))
    for labels, classes in (([pd.NA] * 6, [""] * 6), ([0, pd.NA, 1, pd.NA, pd.NA, 1], ["a", "", "b", "", "", "b"])):
        items = pd.DataFrame({"index": range(6), "label": pd.array(labels, dtype="Int64"), "class": classes})
        assert scatter(points, items).data
