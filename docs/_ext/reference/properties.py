"""The custom properties of the style sheet, with their values in both colour schemes."""

import re

from .browser import CLIENT
from .rst import code, table

PROPERTY = re.compile(r"(--notifications-[\w-]+): ([^;]+);")


def write() -> str:
    light, dark, *_ = re.findall(
        r"^ *:root \{([^}]*)\}", (CLIENT / "notifications.css").read_text(), re.MULTILINE
    )
    in_dark = dict(PROPERTY.findall(dark))
    rows = [
        (code(name), code(value), code(in_dark[name]) if name in in_dark else "the same")
        for name, value in PROPERTY.findall(light)
    ]
    return table(("property", "light", "dark"), rows)
