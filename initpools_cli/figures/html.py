"""HTML from templates, in which every value is escaped unless a template made it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup


#: The script that sorts tables.
SORT = "sort.js"


@cache
def environment(package: str = "initpools_cli.figures") -> Environment:
    """Jinja's environment for the folder ``templates`` of a package, with autoescape."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    env = Environment(
        loader=PackageLoader(package),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=_encodable,
    )
    # Keep the order of keys, and write no spaces.
    env.policies["json.dumps_kwargs"] = {"separators": (",", ":")}
    env.filters["code_parts"] = _code_parts
    env.globals["asset"] = asset
    return env


def render(template: str, **values: Any) -> Markup:
    """HTML of one of the templates in ``figures/templates``."""
    from markupsafe import Markup

    return Markup(environment().get_template(template).render(values))  # the template escapes values  # nosec B704


def asset(name: str) -> Markup:
    """The style sheet or script of that name in ``figures/assets``."""
    from markupsafe import Markup

    # A file of this package.
    return Markup(files("initpools_cli.figures").joinpath("assets", name).read_text(encoding="utf-8"))  # nosec B704


def paragraph(text: str, kind: str = "") -> Markup:
    """A paragraph of plain text with `code` between backticks; nothing where there is none.

    Parameters
    ----------
    text : str
    kind : str
        Its class.
    """
    return _block("paragraph", text, kind)


def bullets(lines: Iterable[str]) -> Markup:
    """A list of plain sentences."""
    return _block("bullets", list(lines))


def folded(summary: str, body: Markup) -> Markup:
    """HTML that opens with a click on its summary."""
    return _block("folded", summary, body)


def facts(rows: Mapping[str, object]) -> Markup:
    """A table of names and values."""
    return _block("facts", rows)


def table(
    caption: str,
    header: Sequence[str],
    rows: Iterable[Sequence[object]],
    numbers: int = 0,
    marks: Sequence[str] = (),
    *,
    sortable: bool = False,
) -> Markup:
    """A table that scrolls within the page if it is too wide.

    Parameters
    ----------
    caption : str
        Name of the table for screen readers.
    header : sequence of str
    rows : iterable of sequences
    numbers : int
        The last so many columns hold numbers.
    marks : sequence of str
        The class of every row, "" for none; default: none has one.
    sortable : bool
        Whether a click on a heading sorts the rows; its section needs the script `SORT`.
    """
    return _block("table", caption, header, list(rows), len(header) - numbers, marks, sortable)


def _block(name: str, *values: object) -> Markup:
    markup: Markup = getattr(environment().get_template("blocks.html.j2").module, name)(*values)
    return markup


def _code_parts(text: str) -> list[str]:
    """Plain text and what stands between backticks, in turn."""
    return re.split("`([^`]+)`", text)


def _encodable(value: Any) -> Any:
    """The value as UTF-8 can hold it: halves of characters become "?"."""
    return value.encode("utf-8", "replace").decode("utf-8") if type(value) is str else value
