"""Settings of the site with this user model and with ``ATOMIC_REQUESTS``."""

from pushsite.settings import *  # noqa: F403
from pushsite.settings import DATABASES, INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "tests.integration.keyed"]
AUTH_USER_MODEL = "keyed.Person"
DATABASES["default"]["ATOMIC_REQUESTS"] = True
