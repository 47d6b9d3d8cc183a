"""What the documents name is there, and the picture of the rooms shows the code as it is."""

import re
import runpy
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.servers import ROOT

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
    assert missing == []


def test_the_guarantees_name_tests() -> None:
    text = (ROOT / "docs" / "guarantees.md").read_text()
    assert len(re.findall(r"`test_\w+`", text)) > 20


@pytest.fixture(scope="module")
def rooms() -> dict[str, Any]:
    """What the script that draws the rooms defines."""
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
    with pytest.raises(rooms["NotTrueError"], match="streams imports hub"):
        rooms["picture"](checkout)


def test_no_picture_is_drawn_of_a_step_without_an_import(rooms) -> None:
    with pytest.raises(rooms["NotTrueError"], match="neither"):
        rooms["check_way"](("publishing", "consumers"), {"publishing.notify": {"streams.names"}})
