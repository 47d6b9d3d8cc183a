"""What a type checker finds in the code of a host."""

import os
import subprocess
import sys
from pathlib import Path

from tests.servers import ROOT

#: Each line with a comment has an error, and the comment is the wrong name.
HOST = """\
from typing import Any

from notifications import abroadcast, anotify, broadcast, notify
from notifications.publishing.notify import publish


async def wrong(user: Any) -> None:
    notify(user, "a", levle="info")  # levle
    broadcast("a", bdoy="b")  # bdoy
    broadcast("a", progress=print)  # progress
    publish("topic:a", "b", offset=7)  # offset
    await anotify(user, "a", ulr="/")  # ulr
    await abroadcast("a", levle="info")  # levle
    notify(user, "a", publish_at="tomorrow")  # publish_at


async def right(user: Any) -> None:
    ids: list[int] = await anotify(user, "a", progress=print, level="info", data={"a": 1})
    pk: int = (await abroadcast("a", to="staff", key=None)).pk
    print(ids + notify([user], "a", actor=user), pk, publish("staff", "a", kind="a.b"))
"""


def test_mypy_finds_misspelled_options_in_the_code_of_a_host(tmp_path: Path) -> None:
    (tmp_path / "host.py").write_text(HOST)
    result = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file", ROOT / "pyproject.toml", "host.py"],
        cwd=tmp_path,
        env={**os.environ, "MYPYPATH": str(ROOT), "MYPY_CACHE_DIR": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    found = [line for line in result.stdout.splitlines() if line.startswith("host.py")]
    wrong = {
        number: line.rpartition("# ")[2]
        for number, line in enumerate(HOST.splitlines(), 1)
        if "# " in line
    }
    errors = {int(line.split(":")[1]): line for line in found if ": error: " in line}
    assert errors.keys() == wrong.keys(), result.stdout + result.stderr
    for number, name in wrong.items():
        assert f'"{name}"' in errors[number]
