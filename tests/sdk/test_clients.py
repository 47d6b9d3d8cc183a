"""The programs of docs/clients.md work as they are there."""

import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.client import PATIENCE
from tests.docs.blocks import blocks_of
from tests.integration import jobs
from tests.integration.places import Place, open_place
from tests.sdk import driver
from tests.sdk.test_sdks import or_skip
from tests.sites import ROOT, Site

pytestmark = pytest.mark.integration

PAGE = ROOT / "docs" / "clients.md"


@pytest.fixture(scope="module")
def place(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with open_place(site, tmp_path_factory.mktemp("clients")) as place:
        yield place


def program(language: str, place: Place, token: str) -> str:
    """The program of the page in this language, with the test's address and token."""
    source = [block.source for block in blocks_of(PAGE) if block.language == language][-1]
    assert "wss://push.example.com/connection/websocket" in source
    source = source.replace("wss://push.example.com/connection/websocket", place.server.socket_url)
    assert "TOKEN" in source
    return source.replace("TOKEN", token)


def start_javascript(source: str, directory: Path, programs: Any) -> Any:
    """Start it beside the tests' own program, where node finds the SDK."""
    command = [driver.node()[0], "--input-type=module", "--eval", source]
    return subprocess.Popen(command, cwd=driver.HERE / "node", stdout=subprocess.PIPE, text=True)


def start_python(source: str, directory: Path, programs: Any) -> Any:
    command = [driver.python()[0], "-c", source]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def start_go(source: str, directory: Path, programs: Any) -> Any:
    programs["go"]()  # compiles the libraries for all builds
    (directory / "main.go").write_text(source)
    for name in ("go.mod", "go.sum"):
        (directory / name).write_text((driver.HERE / "go" / name).read_text())
    driver.compile_go("build", "-o", "program", ".", directory=directory)
    return subprocess.Popen([directory / "program"], stdout=subprocess.PIPE, text=True)


def start_java(source: str, directory: Path, programs: Any) -> Any:
    *java_with_jars, _ = programs["java"]()
    file = directory / "Notifications.java"
    file.write_text(source)
    command = [*java_with_jars, str(file)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


STARTS = {
    "js": start_javascript,
    "python": start_python,
    "go": start_go,
    "java": start_java,
}


@pytest.mark.parametrize("language", STARTS)
def test_the_program_of_the_page_prints_a_notification(
    place: Place, programs: Any, tmp_path: Path, language: str
) -> None:
    person = place.person()
    place.other.run(jobs.notify_user, person.id, ["It has shipped"])
    source = program(language, place, person.token)
    process = or_skip(language, lambda: STARTS[language](source, tmp_path, programs))
    # Without an answer the program would wait for ever, and the test with it.
    killer = threading.Timer(PATIENCE, process.kill)
    killer.start()
    try:
        assert "It has shipped" in process.stdout.readline()
    finally:
        killer.cancel()
        process.kill()
        process.wait()
        process.stdout.close()
