"""Named methods whose signature is their schema: arrays before ``*``, knobs after it."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, get_args, get_type_hints

from pydantic.fields import FieldInfo

from initpools_cli.core.errors import UserError, nearest, unknown_name
from initpools_cli.core.schema import is_added

# What every strategy is handed by its caller and no user has to bring.
SERVICES = frozenset({"n", "labeled", "budget", "rng"})
#: Characters of a value that are shown in a message.
LONGEST_VALUE = 100


@dataclass(frozen=True)
class Method:
    """A registered function or class.

    Attributes
    ----------
    name : str
        The public name.
    build : callable
        The function or class itself.
    inputs : tuple of str
        The arrays it needs, by name.
    optional : tuple of str
        The arrays it uses where they are there, by name: parameters before ``*`` with a default.
    knobs : mapping of str to (annotation, default)
        What configuration may set.
    summary : str
        The first line of its docstring.
    traits : mapping
        Whatever else its registration states, e.g. ``nested=True``. ``revision`` is the version of its results, 1 where
        none is stated: a number, or a function of the knobs where the results of some settings alone have changed.
    """

    name: str
    build: Any
    inputs: tuple[str, ...]
    optional: tuple[str, ...]
    knobs: Mapping[str, tuple[Any, Any]]
    summary: str
    paper: str
    aliases: tuple[str, ...]
    traits: Mapping[str, Any]

    def validate(self, given: Mapping[str, Any], where: str = "") -> dict[str, Any]:
        """All knobs with their values: `given` over the defaults.

        Parameters
        ----------
        given : mapping
            What the user set.
        where : str
            Where they set it (a file, ``--set``), for the error.

        Raises
        ------
        UserError
            An unknown knob, a wrong type, or a value out of range.
        """
        from pydantic import ConfigDict, ValidationError, create_model

        for key in given:
            if key not in self.knobs:
                raise unknown_knob(self.name, key, self.knobs, where)
        fields: dict[str, Any] = dict(self.knobs)
        model = create_model(self.name, __config__=ConfigDict(extra="forbid", strict=True), **fields)
        try:
            return {key: getattr(model(**given), key) for key in self.knobs}
        except ValidationError as error:
            raise value_error(error, given, prefix=f"{self.name}: ", where=where) from None

    def identity(self, knobs: Mapping[str, Any]) -> dict[str, Any]:
        """The knobs without those that schema 1 did not have and that are at their defaults."""
        return {key: value for key, value in knobs.items() if key not in self.knobs or not self._as_before(key, value)}

    def _as_before(self, key: str, value: object) -> bool:
        annotation, default = self.knobs[key]
        marks = [each for each in get_args(annotation)[1:] if isinstance(each, FieldInfo)]
        return value == default and any(map(is_added, marks))

    def revision(self, knobs: Mapping[str, Any]) -> int:
        """The version of what the method gives with these knobs; those that are missing are at their defaults."""
        stated = self.traits.get("revision", 1)
        if not callable(stated):
            return int(stated)
        return int(stated({key: default for key, (_, default) in self.knobs.items()} | dict(knobs)))


def unknown_knob(name: str, key: str, knobs: Collection[str], where: str = "") -> UserError:
    """The error for a knob that a method does not have, with the nearest of those it has.

    Parameters
    ----------
    name : str
        The method's.
    key : str
        The knob that was given.
    knobs : collection of str
        Those it has.
    where : str
        Where it was set.
    """
    place = f" (in {where})" if where else ""
    if not knobs:
        return UserError(f"'{name}' has no knob '{key}'{place}.", "It has none: leave the setting out.")
    guess = nearest(key, knobs)
    hint = f"Did you mean '{guess}'? " if guess else ""
    return UserError(f"'{name}' has no knob '{key}'{place}.", f"{hint}It has: {', '.join(sorted(knobs))}.")


def revisions_of(*methods: tuple[Method, Mapping[str, Any]]) -> dict[str, dict[str, int]]:
    """What a step's table says of the versions of its methods: nothing where all are the first.

    Parameters
    ----------
    methods : (Method, mapping)
        Each with the knobs it runs with.

    Returns
    -------
    dict
        ``{"revisions": {name: number}}``, or empty.
    """
    changed = {method.name: number for method, knobs in methods if (number := method.revision(knobs)) > 1}
    return {"revisions": changed} if changed else {}


def value_error(error: Any, given: Mapping[str, Any], *, prefix: str = "", where: str = "") -> UserError:
    """A pydantic ValidationError as the one sentence that names the key, its value and what is allowed."""
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"] if not str(part).startswith(("function", "literal")))
    place = f" (in {where})" if where else ""
    value = first.get("input")
    allowed = first["msg"].removeprefix("Input ").removeprefix("Value error, ").rstrip(".")
    hint = ""
    if first["type"] == "literal_error" and isinstance(value, str):
        names = [name.strip("'") for name in first["ctx"]["expected"].replace(" or ", ", ").split(", ")]
        guess = nearest(value, names)
        hint = f" Did you mean '{guess}'?" if guess else ""
    return UserError(
        f"{prefix}{key} = {_shown(value)}{place} is not valid: it {allowed}.", f"Set {key} to a valid value.{hint}"
    )


def _shown(value: object) -> str:
    """A value as Python writes it, cut where it is long."""
    if isinstance(value, int) and abs(value) >= 10**30:
        return f"a number of {value.bit_length()} bits"
    shown = repr(value)
    return shown if len(shown) <= LONGEST_VALUE else f"{shown[:LONGEST_VALUE]}…"


class Registry:
    """The methods of one kind; the modules of `package` register themselves when it is first asked.

    Parameters
    ----------
    kind : str
        Singular name for messages, e.g. "strategy".
    package : str
        Dotted name of the package whose modules hold the methods, one file each.
    listing : str
        The command that lists them.
    """

    def __init__(self, kind: str, package: str, listing: str) -> None:
        self.kind = kind
        self.package = package
        self.listing = listing
        self._methods: dict[str, Method] = {}
        self._discovered = False

    def register(
        self, name: str = "", *, paper: str = "", aliases: tuple[str, ...] = (), **traits: Any
    ) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Register the decorated function or class under `name` (default: its own, underscores as hyphens)."""

        def decorate(build: Callable[..., Any]) -> Callable[..., Any]:
            public = name or build.__name__.replace("_", "-")
            target = build.__init__ if inspect.isclass(build) else build
            hints = get_type_hints(target, include_extras=True)
            parameters = [p for p in inspect.signature(target).parameters.values() if p.name != "self"]
            arrays = [p for p in parameters if p.kind is not p.KEYWORD_ONLY and p.name not in SERVICES]
            inputs = tuple(p.name for p in arrays if p.default is p.empty)
            optional = tuple(p.name for p in arrays if p.default is not p.empty)
            knobs = {p.name: (hints[p.name], p.default) for p in parameters if p.kind is p.KEYWORD_ONLY}
            summary = (inspect.getdoc(build) or "").split("\n", 1)[0]
            self._methods[public] = Method(public, build, inputs, optional, knobs, summary, paper, aliases, traits)
            return build

        return decorate

    def _discover(self) -> None:
        if not self._discovered:
            self._discovered = True
            package = importlib.import_module(self.package)
            for module in sorted(m.name for m in pkgutil.iter_modules(package.__path__)):
                importlib.import_module(f"{self.package}.{module}")

    def __iter__(self) -> Iterator[Method]:
        self._discover()
        return iter([self._methods[name] for name in sorted(self._methods)])

    def __contains__(self, name: str) -> bool:
        return self._find(name) is not None

    def _find(self, name: str) -> Method | None:
        self._discover()
        if name in self._methods:
            return self._methods[name]
        return next((m for m in self._methods.values() if name in m.aliases), None)

    def names(self) -> list[str]:
        """The public names, sorted; aliases are not among them."""
        return [method.name for method in self]

    def get(self, name: str) -> Method:
        """The method of that name or alias.

        Raises
        ------
        UserError
            No such method; the nearest name is in the message.
        """
        method = self._find(name)
        if method is None:
            aliases = [alias for m in self for alias in m.aliases]
            raise unknown_name(self.kind, name, [*self.names(), *aliases], self.listing)
        return method
