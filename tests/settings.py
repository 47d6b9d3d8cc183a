"""Settings for tests in the pytest process.

Processes that tests start use pushsite.settings itself; see tests/servers.py.
"""

import os
import tempfile
from pathlib import Path

# Variables of the developer's shell must not affect tests. DATABASE_URL may: the same tests also
# run on PostgreSQL.
for _name in ("DEBUG", "REDIS_URL", "SCRIPT_NAME", "ALLOWED_HOSTS", "CSRF_TRUSTED_ORIGINS"):
    os.environ.pop(_name, None)
for _name in [name for name in os.environ if name.startswith(("NOTIFICATIONS_", "SECURE_"))]:
    del os.environ[_name]
os.environ["SECRET_KEY"] = "only-for-tests-and-long-enough-to-pass-the-checks-of-django"
os.environ["COOKIE_SECURE"] = "0"

from pushsite.settings import *  # noqa: E402, F403
from pushsite.settings import DATABASES, NOTIFICATIONS, STORAGES  # noqa: E402

#: Topics that every user may read unless a test overrides them.
TOPICS = ("news", "beta", "muted", "garden", "kitchen", "any", "a", "b", "releases")
NOTIFICATIONS["TOPICS"] = TOPICS

# Hashed file names would need collectstatic before every run.
STORAGES["staticfiles"] = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
WHITENOISE_AUTOREFRESH = True

# The production hasher is slow on purpose.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    # A file, because threads cannot share an in-memory database; one per process, because several
    # test runs may be active at once.
    DATABASES["default"]["TEST"] = {
        "NAME": str(Path(tempfile.gettempdir()) / f"pushsite-test-{os.getpid()}.sqlite3")
    }
