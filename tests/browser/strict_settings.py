"""The site's settings, with the middleware of strict_policy.py as the outermost."""

from pushsite.settings import *  # noqa: F403
from pushsite.settings import MIDDLEWARE

MIDDLEWARE = ["tests.browser.strict_policy.add_policy", *MIDDLEWARE]
