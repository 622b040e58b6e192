"""Functions that users bring: from a Python file of theirs, or from an installed package by an entry point."""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import linecache
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from initpools_cli.core.errors import UserError, nearest

#: ``PATH.py``, ``PATH.py:function`` or ``PATH.py:function@suffix``; the path may hold ``:`` (a drive) and ``@``.
FILE_NAME = re.compile(r"(?P<path>.*\.py)(?::(?P<function>[^@]*))?(?:@(?P<suffix>.*))?", re.DOTALL)
#: What would not fit into the names of folders, columns and settings that the stem of the file becomes a part of.
UNFIT = re.compile(r"[@|,:;/\\\"'<>*?\x00-\x1f]|^[\s.-]|\s$")


@dataclass(frozen=True)
class Plugin:
    """A function of a user, with what it takes to load it in another process.

    Attributes
    ----------
    name : str
        How it is called in results: ``mine:norm_top``, or the name of the entry point.
    function : str
        The function's name in its module.
    path : str
        The absolute path of the file.
    shown : str
        The path as it was typed, for messages.
    source : bytes
        The content of the file; empty for an entry point, which is imported.
    sha256 : str
        Of the content of the file.
    module, distribution, version : str
        Of an entry point: its module, and the package that has it.
    """

    name: str
    function: str
    path: str
    shown: str
    source: bytes
    sha256: str
    module: str = ""
    distribution: str = ""
    version: str = ""

    @property
    def identity(self) -> dict[str, str]:
        """What a step's table says of it."""
        if self.distribution:
            return {"distribution": self.distribution, "version": self.version, "sha256": self.sha256}
        return {"file": self.path, "sha256": self.sha256}

    @property
    def argument(self) -> str:
        """What a command is given to mean it, wherever the command is typed."""
        return self.name if self.distribution else f"{self.path}:{self.function}"

    def load(self) -> Callable[..., Any]:
        """The function; its module is loaded once in a process.

        Raises
        ------
        UserError
            The module can't be loaded, or has no such function.
        """
        if self.distribution:
            found = self._imported()
        else:
            module = _module_of(self.path, self.shown, self.source, self.sha256)
            found = getattr(module, self.function, None)
            if found is None:
                raise _no_function(self.shown, self.function, module)
        if not inspect.isfunction(found):
            raise UserError(
                f"'{self.function}' in {self.shown} is of type {type(found).__name__}, not a function.",
                f"Write `def {self.function}(embeddings, budget, *, …)`.",
                self.function,
            )
        return found

    def _imported(self) -> Any:
        """What the entry point names; refused where the file is not the one that the sweep began with."""
        what = f"The plug-in '{self.name}' of {self.distribution} {self.version} can't be loaded"
        remedy = f"Reinstall the package, or uninstall it: `pip uninstall {self.distribution}`."
        try:
            with stdout_on_stderr():
                found: Any = import_module(self.module)
        except (Exception, SystemExit) as error:
            line = f"{Path(self.path).name}{_line(error, self.path)}"
            raise UserError(f"{what}: {line} raised {described(error)}.", remedy, self.name) from error
        for part in self.function.split("."):
            found = getattr(found, part, None)
        if found is None:
            raise UserError(f"{what}: {self.module} has no '{self.function}'.", remedy, self.name)
        if sha256_of_source(Path(self.path)) != self.sha256:
            raise UserError(
                f"{self.distribution} is not the same here as where the command began: {self.path} differs.",
                "Install the same version everywhere.",
                self.distribution,
            )
        return found


def is_file_name(name: str) -> bool:
    """Whether a name is one of a function in a file, such as ``./mine.py:norm_top``."""
    return FILE_NAME.fullmatch(name) is not None


def from_file(name: str) -> Plugin:
    """The function that ``PATH.py:function`` names; its file is read here, and nowhere else.

    Raises
    ------
    UserError
        No function is named, or there is no such file.
    """
    found = FILE_NAME.fullmatch(name)
    assert found is not None, "the caller has asked is_file_name"
    shown, function = found["path"], found["function"] or ""
    path = Path(shown).expanduser()
    source = _read(path, shown)
    if UNFIT.search(path.stem):
        raise UserError(
            f"The file {shown} can't be named in results: they begin with '{path.stem}'.",
            "Rename it: use letters, digits, '-' and '_'.",
            shown,
        )
    sha256 = hashlib.sha256(source).hexdigest()
    absolute = str(path.resolve())
    if not function:
        raise _no_function(shown, "", _module_of(absolute, shown, source, sha256))
    return Plugin(f"{path.stem}:{function}", function, absolute, shown, source, sha256)


def sha256_of_source(path: Path) -> str:
    """SHA-256 of a file of code; empty where it can't be read, as in an archive."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""


def absolute_names(word: str) -> str:
    """A word of a command line in which the files of functions have absolute paths."""
    parts = word.split(",")
    found = [FILE_NAME.fullmatch(part) for part in parts]
    return ",".join(
        part if name is None or not Path(name["path"]).is_file() else _resolved(name["path"]) + part[name.end("path") :]
        for part, name in zip(parts, found, strict=True)
    )


def _resolved(path: str) -> str:
    return str(Path(path).expanduser().resolve())


def _read(path: Path, shown: str) -> bytes:
    try:
        return path.read_bytes()
    except IsADirectoryError:
        raise UserError(f"{shown} is a folder, not a file.", "Name a Python file: ./mine.py:function.", shown) from None
    except OSError as error:
        folder = path.parent
        near = nearest(path.name, [each.name for each in folder.glob("*.py")]) if folder.is_dir() else None
        if near and not path.exists():
            meant = f"Did you mean '{folder / near}'?"
        else:
            meant = f"Check the path: it is relative to the current folder, {Path.cwd()}."
        if not isinstance(error, FileNotFoundError | NotADirectoryError):
            raise UserError(f"Can't read '{shown}': {error.strerror}.", "Check its permissions.", shown) from None
        raise UserError(f"There is no file '{shown}'.", meant, shown) from None


@lru_cache(maxsize=32)
def _module_of(path: str, shown: str, source: bytes, sha256: str) -> ModuleType:
    """The module that a file makes, under a name that is the same in every process."""
    module = ModuleType(f"initpools_plugin_{sha256[:16]}")
    module.__file__ = path
    with _failures(shown, path):
        code = compile(source, path, "exec", dont_inherit=True)
        lines = source.decode(errors="replace").splitlines(keepends=True)
        # So that a traceback shows lines where the file itself is not.
        linecache.cache[path] = (len(source), None, lines, path)
        sys.modules[module.__name__] = module
        try:
            with stdout_on_stderr():
                exec(code, module.__dict__)  # a strategy of the user, named as such  # nosec B102
        except BaseException:
            del sys.modules[module.__name__]
            raise
    return module


@contextlib.contextmanager
def stdout_on_stderr() -> Iterator[None]:
    """Let code of users print to stderr: results are on stdout."""
    with contextlib.redirect_stdout(sys.stderr):
        yield


@contextlib.contextmanager
def _failures(shown: str, path: str) -> Iterator[None]:
    """Whatever is raised while code of a user is loaded, as the error that names its line."""
    try:
        yield
    except UserError:
        raise
    except SyntaxError as error:
        line = f":{error.lineno}" if error.lineno else ""
        raise UserError(
            f"{shown}{line} is not valid Python: {error.msg}.", f"Correct the syntax of {shown}.", shown
        ) from error
    except ModuleNotFoundError as error:
        raise UserError(
            f"{shown}{_line(error, path)} imports '{error.name}', which is not installed.",
            "Install it; modules that lie beside the file are not found: move their code into it, or make a package.",
            shown,
        ) from error
    except (Exception, SystemExit) as error:
        raise UserError(
            f"{shown}{_line(error, path)} raised {described(error)}.", "Correct that line and run again.", shown
        ) from error


def failed_in(name: str, shown: str, path: str, error: BaseException) -> UserError:
    """The error for an exception that a function of a user raised when it was called."""
    return UserError(
        f"'{name}' ({shown}{_line(error, path)}) raised {described(error)}.",
        "Correct that line and run again; `initpools_cli.testing.check_strategy` tries a strategy on small inputs.",
        name,
    )


def described(error: BaseException) -> str:
    """The type of an exception and what it says, on one line."""
    text = " ".join(str(error).split())
    text = text if len(text) <= 200 else f"{text[:200]}…"
    return f"{type(error).__name__}: {text.rstrip('.')}" if text else type(error).__name__


def _line(error: BaseException, path: str) -> str:
    """``:12``, the last line of the file that the exception passed through."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == path]
    return f":{lines[-1]}" if lines and lines[-1] else ""


def _no_function(shown: str, function: str, module: ModuleType) -> UserError:
    own = [
        name
        for name, each in vars(module).items()
        if inspect.isfunction(each) and each.__module__ == module.__name__ and not name.startswith("_")
    ]
    guess = nearest(function, own) if function else None
    defined = (
        f"It defines {', '.join(own)}: write '{shown}:{own[0]}'." if own else "Define one: `def mine(n, budget):`."
    )
    remedy = f"Did you mean '{shown}:{guess}'?" if guess else defined
    if not function:
        return UserError(f"'{shown}' does not say which function of the file.", remedy, shown)
    return UserError(f"{shown} has no function '{function}'.", remedy, function)


def plugin_of(method: Any) -> Plugin | None:
    """The code behind a method that a user brought; None for one of ours."""
    return getattr(method.build, "plugin", None)


def location(function: Callable[..., Any], plugin: Plugin | None) -> str:
    """``./mine.py:3``: where a function begins, for messages."""
    code = function.__code__
    return f"{plugin.shown if plugin else os.path.relpath(code.co_filename)}:{code.co_firstlineno}"
