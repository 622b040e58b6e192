"""Stopping rule of the labeling loop: a lower bound of the accuracy, from audit labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from initpools_cli.core.config import AlTable
from initpools_cli.core.errors import UserError
from initpools_cli.labeling.label_history import LabelHistory
from initpools_cli.steps.audit_sample import AUDIT


def refuse_without_audit(table: AlTable, labeled: LabelHistory) -> None:
    """Refuse to stop at an accuracy that nothing can measure.

    Raises
    ------
    UserError
        If there is a target to stop at, but no audit label, and no audit sample is asked for.
    """
    if table.stop_at and not table.audit and not (labeled.origins == AUDIT).any():
        raise UserError(
            f"--stop-at {table.stop_at:g} needs audit labels, and none of the {len(labeled.rows)} labels is "
            "of an audit image.",
            "Add --audit 10% to this command and label its batch, or leave out --stop-at.",
            f"{table.stop_at:g}",
        )


def has_reached(stop_at: float, outcome: Mapping[str, Any]) -> bool:
    """Return whether the lower bound of the accuracy is at least `stop_at`, which is 0 for never."""
    return bool(stop_at) and outcome.get("audit", {}).get("bound", 0.0) >= stop_at
