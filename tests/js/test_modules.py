"""Run the ``*.test.js`` files of this directory in Node, without a browser."""

import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def find_node() -> str:
    """Return the path of Node in the virtual environment, or else of the system's Node."""
    own = Path(sys.executable).with_name("node")
    found = str(own) if own.exists() else shutil.which("node")
    assert found, "Node is needed; requirements-test.txt brings it"
    return found


def test_modules() -> None:
    files = sorted(str(path) for path in HERE.glob("*.test.js"))
    assert files
    result = subprocess.run(
        [find_node(), "--test", *files], capture_output=True, text=True, timeout=60, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
