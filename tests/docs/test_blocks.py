"""What the README and the documentation show in code blocks works."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.management.base import CommandError
from django.template import TemplateSyntaxError
from pytest_django import Settings

from tests.docs.blocks import DOCUMENTS, LANGUAGES, SHOWN, SKIP, blocks_of, parse, run
from tests.rooms import make_user
from tests.sites import ROOT

#: Blocks that cannot run. Each says in its page why.
SKIPPED = 1

#: Pages whose blocks make a project of their own, which another test builds and runs.
PROJECTS = {
    "docs/tutorial.md": "docs/test_tutorial.py",
    "docs/clients.md": "sdk/test_clients.py",
    "docs/testing.md": "integration/test_testing.py",
}

PAGES = [
    path
    for path in DOCUMENTS
    if str(path.relative_to(ROOT)) not in PROJECTS and any(blocks_of(path))
]


#: Blocks that tests must not let pass, by language.
BROKEN = [
    ("python", "notify(user, title_that_nobody_has_given)"),
    ("python", "# mysite/settings.py\nNOTIFICATIONS = {'PING_INTERVALL': 25}"),
    ("html+django", "{% load notifications %}{% notification_bel %}"),
    ("json", '{"id": 1,}'),
    ("js", "const = 1;"),
    ("css", "body { --notifications-akzent: red }"),
    ("shell", 'echo "never closed'),
    ("shell", "python manage.py notify reader Hello --ulr /orders/7/"),
    ("shell", "python manage.py notify nobody Hello"),
    ("shell", "make everything"),
]


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.fixture
def names(settings: Settings, tmp_path: Path) -> dict[str, Any]:
    """What every page may use without saying where it comes from.

    ``templates`` is a directory of templates that overrides those of all apps.
    """
    user = make_user("reader")
    (engine,) = settings.TEMPLATES
    settings.TEMPLATES = [{**engine, "DIRS": [tmp_path, *engine["DIRS"]]}]
    return {"user": user, "request": SimpleNamespace(user=user), "templates": tmp_path}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_every_code_block_of_a_page_works(path, names) -> None:
    document = parse(path)
    document.namespace.update(names)
    for skipped in run(document):
        assert skipped.reason


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("language", "source"), BROKEN)
def test_a_broken_code_block_fails(tmp_path, names, language, source) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"```{language}\n{source}\n```\n")
    document = parse(page)
    document.namespace.update(names)
    with pytest.raises((AssertionError, CommandError, NameError, TemplateSyntaxError, ValueError)):
        list(run(document))


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_every_code_block_has_a_language_that_is_run_or_shown(path) -> None:
    unknown = [
        f"line {line}: {language or 'none'}"
        for line, language, _ in blocks_of(path)
        if language not in LANGUAGES and language not in SHOWN and not language.startswith("{")
    ]
    assert unknown == []


def test_the_blocks_of_every_project_are_run_by_its_own_test() -> None:
    for page, test in PROJECTS.items():
        assert (ROOT / page).exists()
        assert f'"{Path(page).name}"' in (ROOT / "tests" / test).read_text()


def test_few_code_blocks_are_skipped_and_each_says_why() -> None:
    marks = [mark for path in DOCUMENTS for mark in SKIP.findall(path.read_text())]
    assert [mark for mark in marks if not mark.startswith('next "')] == []
    assert len(marks) == SKIPPED


def test_there_are_code_blocks_of_every_language() -> None:
    found = {block.language for path in DOCUMENTS for block in blocks_of(path)}
    assert set(LANGUAGES) <= found
