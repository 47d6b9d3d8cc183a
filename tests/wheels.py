"""The built wheel, and environments in which other projects install it."""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from tests.sites import ROOT

UV = Path(sys.executable).parent / "uv"

#: What setup.py reads.
BUILT_FROM = (
    *("notifications", "static", "templates", "setup.py", "pyproject.toml", "MANIFEST.in"),
    *("README.md", "LICENSE"),
)


def run(
    *command: str | Path,
    cwd: Path | None = None,
    env: dict[str, str] | None = None,
    timeout: float = 180,
) -> str:
    """Run a command that must succeed, and return what it printed."""
    result = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=env,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert result.returncode == 0, f"{command}: {result.stdout}{result.stderr}"
    return result.stdout + result.stderr


def build_wheel(directory: Path) -> Path:
    """Build the app from a copy of the working tree, and return the path of the wheel."""
    source, wheels = directory / "source", directory / "wheels"
    source.mkdir()
    for name in BUILT_FROM:
        part = ROOT / name
        (shutil.copytree if part.is_dir() else shutil.copy)(part, source / name)
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    run(*pip, "wheel", "-q", "--no-build-isolation", "--no-deps", "-w", wheels, source)
    (wheel,) = wheels.glob("*.whl")
    return wheel


def borrowing_environment(directory: Path, wheel: Path) -> Path:
    """An environment with the wheel, which borrows all else from that of the tests.

    Returns:
        The path of its Python.
    """
    run(sys.executable, "-m", "venv", "--without-pip", directory)
    borrowed = next(directory.glob("lib/python*/site-packages")) / "borrowed.pth"
    borrowed.write_text(sysconfig.get_path("purelib"))
    python = directory / "bin" / "python"
    run(UV, "pip", "install", "-q", "--python", python, "--no-deps", "--no-index", wheel)
    return python


def environment(directory: Path, *requirements: str, python: str | Path = sys.executable) -> Path:
    """A fresh environment with these requirements, downloaded from the package index.

    Args:
        directory: where it is made.
        requirements: as ``pip install`` takes them.
        python: the path of a Python, or its version.

    Returns:
        The path of its Python.
    """
    run(UV, "venv", "-q", "--python", python, directory)
    made = directory / "bin" / "python"
    run(UV, "pip", "install", "-q", "--python", made, *requirements, timeout=600)
    return made


def plain_environment(**changes: str) -> dict[str, str]:
    """The variables of a shell in which nothing of this repository is set."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return {**kept, "PYTHONUNBUFFERED": "1", **changes}
