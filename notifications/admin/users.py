"""“Send notification to selected users” on the list of users, whoever registered it.

An action of the whole site, because the host's own admin of users is the host's, and may be
registered after this module is loaded. The right that it asks for is one that every list answers,
and only the list of users answers with yes.
"""

from __future__ import annotations

from typing import Any

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
            actor=self.request.user,
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

    def passed_on(self) -> list[tuple[str, str]]:
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


def _may_send(model_admin: admin.ModelAdmin[Any], request: HttpRequest) -> bool:
    lists_users = issubclass(model_admin.model, get_user_model())
    return lists_users and bool(request.user.has_perm("notifications.send_private"))


admin.ModelAdmin.has_send_notification_permission = _may_send  # type: ignore[attr-defined]
admin.site.add_action(send_notification, ACTION)
