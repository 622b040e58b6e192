"""Server-side state of the labeling page: one active window, idempotent requests."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from initpools_cli.core.errors import UserError
from initpools_cli.labeling.classes import InvalidClass
from initpools_cli.labeling.label_file import Mark
from initpools_cli.labeling.page import LabelingSession


class WindowInUse(Exception):
    """Another window is active."""


class MalformedMessage(Exception):
    """A message that the page does not send."""


class LabelingState:
    """A batch and the window that may label it.

    Parameters
    ----------
    labeling : LabelingSession
    facts : mapping
        More values for the page: the data set, the next command, and the command that starts the page again.
    """

    def __init__(self, labeling: LabelingSession, facts: Mapping[str, Any]) -> None:
        self.labeling = labeling
        self._facts = facts
        self._lock = threading.Lock()
        self._owner: str | None = None
        self._number = 0
        self._answer: dict[str, Any] = {}
        self._closed = False

    def claim(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """Make a window the active one, and return everything the page shows.

        Raises
        ------
        WindowInUse
            Another one is, and the message does not ask to take over.
        """
        window, take = _text(message, "window"), message.get("take") is True
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

    def release(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """Free the batch when its window is closed."""
        with self._lock:
            if self._owner == _text(message, "window"):
                self._owner = None
        return {}

    def act(self, message: Mapping[str, Any]) -> dict[str, Any]:
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
        window, number = _text(message, "window"), _whole(message, "number")
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

    def _activate(self, window: str) -> None:
        if self._owner != window:
            self._owner, self._number = window, 0

    def _do(self, message: Mapping[str, Any]) -> dict[str, Any]:
        labeling, what = self.labeling, _text(message, "do")
        reread = labeling.changed_elsewhere()
        order: int | None
        if what == "undo":
            order = labeling.undo()
        else:
            order = self._order(message)
            if what == "label":
                labeling.label(order, _text(message, "label"))
            elif what == "skip":
                labeling.skip(order)
            elif what == "clear":
                labeling.clear(order)
            else:
                raise MalformedMessage(what)
        item = None if order is None else [labeling.indices[order], *_shown(labeling.marks[order])]
        return {"item": item, "reread": reread, **self._counts()}

    def _order(self, message: Mapping[str, Any]) -> int:
        """Return the position of an image, which is sent as its index in case the batch has changed."""
        index = _whole(message, "index")
        if index not in self.labeling.orders:
            raise InvalidClass(f"Image {index} is no longer in this batch.", "Reload the page.", index)
        return self.labeling.orders[index]

    def _state(self) -> dict[str, Any]:
        labeling = self.labeling
        rows = zip(labeling.indices, labeling.paths, labeling.marks, strict=True)
        items = [[index, path or f"image {index}", *_shown(mark)] for index, path, mark in rows]
        return {
            "name": labeling.name,
            "file": str(labeling.file),
            "fixed": labeling.vocabulary.fixed,
            "pixels": labeling.data.root is None,
            "items": items,
            **self._facts,
            **self._counts(),
        }

    def _counts(self) -> dict[str, Any]:
        labeling = self.labeling
        return {"classes": labeling.vocabulary.names, "canUndo": labeling.can_undo}


def _shown(mark: Mark) -> list[Any]:
    return [mark.label, mark.skipped]


def _text(message: Mapping[str, Any], key: str) -> str:
    value = message.get(key)
    if not isinstance(value, str) or not value or len(value) > 1000:
        raise MalformedMessage(key)
    return value


def _whole(message: Mapping[str, Any], key: str) -> int:
    value = message.get(key)
    if not isinstance(value, int) or isinstance(value, bool):
        raise MalformedMessage(key)
    return value
