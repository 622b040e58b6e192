"""What windows may do to a batch: one of them at a time, and each click once, however often it arrives."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from initpools_cli.core.errors import UserError
from initpools_cli.labeling.classes import InvalidClass
from initpools_cli.labeling.label_file import Mark
from initpools_cli.labeling.page import LabelingSession


class WindowInUse(Exception):
    """Another window is labeling."""


class MalformedMessage(Exception):
    """No message of the page."""


class LabelingState:
    """A batch on which one window works.

    Parameters
    ----------
    labeling : LabelingSession
    facts : mapping
        What else the page shows: the data set, the commands to type next and to start again.
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
        """Everything the page shows, for a window that labels from now on.

        Raises
        ------
        WindowInUse
            Another one does, and the message does not say to take over.
        """
        window, take = _text(message, "window"), message.get("take") is True
        with self._lock:
            if self._owner not in (None, window) and not take:
                raise WindowInUse
            self._sit(window)
            if self.labeling.changed_elsewhere():
                self.labeling.read_again()
            return self._state()

    def close(self) -> None:
        """Let the click that is being saved be saved, and no more."""
        with self._lock:
            self._closed = True

    def release(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """The window is closed: the next one need not ask."""
        with self._lock:
            if self._owner == _text(message, "window"):
                self._owner = None
        return {}

    def act(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """Label, skip, clear or undo; the answer comes once it is saved.

        Raises
        ------
        WindowInUse
            Another window has taken over.
        InvalidClass
            Not a class, or no such image.
        UserError
            It can't be saved.
        """
        window, number = _text(message, "window"), _whole(message, "number")
        with self._lock:
            if self._closed:
                raise UserError("The program has been ended.", "Start it again.")
            # After a restart the window that was open goes on.
            if self._owner not in (None, window):
                raise WindowInUse
            self._sit(window)
            # The answer to a click was lost on its way, and the click was sent again.
            if number != self._number:
                self._answer = self._do(message)
                self._number = number
            return self._answer

    def _sit(self, window: str) -> None:
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
        """Where the image stands; by its index, which is the same in a batch that was changed meanwhile."""
        index = _whole(message, "index")
        if index not in self.labeling.orders:
            raise InvalidClass(f"Image {index} is not in this batch any more.", "Load the page again.")
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
