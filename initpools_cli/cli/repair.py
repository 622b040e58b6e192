"""`initpools repair`."""

from __future__ import annotations

from initpools_cli.cli.options import Common

EXAMPLE = "Example: initpools repair --run runs/digits"


def command(common: Common) -> None:
    """Repair a damaged run: restore run.toml from its steps, and its list of images from the data set."""
    from initpools_cli.steps.repair import repair

    run = common.locate()
    flags = {"dataset.name": common.dataset, "run.seed": common.seed}
    lines = repair(run, flags, common.sets or (), common.config, common.report)
    common.result(lines, {"done": [dict(zip(("what", "how"), line.split("\t", 1), strict=True)) for line in lines]})
    if not lines:
        common.report.say("nothing to repair")
