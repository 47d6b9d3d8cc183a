"""Helpers that write reStructuredText."""

import re
from collections.abc import Iterable, Sequence
from inspect import cleandoc
from textwrap import indent

from sphinx.ext.napoleon.docstring import GoogleDocstring


def escape(text: str) -> str:
    """Escape plain text, so that none of its characters is markup; mark options as code."""
    escaped = re.sub(r"([\\*`_|<>])", r"\\\1", text)
    return re.sub(r"(?<!\S)--\w[\w-]*", r"``\g<0>``", escaped)


def code(text: str) -> str:
    """Mark text as code; "" stays empty."""
    return f"``{text}``" if text else ""


def table(head: Sequence[str], rows: Iterable[Sequence[str]], widths: str = "auto") -> str:
    """Write a table whose cells are reStructuredText."""
    lines = [".. list-table::", "   :header-rows: 1", f"   :widths: {widths}", ""]
    for row in [head, *rows]:
        for number, cell in enumerate(row):
            mark = "   * - " if number == 0 else "     - "
            lines.append(mark + indent(cell, "       ").strip())
    return "\n".join([*lines, ""])


def item(kind: str, name: str, body: str, options: Iterable[str] = ()) -> str:
    """Write a directive that describes one thing, such as ``.. metric:: name``."""
    head = [f".. {kind}:: {name}", *(f"   :{option}" for option in options), ""]
    return "\n".join([*head, indent(body.strip(), "   "), "", ""])


def heading(text: str, mark: str = "-") -> str:
    return f"{text}\n{mark * len(text)}\n\n"


def docstring(thing: object, *, leave_out: Sequence[str] = ()) -> str:
    """Convert the Google-style docstring of a function, without some of its arguments.

    Sphinx knows parameters only of functions, so they become a list here.
    """
    text = str(GoogleDocstring(cleandoc(getattr(thing, "__doc__", None) or "")))
    for name in leave_out:
        text = re.sub(rf"^:param {name}: .*\n(?: +.*\n)*", "", text, flags=re.MULTILINE)
    text = re.sub(r"^:param (\w+): ", r"* ``\1``: ", text, flags=re.MULTILINE)
    return re.sub(r"^:raises (\w+): ", r"\nRaises ``\1``: ", text, flags=re.MULTILINE)
