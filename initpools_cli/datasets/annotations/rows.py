"""A row of annotations, before it is known whether it is right."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """What is said of one image, as it was written.

    Attributes
    ----------
    place : str
        Where it stands, for messages: "line 12", "task 3".
    path, index : str
        Which image is meant; empty where it is not said.
    label : str
        The class exactly as it is written, with the spaces around it; `datasets.classes` says what it means.
    sha256 : str
        Of the image, where the annotation is a file itself.
    problem : str
        Why the row can't be used, where that is known already.
    skipped : bool
        The annotator could not tell.
    """

    place: str
    path: str = ""
    index: str = ""
    label: str = ""
    sha256: str = ""
    problem: str = ""
    skipped: bool = False


#: What tools call the columns, or keys, of an image and of its class; the first that is there counts.
INDEX_NAMES = ("index",)
PATH_NAMES = ("path", "image_id", "image", "file", "filename", "file_name", "filepath", "image_path")
SKIPPED_NAMES = ("skipped",)
LABEL_NAMES = ("label", "dx", "choice", "class", "category")
