"""Read the rooms of the app from the source: modules, imports and layers. For scripts/rooms."""

import ast
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

PACKAGE = "notifications"


class PictureError(Exception):
    """The source contradicts the picture."""


def read(root: Path, ways: Iterable[Sequence[str]]) -> tuple[list[list[str]], dict[str, Path]]:
    """Return the rows of rooms of a checkout, and its modules.

    Args:
        root: the directory of the checkout.
        ways: paths through rooms. Each room imports the next one, or is imported by it.

    Raises:
        PictureError: a step of a path has no import, or a room imports one that is not below it.
    """
    known = modules(root / PACKAGE)
    graph = {name: imports(name, path, known) for name, path in known.items()}
    for way in ways:
        check_way(way, graph)
    return rows(layers(root), top_edges(graph)), known


def modules(package: Path) -> dict[str, Path]:
    """Map the dotted names of the package's modules, without migrations, to their files."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package).with_suffix("").parts
        if parts[0] != "migrations":
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(name: str, path: Path, known: Mapping[str, Path]) -> set[str]:
    """Return the modules of the package that a module imports, at any place in its code."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = _base(node, package)
            names = [f"{base}.{alias.name}" for alias in node.names] if base else []
        else:
            continue
        found |= {_module(target, known) for target in names if target.startswith(f"{PACKAGE}.")}
    return found - {name, ""}


def _base(node: ast.ImportFrom, package: str) -> str:
    """Return the absolute name of the module in a ``from … import``."""
    if not node.level:
        return node.module or ""
    here = [PACKAGE, *(package.split(".") if package else [])]
    here = here[: len(here) - node.level + 1]
    return ".".join([*here, *([node.module] if node.module else [])])


def _module(target: str, known: Mapping[str, Path]) -> str:
    """Return the module that an imported name is or belongs to, "" if none is known."""
    name = target.removeprefix(f"{PACKAGE}.")
    while name and name not in known:
        name = name.rpartition(".")[0]
    return name


def layers(root: Path) -> list[list[str]]:
    """Return the layers of the contract, from the top, each as a list of rooms.

    Raises:
        PictureError: pyproject.toml has no such contract.
    """
    contracts = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["importlinter"]
    for contract in contracts["contracts"]:
        if contract.get("containers") == [PACKAGE]:
            return [
                [room.strip(" ()") for room in layer.split("|")] for layer in contract["layers"]
            ]
    raise PictureError("pyproject.toml has no layers of the app")


def rows(found: Sequence[Sequence[str]], edges: set[tuple[str, str]]) -> list[list[str]]:
    """Join adjacent layers if the upper one does not import the lower one.

    Raises:
        PictureError: a room imports one that is not below it.
    """
    level = {room: number for number, layer in enumerate(found) for room in layer}
    for upper, lower in sorted(edges):
        if level[upper] >= level[lower]:
            raise PictureError(f"{upper} imports {lower}, which is not below it")
    joined: list[list[str]] = []
    for layer in found:
        if joined and not any((a, b) in edges for a in joined[-1] for b in layer):
            joined[-1] += layer
        else:
            joined.append([*layer])
    return joined


def top_edges(graph: Mapping[str, set[str]]) -> set[tuple[str, str]]:
    """Return pairs of rooms, the first of which imports the second, without the package itself."""
    pairs = {(name.split(".")[0], target.split(".")[0]) for name in graph for target in graph[name]}
    return {(a, b) for a, b in pairs if a and a != b}


def check_way(way: Sequence[str], graph: Mapping[str, set[str]]) -> None:
    """Check that the imports in the source confirm a path.

    Raises:
        PictureError: neither room of a step imports the other.
    """

    def imports_from(a: str, b: str) -> bool:
        return any(
            _is_in(name, a) and any(_is_in(target, b) for target in graph[name]) for name in graph
        )

    for a, b in pairwise(way):
        if not imports_from(a, b) and not imports_from(b, a):
            raise PictureError(f"neither {a} nor {b} imports the other")


def _is_in(name: str, room: str) -> bool:
    return name == room or name.startswith(f"{room}.")


def children(room: str, known: Mapping[str, Path]) -> tuple[list[str], list[str]]:
    """Return the modules of a room, and the rooms in it. Only the hub is drawn with inner rooms."""
    below = [name.removeprefix(f"{room}.") for name in known if name.startswith(f"{room}.")]
    inner = sorted({name.split(".")[0] for name in below if "." in name})
    if room == "hub":
        return [name for name in below if name.split(".")[0] not in inner], inner
    names = [name.rpartition(".")[2] for name in below if name not in inner]
    return [name for name in names if not name.startswith("_")], []
