"""The commands of `initpools`, as one Typer application."""

from __future__ import annotations

from typing import Annotated

import typer

from initpools_cli.cli import (
    al_run,
    bench,
    clean,
    compare,
    embed,
    export,
    label,
    plot,
    pretrain,
    rank,
    repair,
    score,
    select_pool,
    status,
    verify,
)
from initpools_cli.cli import list as lists
from initpools_cli.cli.options import with_common

#: The first steps with a folder of images; Typer keeps lines apart only with empty lines between them.
EXAMPLE = """Example, with a folder of images:

initpools select-pool --dataset ./photos --budget 200

initpools label"""

app = typer.Typer(
    name="initpools",
    help="Choose which images to label first, and measure whether the choice beat a random one.",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=EXAMPLE,
)

for name, module in {
    "pretrain": pretrain,
    "embed": embed,
    "score": score,
    "select-pool": select_pool,
    "label": label,
    "al-run": al_run,
    "export": export,
    "rank": rank,
    "plot": plot,
    "list": lists,
    "status": status,
    "compare": compare,
    "verify": verify,
    "repair": repair,
    "clean": clean,
}.items():
    app.command(name, epilog=module.EXAMPLE)(with_common(name, module.command))

benchmarks = typer.Typer(epilog=bench.EXAMPLE)
benchmarks.callback(invoke_without_command=True)(with_common("bench", bench.command))
benchmarks.command("table", epilog=bench.TABLE_EXAMPLE)(with_common("bench table", bench.table))
benchmarks.command("report", epilog=bench.REPORT_EXAMPLE)(with_common("bench report", bench.report))
benchmarks.command("verify", epilog=bench.VERIFY_EXAMPLE)(with_common("bench verify", bench.verify))
app.add_typer(benchmarks, name="bench")


def _version(value: bool) -> None:
    if value:
        from initpools_cli.core.version import version

        typer.echo(f"initpools {version()}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Choose which images to label first, and measure whether the choice beat a random one."""
