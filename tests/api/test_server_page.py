"""What docs/server-api.md says about methods and errors is what the code does."""

import re

from notifications.api.server.methods import GRANTABLE, METHODS
from notifications.api.server.views import STATUSES
from notifications.protocol.codes import INTERNAL
from tests.sites import ROOT

PAGE = (ROOT / "docs" / "server-api.md").read_text()


def names(cells: list[str]) -> set[str]:
    return {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}


def test_every_method_has_its_row() -> None:
    table = PAGE.partition("## Methods\n")[2].partition("\n\n`disconnect`")[0]
    rows = re.findall(r"^\| (`[^|]+) \|", table, re.MULTILINE)
    assert names(rows) == {*GRANTABLE, "batch"}
    refused = re.findall(r"^\| (`[^|]+) \| 108", PAGE, re.MULTILINE)
    assert METHODS.keys() - set(GRANTABLE) <= names(refused)


def test_every_error_has_its_status() -> None:
    rows = re.findall(r"^\| (\d{3}) \| (\d{3}) \|", PAGE, re.MULTILINE)
    documented = {int(code): int(status) for code, status in rows}
    # An unknown method has this status in both modes, so it is in the text.
    expected = {code: int(status) for code, status in STATUSES.items() if code != 104}
    assert documented == {INTERNAL.code: 500, **expected}
