"""Rules of the rooms that import-linter does not check: import cycles, and sans-I/O modules.

The contract in pyproject.toml says which room may import from which.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "notifications"


def modules() -> Iterator[tuple[str, Path]]:
    """Yield the dotted name of each module below the package, and its file."""
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        yield ".".join(parts), path


def imports(name: str, path: Path) -> set[str]:
    """Names below the package that a module imports, anywhere in its code."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = ["notifications", *name.split(".")][: -node.level]
                base = ".".join([*package, *([base] if base else [])])
            found |= {f"{base}.{alias.name}" for alias in node.names}
    inside = {found_name.split(".", 1)[1] for found_name in found if _is_ours(found_name)}
    return {target for target in inside if target}


def _is_ours(name: str) -> bool:
    return name.startswith("notifications.")


def room(module: str) -> str:
    return module.split(".")[0]


MODULES = dict(modules())


def test_the_modules_and_their_imports_are_found() -> None:
    assert {"hub.hub", "protocol.session", "handlers.connection"} <= set(MODULES)
    targets = imports("handlers.publish", MODULES["handlers.publish"])
    assert "publishing" in {room(target) for target in targets}


def test_there_are_no_import_cycles() -> None:
    graph = {name: _targets(name) for name in MODULES}
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " → ".join([*path[path.index(name) :], name])
        if name in done:
            return
        for target in sorted(graph[name]):
            visit(target, (*path, name))
        done.add(name)

    for name in graph:
        visit(name, ())


def _targets(name: str) -> set[str]:
    """The modules of the package that a module imports."""
    found: set[str] = set()
    for target in imports(name, MODULES[name]):
        parts = target.split(".")
        for end in range(len(parts), 0, -1):
            candidate = ".".join(parts[:end])
            if candidate in MODULES:
                found.add(candidate)
                break
            if f"{candidate}.__init__" in MODULES and candidate != name.rpartition(".")[0]:
                found.add(f"{candidate}.__init__")
                break
    return found - {name}


@pytest.mark.parametrize("name", [name for name in MODULES if room(name) == "protocol"])
def test_a_protocol_module_imports_nothing_that_does_io(name: str) -> None:
    """The protocol is sans-I/O: no clock, no randomness, no sockets, no database."""
    forbidden = {"asyncio", "time", "random", "socket", "django", "channels", "secrets", "datetime"}
    used: set[str] = set()
    for node in ast.walk(ast.parse(MODULES[name].read_text())):
        if isinstance(node, ast.Import):
            used |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            used.add((node.module or "").split(".")[0])
    assert not used & forbidden
