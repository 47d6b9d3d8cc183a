"""The site's settings as of a site in German that writes numbers with separators."""

from pushsite.settings import *  # noqa: F403

LANGUAGE_CODE = "de"
USE_THOUSAND_SEPARATOR = True
