"""The site's settings, with a log line for every refused request instead of one a minute."""

from pushsite.settings import LOGGING
from tests.site_settings import *  # noqa: F403

LOGGING["filters"]["strangers"]["seconds"] = 0.0
