"""Server-side state of the labeling page: one active window, idempotent requests.

Messages of the page and their answers, all JSON:

``claim`` {window, take?}
    Makes a window the active one. The answer is everything the page shows: `LabelingState.claim`.
``act`` {window, number, do, images or index, label?, seconds?, suggested?, copies?}
    ``do`` is label, skip, clear, unsure or undo; unsure skips images that no class fits, and puts them in the relabel
    queue. One action for all images, saved once and undone at once. ``suggested``:
    whether the page showed suggestions for these images; ``copies``: also for their exact copies. The answer has
    ``items`` ([index, label, skipped] of every image that changed), ``reread`` (whether another program had written
    the file), ``conflicts``, ``classes`` and ``canUndo``.
``rows`` {scope, compute?}
    Columns for all images of the batch or of the run (``all``): `rows.columns`.
``similar`` {index, count, scope?}
    The images with the nearest embeddings: index and similarity.
``classes`` {window, do, from, to}
    ``do`` is rename, merge (several ``from``) or split (several ``to``). The answer is that of ``claim``.
``look`` {index}
    Whether the file of an image was changed since it was embedded: a sentence, or "".
``release`` {window}
    Frees the batch when its window is closed.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from initpools_cli.cli.labeler import messages
from initpools_cli.cli.labeler.messages import MalformedMessage, Message
from initpools_cli.cli.labeler.rows import COMPUTED, SCOPES, columns, rows_of
from initpools_cli.core.errors import UserError
from initpools_cli.core.rundir import Run
from initpools_cli.labeling.change_classes import change_classes, valid_change
from initpools_cli.labeling.class_changes import MERGE, RENAME, SPLIT
from initpools_cli.labeling.classes import InvalidClass
from initpools_cli.labeling.images import RunImages
from initpools_cli.labeling.label_file import Mark
from initpools_cli.labeling.last_round import last_round
from initpools_cli.labeling.relabel import NONE_FITS, WAS_SPLIT, RelabelReason, add_to_queue, read_queue
from initpools_cli.labeling.session import LabelingSession, Viewing
from initpools_cli.labeling.verdict import verdict
from initpools_cli.reporting.image_bytes import changed_since

#: Images shown beside each class, at most.
REFERENCES = 3
#: The most similar images that one message may ask for.
MOST_SIMILAR = 1000


class WindowInUse(Exception):
    """Another window is active."""


class LabelingState:
    """A batch and the window that may label it.

    Parameters
    ----------
    labeling : LabelingSession
    facts : mapping
        More values for the page: the data set, the next command, and the command that starts the page again.
    images : RunImages, optional
        Copies, clusters and neighbors of the images.
    run : Run, optional
        Its classes can be changed, and it has the relabel queue.
    """

    def __init__(
        self,
        labeling: LabelingSession,
        facts: Mapping[str, Any],
        images: RunImages | None = None,
        run: Run | None = None,
    ) -> None:
        self.labeling, self.images, self.run = labeling, images, run
        self._facts = facts
        self._queue = {} if run is None else read_queue(run)
        self._lock = threading.Lock()
        self._owner: str | None = None
        self._number = 0
        self._answer: dict[str, Any] = {}
        self._closed = False

    def claim(self, message: Message) -> dict[str, Any]:
        """Make a window the active one, and return everything the page shows.

        Raises
        ------
        WindowInUse
            Another one is, and the message does not ask to take over.
        """
        window, take = messages.text(message, "window"), message.get("take") is True
        with self._lock:
            if self._owner not in (None, window) and not take:
                raise WindowInUse
            self._activate(window)
            if self.labeling.changed_elsewhere():
                self.labeling.read_again()
            return self._state()

    def close(self) -> None:
        """Wait for the current request, and refuse later ones."""
        with self._lock:
            self._closed = True

    def release(self, message: Message) -> dict[str, Any]:
        """Free the batch when its window is closed."""
        with self._lock:
            if self._owner == messages.text(message, "window"):
                self._owner = None
        return {}

    def act(self, message: Message) -> dict[str, Any]:
        """Label, skip, clear or undo, and return when it is saved.

        Raises
        ------
        WindowInUse
            Another window has taken over.
        InvalidClass
            There is no such class or image.
        UserError
            It can't be saved.
        """
        window, number = messages.text(message, "window"), messages.whole(message, "number")
        with self._lock:
            if self._closed:
                raise UserError("The program has ended.", "Start it again in the terminal.", "ended")
            # After a restart of the server, the open window continues.
            if self._owner not in (None, window):
                raise WindowInUse
            self._activate(window)
            # A request with the same number is a repetition: the answer to the first one was lost.
            if number != self._number:
                self._answer = self._do(message)
                self._number = number
            return self._answer

    def classes(self, message: Message) -> dict[str, Any]:
        """Rename, merge or split classes, and return everything the page shows.

        Raises
        ------
        WindowInUse
            Another window has taken over.
        InvalidClass
            The change is not possible.
        UserError
            It can't be saved.
        """
        window, do = messages.text(message, "window"), messages.one_of(message, "do", (RENAME, MERGE, SPLIT), "")
        old, new = messages.texts(message, "from"), messages.texts(message, "to")
        if self.run is None or (do != MERGE and len(old) > 1) or (do != SPLIT and len(new) > 1):
            raise MalformedMessage("from or to")
        labeling = self.labeling
        if labeling.vocabulary.multilabel:
            raise InvalidClass(
                f"{do} needs one class per image, and images of this run can have several.",
                "Change the labels in the table.",
                do,
            )
        with self._lock:
            if self._closed or self._owner not in (None, window):
                raise WindowInUse
            self._activate(window)
            change = valid_change(do, old, new, labeling.vocabulary, labeling.data.spec.name)
            change_classes(self.run, labeling.data, change, labeling.vocabulary, labeling)
            labeling.last = last_round(self.run, suggestions=labeling.suggests)
            self._queue = read_queue(self.run)
            return self._state()

    def look(self, message: Message) -> dict[str, Any]:
        """Return whether the file of an image has changed since it was embedded."""
        index = messages.whole(message, "index")
        self._require_images([index])
        return {"problem": changed_since(self.labeling.data, index)}

    def rows(self, message: Message) -> dict[str, Any]:
        """Return columns of the images of the batch, or of all; see `columns`."""
        scope = messages.one_of(message, "scope", SCOPES, "batch")
        compute = messages.texts(message, "compute") if message.get("compute") else []
        if not {*compute} <= {*COMPUTED}:
            raise MalformedMessage("compute")
        if self.images is not None:
            # Outside the lock: labels are saved meanwhile.
            self.images.prepare(compute, rows_of(self.labeling, scope))
        with self._lock:
            return columns(self.labeling, self.images, scope)

    def similar(self, message: Message) -> dict[str, Any]:
        """Return the images that are most similar to one.

        Raises
        ------
        InvalidClass
            There is no such image, or there are no embeddings.
        """
        index, count = messages.whole(message, "index"), messages.whole(message, "count")
        among = rows_of(self.labeling, messages.one_of(message, "scope", SCOPES, "all"))
        self._require_images([index])
        if not 0 < count <= MOST_SIMILAR:
            raise MalformedMessage("count")
        if self.images is None:
            return {"index": [], "similarity": []}
        try:
            neighbors, similarity = self.images.similar(index, count, among)
        except UserError as error:
            raise InvalidClass(error.fact, error.remedy, error.value) from None
        return {"index": neighbors, "similarity": similarity}

    def _activate(self, window: str) -> None:
        if self._owner != window:
            self._owner, self._number = window, 0

    def _do(self, message: Message) -> dict[str, Any]:
        labeling, what = self.labeling, messages.text(message, "do")
        reread = labeling.changed_elsewhere()
        if what == "undo":
            indices = labeling.undo()
        else:
            indices = self._images_of(message)
            viewing = Viewing(messages.seconds(message), message.get("suggested") is True)
            if what == "label":
                labeling.label(indices, messages.text(message, "label"), viewing)
            elif what == "skip":
                labeling.skip(indices, viewing)
            elif what == "unsure" and self.run is not None:
                self._queue = add_to_queue(self.run, dict.fromkeys(indices, RelabelReason(NONE_FITS)))
                labeling.skip(indices, viewing)
            elif what == "clear":
                labeling.clear(indices, viewing)
            else:
                raise MalformedMessage(what)
        return {"items": [[index, *self._shown(index)] for index in indices], "reread": reread, **self._counts()}

    def _images_of(self, message: Message) -> list[int]:
        """Return the images of an action, with their exact copies if the message says so."""
        indices = messages.images(message)
        self._require_images(indices)
        if message.get("copies") is True and self.images is not None:
            indices = [*indices, *(copy for index in indices for copy in self.images.copies_of(index))]
        return [*dict.fromkeys(indices)]

    def _require_images(self, indices: list[int]) -> None:
        """Refuse images that are not in the data set: it may have changed since the page was loaded."""
        for index in indices:
            if not self.labeling.is_image(index):
                raise InvalidClass(f"The data set has no image {index}.", "Reload the page.", index)

    def _state(self) -> dict[str, Any]:
        labeling = self.labeling
        queue = self._waiting()
        again = [index for index, why, _ in queue if why == WAS_SPLIT and index not in labeling.batch]
        indices = [*labeling.indices, *again]
        items = [[index, labeling.path_of(index) or f"image {index}", *self._shown(index)] for index in indices]
        suggestions = {index: labeling.suggestion_of(index) for index in indices}
        return {
            "name": labeling.name,
            "file": str(labeling.file),
            "fixed": labeling.vocabulary.fixed,
            "multilabel": labeling.vocabulary.multilabel,
            "pixels": labeling.data.root is None,
            "items": items,
            "suggestions": {
                index: [each.label, round(each.confidence, 4)]
                for index, each in suggestions.items()
                if each is not None
            },
            "queue": queue,
            "doubts": labeling.doubts,
            "verdict": verdict(labeling.last.outcomes),
            "round": {"number": labeling.last.number},
            "copies": {} if self.images is None else self.images.copy_counts(indices),
            "references": labeling.references(REFERENCES),
            **self._facts,
            **self._counts(),
        }

    def _counts(self) -> dict[str, Any]:
        labeling = self.labeling
        conflicts = [
            [index, labeling.path_of(index) or f"image {index}", each.yours.answer, each.theirs.answer, each.winner]
            for index, each in labeling.conflicts.items()
        ]
        return {
            "classes": labeling.vocabulary.names,
            "canUndo": labeling.can_undo,
            "conflicts": conflicts,
            "checked": labeling.checked,
        }

    def _waiting(self) -> list[tuple[int, str, str]]:
        """Return the images of the relabel queue that are still to be labeled, why, and their class before."""
        labeling = self.labeling
        return [
            (index, each.why, each.was)
            for index, each in self._queue.items()
            if labeling.is_image(index)
            and not labeling.label_of(index)
            and (each.why == NONE_FITS) == labeling.marks.get(index, Mark()).skipped
        ]

    def _shown(self, index: int) -> list[Any]:
        mark = self.labeling.marks.get(index)
        return ["", False] if mark is None else [mark.label, mark.skipped]
