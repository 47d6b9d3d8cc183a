"""Settings of a host with an API, a task queue, Redis, and PostgreSQL with a replica."""

import os

import dj_database_url

SECRET_KEY = "an example"
DEBUG = True
INSTALLED_APPS = [
    "daphne",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "channels",
    "rest_framework",
    "notifications",
    "shop",
]
ROOT_URLCONF = "shop.urls"
ASGI_APPLICATION = "shop.asgi.application"
DATABASES = {
    "default": {**dj_database_url.parse(os.environ["DATABASE_URL"]), "ATOMIC_REQUESTS": True},
    "replica": dj_database_url.parse(os.environ["REPLICA_URL"]),
}
DATABASE_ROUTERS = ["shop.router.ReplicaRouter"]
CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {"hosts": [os.environ["REDIS_URL"]]},
    }
}
CELERY_BROKER_URL = os.environ["REDIS_URL"]
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["rest_framework.authentication.BasicAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
}
NOTIFICATIONS = {"TOKEN_SECRET": "another example, of at least 32 characters"}
