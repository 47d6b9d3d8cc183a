"""The settings: names, types, defaults and meanings from :mod:`notifications.conf`."""

from dataclasses import Field
from typing import Any

from sphinx.pycode import ModuleAnalyzer

from notifications.checks.values import WORDS
from notifications.conf import FIELDS

from .rst import item


def write() -> str:
    comments = ModuleAnalyzer.for_module("notifications.conf").find_attr_docs()
    return "".join(
        item("confval", name, "\n".join(comments["Settings", name]), _options(field))
        for name, field in FIELDS.items()
    )


def _options(field: "Field[Any]") -> list[str]:
    return [f"type: {WORDS[str(field.type)]}", f"default: ``{field.default!r}``"]
