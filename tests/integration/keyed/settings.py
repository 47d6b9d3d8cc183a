"""Settings of the site with this user model and with ``ATOMIC_REQUESTS``."""

from pushsite.settings import DATABASES, INSTALLED_APPS
from tests.site_settings import *  # noqa: F403

INSTALLED_APPS = [*INSTALLED_APPS, "tests.integration.keyed"]
AUTH_USER_MODEL = "keyed.Person"
DATABASES["default"]["ATOMIC_REQUESTS"] = True
