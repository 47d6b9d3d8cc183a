"""The admin of connections: a live list, and an action that disconnects selected ones."""

from datetime import timedelta
from typing import Any

from django.contrib import admin, messages
from django.contrib.auth import get_user_model
from django.db import transaction
from django.db.models import QuerySet
from django.db.models.functions import Now
from django.forms import Media
from django.forms.widgets import Script
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.timesince import timesince
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from ..conf import app_settings
from ..models import Connection, database_alias
from ..streams import rights
from .lists import ReadOnlyAdmin
from .states import badge

#: Browser names by the product token that carries the version (RFC 9110 section 10.1.5). Most
#: browsers send the tokens of others too, so the first match in this order wins.
BROWSERS = {
    "Edg": "Edge",
    "EdgA": "Edge",
    "OPR": "Opera",
    "SamsungBrowser": "Samsung Internet",
    "Firefox": "Firefox",
    "FxiOS": "Firefox",
    "Chrome": "Chrome",
    "HeadlessChrome": "Chrome",
    "CriOS": "Chrome",
    "Version": "Safari",
}
SYSTEMS = {
    "Android": "Android",
    "iPhone": "iOS",
    "iPad": "iOS",
    "iPod": "iOS",
    "Windows": "Windows",
    "Macintosh": "macOS",
    "CrOS": "ChromeOS",
    "Linux": "Linux",
}


@admin.register(Connection)
class ConnectionAdmin(ReadOnlyAdmin):
    list_display = (
        "user",
        "address",
        "browser",
        "connected_at",
        "duration",
        "worker",
        "state_shown",
    )
    list_select_related = ("user", "worker")
    # The model has an index in this order.
    ordering = ("-connected_at", "-id")
    actions = ("disconnect",)
    fields = ("user", "address", "user_agent", "connected_at", "duration", "worker", "closing")
    readonly_fields = fields

    @property
    def media(self) -> Media:
        refresh = Script("notifications/admin.js", type="module")
        return super().media + Media(js=[refresh])  # type: ignore[list-item]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Leave out the rows of workers that are dead and did not remove them."""
        seen = Now() - timedelta(seconds=app_settings.WORKER_TIMEOUT)
        return super().get_queryset(request).filter(worker__seen_at__gte=seen)

    def get_search_fields(self, request: HttpRequest) -> tuple[str, ...]:
        return (f"user__{get_user_model().USERNAME_FIELD}", "address", "user_agent")

    def has_disconnect_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("notifications.delete_connection"))

    @admin.action(description=_("Disconnect selected connections"), permissions=["disconnect"])
    def disconnect(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        with transaction.atomic(using=database_alias()):
            rows = list(queryset.order_by().values_list("pk", "user"))
            count = Connection.objects.filter(pk__in=queryset.order_by().values("pk")).update(
                closing=True
            )
            rights.changed({user_id for _pk, user_id in rows})
        text = ngettext(
            "%(count)d connection is being closed.",
            "%(count)d connections are being closed.",
            count,
        )
        self.message_user(request, text % {"count": count}, messages.SUCCESS)

    @admin.display(description=_("browser"))
    def browser(self, connection: Connection) -> SafeString:
        name = browser_name(connection.user_agent)
        return format_html('<span title="{}">{}</span>', connection.user_agent, name)

    # Translators: heading of a column with durations: for how long somebody has been connected.
    @admin.display(description=_("for"))
    def duration(self, connection: Connection) -> str:
        return timesince(connection.connected_at)

    @admin.display(description=_("state"))
    def state_shown(self, connection: Any) -> SafeString:
        if connection.closing:
            return badge("waiting", gettext("Closing …"))
        return badge("published", gettext("Connected"))


def browser_name(user_agent: str) -> str:
    """Describe a browser, such as “Firefox 130 on Linux”.

    Returns:
        The first 40 characters of the ``User-Agent`` header, if the browser is unknown.
    """
    products = dict(part.split("/", 1) for part in user_agent.split() if "/" in part)
    for product, name in BROWSERS.items():
        version = products.get(product, "").partition(".")[0]
        if not version.isdecimal() or (name == "Safari" and name not in products):
            continue
        system = next((system for word, system in SYSTEMS.items() if word in user_agent), "")
        browser = f"{name} {version}"
        names = {"browser": browser, "system": system}
        return gettext("%(browser)s on %(system)s") % names if system else browser
    return user_agent[:40]
