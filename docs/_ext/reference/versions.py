"""The supported versions, and the extras, from ``pyproject.toml``."""

import tomllib
from pathlib import Path
from typing import Any

from .rst import code, table

PYPROJECT = Path(__file__).resolve().parents[3] / "pyproject.toml"


def write() -> str:
    project: dict[str, Any] = tomllib.loads(PYPROJECT.read_text())["project"]
    rows = [("Python", code(project["requires-python"]), "\\")]
    rows += [(*_split(line), "\\") for line in project["dependencies"]]
    for extra, lines in project["optional-dependencies"].items():
        rows += [(*_split(line), code(f"pushsite[{extra}]")) for line in lines]
    return table(("package", "versions", "installed with"), rows)


def _split(requirement: str) -> tuple[str, str]:
    """Split a requirement into its package and its versions."""
    cut = next(number for number, mark in enumerate(requirement) if mark in "<>=~!")
    return requirement[:cut].strip(), code(requirement[cut:].strip())
