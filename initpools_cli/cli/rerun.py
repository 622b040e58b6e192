"""Running of a command inside another command."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import Any

from initpools_cli.core.errors import UserError


def rerun(program: Any, arguments: list[str], folder: Path) -> None:
    """Run a command in this process without its output, as if typed in another folder.

    Parameters
    ----------
    program : click.Command
        The whole command line.

    Raises
    ------
    UserError
        The command ends with an error that the user can correct.
    """
    output = io.StringIO()
    try:
        with contextlib.chdir(folder), contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
            program.main([*arguments, "--quiet"], prog_name="initpools", standalone_mode=False)
    except Exception as error:
        if not hasattr(error, "format_message"):
            raise
        # An option that this version no longer has.
        fact = str(error.format_message())
        raise UserError(fact, "Run the step again with `initpools`, by hand.", fact) from None
