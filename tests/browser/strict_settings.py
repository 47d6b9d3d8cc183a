"""The site's settings, with the middleware of strict_policy.py as the outermost."""

from pushsite.settings import MIDDLEWARE
from tests.site_settings import *  # noqa: F403

MIDDLEWARE = ["tests.browser.strict_policy.add_policy", *MIDDLEWARE]
