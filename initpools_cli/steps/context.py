"""State shared by every step: run, settings, data set, device and reporter."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from initpools_cli.core.command_line import command_line
from initpools_cli.core.config import DEFAULT_CLUSTERS, DatasetTable, RunTable, Settings
from initpools_cli.core.cpu import thread_count
from initpools_cli.core.errors import UserError
from initpools_cli.core.reporter import Reporter
from initpools_cli.core.rundir import ITEMS, PendingStep, Run
from initpools_cli.core.settings import knob_origins
from initpools_cli.core.version import version
from initpools_cli.datasets.multilabel import one_class_error
from initpools_cli.datasets.spec import no_pixels_error
from initpools_cli.geometry.matmul import on_device
from initpools_cli.steps.run_data import Identity, absolute, files_of, read_identity, read_items_and_mask

if TYPE_CHECKING:
    from initpools_cli.datasets.spec import Dataset
    from initpools_cli.training.device import DeviceConfig


class LoopEmbeddings(NamedTuple):
    """Embeddings that a labeling loop has used.

    Attributes
    ----------
    name : str
        Their step in ``embed/``; of a learner that reads none, the pretrain that it starts from.
    step : str
        The round, or the first pool, that used them last.
    """

    name: str
    step: str


@dataclass
class Context:
    """One command at work on one run.

    Attributes
    ----------
    run : Run
    settings : Settings
        All tables, resolved.
    origins : mapping of str to str
        Where the user set each dotted key.
    report : Reporter
        Prints lines and progress.
    force : bool
        Run the step again even if it is finished.
    loop_embeddings : callable
        Finds the embeddings of the labeling loop in the run: the default of ``--from``. Where it returns None, the
        default is the newest embeddings.
    """

    run: Run
    settings: Settings
    origins: Mapping[str, str]
    report: Reporter
    force: bool = False
    command: str = field(default_factory=command_line)
    loop_embeddings: Callable[[Run], LoopEmbeddings | None] = lambda _: None

    def __post_init__(self) -> None:
        """Limit the linear algebra to `run.threads`."""
        if self.settings.run.threads:
            import numpy  # noqa: F401 -- only libraries that are loaded can be limited
            from threadpoolctl import threadpool_limits

            threadpool_limits(thread_count(self.settings.run.threads))

    @cached_property
    def seed(self) -> int:
        """The root seed: the user's, else the run's."""
        if "run.seed" in self.origins or not self.run.exists:
            return self.settings.run.seed
        return self.identity.seed

    @cached_property
    def machine(self) -> DeviceConfig:
        """Device, threads and precision of this process."""
        from initpools_cli.training.device import setup_device

        return setup_device(self.settings.run)

    @cached_property
    def data(self) -> Dataset:
        """The run's data set, opened; a run that does not exist yet is fixed by its first step (`writing`)."""
        from initpools_cli.datasets.cache import data_home
        from initpools_cli.datasets.copies import copies_note
        from initpools_cli.datasets.open import open_dataset, path_of

        items = mask = None
        if self.run.exists:
            self._refuse_other_dataset()
            identity = self.identity
            self._require_source(identity)
            items, mask, self.items_sum = read_items_and_mask(self.run)
        else:
            path = path_of(self.settings.dataset.name)
            source = None if path is None else str(path.resolve())
            identity = Identity(absolute(self.settings.dataset), self.settings.run.seed, source)
        dataset = open_dataset(
            identity.spec, seed=identity.seed, cache=data_home(), report=self.report, stored_items=items, mask=mask
        )
        for note in dataset.notes:
            self.report.say(note)
        if dataset.items is not items and (note := copies_note(dataset)):
            self.report.once(note)
        if dataset.multilabel:
            several = {"multilabel": True, "classes": list(dataset.classes)}
            identity = replace(identity, table=identity.table.model_copy(update=several))
        self.identity = identity
        if dataset.items is not items or "replacing" in self.run.facts():
            files = files_of(dataset)
            self.items_sum = hashlib.sha256(files[ITEMS]).hexdigest()
            if items is not None:
                self.run.replace(files)
        return dataset

    @contextmanager
    def writing(
        self, step: PendingStep, *, command: str = "", machine: Mapping[str, Any] | None = None
    ) -> Iterator[Path]:
        """`PendingStep.writing`, in a run that is fixed before; a refused first step leaves no run behind."""
        accelerator = gpu(self.settings.run.device)
        if accelerator is not None:
            self.machine  # noqa: B018 -- step.toml says what the products were computed on
        began = self.begin_run()
        self.run.mark_as_last()
        try:
            with on_device(accelerator), step.writing(command or self.command, machine or self.facts()) as scratch:
                yield scratch
        except UserError:
            if began and not self.run.folders():
                self.run.remove()
            raise

    def begin_run(self) -> bool:
        """Write ``run.toml`` and the items, unless the run exists; return whether it was begun now."""
        if self.run.exists:
            return False
        data = self.data
        self.run.create(self.identity.facts | {"version": version()}, files_of(data))
        return True

    @cached_property
    def identity(self) -> Identity:
        """What ``run.toml`` fixes."""
        return read_identity(self.run)

    @property
    def of_embeddings(self) -> bool:
        """Whether the data set is a file of embeddings, which has no images; it is not opened for that."""
        from initpools_cli.datasets.embeddings import is_embeddings

        table = self.identity.table if self.run.exists else self.settings.dataset
        return is_embeddings(table.name)

    def require_images(self, what: str, instead: str = "") -> None:
        """Raise an error if the data set has no images; called before anything is computed from them.

        Parameters
        ----------
        what : str
            What needs them, as the subject of a sentence.
        instead : str
            What to do without images; default: use another run.

        Raises
        ------
        UserError
            The data set is a file of embeddings.
        """
        if self.of_embeddings:
            raise no_pixels_error(what, self.data.spec.name, instead)

    def _refuse_other_dataset(self) -> None:
        """A run is about one data set: another name, file or size is a slip, or belongs in another run."""
        identity, table = self.identity, absolute(self.settings.dataset)
        for key in DatasetTable.model_fields:
            value, current = getattr(table, key), getattr(identity.table, key)
            if f"dataset.{key}" not in self.origins or value == current:
                continue
            if key == "groups":
                raise self._fixed_groups_error(identity, value)
            if key == "name" and identity.source and str(Path(value).resolve()) == identity.source:
                continue
            raise UserError(
                f"The run {self.run.path} is about dataset.{key} = {current!r}, not {value!r}.",
                "Name another run with --run DIR.",
                value,
            )

    def _fixed_groups_error(self, identity: Identity, groups: str) -> UserError:
        """Return the error for groups in a run that has others or none, with the command for a new run."""
        defaults = DatasetTable()
        how = f"by the groups {identity.table.groups}" if identity.table.groups else "without groups"
        words = ["initpools", "embed", "--run", f"{self.run.path}-groups", "--dataset", identity.table.name]
        for key in DatasetTable.model_fields:
            value = getattr(identity.table, key)
            if key not in ("name", "groups") and value != getattr(defaults, key):
                words += ["--set", f"dataset.{key}={json.dumps(value) if isinstance(value, list) else value}"]
        words += ["--seed", str(identity.seed)] if identity.seed else []
        return UserError(
            f"The split of the run {self.run.path} is fixed ({how}), so --groups {groups} has no effect.",
            f"Start a new run: `{shlex.join([*words, '--groups', groups])}`.",
            groups,
        )

    def _require_source(self, identity: Identity) -> None:
        from initpools_cli.datasets.embeddings import is_embeddings
        from initpools_cli.datasets.stored.find import exists

        # Items of embeddings are in the run; steps that read the file say so themselves.
        if identity.source and not is_embeddings(identity.source) and not exists(Path(identity.source)):
            raise UserError(
                f"The data set of the run {self.run.path} is no longer at {identity.source}.",
                f"Put it back, or name where it is now: `{self.run.repair} --dataset PATH`.",
                identity.source,
            )

    def items_checksum(self) -> dict[str, str]:
        """The checksum of ``data/items.csv``, for the steps that read the data set."""
        return {ITEMS: self.items_sum}

    @cached_property
    def items_sum(self) -> str:
        """SHA-256 of ``data/items.csv`` as it was read for `data`, or as it will be written."""
        self.data  # noqa: B018 -- sets it, and appends images that are new in the folder
        return str(self.__dict__["items_sum"])

    def facts(self) -> dict[str, Any]:
        """What ``step.toml`` says of the machine; torch is not loaded for a step that did without."""
        if "machine" in self.__dict__:
            return self.machine.facts
        return {"device": "cpu", "threads": thread_count(self.settings.run.threads)}

    def command_for(self, *words: str) -> str:
        """A command that the user could type to make a step of this run."""
        seed = ["--seed", str(self.seed)] if "run.seed" in self.origins else []
        begins = [] if self.run.exists else ["--dataset", self.settings.dataset.name]
        return shlex.join(["initpools", *words, "--run", str(self.run.path), *begins, *seed])

    def for_needed_step(self, *words: str) -> Context:
        """The same context for a step that another one needs: with its own command, and not forced."""
        other = Context(self.run, self.settings, self.origins, self.report, False, self.command_for(*words))
        self.share(other)
        return other

    def share(self, other: Context) -> None:
        """Copy what this context has opened to another one."""
        for name in ("data", "items_sum", "machine", "seed", "identity"):
            if name in self.__dict__:
                other.__dict__[name] = self.__dict__[name]
        other.loop_embeddings = self.loop_embeddings

    def knob_origins(self, knobs: Iterable[str], *tables: str) -> dict[str, str]:
        """Where each knob was set, for errors; see `core.settings.knob_origins`."""
        return knob_origins(self.origins, knobs, *tables)

    def clusters(self, n_clusters: int) -> int:
        """The number of clusters: `n_clusters` if it is not 0, else that of the classes, else the default."""
        return n_clusters or len(self.data.classes) or DEFAULT_CLUSTERS

    def labeled_only(self, what: str) -> np.ndarray:
        """Mask of the images to choose from that have a label, (n,) bool; prints how many have none.

        Parameters
        ----------
        what : str
            What leaves them out, as the subject of a sentence.
        """
        import numpy as np

        mask, has_label = self.data.kept, np.zeros(len(self.data.kept), dtype=bool)
        has_label[self.data.splits["train"].labeled] = True
        n_out = int((mask & ~has_label).sum())
        if n_out:
            self.report.once(f"{what} leaves out the {n_out} of {int(mask.sum())} images that have no label.")
        return mask & has_label

    def require_one_class(self, what: str) -> None:
        """Refuse to go on with several labels per image.

        Parameters
        ----------
        what : str
            What needs one class per image, as the subject of a sentence.

        Raises
        ------
        UserError
            The data set has several labels per image.
        """
        if self.data.multilabel:
            raise one_class_error(what)

    def require_labels(self, what: str) -> None:
        """Refuse to go on without labels.

        Raises
        ------
        UserError
            The data set has no labels.
        """
        if self.data.splits["train"].labels is None:
            name, remedy = self.data.spec.name, "Add train_labels to the file, and work in a new run (--run DIR)."
            if isinstance(self.data.root, Path):
                remedy = (
                    "Bring them with a new run (--run DIR): --set dataset.labels=FILE.csv (columns path,label), or "
                    "--set dataset.labels=folders where each sub-folder is a class."
                )
            elif self.data.root is not None:
                remedy = "Bring them with a new run (--run DIR): --set dataset.labels=FILE.csv (columns path,label)."
            elif not self.data.has_images:
                remedy = (
                    f"Bring them with a new run: --run DIR --dataset {name} --set dataset.labels=FILE.csv (columns "
                    "index or id, and label)."
                )
            raise UserError(f"{what} needs labels, and {name} has none.", remedy, name)


def gpu(device: str) -> str | None:
    """The GPU for blocked products, if ``run.device`` names one.

    For "auto" they stay on the processor: torch is not loaded only to look for a GPU.

    Raises
    ------
    UserError
        A device that this machine or this build of torch does not have.
    """
    if device in ("auto", "cpu"):
        return None
    from initpools_cli.training.device import resolve_device

    # What Metal rounds to is not documented, and the bounds on rounding have to hold.
    return "cuda" if resolve_device(device) == "cuda" else None


@contextmanager
def at_work(table: RunTable) -> Iterator[None]:
    """Compute without a run as its steps would: with the same threads, and on the same GPU."""
    import numpy  # noqa: F401 -- only libraries that are loaded can be limited
    from threadpoolctl import threadpool_limits

    with threadpool_limits(thread_count(table.threads) if table.threads else None), on_device(gpu(table.device)):
        yield
