"""The site with these users, and with each request in a transaction."""

from pushsite.settings import *  # noqa: F403
from pushsite.settings import DATABASES, INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "tests.integration.keyed"]
AUTH_USER_MODEL = "keyed.Person"
DATABASES["default"]["ATOMIC_REQUESTS"] = True
