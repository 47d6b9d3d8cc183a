"""The app's configuration."""

from importlib import import_module

from django.apps import AppConfig, apps

# As modules: Django takes every app configuration that stands here for one of this app.
from django.contrib import admin
from django.contrib.admin import apps as admin_apps
from django.utils.translation import gettext_lazy as _


class NotificationsConfig(AppConfig):
    name = "notifications"
    verbose_name = _("Notifications")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        # They import models, which the registry has loaded only now.
        import_module(".checks", self.name)
        import_module(".receivers", self.name)
        # It gives ``Notification.objects.unread(user)`` and the like their meaning.
        import_module(".inbox", self.name)
        if isinstance(apps.app_configs.get("admin"), admin_apps.AdminConfig):
            # The admin does so itself when it is ready, which may be after this app.
            admin.autodiscover()
            import_module(".admin.users", self.name).add_to_lists_of_users(admin.site)
