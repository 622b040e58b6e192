"""Resolution of settings: flags, then ``--set``, then ``--config FILE``, then defaults."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from initpools_cli.core.config import PROBES, TABLES, Settings
from initpools_cli.core.errors import UserError, nearest
from initpools_cli.core.files import read_file
from initpools_cli.core.registry import value_error
from initpools_cli.core.toml import parse_toml

#: The largest configuration file that is read, bytes.
LARGEST_CONFIG = 1 << 20
#: A dotted key, its value, and where the user set it.
Entry = tuple[str, Any, str]
#: Settings of [select] that every command with a strategy uses.
WITH_EVERY_STRATEGY = {
    "balance", "n_clusters", "order", "normalize", "sample", "copies", "min_distance", "semdedup", "per_group",
}  # fmt: skip
#: Settings of [select] by the table of another command that uses them: rankings and queries normalize like selections,
#: and scores use the embeddings that strategies get. [al] includes balance only to raise an error with a remedy.
SHARED: Mapping[str, set[str]] = {
    "rank": WITH_EVERY_STRATEGY | {"index"},
    "al": WITH_EVERY_STRATEGY,
    "score": {"normalize", "index"},
}
#: The option of each command with a method that may search nearest neighbors.
INDEXED = {"select": "strategy", "rank": "strategy", "score": "method"}


def load_settings(
    table: str,
    *,
    file: Path | None = None,
    sets: Sequence[str] = (),
    flags: Mapping[str, Any] | None = None,
    knobs: Collection[str] = (),
) -> tuple[Settings, dict[str, str]]:
    """Resolve the settings of one command.

    Parameters
    ----------
    table : str
        The command's table, for ``--set`` keys without a dot.
    file : Path, optional
        The ``--config`` file.
    sets : sequence of str
        ``key=value`` as typed; a value that is not valid TOML is a string.
    flags : mapping of dotted key to value
        The values of flags; None if a flag was not set.
    knobs : collection of str
        The knobs of the command's method; they take precedence over the table's own keys.

    Returns
    -------
    settings : Settings
    origin : dict of str to str
        Where the user set each dotted key: a file, ``--set`` or a flag.

    Raises
    ------
    UserError
        Unknown table or key, wrong type, value out of range, unreadable file.
    """
    in_file = (
        [(key, value, str(file)) for key, value in _flatten(_read_toml(file), str(file))] if file is not None else []
    )
    in_sets = [(_dotted_key(key, table, knobs), value, "--set") for key, value in map(parse_set, sets)]
    in_flags = [
        (key, value, f"--{key.rpartition('.')[2].replace('_', '-')}")
        for key, value in (flags or {}).items()
        if value is not None
    ]
    # Values that --set or a flag overrides must be valid, too.
    for entries in (in_file, in_sets):
        _validate(entries)
    settings, origin = _validate([*in_file, *in_sets, *in_flags])
    if table != "select" and origin.get("select.partitions") == "--set":
        raise UserError(
            "select.partitions (in --set) has no effect here.",
            "Leave it out: only `initpools select-pool` selects in partitions.",
            "select.partitions",
        )
    return _with_index(settings, origin, table, knobs), origin


def _validate(entries: Iterable[Entry]) -> tuple[Settings, dict[str, str]]:
    """Return settings, of which later entries override earlier ones, and where each dotted key was set last."""
    tables: dict[str, dict[str, Any]] = {}
    origin: dict[str, str] = {}
    for dotted_key, value, where in entries:
        _put(tables, dotted_key, value, where)
        origin[dotted_key] = where
    for dotted_key, where in origin.items():
        _refuse_unknown(dotted_key, where)
    try:
        return Settings.model_validate(tables), origin
    except ValidationError as error:
        loc = ".".join(str(part) for part in error.errors()[0]["loc"][:2])
        raise value_error(error, where=origin.get(loc, "")) from None


def _put(tables: dict[str, dict[str, Any]], dotted_key: str, value: Any, where: str) -> None:
    """Set a dotted key of nested tables."""
    if isinstance(value, str) and "\0" in value:
        raise UserError(
            f"{dotted_key} (in {where}) contains a NUL character.", f"Set {dotted_key} to text without it.", dotted_key
        )
    head, _, key = dotted_key.partition(".")
    target = tables.setdefault(head, {})
    if key.startswith("params."):
        target = target.setdefault("params", {})
        if not isinstance(target, dict):
            name = f"{head}.params"
            raise UserError(f"'{name}' is not a table (in {where}).", f"Write [{name}] in TOML.", name)
    *inner, last = key.removeprefix("params.").split(".") if key.startswith("params.") else [key]
    for part in inner:
        target = target.setdefault(part, {})
        if not isinstance(target, dict):
            name = f"{head}.params.{part}"
            raise UserError(f"'{name}' is both a value and a table (in {where}).", "Set only one of the two.", name)
    target[last] = value


def _with_index(settings: Settings, origin: dict[str, str], table: str, knobs: Collection[str]) -> Settings:
    """Replace ``select.index`` by the knob that it sets."""
    if table == "al" and origin.get("select.index") == "--set":
        raise UserError(
            "select.index (in --set) has no effect in al-run.",
            f"Set the knob of a strategy: --set al.params.typicality.probes={PROBES}.",
            "select.index",
        )
    if table not in INDEXED or "select.index" not in origin:
        return settings
    own: Any = getattr(settings, table)
    params = own.params | index_knobs(settings.select.index, getattr(own, INDEXED[table]), knobs, own.params)
    origin.setdefault(f"{table}.params.probes", origin["select.index"])
    changes = {table: own.model_copy(update={"params": params})}
    changes["select"] = changes.get("select", settings.select).model_copy(update={"index": "exact"})
    return settings.model_copy(update=changes)


def index_knobs(index: str, name: str, knobs: Collection[str], params: Mapping[str, Any]) -> dict[str, int]:
    """Return the knob that an index sets.

    Parameters
    ----------
    index : {"exact", "ivf"}
    name : str
        The method, for errors.
    knobs : collection of str
        The names of its knobs.
    params : mapping
        Values of the knobs that are set.

    Raises
    ------
    UserError
        If the index has no effect.
    """
    if index == "exact":
        if params.get("probes"):
            raise UserError(
                f"probes={params['probes']} has no effect with index = 'exact'.", "Leave out one of them.", "probes"
            )
        return {}
    if "probes" not in knobs:
        raise UserError(
            f"index = 'ivf' has no effect: '{name}' has no approximate search.", "Leave out index.", "index = 'ivf'"
        )
    return {} if params.get("probes") else {"probes": PROBES}


def value_set(dotted_key: str, file: Path | None, sets: Sequence[str]) -> Any:
    """Return the value of one setting from the ``--config`` file or ``--set``, before settings are resolved.

    None if it is not set. The method of a command is read this way, since its knobs decide what else may be set.
    """
    key = dotted_key.partition(".")[2]
    setting = dict(_flatten(_read_toml(file), str(file))).get(dotted_key) if file is not None else None
    for name, value in map(parse_set, sets):
        if name in (dotted_key, key):
            setting = value
    return setting


def knob_origins(origin: Mapping[str, str], knobs: Iterable[str], *tables: str) -> dict[str, str]:
    """Return where each knob was set: a flag, ``--set`` or a file.

    Parameters
    ----------
    origin : mapping of str to str
        From `load_settings`.
    knobs : iterable of str
        The names of the knobs.
    *tables : str
        The dotted tables that may hold them, the most specific first, e.g. "al.params.typiclust".

    Returns
    -------
    dict of str to str
        Without knobs that have their defaults.
    """
    places = {knob: [origin.get(key) for table in tables for key in (f"{table}.{knob}", table)] for knob in knobs}
    return {knob: place for knob, each in places.items() if (place := next(filter(None, each), None))}


def parse_set(text: str) -> tuple[str, Any]:
    """Parse ``"delta=0.6"`` to ``("delta", 0.6)``; a value that is not valid TOML is a string."""
    key, equals, raw = text.partition("=")
    if not equals or not key.strip():
        quoted_text = repr(text)
        raise UserError(
            f"--set {quoted_text} is not of the form key=value.",
            "Write for example --set pretrain.epochs=20.",
            quoted_text,
        )
    try:
        value = parse_toml(f"value = {raw.strip()}")["value"]
    except ValueError:
        value = raw.strip()
    return key.strip(), value


def _dotted_key(key: str, table: str, knobs: Collection[str]) -> str:
    if "." in key:
        return key
    if key in knobs:
        return f"{table}.params.{key}"
    own = set(TABLES[table].model_fields) - {"params"}
    if key in own:
        return f"{table}.{key}"
    shared = SHARED.get(table, set())
    if key in shared:
        return f"select.{key}"
    own |= shared
    guess = nearest(key, [*knobs, *own])
    hint = f"Did you mean '{guess}'? " if guess else ""
    raise UserError(
        f"There is no setting '{key}' (in --set).",
        f"{hint}Set one of {', '.join(sorted({*knobs, *own}))}.",
        key,
    )


def _read_toml(file: Path) -> dict[str, Any]:
    content = read_file(file, "--config", most=LARGEST_CONFIG)
    try:
        return parse_toml(content.decode())
    except ValueError as error:
        raise UserError(
            f"{file} is not valid TOML: {error}.", "Correct that line and run the command again.", file
        ) from None


def _flatten(tables: Mapping[str, Any], where: str) -> list[tuple[str, Any]]:
    flat: list[tuple[str, Any]] = []
    for name, content in tables.items():
        if not isinstance(content, dict):
            raise UserError(f"'{name}' (in {where}) is not in a table.", f"Move it to one of {_names()}.", name)
        for key, value in content.items():
            if key == "params" and isinstance(value, dict):
                flat += [(f"{name}.params.{knob}", setting) for knob, setting in value.items()]
            else:
                flat.append((f"{name}.{key}", value))
    return flat


def _names() -> str:
    return ", ".join(f"[{name}]" for name in TABLES)


def _refuse_unknown(dotted_key: str, where: str) -> None:
    head, _, key = dotted_key.partition(".")
    if head not in TABLES:
        guess = nearest(head, TABLES)
        hint = f"Did you mean [{guess}]? " if guess else ""
        raise UserError(f"There is no table [{head}] (in {where}).", f"{hint}Use one of {_names()}.", head)
    fields = TABLES[head].model_fields
    name = key.partition(".")[0]
    if name not in fields:
        guess = nearest(name, fields)
        hint = f"Did you mean '{head}.{guess}'? " if guess else ""
        valid = ", ".join(field for field in fields)
        raise UserError(
            f"There is no setting '{dotted_key}' (in {where}).", f"{hint}Set one of {valid} in [{head}].", dotted_key
        )
