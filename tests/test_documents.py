"""What the documents name is there."""

import re

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
