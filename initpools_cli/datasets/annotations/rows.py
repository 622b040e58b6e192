"""A row of annotations before validation."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """One annotation as written in the file.

    Attributes
    ----------
    place : str
        Where the row is, for messages: "line 12", "task 3".
    path, index : str
        The image; empty if missing.
    label : str
        The class exactly as written, including spaces; see `datasets.classes` for its meaning.
    sha256 : str
        Checksum of the image, if the annotation is a file.
    problem : str
        Why the row can't be used; empty if it can.
    skipped : bool
        Whether the annotator skipped the image.
    """

    place: str
    path: str = ""
    index: str = ""
    label: str = ""
    sha256: str = ""
    problem: str = ""
    skipped: bool = False


#: Names of the columns or keys of an image and its class in annotation tools; the first present one is used.
INDEX_NAMES = ("index",)
PATH_NAMES = ("path", "image_id", "image", "file", "filename", "file_name", "filepath", "image_path")
#: A column that names images only where a table has none of the others.
ID_NAMES = ("id",)
SKIPPED_NAMES = ("skipped",)
LABEL_NAMES = ("label", "dx", "choice", "class", "category")
