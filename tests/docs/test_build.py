"""The documentation builds without a warning, and its reference leaves nothing out."""

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from django.core.management import get_commands
from django.dispatch import Signal
from prometheus_client.metrics import MetricWrapperBase
from sphinx.util.inventory import InventoryFile

import notifications
from notifications import inbox, metrics, signals, testing
from notifications.conf import FIELDS
from notifications.protocol import codes
from notifications.templatetags.notifications import register
from notifications.urls import urlpatterns
from tests.sites import ROOT

#: As in the Makefile.
STRICT = ("--builder", "html", "--fail-on-warning", "--keep-going", "--fresh-env", "--quiet")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built documentation."""
    directory = tmp_path_factory.mktemp("docs")
    places = ["--doctree-dir", str(directory / "doctrees"), str(ROOT / "docs")]
    command = [sys.executable, "-m", "sphinx", *STRICT, *places, str(directory / "html")]
    built = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
    assert built.returncode == 0, built.stderr
    return directory / "html"


@pytest.fixture(scope="module")
def listed(site: Path) -> dict[str, set[str]]:
    """The names that the documentation describes, by their kinds."""
    inventory = InventoryFile.loads((site / "objects.inv").read_bytes(), uri="")
    return {kind: set(names) for kind, names in inventory.data.items()}


class Page(HTMLParser):
    """The anchors of a page, and where its links and pictures lead."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.anchors: set[str] = {""}
        self.links: list[str] = []
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.anchors.add(found.get("id", ""))
        self.links += [found[name] for name in ("href", "src") if name in found]


def leads_nowhere(path: Path, link: str, pages: dict[Path, Page]) -> bool:
    """Whether a link on a page stays in the documentation, but there is nothing at its end."""
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return False
    target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    # Sphinx copies a file that it has no page for into this directory.
    if "_downloads" in target.parts:
        return True
    if target in pages:
        return parts.fragment not in pages[target].anchors
    return not target.exists()


def broken(pages: dict[Path, Page]) -> list[str]:
    """The links that lead nowhere."""
    return [
        f"{path.name}: {link}"
        for path, page in pages.items()
        for link in page.links
        if leads_nowhere(path, link, pages)
    ]


def test_the_makefile_builds_as_strictly() -> None:
    (recipe,) = re.findall(r"^docs:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.M)
    assert " ".join(STRICT) in recipe


def test_no_link_of_the_built_pages_is_broken(site) -> None:
    pages = {path: Page(path) for path in site.rglob("*.html")}
    assert len(pages) > 40
    assert broken(pages) == []


def test_a_broken_anchor_would_be_noticed(tmp_path) -> None:
    for name, text in (
        ("a.html", '<p id="x"><a href="b.html#y">'),
        ("b.html", '<a href="a.html#x">'),
    ):
        (tmp_path / name).write_text(text)
    pages = {path: Page(path) for path in tmp_path.glob("*.html")}
    assert broken(pages) == ["a.html: b.html#y"]


def test_every_public_function_is_in_the_reference(listed) -> None:
    described = listed["py:function"] | listed["py:class"] | listed["py:exception"]
    public = {f"notifications.{name}" for name in notifications.__all__}
    public |= {f"notifications.testing.{name}" for name in testing.__all__}
    public |= {
        "notifications.routing.application",
        "notifications.connect.authentication.make_token",
    }
    public |= {
        f"notifications.inbox.{name}"
        for name in inbox.__all__
        if callable(getattr(inbox, name)) and name != "Folder"
    }
    assert public - described == set()


def test_every_setting_is_in_the_reference(listed) -> None:
    assert listed["std:confval"] == set(FIELDS)


def test_every_check_is_in_the_reference(listed) -> None:
    sources = [path.read_text() for path in (ROOT / "notifications" / "checks").glob("*.py")]
    ids = set(re.findall(r'"(notifications\.[EW]\d{3})"', "".join(sources)))
    assert len(ids) > 20
    assert listed["std:systemcheck"] == ids


def test_every_tag_and_filter_is_in_the_reference(listed) -> None:
    assert {name.split(" ")[0] for name in listed["std:templatetag"]} == set(register.tags)
    assert listed["std:templatefilter"] == set(register.filters)


def test_every_metric_is_in_the_reference(listed) -> None:
    made = [value for value in vars(metrics).values() if isinstance(value, MetricWrapperBase)]
    names = {name.removesuffix("_total") for name in listed["std:metric"]}
    assert names == {metric._name for metric in made}


def test_every_command_is_in_the_reference(site, listed) -> None:
    page = (site / "reference" / "commands.html").read_text()
    commands = [name for name, app in get_commands().items() if app == "notifications"]
    assert commands
    assert [name for name in commands if f"<h2>{name}<" not in page] == []
    assert "serve.--forwarded-allow-ips" in listed["std:cmdoption"]


def test_every_url_is_in_the_reference(site) -> None:
    page = (site / "reference" / "urls.html").read_text()
    assert [url.name for url in urlpatterns if f"notifications:{url.name}<" not in page] == []


def test_every_signal_is_in_the_reference(site) -> None:
    page = (site / "reference" / "signals.html").read_text()
    names = [name for name, value in vars(signals).items() if isinstance(value, Signal)]
    assert len(names) >= 7
    assert [name for name in names if not re.search(rf">{name}[<.]", page)] == []


def test_every_code_is_in_the_reference_and_explained_in_the_protocol(site) -> None:
    kinds = (codes.Error, codes.Unsubscribe, codes.Disconnect)
    made = {value.code for value in vars(codes).values() if isinstance(value, kinds)}
    page = (site / "reference" / "codes.html").read_text()
    assert {code for code in made if f"<p>{code}</p>" not in page} == set()
    protocol = (ROOT / "docs" / "protocol.md").read_text()
    explained = {int(code) for code in re.findall(r"^\| (\d{3,4}) ", protocol, re.MULTILINE)}
    # 1000 is the ordinary end of a websocket.
    assert explained == made - {codes.NORMAL.code}


def test_every_event_and_method_of_the_browser_client_is_in_the_reference(listed) -> None:
    source = (ROOT / "static" / "notifications" / "notifications.js").read_text()
    (forwarded,) = re.findall(r"const FORWARDED = .*?\[(.*?)\]", source, re.DOTALL)
    events = {*re.findall(r'"(\w+)"', forwarded), *re.findall(r'this\.emit\("(\w+)"', source)}
    page = (ROOT / "docs" / "reference" / "browser.md").read_text()
    assert set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)) == events
    methods = set(re.findall(r"^  (?:async )?([a-z]\w+)\(", source, re.MULTILINE))
    own = {f"notifications.{name}" for name in methods - {"constructor", "begin"}}
    assert own - listed["js:function"] == set()
