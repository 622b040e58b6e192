"""Sections of the report: tables and figures for each part of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from initpools_cli.core.errors import UserError
from initpools_cli.core.rundir import LOOP, FinishedStep
from initpools_cli.datasets.item_labels import labels_of_rows
from initpools_cli.datasets.multilabel import NONE, classes_of
from initpools_cli.figures.escape import percent
from initpools_cli.figures.html import facts, folded, paragraph, table
from initpools_cli.figures.section import Section
from initpools_cli.labeling.stored_rounds import one_a_number
from initpools_cli.reporting.status import status
from initpools_cli.steps.context import Context
from initpools_cli.steps.embed import trained_on
from initpools_cli.steps.report_card import CARD, read_card

if TYPE_CHECKING:
    import pandas as pd

    from initpools_cli.core.types import Figure
    from initpools_cli.datasets.spec import Dataset

Figures = Sequence["Figure | Section"]
#: The table of classes is collapsed if there are more than this.
MANY_CLASSES = 20
#: Values of a report card and their column titles.
CARD_COLUMNS = {
    "coverage_radius": "coverage radius",
    "mean_distance": "mean distance",
    "redundancy": "redundancy",
    "classes_missed": "classes missed",
    "entropy": "class balance",
    "imbalance": "class imbalance",
    "typicality": "typicality",
    "cluster_coverage": "clusters hit",
}


def fresh_steps(context: Context, kind: str) -> list[FinishedStep]:
    """Find the finished steps of a kind that are neither damaged nor stale, oldest first."""
    steps = []
    for step in context.run.folders(kind):
        with suppress(UserError):
            steps.append((step.facts["finished"], step.id, step.require_fresh()))
    return [step for _, _, step in sorted(steps, key=lambda each: each[:2])]


def data(context: Context) -> Section:
    """Describe the data set: images, splits and classes."""
    items = context.data.items
    # A long tail, and a test split held out of an array, exclude images of train.
    selectable = items[items["split"] == "train"][context.data.kept]
    splits = {"to choose from": selectable} | {
        split: items[items["split"] == split] for split in ("val", "test") if (items["split"] == split).any()
    }
    rows = {"images": ", ".join(f"{len(part):,} {name}" for name, part in splits.items())}
    if context.data.has_images:
        size = context.data.splits["train"].images.shape[1:]
        rows["size"] = f"{size[0]} × {size[1]} pixels, {size[2]} channel{'s' if size[2] > 1 else ''}"
    else:
        rows["size"] = f"unknown: the run was started from the embeddings {context.data.spec.name}"
    classes = len(context.data.classes)
    rows["classes"] = str(classes) if classes else _classes_of_loop(context)
    unlabeled = {name: int(part["label"].isna().sum()) for name, part in splits.items()}
    if items["label"].notna().any() and any(unlabeled.values()):
        rows["no label"] = ", ".join(f"{count:,} {name}" for name, count in unlabeled.items() if count)
    body = facts(rows)
    if context.data.classes:
        counts = {name: _class_counts(part, context.data) for name, part in splits.items()}
        lines = [(name, *(f"{counts[part][i]:,}" for part in splits)) for i, name in enumerate(context.data.classes)]
        if context.data.multilabel:
            lines.append((NONE, *(f"{(part['label'] == NONE).sum():,}" for part in splits.values())))
        class_table = table("Images of each class", ("class", *splits), lines, numbers=len(splits))
        body += folded(f"All {classes} classes", class_table) if classes > MANY_CLASSES else class_table
    return Section("Data", "", body, [], anchor="data")


def _class_counts(items: pd.DataFrame, data: Dataset) -> list[int]:
    """Count the images of each class; an image with several labels counts for each of them."""
    labels = labels_of_rows(items, len(data.classes) if data.multilabel else 0)
    counts: list[int] = np.bincount(classes_of(labels), minlength=len(data.classes)).tolist()
    return counts


def _classes_of_loop(context: Context) -> str:
    """Name the classes of the labels that rounds have read."""
    rounds = rounds_of(context)
    if not rounds:
        return "unknown: no image has a label"
    names = rounds[-1].facts["outcome"].get("class_names", [])
    more = f" and {len(names) - MANY_CLASSES} more" if len(names) > MANY_CLASSES else ""
    return f"{len(names)}, from the labels: {', '.join(names[:MANY_CLASSES])}{more}"


def pretraining(context: Context, figures: Figures) -> Section | None:
    """Show the loss of every pretrain and the quality of the embeddings."""
    rows = []
    for step in fresh_steps(context, "embed"):
        outcome = step.facts["outcome"]
        accuracies = (share(outcome.get(key)) for key in ("knn_accuracy", "linear_accuracy"))
        rank = f"{outcome['rank']:.1f} of {min(outcome['train'])}" if "rank" in outcome and "train" in outcome else "–"
        rows.append((step.name, trained_on(step) or "–", outcome.get("measured_on", "–"), rank, *accuracies))
    if not rows and not figures:
        return None
    body = ""
    if rows:
        header = (
            "embeddings",
            "pretrained on",
            "measured on",
            "effective dimensions (RankMe)",
            "k-NN accuracy",
            "linear probe",
        )
        body = paragraph("These values are only reported; no choice depends on them.", "note")
        body += table("Quality of the embeddings", header, rows, numbers=3)
    return Section("Pretraining and embeddings", "", body, [], parts=figures, anchor="pretraining")


def scores(figures: Figures) -> Section | None:
    """Show the distributions of scores."""
    return Section("Scores", "", "", [], parts=figures, anchor="scores") if figures else None


def pools(context: Context, figures: Figures) -> Section | None:
    """Compare the report cards of all pools, and show the figures of pools."""
    pairs = [(step, _card(context, step)) for step in fresh_steps(context, "pool")]
    cards = [(step, card) for step, card in pairs if card]
    if not cards and not figures:
        return None
    columns = {key: title for key, title in CARD_COLUMNS.items() if any(key in card for _, card in cards)}
    rows = [(pool_title(step), card["budget"], *(_number(card.get(key)) for key in columns)) for step, card in cards]
    body = ""
    if rows:
        body = table("Report cards of the pools", ("pool", "images", *columns.values()), rows, numbers=len(columns) + 1)
        body += paragraph("Distances are between the embeddings that each pool was chosen from.", "note")
    return Section("Pools", "", body, [], parts=figures, anchor="pools")


def pool_title(step: FinishedStep) -> str:
    """Return a readable name of a pool: "typiclust on simclr, 20 images"; its folder if the step does not say it."""
    table = step.table
    if not {"strategy", "budget"} <= table.keys():
        return step.name
    balance = f"@{table['balance']}" if table.get("balance", "none") != "none" else ""
    source = f" on {table['source'].removeprefix('embed/')}" if table.get("source") else ""
    seed = f", seed {table['seed']}" if table.get("seed") else ""
    return f"{table['strategy']}{balance}{source}, {table['budget']} images{seed}"


def _card(context: Context, step: FinishedStep) -> dict[str, Any]:
    """Read the full card of a pool, else the short one; empty if it has none."""
    full = context.run.find_step(f"card/{step.name}")
    if full is not None:
        with suppress(UserError):
            return read_card(full.require_fresh())
    return read_card(step) if CARD in step.facts["writes"] else {}


def rounds_of(context: Context) -> list[FinishedStep]:
    """Find the labeling rounds, sorted by number."""
    return one_a_number(fresh_steps(context, LOOP))


def provenance(context: Context) -> Section:
    """Show the identity of the run, and the command, time and machine of every step."""
    facts_of_run = context.run.facts()
    identity = {"run": context.run.path, "root seed": facts_of_run["run"]["seed"], **facts_of_run["dataset"]}
    steps = status(context.run)["steps"]
    rows = [_step_row(context, row) for row in steps]
    header = ["step", "command", "finished (UTC)", "machine", "version", "seconds"]
    if any(row["problem"] for row in steps):
        header.insert(1, "problem")
        rows = [[first, row["problem"], *others] for (first, *others), row in zip(rows, steps, strict=True)]
    marks = ["stale" if row["problem"] else "" for row in steps]
    body = facts(identity) + table("Every step of the run", header, rows, numbers=1, marks=marks)
    return Section("Provenance", "", body, [], anchor="provenance")


def _step_row(context: Context, row: Mapping[str, Any]) -> list[str]:
    """Describe how a step was made, from its row of `status` and its step.toml."""
    step: dict[str, Any] = {}
    with suppress(UserError):
        step = FinishedStep(context.run, context.run.path / row["step"]).facts
    machine = f"{step['device']}, {step['threads']} threads" if {"device", "threads"} <= step.keys() else ""
    end = str(row["finished"])[:16].replace("T", " ")
    return [row["step"], row["command"], end, machine, step.get("version", ""), f"{row['seconds']:,.1f}"]


def share(value: Any) -> str:
    """Format a fraction as a percentage, or as a dash if it is missing."""
    return percent(value) if isinstance(value, int | float) else "–"


def _number(value: Any) -> str:
    return "–" if value is None else f"{value:.3g}"
