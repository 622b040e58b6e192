"""NumPy's .npy: one array, memory-mapped."""

from __future__ import annotations

from pathlib import Path

from initpools_cli.core.errors import UserError
from initpools_cli.core.files import read_array
from initpools_cli.datasets.embedding_formats.stored import NO_IDS, StoredEmbeddings, blocks_of


def read(path: Path, member: str = "", id_column: str = "") -> StoredEmbeddings:
    """Open a .npy file.

    Raises
    ------
    UserError
        The file is damaged, or a member or ids are named, of which it has none.
    """
    array = read_array(path, "embeddings", mapped=True)
    if member:
        raise UserError(f"{path} is a single array without ':{member}'.", f"Name {path} alone.", member)
    if id_column not in ("", NO_IDS):
        raise UserError(
            f"--id-column {id_column} has no effect: {path} is a single array without ids.",
            "Leave out --id-column, or name the rows with --ids FILE.",
            id_column,
        )
    return StoredEmbeddings(array.shape, array.dtype, array, blocks_of(array))
