"""Fixtures for projects that are made as the documentation says."""

from pathlib import Path

import pytest

from tests.wheels import borrowing_environment


@pytest.fixture(scope="session")
def host_python(tmp_path_factory: pytest.TempPathFactory, wheel: Path) -> Path:
    """The Python of an environment in which the app is installed."""
    return borrowing_environment(tmp_path_factory.mktemp("host") / "venv", wheel)
