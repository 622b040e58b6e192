"""What a labeling round computes with: labels, data and settings, resolved once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from initpools_cli.core.config import AlTable
from initpools_cli.core.errors import UserError
from initpools_cli.datasets.multilabel import one_class_error, require_classes
from initpools_cli.labeling.label_history import LabelHistory, labeled_so_far
from initpools_cli.labeling.loop_embeddings import of_loop, report_change
from initpools_cli.labeling.stopping import refuse_without_audit
from initpools_cli.steps.context import Context
from initpools_cli.steps.run_provider import RunProvider
from initpools_cli.steps.strategy_name import StrategySpec
from initpools_cli.steps.user_files import UserFiles
from initpools_cli.strategies.arrays import MODEL_OUTPUTS
from initpools_cli.sweeps.al_settings import SWEEP_ONLY, refuse_settings
from initpools_cli.sweeps.setup import build_experiment, build_settings
from initpools_cli.sweeps.spec import ExperimentSpec, build_spec

if TYPE_CHECKING:
    from initpools_cli.core.registry import Method
    from initpools_cli.training.active_learning import Cell
    from initpools_cli.training.experiment import Experiment, ExperimentData, ExperimentSettings
    from initpools_cli.training.learners.registry import Classifier, LearnerTraits


@dataclass(frozen=True)
class RoundInputs:
    """What a labeling round computes with.

    Attributes
    ----------
    context : Context
    labeled : LabelHistory
    spec : ExperimentSpec
        Its query and its learner.
    data : ExperimentData
    settings : ExperimentSettings
    reads : dict of str to str
        SHA-256 by path, for ``step.toml``.
    """

    context: Context
    labeled: LabelHistory
    spec: ExperimentSpec
    data: ExperimentData
    settings: ExperimentSettings
    reads: dict[str, str]

    @property
    def query(self) -> StrategySpec:
        """The strategy that selects the next batch."""
        return self.spec.queries[0]

    @property
    def learner(self) -> Method[LearnerTraits]:
        """The classifier that is trained on the labels."""
        from initpools_cli.training.learners.registry import learners

        return learners.get(next(iter(self.spec.learners)))

    @property
    def experiment(self) -> Experiment:
        """The data and settings, on the device of the run."""
        from initpools_cli.training.experiment import Experiment

        return Experiment(self.data, self.settings, self.context.machine.device)

    def images(self, split: str) -> np.ndarray:
        """Return what the learner reads of the images of a split: embeddings or pixels."""
        from initpools_cli.training.active_learning import inputs_of

        return inputs_of(self.learner, self.data)[split]

    def cell(self, labeled: np.ndarray, candidates: np.ndarray | None = None) -> Cell:
        """Make a cell with these images labeled; `candidates` are those that may be labeled, by default all."""
        from initpools_cli.training.active_learning import Cell
        from initpools_cli.training.label_access import LabelAccess

        access = LabelAccess(self.data.labels)
        access.buy(labeled)
        candidates = np.flatnonzero(self.data.kept) if candidates is None else candidates
        return Cell(0, self.context.seed, candidates, labeled, access)

    def fit(self, labeled: np.ndarray, seed: int) -> Classifier:
        """Fit the learner on these labeled images."""
        from initpools_cli.training.active_learning import fit

        return fit(self.learner, self.cell(labeled), seed, self.experiment)


def refuse_round_settings(context: Context) -> None:
    """Refuse settings of [al] that are only for sweeps or for one class per image, and several queries or learners."""
    table = context.settings.al
    remedy = "leave out --labels to run a sweep"
    refuse_settings(context, SWEEP_ONLY, "with --labels: it is for sweeps", remedy)
    _only(table.query, "--query")
    _only(table.learner, "--learner")
    if table.validation == "free-val":
        raise UserError(
            "validation = free-val is not available with --labels.",
            "Use --set al.validation=none or --set al.validation=from-budget.",
            "free-val",
        )
    if context.data.multilabel:
        _refuse_settings_of_one_class(table)


def _refuse_settings_of_one_class(table: AlTable) -> None:
    """Refuse settings of a round that need one class per image.

    Raises
    ------
    UserError
        An audit sample, or an accuracy to stop at.
    """
    for flag, value in (("--audit", table.audit), ("--stop-at", table.stop_at)):
        if value:
            raise one_class_error(flag, f"Leave out {flag}.")
    if table.target != AlTable.model_fields["target"].default:
        raise one_class_error("--target", "Leave out --target.")


def resolve_round(
    context: Context, files: Sequence[Path], classes: tuple[str, ...], exclude: UserFiles | None, *, ask: bool
) -> RoundInputs:
    """Resolve the inputs of a round; see `label_round`.

    Raises
    ------
    UserError
        If there is no label, or a query needs a model and there is only one class.
    """
    table, data = context.settings.al, context.data
    context.loop_embeddings = of_loop
    labeled = labeled_so_far(context, files, classes, table.annotators)
    provider = RunProvider(context, exclude, _only(table.encoders, "--from"))
    if provider.files.exclude is not None:
        labeled = replace(labeled, excluded=np.flatnonzero(~provider.image_mask))
        if not len(labeled.rows):
            raise UserError(
                f"{provider.files.exclude} (--exclude): all {len(labeled.table)} labeled images are excluded.",
                "Leave some of them out of that file.",
                len(labeled.table),
            )
    spec = build_spec(context, multilabel=data.multilabel)
    require_classes(labeled.classes, f"{' and '.join(map(str, files))} (--labels)")
    if ask:
        _refuse_oracle(spec)
        _refuse_single_class(spec, labeled)
        refuse_without_audit(table, labeled)
    labeled_codes = labeled.codes
    codes = np.full((len(data.kept), *labeled_codes.shape[1:]), -1, dtype=labeled_codes.dtype)
    codes[labeled.rows] = labeled_codes
    experiment_data, reads = build_experiment(provider, spec, {"train": codes}, len(labeled.classes), data.kept)
    if provider.source:
        report_change(context, experiment_data.encoder)
    settings = build_settings(context, spec, init_budget=0, rounds=1, candidates=1.0)
    return RoundInputs(context, labeled, spec, experiment_data, settings, reads)


def _only(names: list[str], flag: str) -> str:
    """Return the only name, "" without any; refuse several."""
    if len(names) > 1:
        raise UserError(
            f"{flag} has {len(names)} names ({', '.join(names)}), but a labeling round uses one.",
            f"Use one: {flag} {names[0]}.",
            ", ".join(names),
        )
    return names[0] if names else ""


def _refuse_oracle(spec: ExperimentSpec) -> None:
    query = spec.queries[0]
    if query.oracle:
        raise UserError(
            f"The query {query.name} is an oracle: it reads the labels of images that nobody has labeled yet.",
            "Use another one, such as --query margin; `initpools list strategies` marks oracles.",
            query.name,
        )


def _refuse_single_class(spec: ExperimentSpec, labeled: LabelHistory) -> None:
    query = spec.queries[0]
    if len(labeled.classes) < 2 and not labeled.annotations.multilabel and {*query.method.inputs} & MODEL_OUTPUTS:
        raise UserError(
            f"The query {query.name} needs a trained model, but all {len(labeled.rows)} labels are of the class "
            f"'{labeled.classes[0]}'.",
            "Use a query without a model (--query typiclust), or name all classes: --classes A,B.",
            query.name,
        )
