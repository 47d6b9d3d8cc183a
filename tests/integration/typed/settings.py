"""The settings of a host project, for mypy's plugin."""

SECRET_KEY = "for a type checker"
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "channels",
    "notifications",
]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
AUTH_USER_MODEL = "auth.User"
USE_TZ = True
