"""The site as an ASGI application."""

import os

import django

import notifications.routing
from pushsite.handler import Handler

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "pushsite.settings")
django.setup(set_prefix=False)

application = notifications.routing.application(Handler())
