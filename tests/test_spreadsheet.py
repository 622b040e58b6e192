"""Cells that a spreadsheet would run are written as text, and read back unchanged."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from hypothesis import example, given
from hypothesis import strategies as st

from initpools_cli.core.spreadsheet import escaped, unescaped, write_table
from initpools_cli.datasets.annotations.table import read

FORMULAS = ["=1+1", "+SUM(A1)", "-A1", "@now", "\tx", "＝1", "'=1", "''=1", "-", "=cmd|' /C calc'!A0"]
HARMLESS = ["", "cat", "-1", "+3", "-1.5e-3", "'", "'cat'", "a=b", "1-2"]


@given(st.text(alphabet="'=+-@\t\r\n1.e a", max_size=6))
@example("'-1")
def test_escaped_text_is_read_back(text: str) -> None:
    assert unescaped(escaped(text)) == text
    assert escaped(text) in (text, f"'{text}")


def test_only_text_that_would_run_is_escaped() -> None:
    assert [escaped(text) for text in FORMULAS] == [f"'{text}" for text in FORMULAS]
    assert [escaped(text) for text in HARMLESS] == HARMLESS


def test_a_table_gives_names_and_labels_back(tmp_path: Path) -> None:
    texts = [*FORMULAS, *HARMLESS[1:]]
    frame = pd.DataFrame({"index": range(len(texts)), "path": texts, "label": texts[::-1], "score": -1.5})
    write_table(tmp_path / "t.csv", frame)
    rows, _ = read(tmp_path / "t.csv", "--labels")
    assert [row.path for row in rows] == texts and [row.label for row in rows] == texts[::-1]
    table = pd.read_csv(tmp_path / "t.csv", keep_default_na=False)
    assert table["score"].tolist() == [-1.5] * len(texts)
    assert not any(cell.startswith(("=", "@", "\t")) for column in ("path", "label") for cell in table[column])
