import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
django_application = get_asgi_application()

from notifications.routing import application as with_notifications  # noqa: E402

application = with_notifications(django_application)
