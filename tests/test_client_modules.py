"""The list of the browser's modules, which a page with the bell loads at once."""

import re
from pathlib import Path
from urllib.parse import urljoin

import pytest
from django.contrib.auth.models import User
from django.contrib.staticfiles.storage import ManifestStaticFilesStorage
from django.core.management import call_command
from django.template import Context, Template
from django.templatetags.static import static
from django.test import RequestFactory
from pytest_django import Settings

from notifications.client_modules import ENTRY, module_urls

IMPORT = re.compile(r"""^(?:import|export)\b[^"'();=]*["'](\.{1,2}/[^"']+)["']""", re.MULTILINE)


class HashedImports(ManifestStaticFilesStorage):
    """Django's storage, told to replace names in imports.

    It fails if modules name each other in a circle, and also looks for imports in comments. Types
    are imported by ``@import { … } from "…"``: ``import(…)`` makes circles for Django 5.2, and
    ``import (…)`` hides the next real import from Django 6.1.
    """

    support_js_module_import_aggregation = True


STORAGES = (
    "django.contrib.staticfiles.storage.StaticFilesStorage",
    "django.contrib.staticfiles.storage.ManifestStaticFilesStorage",
    "tests.test_client_modules.HashedImports",
    "whitenoise.storage.CompressedManifestStaticFilesStorage",
    "pushsite.static_files.HashedFilesStorage",
)


def imported(root: Path, prefix: str, url: str) -> set[str]:
    """Follow the imports in collected files, as a browser does, and return all URLs."""
    found: set[str] = set()
    waiting = [url]
    while waiting:
        importer = waiting.pop()
        names = IMPORT.findall((root / importer.removeprefix(prefix)).read_text())
        new = {urljoin(importer, name) for name in names} - found
        found |= new
        waiting += new
    return found


@pytest.mark.parametrize("backend", STORAGES)
def test_the_listed_modules_are_those_that_the_browser_loads(
    backend: str, tmp_path: Path, settings: Settings
) -> None:
    settings.STATIC_ROOT = str(tmp_path)
    settings.STORAGES = {**settings.STORAGES, "staticfiles": {"BACKEND": backend}}
    others = ["admin", "ninja"]
    call_command("collectstatic", interactive=False, verbosity=0, ignore_patterns=others)
    urls = module_urls()
    assert len(urls) == len(set(urls))
    assert set(urls) == imported(tmp_path, settings.STATIC_URL, static(ENTRY))


@pytest.mark.django_db
def test_a_page_with_a_bell_names_each_module_once(rf: RequestFactory) -> None:
    request = rf.get("/")
    request.user = User.objects.create_user("reader")
    tags = "{% notification_bell %}{% live_notify_badge %}{% live_notify_list %}"
    page = Template("{% load notifications %}" + tags).render(Context({"request": request}))
    assert re.findall(r'<link rel="modulepreload" href="([^"]+)">', page) == list(module_urls())
