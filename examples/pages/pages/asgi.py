import os

from django.core.asgi import get_asgi_application

import notifications.routing

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "pages.settings")

application = notifications.routing.application(get_asgi_application())
