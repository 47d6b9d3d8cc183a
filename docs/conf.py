"""Configuration of the documentation; ``make docs`` builds it with Sphinx, strictly.

The reference is made from the code: docstrings by autodoc, and all tables by ``_ext/reference``.
"""

import logging
import os
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

import django
from sphinx.application import Sphinx

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
sys.path[:0] = [str(ROOT), str(DOCS / "_ext")]

# Models can only be imported into a configured project.
os.environ.update(DJANGO_SETTINGS_MODULE="pushsite.settings", DEBUG="1")
django.setup()
# The reference asks all views which methods they allow.
logging.getLogger("django.request").setLevel(logging.ERROR)

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

project = PROJECT["name"]
author = PROJECT["authors"][0]["name"]
copyright = f"2026, {author}"  # noqa: A001 - Sphinx names it so
release = PROJECT["version"]

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "reference",
]
exclude_patterns = ["_ext"]
# Dashes, but quotes stay as they are typed.
smartquotes_action = "D"

# Links to headings of other pages work as on the web pages of the repository.
myst_heading_anchors = 4
myst_enable_extensions = ["deflist"]

# Every reference to a name of this project must resolve. Those to Python, Django and others are
# only shown, because their inventories would have to be fetched.
nitpicky = True
nitpick_ignore_regex = [
    ("py:.*", r"(?!notifications\.).*"),
    # The reference has functions and classes. A module is where the code says more.
    ("py:mod", r"notifications\..*"),
]

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
napoleon_use_rtype = False

html_theme = "furo"
html_title = f"{project} {release}"
html_favicon = "../static/notifications/favicon.svg"
html_static_path = ["_static"]
html_css_files = ["pushsite.css"]
html_copy_source = False
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#4338ca", "color-brand-content": "#4338ca"},
    "dark_css_variables": {"color-brand-primary": "#a5b1ff", "color-brand-content": "#a5b1ff"},
}

#: The pages that stand for files outside of this directory.
SHOWN = {
    "../README.md": "index.md",
    "../CHANGELOG.md": "changelog.md",
    "../deploy/README.md": "deploy.md",
    "../examples/README.md": "examples.md",
    "../notifications/signals.py": "reference/signals.md",
}

#: What the list of decisions lacks, so that the navigation has each of them.
DECISIONS = """
```{toctree}
:hidden:
:glob:

0*
```
"""


def adapt(app: Sphinx, name: str, source: list[str]) -> None:
    """Change what works on the web pages of the repository, but not here."""
    up = "../" * name.count("/")
    for outside, page in SHOWN.items():
        link = re.escape(f"]({up}{outside}")
        source[0] = re.sub(rf"{link}(?=[)#])", f"]({up}{page}", source[0])
    if name == "decisions/README":
        source[0] += DECISIONS


def leave_fields_alone(app: Sphinx, what: str, name: str, thing: Any, *more: Any) -> None:
    """Remove what Python says of the fields of named tuples: "Alias for field number 0"."""
    lines: list[str] = more[-1]
    if lines and lines[0].startswith("Alias for field number"):
        lines.clear()


def setup(app: Sphinx) -> None:
    app.connect("source-read", adapt)
    app.connect("autodoc-process-docstring", leave_fields_alone)
