"""What every step is handed: the run, the settings, the data set, the machine, a voice."""

from __future__ import annotations

import os
import shlex
from collections.abc import Set
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from initpools_cli.core.config import DatasetTable, Settings
from initpools_cli.core.errors import UserError
from initpools_cli.core.files import atomic_file, read_array, sha256_of, write_array
from initpools_cli.core.report import Report
from initpools_cli.core.rundir import ITEMS, KEPT, Run, command_line
from initpools_cli.core.version import version

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from initpools_cli.datasets.spec import Dataset
    from initpools_cli.training.machine import Machine


@dataclass
class Context:
    """One command at work on one run.

    Attributes
    ----------
    run : Run
    settings : Settings
        All tables, resolved.
    given : set of str
        The dotted keys that the user set.
    report : Report
        Where lines and progress go.
    force : bool
        Do the named step again even where it is done.
    """

    run: Run
    settings: Settings
    given: Set[str]
    report: Report
    force: bool = False
    command: str = field(default_factory=command_line)

    def __post_init__(self) -> None:
        """Hold the linear algebra to the threads that were asked for."""
        if self.settings.run.threads:
            import numpy  # noqa: F401 -- only libraries that are loaded can be limited
            from threadpoolctl import threadpool_limits

            threadpool_limits(self.settings.run.threads)

    @cached_property
    def seed(self) -> int:
        """The root seed: what the user gave, else the run's."""
        if "run.seed" in self.given or not self.run.exists:
            return self.settings.run.seed
        return int(self.run.facts()["run"]["seed"])

    @cached_property
    def machine(self) -> Machine:
        """Device, threads and precision of this process."""
        from initpools_cli.training.machine import start_machine

        return start_machine(self.settings.run)

    @cached_property
    def data(self) -> Dataset:
        """The run's data set, opened; the first command of a run fixes it."""
        from initpools_cli.datasets.open import data_home, open_dataset, path_of

        known = kept = None
        table, seed, source = self.settings.dataset, self.settings.run.seed, None
        if self.run.exists:
            self._refuse_other_dataset()
            table, seed, source, known, kept = self._fixed()
        else:
            path = path_of(table.name)
            source = None if path is None else str(path.resolve())
        spec = spec_of(table, source)
        dataset = open_dataset(spec, seed=seed, cache=data_home(), report=self.report, known=known, kept=kept)
        for note in dataset.notes:
            self.report.say(note)
        if known is None or len(known) != len(dataset.items):
            with atomic_file(self.run.path / ITEMS) as stream:
                dataset.items.to_csv(stream, index=False)
            write_array(self.run.path / KEPT, dataset.kept)
        if not self.run.exists:
            self.run.create(
                {
                    "version": version(),
                    "run": {"seed": seed},
                    "dataset": table.model_dump() | ({"source": source} if source else {}),
                }
            )
        return dataset

    def _fixed(self) -> tuple[DatasetTable, int, str | None, pd.DataFrame, np.ndarray]:
        import pandas as pd

        facts = self.run.facts()
        fixed = {key: value for key, value in facts["dataset"].items() if key != "source"}
        items = pd.read_csv(
            self.run.path / ITEMS,
            dtype={"path": str, "class": str, "sha256": str},
            keep_default_na=False,
            na_values={"label": [""]},
        )
        items["label"] = items["label"].astype("Int64")
        kept = read_array(self.run.path / KEPT, "the mask of a run")
        return DatasetTable(**fixed), int(facts["run"]["seed"]), facts["dataset"].get("source"), items, kept

    def _refuse_other_dataset(self) -> None:
        """A run is about one data set: another name, file or size asked for is a slip or belongs in another run."""
        facts = self.run.facts()["dataset"]
        for key in DatasetTable.model_fields:
            asked = getattr(self.settings.dataset, key)
            if f"dataset.{key}" not in self.given or asked == facts[key]:
                continue
            if key == "name" and facts.get("source") and str(Path(asked).resolve()) == facts["source"]:
                continue
            raise UserError(
                f"The run {self.run.path} is about dataset.{key} = {facts[key]!r}, not {asked!r}.",
                "Name another run with --run DIR.",
            )

    def items_checksum(self) -> dict[str, str]:
        """The checksum of ``data/items.csv``, for the steps that read the data set."""
        self.data  # noqa: B018 -- writes items.csv where it is not there yet
        return {ITEMS: sha256_of(self.run.path / ITEMS)}

    def facts(self) -> dict[str, Any]:
        """What ``step.toml`` says of the machine; torch is not loaded for a step that did without."""
        if "machine" in self.__dict__:
            return self.machine.facts
        return {"device": "cpu", "threads": self.settings.run.threads or len(os.sched_getaffinity(0))}

    def command_for(self, *words: str) -> str:
        """A command that the user could type to make a step of this run."""
        seed = ["--seed", str(self.seed)] if "run.seed" in self.given else []
        return shlex.join(["initpools", *words, "--run", str(self.run.path), *seed])

    def made_on_the_way(self, *words: str) -> Context:
        """The same context for a step that another step needs: it is named by its own command, and not forced."""
        other = Context(self.run, self.settings, self.given, self.report, False, self.command_for(*words))
        for shared in ("data", "machine", "seed"):
            if shared in self.__dict__:
                other.__dict__[shared] = self.__dict__[shared]
        return other

    def require_labels(self, what: str) -> None:
        """Refuse to go on without labels.

        Raises
        ------
        UserError
            The data set has no labels.
        """
        if self.data.splits["train"].labels is None:
            raise UserError(
                f"{what} needs labels, and {self.data.spec.name} has none.",
                "Bring them with a new run: --set dataset.labels=FILE.csv (columns path,label), or "
                "--set dataset.labels=folders where each sub-folder is a class.",
            )


def spec_of(table: DatasetTable, source: str | None) -> Any:
    """The data set to open; `source` is the absolute path that a relative name stood for."""
    from initpools_cli.datasets.spec import DatasetSpec

    return DatasetSpec(**table.model_dump() | ({"name": source} if source else {}))
