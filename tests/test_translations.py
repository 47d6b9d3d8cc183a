"""The translations: complete, up to date, and with a right form for every number."""

import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from gettext import c2py
from pathlib import Path
from typing import Any

import pytest
from babel.messages import pofile
from babel.messages.catalog import Catalog, Message
from django.conf import settings
from django.utils import translation
from django.utils.translation import gettext, ngettext
from pytest_django import Settings

from tests.sites import ROOT

LANGUAGES = ("ar", "de", "es", "fr", "zh_Hans")
CATALOGS = [
    ROOT / place / "locale" / language / "LC_MESSAGES" / "django.po"
    for place in ("notifications", "pushsite")
    for language in LANGUAGES
]

PLACEHOLDER = re.compile(r"%(?:\(\w+\))?[sd]")
COUNT = re.compile(r"%\((?:count|minutes)\)[sd]")

#: What would end an attribute, or begin a tag: the texts stand in both, and are not escaped.
MARKUP = re.compile(r"[<>\"]")


def language_of(path: Path) -> str:
    return path.parts[-3]


def read(path: Path) -> Catalog:
    with path.open("rb") as file:
        return pofile.read_po(file, locale=language_of(path))


def messages(path: Path) -> list[Message]:
    return [message for message in read(path) if message.id]


def run_messages(root: Path, *args: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(root / "scripts" / "messages"), *args]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of all that scripts/messages reads."""
    for name in ("notifications", "pushsite", "templates"):
        shutil.copytree(ROOT / name, tmp_path / name)
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts" / "messages", tmp_path / "scripts")
    return tmp_path


def test_the_translations_are_up_to_date_and_compiled() -> None:
    result = run_messages(ROOT, "--check")
    assert (result.returncode, result.stdout) == (0, "The translations are complete.\n")


def test_a_new_text_is_missed_in_every_language(checkout: Path) -> None:
    template = checkout / "templates" / "notifications" / "bell.html"
    template.write_text(template.read_text().replace("See all", "See everything"))
    (checkout / "pushsite" / "new.py").write_text('TEXT = ngettext("One cat", "Many cats", 2)\n')
    result = run_messages(checkout, "--check")
    assert result.returncode == 1
    everywhere = f"({', '.join(LANGUAGES)})"
    assert result.stdout.splitlines() == [
        f"notifications/locale: not translated: 'See everything' {everywhere}",
        f"notifications/locale: run scripts/messages: django.po {everywhere}",
        f"notifications/locale: run scripts/messages: django.mo {everywhere}",
        f"pushsite/locale: not translated: ('One cat', 'Many cats') {everywhere}",
        f"pushsite/locale: run scripts/messages: django.po {everywhere}",
    ]


def test_a_translation_that_was_not_compiled_is_noticed_and_compiled(checkout: Path) -> None:
    path = checkout / "notifications" / "locale" / "de" / "LC_MESSAGES" / "django.po"
    path.write_text(path.read_text().replace('"Alle anzeigen"', '"Alles anzeigen"'))
    result = run_messages(checkout, "--check")
    assert result.returncode == 1
    assert result.stdout == "notifications/locale: run scripts/messages: django.mo (de)\n"
    assert run_messages(checkout).returncode == 0
    assert b"Alles anzeigen" in path.with_suffix(".mo").read_bytes()


@pytest.mark.parametrize("path", CATALOGS, ids=lambda path: str(path.relative_to(ROOT).parent))
def test_every_text_is_translated_with_its_placeholders(path: Path) -> None:
    rule = c2py(read(path).plural_expr)
    wrong = []
    for message in messages(path):
        for source, form in _translated(message, rule):
            asked, found = (Counter(PLACEHOLDER.findall(text)) for text in (source, form))
            is_markup_new = MARKUP.search(form) and not MARKUP.search(source)
            if not form.strip() or message.fuzzy or asked != found or is_markup_new:
                wrong.append((source, form))
    assert wrong == []


def _translated(message: Any, rule: Callable[[int], int]) -> Iterator[tuple[str, str]]:
    """Each form of the translation, with the English text whose placeholders it must have."""
    if isinstance(message.string, str):
        yield str(message.id), message.string
        return
    singular, plural = message.id
    for index, form in enumerate(message.string or ()):
        numbers = [number for number in range(1001) if rule(number) == index]
        # A form for one number, such as the Arabic dual, can say it in a word. So may the one for
        # 0 and 1, where the English singular does.
        may_omit = len(numbers) == 1 or (1 in numbers and not COUNT.search(singular))
        yield COUNT.sub("", plural) if may_omit and not COUNT.search(form) else plural, form


def test_both_catalogs_have_the_same_languages_as_the_site() -> None:
    for place in ("notifications", "pushsite"):
        folders = {path.name for path in (ROOT / place / "locale").iterdir()}
        assert folders == {*LANGUAGES}
    assert {code for code, _ in settings.LANGUAGES} == {
        *map(translation.to_language, LANGUAGES),
        "en",
    }


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_app_and_the_site_say_the_same_for_the_same_text(language: str) -> None:
    said: dict[Any, Any] = {}
    for path in CATALOGS:
        for message in messages(path) if language_of(path) == language else ():
            assert said.setdefault((message.id, message.context), message.string) == message.string


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (0, "لا إشعارات جديدة"),
        (1, "إشعار جديد واحد"),
        (2, "إشعاران جديدان"),
        (3, "%(count)s إشعارات جديدة"),
        (10, "%(count)s إشعارات جديدة"),
        (11, "%(count)s إشعارًا جديدًا"),
        (99, "%(count)s إشعارًا جديدًا"),
        (100, "%(count)s إشعار جديد"),
        (102, "%(count)s إشعار جديد"),
        (103, "%(count)s إشعارات جديدة"),
    ],
)
def test_arabic_has_six_forms(number: int, expected: str) -> None:
    with translation.override("ar"):
        text = ngettext("%(count)s new notification", "%(count)s new notifications", number)
    assert text == expected


def test_other_languages_have_the_forms_of_their_grammar() -> None:
    def say(language: str) -> list[str]:
        with translation.override(language):
            return [
                ngettext("%(count)s new notification", "%(count)s new notifications", number)
                % {"count": number}
                for number in (0, 1, 2)
            ]

    assert say("zh-hans") == ["0 条新通知", "1 条新通知", "2 条新通知"]
    assert say("de")[1:] == ["1 neue Benachrichtigung", "2 neue Benachrichtigungen"]
    # In French, zero is singular.
    assert say("fr")[:2] == ["0 nouvelle notification", "1 nouvelle notification"]
    assert say("es") == [
        "0 notificaciones nuevas",
        "1 notificación nueva",
        "2 notificaciones nuevas",
    ]


@pytest.mark.parametrize("path", CATALOGS, ids=lambda path: str(path.relative_to(ROOT).parent))
def test_the_admin_of_a_host_is_not_reworded(path: Path, settings: Settings) -> None:
    """A text that Django translates, too, is translated in the same way: catalogs are merged."""
    settings.INSTALLED_APPS = [app for app in settings.INSTALLED_APPS if app.startswith("django.")]
    with translation.override(translation.to_language(language_of(path))):
        changed = [
            (message.id, message.string, theirs)
            for message in messages(path)
            if isinstance(message.id, str)
            and (theirs := gettext(message.id)) not in (message.id, message.string)
        ]
    assert changed == []
