"""The app's configuration."""

from importlib import import_module

from django.apps import AppConfig
from django.core.checks import register
from django.utils.translation import gettext_lazy as _

from . import conf


class NotificationsConfig(AppConfig):
    name = "notifications"
    verbose_name = _("Notifications")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        register(conf.check_settings)
        register(conf.check_topic_permission)
        # They import models, which the registry has loaded only now.
        import_module(".checks", self.name)
        import_module(".receivers", self.name)
