"""The system checks: ids, messages and hints, read from the source of the checks.

The messages are written where they are needed, and hold values of the running site. In the
reference these are shown as “…”.
"""

import ast
import inspect
import re
from collections.abc import Iterator
from importlib import import_module
from itertools import groupby
from pkgutil import iter_modules
from textwrap import dedent, indent
from types import ModuleType
from typing import NamedTuple

from notifications import checks

from .rst import escape, item

PREFIX = "notifications."


class Check(NamedTuple):
    """One message of a check."""

    id: str
    level: str
    message: str
    hint: str


def sections() -> dict[str, list[Check]]:
    """The checks of each module, below the first line of its docstring."""
    found: dict[str, list[Check]] = {}
    for name in [module.name for module in iter_modules(checks.__path__)]:
        module = import_module(f"{checks.__name__}.{name}")
        made = sorted(_read(module))
        if made:
            found[(module.__doc__ or "").split("\n")[0]] = made
    return found


def write() -> str:
    parts = []
    for about, made in sections().items():
        parts += [about, "\n\n"]
        parts += [_write(name, list(same)) for name, same in groupby(made, key=lambda one: one.id)]
    return "".join(parts)


def _write(name: str, messages: list[Check]) -> str:
    said = [f"{check.level}. {escape(check.message)}" for check in messages]
    hints = {check.hint: _hint(check.hint) for check in messages if check.hint}
    return item("systemcheck", name, "\n\n".join([*said, *hints.values()]))


def _hint(text: str) -> str:
    """A hint; what follows its first line is code."""
    first, _, rest = text.partition("\n")
    block = f"\n\n.. code-block:: python\n\n{indent(dedent(rest), '   ')}" if rest else ""
    return f"*Hint:* {escape(first)}{block}"


def _read(module: ModuleType) -> Iterator[Check]:
    for node in ast.walk(ast.parse(inspect.getsource(module))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            given = {word.arg: word.value for word in node.keywords}
            if isinstance(name := given.get("id"), ast.Constant):
                hint = given.get("hint")
                yield Check(
                    str(name.value),
                    node.func.id,
                    _text(given.get("msg") or node.args[0], module),
                    _text(hint, module) if hint else "",
                )


def _text(node: ast.expr, module: ModuleType) -> str:
    """The text of an expression, with “…” for what is known only when it runs."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=parts):
            return re.sub("…[….]*", "…", "".join(_text(part, module) for part in parts))
        case ast.Name(id=name):
            return _known(getattr(module, name, None))
        case ast.Attribute(value=ast.Name(id=owner), attr=name):
            return _known(getattr(getattr(module, owner, None), name, None))
        case _:
            return "…"


def _known(value: object) -> str:
    return value if isinstance(value, str) else "…"
