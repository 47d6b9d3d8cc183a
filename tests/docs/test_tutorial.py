"""The tutorial, typed as it is printed, makes a project that does what the page says."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from tests.browsers import People
from tests.docs.blocks import blocks_of, file_of
from tests.docs.readers import PASSWORD, Reader
from tests.servers import Server
from tests.sites import ROOT

pytestmark = pytest.mark.hosts

TUTORIAL = ROOT / "docs" / "tutorial.md"
BLOCKS = list(blocks_of(TUTORIAL))

#: The lines of shell, in their order.
LINES = [
    line
    for block in BLOCKS
    if block.language == "shell"
    for line in block.source.splitlines()
    if line
]
FILES = {file_of(block.source): block.source for block in BLOCKS if file_of(block.source)}

#: How many lines the page says that the reader types.
TYPED = 60

NAME = "ada"


def line_with(words: str) -> str:
    """The one line of shell that has these words."""
    (found,) = [line for line in LINES if words in line]
    return found


@pytest.fixture
def reader(tmp_path: Path, host_python: Path) -> Reader:
    """A reader who has typed everything before the server is started."""
    reader = Reader(tmp_path, host_python)
    lines = LINES[1 : LINES.index(line_with("runserver"))]
    made = lines.index(line_with("startapp")) + 1
    for line in lines[:made]:
        reader.type(line)
    for path, source in FILES.items():
        reader.save(path, source)
    for line in lines[made:]:
        answers = ["--noinput", "--username", NAME, "--email", ""]
        reader.type(line, *(answers if "createsuperuser" in line else []))
    return reader


@pytest.fixture
def shop(reader: Reader) -> Iterator[Server]:
    """The server of the project."""
    server = Server(
        reader.directory,
        reader.env,
        command="runserver",
        python=reader.python,
        cwd=reader.directory,
        login_path="/admin/login/",
    )
    yield server.start()
    server.kill()


def test_the_tutorial_has_as_many_lines_as_it_says() -> None:
    typed = [line for source in FILES.values() for line in source.splitlines()[1:] if line]
    assert len(typed) <= TYPED
    assert f"about {TYPED} lines" in TUTORIAL.read_text()


def test_every_block_of_the_tutorial_is_typed() -> None:
    assert "pip install" in LINES[0]
    assert {block.language for block in BLOCKS if not file_of(block.source)} == {"shell"}


async def log_in(page: Page, shop: Server) -> None:
    await page.goto(f"{shop.url}/admin/")
    await page.fill("#id_username", NAME)
    await page.fill("#id_password", PASSWORD)
    await page.click("input[type=submit]")


@pytest.mark.browser
@pytest.mark.integration
async def test_an_order_is_followed_live_and_from_afar(
    shop: Server, reader: Reader, people: People
) -> None:
    reader.type("python manage.py check --fail-level WARNING")
    staff = await people.open()
    await log_in(staff, shop)
    await staff.goto(f"{shop.url}/admin/orders/order/add/")
    await staff.select_option("#id_customer", label=NAME)
    await staff.click("input[name=_save]")

    order = await staff.context.new_page()
    await order.goto(f"{shop.url}/orders/1/")
    badge = order.locator(".notification-bell .notification-badge")
    toast = order.locator(".notification-toasts")
    await expect(order.locator("#status")).to_have_text("placed")
    await expect(order.locator("notification-bell button").first).to_be_visible()

    await staff.goto(f"{shop.url}/admin/orders/order/1/change/")
    await staff.fill("#id_status", "shipped")
    await staff.click("input[name=_save]")
    await expect(order.locator("#status")).to_have_text("shipped")
    await expect(toast).to_contain_text("Order 1 is shipped")
    await expect(badge).to_have_text("2")  # it was placed, and is shipped

    send = line_with("manage.py notify")
    reader.type(send)
    await expect(toast).to_contain_text("The parcel is at your neighbour's")
    await order.close()
    reader.type(send)

    again = await staff.context.new_page()
    await again.goto(f"{shop.url}/orders/1/")
    await expect(again.locator(".notification-bell .notification-badge")).to_have_text("4")
    await again.click(".notification-bell__button")
    rows = again.locator(".notification-panel .notification-entry__title")
    await expect(rows).to_have_count(4)
    await expect(rows.first).to_have_text("The parcel is at your neighbour's")
    # Nobody has given the project an icon.
    people.errors[:] = [error for error in people.errors if "favicon.ico" not in error]
    assert "Traceback" not in shop.log
