"""nginx, for tests that put it in front of the site."""

import subprocess

from tests.servers import ROOT


def find_nginx() -> str:
    """Where nginx is; it is installed where that is possible.

    Raises:
        AssertionError: there is none; the message says what to do.
    """
    found = subprocess.run(
        [ROOT / "scripts" / "nginx"], capture_output=True, text=True, timeout=300, check=False
    )
    assert found.returncode == 0, found.stderr.splitlines()[-1]
    return found.stdout.strip()
