"""The site's settings, with a log line for every refused request instead of one a minute."""

from pushsite.settings import *  # noqa: F403
from pushsite.settings import LOGGING

LOGGING["filters"]["strangers"]["seconds"] = 0.0
