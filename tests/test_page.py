"""Pages of many figures, fragments on them, and the report of a whole run."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
from conftest import Initpools
from markupsafe import Markup
from test_figures import HOSTILE, Page

from initpools_cli import figures
from initpools_cli.core.errors import UserError
from initpools_cli.core.rundir import Run
from initpools_cli.figures.facets import complete, faceted
from initpools_cli.figures.html import facts, paragraph, table
from initpools_cli.figures.image import image_bytes
from initpools_cli.figures.page import page_html
from initpools_cli.figures.plots.classes import classes
from initpools_cli.figures.plots.confusion import confusion
from initpools_cli.figures.plots.report import report
from initpools_cli.figures.plots.rounds import rounds
from initpools_cli.figures.section import Section
from initpools_cli.figures.theme import PAGES, in_theme


def drawn(name: str = "a", **meta: object) -> go.Figure:
    figure = faceted([""], x_title="x", y_title="y")
    figure.add_scatter(x=[0, 1], y=[1, 2], name=name, marker_line_color=PAGES["light"].ink)
    figure = complete(figure, [f"{name} rises."])
    figure.layout.meta = {**figure.layout.meta, **meta}
    return figure


def data_of(page: Page, name: str) -> str:
    return next(data for inside, data in page.texts if inside and inside[1].get("id") == name)


def test_many_figures_share_one_library() -> None:
    sections = [Section(name, "", "", [], parts=[drawn(), drawn()], anchor=name) for name in ("one", "two")]
    text = page_html(report(["Found nothing."], sections), "Report", {"run": "runs/digits"})
    page = Page(text)
    assert len(text) < len(page_html(drawn(), "One", {})) + 20_000
    assert [part["id"] for _, part in page.elements if part.get("class") == "plot"] == [
        f"figure-{i}" for i in (1, 2, 3, 4)
    ]
    headings = [(tag, data) for (tag, _), data in ((i, d) for i, d in page.texts if i) if re.fullmatch("h[1-6]", tag)]
    assert [each for each in headings if each[1].strip()] == [("h1", "Report"), ("h2", "one"), ("h2", "two")]
    links = [part["href"] for tag, part in page.elements if tag == "a"]
    assert links == ["#content", "#one", "#two"]
    assert {"one", "two"} <= {part.get("id") for tag, part in page.elements if tag == "section"}


def test_a_page_without_figures_has_no_library() -> None:
    text = page_html(Section("Pictures", "of things", Markup("<p>safe</p>"), ["Two things."]), "Gallery", {})
    assert len(text) < 20_000
    assert "Two things." in text and "<p>safe</p>" in text and "Provenance" not in text
    assert "&lt;p&gt;plain" in page_html(Section("", "", "<p>plain", []), "Gallery", {})


@pytest.mark.parametrize("theme", ["auto", "light", "dark"])
def test_the_page_opens_in_the_theme(theme: str) -> None:
    page = Page(page_html(drawn(), "t", {}, theme))  # type: ignore[arg-type]
    assert [part["value"] for tag, part in page.elements if tag == "option" and "selected" in part] == [theme]
    assert ("html", {"lang": "en", "data-theme": theme}) in page.elements
    looks = json.loads(data_of(page, "looks"))
    assert looks["dark"]["colors"][PAGES["light"].ink] == PAGES["dark"].ink
    assert looks["dark"]["template"]["layout"]["paper_bgcolor"] == PAGES["dark"].background
    assert "template" not in json.loads(data_of(page, "figure-1-data"))["layout"]


def test_pictures_stay_out_of_what_plotly_copies() -> None:
    sheets = {"sheets": ["data:image/png;base64,AAAA"], "tile": 8, "columns": 1, "rows": 1, "known": [0]}
    text = page_html(drawn(thumbnails=sheets), "t", {})
    page = Page(text)
    assert json.loads(data_of(page, "figure-1-thumbnails")) == sheets
    assert "thumbnails" not in json.loads(data_of(page, "figure-1-data"))["layout"]["meta"]
    assert "window.showThumbnails = " in text
    assert "window.showThumbnails = " not in page_html(drawn(), "t", {})


def test_furniture_takes_the_colors_of_the_theme() -> None:
    figure = drawn()
    many = np.arange(2000)
    figure.add_scattergl(x=many, y=many, customdata=many, marker_color=PAGES["light"].grid)
    dark = in_theme(figure, "dark")
    assert dark.data[0].marker.line.color == PAGES["dark"].ink
    assert dark.data[1].marker.color == PAGES["dark"].grid
    before, after = (json.loads(each.to_json())["data"][1]["x"] for each in (figure, dark))
    assert before == after
    assert in_theme(figure, "light").data[0].marker.line.color == PAGES["light"].ink


def test_markup_keeps_text_text() -> None:
    for made in (paragraph(HOSTILE), facts({HOSTILE: HOSTILE}), table(HOSTILE, [HOSTILE], [[HOSTILE]])):
        assert not re.search(r"<(script|img|b)\b|onerror=\"", made)
    made = paragraph("Make it with `initpools <x>`, not `y.", "note")
    assert made == '<p class="note">Make it with <code>initpools &lt;x&gt;</code>, not `y.</p>'
    hostile = Section(HOSTILE, HOSTILE, "", [HOSTILE], anchor=HOSTILE, parts=[drawn(HOSTILE)])
    page = Page(page_html(report([HOSTILE], [hostile]), HOSTILE, {HOSTILE: HOSTILE}))
    assert {tag for tag, _ in page.elements}.isdisjoint({"img", "b"})
    assert [tag for tag, _ in page.elements].count("script") == 4


def test_a_fragment_as_an_image_is_its_own_or_a_sentence() -> None:
    pictured = Section("", "", "", [], image=lambda: b"png")
    assert image_bytes(pictured, ".png") == b"png"
    with pytest.raises(UserError, match=r"'.svg'.*\.html or \.png"):
        image_bytes(pictured, ".svg")
    with pytest.raises(UserError, match=r"'.png'.*\.html\."):
        image_bytes(Section("", "", "", []), ".png")


# ---- the report of a run


def text_of(path: Path) -> str:
    return re.sub(r"<script.*?</script>|<style.*?</style>", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)


def test_a_report_of_a_run_that_has_little_says_what_is_not_known(copied_run: Path, initpools: Initpools) -> None:
    steps = {step.id for step in Run(Path("runs/digits")).folders()}
    assert initpools("plot", "report", "-o", "r.html").code == 0
    text = text_of(copied_run / "r.html")
    assert "1,438 images to choose from. No sweep has compared first pools with random ones" in text
    assert "<code>initpools al-run" in text
    assert "Not in this report" in text and "datamap: " in text and ", curves" in text
    assert "pretrain/simclr" in text and "report — digits" in text
    assert {step.id for step in Run(Path("runs/digits")).folders()} == steps


def test_a_report_has_pools_sweeps_and_verdicts_and_marks_what_is_lost(copied_run: Path, initpools: Initpools) -> None:
    sweep = ["al-run", "--init", "random,kcenter", "--query", "random", "--budget", "10", "--rounds", "1"]
    for command in (["select-pool", "kcenter", "--budget", "10"], [*sweep, "--seeds", "3", "--name", "little"]):
        assert initpools(*command).code == 0
    assert initpools("plot", "report", "-o", "r.html").code == 0
    text = text_of(copied_run / "r.html")
    assert "Of 3 comparisons with random in 1 sweep, the first pool was better in 0, worse in 0" in text
    assert "3 of them had too few seeds for any verdict" in text
    assert "Sweep little" in text and "kcenter on simclr, 10 images" in text and "coverage radius" in text
    assert 'class="stale"' not in text
    Path("runs/digits/pool/kcenter-b10-s0/indices.npy").unlink()
    ended = initpools("plot", "report", "-o", "r.html", "--set", "plot.theme=dark")
    assert ended.code == 0, ended.err
    text = text_of(copied_run / "r.html")
    assert 'class="stale"' in text and 'data-theme="dark"' in text
    assert "indices.npy is lost" in text and "coverage radius" not in text
    assert initpools(*sweep, "--seeds", "2", "--name", "whole").code == 0
    Path("runs/digits/al/little/rounds.csv").write_text("half a tab")
    stamp = Path("runs/digits/pool/kcenter-b10-s0/step.toml")
    stamp.write_text(stamp.read_text()[:-10])
    assert initpools("plot", "report", "-o", "r.html").code == 0
    text = text_of(copied_run / "r.html")
    assert "Sweep whole" in text and "Sweep little" not in text
    assert "al/little: runs/digits/al/little/rounds.csv was changed after it was written" in text
    assert f", pool/kcenter-b10-s0, gallery: {stamp} is damaged" in text


def test_a_report_begins_with_the_state_of_the_loop(copied_run: Path, initpools: Initpools) -> None:
    assert initpools("select-pool", "random", "--budget", 40, "--audit", 10, "--with-labels", "-o", "a.csv").code == 0
    rows = pd.read_csv("a.csv").assign(seconds=3)
    rows.to_csv("a.csv", index=False)
    assert initpools("al-run", "--labels", "a.csv", "--query", "random", "--budget", 10).code == 0
    wrong = rows.iloc[:1].assign(label=(rows["label"].iloc[0] + 1) % 10)
    wrong.to_csv("b.csv", index=False)
    assert initpools("al-run", "--labels", "b.csv", "--query", "random", "--budget", 10).code == 0
    assert initpools("plot", "report", "-o", "r.html").code == 0
    text = text_of(copied_run / "r.html")
    words = re.sub(r"<[^>]+>", " ", text)
    first, _, _ = words.partition("Labeling rounds")
    assert re.search(r"images\s+1,438\s+labeled\s+50\s+3.5 % of all\s+rounds\s+2\s+10 classes", first)
    assert re.search(r"minutes of labeling\s+2.5\s+3.0 s per label", first) and "audit sample" in first
    assert "Round 1: 49 images" in words and "Round 2: 1 image" in words and "Show all 49" in words
    label = str((rows["label"].iloc[0] + 1) % 10)
    assert f"labeled {label}" in words.partition("Most doubtful labels")[2]
    for kind in ("rounds", "classes", "confusion"):
        ended = initpools("plot", kind, "-o", f"{kind}.html")
        assert ended.code == 0, ended.err
    for color, legend in (("label", "label not known"), ("prediction", "0"), ("round", "round 2")):
        assert initpools("plot", "scatter", "--set", f"color={color}", "-o", "s.html").code == 0
        data = json.loads(data_of(Page(Path("s.html").read_text()), "figure-1-data"))["data"]
        assert legend in {trace.get("name") for trace in data}, color
    assert initpools("plot", "scatter", "--set", "color=confidence", "-o", "s.html").code == 0


def test_rounds_classes_and_confusion_show_their_tables() -> None:
    nan = float("nan")
    table = pd.DataFrame(
        {"round": ["1", "2"], "labeled": [20, 40], "minutes": [1.0, nan], "accuracy": [0.5, 0.7], "low": [0.4, 0.6]}
        | {"high": [0.6, 0.8], "audit_accuracy": [nan, 0.65], "audit_low": [nan, 0.5], "audit_high": [nan, 0.8]}
    )
    drawn = rounds(table)
    assert {(trace.name, len(trace.x)) for trace in drawn.data} == {
        ("cross-validated", 2),
        ("audit sample", 1),
        ("cross-validated", 1),
        ("audit sample", 0),
    }
    np.testing.assert_allclose(drawn.data[1].error_y.arrayminus, [0.1, 0.1])
    counts = pd.DataFrame({"class": ["a", "b"], "labeled": [3, 1], "predicted": [5, 0], "recall": [0.5, nan]})
    bars = classes(counts).data[0]
    assert list(bars.text) == ["unknown", "50.0 %"] and len(classes(counts, most=1).data[0].x) == 1
    pairs = pd.DataFrame({"label": list("aabbc"), "predicted": list("abbba")})
    right, wrong = (np.nan_to_num(np.array(trace.z, float)) for trace in confusion(pairs).data[:2])
    np.testing.assert_array_equal(right + wrong, [[1, 1, 0], [0, 2, 0], [1, 0, 0]])
    assert (right * wrong).sum() == 0 and np.trace(right) == 3


def test_a_report_is_of_the_whole_run(copied_run: Path, initpools: Initpools) -> None:
    ended = initpools("plot", "report", "--name", "simclr")
    assert ended.code == 2 and "--name has no effect in `plot report`." in ended.err and "Leave out --name" in ended.err


def test_html_is_written_in_templates_only() -> None:
    tag = re.compile(
        r"</?(p|li|[uo]l|t[dhr]|table|div|span|h[1-6]|section|script|style|details|summary|a|nav|code|img)\b"
    )
    package = Path(figures.__file__).parent.parent
    # Plotly's texts have <b> and <br>; options have metavars such as <name>.
    files = [
        path.name for path in package.rglob("*.py") if tag.search(re.sub(r"#.*", "", path.read_text(encoding="utf-8")))
    ]
    assert files == []
    assert all(path.read_text(encoding="utf-8").count("| safe") <= 1 for path in package.rglob("*.j2"))


def test_every_file_of_the_package_is_in_its_wheel() -> None:
    package = Path(figures.__file__).parent.parent
    with (package.parent / "pyproject.toml").open("rb") as stream:
        patterns = tomllib.load(stream)["tool"]["setuptools"]["package-data"]["initpools_cli"]
    packed = {path for pattern in patterns for path in package.glob(pattern) if path.is_file()}
    others = {path for path in package.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")}
    assert others == {path for path in packed if path.suffix not in (".py", ".pyc")}
