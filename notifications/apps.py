"""The app's configuration."""

from importlib import import_module

from django.apps import AppConfig, apps

# Import the modules: Django considers every AppConfig in this namespace as one of this app.
from django.contrib import admin
from django.contrib.admin import apps as admin_apps
from django.utils.translation import gettext_lazy as _


class NotificationsConfig(AppConfig):
    name = "notifications"
    verbose_name = _("Notifications")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        # These modules import models, which can be imported only now.
        import_module(".checks", self.name)
        import_module(".receivers", self.name)
        # It gives ``Notification.objects.unread(user)`` and the like their meaning.
        import_module(".inbox", self.name)
        import_module(".inbox.of_user", self.name).attach()
        if isinstance(apps.app_configs.get("admin"), admin_apps.AdminConfig):
            # The admin does so in its own ``ready``, which may run after this one.
            admin.autodiscover()
            import_module(".admin.users", self.name).add_action_to_user_admins(admin.site)
