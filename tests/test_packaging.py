"""What is built from the repository: a source distribution and a wheel that holds the app alone."""

import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.sites import ROOT

BIN = Path(sys.executable).parent

#: Said of every build under these settings of the environment, and not of the package.
HARMLESS = "byte-compiling is disabled"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder with both distributions of the committed and uncommitted files, and the output."""
    copy = tmp_path_factory.mktemp("copy")
    listed = run("git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", cwd=ROOT)
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            (copy / name).write_bytes((ROOT / name).read_bytes())
    output = run(sys.executable, "-m", "build", "--no-isolation", cwd=copy)
    return copy, output


def run(*command: str, cwd: Path) -> str:
    result = subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, timeout=180, check=False
    )
    assert result.returncode == 0, f"{command}: {result.stdout}{result.stderr}"
    return result.stdout + result.stderr


def wheel(built: tuple[Path, str]) -> Path:
    (found,) = (built[0] / "dist").glob("*.whl")
    return found


def sdist(built: tuple[Path, str]) -> Path:
    (found,) = (built[0] / "dist").glob("*.tar.gz")
    return found


def test_the_build_warns_of_nothing(built: tuple[Path, str]) -> None:
    lines = [line for line in built[1].splitlines() if re.search("warn|deprecat", line, re.I)]
    assert [line for line in lines if HARMLESS not in line] == []


def test_the_wheel_holds_the_app_alone_and_all_of_it(built: tuple[Path, str]) -> None:
    with zipfile.ZipFile(wheel(built)) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert {name.split("/")[0] for name in names} == {"notifications"}
    code = {str(path.relative_to(ROOT)) for path in (ROOT / "notifications").rglob("*.py")}
    assets = {
        f"notifications/{path.relative_to(ROOT)}"
        for folder in ("static/notifications", "templates/notifications", "templates/admin")
        for path in (ROOT / folder).rglob("*.*")
    }
    locale = ROOT / "notifications" / "locale"
    languages = {str(path.relative_to(ROOT)) for path in locale.rglob("django.*")}
    protocol = {f"notifications/protocol/{name}" for name in ("client.proto", "client_pb2.pyi")}
    assert code | assets | languages | protocol | {"notifications/py.typed"} <= names


def test_the_source_distribution_holds_every_file_of_the_repository(
    built: tuple[Path, str],
) -> None:
    with tarfile.open(sdist(built)) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    listed = run("git", "ls-files", "-z", cwd=ROOT).split("\0")
    assert {name for name in listed if name and (ROOT / name).exists()} - names == set()


def test_an_index_accepts_both_distributions(built: tuple[Path, str]) -> None:
    files = [str(wheel(built)), str(sdist(built))]
    assert run(str(BIN / "twine"), "check", "--strict", *files, cwd=built[0]).count("PASSED") == 2
    run(str(BIN / "check-wheel-contents"), "--config", "pyproject.toml", files[0], cwd=built[0])
    rating = run(str(BIN / "pyroma"), "--min", "9", files[1], cwd=built[0])
    assert "Final rating" in rating


def test_the_description_on_an_index_has_absolute_links_only(built: tuple[Path, str]) -> None:
    with zipfile.ZipFile(wheel(built)) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith("METADATA")]
        description = archive.read(name).decode().partition("\n\n")[2]
    assert "](" in description
    relative = re.findall(r"\]\((?!https?://|#)[^)]*\)", description)
    assert relative == []
