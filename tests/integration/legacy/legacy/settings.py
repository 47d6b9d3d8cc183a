"""A host of django-notifications, and of what comes after it: the same settings serve both."""

import os
from importlib.util import find_spec

import dj_database_url

SECRET_KEY = "only-for-tests-and-long-enough-to-pass-the-checks-of-django"
DEBUG = True
ROOT_URLCONF = "legacy.urls"
DATABASES = {"default": dj_database_url.parse(os.environ["DATABASE_URL"])}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
TIME_ZONE = "UTC"
STATIC_URL = "/static/"
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "shop",
    "notifications",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [os.environ["TEMPLATES"]] if "TEMPLATES" in os.environ else [],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
DJANGO_NOTIFICATIONS_CONFIG = {"USE_JSONFIELD": True, "SOFT_DELETE": True}

if "SWAPPED" in os.environ:  # a model of the host takes the place of theirs
    INSTALLED_APPS.insert(-1, "mine")
    NOTIFICATIONS_NOTIFICATION_MODEL = "mine.Note"

if find_spec("notifications.hub"):  # the one that comes after
    ASGI_APPLICATION = "legacy.asgi.application"
    CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
    NOTIFICATIONS = {"CHECK_INTERVAL": 0.2}
