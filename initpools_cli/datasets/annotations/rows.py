"""A row of annotations before validation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class Details(NamedTuple):
    """How an image was labeled, as written in the file; each is empty if unknown.

    Attributes
    ----------
    origin : str
        Why the image was labeled: ``batch``, ``audit`` or ``own choice``.
    suggested : str
        The class that was shown as a suggestion.
    confidence : str
        Its confidence.
    seconds : str
        Time spent on the image.
    """

    origin: str = ""
    suggested: str = ""
    confidence: str = ""
    seconds: str = ""


#: Nothing is known of an image but its label.
UNKNOWN = Details()


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
    details : Details
    multilabel : bool
        Whether the label may be several classes: it is from a column of that meaning.
    parts : tuple of str
        Several classes that the file lists one by one; `problem` then says that there are several.
    annotator : str
        Who gave the label; empty if unknown.
    """

    place: str
    path: str = ""
    index: str = ""
    label: str = ""
    sha256: str = ""
    problem: str = ""
    skipped: bool = False
    details: Details = UNKNOWN
    multilabel: bool = False
    parts: tuple[str, ...] = ()
    annotator: str = ""


#: Names of the columns or keys of an image and its class in annotation tools; the first present one is used.
INDEX_NAMES = ("index",)
PATH_NAMES = ("path", "image_id", "image", "file", "filename", "file_name", "filepath", "image_path")
#: A column that names images only where a table has none of the others.
ID_NAMES = ("id",)
SKIPPED_NAMES = ("skipped",)
ANNOTATOR_NAMES = ("annotator",)
#: The column of an export that says whether a label is from an annotator or a prediction of the model.
SOURCE_NAMES = ("source",)
LABEL, PREDICTION = "label", "prediction"
LABEL_NAMES = ("label", "dx", "choice", "class", "category")
#: A column of several labels per image, such as ``cat|dog``; read if a table has none of the others.
LABELS_NAMES = ("labels",)
