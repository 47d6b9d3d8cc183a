"""What type checkers find in the code of a host that has installed the wheel."""

import json
import shutil
import subprocess
from collections import defaultdict
from pathlib import Path

import pytest

from tests.js.test_modules import find_node
from tests.sites import ROOT
from tests.wheels import borrowing_environment

pytestmark = [pytest.mark.integration, pytest.mark.hosts]

FILES = Path(__file__).parent / "typed"

MYPY = """
[mypy]
strict = true
plugins = mypy_django_plugin.main
[mypy.plugins.django-stubs]
django_settings_module = settings
"""

#: What a checker says of each line that it dislikes, by file and line.
Complaints = dict[tuple[str, int], str]


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory, wheel: Path) -> Path:
    """The directory of a host project, whose environment ``venv`` has the wheel."""
    directory = tmp_path_factory.mktemp("host")
    borrowing_environment(directory / "venv", wheel)
    for name in ("settings.py", "right.py", "wrong.py"):
        shutil.copy(FILES / name, directory)
    return directory


def mypy(host: Path) -> Complaints:
    (host / "mypy.ini").write_text(MYPY)
    output = _run(host, host / "venv/bin/python", "-m", "mypy", "right.py", "wrong.py")
    found: Complaints = {}
    for line in output.splitlines():
        place, separator, message = line.partition(": error: ")
        if separator:
            name, number = place.split(":")
            found[name, int(number)] = message
    return found


def pyright(host: Path) -> Complaints:
    config = {"include": ["right.py", "wrong.py"], "typeCheckingMode": "strict"}
    (host / "pyrightconfig.json").write_text(json.dumps(config))
    script = ROOT / "node_modules/pyright/index.js"
    arguments = ("--outputjson", "--pythonpath", host / "venv/bin/python")
    output = _run(host, find_node(), script, *arguments)
    found: dict[tuple[str, int], str] = defaultdict(str)
    for diagnostic in json.loads(output)["generalDiagnostics"]:
        name = Path(diagnostic["file"]).name
        found[name, diagnostic["range"]["start"]["line"] + 1] += diagnostic["message"] + "\n"
    return dict(found)


def _run(host: Path, *command: str | Path) -> str:
    result = subprocess.run(
        command, cwd=host, capture_output=True, text=True, timeout=300, check=False
    )
    assert not result.stderr, result.stderr
    return result.stdout


@pytest.mark.parametrize("checker", [mypy, pyright])
def test_type_checkers_find_the_mistakes_of_a_host_and_nothing_else(checker, host: Path) -> None:
    expected = {
        ("wrong.py", number): line.rpartition("  # ")[2]
        for number, line in enumerate((FILES / "wrong.py").read_text().splitlines(), 1)
        if "  # " in line
    }
    found = checker(host)
    assert found.keys() == expected.keys(), found
    assert len(expected) > 20
    for place, words in expected.items():
        assert words in found[place]
