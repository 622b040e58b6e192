"""The data set of a run as it is stored: its identity in run.toml, its items and its mask."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from initpools_cli.core.config import DatasetTable
from initpools_cli.core.rundir import ITEMS, KEPT, Run

if TYPE_CHECKING:
    import pandas as pd

    from initpools_cli.datasets.spec import Dataset, DatasetSpec


@dataclass(frozen=True)
class Identity:
    """What a run is about, and its root seed.

    Attributes
    ----------
    table : DatasetTable
        That of the first command.
    source : str or None
        The absolute path, if the name is a path.
    """

    table: DatasetTable
    seed: int
    source: str | None

    @property
    def spec(self) -> DatasetSpec:
        """The data set to open."""
        from initpools_cli.datasets.classes import class_list
        from initpools_cli.datasets.spec import DatasetSpec

        classes = class_list(self.table.classes, "--classes")
        source = {"name": self.source} if self.source else {}
        return DatasetSpec(**self.table.model_dump() | source | {"classes": classes})

    @property
    def facts(self) -> dict[str, Any]:
        """For ``run.toml``."""
        source = {"source": self.source} if self.source else {}
        return {"run": {"seed": self.seed}, "dataset": self.table.identity() | source}


def read_identity(run: Run) -> Identity:
    """Read the identity of a run.

    Raises
    ------
    UserError
        It is damaged.
    """
    return parse_identity(run.facts(), run)


def parse_identity(facts: Mapping[str, Any], run: Run) -> Identity:
    """Parse the identity of a run from the content of ``run.toml``."""
    from pydantic import ValidationError

    try:
        table = dict(facts["dataset"])
        source = table.pop("source", None)
        seed = facts["run"]["seed"]
        if not isinstance(seed, int) or not isinstance(source, str | None):
            raise run.damaged("run.toml")
        return Identity(DatasetTable(**table), seed, source)
    except (KeyError, TypeError, ValidationError):
        raise run.damaged("run.toml") from None


def read_items_and_mask(run: Run) -> tuple[pd.DataFrame, np.ndarray, str]:
    """Read the items and the mask of a run, and the checksum of the items.

    Raises
    ------
    UserError
        One of them is missing or damaged.
    """
    content = run.read(ITEMS)
    items = parse_items(run, content)
    mask = read_mask(run)
    # Where the replacement of both was interrupted, images that are new are not in the mask yet.
    n_new = int((items["split"] == "train").sum()) - len(mask)
    if n_new < 0 or (n_new and "replacing" not in run.facts()):
        raise run.damaged(KEPT)
    return items, np.pad(mask, (0, n_new), constant_values=True), hashlib.sha256(content).hexdigest()


def read_mask(run: Run) -> np.ndarray:
    """Read the mask of a run, (n train,) bool.

    Raises
    ------
    UserError
        It is missing or damaged.
    """
    return parse_mask(run, run.read(KEPT))


def parse_mask(run: Run, content: bytes | None) -> np.ndarray:
    """Parse a mask from the content of kept.npy; None if there is no such file."""
    try:
        mask: np.ndarray = np.load(io.BytesIO(content or b""), allow_pickle=False)
    except (ValueError, EOFError, OSError):
        raise run.damaged(KEPT) from None
    if not isinstance(mask, np.ndarray) or mask.dtype != bool or mask.ndim != 1:
        raise run.damaged(KEPT)
    return mask


def read_items(run: Run) -> pd.DataFrame:
    """Read the items of a run, as they were written.

    Raises
    ------
    UserError
        It is missing or damaged.
    """
    return parse_items(run, run.read(ITEMS))


def parse_items(run: Run, content: bytes) -> pd.DataFrame:
    """Parse items from the content of items.csv."""
    import pandas as pd

    from initpools_cli.datasets.item_labels import typed
    from initpools_cli.datasets.spec import COLUMNS, CONVERSION, GROUP

    text = {"path": str, "label": str, "class": str, "sha256": str, CONVERSION: str, GROUP: str}
    try:
        items = pd.read_csv(io.BytesIO(content), dtype=text, keep_default_na=False, na_values={"label": [""]})
        items["label"] = typed(items["label"])
        first, further = tuple(items.columns[: len(COLUMNS)]), [*items.columns[len(COLUMNS) :]]
        valid = further in ([], [CONVERSION], [GROUP], [CONVERSION, GROUP])
        if first != COLUMNS or not valid or items.empty or items["sha256"].isna().any():
            raise run.damaged(ITEMS)
        return items
    except (OSError, ValueError, KeyError, pd.errors.ParserError):
        raise run.damaged(ITEMS) from None


def files_of(dataset: Dataset) -> dict[str, bytes]:
    """The content of items.csv and kept.npy."""
    mask = io.BytesIO()
    np.save(mask, dataset.kept)
    return {ITEMS: dataset.items.to_csv(index=False).encode(), KEPT: mask.getvalue()}


def absolute(table: DatasetTable) -> DatasetTable:
    """Return the table with absolute paths of its files, so that the run can be used from anywhere."""
    from initpools_cli.datasets.groups import is_file
    from initpools_cli.datasets.labels import BY_NAME

    files = {"labels": table.labels, "ids": table.ids, "groups": table.groups if is_file(table.groups) else ""}
    paths = {key: str(Path(file).resolve()) for key, file in files.items() if file not in ("", *BY_NAME)}
    return table.model_copy(update=paths) if paths else table
