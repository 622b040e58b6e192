"""The signature of a function that a user brought: arrays before ``*``, knobs after it, all of them by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from typing import Any

from initpools_cli.core.errors import UserError, nearest
from initpools_cli.core.plugins import Plugin, describe_error, location
from initpools_cli.core.registry import SERVICES, Method
from initpools_cli.core.traits import T, traits_of

#: The attribute in which `initpools_cli.register` leaves traits.
TRAITS = "__initpools__"


def method_of_plugin(
    name: str,
    function: Callable[..., Any],
    plugin: Plugin | None,
    arrays: Collection[str],
    services: Collection[str],
    traits: Callable[..., T],
    defaults: Mapping[str, Any],
    build: Callable[..., Any],
) -> Method[T]:
    """A function as a method.

    Parameters
    ----------
    name : str
        Its name in results.
    function : callable
    plugin : Plugin or None
        Its file or package; None for a function of this process.
    arrays, services : collection of str
        The parameters it may have before ``*``.
    traits : type of Traits
    defaults : mapping
        Default traits.
    build : callable
        Calls the function and validates its result.

    Raises
    ------
    UserError
        The signature or a trait is not valid.
    """
    where = f"'{name}' ({location(function, plugin)})"
    parameters = _parameters(function, where)
    _check_kinds(parameters, where)
    positional = [each for each in parameters if each.kind is not each.KEYWORD_ONLY]
    for each in positional:
        if each.name not in arrays and each.name not in services:
            raise _unknown(each.name, where, arrays, services)
    array_parameters = [each for each in positional if each.name not in services]
    inputs = tuple(each.name for each in array_parameters if each.default is each.empty)
    optional = tuple(each.name for each in array_parameters if each.default is not each.empty)
    knobs = {
        each.name: _knob(each, function, where) for each in parameters if each.kind is inspect.Parameter.KEYWORD_ONLY
    }
    trait_values = {**defaults, **getattr(function, TRAITS, {})}
    try:
        method_traits = traits_of(traits, name, trait_values)
    except TypeError as error:
        raise UserError(f"{where}: {error}", "Correct what `initpools_cli.register` is given.", name) from None
    summary = (inspect.getdoc(function) or "").split("\n", 1)[0]
    method = Method(name, build, inputs, optional, knobs, summary, method_traits)
    _check_knobs(method, where)
    return method


def _parameters(function: Callable[..., Any], where: str) -> list[inspect.Parameter]:
    try:
        return list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError, NameError) as error:
        raise UserError(
            f"The signature of {where} can't be read: {describe_error(error)}.", "Write a plain function.", where
        ) from None


def _check_kinds(parameters: list[inspect.Parameter], where: str) -> None:
    for each in parameters:
        if each.kind in (each.VAR_POSITIONAL, each.VAR_KEYWORD):
            stars = "*" if each.kind is each.VAR_POSITIONAL else "**"
            raise UserError(
                f"{where} takes {stars}{each.name}, from which its arrays and knobs are not known.",
                "Name each array, and after a `*` each knob with its default.",
                f"{stars}{each.name}",
            )
        if each.kind is each.POSITIONAL_ONLY:
            raise UserError(
                f"{where} takes '{each.name}' by position alone.", "Leave the `/` out of its signature.", each.name
            )


def _unknown(name: str, where: str, arrays: Collection[str], services: Collection[str]) -> UserError:
    guess = nearest(name, [*arrays, *services])
    hint = f" Did you mean '{guess}'?" if guess else ""
    return UserError(
        f"{where} asks for '{name}', which it can't be given.",
        f"Before the `*` it may have {', '.join([*arrays, *sorted(services)])}; write knobs after the `*`.{hint}",
        name,
    )


def _globals(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the global names that a function sees."""
    names: dict[str, Any] = getattr(inspect.unwrap(function), "__globals__", {})
    return names


def _knob(parameter: inspect.Parameter, function: Callable[..., Any], where: str) -> tuple[Any, Any]:
    """The type and default of a knob; without an annotation the type of its default."""
    if parameter.default is parameter.empty:
        raise UserError(
            f"The knob '{parameter.name}' of {where} has no default.",
            f"Give it one, for example `{parameter.name}=1.0`.",
            parameter.name,
        )
    if parameter.name in SERVICES:
        raise UserError(
            f"{where} has '{parameter.name}' after the `*`, where only knobs are.",
            f"Write '{parameter.name}' before the `*`.",
            parameter.name,
        )
    annotation = parameter.annotation
    if annotation is parameter.empty:
        return (Any if parameter.default is None else type(parameter.default)), parameter.default
    if isinstance(annotation, str):
        try:
            annotation = eval(annotation, _globals(function))  # of the plug-in, which is code that is run  # nosec B307
        except Exception as error:
            raise UserError(
                f"The type of the knob '{parameter.name}' of {where} is not known: {describe_error(error)}.",
                "Write bool, int, float or str, or leave out the annotation.",
                parameter.name,
            ) from None
    return annotation, parameter.default


def _check_knobs(method: Method, where: str) -> None:
    """The defaults are checked as if they were set: what is stored in a run is numbers, texts and switches."""
    for key, (annotation, default) in method.knobs.items():
        if default is not None and not isinstance(default, bool | int | float | str):
            raise UserError(
                f"The knob '{key}' of {where} has the default {default!r}, which no setting can be.",
                "Use a number, a text, True or False, or None.",
                key,
            )
        try:
            method.validate({key: default})
        except UserError:
            raise UserError(
                f"The knob '{key}' of {where} has the default {default!r}, which is not {_type_name(annotation)}.",
                "Change the default or the annotation.",
                key,
            ) from None
        except Exception as error:
            raise UserError(
                f"The type of the knob '{key}' of {where} can't be checked: {describe_error(error)}.",
                "Annotate it with bool, int, float or str.",
                key,
            ) from None


def _type_name(annotation: Any) -> str:
    return getattr(annotation, "__name__", str(annotation))
