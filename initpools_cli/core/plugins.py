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
    display_name : str
        The path as the user typed it, for messages; for an entry point, the package and the file name.
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
    display_name: str
    source: bytes
    sha256: str
    module: str = ""
    distribution: str = ""
    version: str = ""

    @property
    def identity(self) -> dict[str, str]:
        """The entry of the function in a step's table."""
        if self.distribution:
            return {"distribution": self.distribution, "version": self.version, "sha256": self.sha256}
        return {"file": self.path, "sha256": self.sha256}

    @property
    def argument(self) -> str:
        """The name of the function on a command line, which is valid in any folder."""
        return self.name if self.distribution else f"{self.path}:{self.function}"

    def load(self) -> Callable[..., Any]:
        """Return the function; its module is loaded once per process.

        Raises
        ------
        UserError
            The module can't be loaded, or has no such function.
        """
        if self.distribution:
            function = self._import()
        else:
            module = _module_of(self.path, self.display_name, self.source, self.sha256)
            function = getattr(module, self.function, None)
            if function is None:
                raise _no_function(self.display_name, self.function, module)
        if not inspect.isfunction(function):
            raise UserError(
                f"'{self.function}' in {self.display_name} is of type {type(function).__name__}, not a function.",
                f"Write `def {self.function}(embeddings, budget, *, …)`.",
                self.function,
            )
        return function

    def _import(self) -> Any:
        """Import the object of the entry point; an error if its file differs from that at the start of the command."""
        what = f"The plug-in '{self.name}' of {self.distribution} {self.version} can't be loaded"
        remedy = f"Reinstall the package, or uninstall it: `pip uninstall {self.distribution}`."
        try:
            with stdout_on_stderr():
                value: Any = import_module(self.module)
        except (Exception, SystemExit) as error:
            line = f"{Path(self.path).name}{_line(error, self.path)}"
            raise UserError(f"{what}: {line} raised {describe_error(error)}.", remedy, self.name) from error
        for part in self.function.split("."):
            value = getattr(value, part, None)
        if value is None:
            raise UserError(f"{what}: {self.module} has no '{self.function}'.", remedy, self.name)
        if sha256_of_source(Path(self.path)) != self.sha256:
            raise UserError(
                f"{self.distribution} is not the same here as where the command began: {self.path} differs.",
                "Install the same version everywhere.",
                self.distribution,
            )
        return value


def is_file_name(name: str) -> bool:
    """Whether a name is one of a function in a file, such as ``./mine.py:norm_top``."""
    return FILE_NAME.fullmatch(name) is not None


def from_file(name: str) -> Plugin:
    """The function that ``PATH.py:function`` names. Only this function reads its file.

    Raises
    ------
    UserError
        No function is named, or there is no such file.
    """
    match = FILE_NAME.fullmatch(name)
    assert match is not None, "the caller has asked is_file_name"
    display_name, function = match["path"], match["function"] or ""
    path = Path(display_name).expanduser()
    source = _read(path, display_name)
    if UNFIT.search(path.stem):
        raise UserError(
            f"The file {display_name} can't be named in results: they begin with '{path.stem}'.",
            "Rename it: use letters, digits, '-' and '_'.",
            display_name,
        )
    sha256 = hashlib.sha256(source).hexdigest()
    absolute = str(path.resolve())
    if not function:
        raise _no_function(display_name, "", _module_of(absolute, display_name, source, sha256))
    return Plugin(f"{path.stem}:{function}", function, absolute, display_name, source, sha256)


def sha256_of_source(path: Path) -> str:
    """SHA-256 of a file of code; empty where it can't be read, as in an archive."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""


def absolute_names(word: str) -> str:
    """Replace the paths of plug-in files in a word of a command line by absolute paths."""
    parts = word.split(",")
    matches = [FILE_NAME.fullmatch(part) for part in parts]
    return ",".join(
        part if name is None or not Path(name["path"]).is_file() else _resolved(name["path"]) + part[name.end("path") :]
        for part, name in zip(parts, matches, strict=True)
    )


def _resolved(path: str) -> str:
    return str(Path(path).expanduser().resolve())


def _read(path: Path, display_name: str) -> bytes:
    try:
        return path.read_bytes()
    except IsADirectoryError:
        raise UserError(
            f"{display_name} is a folder, not a file.", "Name a Python file: ./mine.py:function.", display_name
        ) from None
    except OSError as error:
        folder = path.parent
        near = nearest(path.name, [each.name for each in folder.glob("*.py")]) if folder.is_dir() else None
        if near and not path.exists():
            hint = f"Did you mean '{folder / near}'?"
        else:
            hint = f"Check the path: it is relative to the current folder, {Path.cwd()}."
        if not isinstance(error, FileNotFoundError | NotADirectoryError):
            raise UserError(
                f"Can't read '{display_name}': {error.strerror}.", "Check its permissions.", display_name
            ) from None
        raise UserError(f"There is no file '{display_name}'.", hint, display_name) from None


@lru_cache(maxsize=32)
def _module_of(path: str, display_name: str, source: bytes, sha256: str) -> ModuleType:
    """Execute a file as a module, under a name that is the same in every process."""
    module = ModuleType(f"initpools_plugin_{sha256[:16]}")
    module.__file__ = path
    with _failures(display_name, path):
        code = compile(source, path, "exec", dont_inherit=True)
        lines = source.decode(errors="replace").splitlines(keepends=True)
        # So that tracebacks show lines on machines without the file.
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
def _failures(display_name: str, path: str) -> Iterator[None]:
    """Convert any exception of a user's module to a UserError that names its line."""
    try:
        yield
    except UserError:
        raise
    except SyntaxError as error:
        line = f":{error.lineno}" if error.lineno else ""
        raise UserError(
            f"{display_name}{line} is not valid Python: {error.msg}.",
            f"Correct the syntax of {display_name}.",
            display_name,
        ) from error
    except ModuleNotFoundError as error:
        raise UserError(
            f"{display_name}{_line(error, path)} imports '{error.name}', which is not installed.",
            "Install it; modules that lie beside the file are not found: move their code into it, or make a package.",
            display_name,
        ) from error
    except (Exception, SystemExit) as error:
        raise UserError(
            f"{display_name}{_line(error, path)} raised {describe_error(error)}.",
            "Correct that line and run again.",
            display_name,
        ) from error


def failed_in(name: str, display_name: str, path: str, error: BaseException) -> UserError:
    """The error for an exception that a function of a user raised when it was called."""
    return UserError(
        f"'{name}' ({display_name}{_line(error, path)}) raised {describe_error(error)}.",
        "Correct that line and run again; `initpools_cli.testing.check_strategy` tries a strategy on small inputs.",
        name,
    )


def describe_error(error: BaseException) -> str:
    """Format the type and message of an exception on one line."""
    text = " ".join(str(error).split())
    text = text if len(text) <= 200 else f"{text[:200]}…"
    return f"{type(error).__name__}: {text.rstrip('.')}" if text else type(error).__name__


def _line(error: BaseException, path: str) -> str:
    """``:12``, the last line of the file that the exception passed through."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == path]
    return f":{lines[-1]}" if lines and lines[-1] else ""


def _no_function(display_name: str, function: str, module: ModuleType) -> UserError:
    own = [
        name
        for name, each in vars(module).items()
        if inspect.isfunction(each) and each.__module__ == module.__name__ and not name.startswith("_")
    ]
    guess = nearest(function, own) if function else None
    advice = (
        f"It defines {', '.join(own)}: write '{display_name}:{own[0]}'."
        if own
        else "Define one: `def mine(n, budget):`."
    )
    remedy = f"Did you mean '{display_name}:{guess}'?" if guess else advice
    if not function:
        return UserError(f"'{display_name}' does not say which function of the file.", remedy, display_name)
    return UserError(f"{display_name} has no function '{function}'.", remedy, function)


def plugin_of(method: Any) -> Plugin | None:
    """The code behind a method that a user brought; None for one of ours."""
    return getattr(method.build, "plugin", None)


def location(function: Callable[..., Any], plugin: Plugin | None) -> str:
    """``./mine.py:3``: where a function begins, for messages."""
    code = function.__code__
    return f"{plugin.display_name if plugin else os.path.relpath(code.co_filename)}:{code.co_firstlineno}"
