"""The configuration tables: flags over ``--set`` over ``--config FILE`` over defaults."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from initpools_cli.core.bounds import Count, OptionalPasses, Passes, PositiveCount, Several
from initpools_cli.core.errors import UserError, nearest
from initpools_cli.core.files import read_file
from initpools_cli.core.registry import value_error
from initpools_cli.core.schema import ADDED, is_added
from initpools_cli.core.toml import parse_toml

#: How many clusters are looked for where nobody says, and the number of classes is not known.
DEFAULT_CLUSTERS = 20
#: The largest side of the images that training sees, pixels: one in color takes 50 MB.
LARGEST_SIZE = 4096
#: The largest configuration file that is read, bytes.
LARGEST_CONFIG = 1 << 20

Params = dict[str, Any]
Names = list[str]


class Table(BaseModel):
    """One ``[table]``; unknown keys and wrong types are refused."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    def identity(self) -> dict[str, Any]:
        """All settings, without those that schema 1 did not have and that are at their defaults."""
        fields = type(self).model_fields
        return {
            key: value
            for key, value in self.model_dump().items()
            if not (is_added(fields[key]) and value == fields[key].default)
        }


def scale_range(text: str) -> tuple[float, float]:
    """The two numbers of a ``lo,hi``; ValueError where it is none."""
    low, high = (float(end) for end in text.split(","))
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ValueError(text)
    return low, high


def _scale(text: Any) -> Any:
    try:
        if text not in ("auto", "full"):
            scale_range(str(text))
    except ValueError:
        raise ValueError("should be auto, full, or two numbers lo,hi with lo < hi") from None
    return text


class RunTable(Table):
    """What holds for every step of a command."""

    seed: Annotated[int, Field(ge=0, lt=2**63, description="the root seed: everything random follows from it")] = 0
    device: Annotated[
        Literal["auto", "cpu", "cuda", "mps"],
        Field(description="auto: a GPU where there is one; distances take it only where it is named"),
    ] = "auto"
    threads: Annotated[
        int, Field(ge=0, le=4096, description="processor threads, up to 8 for each core; 0: all cores")
    ] = 0
    precision: Annotated[
        Literal["auto", "fp32", "bf16"],
        Field(
            description="of the forward pass in pretraining; auto: bf16 where the processor has instructions for it. "
            "Backbones from elsewhere run in bf16 only where it says so"
        ),
    ] = "auto"


class DatasetTable(Table):
    """The data set's identity; fixed by the run's first command."""

    name: Annotated[str, Field(description="a name from `initpools list datasets`, an .npz file, or a folder")] = (
        "digits"
    )
    size: Annotated[int, Field(ge=0, le=LARGEST_SIZE, description="pixels; 0: native for arrays, 64 for folders")] = 0
    test: Annotated[float, Field(gt=0, lt=1, description="share held out where there is no test split")] = 0.2
    imbalance: Annotated[Literal["none", "exp", "step"], Field(description="kind of long tail")] = "none"
    ratio: Annotated[float, Field(gt=0, le=1, description="smallest class over largest, in a long tail")] = 0.01
    labels: Annotated[str, Field(description="of a folder: auto, none, folders, or a CSV file")] = "auto"
    scale: Annotated[
        str,
        BeforeValidator(_scale),
        Field(
            description="values that become 0 and 255 where pixels are not stored as 8 bits: auto, full, or lo,hi; "
            "see [data-sets.md](data-sets.md)",
            json_schema_extra=ADDED,
        ),
    ] = "auto"
    classes: Annotated[
        Names,
        Field(
            description="of a folder or an .npz file: the only classes there can be, in order; none named: those that "
            "occur",
            json_schema_extra=ADDED,
        ),
    ] = []


class PretrainTable(Table):
    """Self-supervised training."""

    method: Annotated[str, Field(description="`initpools list pretexts` names them")] = "simclr"
    epochs: Annotated[OptionalPasses, Field(description="passes over the images; 0: the method's own")] = 0
    batch: Annotated[
        Count,
        Field(description="images per step, over all processes; 0: the method's own, or all if fewer"),
    ] = 0
    network: Annotated[str, Field(description="`initpools list networks` names them; auto: the method's own")] = "auto"
    width: Annotated[float, Field(gt=0, le=16, description="factor on the channels of the network")] = 1.0
    augment: Annotated[str, Field(description="the recipe; auto: the method's own")] = "auto"
    source: Annotated[
        str, Field(description="the pretrain that a task on top of another starts from; empty: the newest")
    ] = ""
    params: Params = {}


class EmbedTable(Table):
    """Features of every image."""

    source: Annotated[
        str, Field(description="a pretrain of the run, pixels, pca, or a backbone; empty: the newest pretrain")
    ] = ""
    layer: Annotated[Literal["backbone", "projector"], Field(description="which features to write")] = "backbone"
    pooling: Annotated[
        Literal["auto", "cls", "mean", "max", "cls+mean"],
        Field(
            description="of a backbone from elsewhere, over the positions of its last layer; auto: its own way; "
            "cls: the class token"
        ),
    ] = "auto"
    size: Annotated[
        int, Field(ge=0, le=LARGEST_SIZE, description="pixels that such a backbone is shown; 0: as it was published")
    ] = 0
    patches: Annotated[
        bool, Field(description="write such a backbone's features of every place in an image instead, for `freesel`")
    ] = False


class ScoreTable(Table):
    """One number per image."""

    method: Annotated[str, Field(description="`initpools list scores` names them")] = ""
    views: Annotated[Passes, Field(description="random views averaged")] = 10
    reference: Annotated[int, Field(ge=2, le=1_000_000, description="images that contrastive scores compare with")] = (
        512
    )
    epochs: Annotated[Passes, Field(description="of the labeled training that oracle scores are made of")] = 20
    runs: Annotated[Passes, Field(description="labeled trainings that oracle scores are averaged over")] = 1
    params: Params = {}


class SelectTable(Table):
    """The pool to label first."""

    strategy: Annotated[str, Field(description="`initpools list strategies` names them")] = ""
    budget: Annotated[PositiveCount, Field(description="images to choose; must be given, 0 stands for none given")] = 0
    balance: Annotated[
        Literal["none", "kmeans", "clusters"],
        Field(
            description="spread the picks of names without a suffix such as `@kmeans` over k-means clusters of the "
            "embeddings, or over given clusters; not in `al-run`"
        ),
    ] = "none"
    n_clusters: Annotated[
        Count, Field(description="of `@kmeans` and balance; 0: the number of classes if known, else 20")
    ] = 0
    order: Annotated[Literal["highest", "lowest"], Field(description="which end of a score comes first")] = "highest"
    normalize: Annotated[bool, Field(description="scale embeddings to length 1 before distances are taken")] = True
    sample: Annotated[
        Count, Field(description="choose among so many images, drawn at random, where all take too long; 0: all")
    ] = 0
    copies: Annotated[
        Literal["last", "any"],
        Field(
            description="of images with exactly equal embeddings, of which one may be labeled, take all but the first "
            "after every other image (last), or like other images (any)",
            json_schema_extra=ADDED,
        ),
    ] = "last"
    min_distance: Annotated[
        float,
        Field(
            ge=0,
            lt=1e30,
            allow_inf_nan=False,
            description="skip images closer than this to a pick or a labeled image, in the space that the strategy "
            "sees; 0: none",
            json_schema_extra=ADDED,
        ),
    ] = 0.0
    params: Params = {}


class AlTable(Table):
    """Active learning from several first pools, with several queries, over seeds."""

    init: Annotated[Names, Field(min_length=1, description="strategies of the first pool")] = ["random"]
    query: Annotated[Names, Field(min_length=1, description="strategies of the later rounds")] = ["random"]
    learner: Annotated[Names, Field(min_length=1, description="`initpools list learners` names them")] = ["linear"]
    budget: Annotated[PositiveCount, Field(description="labels bought in each round")] = 10
    init_budget: Annotated[Count, Field(description="labels of the first pool; 0: the same as budget")] = 0
    rounds: Annotated[OptionalPasses, Field(description="query rounds after the first pool")] = 5
    seeds: Annotated[Passes, Field(description="how often everything is repeated")] = 10
    candidates: Annotated[
        float, Field(gt=0, le=1, description="share of the train images that may be labeled, drawn anew for each seed")
    ] = 0.9
    validation: Annotated[
        Literal["none", "from-budget", "free-val"],
        Field(description="where validation labels come from; see [honest.md](honest.md)"),
    ] = "none"
    encoders: Annotated[
        Names, Field(description="whose embeddings, each compared for itself; none named: the newest")
    ] = []
    space: Annotated[
        Literal["embeddings", "learner"],
        Field(description="where queries on distances measure: embeddings, or the learner's penultimate features"),
    ] = "embeddings"
    scale: Annotated[
        Literal["auto", "common", "each"],
        Field(
            description="how embeddings are scaled for learners: all dimensions by one common number, or each by its "
            "own deviation; auto: common for pixels and pca, else each",
            json_schema_extra=ADDED,
        ),
    ] = "auto"
    views: Annotated[Several, Field(description="random views for queries that compare them")] = 10
    passes: Annotated[Several, Field(description="passes with dropout for queries that compare them")] = 25
    members: Annotated[Several, Field(description="models of an ensemble for queries that compare them")] = 3
    strict: Annotated[bool, Field(description="end the sweep where a label is read that was not bought")] = False
    backend: Annotated[
        Literal["processes", "dask", "ray"],
        Field(description="who does the work; see [scale-out.md](scale-out.md)"),
    ] = "processes"
    params: Params = {}


class RankTable(Table):
    """All images in the order a strategy would take them."""

    strategy: Annotated[str, Field(description="`initpools list strategies` names them")] = ""
    reference: Annotated[
        str,
        Field(description="what the classifier is trained on: auto, val, test, labeled, or a CSV file of annotations"),
    ] = "auto"
    depth: Annotated[
        Count,
        Field(
            description="images that the strategy itself orders, the rest follow by its score, then index; 0: every "
            "one, or 1,000 where a larger choice does not begin with a smaller one",
        ),
    ] = 0
    views: Annotated[Several, Field(description="random views for strategies that compare them")] = 20
    passes: Annotated[Several, Field(description="passes with dropout for strategies that compare them")] = 25
    members: Annotated[Several, Field(description="classifiers for strategies that compare them")] = 3
    params: Params = {}


class PlotTable(Table):
    """A figure."""

    kind: Annotated[str, Field(description="`initpools list plots` names them")] = ""
    theme: Annotated[
        Literal["auto", "light", "dark"], Field(description="colors the page opens in; auto: the system's")
    ] = "auto"
    params: Params = {}


class Settings(Table):
    """All tables together."""

    run: RunTable = RunTable()
    dataset: DatasetTable = DatasetTable()
    pretrain: PretrainTable = PretrainTable()
    embed: EmbedTable = EmbedTable()
    score: ScoreTable = ScoreTable()
    select: SelectTable = SelectTable()
    al: AlTable = AlTable()
    rank: RankTable = RankTable()
    plot: PlotTable = PlotTable()


# Pydantic says of a field's annotation that it may be of any kind or missing; every field here is a table.
TABLES: Mapping[str, type[Table]] = {name: field.annotation for name, field in Settings.model_fields.items()}  # type: ignore[misc]


def load_settings(
    table: str,
    *,
    file: Path | None = None,
    sets: Sequence[str] = (),
    flags: Mapping[str, Any] | None = None,
    knobs: Collection[str] = (),
) -> tuple[Settings, dict[str, str]]:
    """Resolve the settings of one command.

    Parameters
    ----------
    table : str
        The command's own table: where a ``--set`` key without a dot belongs.
    file : Path, optional
        The ``--config`` file.
    sets : sequence of str
        ``key=value`` as typed; the value is parsed as TOML, else taken as a string.
    flags : mapping of dotted key to value
        What flags set; None values were not given.
    knobs : collection of str
        The knobs of the method on the line: they come before the table's own keys.

    Returns
    -------
    settings : Settings
    given : dict of str to str
        The dotted keys that the user set, and where.

    Raises
    ------
    UserError
        Unknown table or key, wrong type, value out of range, unreadable file.
    """
    merged: dict[str, dict[str, Any]] = {}
    origin: dict[str, str] = {}

    def put(dotted: str, value: Any, where: str) -> None:
        if isinstance(value, str) and "\0" in value:
            raise UserError(f"{dotted} (in {where}) holds a NUL character.", f"Set {dotted} to text without it.")
        head, _, key = dotted.partition(".")
        target = merged.setdefault(head, {})
        if key.startswith("params."):
            target = target.setdefault("params", {})
            if not isinstance(target, dict):
                raise UserError(f"'{head}.params' is not a table (in {where}).", f"Write [{head}.params] in TOML.")
        *inner, last = key.removeprefix("params.").split(".") if key.startswith("params.") else [key]
        for part in inner:
            target = target.setdefault(part, {})
            if not isinstance(target, dict):
                raise UserError(f"'{head}.params.{part}' is a value, not a table (in {where}).", "Set one of both.")
        target[last] = value
        origin[dotted] = where

    if file is not None:
        for dotted, value in _flatten(_read_toml(file), str(file)):
            put(dotted, value, str(file))
    for text in sets:
        key, value = parse_set(text)
        put(_home_of(key, table, knobs), value, "--set")
    for dotted, value in (flags or {}).items():
        if value is not None:
            put(dotted, value, f"--{dotted.rpartition('.')[2].replace('_', '-')}")
    for dotted, where in origin.items():
        _refuse_unknown(dotted, where)
    try:
        return Settings.model_validate(merged), origin
    except ValidationError as error:
        loc = ".".join(str(part) for part in error.errors()[0]["loc"][:2])
        raise value_error(error, merged, where=origin.get(loc, "")) from None


def knob_origins(given: Mapping[str, str], knobs: Iterable[str], *tables: str) -> dict[str, str]:
    """Where each knob was set: a flag, ``--set`` or a file.

    Parameters
    ----------
    given : mapping of str to str
        As `load_settings` returns it.
    knobs : iterable of str
        Their names.
    *tables : str
        The dotted tables that may hold them, the most specific first, e.g. "al.params.typiclust".

    Returns
    -------
    dict of str to str
        Without the knobs that nobody set.
    """
    places = {knob: [given.get(key) for table in tables for key in (f"{table}.{knob}", table)] for knob in knobs}
    return {knob: found for knob, each in places.items() if (found := next(filter(None, each), None))}


#: Settings of [select] that hold wherever a strategy runs.
WITH_EVERY_STRATEGY = {"balance", "n_clusters", "order", "normalize", "sample", "copies", "min_distance"}
#: Which of them a table's own command goes by, too: a ranking and a query normalize just as a first pool does, and
#: scores are made of embeddings as strategies get them. [al] takes balance in order to refuse it with what to type.
SHARED: Mapping[str, set[str]] = {"rank": WITH_EVERY_STRATEGY, "al": WITH_EVERY_STRATEGY, "score": {"normalize"}}


def parse_set(text: str) -> tuple[str, Any]:
    """``"delta=0.6"`` as ``("delta", 0.6)``; a value that is not TOML is a string."""
    key, equals, raw = text.partition("=")
    if not equals or not key.strip():
        raise UserError(f"--set {text!r} has no key=value form.", "Write for example --set pretrain.epochs=20.")
    try:
        value = parse_toml(f"value = {raw.strip()}")["value"]
    except ValueError:
        value = raw.strip()
    return key.strip(), value


def _home_of(key: str, table: str, knobs: Collection[str]) -> str:
    if "." in key:
        return key
    if key in knobs:
        return f"{table}.params.{key}"
    own = set(TABLES[table].model_fields) - {"params"}
    if key in own:
        return f"{table}.{key}"
    shared = SHARED.get(table, set())
    if key in shared:
        return f"select.{key}"
    own |= shared
    guess = nearest(key, [*knobs, *own])
    hint = f"Did you mean '{guess}'? " if guess else ""
    raise UserError(
        f"There is no setting '{key}' (in --set).", f"{hint}Here it can be: {', '.join(sorted({*knobs, *own}))}."
    )


def _read_toml(file: Path) -> dict[str, Any]:
    content = read_file(file, "--config", most=LARGEST_CONFIG)
    try:
        return parse_toml(content.decode())
    except ValueError as error:
        raise UserError(f"{file} is not valid TOML: {error}.", "Correct that line and run again.") from None


def _flatten(tables: Mapping[str, Any], where: str) -> list[tuple[str, Any]]:
    flat: list[tuple[str, Any]] = []
    for name, content in tables.items():
        if not isinstance(content, dict):
            raise UserError(f"'{name}' (in {where}) stands outside any table.", f"Put it under one of: {_names()}.")
        for key, value in content.items():
            if key == "params" and isinstance(value, dict):
                flat += [(f"{name}.params.{knob}", setting) for knob, setting in value.items()]
            else:
                flat.append((f"{name}.{key}", value))
    return flat


def _names() -> str:
    return ", ".join(f"[{name}]" for name in TABLES)


def _refuse_unknown(dotted: str, where: str) -> None:
    head, _, key = dotted.partition(".")
    if head not in TABLES:
        guess = nearest(head, TABLES)
        hint = f"Did you mean [{guess}]? " if guess else ""
        raise UserError(f"There is no table [{head}] (in {where}).", f"{hint}The tables are {_names()}.")
    fields = TABLES[head].model_fields
    name = key.partition(".")[0]
    if name not in fields:
        guess = nearest(name, fields)
        hint = f"Did you mean '{head}.{guess}'? " if guess else ""
        valid = ", ".join(field for field in fields)
        raise UserError(f"There is no setting '{dotted}' (in {where}).", f"{hint}[{head}] has: {valid}.")
