"""Generated parts of the page on the Python API: signature and docstring; on the site mkdocstrings makes them."""

from __future__ import annotations

import importlib
import inspect


def api(path: str) -> str:
    """Show the signature, without types, and the docstring of a public function."""
    module, _, name = path.rpartition(".")
    function = getattr(importlib.import_module(module), name)
    signature, empty = inspect.signature(function), inspect.Parameter.empty
    parameters = [each.replace(annotation=empty) for each in signature.parameters.values()]
    call = signature.replace(parameters=parameters, return_annotation=empty)
    return f"## {path}\n\n```text\n{path}{call}\n\n{inspect.getdoc(function)}\n```"
