"""Build the reusable app; everything else about it is in pyproject.toml.

The templates and static files are at the top of this repository, where the site finds them. In the
wheel they are inside the app, where the app directory loaders of any other project find them.
"""

import re
import tomllib
from pathlib import Path

from setuptools import find_namespace_packages, find_packages, setup

ROOT = Path(__file__).parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

#: Folders of this repository by the package that holds them in the wheel.
ASSETS = {
    "notifications.static.notifications": "static/notifications",
    "notifications.static.notifications.types": "static/notifications/types",
    "notifications.templates.notifications": "templates/notifications",
    "notifications.templates.admin.notifications": "templates/admin/notifications",
    "notifications.templates.admin.notifications.broadcast": (
        "templates/admin/notifications/broadcast"
    ),
}

#: The folders of the translations.
LANGUAGES = find_namespace_packages(include=["notifications.locale*"])

#: A link or picture in Markdown whose address is a path in this repository.
RELATIVE = re.compile(r"(!?)\[([^\]]*)\]\((?!https?:|#)([^)]*)\)")


def readme() -> str:
    """Return the README with absolute links, because a package index has no files beside it."""
    source = PROJECT["urls"]["Source"]

    def absolute(link: re.Match[str]) -> str:
        is_picture, text, path = link.groups()
        kind = "raw" if is_picture else "blob"
        return f"{is_picture}[{text}]({source}/{kind}/main/{path})"

    return RELATIVE.sub(absolute, (ROOT / "README.md").read_text())


setup(
    packages=[*find_packages(include=["notifications", "notifications.*"]), *LANGUAGES, *ASSETS],
    package_dir=ASSETS,
    package_data={
        "notifications": ["py.typed", "protocol/client.proto", "protocol/client_pb2.pyi"],
        **{package: ["*"] for package in (*LANGUAGES, *ASSETS)},
    },
    long_description=readme(),
    long_description_content_type="text/markdown",
)
