"""The action “Send notification to selected users” in the admin of users.

The host project may register a ``ModelAdmin`` of its own for users. So, once all apps have
registered theirs, it is registered again as a subclass with :class:`SendNotificationMixin`.
"""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.auth import get_user_model
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from ..publishing.notify import notify
from .composing import Composer
from .forms import ComposeForm
from .states import moment

ACTION = "send_notification"


class UsersComposer(Composer):
    title = _("Send notification to selected users")

    def __init__(
        self, model_admin: admin.ModelAdmin[Any], request: HttpRequest, users: QuerySet[Any]
    ) -> None:
        super().__init__(model_admin, request)
        self.users = users

    def recipients(self, form: ComposeForm) -> tuple[str, int]:
        names = [user.get_username() for user in self.users.order_by("pk")[:5]]
        count = self.users.count()
        return ", ".join(names) + (" …" if count > len(names) else ""), count

    def send(self, form: ComposeForm) -> HttpResponse:
        ids = notify(
            self.users,
            form.cleaned_data["title"],
            actor=self.actor,
            key=self.key(form),
            **form.arguments(),
        )
        publish_at = form.cleaned_data["publish_at"]
        text = (
            ngettext(
                "A notification to %(count)d user waits until %(time)s.",
                "Notifications to %(count)d users wait until %(time)s.",
                len(ids),
            )
            if publish_at
            else ngettext(
                "A notification was sent to %(count)d user.",
                "Notifications were sent to %(count)d users.",
                len(ids),
            )
        )
        values = {"count": len(ids), "time": moment(publish_at) if publish_at else ""}
        self.model_admin.message_user(self.request, text % values, messages.SUCCESS)
        return HttpResponseRedirect(self.request.get_full_path())

    def hidden_fields(self) -> list[tuple[str, str]]:
        chosen = self.request.POST.getlist(ACTION_CHECKBOX_NAME)
        return [
            ("action", ACTION),
            ("select_across", self.request.POST.get("select_across", "0")),
            *((ACTION_CHECKBOX_NAME, pk) for pk in chosen),
        ]


@admin.action(description=_("Send notification to selected users"), permissions=[ACTION])
def send_notification(
    model_admin: admin.ModelAdmin[Any], request: HttpRequest, queryset: QuerySet[Any]
) -> HttpResponse:
    return UsersComposer(model_admin, request, queryset).respond()


class SendNotificationMixin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Add the action to a ``ModelAdmin`` of users, given the permission to send private messages.

    Use it explicitly only if the ``ModelAdmin`` is registered after startup, or on another
    ``AdminSite`` than the default one::

        class PersonAdmin(SendNotificationMixin, UserAdmin): ...
    """

    def __init__(self, model: Any, admin_site: admin.AdminSite) -> None:
        super().__init__(model, admin_site)
        # None means that the host project has disabled actions.
        if self.actions is not None:
            self.actions = [*self.actions, send_notification]

    def has_send_notification_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("notifications.send_private")


def add_action_to_user_admins(site: admin.AdminSite) -> None:
    """Register each ``ModelAdmin`` of users again, with the action.

    Call it after all apps have registered theirs.
    """
    users = get_user_model()
    for model in apps.get_models():
        if not issubclass(model, users) or not site.is_registered(model):
            continue
        host_admin = type(site.get_model_admin(model))
        if issubclass(host_admin, SendNotificationMixin):
            continue
        bases = (SendNotificationMixin, host_admin)
        site.unregister(model)
        site.register(
            model, type(host_admin.__name__, bases, {"__module__": host_admin.__module__})
        )
