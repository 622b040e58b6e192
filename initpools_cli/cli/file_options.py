"""Options for the user's own files."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from initpools_cli.cli.options import Classes, names_of

if TYPE_CHECKING:
    from initpools_cli.steps.user_files import UserFiles

#: Their panel in the help of a command.
FILES = "Your own files"
Embeddings = Annotated[
    Path | None,
    typer.Option(
        "--embeddings",
        metavar="FILE",
        help="Embeddings (n, d); then no run is needed: .npy, .npz, .safetensors, .pt, .parquet, .csv or .h5, a folder "
        "or a pattern of such files, or FILE:NAME for one of several arrays.",
        rich_help_panel=FILES,
    ),
]
IdColumn = Annotated[
    str | None,
    typer.Option(
        "--id-column",
        metavar="NAME",
        help="Column or array of ids in the file of embeddings; default: image_id, id, path, filename or the like, if "
        "there is one; none: no ids.",
        rich_help_panel=FILES,
    ),
]
Patches = Annotated[
    Path | None,
    typer.Option(
        "--patches",
        metavar="FILE.npy",
        help="Patch features of each image (n, patches, d), for `freesel`.",
        rich_help_panel=FILES,
    ),
]
Probs = Annotated[
    Path | None,
    typer.Option(
        "--probs",
        metavar="FILE.npy",
        help="Class probabilities (n, c) or (views, n, c); strategies that work with or without a model then use them.",
        rich_help_panel=FILES,
    ),
]
Scores = Annotated[
    Path | None, typer.Option("--scores", metavar="FILE.npy", help="One score per image (n,).", rich_help_panel=FILES)
]
Clusters = Annotated[
    Path | None,
    typer.Option("--clusters", metavar="FILE.npy", help="One cluster id per image (n,).", rich_help_panel=FILES),
]
Ranking = Annotated[
    Path | None,
    typer.Option(
        "--ranking",
        metavar="FILE.npy",
        help="Image indices, best first, for the strategy `file`.",
        rich_help_panel=FILES,
    ),
]
Labeled = Annotated[
    Path | None,
    typer.Option(
        "--labeled",
        metavar="FILE",
        help="Images that are labeled already: .npy of indices or bool, or .csv with a column index or path.",
        rich_help_panel=FILES,
    ),
]
QuerySet = Annotated[
    Path | None,
    typer.Option(
        "--query-set",
        metavar="FILE",
        help="Choose images similar to these, for `similar`: .npy of indices or bool, .csv with a column index or "
        "path, or .npy of embeddings (q, d) of other images.",
        rich_help_panel=FILES,
    ),
]
Exclude = Annotated[
    Path | None,
    typer.Option(
        "--exclude",
        metavar="FILE",
        help="Images to leave out: .npy of indices or bool, or .csv with a column index or path.",
        rich_help_panel=FILES,
    ),
]
GroupsOrPicks = Annotated[
    str | None,
    typer.Option(
        "--groups",
        metavar="FILE.csv|REGEX",
        help="Images that belong together, such as those of one patient or video: .csv with columns path, id or index, "
        "and group; or a regular expression with one (group), searched in paths. Used by STRATEGY@groups, "
        "--set per_group=K and statistics. Splits that a new run draws keep groups whole.",
        rich_help_panel=FILES,
    ),
]
Ids = Annotated[
    Path | None,
    typer.Option(
        "--ids",
        metavar="FILE",
        help="Names of the rows of --embeddings, without a run: .csv with a column id, path or index, .npy, or "
        "one per line. Other files may then name images by them.",
        rich_help_panel=FILES,
    ),
]
Labels = Annotated[
    Path | None,
    typer.Option(
        "--labels",
        metavar="FILE",
        help="Labels: .csv with columns path or index, and label; or .npy with a class number per image, -1 for none.",
        rich_help_panel=FILES,
    ),
]


@dataclass(frozen=True)
class FileOptions:
    """The files that a strategy can read, as options of a command."""

    embeddings: Embeddings = None
    patches: Patches = None
    probs: Probs = None
    scores: Scores = None
    clusters: Clusters = None
    ranking: Ranking = None
    labeled: Labeled = None
    labels: Labels = None
    classes: Classes = None
    groups: GroupsOrPicks = None
    ids: Ids = None
    id_column: IdColumn = None
    exclude: Exclude = None
    query_set: QuerySet = None

    def user_files(self, output: Path | None) -> UserFiles:
        """Collect the files; see `user_files`. Groups matter for a new run, too, and are resolved with it."""
        names = [each.name for each in fields(self) if each.name != "groups"]
        return user_files(output, **{name: getattr(self, name) for name in names})


def user_files(
    output: Path | None = None, classes: str | None = None, id_column: str | None = None, **files: Path | None
) -> UserFiles:
    """Collect the files of the command line.

    Parameters
    ----------
    output : Path, optional
        The file to write.
    classes : str, optional
        Value of ``--classes``, for the labels.
    id_column : str, optional
        Value of ``--id-column``, for the embeddings.

    Raises
    ------
    UserError
        `output` would overwrite one of them, or `id_column` has no file.
    """
    from initpools_cli.core.errors import UserError
    from initpools_cli.datasets.classes import class_list
    from initpools_cli.steps.user_files import UserFiles

    for name, path in files.items():
        if output is not None and path is not None and output.resolve() == path.resolve():
            raise UserError(f"-o {output} would replace the file of --{name}.", "Give -o another file name.", output)
    if id_column is not None and files.get("embeddings") is None:
        raise UserError(
            f"--id-column {id_column} has no effect without --embeddings.", "Leave out --id-column.", id_column
        )
    class_names = class_list(names_of(classes), "--classes")
    return UserFiles(**files, classes=class_names, id_column=id_column or "", groups="")
