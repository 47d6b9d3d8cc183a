"""The admin of broadcasts: compose, schedule, follow and withdraw them."""

from collections.abc import Sequence
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from ..models import Broadcast, Notification, Stream, database_alias
from ..publishing.notify import broadcast, withdraw
from ..streams import names as stream_names
from .composing import Composer
from .forms import BroadcastForm
from .lists import ReadOnlyAdmin, StateFilter
from .names import describe_streams
from .reach import Reach, audience_size, reach
from .states import moment

SEND = "notifications.send_broadcast"

#: How many titles the confirmation page of a withdrawal lists.
MAX_LISTED = 20


class BroadcastComposer(Composer):
    form_class = BroadcastForm
    title = _("Compose broadcast")

    def recipients(self, form: BroadcastForm) -> tuple[str, int]:
        name = form.stream()
        return describe_streams([name])[name], audience_size(name)

    def send(self, form: BroadcastForm) -> HttpResponse:
        name = form.stream()
        title = form.cleaned_data["title"]
        sent = broadcast(title, to=name, actor=self.actor, key=self.key(form), **form.arguments())
        to = describe_streams([name])[name]
        self.model_admin.log_addition(self.request, Broadcast.objects.get(pk=sent.pk), f"To {to}")
        names = {"title": title, "to": to, "time": moment(sent.publish_at)}
        text = (
            gettext("“%(title)s” waits until %(time)s for %(to)s.")
            if form.cleaned_data["publish_at"]
            else gettext("“%(title)s” was sent to %(to)s.")
        )
        self.model_admin.message_user(self.request, text % names, messages.SUCCESS)
        return HttpResponseRedirect(
            reverse(
                "admin:notifications_broadcast_changelist",
                current_app=self.model_admin.admin_site.name,
            )
        )


def _shared(field: str) -> Q:
    """A condition that selects the rows whose ``field`` is the name of a shared stream."""
    shared = Q(**{f"{field}__in": (stream_names.BROADCAST, stream_names.STAFF)})
    return (
        shared
        | Q(**{f"{field}__startswith": stream_names.GROUP_PREFIX})
        | Q(**{f"{field}__startswith": stream_names.TOPIC_PREFIX})
    )


@admin.register(Broadcast)
class BroadcastAdmin(ReadOnlyAdmin):
    list_display = (
        "title",
        "audience",
        "state_shown",
        "reached",
        "read",
        "level_shown",
        "actor",
        "created_at",
    )
    list_filter = (StateFilter, "level")
    list_select_related = ("stream", "actor")
    ordering = ("-pk",)
    search_fields = ("title",)
    actions = ("withdraw_selected",)
    change_form_template = "admin/notifications/broadcast/change_form.html"
    fields = (
        "title",
        "body",
        "url",
        "level_shown",
        "kind",
        "data",
        "audience",
        "state_shown",
        "reached",
        "read",
        "actor",
        "created_at",
        "publish_at",
        "published_at",
        "expires_at",
        "withdrawn_at",
    )
    readonly_fields = fields

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows = super().get_queryset(request).filter(duplicate_of=None)
        placed = Notification.objects.filter(stream__in=Stream.objects.filter(_shared("name")))
        unplaced = Notification.objects.filter(_shared("channel"))
        # A union of keys, because conditions joined by OR would scan all private notifications.
        return rows.filter(pk__in=placed.values("pk").union(unplaced.values("pk"), all=True))

    def prepare(self, rows: Sequence[Any]) -> None:
        super().prepare(rows)
        names = describe_streams({row.stream_name for row in rows})
        counts = reach(rows)
        for row in rows:
            row.audience = names[row.stream_name]
            row.reach = counts[row.pk]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm(SEND))

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(request.user.has_perm(SEND)) or super().has_view_permission(request, obj)

    def has_withdraw_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm(SEND))

    def get_urls(self) -> list[Any]:
        view = self.admin_site.admin_view(self.withdraw_view)
        own = path("<path:object_id>/withdraw/", view, name="notifications_broadcast_withdraw")
        return [own, *super().get_urls()]

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        if not self.has_add_permission(request):
            raise PermissionDenied
        return BroadcastComposer(self, request).respond()

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: Any = None,
    ) -> HttpResponse:
        context = {
            "may_withdraw": self.has_withdraw_permission(request),
            "title": _("Broadcast"),
            **(extra_context or {}),
        }
        return super().change_view(request, object_id, form_url, context)

    def withdraw_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Withdraw one broadcast: a GET asks for confirmation, a POST withdraws it."""
        if not self.has_withdraw_permission(request):
            raise PermissionDenied
        found = self.get_object(request, unquote(object_id))
        if found is None:
            raise Http404
        rows = self.get_queryset(request).filter(pk=found.pk)
        if request.method == "POST":
            self._withdraw(request, rows)
            return HttpResponseRedirect(
                reverse(
                    "admin:notifications_broadcast_change",
                    args=[found.pk],
                    current_app=self.admin_site.name,
                )
            )
        return self._confirm(request, rows, ())

    @admin.action(description=_("Withdraw selected broadcasts"), permissions=["withdraw"])
    def withdraw_selected(
        self, request: HttpRequest, queryset: QuerySet[Any]
    ) -> HttpResponse | None:
        if request.POST.get("confirmed"):
            self._withdraw(request, queryset)
            return None
        chosen = request.POST.getlist(ACTION_CHECKBOX_NAME)
        hidden_fields = [
            ("action", "withdraw_selected"),
            ("confirmed", "1"),
            ("select_across", request.POST.get("select_across", "0")),
            *((ACTION_CHECKBOX_NAME, pk) for pk in chosen),
        ]
        return self._confirm(request, queryset, hidden_fields)

    @admin.display(description=_("audience"))
    def audience(self, row: Any) -> str:
        return str(self._prepared(row).audience)

    # Translators: heading of a column: how many users it has reached.
    @admin.display(description=_("reached"))
    def reached(self, row: Any) -> int:
        counts: Reach = self._prepared(row).reach
        return counts.reached

    # Translators: heading of a column: how many users have read it.
    @admin.display(description=_("read"))
    def read(self, row: Any) -> int:
        counts: Reach = self._prepared(row).reach
        return counts.read

    def _prepared(self, row: Any) -> Any:
        if not hasattr(row, "reach"):
            self.prepare([row])
        return row

    def _withdraw(self, request: HttpRequest, rows: QuerySet[Any]) -> None:
        with transaction.atomic(using=database_alias()):
            chosen = list(rows.filter(withdrawn_at=None).order_by("pk"))
            count = withdraw(rows.order_by())
            administrator: Any = request.user
            LogEntry.objects.log_actions(administrator.pk, chosen, CHANGE, "Withdrawn")
        text = ngettext(
            "%(count)d broadcast was withdrawn.", "%(count)d broadcasts were withdrawn.", count
        )
        self.message_user(request, text % {"count": count}, messages.SUCCESS)

    def _confirm(
        self, request: HttpRequest, rows: QuerySet[Any], hidden_fields: Sequence[tuple[str, str]]
    ) -> HttpResponse:
        rows = rows.filter(withdrawn_at=None)
        count = rows.count()
        listed = list(rows.select_related("stream")[:MAX_LISTED])
        self.prepare(listed)
        request.current_app = self.admin_site.name
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": _("Withdraw"),
            "rows": listed,
            "count": count,
            "more": count - len(listed),
            "hidden_fields": hidden_fields,
        }
        return TemplateResponse(request, "admin/notifications/withdraw.html", context)
