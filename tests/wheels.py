"""The built wheel, installed as a host would install it."""

import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from tests.servers import ROOT

BUILT_FROM = ("notifications", "static", "templates", "setup.py", "pyproject.toml")


def install_wheel(directory: Path) -> Path:
    """Build the wheel and install it into a new virtual environment.

    The app's dependencies come from the environment of the tests.

    Args:
        directory: where to put everything; it must exist.

    Returns:
        The path of the new environment's Python.
    """
    source = directory / "source"
    source.mkdir()
    for name in BUILT_FROM:
        part = ROOT / name
        (shutil.copytree if part.is_dir() else shutil.copy)(part, source / name)
    for name in ("README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    wheels = directory / "wheels"
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    run(*pip, "wheel", "--no-build-isolation", "--no-deps", "-w", str(wheels), str(source))

    venv = directory / "venv"
    run(sys.executable, "-m", "venv", "--without-pip", str(venv))
    borrowed = next(venv.glob("lib/python*/site-packages")) / "borrowed.pth"
    borrowed.write_text(sysconfig.get_path("purelib"))
    python = venv / "bin" / "python"
    [wheel] = wheels.glob("*.whl")
    run(*pip, "--python", str(python), "install", "--no-deps", "--no-index", str(wheel))
    run(*pip, "--python", str(python), "check")
    return python


def run(*command: str) -> None:
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, f"{command}: {result.stdout}{result.stderr}"
