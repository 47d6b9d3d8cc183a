"""As ``startproject`` makes them, with the app added as the README says."""

import dj_database_url

SECRET_KEY = "only for the tests of this project"
DEBUG = False
ALLOWED_HOSTS = ["example.org"]
ROOT_URLCONF = "mysite.urls"
ASGI_APPLICATION = "mysite.asgi.application"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "channels",
    "notifications",
    "orders",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}]
DATABASES = {"default": dj_database_url.config(default="sqlite:///db.sqlite3")}
# Nobody listens there: tests must not need the layer of production.
CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {"hosts": ["redis://127.0.0.1:9"]},
    }
}
NOTIFICATIONS = {"TOKEN_SECRET": "only for the tests of this project", "TOPICS": ["offers"]}
