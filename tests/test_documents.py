"""What the documents name is there, and the picture of the rooms shows the code as it is."""

import re
import runpy
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.sites import ROOT

DOCUMENTS = [
    *ROOT.glob("*.md"),
    *(ROOT / "docs").rglob("*.md"),
    *(ROOT / "deploy").glob("*.md"),
]

TESTS = {
    name
    for path in (ROOT / "tests").rglob("*.py")
    for name in re.findall(r"^ *(?:async )?def (test_\w+)", path.read_text(), re.MULTILINE)
}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_test_and_file_that_a_document_names_exists(path) -> None:
    quoted = re.findall(r"`([^`\n]+)`", path.read_text())
    missing = [name for name in quoted if re.fullmatch(r"test_\w+", name) and name not in TESTS]
    missing += [
        name
        for name in quoted
        if re.fullmatch(r"(?:tests|docs|deploy|scripts)/[\w./@-]+", name)
        and not (ROOT / name).exists()
    ]
    missing += [name for name in quoted if _is_module(name) and not _find(name)]
    links = re.findall(r"\]\(([^)#\s:]+)(?:#[^)]*)?\)", path.read_text())
    missing += [link for link in links if not (path.parent / link).exists()]
    assert missing == []


def _is_module(name: str) -> bool:
    if name.startswith("mysite/"):  # in the project of the reader
        return False
    return bool(re.fullmatch(r"[\w./]+\.(?:py|js)", name)) and "/" in name


def _find(name: str) -> Path | None:
    """A file by its path in the repository or, as documents shorten it, in a package of it."""
    roots = (ROOT, ROOT / "notifications", ROOT / "static" / "notifications")
    return next((root / name for root in roots if (root / name).is_file()), None)


def test_every_behaviour_is_in_the_file_that_the_architecture_names() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    rows = re.findall(r"^\| [^|]+\? \| `([\w/.]+)` \| `(\w+)` \|$", text, re.MULTILINE)
    assert len(rows) > 20
    missing = []
    for name, defined in rows:
        file = _find(name)
        pattern = rf"^ *(?:class|def|async def) {defined}\b|^{defined}\b.*="
        if file is None or not re.search(pattern, file.read_text(), re.MULTILINE):
            missing.append(f"{name}: {defined}")
    assert missing == []


def test_every_term_of_the_glossary_names_a_file_that_uses_it() -> None:
    text = (ROOT / "docs" / "glossary.md").read_text()
    rows = re.findall(r"^\| \*\*.+\| ([^|]+) \|$", text, re.MULTILINE)
    assert len(rows) > 30
    missing = [file for row in rows for file in re.findall(r"`([\w/.]+)`", row) if not _find(file)]
    assert missing == []
    assert all("`" in row for row in rows)


TEXTS = [
    path
    for folder in ("notifications", "pushsite", "benchmarks", "tests", "deploy", "docs", "static")
    for path in sorted((ROOT / folder).rglob("*"))
    if path.suffix in {".py", ".js", ".md", ".html", ".yaml", ".conf", ".service", ".sql"}
    and "node_modules" not in path.parts
]


def test_every_document_that_is_cited_is_there() -> None:
    cited = re.compile(r"(?<![\w/])(?:\.\./)*((?:docs/[\w/.-]+|[A-Z]{4,})\.md)\b")
    missing = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in TEXTS
        for name in cited.findall(path.read_text())
        if not any((base / name).exists() for base in (path.parent, ROOT))
    ]
    assert missing == []


def test_the_guarantees_name_tests() -> None:
    text = (ROOT / "docs" / "guarantees.md").read_text()
    assert len(re.findall(r"`test_\w+`", text)) > 20


@pytest.fixture(scope="module")
def rooms() -> dict[str, Any]:
    """What the script that draws the rooms defines."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "scripts")
        return runpy.run_path(str(ROOT / "scripts" / "rooms"))


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the app whose imports may be changed."""
    shutil.copytree(
        ROOT / "notifications",
        tmp_path / "notifications",
        ignore=shutil.ignore_patterns("__pycache__", "static", "templates"),
    )
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_the_picture_of_the_rooms_is_current(rooms) -> None:
    current = rooms["picture"](ROOT) == (ROOT / "docs" / "rooms.svg").read_text()
    assert current, "run scripts/rooms and commit docs/rooms.svg"


def test_the_picture_shows_a_new_module(rooms, checkout) -> None:
    before = rooms["picture"](checkout)
    (checkout / "notifications" / "inbox" / "brand_new.py").touch()
    assert "brand_new" in rooms["picture"](checkout)
    assert "brand_new" not in before


def test_no_picture_is_drawn_of_an_import_from_a_room_above(rooms, checkout) -> None:
    with (checkout / "notifications" / "streams" / "history.py").open("a") as module:
        module.write("\nfrom ..hub import hub\n")
    with pytest.raises(rooms["PictureError"], match="streams imports hub"):
        rooms["picture"](checkout)


def test_no_picture_is_drawn_of_a_step_without_an_import(rooms) -> None:
    with pytest.raises(rooms["PictureError"], match="neither"):
        rooms["read"](ROOT, [("publishing", "consumers")])
