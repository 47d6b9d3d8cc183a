"""The programs of the SDKs, which several modules of tests use."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.scheduling import made_once
from tests.sdk import driver


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Callable[[], Any]]:
    """The command line of each SDK's program, built when it is first asked for."""
    return {
        "node": driver.node,
        "python": driver.python,
        "go": lambda: driver.go(made_once(tmp_path_factory, "go", driver.build_go)),
        "java": lambda: driver.java(made_once(tmp_path_factory, "java", driver.build_java)),
    }
