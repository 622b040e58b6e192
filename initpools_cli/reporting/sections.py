"""The sections of a report: what a run has, as tables around its figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from initpools_cli.core.errors import UserError
from initpools_cli.core.rundir import LOOP, FinishedStep
from initpools_cli.figures.escape import percent
from initpools_cli.figures.html import facts, folded, paragraph, table
from initpools_cli.figures.section import Section
from initpools_cli.labeling.label_history import one_a_number, outcome_of
from initpools_cli.labeling.summary import notes_of, table_of
from initpools_cli.reporting.status import status
from initpools_cli.steps.context import Context
from initpools_cli.steps.report_card import CARD, read_card

if TYPE_CHECKING:
    from initpools_cli.core.types import Figure

Drawn = Sequence["Figure | Section"]
#: With more classes than these a table of them is folded away.
MANY_CLASSES = 20
#: What a card says of a pool, and how its columns are called.
CARD_COLUMNS = {
    "coverage_radius": "farthest image",
    "mean_distance": "mean distance",
    "redundancy": "redundant",
    "classes_missed": "classes missed",
    "entropy": "evenness of classes",
    "imbalance": "largest : smallest class",
    "typicality": "typicality",
    "cluster_coverage": "clusters hit",
}


def whole(context: Context, kind: str) -> list[FinishedStep]:
    """The finished steps of a kind that are neither damaged nor stale, oldest first."""
    found = []
    for step in context.run.folders(kind):
        with suppress(UserError):
            found.append((step.facts["finished"], step.id, step.require_fresh()))
    return [step for _, _, step in sorted(found, key=lambda each: each[:2])]


def data(context: Context) -> Section:
    """How many images there are, of which classes, and in which split."""
    items = context.data.items
    # A long tail, and a test split held out of an array, leave images of train out.
    chosen_from = items[items["split"] == "train"][context.data.kept]
    splits = {"to choose from": chosen_from} | {
        split: items[items["split"] == split] for split in ("val", "test") if (items["split"] == split).any()
    }
    rows = {"images": ", ".join(f"{len(part):,} {name}" for name, part in splits.items())}
    size = context.data.splits["train"].images.shape[1:]
    rows["size"] = f"{size[0]} × {size[1]} pixels, {size[2]} channel{'s' if size[2] > 1 else ''}"
    classes = len(context.data.classes)
    rows["classes"] = str(classes) if classes else "not known: the data set has no labels of its own"
    without = {name: int(part["label"].isna().sum()) for name, part in splits.items()}
    if items["label"].notna().any() and any(without.values()):
        rows["no label"] = ", ".join(f"{count:,} {name}" for name, count in without.items() if count)
    body = facts(rows)
    if context.data.classes:
        counts = {name: part["label"].value_counts() for name, part in splits.items()}
        lines = [
            (name, *(f"{int(counts[part].get(i, 0)):,}" for part in splits))
            for i, name in enumerate(context.data.classes)
        ]
        every = table("Images of each class", ("class", *splits), lines, numbers=len(splits))
        body += folded(f"All {classes} classes", every) if classes > MANY_CLASSES else every
    return Section("Data", "", body, [], anchor="data")


def pretraining(context: Context, drawn: Drawn) -> Section | None:
    """Every pretrain's loss, and what was measured of the embeddings."""
    rows = []
    for step in whole(context, "embed"):
        found = step.facts["outcome"]
        accuracies = (share(found.get(key)) for key in ("knn_accuracy", "linear_accuracy"))
        rank = f"{found['rank']:.1f} of {found['train'][1]}" if "rank" in found and "train" in found else "–"
        rows.append((step.name, found.get("measured_on", "–"), rank, *accuracies))
    if not rows and not drawn:
        return None
    body = ""
    if rows:
        header = ("embeddings", "measured on", "RankMe", "k-NN accuracy", "linear probe")
        body = paragraph("Looked at, and never used for a choice:", "note")
        body += table("Quality of the embeddings", header, rows, numbers=3)
    return Section("Pretraining and embeddings", "", body, [], parts=drawn, anchor="pretraining")


def scores(drawn: Drawn) -> Section | None:
    """How scores are distributed."""
    return Section("Scores", "", "", [], parts=drawn, anchor="scores") if drawn else None


def pools(context: Context, drawn: Drawn) -> Section | None:
    """The cards of all pools beside each other, and what is drawn of pools."""
    found = [(step, _card(context, step)) for step in whole(context, "pool")]
    cards = [(step, card) for step, card in found if card]
    if not cards and not drawn:
        return None
    columns = {key: title for key, title in CARD_COLUMNS.items() if any(key in card for _, card in cards)}
    rows = [(step.name, card["budget"], *(_figure(card.get(key)) for key in columns)) for step, card in cards]
    body = ""
    if rows:
        body = table("Cards of the pools", ("pool", "images", *columns.values()), rows, numbers=len(columns) + 1)
        body += paragraph("Distances are between the embeddings that the pool was chosen from.", "note")
    return Section("Pools", "", body, [], parts=drawn, anchor="pools")


def _card(context: Context, step: FinishedStep) -> dict[str, Any]:
    """The full card of a pool, or the short one; empty where it has none."""
    full = context.run.find_step(f"card/{step.name}")
    if full is not None:
        with suppress(UserError):
            return read_card(full.require_fresh())
    return read_card(step) if CARD in step.facts["writes"] else {}


def rounds_of(context: Context) -> list[FinishedStep]:
    """The labeling rounds, by their number."""
    return one_a_number(whole(context, LOOP))


def labeling(context: Context) -> Section | None:
    """What every round of labeling came to."""
    rounds = rounds_of(context)
    if not rounds:
        return None
    outcomes = [outcome_of(step) for step in rounds]
    columns, lines = table_of(outcomes)
    body = table("Labeling rounds", columns, lines, numbers=len(columns) - 1)
    for note in notes_of(outcomes):
        body += paragraph(note, "note")
    return Section("Labeling rounds", "", body, [], anchor="rounds")


def provenance(context: Context) -> Section:
    """What the run is, and the command, time and machine of every step; stale ones are marked."""
    told = context.run.facts()
    identity = {"run": context.run.path, "root seed": told["run"]["seed"], **told["dataset"]}
    steps = status(context.run)["steps"]
    rows = [_made(context, row) for row in steps]
    header = ["step", "command", "finished (UTC)", "machine", "version", "seconds"]
    if any(row["problem"] for row in steps):
        header.insert(1, "problem")
        rows = [[first, row["problem"], *others] for (first, *others), row in zip(rows, steps, strict=True)]
    marks = ["stale" if row["problem"] else "" for row in steps]
    body = facts(identity) + table("Every step of the run", header, rows, numbers=1, marks=marks)
    return Section("Provenance", "", body, [], anchor="provenance")


def _made(context: Context, row: Mapping[str, Any]) -> list[str]:
    """How a step was made, from its row of `status` and what its step.toml says."""
    made: dict[str, Any] = {}
    with suppress(UserError):
        made = FinishedStep(context.run, context.run.path / row["step"]).facts
    machine = f"{made['device']}, {made['threads']} threads" if {"device", "threads"} <= made.keys() else ""
    when = str(row["finished"])[:16].replace("T", " ")
    return [row["step"], row["command"], when, machine, made.get("version", ""), f"{row['seconds']:,.1f}"]


def share(value: Any) -> str:
    """A fraction in per cent, or a dash where it is not known."""
    return percent(value) if isinstance(value, int | float) else "–"


def _figure(value: Any) -> str:
    return "–" if value is None else f"{value:.3g}"
