"""The system checks: ids, messages and hints, read from the source of the checks.

The messages are written where they are needed, and hold values of the running site. In the
reference these are shown as “…”.
"""

import ast
import inspect
from collections.abc import Iterator
from importlib import import_module
from itertools import groupby
from pathlib import Path
from pkgutil import iter_modules
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
        made = sorted(_read(Path(inspect.getfile(module))))
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
    hints = {check.hint: f"*Hint:* {escape(check.hint)}" for check in messages if check.hint}
    return item("systemcheck", name, "\n\n".join([*said, *hints.values()]))


def _read(path: Path) -> Iterator[Check]:
    tree = ast.parse(path.read_text())
    constants = {
        target.id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            given = {word.arg: word.value for word in node.keywords}
            if isinstance(name := given.get("id"), ast.Constant):
                message = given.get("msg") or node.args[0]
                hint = given.get("hint")
                yield Check(
                    str(name.value),
                    node.func.id,
                    _text(message, constants),
                    _text(hint, constants) if hint else "",
                )


def _text(node: ast.expr, constants: dict[str, ast.expr]) -> str:
    """The text of an expression, with “…” for what is known only when it runs."""
    match node:
        case ast.Constant(value=str(text)):
            return " ".join(text.split(" "))
        case ast.JoinedStr(values=parts):
            return "".join(_text(part, constants) for part in parts)
        case ast.Name(id=name) if name in constants:
            return _text(constants[name], constants)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return _text(left, constants) + _text(right, constants)
        case _:
            return "…"
