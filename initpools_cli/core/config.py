"""Configuration tables: the settings of every command, with their types, bounds and defaults."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WrapValidator

from initpools_cli.core.audit_size import audit_setting
from initpools_cli.core.bounds import Count, OptionalPasses, Passes, PositiveCount, Several
from initpools_cli.core.budget import budget_setting
from initpools_cli.core.schema import ADDED, is_added

#: The default number of clusters if the number of classes is not known.
DEFAULT_CLUSTERS = 20
#: Lists of an inverted file that are searched for each image, if nothing else is set.
PROBES = 16
#: The largest side of a training image, pixels: one color image takes 50 MB.
LARGEST_SIZE = 4096
Params = dict[str, Any]
Names = list[str]
#: Images of a batch that are drawn at random, beyond the budget.
Audit = Annotated[
    str,
    BeforeValidator(audit_setting),
    Field(
        description="images drawn at random from all without a label, in addition to the budget and mixed into the "
        "batch: a number, or a share of the budget such as 10% (rounded, at least 1); empty: none",
        json_schema_extra=ADDED,
    ),
]


def depth_setting(value: Any, check: Callable[[Any], int | str]) -> int | str:
    """Validate the depth of a ranking, as typed or as in a file; raises ValueError with what it should be."""
    try:
        return check(int(value) if isinstance(value, str) and value != "all" else value)
    except ValueError:
        raise ValueError("should be a number of images, such as 1000, or all") from None


class Table(BaseModel):
    """Base class of the configuration tables; unknown keys and wrong types are errors."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    def identity(self) -> dict[str, Any]:
        """Return the settings that identify a step: without those added after schema 1 that have their defaults."""
        fields = type(self).model_fields
        return {
            key: value
            for key, value in self.model_dump().items()
            if not (is_added(fields[key]) and value == fields[key].default)
        }


def scale_range(text: str) -> tuple[float, float]:
    """Parse ``lo,hi`` to two numbers; raises ValueError if it is invalid."""
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
    """Settings of every command."""

    seed: Annotated[int, Field(ge=0, lt=2**63, description="root seed of all random numbers")] = 0
    device: Annotated[
        Literal["auto", "cpu", "cuda", "mps"],
        Field(description="auto: a GPU if there is one; distances are computed on a GPU only with cuda"),
    ] = "auto"
    threads: Annotated[
        int, Field(ge=0, le=4096, description="processor threads, at most 8 for each core; 0: one for each core")
    ] = 0
    precision: Annotated[
        Literal["auto", "fp32", "bf16"],
        Field(
            description="precision of the forward pass in pretraining; auto: bf16 if the processor has instructions "
            "for it. Published backbones use bf16 only if it is set"
        ),
    ] = "auto"


class DatasetTable(Table):
    """The data set; set by the first command of a run."""

    name: Annotated[
        str,
        Field(
            description="a name from `initpools list datasets`, a folder of images, .parquet, .tar or .csv files, an "
            ".npz file, or a file of embeddings; see [data-sets.md](data-sets.md)"
        ),
    ] = "digits"
    size: Annotated[
        int,
        Field(ge=0, le=LARGEST_SIZE, description="side of the images, pixels; 0: native for arrays, 64 for folders"),
    ] = 0
    test: Annotated[float, Field(gt=0, lt=1, description="share held out as test split if there is none")] = 0.2
    imbalance: Annotated[Literal["none", "exp", "step"], Field(description="kind of long tail")] = "none"
    ratio: Annotated[
        float,
        Field(gt=0, le=1, description="of a long tail: size of the smallest class divided by that of the largest"),
    ] = 0.01
    labels: Annotated[
        str,
        Field(description="labels of files: auto, none, folders, or a CSV file; of embeddings: a file of labels"),
    ] = "auto"
    label_column: Annotated[
        str,
        Field(
            description="the column of labels of .parquet files; empty: the only one there is", json_schema_extra=ADDED
        ),
    ] = ""
    scale: Annotated[
        str,
        BeforeValidator(_scale),
        Field(
            description="values that become 0 and 255 if pixels are not stored as 8 bits: auto, full, or lo,hi; "
            "see [data-sets.md](data-sets.md)",
            json_schema_extra=ADDED,
        ),
    ] = "auto"
    classes: Annotated[
        Names,
        Field(
            description="all classes of a folder or an .npz file, in order; empty: the classes that occur",
            json_schema_extra=ADDED,
        ),
    ] = []
    ids: Annotated[
        str, Field(description="the ids of embeddings: a file with one per row", json_schema_extra=ADDED)
    ] = ""
    id_column: Annotated[
        str,
        Field(
            description="the column or array of ids in a file of embeddings; empty: the one with a usual name; none: "
            "no ids; see [embeddings.md](embeddings.md#formats)",
            json_schema_extra=ADDED,
        ),
    ] = ""
    groups: Annotated[
        str,
        Field(
            description="images that belong together, such as those of one patient: a .csv file with `path` or "
            "`index`, and `group`; or a regular expression with one group in parentheses, for paths; empty: those "
            "that the data set has; none: no groups",
            json_schema_extra=ADDED,
        ),
    ] = ""
    shared_groups: Annotated[
        Literal["refuse", "allow"],
        Field(description="whether splits that the data set comes with may share groups", json_schema_extra=ADDED),
    ] = "refuse"
    multilabel: Annotated[
        bool,
        Field(
            description="whether images can have several labels, such as `cat|dog`; recognized without this setting "
            "if an .npz file has a column of 0 and 1 per class, or a table has a column `labels`",
            json_schema_extra=ADDED,
        ),
    ] = False


class PretrainTable(Table):
    """Self-supervised pretraining."""

    method: Annotated[str, Field(description="pretext task, see `initpools list pretexts`")] = "simclr"
    epochs: Annotated[OptionalPasses, Field(description="passes over the images; 0: the method's default")] = 0
    batch: Annotated[
        Count,
        Field(description="images per step, over all processes; 0: the method's default, or all if fewer"),
    ] = 0
    network: Annotated[str, Field(description="see `initpools list networks`; auto: the method's default")] = "auto"
    width: Annotated[float, Field(gt=0, le=16, description="factor on the number of channels of the network")] = 1.0
    augment: Annotated[str, Field(description="augmentation recipe; auto: the method's default")] = "auto"
    source: Annotated[
        str, Field(description="the pretrained encoder to start from, for tasks that need one; empty: the newest")
    ] = ""
    params: Params = {}


class EmbedTable(Table):
    """Embeddings of all images."""

    source: Annotated[
        str,
        Field(
            description="a pretrained encoder of the run, pixels, pca, or a backbone; empty: the newest encoder, else "
            "`efficientnet-lite0`"
        ),
    ] = ""
    layer: Annotated[Literal["backbone", "projector"], Field(description="which features to write")] = "backbone"
    pooling: Annotated[
        Literal["auto", "cls", "mean", "max", "cls+mean"],
        Field(
            description="pooling of a published backbone over the positions of its last layer; auto: the network's "
            "own; cls: the class token"
        ),
    ] = "auto"
    size: Annotated[
        int,
        Field(
            ge=0,
            le=LARGEST_SIZE,
            description="input size of a published backbone, pixels; 0: the size it was published for",
        ),
    ] = 0
    patches: Annotated[
        bool, Field(description="write a published backbone's features of every patch instead, for `freesel`")
    ] = False
    attention: Annotated[
        float,
        Field(
            gt=0,
            le=1,
            description="with patches of a vision transformer: keep the smallest set that has this share of the class "
            "token's attention, and write zeros for the others; the paper of `freesel` has 0.5; 1: keep all",
            json_schema_extra=ADDED,
        ),
    ] = 1.0
    download: Annotated[
        bool,
        Field(
            description="download the weights of a published backbone that are not on this machine; also "
            "`INITPOOLS_DOWNLOAD=1`",
            json_schema_extra=ADDED,
        ),
    ] = False
    shards: Annotated[
        int,
        Field(
            ge=0,
            le=99_999,
            description="also write the embeddings of each split as this many .safetensors files, with ids and a "
            "checksum of the encoder, in `shards/` of the run; 0: none",
            json_schema_extra=ADDED,
        ),
    ] = 0


class ScoreTable(Table):
    """Scores: one number per image."""

    method: Annotated[str, Field(description="see `initpools list scores`")] = ""
    views: Annotated[Passes, Field(description="random views to average over")] = 10
    reference: Annotated[int, Field(ge=2, le=1_000_000, description="reference images of contrastive scores")] = 512
    epochs: Annotated[Passes, Field(description="epochs of the supervised training of oracle scores")] = 20
    runs: Annotated[Passes, Field(description="supervised trainings that oracle scores are averaged over")] = 1
    params: Params = {}


class SelectTable(Table):
    """Selection of the first pool to label."""

    strategy: Annotated[str, Field(description="see `initpools list strategies`; empty: the default")] = ""
    budget: Annotated[
        PositiveCount,
        WrapValidator(budget_setting),
        Field(description="images to choose, or a share of those to choose from, such as 1%; required"),
    ] = 0
    balance: Annotated[
        Literal["none", "kmeans", "clusters", "groups"],
        Field(
            description="spread the picks over k-means clusters of the embeddings, over the clusters of a file, or "
            "over groups; for strategies without a suffix such as `@kmeans`; not in `al-run`"
        ),
    ] = "none"
    n_clusters: Annotated[
        Count, Field(description="clusters of `@kmeans` and balance; 0: the number of classes if known, else 20")
    ] = 0
    order: Annotated[
        Literal["highest", "lowest", "middle", "stratified"],
        Field(
            description="which scores come first; stratified: one from the middle of each of as many equal parts of "
            "the order as the budget"
        ),
    ] = "highest"
    normalize: Annotated[bool, Field(description="scale embeddings to length 1 before distances are computed")] = True
    sample: Annotated[Count, Field(description="choose among this many images, drawn at random; 0: all")] = 0
    index: Annotated[
        Literal["exact", "ivf"],
        Field(
            description="search for nearest neighbors; ivf: approximate, by an inverted file, the same as the knob "
            "`probes` = 16; see [scale-out.md](scale-out.md#neighbors-among-very-many-images)",
            json_schema_extra=ADDED,
        ),
    ] = "exact"
    copies: Annotated[
        Literal["last", "any"],
        Field(
            description="images with equal embeddings; last: the first of them (or a labeled one) counts as the "
            "original, and the others are chosen only when no original is left; any: all are treated alike",
            json_schema_extra=ADDED,
        ),
    ] = "last"
    min_distance: Annotated[
        float,
        Field(
            ge=0,
            lt=1e30,
            allow_inf_nan=False,
            description="smallest distance of a pick to other picks and labeled images, in the space of the strategy; "
            "0: no limit",
            json_schema_extra=ADDED,
        ),
    ] = 0.0
    semdedup: Annotated[
        float,
        Field(
            ge=0,
            le=1,
            description="leave out near-copies, which are images whose score `semdedup` exceeds 1 minus this number, "
            "such as 0.05; 0: leave out none",
            json_schema_extra=ADDED,
        ),
    ] = 0.0
    per_group: Annotated[
        Count,
        Field(
            description="largest number of images from one group, such as a patient, including labeled ones; once no "
            "group has images left within this limit, as many more from each; 0: no limit; see [groups.md](groups.md)",
            json_schema_extra=ADDED,
        ),
    ] = 0
    partitions: Annotated[
        int,
        Field(
            ge=1,
            le=1_000_000,
            description="for strategies that compare all pairs of images: choose the budget from each of this many "
            "random partitions, and then the budget from these; 1: from all images at once; only in `select-pool`; see "
            "[scale-out.md](scale-out.md#two-rounds)",
            json_schema_extra=ADDED,
        ),
    ] = 1
    audit: Audit = ""
    params: Params = {}


class AlTable(Table):
    """Active-learning experiments: initial pools, queries and learners, over seeds."""

    init: Annotated[Names, Field(min_length=1, description="strategies of the initial pool")] = ["random"]
    query: Annotated[Names, Field(min_length=1, description="strategies of the later rounds")] = ["random"]
    learner: Annotated[Names, Field(min_length=1, description="see `initpools list learners`")] = ["linear"]
    budget: Annotated[
        PositiveCount,
        WrapValidator(budget_setting),
        Field(description="labels per round, or a share of the train images, such as 1%"),
    ] = 10
    init_budget: Annotated[
        Count,
        WrapValidator(budget_setting),
        Field(description="labels of the initial pool, or a share of the train images; 0: the same as budget"),
    ] = 0
    rounds: Annotated[OptionalPasses, Field(description="query rounds after the initial pool")] = 5
    seeds: Annotated[Passes, Field(description="number of repetitions")] = 10
    candidates: Annotated[
        float, Field(gt=0, le=1, description="share of the train images that can be labeled, drawn for each seed")
    ] = 0.9
    validation: Annotated[
        Literal["none", "from-budget", "free-val"],
        Field(description="source of validation labels; see [honest.md](honest.md)"),
    ] = "none"
    encoders: Annotated[
        Names,
        Field(
            description="encoders whose embeddings are used, each in a comparison of its own; empty: the newest, in a "
            "labeling loop those of its last round"
        ),
    ] = []
    space: Annotated[
        Literal["embeddings", "learner"],
        Field(description="space for distances of queries: embeddings, or the learner's penultimate features"),
    ] = "embeddings"
    scale: Annotated[
        Literal["auto", "common", "each"],
        Field(
            description="scaling of embeddings for learners: all dimensions by one number (common), or each by its "
            "standard deviation; auto: common for pixels and pca, else each",
            json_schema_extra=ADDED,
        ),
    ] = "auto"
    views: Annotated[Several, Field(description="random views of queries that compare views")] = 10
    passes: Annotated[Several, Field(description="dropout passes of queries that compare them")] = 25
    members: Annotated[Several, Field(description="ensemble members of queries that compare models")] = 3
    strict: Annotated[bool, Field(description="stop with an error if a label is read that was not bought")] = False
    backend: Annotated[
        Literal["processes", "dask", "ray"],
        Field(description="how jobs run; see [scale-out.md](scale-out.md)"),
    ] = "processes"
    annotators: Annotated[
        Literal["last", "majority", "strict"],
        Field(
            description="with `--labels`: which label counts if there are several annotators: the last, the one given "
            "most often, or only one that all gave",
            json_schema_extra=ADDED,
        ),
    ] = "last"
    audit: Audit = ""
    stop_at: Annotated[
        float,
        Field(
            ge=0,
            lt=1,
            description="with `--labels`: choose no next batch once the audit labels show, with 95 % confidence, that "
            "this accuracy is reached; 0: never",
            json_schema_extra=ADDED,
        ),
    ] = 0.0
    target: Annotated[
        float,
        Field(
            gt=0,
            lt=1,
            description="with `--labels`: accuracy for which the number of labels is forecast",
            json_schema_extra=ADDED,
        ),
    ] = 0.9
    params: Params = {}


class RankTable(Table):
    """A ranking of all images by a strategy."""

    strategy: Annotated[str, Field(description="see `initpools list strategies`")] = ""
    reference: Annotated[
        str,
        Field(description="training labels of the classifier: auto, val, test, labeled, or a CSV file of annotations"),
    ] = "auto"
    depth: Annotated[
        Count | Literal["all"],
        WrapValidator(depth_setting),
        Field(
            description="how many images the strategy orders; the others follow by its score (for `kcenter`, by "
            "distance to the nearest ordered image), then by index; 0: all, but 1,000 for strategies that are not "
            "nested, and 10,000 for `kcenter` if images² × dimensions exceed 10¹³",
        ),
    ] = 0
    views: Annotated[Several, Field(description="random views of strategies that compare views")] = 20
    passes: Annotated[Several, Field(description="dropout passes of strategies that compare them")] = 25
    members: Annotated[Several, Field(description="classifiers of strategies that compare models")] = 3
    all_rows: Annotated[
        bool,
        Field(
            description="whether rows of train that are not ranked are appended, by ascending index",
            json_schema_extra=ADDED,
        ),
    ] = False
    params: Params = {}


class PlotTable(Table):
    """A figure."""

    kind: Annotated[str, Field(description="see `initpools list plots`")] = ""
    theme: Annotated[
        Literal["auto", "light", "dark"], Field(description="initial colors of the page; auto: those of the system")
    ] = "auto"
    params: Params = {}


class Settings(Table):
    """All configuration tables."""

    run: RunTable = RunTable()
    dataset: DatasetTable = DatasetTable()
    pretrain: PretrainTable = PretrainTable()
    embed: EmbedTable = EmbedTable()
    score: ScoreTable = ScoreTable()
    select: SelectTable = SelectTable()
    al: AlTable = AlTable()
    rank: RankTable = RankTable()
    plot: PlotTable = PlotTable()


# Pydantic's type of `annotation` is wider; every field here is a table.
TABLES: Mapping[str, type[Table]] = {name: field.annotation for name, field in Settings.model_fields.items()}  # type: ignore[misc]
