"""What the source says of the rooms of the app: modules, imports, layers. For scripts/rooms."""

import ast
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

PACKAGE = "notifications"


class NotTrueError(Exception):
    """The picture would say what the source does not."""


def read(root: Path, ways: Iterable[Sequence[str]]) -> tuple[list[list[str]], dict[str, Path]]:
    """The rows of rooms of a checkout, and its modules.

    Args:
        ways: rooms one after the other, each of which imports the next or is imported by it.

    Raises:
        NotTrueError: a step of a way has no import, or a room imports one that is not below it.
    """
    known = modules(root / PACKAGE)
    graph = {name: imports(name, path, known) for name, path in known.items()}
    for way in ways:
        check_way(way, graph)
    return rows(layers(root), top_edges(graph)), known


def modules(package: Path) -> dict[str, Path]:
    """Dotted names below the package, without migrations, and their files."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package).with_suffix("").parts
        if parts[0] != "migrations":
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(name: str, path: Path, known: Mapping[str, Path]) -> set[str]:
    """The modules of the package that one of them imports, anywhere in it."""
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
    """What a ``from … import`` names, as an absolute name."""
    if not node.level:
        return node.module or ""
    here = [PACKAGE, *(package.split(".") if package else [])]
    here = here[: len(here) - node.level + 1]
    return ".".join([*here, *([node.module] if node.module else [])])


def _module(target: str, known: Mapping[str, Path]) -> str:
    """The module that an imported name is, or is in."""
    name = target.removeprefix(f"{PACKAGE}.")
    while name and name not in known:
        name = name.rpartition(".")[0]
    return name


def layers(root: Path) -> list[list[str]]:
    """The layers of the contract, from the top, each a list of rooms."""
    contracts = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["importlinter"]
    for contract in contracts["contracts"]:
        if contract.get("containers") == [PACKAGE]:
            return [
                [room.strip(" ()") for room in layer.split("|")] for layer in contract["layers"]
            ]
    raise NotTrueError("pyproject.toml has no layers of the app")


def rows(found: Sequence[Sequence[str]], edges: set[tuple[str, str]]) -> list[list[str]]:
    """The layers, neighbours joined where the upper one does not import the lower one.

    Raises :class:`NotTrueError` when a room imports one that is not below it.
    """
    level = {room: number for number, layer in enumerate(found) for room in layer}
    for upper, lower in sorted(edges):
        if level[upper] >= level[lower]:
            raise NotTrueError(f"{upper} imports {lower}, which is not below it")
    joined: list[list[str]] = []
    for layer in found:
        if joined and not any((a, b) in edges for a in joined[-1] for b in layer):
            joined[-1] += layer
        else:
            joined.append([*layer])
    return joined


def top_edges(graph: Mapping[str, set[str]]) -> set[tuple[str, str]]:
    """The rooms that import each other; the face of the package is none."""
    pairs = {(name.split(".")[0], target.split(".")[0]) for name in graph for target in graph[name]}
    return {(a, b) for a, b in pairs if a and a != b}


def check_way(way: Sequence[str], graph: Mapping[str, set[str]]) -> None:
    """Raises :class:`NotTrueError` where no module of a step imports one of the other."""

    def imports_from(a: str, b: str) -> bool:
        return any(
            _is_in(name, a) and any(_is_in(target, b) for target in graph[name]) for name in graph
        )

    for a, b in pairwise(way):
        if not imports_from(a, b) and not imports_from(b, a):
            raise NotTrueError(f"neither {a} nor {b} imports the other")


def _is_in(name: str, room: str) -> bool:
    return name == room or name.startswith(f"{room}.")


def children(room: str, known: Mapping[str, Path]) -> tuple[list[str], list[str]]:
    """The modules of a room, and the rooms in it: only the hub is drawn with its rooms."""
    below = [name.removeprefix(f"{room}.") for name in known if name.startswith(f"{room}.")]
    inner = sorted({name.split(".")[0] for name in below if "." in name})
    if room == "hub":
        return [name for name in below if name.split(".")[0] not in inner], inner
    names = [name.rpartition(".")[2] for name in below if name not in inner]
    return [name for name in names if not name.startswith("_")], []
