"""Sections of the report on the labeling loop: state, accuracy, images of each round, doubtful labels, duplicates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from initpools_cli.core.errors import UserError
from initpools_cli.core.rundir import FinishedStep
from initpools_cli.figures.escape import percent, printable, shortened
from initpools_cli.figures.html import folded, paragraph, render, table
from initpools_cli.figures.section import Section
from initpools_cli.labeling.annotators import agreement
from initpools_cli.labeling.stored_rounds import number_of, outcome_of, read_round_labels
from initpools_cli.labeling.summary import notes_of, table_of
from initpools_cli.labeling.verdict import verdict
from initpools_cli.reporting.image_tiles import originals
from initpools_cli.reporting.sections import Figures, rounds_of
from initpools_cli.steps.context import Context

if TYPE_CHECKING:
    import pandas as pd
    from markupsafe import Markup

#: Side of a stored image, pixels: about twice the side at which it is shown.
SIDE = 208
#: Images and rounds in the report, and the images of a section that are not folded.
MOST_IMAGES, MOST_ROUNDS, SHOWN = 60, 5, 6
MOST_DOUBTFUL, MOST_GROUPS, SHOWN_GROUPS, LARGEST_GROUP = 24, 12, 2, 6
#: Seconds per minute, for the time per image.
MINUTE = 60


def state(context: Context) -> Markup | str:
    """Render the state of the loop: its numbers, its verdict, and what to do next; "" without a round."""
    from initpools_cli.reporting.next_step import next_in_run

    rounds = rounds_of(context)
    if not rounds:
        return ""
    outcomes = [outcome_of(step) for step in rounds]
    last = outcomes[-1]
    body = render("tiles.html.j2", tiles=_tiles(int(context.data.kept.sum()), last))
    for sentence in verdict(outcomes):
        body += paragraph(sentence, "verdict")
    return body + paragraph(f"Next: `{next_in_run('plot', context.run)}`")


def _tiles(images: int, last: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Return the numbers of the first screen, each with a note."""
    labeled = last["labeled"]
    skip_note = f"{last['skipped']:,} skipped" if last["skipped"] else ""
    tiles = {
        "images": (f"{images:,}", ""),
        "labeled": (f"{labeled:,}", ", ".join(filter(None, (f"{percent(labeled / images)} of all", skip_note)))),
        "rounds": (last["round"], f"{last['classes']} classes"),
    }
    if "minutes" in last:
        each = f"{MINUTE * last['minutes'] / max(1, labeled):.1f} s per label"
        tiles["minutes of labeling"] = (
            f"{last['minutes']:.0f}" if last["minutes"] >= 10 else f"{last['minutes']:.1f}",
            each,
        )
    audit = last.get("audit", {})
    if "accuracy" in audit:
        tiles["accuracy"] = (percent(audit["accuracy"]), f"{_between(audit)}, audit sample")
    elif "accuracy" in last:
        tiles["accuracy"] = (percent(last["accuracy"]), f"{_between(last)}, cross-validated")
    elif "auc" in last:
        note = f"{last['low']:.3f} to {last['high']:.3f}, cross-validated" if "low" in last else "cross-validated"
        tiles["macro AUC"] = (f"{last['auc']:.3f}", note)
    return tiles


def _between(estimate: Mapping[str, Any]) -> str:
    return f"{percent(estimate['low'])} to {percent(estimate['high'])}"


def accuracy(context: Context, figures: Figures) -> Section | None:
    """Show the results of every round, and their figures."""
    rounds = rounds_of(context)
    if not rounds:
        return None
    outcomes = [outcome_of(step) for step in rounds]
    columns, lines = table_of(outcomes)
    body = table("Labeling rounds", columns, lines, numbers=len(columns) - 1)
    if sentence := agreement(outcomes[-1]):
        body += paragraph(sentence)
    for note in notes_of(outcomes):
        body += paragraph(note, "note")
    return Section("Labeling rounds", "", body, [], parts=figures, anchor="rounds")


def labeled_images(context: Context, missing: list[str]) -> Section | None:
    """Show the images that each round labeled, the newest round first."""
    rounds = rounds_of(context)
    if not rounds or not context.data.has_images:
        return None
    labels = read_round_labels(rounds[-1])
    guesses = _guesses(rounds[-1])
    parts = [
        _round_images(context, labels[labels["round"] == number_of(step.name)], step, guesses)
        for step in reversed(rounds[-MOST_ROUNDS:])
    ]
    if len(rounds) > MOST_ROUNDS:
        missing.append(f"Images of rounds 1 to {len(rounds) - MOST_ROUNDS}: only the last {MOST_ROUNDS} are shown.")
    text = "Below each image: its label and, where cross-validation predicts another class, that class."
    return Section("Labeled images", text, "", [], parts=parts, anchor="labeled-images")


def _round_images(context: Context, rows: pd.DataFrame, step: FinishedStep, guesses: Mapping[int, str]) -> Section:
    first = rows.iloc[:MOST_IMAGES]
    pictures, _ = originals(context, first["index"].tolist(), SIDE)
    cells = []
    for index, label, path in zip(first["index"].tolist(), first["label"], first["path"], strict=True):
        guess = guesses.get(index, "")
        wrong = bool(guess and label and guess != label)
        lines = [label or "skipped", *([f"predicted {guess}"] if wrong else [])]
        cells.append(_cell(pictures[index], lines, path or f"image {index}", "wrong" if wrong else ""))
    body = render("pictures.html.j2", pictures=cells, shown=SHOWN)
    more = f"The first {MOST_IMAGES} of {len(rows)}." if len(rows) > MOST_IMAGES else ""
    images = "1 image" if len(rows) == 1 else f"{len(rows)} images"
    return Section(f"Round {number_of(step.name)}: {images}", more, body, [])


def _guesses(step: FinishedStep) -> dict[int, str]:
    """Return the cross-validated class of each labeled image."""
    if "out_of_fold.csv" not in step.facts["writes"]:
        return {}
    texts = {"path": str, "label": str, "predicted": str, "origin": str}
    rows = step.frame("out_of_fold.csv", dtype=texts, keep_default_na=False)
    return dict(zip(rows["index"].tolist(), rows["predicted"], strict=True))


def doubtful(context: Context) -> Section | None:
    """Show the labels that cross-validated models and near-duplicates contradict; see `labeling.review`."""
    from initpools_cli.labeling.review import DOUBTFUL, read_doubtful

    rounds = rounds_of(context)
    if not rounds or DOUBTFUL not in rounds[-1].facts["writes"]:
        return None
    rows = read_doubtful(rounds[-1])
    if rows.empty:
        return None
    first = cast("list[dict[str, Any]]", rows.iloc[:MOST_DOUBTFUL].to_dict("records"))
    if context.data.has_images:
        pictures, _ = originals(context, [row["index"] for row in first], SIDE)
        cells = [_cell(pictures[row["index"]], _doubt(row), _name(row)) for row in first]
        body = render("pictures.html.j2", pictures=cells, shown=SHOWN)
    else:
        body = table("Most doubtful labels", ("image", "label", ""), [(_name(row), *_doubt(row)) for row in first])
    text = f"{len(rows):,} labels that other labels contradict, most doubtful first. They may be right: look at them."
    command = f"Look again: `{context.command_for('label', '--review')}`"
    return Section("Most doubtful labels", text, body + paragraph(command), [], anchor="doubtful")


def _doubt(row: Mapping[str, Any]) -> list[str]:
    """Describe a doubtful label in two lines."""
    if row["conflict"] >= 0:
        return [f"labeled {row['label']}", f"near-duplicate of image {row['conflict']}, which has another label"]
    return [f"labeled {row['label']}", f"predicted {row['predicted']}"]


def _name(row: Mapping[str, Any]) -> str:
    return row["path"] or f"image {row['index']}"


def near_duplicates(context: Context, missing: list[str]) -> Section | None:
    """Show the largest groups of near-duplicates, and those with different labels first."""
    from initpools_cli.steps.find_embeddings import find_embeddings
    from initpools_cli.steps.near_duplicates import duplicate_groups

    if not context.data.has_images:
        return None
    try:
        groups = duplicate_groups(context, find_embeddings(context)).near
    except UserError as error:
        missing.append(f"near-duplicates: {error.fact} {error.remedy}")
        return None
    rows = np.flatnonzero(context.data.kept)
    names, sizes = np.unique(groups[rows], return_counts=True)
    several = names[sizes > 1]
    if not len(several):
        return None
    rounds = rounds_of(context)
    # Labels of the data set; those of the labeling rounds take precedence.
    label_of = dict(enumerate(context.data.train_items["class"].fillna("").tolist()))
    if rounds:
        label_of |= dict(zip(*(read_round_labels(rounds[-1])[key] for key in ("index", "label")), strict=True))
    members = {int(name): rows[groups[rows] == name].tolist() for name in several}
    has_conflict = {
        name: len({label_of[each] for each in group if label_of.get(each)}) > 1 for name, group in members.items()
    }
    order = sorted(members, key=lambda name: (not has_conflict[name], -len(members[name]), name))[:MOST_GROUPS]
    paths, first_blocks, other_blocks = context.data.train_items["path"].to_numpy(), paragraph(""), paragraph("")
    for place, name in enumerate(order):
        group = members[name][:LARGEST_GROUP]
        pictures, _ = originals(context, group, SIDE)
        mark = "wrong" if has_conflict[name] else ""
        cells = [
            _cell(pictures[each], [label_of.get(each) or "no label"], paths[each] or f"image {each}", mark)
            for each in group
        ]
        size = f"{len(members[name])} images" + (", different labels" if has_conflict[name] else "")
        block = paragraph(size, "subtitle") + render("pictures.html.j2", pictures=cells, shown=LARGEST_GROUP)
        if place < SHOWN_GROUPS:
            first_blocks += block
        else:
            other_blocks += block
    body = first_blocks + (folded(f"Show all {len(order)}", other_blocks) if len(order) > SHOWN_GROUPS else "")
    extra = sum(map(len, members.values())) - len(members)
    text = f"{len(members):,} groups of images that are nearly the same; {extra:,} images repeat another one."
    count = sum(has_conflict.values())
    if count:
        text += f" {'1 group has' if count == 1 else f'{count} groups have'} different labels."
    if len(members) > MOST_GROUPS:
        text += f" {MOST_GROUPS} are shown."
    command = f"All groups as a table: `{context.command_for('score', 'duplicate')} -o duplicates.csv`"
    return Section("Near-duplicates", text, body + paragraph(command), [], anchor="near-duplicates")


def _cell(image: Any, lines: Sequence[str], name: str, mark: str = "") -> dict[str, Any]:
    """Return the values of the template for one image."""
    from initpools_cli.figures.thumbnails import LOSSLESS, data_uri

    texts = [printable(shortened(line, 40)) for line in lines]
    return {
        "source": data_uri(image),
        "small": max(image.size) <= LOSSLESS,
        "words": printable(f"{name}: {', '.join(lines)}"),
        "lines": texts,
        "mark": mark,
    }
