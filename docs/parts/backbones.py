"""Generated part of the page on backbones: the table of short names."""

from __future__ import annotations

from initpools_cli.cli.catalog import short_backbones
from parts.text import table

HEAD = ("name", "other names", "network", "parameters", "features", "input", "license", "trained on")


def short_names() -> str:
    """Tabulate the short names of backbones."""
    return table(
        HEAD,
        (
            (
                f"`{row['name']}`",
                ", ".join(f"`{name}`" for name in row["aliases"]),
                f"{row['library']}: `{row['network']}`",
                f"{row['parameters']:g} M",
                row["width"],
                f"{row['size']} px",
                row["license"],
                row["data"],
            )
            for row in short_backbones()
        ),
    )
