"""Fill the generated parts of README.md, CONTRIBUTING.md and docs/ from the code: `python docs/generate.py`.

It also writes `initpools_cli/cli/names.json`, the names for shell completion.

A generated part is between ``<!-- generated: NAME -->`` and ``<!-- end of NAME -->``; its arguments follow its name
(``<!-- generated: command rank -->``). The rest of a page is written by hand. Every command has a page.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path

from parts import (
    api,
    backbones,
    calls,
    commands,
    configuration,
    faults,
    findings,
    labeling,
    ladder,
    leaderboard,
    learners,
    load,
    loop_accuracy,
    methods,
    mutants,
    partitions,
    pitfalls,
    regret,
    replications,
    seconds,
    statistics,
    strategies,
    verdicts,
)

from initpools_cli.bench.suite import suite_names
from initpools_cli.cli.catalog import KINDS, names, short_names

ROOT = Path(__file__).parent.parent
NAMES = ROOT / "initpools_cli/cli/names.json"
PART = re.compile(
    r"(?P<start><!-- generated: (?P<name>[a-z-]+)(?P<args>(?: [^ >]+)*) -->\n).*?(?P<end><!-- end of (?P=name) -->)",
    re.DOTALL,
)

PARTS: Mapping[str, Callable[..., str]] = {
    "api": api.api,
    "backbones": backbones.short_names,
    "command": commands.command,
    "command-index": commands.command_index,
    "command-table": commands.command_table,
    "shared-options": commands.shared_options,
    "configuration": configuration.configuration,
    "configs": configuration.configs,
    "strategies": strategies.descriptions,
    "score-strategies": strategies.score_table,
    "verdicts": verdicts.verdicts,
    **methods.PARTS,
    **statistics.PARTS,
    **replications.PARTS,
    **findings.PARTS,
    **pitfalls.PARTS,
    **ladder.PARTS,
    **load.PARTS,
    **leaderboard.PARTS,
    **partitions.PARTS,
    **calls.PARTS,
    **faults.PARTS,
    **seconds.PARTS,
    **learners.PARTS,
    **loop_accuracy.PARTS,
    **labeling.PARTS,
    **regret.PARTS,
    **mutants.PARTS,
}


def render(text: str) -> str:
    """Return the text of a page with all generated parts updated."""
    return PART.sub(lambda match: f"{match['start']}{_part(match)}\n{match['end']}", text)


def _part(match: re.Match[str]) -> str:
    return PARTS[match["name"]](*match["args"].split())


def pages() -> list[Path]:
    """List README.md, CONTRIBUTING.md and every page in docs/."""
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def names_file() -> str:
    """Encode the names of every kind for `completion.py`; of backbones the short ones, which no library decides."""
    names_of = {kind: names(kind) for kind in KINDS if kind != "backbones"}
    return json.dumps({**names_of, "short_backbones": short_names(), "suites": suite_names()}, indent=1) + "\n"


def main() -> None:
    """Update all pages and the file of names, and add missing pages of commands."""
    NAMES.write_text(names_file(), encoding="utf-8")
    for name in commands.names():
        page = ROOT / "docs/commands" / f"{name}.md"
        if not page.exists():
            page.parent.mkdir(exist_ok=True)
            text = f"# initpools {name}\n\n<!-- generated: command {name} -->\n<!-- end of command -->\n"
            page.write_text(text, encoding="utf-8")
    for page in pages():
        page.write_text(render(page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
