"""The supported versions, and the extras, from ``pyproject.toml``."""

import re
import tomllib
from pathlib import Path
from typing import Any

from .rst import code, table

ROOT = Path(__file__).resolve().parents[3]


def write() -> str:
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    rows = [("Python", code(project["requires-python"]), "\\")]
    rows += [(*_split(line), "\\") for line in project["dependencies"]]
    for extra, lines in project["optional-dependencies"].items():
        rows += [(*_split(line), code(f"pushsite[{extra}]")) for line in lines]
    tested = [pair.replace("/", " with Django ") for pair in combinations()]
    pairs = f"``make matrix`` runs the tests of the app on Python {', '.join(tested)}.\n\n"
    return pairs + table(("package", "versions", "installed with"), rows)


def combinations() -> list[str]:
    """The versions of Python and Django in ``scripts/matrix``, as ``3.13/6.1``."""
    (pairs,) = re.findall(r"^COMBINATIONS=\((.*)\)$", (ROOT / "scripts/matrix").read_text(), re.M)
    return str(pairs).split()


def _split(requirement: str) -> tuple[str, str]:
    """Split a requirement into its package and its versions."""
    cut = next(number for number, mark in enumerate(requirement) if mark in "<>=~!")
    return requirement[:cut].strip(), code(requirement[cut:].strip())
