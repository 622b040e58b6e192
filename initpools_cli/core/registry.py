"""Named methods whose signature is their schema: arrays before ``*``, knobs after it."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic, ParamSpec, TypeVar, get_args, get_type_hints

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from initpools_cli.core.entry_points import entry_points, installed_plugin
from initpools_cli.core.errors import UserError, nearest, unknown_name
from initpools_cli.core.plugins import Plugin, plugin_of
from initpools_cli.core.schema import is_added
from initpools_cli.core.traits import T, traits_of

P = ParamSpec("P")
F = TypeVar("F", bound=Callable[..., Any])

# Parameters of strategies that the caller provides, not the user.
SERVICES = frozenset({"n", "labeled", "budget", "rng"})
# A further such parameter, of strategies in this package: the rows that the objective is measured on.
SAMPLE = "sample"
#: Characters of a value that are shown in a message.
LONGEST_VALUE = 100


@dataclass(frozen=True)
class Method(Generic[T]):
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
    traits : Traits
        What its registration states, e.g. ``nested=True``.
    """

    name: str
    build: Any
    inputs: tuple[str, ...]
    optional: tuple[str, ...]
    knobs: Mapping[str, tuple[Any, Any]]
    summary: str
    traits: T

    @property
    def paper(self) -> str:
        """The publication that describes the method."""
        return self.traits.paper

    @property
    def aliases(self) -> tuple[str, ...]:
        """Its further names."""
        return self.traits.aliases

    def validate(self, knobs: Mapping[str, Any], origins: Mapping[str, str] | None = None) -> dict[str, Any]:
        """All knobs with their values: those in `knobs`, and the defaults of the others.

        Parameters
        ----------
        knobs : mapping
            What the user set.
        origins : mapping of str to str, optional
            Where each knob was set (a file, ``--set``), for the error.

        Raises
        ------
        UserError
            An unknown knob, a wrong type, or a value out of range.
        """
        from pydantic import ValidationError

        for key in knobs:
            if key not in self.knobs:
                raise unknown_knob(self.name, key, self.knobs, (origins or {}).get(key, ""))
        try:
            values = self._schema(**knobs)
            return {key: getattr(values, key) for key in self.knobs}
        except ValidationError as error:
            where = (origins or {}).get(str(error.errors()[0]["loc"][0]), "")
            raise value_error(error, prefix=f"{self.name}: ", where=where) from None

    @cached_property
    def _schema(self) -> type[BaseModel]:
        """The model that validates the knobs."""
        from pydantic import ConfigDict, create_model

        fields: dict[str, Any] = dict(self.knobs)
        return create_model(self.name, __config__=ConfigDict(extra="forbid", strict=True), **fields)

    def identity(self, knobs: Mapping[str, Any]) -> dict[str, Any]:
        """The knobs without those that schema 1 did not have and that are at their defaults."""
        values = {key: value for key, value in knobs.items() if value is not None}  # TOML has no null.
        return {key: value for key, value in values.items() if key not in self.knobs or not self._as_before(key, value)}

    def _as_before(self, key: str, value: object) -> bool:
        annotation, default = self.knobs[key]
        marks = [each for each in get_args(annotation)[1:] if isinstance(each, FieldInfo)]
        return value == default and any(map(is_added, marks))

    def revision(self, knobs: Mapping[str, Any]) -> int:
        """The version of the method's results with these knobs, and the defaults of the others."""
        revision = self.traits.revision
        if not callable(revision):
            return revision
        return int(revision({key: default for key, (_, default) in self.knobs.items()} | dict(knobs)))


def method_of(name: str, build: Callable[..., Any], traits: T) -> Method[T]:
    """A function or class as a method: its signature says what it reads and what may be set."""
    target = build.__init__ if inspect.isclass(build) else build
    hints = get_type_hints(target, include_extras=True)
    parameters = [each for each in inspect.signature(target).parameters.values() if each.name != "self"]
    arrays = [
        each for each in parameters if each.kind is not each.KEYWORD_ONLY and each.name not in {*SERVICES, SAMPLE}
    ]
    inputs = tuple(each.name for each in arrays if each.default is each.empty)
    optional = tuple(each.name for each in arrays if each.default is not each.empty)
    knobs = {each.name: (hints[each.name], each.default) for each in parameters if each.kind is each.KEYWORD_ONLY}
    summary = (inspect.getdoc(build) or "").split("\n", 1)[0]
    return Method(name, build, inputs, optional, knobs, summary, traits)


def unknown_knob(name: str, key: str, knobs: Collection[str], where: str = "") -> UserError:
    """The error for an unknown knob of a method, which names the nearest knob.

    Parameters
    ----------
    name : str
        The name of the method.
    key : str
        The unknown knob.
    knobs : collection of str
        The knobs of the method.
    where : str
        Where it was set.
    """
    place = f" (in {where})" if where else ""
    if not knobs:
        return UserError(f"'{name}' has no knob '{key}'{place}.", f"It has no knobs: leave out {key}.", key)
    guess = nearest(key, knobs)
    hint = f"Did you mean '{guess}'? " if guess else ""
    return UserError(f"'{name}' has no knob '{key}'{place}.", f"{hint}Choose one of: {', '.join(sorted(knobs))}.", key)


def revisions_of(*methods: tuple[Method, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The versions of methods for a step's table; empty if all are built in and of revision 1.

    Parameters
    ----------
    methods : (Method, mapping)
        Each with its knobs.

    Returns
    -------
    dict
        ``revisions``, a number by name, and ``plugins``, the `Plugin.identity` by name, where there are any.
    """
    revisions = {method.name: number for method, knobs in methods if (number := method.revision(knobs)) > 1}
    code = {method.name: plugin.identity for method, _ in methods if (plugin := plugin_of(method)) is not None}
    return {**({"revisions": revisions} if revisions else {}), **({"plugins": code} if code else {})}


#: How pydantic names the members of a union in the place of an error.
UNION_PARTS = ("function", "literal", "constrained-")


def value_error(error: Any, *, prefix: str = "", where: str = "") -> UserError:
    """Convert a pydantic ValidationError to a UserError that names the key, its value and what is allowed."""
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"] if not str(part).startswith(UNION_PARTS))
    place = f" (in {where})" if where else ""
    value = first.get("input")
    requirement = first["msg"].removeprefix("Input ").removeprefix("Value error, ").rstrip(".")
    # Where a value may be a number or a name, pydantic reports an error for each of the two types.
    names_too = [each for each in error.errors()[1:] if each["loc"][:-1] == first["loc"][:-1]]
    requirement += "".join(f" or {each['ctx']['expected']}" for each in names_too if each["type"] == "literal_error")
    hint = ""
    if first["type"] == "literal_error" and isinstance(value, str):
        names = [name.strip("'") for name in first["ctx"]["expected"].replace(" or ", ", ").split(", ")]
        guess = nearest(value, names)
        hint = f" Did you mean '{guess}'?" if guess else ""
    return UserError(
        f"{prefix}{key} = {_value_text(value)}{place} is not valid: it {requirement}.",
        f"Set {where if where.startswith('--') and where != '--set' else key} to a valid value.{hint}",
        _value_text(value),
    )


def _value_text(value: object) -> str:
    """Format a value with repr, shortened if it is long."""
    if isinstance(value, int) and abs(value) >= 10**30:
        return f"a number of {value.bit_length()} bits"
    text = repr(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}…"


class Registry(Generic[P, T]):
    """The methods of one kind; the modules of `package` register themselves when it is first asked.

    Parameters
    ----------
    kind : str
        Singular name for messages, e.g. "strategy".
    package : str
        Dotted name of the package whose modules hold the methods, one file each.
    listing : str
        The command that lists them.
    traits : type of Traits
        The traits of a method; those without a default must be stated at its registration.
    group : str
        The group of entry points by which installed packages add methods; empty for none.
    adopt : callable, optional
        Makes a method of such an entry point.
    """

    def __init__(
        self,
        kind: str,
        package: str,
        listing: str,
        traits: Callable[P, T],
        group: str = "",
        adopt: Callable[[Plugin], Method[T]] | None = None,
    ) -> None:
        self.kind = kind
        self.package = package
        self.listing = listing
        self.traits = traits
        self.group = group
        self.adopt = adopt
        self._methods: dict[str, Method[T]] = {}
        self._discovered = False

    def register(self, name: str = "", /, *args: P.args, **traits: P.kwargs) -> Callable[[F], F]:
        """Register the decorated function or class.

        Parameters
        ----------
        name : str
            Default: the function's own, underscores as hyphens.
        **traits
            The fields of the registry's `Traits`.

        Raises
        ------
        TypeError
            A trait that is unknown, missing, or of another type.
        ValueError
            The name, or an alias, is taken.
        """

        def decorate(build: F) -> F:
            public = name or build.__name__.replace("_", "-")
            if args:
                raise TypeError(f"'{public}' is registered with {args[0]!r}: traits are keywords.")
            self._add(method_of(public, build, traits_of(self.traits, public, traits)))
            return build

        return decorate

    def _add(self, method: Method[T]) -> None:
        owners = {other: each.name for each in self._methods.values() for other in (each.name, *each.aliases)}
        for each in (method.name, *method.aliases):
            if each in owners:
                raise ValueError(f"The {self.kind} '{method.name}' can't be called '{each}': '{owners[each]}' is.")
        self._methods[method.name] = method

    def _discover(self) -> None:
        if not self._discovered:
            self._discovered = True
            package = importlib.import_module(self.package)
            for module in sorted(m.name for m in pkgutil.iter_modules(package.__path__)):
                importlib.import_module(f"{self.package}.{module}")

    def __iter__(self) -> Iterator[Method[T]]:
        self._discover()
        return iter([self._methods[name] for name in sorted(self._methods)])

    def __contains__(self, name: str) -> bool:
        return self._find(name) is not None

    def _find(self, name: str) -> Method[T] | None:
        return self.own(name) or (self._plugin_method(name) if name in self.plugin_names() else None)

    def own(self, name: str) -> Method[T] | None:
        """The method of this package of that name or alias; None if there is none."""
        self._discover()
        if name in self._methods:
            return self._methods[name]
        return next((m for m in self._methods.values() if name in m.aliases), None)

    def _plugin_method(self, name: str) -> Method[T]:
        """The method that an installed package adds under that name."""
        assert self.adopt is not None, "only registries with a group have plug-ins"
        return self.adopt(installed_plugin(self.group, name))

    def plugin_names(self) -> list[str]:
        """The names that installed packages add, none of them loaded."""
        return list(entry_points(self.group)) if self.group else []

    def plugins(self, other_names: Collection[str]) -> tuple[list[Method[T]], list[UserError]]:
        """The methods that installed packages add, and an error for each that can't be used.

        Parameters
        ----------
        other_names : collection of str
            Names that have another meaning where the name of a method is expected.
        """
        methods: list[Method[T]] = []
        errors: list[UserError] = []
        for name in self.plugin_names():
            try:
                plugin = installed_plugin(self.group, name)
                if name in other_names or self.own(name) is not None:
                    raise UserError(
                        f"The plug-in '{name}' of {plugin.distribution} {plugin.version} has a name that is taken.",
                        "Rename it in its package.",
                        name,
                    )
                methods.append(self._plugin_method(name))
            except UserError as error:
                errors.append(error)
        return methods, errors

    def names(self) -> list[str]:
        """The public names, sorted; aliases are not among them."""
        return [method.name for method in self]

    def get(self, name: str) -> Method[T]:
        """The method of that name or alias.

        Raises
        ------
        UserError
            No such method; the nearest name is in the message.
        """
        method = self._find(name)
        if method is None:
            aliases = [alias for m in self for alias in m.aliases]
            raise unknown_name(self.kind, name, [*self.names(), *aliases, *self.plugin_names()], self.listing)
        return method
