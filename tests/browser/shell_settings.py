"""The site's settings, with the middleware of shells.py as the outermost."""

from pushsite.settings import MIDDLEWARE
from tests.site_settings import *  # noqa: F403

MIDDLEWARE = ["tests.browser.shells.add_shell", *MIDDLEWARE]
