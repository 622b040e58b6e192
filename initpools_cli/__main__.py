"""`python -m initpools_cli` is the command `initpools`."""

from __future__ import annotations

from initpools_cli.cli.app import main

if __name__ == "__main__":
    main()
