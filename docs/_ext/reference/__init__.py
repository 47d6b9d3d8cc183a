"""A Sphinx extension that writes the reference from the code, so that the two cannot differ.

``.. from-code:: settings`` is replaced by what the module of that name in this package writes.
"""

from collections.abc import Callable
from typing import Any, ClassVar

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from . import (
    browser,
    checks,
    codes,
    commands,
    metrics,
    options,
    properties,
    templates,
    urls,
    versions,
)

#: What can be written: functions that return reStructuredText.
PARTS: dict[str, Callable[[], str]] = {
    "browser": browser.write,
    "checks": checks.write,
    "commands": commands.write,
    "errors": codes.write_errors,
    "disconnects": codes.write_disconnects,
    "unsubscribes": codes.write_unsubscribes,
    "metrics": metrics.write,
    "properties": properties.write,
    "settings": options.write,
    "templates": templates.write,
    "urls": urls.write,
    "versions": versions.write,
}

#: Kinds of things that Sphinx has no directive for, and their roles.
KINDS = {
    "templatetag": "ttag",
    "templatefilter": "tfilter",
    "systemcheck": "check",
    "metric": "metric",
}


class FromCode(SphinxDirective):
    """The directive ``from-code``; its argument is a key of ``PARTS``."""

    required_arguments = 1
    option_spec: ClassVar[dict[str, Any]] = {}

    def run(self) -> list[nodes.Node]:
        self.env.note_reread()
        text = PARTS[self.arguments[0]]()
        return self.parse_text_to_nodes(text, allow_section_headings=True)


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("from-code", FromCode)
    for kind, role in KINDS.items():
        app.add_object_type(kind, role, f"pair: %s; {kind}")
    return {"version": "1", "parallel_read_safe": True}
