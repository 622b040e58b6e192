"""What a registration states about a method: typed keywords, checked at the decorator."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any, TypeVar, get_type_hints

from initpools_cli.core.errors import nearest


@dataclass(frozen=True, kw_only=True)
class Traits:
    """What a method of any kind may state; each kind of method adds its own fields in a subclass.

    Attributes
    ----------
    paper : str
        Where the method is from.
    aliases : tuple of str
        Further names.
    revision : int or callable
        The version of its results: a number, or a function of the knobs where the results of some settings alone have
        changed.
    """

    paper: str = ""
    aliases: tuple[str, ...] = ()
    revision: int | Callable[[Mapping[str, Any]], int] = 1

    def shown(self) -> dict[str, Any]:
        """Traits for `initpools list --json`: those without a default or that differ from it, without functions."""
        own = [each for each in fields(self) if each.name not in ("paper", "aliases")]
        values = {each.name: getattr(self, each.name) for each in sorted(own, key=lambda each: each.name == "revision")}
        unset = {each.name for each in own if each.default is not MISSING and values[each.name] == each.default}
        return {name: value for name, value in values.items() if name not in unset and not callable(value)}


T = TypeVar("T", bound=Traits)


def traits_of(kind: Callable[..., T], name: str, keywords: Mapping[str, object]) -> T:
    """The traits of a method, from the keywords of its registration.

    Parameters
    ----------
    kind : type of Traits
    name : str
        The name of the method, for the message.
    keywords : mapping
        The keywords.

    Raises
    ------
    TypeError
        An unknown or missing trait, or a value of the wrong type.
    """
    from pydantic import TypeAdapter, ValidationError

    parameters, hints = inspect.signature(kind).parameters, get_type_hints(kind)
    for key, value in keywords.items():
        if key not in parameters:
            guess = nearest(key, parameters)
            hint = f" Did you mean '{guess}'?" if guess else ""
            raise TypeError(f"'{name}' states '{key}', which is not a trait.{hint} Valid: {', '.join(parameters)}.")
        try:
            TypeAdapter(hints[key]).validate_python(value, strict=True)
        except ValidationError as error:
            requirement = error.errors()[0]["msg"].removeprefix("Input ")
            raise TypeError(f"'{name}' states {key}={value!r}, which is not valid: it {requirement}.") from None
    missing = [key for key, each in parameters.items() if each.default is each.empty and key not in keywords]
    if missing:
        raise TypeError(f"'{name}' must state {', '.join(missing)}: register({', '.join(f'{m}=…' for m in missing)}).")
    return kind(**keywords)
