"""The read-only admin of all notifications, private and shared."""

from collections.abc import Sequence
from typing import Any

from django.contrib import admin
from django.contrib.auth import get_user_model
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from ..models import Notification
from ..streams import names as stream_names
from .lists import ReadOnlyAdmin, StateFilter
from .names import describe_streams

#: How many of the newest notifications supply the choices of :class:`KindFilter`.
RECENT = 1000

#: How many users a search term may match; notifications of further users are not found.
MAX_USERS = 100


class KindFilter(admin.SimpleListFilter):
    """Filter by recent kinds. Django's own filter would read the whole table for its choices."""

    title = _("kind")
    parameter_name = "kind"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Sequence[tuple[str, str]]:
        rows = Notification.objects.filter(duplicate_of=None, publication=None)
        recent = rows.order_by("-pk").values_list("kind", flat=True)[:RECENT]
        return [(kind, kind) for kind in sorted(set(recent))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(kind=self.value()) if self.value() else queryset


@admin.register(Notification)
class NotificationAdmin(ReadOnlyAdmin):
    list_display = (
        "title",
        "audience",
        "level_shown",
        "kind",
        "state_shown",
        "actor",
        "created_at",
    )
    list_filter = (StateFilter, "level", KindFilter)
    list_select_related = ("stream", "actor")
    ordering = ("-pk",)
    search_help_text = _("Title, stream (“user:7”) or user name")
    fields = (
        "title",
        "body",
        "url",
        "level_shown",
        "kind",
        "data",
        "key",
        "audience",
        "stream",
        "offset",
        "actor",
        "state_shown",
        "created_at",
        "publish_at",
        "published_at",
        "expires_at",
        "withdrawn_at",
    )
    readonly_fields = fields

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        # Publications of channels are rows of this table, but no notifications.
        return super().get_queryset(request).filter(duplicate_of=None, publication=None)

    def prepare(self, rows: Sequence[Any]) -> None:
        super().prepare(rows)
        names = describe_streams({row.stream_name for row in rows})
        for row in rows:
            row.audience = names[row.stream_name]

    def get_search_fields(self, request: HttpRequest) -> tuple[str, ...]:
        return ("title", "stream__name", "channel", f"actor__{get_user_model().USERNAME_FIELD}")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        found, may_repeat = super().get_search_results(request, queryset, search_term)
        names = _streams_of_users(search_term)
        if names:
            found |= queryset.filter(Q(stream__name__in=names) | Q(channel__in=names))
        return found, may_repeat

    # Translators: heading of a column: a user, a group, everyone.
    @admin.display(description=_("to"))
    def audience(self, notification: Any) -> str:
        if not hasattr(notification, "audience"):
            self.prepare([notification])
        return str(notification.audience)


def _streams_of_users(word: str) -> list[str]:
    if not word.strip():
        return []
    users = get_user_model()
    named = {f"{users.USERNAME_FIELD}__icontains": word.strip()}
    found = users._default_manager.filter(**named).values_list("pk", flat=True)
    return [stream_names.user_stream(pk) for pk in found[:MAX_USERS]]
