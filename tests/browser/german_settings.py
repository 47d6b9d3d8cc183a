"""Settings of a site in German that formats numbers with thousand separators."""

from tests.site_settings import *  # noqa: F403

LANGUAGE_CODE = "de"
USE_THOUSAND_SEPARATOR = True
