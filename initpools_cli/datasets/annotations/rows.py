"""A row of annotations, before it is known whether it is right."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

#: The longest name of a class, characters.
LONGEST = 100


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
        The class; empty where there is none yet.
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


def plain(label: str) -> str:
    """A class as it is compared: without stray blanks, its accents written in one way, since macOS has another."""
    return " ".join(unicodedata.normalize("NFC", label).split())


#: What tools call the columns, or keys, of an image and of its class; the first that is there counts.
INDEX_NAMES = ("index",)
PATH_NAMES = ("path", "image_id", "image", "file", "filename", "file_name", "filepath", "image_path")
SKIPPED_NAMES = ("skipped",)
LABEL_NAMES = ("label", "dx", "choice", "class", "category")
