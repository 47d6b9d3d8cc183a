"""Texts and pages in the language of the reader."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from django.conf import global_settings
from django.test import Client
from django.utils import translation
from django.utils.translation import gettext
from pytest_django import Settings

from notifications import client_texts, notify
from tests.js.test_modules import find_node
from tests.rooms import make_user
from tests.sites import ROOT

#: The languages of the site, as Django and browsers name them.
TAGS = ("ar", "de", "en", "es", "fr", "zh-hans")

PAGES = ("/", "/notifications/", "/notifications/archived/", "/notifications/topics/")


def in_node(code: str, texts: Any) -> Any:
    """Run code with the module ``texts.js`` and what Python has made, and return what it prints."""
    module = (ROOT / "static" / "notifications" / "texts.js").as_uri()
    script = f"""
        import * as module from "{module}";
        const texts = JSON.parse(process.argv[1]);
        console.log(JSON.stringify({code}));
    """
    result = subprocess.run(
        [find_node(), "--input-type=module", "--eval", script, json.dumps(texts)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def test_the_browser_falls_back_to_the_texts_of_python() -> None:
    with translation.override("en"):
        texts = json.loads(client_texts.client_texts())
    assert texts.pop("language") == "en"
    fallback = in_node("{ ...module.ENGLISH, ...module.ENGLISH_COUNTED }", {})
    assert fallback.pop("language") == ""
    assert texts == fallback


def test_the_browser_finds_the_plural_form_that_gettext_finds() -> None:
    """In all of Django's languages, not only in those that the app is translated into."""
    numbers = [*range(500), 1000, 1001, 1002, 1011, 1021, 4711, 12_345, 999_999]
    counted, expected = {}, {}
    # One language for each rule of plurals that Django knows.
    rules = {}
    for code, _ in global_settings.LANGUAGES:
        with translation.override(code):
            catalog = translation.trans_real.catalog()
            rules[tuple(catalog.plural(number) for number in numbers)] = code
    for code in {*rules.values(), *TAGS}:
        with translation.override(code):
            plural = translation.trans_real.catalog().plural
        counted[code] = _forms(plural)
        expected[code] = [str(plural(number)) for number in numbers]
    assert len(counted) > 10
    found = in_node(
        "Object.fromEntries(Object.entries(texts.counted).map(([code, one]) =>"
        " [code, texts.numbers.map((number) => module.pluralForm(one, number))]))",
        {"counted": counted, "numbers": numbers},
    )
    assert found == expected


def _forms(plural: Callable[[int], int]) -> Any:
    return client_texts.plural_forms(lambda number: str(plural(number)))


def test_the_texts_of_the_browser_follow_the_language() -> None:
    seen = {}
    for tag in TAGS:
        with translation.override(tag):
            seen[tag] = json.loads(client_texts.client_texts())
    assert [seen[tag]["language"] for tag in TAGS] == [*TAGS]
    assert len({texts["offline"] for texts in seen.values()}) == len(TAGS)
    assert len(seen["ar"]["fresh"]["forms"]) == 6
    assert len(seen["zh-hans"]["fresh"]["forms"]) == 1
    assert seen["de"]["warning"] == "Warnung"


def test_a_translation_of_the_host_replaces_that_of_the_app(
    settings: Settings, tmp_path: Path
) -> None:
    folder = tmp_path / "de" / "LC_MESSAGES"
    folder.mkdir(parents=True)
    catalog = Catalog(locale="de")
    catalog.add("Dismiss", "Weg damit")
    with (folder / "django.mo").open("wb") as file:
        write_mo(file, catalog)
    with translation.override("de"):
        assert "Weg damit" not in client_texts.client_texts()
    settings.LOCALE_PATHS = [str(tmp_path)]
    with translation.override("de"):
        assert json.loads(client_texts.client_texts())["dismiss"] == "Weg damit"


def test_a_site_without_translations_has_english_texts(settings: Settings) -> None:
    settings.USE_I18N = False
    assert json.loads(client_texts.client_texts())["dismiss"] == "Dismiss"


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("tag", TAGS)
def test_pages_are_in_the_language_of_the_browser(tag: str, client: Client) -> None:
    user = make_user("reader", is_staff=True)
    notify(user, "One")
    client.force_login(user)
    direction = ' dir="rtl"' if tag == "ar" else ""
    for path in PAGES:
        html = client.get(path, headers={"accept-language": tag}).content.decode()
        assert f'<html lang="{tag}"{direction}>' in html, path
        assert f"&quot;language&quot;:&quot;{tag}&quot;" in html, path
        with translation.override(tag):
            assert gettext("Mark all as read") in html, path
    missing = client.get("/nope/", headers={"accept-language": tag}).content.decode()
    with translation.override(tag):
        assert gettext("There is no such page") in missing


@pytest.mark.django_db(transaction=True)
def test_error_pages_without_a_user_are_in_the_language_of_the_browser() -> None:
    client = Client(enforce_csrf_checks=True)
    response = client.post("/accounts/login/", headers={"accept-language": "ar"})
    assert response.status_code == 403
    assert '<html lang="ar" dir="rtl">' in response.content.decode()
    assert "يُرجى المحاولة مرة أخرى" in response.content.decode()


@pytest.mark.django_db(transaction=True)
def test_a_language_that_was_chosen_is_kept(client: Client) -> None:
    german = {"accept-language": "de"}
    assert 'lang="de"' in client.get("/accounts/login/", headers=german).content.decode()
    chosen = {"language": "fr", "next": "/accounts/login/"}
    response = client.post("/language/", chosen, headers=german)
    assert response.headers["Location"] == "/accounts/login/"
    html = client.get("/accounts/login/", headers=german).content.decode()
    assert '<html lang="fr">' in html
    assert '<option value="fr" lang="fr" selected>Français</option>' in html
