"""Generated parts of the pages on strategies: how often first pools beat random ones, as docs/results.md has it."""

from __future__ import annotations

import re
from pathlib import Path

from parts.text import table

RESULTS = Path(__file__).parent.parent / "results.md"
SECTION = re.compile(r"^## In short: (?P<setting>.*)\n(?P<text>(?:(?!## ).*\n)*)", re.MULTILINE)
ROW = re.compile(r"^\| `(?P<name>[^`]+)` \| (?P<better>\d+) ▲ (?P<worse>\d+) ▼ of (?P<of>\d+) ", re.MULTILINE)


def verdicts(*names: str) -> str:
    """Tabulate in how many settings the first pools of strategies were better and worse than random."""
    sections = {
        section["setting"]: {row["name"]: row for row in ROW.finditer(section["text"])}
        for section in SECTION.finditer(RESULTS.read_text(encoding="utf-8"))
    }
    missing = set(names) - {name for rows in sections.values() for name in rows}
    if missing:
        raise ValueError(f"{RESULTS.name} compares no first pools of {sorted(missing)}")
    return table(
        ["first pool", *sections],
        ([f"`{name}`", *(_cell(rows.get(name)) for rows in sections.values())] for name in names),
    )


def _cell(row: re.Match[str] | None) -> str:
    return f"{row['better']} better, {row['worse']} worse of {row['of']}" if row else "–"
