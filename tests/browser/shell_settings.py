"""The site's settings, with the middleware of shells.py as the outermost."""

from pushsite.settings import *  # noqa: F403
from pushsite.settings import MIDDLEWARE

MIDDLEWARE = ["tests.browser.shells.add_shell", *MIDDLEWARE]
